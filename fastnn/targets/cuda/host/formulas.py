"""User-defined rules as kernels are compiled for them, and where the numbers of all rules lie.

Formulas that differ in their numbers alone are one rule: kernels read those from `Plan.numbers`,
as they read the constants of the optimizer and of each layer there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastnn.graph.custom import CustomActivation, CustomLoss, CustomRowLoss
from fastnn.network import Network
from fastnn.rules.table import activation_row, loss_row

# Fields of `Plan.numbers`, float64, and what each layer has after them.
BETA1, REST1, BETA2, REST2, EPSILON, CLIP_VALUE, CLIP_NORM, CONSTANTS = range(8)
L1, L2, MAX_NORM, RATE_FACTOR, BIAS_FACTOR, ALPHA, KEPT_FACTOR, LAYER_NUMBERS = range(8)


@dataclass(frozen=True)
class Formula:
    """A user-defined rule, as code is made of it.

    Attributes
    ----------
    text
        Its source: see `fastnn.graph.source`, and for a loss of whole rows
        `fastnn.graph.row_function`.
    count
        How many numbers it is given.
    rowwise
        Whether it is a loss of whole rows.
    """

    text: str
    count: int
    rowwise: bool = False


def compiled_rule(rule: Any) -> str | Formula:
    """Return the name of a rule, or what is compiled of a user-defined one."""
    if isinstance(rule, CustomRowLoss):
        return Formula(rule.function_text, len(rule.source.constants), rowwise=True)
    if isinstance(rule, (CustomActivation, CustomLoss)):
        return Formula(rule.source.text, len(rule.source.constants))
    return rule if isinstance(rule, str) else loss_row(rule).name


def constants_of(rule: Any) -> tuple[float, ...]:
    """Return the numbers of a rule's formula, none for one that has a name."""
    named = not isinstance(rule, (CustomActivation, CustomLoss, CustomRowLoss))
    return () if named else rule.source.constants


def activations_of(network: Network) -> tuple[str | Formula, ...]:
    """Return the distinct activations applied number by number; the place of one is its code."""
    every = (dense.activation for dense in network.dense)
    wanted = (each for each in every if not activation_row(each).rowwise)
    return tuple(dict.fromkeys(map(compiled_rule, wanted)))


class Places(NamedTuple):
    """Where numbers lie in `Plan.numbers`.

    Attributes
    ----------
    loss
        The first of the loss's formula.
    layers, each
        The first of the first layer, and how many a layer has: fields, then those of its
        activation's formula.
    """

    loss: int
    layers: int
    each: int

    def total(self, layers: int) -> int:
        """Return how many there are for so many layers."""
        return self.layers + layers * self.each


def places_of(activations: Iterable[str | Formula], loss: str | Formula) -> Places:
    """Return where the numbers of these rules lie."""
    most = max((each.count for each in activations if isinstance(each, Formula)), default=0)
    own = loss.count if isinstance(loss, Formula) else 0
    return Places(CONSTANTS, CONSTANTS + own, LAYER_NUMBERS + most)
