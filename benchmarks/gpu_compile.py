"""The kernels that gpu.py launches, compiled for a device that is not at hand.

    FASTNN_CACHE_DIR=FOLDER python benchmarks/gpu.py --compile-for 9.0,132,232448

makes those of the parts that are named, on all processors of a machine that needs no device. One
that has such a device and the same versions of Python, Numba and compilers finds them in FOLDER.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

from contenders.fastnn_ import trainer_of
from gpu_check_jobs import DTYPES, TRAINERS, jobs_of
from gpu_checks import cases
from gpu_workloads import rows_of

from fastnn.inputs.problem import Problem
from fastnn.targets.engine import gradient_problem
from fastnn.threads.processors import available_threads


class Job(NamedTuple):
    """What one process compiles: a name, and problems with their update rules.

    `family` is the one that trains them, None: the one that a step costs least; `networks` is how
    many of one problem train side by side.
    """

    name: str
    problems: tuple[tuple[Problem, str], ...]
    family: str | None = None
    networks: int = 1


def limits_of(text: str) -> Any:
    """Return the limits of a device: its capability, SMs, bytes of shared memory of a block."""
    from fastnn.targets.cuda.host.numba_cuda import Limits

    found = re.fullmatch(r"(\d+)\.(\d),(\d+),(\d+)", text)
    if found is None:
        raise ValueError("capability,SMs,bytes of shared memory a block: such as 9.0,132,232448")
    major, minor, sms, shared_bytes = map(int, found.groups())
    return Limits("a device", sms, shared_bytes, (major, minor))


def jobs_for(parts: Sequence[str]) -> Iterator[Job]:
    """Yield the jobs of some parts of gpu.py, what is timed before what is checked."""
    for part in parts:
        for key, row in rows_of(part, "cuda").items():
            problem = trainer_of(row.workload, target="numpy").problem
            problem = replace(problem, precision=row.precision)
            yield Job(key, ((problem, problem.optimizer.rule),), None, row.models)
    if "check" in parts:
        every = {dtype: list(cases(dtype)) for dtype in DTYPES}
        for job in jobs_of("cuda"):
            if job.family != TRAINERS:
                chosen = [every[job.dtype][place] for place in job.places]
                own = [(case.problem, case.problem.optimizer.rule) for case in chosen]
                own += [(gradient_problem(case.problem, case.rows), "gradient") for case in chosen]
                yield Job(f"check {job}", tuple(own), job.family)


def compile_job(job: Job, limits: Any) -> float:
    """Compile what a job launches, in a process that uses no device; return the seconds."""
    from numba import float64, from_dtype, int32, int64, uint64

    from fastnn.targets.cuda.block import row_orders
    from fastnn.targets.cuda.block.family import Block
    from fastnn.targets.cuda.dispatch import FAMILIES, choose_family
    from fastnn.targets.cuda.host import reader
    from fastnn.targets.cuda.host.launching import compile_now
    from fastnn.targets.cuda.host.numba_cuda import pretend_device

    start = time.perf_counter()
    small = reader.make_search("beyond"), row_orders.make_kernel(True)
    for problem, rule in job.problems:
        kind = FAMILIES.get(job.family or "")
        if kind is None or not kind.reason_against(problem, rule, limits):
            family = (
                Block(problem, rule, limits, job.networks)
                if job.networks > 1
                else choose_family(problem, rule, limits, job.family)
            )
            pretend_device(limits.capability)
            for kernel, types in (*family.kernels(problem.batch_size), *family.predicting()):
                compile_now(kernel, *types)
            real = from_dtype(problem.dtype)
            compile_now(small[0], real[:, ::1], float64, int64[::1])
            compile_now(small[1], uint64[::1], int32[:, ::1])
    return time.perf_counter() - start


def compile_for(limits: Any, parts: Sequence[str], seconds: float) -> list[str]:
    """Do all jobs that begin within so many seconds; return a line for each that failed."""
    end, failed, jobs = time.monotonic() + seconds, [], list(jobs_for(parts))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(available_threads(), mp_context=context) as pool:
        for job, made in [(job, pool.submit(compile_job, job, limits)) for job in jobs]:
            if time.monotonic() > end and made.cancel():
                failed.append(f"{job.name}: no time was left for it")
                continue
            try:
                print(f"{job.name}: compiled ({made.result():.1f} s)", flush=True)
            except Exception as error:  # the others go on
                text = " ".join(f"{type(error).__name__}: {error}".split())
                failed.append(f"{job.name}: {text[:300]}")
    return failed
