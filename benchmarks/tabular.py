"""fastnn's estimators of tables beside boosted trees and other networks: score and CPU time.

    FASTNN_DATA=folder python benchmarks/tabular.py [--quick] [--data adult,letter] [--peers hgb]
    python benchmarks/tabular.py --from FILE [--readme benchmarks/README.md]

For each table and peer a row of a Markdown table: mean and standard deviation over the seeds of
every score on the test rows, and the mean of the CPU seconds of `fit`, preprocessing included, on
one thread, in a process of its own that has fitted a small table before: what a library imports and
compiles once is not counted. Splits are fixed; seeds are the estimators' own, and a peer that draws
nothing has one fit. All stop by the same validation rows. "fastnn + LightGBM" is the mean of what
the two predict. At the end all are compared: by each measure, by average ranks, by how much CPU
time fastnn needs to be as good as slow peers, and with what it is held to.

`--json FILE` keeps every fit as a line, and does not fit again what is there (but see that it is of
the same versions); predictions are in the folder beside it. `--from FILE` fits nothing: it compares
what such a file has, and `--readme` puts that between the marks of a README.

Tables are in tabular_data.py, peers in tabular_peers.py, records in tabular_records.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import numpy as np
from markdown_tables import heading, row
from options import check_data_folder, listed, positive, writable
from processes import ChildFailed, run_python
from readme import OF_TABLES, replace_report, report_in
from tabular_data import TABLES, NotThere, Split, load, split, toy
from tabular_peers import AVERAGE, PAIR, PEERS, PEERS_AND_LIMITED, TITLES, Peer
from tabular_records import MEASURES, SECONDS, Key, Results, scores
from tabular_report import cell, report

SEEDS = 5
FIRST_ROWS = 80  # of the table that each process fits before the clock runs


def fit(name: str, peer: str, seed: int, file: str) -> None:
    """Fit one peer in this process; save what it predicts of the test rows, print CPU seconds."""
    warnings.simplefilter("ignore")
    data = load(name)
    PEERS_AND_LIMITED[peer].fit(split(*toy(data.task, FIRST_ROWS)), seed)
    before = cpu_seconds()
    predict = PEERS_AND_LIMITED[peer].fit(data, seed)
    seconds = cpu_seconds() - before
    np.save(file, np.asarray(predict(data.test.X), np.float32))
    print(json.dumps({"seconds": seconds, "version": version_of(PEERS_AND_LIMITED[peer])}))


def version_of(peer: Peer) -> str:
    """Return the name and the version of its library, which may be a folder on the path."""
    try:
        return f"{peer.name} {version(peer.name)}"
    except PackageNotFoundError:
        return f"{peer.name} {import_module(peer.module).__version__}"


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    try:
        import resource
    except ImportError:
        return process_time()
    ends = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in ends)


def measure(results: Results, data: Split, key: Key) -> None:
    """Fit a peer in a process of its own, or average those of the pair, unless that is there.

    Raises
    ------
    ChildFailed
        The fit ended with an error.
    """
    name, peer, seed = key
    if key in results.records:
        return
    known = {"table": data.describe(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    if peer == AVERAGE:
        both = [(each, 0 if PEERS[each].seeds(2) == 1 else seed) for each in PAIR]
        files = [results.predictions(name, *each) for each in both]
        if not all(file.exists() for file in files):
            raise ChildFailed(f"the predictions of {' or '.join(PAIR)} are missing")
        predicted = np.mean([np.load(file) for file in files], axis=0)
        seconds = sum(results.records[name, *each]["seconds"] for each in both)
    else:
        file = results.predictions(name, peer, seed)
        command = [str(Path(__file__).resolve()), "--fit", name, peer, str(seed), str(file)]
        # By CPU seconds, not by the clock of the wall, which runs while others have the cores.
        printed, _ = run_python(command, "one", at_most=None)
        predicted = np.load(file)
        found = json.loads(printed.splitlines()[-1])
        seconds, known["version"] = found["seconds"], found["version"]
    results.add(key, data.task, scores(data.task, data.test.y, predicted), seconds, **known)


def compare(
    results: Results, name: str, peers: Sequence[str], seeds: int, slow_seeds: int = 1
) -> Iterator[str]:
    """Fit what is missing of one table; yield its lines as they come."""
    data = load(name)
    yield from ("", f"{name}: {data.describe()}")
    yield from heading("test scores, mean ± sd", *MEASURES[data.task], SECONDS)
    for peer in peers:
        known = PEERS_AND_LIMITED.get(peer)
        try:
            wanted = min(seeds, slow_seeds) if known and known.slow else seeds
            for seed in range(known.seeds(wanted) if known else wanted):
                measure(results, data, (name, peer, seed))
        except ChildFailed as failure:
            yield row(TITLES[peer], f"failed: {failure}")
            continue
        yield row(
            TITLES[peer],
            *(
                cell(peer, results.values(name, peer, seeds, each), seeds, each)
                for each in (*MEASURES[data.task], SECONDS)
            ),
        )


def installed(peers: Sequence[str]) -> Iterator[str]:
    """Yield the peers that can be imported; say of the others how to get them."""
    for name in peers:
        peer = PEERS_AND_LIMITED[name]
        if find_spec(peer.module) is None:
            print(f"{peer.title} skipped: pip install {peer.distribution}", file=sys.stderr)
        else:
            yield name


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = [*PEERS_AND_LIMITED]
    quick = [name for name, peer in PEERS.items() if not peer.slow]
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--slow", action="store_true", help="slow peers too")
    parser.add_argument("--seeds", type=positive(int), default=SEEDS, help="default: %(default)s")
    parser.add_argument("--slow-seeds", type=positive(int), default=1, metavar="N",
                        help="seeds of slow peers; default: %(default)s")  # fmt: skip
    parser.add_argument("--data", type=listed([*TABLES]), default=[*TABLES], metavar="NAME,...",
                        help=f"some of {','.join(TABLES)}; default: all")  # fmt: skip
    parser.add_argument("--peers", type=listed(known), metavar="NAME,...",
                        help=f"some of {','.join(known)}; default: {','.join(quick)}")  # fmt: skip
    parser.add_argument("--json", type=writable, metavar="FILE", help="keep, and go on with, fits")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source",
                        help="fit nothing, compare what FILE of --json has")  # fmt: skip
    parser.add_argument("--readme", type=writable, metavar="FILE",
                        help="put what --from gives between the marks of a README")  # fmt: skip
    chosen = parser.parse_args()
    check_data_folder(parser)
    if chosen.source is not None and not chosen.source.is_file():
        parser.error(f"--from: there is no file {chosen.source}")
    if chosen.readme and chosen.source is None:
        parser.error("--readme needs --from, the records of whole runs")
    if chosen.readme:
        try:
            report_in(chosen.readme.read_text("utf-8"), OF_TABLES)
        except (OSError, ValueError) as error:
            parser.error(str(error))
    if chosen.quick:
        chosen.seeds = 1
    if chosen.peers is None:
        chosen.peers = known if chosen.source else list(PEERS) if chosen.slow else quick
    return chosen


def with_average(peers: Sequence[str]) -> list[str]:
    """Return peers, and the average of the pair if both are there."""
    return [*peers, AVERAGE] if set(PAIR) <= set(peers) else list(peers)


def run(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int, slow_seeds: int
) -> None:
    """Fit what is missing and print the rows as they come, then what is to be compared."""
    for name in names:
        try:
            for line in compare(results, name, peers, seeds, slow_seeds):
                print(line, flush=True)
        except NotThere as reason:
            print(f"{name} skipped: {reason}", file=sys.stderr)
    print()
    print("\n".join(report(results, names, peers, seeds)), flush=True)


def main() -> None:
    """Print a table for each data set, and what is to be compared."""
    if sys.argv[1:2] == ["--fit"]:  # a process that `measure` started
        name, peer, seed, file = sys.argv[2:]
        fit(name, peer, int(seed), file)
        return
    chosen = parse()
    if chosen.source is not None:
        results = Results(chosen.source.parent)
        results.read(chosen.source.read_text("utf-8"))
        lines = list(report(results, chosen.data, with_average(chosen.peers), chosen.seeds))
        print("\n".join(lines))
        if chosen.readme:
            text = replace_report(chosen.readme.read_text("utf-8"), lines, OF_TABLES)
            chosen.readme.write_text(text, "utf-8")
        return
    peers = with_average(list(installed(chosen.peers)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if chosen.json is not None:
            folder = chosen.json.with_suffix(".predictions")
            folder.mkdir(exist_ok=True)
        results = Results(folder, chosen.json)
        run(results, chosen.data, peers, chosen.seeds, chosen.slow_seeds)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
