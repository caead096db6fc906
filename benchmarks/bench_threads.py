"""Epochs on 1, 2, 4 and 8 threads."""

from __future__ import annotations

from dataclasses import replace

from trained import trained
from workloads import WORKLOADS

from fastnn.threads.processors import available_threads

ROWS = {"dense-64": 12_800, "dense-512": 12_800, "wide": 1_024}


class Threads:
    """One epoch of a workload on fewer rows, so that all teams do the same steps."""

    params = (list(ROWS), [1, 2, 4, 8])
    param_names = ["workload", "threads"]

    def setup(self, name: str, threads: int) -> None:
        """Train an epoch, unless the machine has fewer processors than threads."""
        if threads > available_threads():
            raise NotImplementedError(f"{available_threads()} processors for {threads} threads")
        self.contender = trained(replace(WORKLOADS[name], rows=ROWS[name]), threads)

    def time_epoch(self, name: str, threads: int) -> None:
        """Seconds of `fit` for one epoch."""
        self.contender.train(1)
