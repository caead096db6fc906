"""The tables of tabular.py, from the records of fits alone: nothing is fitted, no data is read.

A cell is mean ± standard deviation over the seeds at hand, one number where there is one fit; the
best mean of a row is bold; "–" is what no record has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markdown_tables import heading, row
from tabular_peers import AVERAGE, FEWER, LIMITED, PAIR, PEERS, PEERS_AND_LIMITED, TITLES
from tabular_records import HIGHER_IS_BETTER, MEASURES, SECONDS, Results

NONE = "–"
OVERVIEWS: dict[str, Callable[[str], str]] = {
    "test RMSE or log loss": lambda task: MEASURES[task][-1],
    "test accuracy": lambda task: "" if task == "regression" else "accuracy",
    "test AUC": lambda task: "AUC" if task == "binary" else "",
    "CPU s of a fit": lambda task: SECONDS,
}
"""What is compared, and the measure that a task has of it; "" for none."""
HELD_TO = (
    ("california", "fastnn", "RMSE", 43_300.0),
    ("california", LIMITED, "RMSE", 45_500.0),
    ("california", "fastnn", SECONDS, 60.0),
    ("adult", "fastnn", "AUC", 0.9275),
    ("adult", "fastnn", "accuracy", 0.872),
)
"""Table, peer, measure and the worst that it may be."""
TIMES = 5.0
"""So many times the CPU seconds of fastnn the slow peers are to take, for no better a score."""


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation, with digits by the size of the mean.

    >>> spread([0.9122, 0.9124]), spread([43210.0, 43300.0]), spread([1.5])
    ('0.9123 ± 0.0001', '43255 ± 45', '1.5000')
    """
    mean, deviation = float(np.mean(values)), float(np.std(values))
    digits = 4 if mean < 10 else 2 if mean < 1000 else 0
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


def report(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int
) -> Iterator[str]:
    """Yield all tables: what was measured, each measure, ranks, the pair, CPU time, the bounds.

    Parameters
    ----------
    names, peers
        Of tables and peers, in the order in which they are shown; those without a record are not.
    """
    names = [name for name in names if any(results.of(name, peer, seeds) for peer in peers)]
    peers = [peer for peer in peers if any(results.of(name, peer, seeds) for name in names)]
    yield from provenance(results, names, seeds)
    compared = [peer for peer in peers if peer in PEERS or peer == AVERAGE]
    for title in OVERVIEWS:
        yield from overview(results, names, compared, seeds, title)
    yield from summary(results, names, compared, seeds)
    yield from of_the_pair(results, names, seeds)
    yield from as_good(results, names, seeds)
    yield from held(results, names, seeds)


