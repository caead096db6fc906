"""The checks of gpu.py in processes side by side, for each case has kernels of its own to compile.

That takes ten seconds and more for a family, and there are hundreds of cases. A process has those
cases of a family that share their kernels; a fault on the device takes no other process along.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from gpu_checks import Case, cases, check, check_trainers
from gpu_tasks import LEAST_SECONDS, run

from fastnn.targets.selection import engine_class
from fastnn.threads.processors import available_threads

DTYPES = ("float32", "float64")
TRAINERS = "trainer"  # stands for a family in the job that checks a whole Trainer
SHARE = 0.9  # of the time, after which no process may be left


class Job(NamedTuple):
    """Some cases of a dtype, by their places in `cases`, in a family of kernels."""

    family: str
    dtype: str
    places: tuple[int, ...]

    def __str__(self) -> str:
        """Return the job in words, for a command line."""
        return ":".join([self.family, self.dtype, ",".join(map(str, self.places))])


def job_of(words: str) -> Job:
    """Return the job of some words."""
    family, dtype, places = words.split(":")
    return Job(family, dtype, tuple(map(int, places.split(","))))


def jobs_of(device: str) -> list[Job]:
    """Return all jobs; those come first that show each family in each kind of numbers."""
    if device == "cuda":
        from fastnn.targets.cuda.dispatch import FAMILIES

        families = list(FAMILIES)
    else:
        families = ["cpu"]
    found: dict[tuple[bool, str, Hashable], list[int]] = {}
    for dtype in DTYPES:
        for place, case in enumerate(cases(dtype)):
            if device == "cuda" or case.kind == dtype:
                key = not case.first, dtype, kernels_of(case, device)
                found.setdefault(key, []).append(place)
    ordered = sorted(found.items(), key=lambda item: item[0][0])
    return [Job(TRAINERS, DTYPES[0], (0,))] + [
        Job(family, dtype, tuple(places))
        for (_, dtype, _), places in ordered
        for family in families
    ]


def kernels_of(case: Case, device: str) -> Hashable:
    """Return what cases have in common that share their kernels; the processor has one set."""
    if device != "cuda":
        return ""
    from fastnn.targets.cuda.device.rules import recipe_of

    return recipe_of(case.problem), case.problem.precision


def check_some(words: str, device: str, tell: Callable[..., None]) -> None:
    """Do a job, and tell of each case."""
    job = job_of(words)
    if job.family == TRAINERS:
        for record in check_trainers(device):
            tell(kind="check", **record)
        return
    made: Callable[..., Any] = engine_class("cuda") if device == "cuda" else without_family
    every = list(cases(job.dtype))
    for place in job.places:
        tell(kind="check", **check(made, every[place], job.family))


def without_family(problem: Any, threads: int | None, family: str) -> Any:
    """Return the engine of the processor, which has no families."""
    del family
    return engine_class("cpu")(problem, threads)


def check_side_by_side(
    device: str, seconds: float, tell: Callable[..., None], jobs: list[Job] | None = None
) -> None:
    """Do all jobs, as many at a time as there are processors; say for what there was no time."""
    end = time.monotonic() + SHARE * seconds
    jobs = jobs_of(device) if jobs is None else jobs
    every = {dtype: list(cases(dtype)) for dtype in DTYPES}
    telling, left, seen = threading.Lock(), 0, set()

    def do(job: Job) -> None:
        nonlocal left
        limit, records, error = end - time.monotonic(), [], ""
        if limit >= LEAST_SECONDS:
            script = str(Path(__file__).resolve().parent / "gpu_part.py")
            outcome = run([script, "cases", str(job), device, f"{limit:.1f}"], limit)
            records, error = outcome.records, outcome.error
        with telling:
            for record in records:
                seen.add((record["family"], record["dtype"]))
                tell(**record)
            missing = [every[job.dtype][place] for place in job.places[len(records) :]]
            if time.monotonic() >= end - LEAST_SECONDS:
                left += len(missing)
            elif missing or error:
                case = missing[0] if missing else every[job.dtype][job.places[-1]]
                names = {"family": job.family, "case": case.name, "dtype": case.kind}
                tell(kind="check", **names, failure=error or "nothing was told of it")

    with ThreadPoolExecutor(max(1, available_threads())) as pool:
        list(pool.map(do, jobs))
    wanted = {(job.family, every[job.dtype][place].kind) for job in jobs for place in job.places}
    unseen = [", ".join(each) for each in sorted(wanted - seen)]
    tell(kind="checked", without_time=left, unseen=unseen)
