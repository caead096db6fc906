"""What one call of `fit` or `partial_fit` of a multilayer perceptron has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnn.network import Network
from fastnn.rules.table import loss_row


@dataclass(frozen=True)
class Task:
    """What a call of `fit` or `partial_fit` has to do.

    Attributes
    ----------
    network, loss
        As the engine has them.
    first
        Whether nothing goes before it that counts.
    incremental
        Whether it is `partial_fit`: one epoch more of what the optimizer is at.
    """

    network: Network
    loss: Any
    first: bool
    incremental: bool

    @property
    def anew(self) -> bool:
        """Whether the optimizer starts anew."""
        return self.first or not self.incremental

    @property
    def summed(self) -> int:
        """Over how many outputs the engine takes a mean where scikit-learn takes a sum."""
        return 1 if loss_row(self.loss).rowwise else self.network.outputs
