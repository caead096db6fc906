"""What sixteen restarts of a small network take beside one."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_context
from statistics import median
from time import perf_counter

from libraries import Settings
from markdown_tables import Table, milliseconds
from processes import cores
from restarts import RESTARTS, WORKLOADS, seconds_of

ROUNDS = 7

TEXT = """\
Restarts and one network are trained in turns; medians. On 2 cores the ratio is about 8 where all
is compiled code. What Python does for an epoch, a microsecond or two, one thread does at a time:
where an epoch is a single step of 4 rows that is most of it, and restarts hardly gain by threads. A
shared machine may not give all its cores at a time: that is what processes on all of them count
together beside what one counts alone. By CPU time is what the ratio would be if all cores were the
restarts' own and no thread ever waited for another."""


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each workload, and one for the cores that the machine gave."""
    titles = ("restarts", "one, ms", f"{RESTARTS}, ms", "ratio", "by CPU time")
    rows = {name: name for name in WORKLOADS}
    return [Table(titles, rows | {"given": "cores given at a time, least and most"})]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Train one network and sixteen in turns, so that all else meets both alike."""
    yield from table.head()
    given = [cores_given(cores())]
    record = settings.record["restarts"] = {}
    for name, workload in WORKLOADS.items():
        seconds_of(workload, 2)  # compiles, where nothing is in the cache
        runs = [
            (seconds_of(workload, 1), seconds_of(workload, RESTARTS))
            for _ in range(settings.times(ROUNDS))
        ]
        record[name] = runs
        ratio = median(many / one for (one, _), (many, _) in runs)
        ideal = median(many / one for (_, one), (_, many) in runs) / cores()
        times = (milliseconds(median(run[i][0] for run in runs)) for i in (0, 1))
        yield table.line(name, *times, f"{ratio:.2f}", f"{ideal:.2f}")
        given.append(cores_given(cores()))
    record["given"] = given
    yield table.line("given", "", "", f"{min(given):.2f} to {max(given):.2f}")


def count(seconds: float) -> int:
    """Return how far this process counts in so many seconds."""
    end, reached = perf_counter() + seconds, 0
    while perf_counter() < end:
        reached += sum(range(20_000)) > 0  # seldom asks for the time, which may be slow
    return reached


def cores_given(processes: int, seconds: float = 1.0) -> float:
    """Return what so many processes get done together beside one alone."""
    with get_context("spawn").Pool(processes) as pool:
        pool.map(count, [0.1] * processes, chunksize=1)
        alone = pool.apply(count, [seconds])
        return sum(pool.map(count, [seconds] * processes, chunksize=1)) / alone