def provenance(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield when and with what was measured, and what the tables are."""
    dates, versions = results.known("date"), results.known("version")
    if dates:
        days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        yield f"{days}; {', '.join(versions)}; seeds 0 to {seeds - 1}, ± their standard deviation."
    yield from heading("table", "what it has")
    for name in names:
        of_name = (each for key, each in results.records.items() if key[0] == name)
        yield row(name, next((each["table"] for each in of_name if "table" in each), NONE))


def overview(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int, title: str
) -> Iterator[str]:
    """Yield the table of one measure: a row for each table, a column for each peer."""
    tasks = results.tasks()
    measures = {name: OVERVIEWS[title](tasks[name]) for name in names}
    shown = [
        name for name in names
        if measures[name] and any(results.of(name, peer, seeds) for peer in peers)
    ]  # fmt: skip
    if not shown:
        return
    yield from heading(title, *(TITLES[peer] for peer in peers))
    for name in shown:
        measure = measures[name]
        found = [results.values(name, peer, seeds, measure) for peer in peers]
        means = [float(np.mean(values)) for values in found if values]
        best = max(means) if measure in HIGHER_IS_BETTER else min(means)
        cells = []
        for peer, values in zip(peers, found, strict=True):
            text = cell(peer, values, seeds, measure)
            first = values and measure != SECONDS and float(np.mean(values)) == best
            cells.append(f"**{text}**" if first else text)
        yield row(name, *cells)


def cell(peer: str, values: Sequence[float], seeds: int, measure: str = "") -> str:
    """Return what a table says of a peer, and of how many seeds if some are missing."""
    if not values:
        return NONE
    if measure == SECONDS:
        return f"{np.mean(values):.3g}"
    known = PEERS_AND_LIMITED.get(peer)
    wanted = known.seeds(seeds) if known else seeds
    return spread(values) + (f" ({len(values)} of {wanted})" if len(values) < wanted else "")


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

    ranked, tasks = [], results.tasks()
    for name in names:
        measure = MEASURES[tasks[name]][which]
        sign = -1 if measure in HIGHER_IS_BETTER else 1
        means = [np.mean(results.values(name, peer, seeds, measure)) for peer in peers]
        ranked.append(rankdata(sign * np.array(means)))
    return np.array(ranked)


def summary(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int
) -> Iterator[str]:
    """Yield average ranks over the tables that all have: without slow peers, then with each."""
    slow = [peer for peer in peers if peer in PEERS and PEERS[peer].slow]
    for left_out in (slow, *([each for each in slow if each != one] for one in slow)):
        group = [peer for peer in peers if peer not in left_out]
        shared = [name for name in names if all(results.of(name, peer, seeds) for peer in group)]
        yield from average_ranks(results, shared, group, seeds)


def average_ranks(
    results: Results, names: Sequence[str], peers: Sequence[str], seeds: int
) -> Iterator[str]:
    """Yield the table of average ranks of peers, each of which has all of the tables."""
    if not names or len(peers) < 2:
        return
    tables = f"{len(names)} tables" if len(names) > 3 else ", ".join(names)
    yield from heading(
        f"average rank of {len(peers)} over {tables}",
        "by RMSE, accuracy", "by RMSE, log loss", "best of all", "CPU s, geometric mean",
    )  # fmt: skip
    by_error, by_loss = (ranks(results, names, peers, seeds, which) for which in (0, -1))
    for column, peer in enumerate(peers):
        seconds = [np.mean(results.values(name, peer, seeds, SECONDS)) for name in names]
        yield row(
            TITLES[peer],
            f"{by_error[:, column].mean():.2f}",
            f"{by_loss[:, column].mean():.2f}",
            f"{np.sum(by_loss[:, column] == 1)}",
            f"{np.exp(np.mean(np.log(np.maximum(seconds, 1e-3)))):.3g}",
        )


def of_the_pair(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield on how many tables the mean of two predictions is better than either."""
    three = (AVERAGE, *PAIR)
    shared = [name for name in names if all(results.of(name, peer, seeds) for peer in three)]
    if not shared:
        return
    better = [
        int(np.sum(ranks(results, shared, three, seeds, which)[:, 0] == 1)) for which in (-1, 0)
    ]
    yield ""
    yield (
        f"{TITLES[AVERAGE]} is better than either on {better[0]} of {len(shared)} tables by RMSE "
        f"and log loss, on {better[1]} by RMSE and accuracy."
    )


def held(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield the table of what fastnn is held to, of what was measured."""
    rows = []
    for name, peer, measure, bound in HELD_TO:
        values = results.values(name, peer, seeds, measure)
        if values:
            higher = measure in HIGHER_IS_BETTER
            mean = float(np.mean(values))
            within = mean >= bound if higher else mean <= bound
            limit = f"{'at least' if higher else 'at most'} {bound:g}"
            measured = cell(peer, values, seeds, measure)
            what = f"{name}, {TITLES[peer]}: {measure}"
            rows.append(row(what, limit, measured, "yes" if within else "no"))
    rows += faster(results, names, seeds)
    if rows:
        yield from heading("held to", "bound", "measured", "kept")
        yield from rows


def faster(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield rows of what slow peers take, times what fastnn takes to be no worse, and the bound."""
    for each in equals(results, names, seeds):
        yield row(
            f"{each.table}: {SECONDS} of {TITLES[each.peer]}, of fastnn as good by {each.measure}",
            f"at least {TIMES:g} times",
            f"{each.times:.1f} times" if each.enough else "never as good",
            "yes" if each.enough and each.times >= TIMES else "no",
        )


@dataclass(frozen=True)
class Equal:
    """A slow peer on a table, and the cheapest of fastnn's settings that is no worse by a measure.

    Attributes
    ----------
    table, peer, measure
        These.
    theirs, seconds
        The peer's mean score and CPU seconds.
    ours, defaults
        fastnn's mean score at its defaults, and how many times their CPU seconds the peer takes.
    enough, score, times
        The setting, as `PEERS_AND_LIMITED` calls it, its mean score, and how many times its CPU
        seconds the peer takes; "": none is as good.
    """

    table: str
    peer: str
    measure: str
    theirs: float
    seconds: float
    ours: float
    defaults: float
    enough: str = ""
    score: float = math.nan
    times: float = math.nan


def equals(results: Results, names: Sequence[str], seeds: int) -> Iterator[Equal]:
    """Yield what each slow peer is compared by: the first and the last score of each table.

    Settings are those of `FEWER`, from the fewest members on, then the defaults; the first whose
    mean over the seeds at hand is no worse than the peer's. Test rows decide which, as they do of
    any question of how much it takes to be as good as another.
    """
    tasks = results.tasks()
    for peer in (peer for peer, known in PEERS_AND_LIMITED.items() if known.slow):
        for name in names:
            if not results.of(name, peer, seeds) or not results.of(name, PAIR[0], seeds):
                continue
            for measure in dict.fromkeys(MEASURES[tasks[name]][place] for place in (0, -1)):
                yield _equal(results, name, peer, measure, seeds)


def _equal(results: Results, name: str, peer: str, measure: str, seeds: int) -> Equal:
    def mean(own: str, of: str) -> float:
        return float(np.mean(results.values(name, own, seeds, of)))

    theirs, seconds = mean(peer, measure), mean(peer, SECONDS)
    found = Equal(
        name, peer, measure, theirs, seconds,
        mean(PAIR[0], measure), seconds / mean(PAIR[0], SECONDS),
    )  # fmt: skip
    for own in (*FEWER, PAIR[0]):
        if results.of(name, own, seeds) and _no_worse(results, name, own, peer, measure, seeds):
            times = seconds / mean(own, SECONDS)
            return replace(found, enough=own, score=mean(own, measure), times=times)
    return found


def as_good(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield the table of how much CPU time slow peers take, at fastnn's defaults and as good."""
    found = list(equals(results, names, seeds))
    if not found:
        return
    yield from heading(
        "slow peer, table, measure", "its score", f"its {SECONDS}", "fastnn at its defaults",
        "times its CPU", "fewest members no worse", "its score", "times its CPU",
    )  # fmt: skip
    for each in found:
        enough = (NONE, NONE, NONE)
        if each.enough:
            members = FEWER.get(each.enough, "the defaults")
            enough = (str(members), spread([each.score]), f"{each.times:.1f}")
        yield row(
            f"{TITLES[each.peer]}, {each.table}, {each.measure}",
            cell(each.peer, results.values(each.table, each.peer, seeds, each.measure), seeds),
            f"{each.seconds:.3g}",
            spread([each.ours]),
            f"{each.defaults:.1f}",
            *enough,
        )
    yield from of_settings(results, names, seeds)


def of_settings(results: Results, names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield on how many tables each number of members is as good as slow peers, for less CPU time.

    That is what to expect of a number that was chosen without the rows to test on.
    """
    tasks, often = results.tasks(), f"and {TIMES:g} times less {SECONDS}"
    yield from heading(
        "members, beside a slow peer", "tables", "no worse by RMSE, accuracy", often,
        "no worse by RMSE, log loss", often, f"times its {SECONDS}, geometric mean",
    )  # fmt: skip
    for peer in (peer for peer, known in PEERS.items() if known.slow):
        for own in (*FEWER, PAIR[0]):
            shared = [
                name for name in names
                if results.of(name, peer, seeds) and results.of(name, own, seeds)
            ]  # fmt: skip
            if not shared:
                continue
            seconds = [
                [np.mean(results.values(name, each, seeds, SECONDS)) for name in shared]
                for each in (peer, own)
            ]
            times, counts = np.divide(*seconds), []
            for which in (0, -1):
                good = np.array([
                    _no_worse(results, name, own, peer, MEASURES[tasks[name]][which], seeds)
                    for name in shared
                ])  # fmt: skip
                counts += [f"{good.sum()}", f"{(good & (times >= TIMES)).sum()}"]
            members = FEWER.get(own, "the defaults")
            mean = f"{np.exp(np.log(times).mean()):.1f}"
            yield row(f"{members}, {TITLES[peer]}", f"{len(shared)}", *counts, mean)


def _no_worse(results: Results, name: str, own: str, peer: str, measure: str, seeds: int) -> bool:
    """Return whether the mean score of one is no worse than that of another, by a measure."""
    ours, theirs = (np.mean(results.values(name, each, seeds, measure)) for each in (own, peer))
    return bool(ours >= theirs if measure in HIGHER_IS_BETTER else ours <= theirs)
