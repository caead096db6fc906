"""Networks in training, made once a process: asv calls `setup` before every sample."""

from __future__ import annotations

from functools import cache

from contenders.fastnn_ import Contender
from workloads import Workload, initial_parameters, load


@cache
def trained(workload: Workload, threads: int | None = None) -> Contender:
    """Return the workload in training, after an epoch in which the kernels were loaded."""
    contender = Contender(workload, load(workload), initial_parameters(workload), threads)
    contender.train(1)
    return contender
