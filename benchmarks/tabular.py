"""fastnn's estimators of tables beside boosted trees and other networks: score and CPU time.

    FASTNN_DATA=folder python benchmarks/tabular.py [--quick] [--data adult,letter] [--peers hgb]

For each table and peer a row of a Markdown table: mean and standard deviation over the seeds of
every score on the test rows, and the mean of the CPU seconds of `fit`, preprocessing included, on
one thread, in a process of its own. Splits are fixed; seeds are the estimators' own. All stop by
the same validation rows. "fastnn + LightGBM" is the mean of what the two predict. The last table
has the average ranks. `--json FILE` keeps every fit as a line, and does not fit again what is there
(but see that it is of the same versions); predictions are in the folder beside it.

Tables are in tabular_data.py, peers in tabular_peers.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from markdown_tables import heading, row
from options import check_data_folder, listed, positive, writable
from processes import ChildFailed, run_python
from tabular_data import TABLES, NotThere, Split, load
from tabular_peers import PEERS

SEEDS = 5
PAIR = ("fastnn", "lightgbm")
AVERAGE = "+".join(PAIR)
TITLES = {name: peer.title for name, peer in PEERS.items()} | {AVERAGE: "fastnn + LightGBM"}
MEASURES = {
    "regression": ("RMSE",),
    "binary": ("accuracy", "AUC", "log loss"),
    "multiclass": ("accuracy", "log loss"),
}
"""The scores of a task; the first and the last give the ranks."""
HIGHER_IS_BETTER = {"accuracy", "AUC"}

Key = tuple[str, str, int]


def scores(task: str, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the scores of predicted numbers (n,) or probabilities (n, classes).

    >>> y, p = np.array([0, 1, 1]), np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
    >>> {name: round(score, 3) for name, score in scores("binary", y, p).items()}
    {'accuracy': 0.667, 'AUC': 0.5, 'log loss': 0.789}
    """
    if task == "regression":
        return {"RMSE": float(np.sqrt(np.mean((predicted - y) ** 2)))}
    measured = {"accuracy": float(np.mean(predicted.argmax(axis=1) == y))}
    if task == "binary":
        from sklearn.metrics import roc_auc_score

        measured["AUC"] = float(roc_auc_score(y, predicted[:, 1]))
    right = predicted[np.arange(len(y)), y] / predicted.sum(axis=1)
    measured["log loss"] = float(-np.log(np.clip(right, 1e-7, 1)).mean())
    return measured


def fit(name: str, peer: str, seed: int, file: str) -> None:
    """Fit one peer in this process; save what it predicts of the test rows, print CPU seconds."""
    warnings.simplefilter("ignore")
    data = load(name)
    before = cpu_seconds()
    predict = PEERS[peer].fit(data, seed)
    seconds = cpu_seconds() - before
    np.save(file, np.asarray(predict(data.test.X), np.float32))
    print(json.dumps({"seconds": seconds}))


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    try:
        import resource
    except ImportError:
        return process_time()
    ends = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in ends)


@dataclass
class Results:
    """What was measured, of each table, peer and seed, and the files that keep it.

    Attributes
    ----------
    folder
        Of predictions.
    file
        Of records, one a line; None: none is kept.
    records
        Scores and seconds by table, peer and seed.
    """

    folder: Path
    file: Path | None = None
    records: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what the file has; a last line that was cut off is taken away."""
        if self.file is None or not self.file.exists():
            return
        text = self.file.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.file.write_text(whole, "utf-8")
        for line in whole.splitlines():
            record = json.loads(line)
            self.records[record["data"], record["peer"], record["seed"]] = record

    def predictions(self, name: str, peer: str, seed: int) -> Path:
        """Return the file of what a peer predicts."""
        return self.folder / f"{name}-{peer}-{seed}.npy"

    def add(self, key: Key, task: str, measured: dict[str, float], seconds: float) -> None:
        """Keep a fit."""
        name, peer, seed = key
        record = {"data": name, "peer": peer, "seed": seed, "task": task, "seconds": seconds}
        self.records[key] = {**record, "scores": measured}
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.records[key]) + "\n")

    def of(self, name: str, peer: str, seeds: int) -> list[dict[str, Any]]:
        """Return the records of a table and a peer, of the first seeds."""
        keys = [(name, peer, seed) for seed in range(seeds)]
        return [self.records[key] for key in keys if key in self.records]


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
    if peer == AVERAGE:
        files = [results.predictions(name, each, seed) for each in PAIR]
        if not all(file.exists() for file in files):
            raise ChildFailed(f"the predictions of {' or '.join(PAIR)} are missing")
        predicted = np.mean([np.load(file) for file in files], axis=0)
        seconds = sum(results.records[name, each, seed]["seconds"] for each in PAIR)
    else:
        file = results.predictions(name, peer, seed)
        command = [str(Path(__file__).resolve()), "--fit", name, peer, str(seed), str(file)]
        printed, _ = run_python(command, "one")
        predicted = np.load(file)
        seconds = json.loads(printed.splitlines()[-1])["seconds"]
    results.add(key, data.task, scores(data.task, data.test.y, predicted), seconds)


def seeds_of(peer: str, seeds: int) -> int:
    """Return how many seeds a peer has: the slow ones have one."""
    return 1 if peer in PEERS and PEERS[peer].slow else seeds


def compare(results: Results, name: str, peers: Sequence[str], seeds: int) -> Iterator[str]:
    """Fit what is missing of one table; yield its lines as they come."""
    data = load(name)
    yield from ("", f"{name}: {data.describe()}")
    yield from heading("test scores, mean ± sd", *MEASURES[data.task], "CPU s")
    for peer in peers:
        try:
            for seed in range(seeds_of(peer, seeds)):
                measure(results, data, (name, peer, seed))
        except ChildFailed as failure:
            yield row(TITLES[peer], f"failed: {failure}")
            continue
        records = results.of(name, peer, seeds)
        cells = [
            spread([record["scores"][measure_] for record in records])
            for measure_ in MEASURES[data.task]
        ]
        seconds = float(np.mean([record["seconds"] for record in records]))
        yield row(TITLES[peer], *cells, f"{seconds:.3g}")


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation, with digits by the size of the mean.

    >>> spread([0.9122, 0.9124]), spread([43210.0, 43300.0]), spread([1.5])
    ('0.9123 ± 0.0001', '43255 ± 45', '1.5000')
    """
    mean, deviation = float(np.mean(values)), float(np.std(values))
    digits = 4 if mean < 10 else 2 if mean < 1000 else 0
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


