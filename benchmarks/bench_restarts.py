"""Sixteen restarts of a small network beside one."""

from __future__ import annotations

from restarts import RESTARTS, WORKLOADS, make_data, train


class Restarts:
    """The workloads of restarts.py, threads chosen by fastnn."""

    params = (list(WORKLOADS), [1, RESTARTS])
    param_names = ["workload", "restarts"]

    def setup(self, name: str, restarts: int) -> None:
        """Make the data, and train two restarts."""
        self.data = make_data(WORKLOADS[name])
        train(WORKLOADS[name], *self.data, 2)

    def time_fit(self, name: str, restarts: int) -> None:
        """Seconds from a new trainer to the end of `fit`."""
        train(WORKLOADS[name], *self.data, restarts)
