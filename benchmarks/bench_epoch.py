"""One epoch of every workload of peers.py."""

from __future__ import annotations

from trained import trained
from workloads import WORKLOADS


class Epoch:
    """A relu network, float32, SGD, threads chosen by fastnn; workloads.py has the sizes.

    Where MNIST is not at hand, its rows are random, and "mnist-..." then takes as long as
    "dense-...", whose rows have no zeros.
    """

    params = list(WORKLOADS)
    param_names = ["workload"]

    def setup(self, name: str) -> None:
        """Make data and network, and train an epoch."""
        self.contender = trained(WORKLOADS[name])

    def time_epoch(self, name: str) -> None:
        """Seconds of `fit` for one epoch: the order of the rows, and training on all of them."""
        self.contender.train(1)