def ranks(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int, which: int
) -> np.ndarray:
    """Return each peer's rank on each table (tables, peers), 1 the best, by its mean score.

    Parameters
    ----------
    which
        0 for the first score of a table's task, -1 for the last.
    """
    from scipy.stats import rankdata

    ranked = []
    for name in names:
        records = [results.of(name, peer, seeds) for peer in peers]
        measured = MEASURES[records[0][0]["task"]][which]
        sign = -1 if measured in HIGHER_IS_BETTER else 1
        means = [np.mean([each["scores"][measured] for each in group]) for group in records]
        ranked.append(rankdata(sign * np.array(means)))
    return np.array(ranked)


def summary(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int
) -> Iterator[str]:
    """Yield the table of average ranks, over the tables that all peers were fitted to.

    Peers that were fitted to no table do not count.
    """
    peers = [peer for peer in peers if any(results.of(name, peer, seeds) for name in names)]
    common = [name for name in names if all(results.of(name, peer, seeds) for peer in peers)]
    if not common or len(peers) < 2:
        return
    yield from heading(
        f"average rank of {len(peers)} over {len(common)} tables", "by RMSE, accuracy",
        "by RMSE, log loss", "best of all", "CPU s, geometric mean",
    )  # fmt: skip
    by_error, by_loss = (ranks(results, common, peers, seeds, which) for which in (0, -1))
    for column, peer in enumerate(peers):
        seconds = [
            np.mean([record["seconds"] for record in results.of(name, peer, seeds)])
            for name in common
        ]
        yield row(
            TITLES[peer],
            f"{by_error[:, column].mean():.2f}",
            f"{by_loss[:, column].mean():.2f}",
            f"{np.sum(by_loss[:, column] == 1)}",
            f"{np.exp(np.mean(np.log(np.maximum(seconds, 1e-3)))):.3g}",
        )
    left_out = [name for name in names if name not in common]
    if left_out:
        yield f"\nNot in the ranks, since not all were fitted: {', '.join(left_out)}."


def installed(peers: Sequence[str]) -> Iterator[str]:
    """Yield the peers that can be imported; say of the others how to get them."""
    for name in peers:
        peer = PEERS[name]
        if find_spec(peer.module) is None:
            print(f"{peer.title} skipped: pip install {peer.distribution}", file=sys.stderr)
        else:
            yield name


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    quick = [name for name, peer in PEERS.items() if not peer.slow]
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--slow", action="store_true", help="slow peers too, with one seed")
    parser.add_argument("--seeds", type=positive(int), default=SEEDS, help="default: %(default)s")
    parser.add_argument("--data", type=listed([*TABLES]), default=[*TABLES], metavar="NAME,...",
                        help=f"some of {','.join(TABLES)}; default: all")  # fmt: skip
    parser.add_argument("--peers", type=listed([*PEERS]), metavar="NAME,...",
                        help=f"some of {','.join(PEERS)}; default: {','.join(quick)}")  # fmt: skip
    parser.add_argument("--json", type=writable, metavar="FILE", help="keep, and go on with, fits")
    chosen = parser.parse_args()
    check_data_folder(parser)
    if chosen.quick:
        chosen.seeds = 1
    if chosen.peers is None:
        chosen.peers = list(PEERS) if chosen.slow else quick
    return chosen


def report(results: Results, names: Sequence[str], peers: Sequence[str], seeds: int) -> None:
    """Print the table of each data set, and that of the ranks."""
    peers = list(peers)
    if set(PAIR) <= set(peers):
        peers.append(AVERAGE)
    there = []
    for name in names:
        try:
            for line in compare(results, name, peers, seeds):
                print(line, flush=True)
            there.append(name)
        except NotThere as reason:
            print(f"{name} skipped: {reason}", file=sys.stderr)
    print("\n".join(summary(results, there, peers, seeds)), flush=True)


def main() -> None:
    """Print a table for each data set, and the ranks."""
    if sys.argv[1:2] == ["--fit"]:  # a process that `measure` started
        name, peer, seed, file = sys.argv[2:]
        fit(name, peer, int(seed), file)
        return
    chosen = parse()
    peers = list(installed(chosen.peers))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if chosen.json is not None:
            folder = chosen.json.with_suffix(".predictions")
            folder.mkdir(exist_ok=True)
        report(Results(folder, chosen.json), chosen.data, peers, chosen.seeds)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
