"""The rules of one problem as device functions: its activations, its loss, its update.

A kernel is compiled for the rules that its problem has, so that no time goes into choosing among
all that exist. User-defined rules are compiled in like built-in ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.graph.custom import CustomActivation, CustomLoss
from fastnn.inputs.problem import Problem
from fastnn.rules import activations, losses, updates
from fastnn.rules.table import UPDATES, activation_row, loss_row
from fastnn.targets.cuda.device.elementary import make_elementary
from fastnn.targets.cuda.host.numba_cuda import inner


@dataclass(frozen=True)
class Recipe:
    """What kernels are compiled for; problems with equal recipes share them.

    Attributes
    ----------
    dtype
        "float32" or "float64".
    activations
        The distinct activations that are applied number by number: names, or user-defined
        formulas. The position of one is its code.
    loss
        A name, or a user-defined formula.
    rule
        Name of the update rule.
    """

    dtype: str
    activations: tuple[Any, ...]
    loss: Any
    rule: str

    def __repr__(self) -> str:
        """Return all that the kernels depend on, formulas as the source that is compiled."""
        formulas = [
            (each.source.text, each.source.constants)
            if isinstance(each, (CustomActivation, CustomLoss))
            else each
            for each in (*self.activations, self.loss)
        ]
        return repr((self.dtype, self.rule, formulas))

    @property
    def slots(self) -> int:
        """How many numbers of state each parameter has."""
        return UPDATES[self.rule].slots


def recipe_of(problem: Problem, rule: str | None = None) -> Recipe:
    """Return what the kernels of `problem` are compiled for; `rule` is another than its own."""
    used = dict.fromkeys(
        dense.activation
        for dense in problem.network.dense
        if not activation_row(dense.activation).rowwise
    )
    loss: Any = problem.loss
    return Recipe(
        problem.dtype.name,
        tuple(used),
        loss if isinstance(loss, CustomLoss) else loss_row(loss).name,
        rule or problem.optimizer.rule,
    )


def no_precision(problem: Problem) -> str:
    """Return why kernels without tensor cores cannot train a problem, or ""."""
    if problem.precision == "float32":
        return ""
    return f"precision {problem.precision!r} takes tensor cores, which only tiled products use"


def make_rules(recipe: Recipe) -> SimpleNamespace:
    """Return the device functions of a recipe.

    activate(code, z, alpha) -> a;  derivative(code, z, a, alpha) -> da/dz;
    loss(p, y, alpha) -> the loss of one output;  gradient(p, y, alpha) -> its derivative by p (of
    losses that are not rowwise);  update(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon,
    shrink, c1, c2, c3, threshold) -> (w, s, t): the rule's step, the soft threshold of l1, and the
    mean of weights;  exp, log.
    """
    dtype = np.dtype(recipe.dtype)
    real, m = dtype.type, make_elementary(dtype)
    with np.errstate(all="ignore"):  # constants of a user-defined rule may not fit in float32
        pairs = [_formula(each, activations, real, m) for each in recipe.activations]
        loss = gradient = None
        if not loss_row(recipe.loss).rowwise:
            loss, gradient = _formula(recipe.loss, losses, real, m)
    values, derivatives = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    step = inner(getattr(updates, recipe.rule)(real, m))
    shrunk, mean = inner(updates.soft_threshold(real)), inner(updates.mean_of_weights(real))
    averages = UPDATES[recipe.rule].mean

    @inner
    def update(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3, threshold):
        w, s, t = step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3)
        w = shrunk(w, threshold)
        return w, mean(s, w, c1) if averages else s, t

    return SimpleNamespace(
        activate=_choose_value(values),
        derivative=_choose_derivative(derivatives),
        loss=loss,
        gradient=gradient,
        update=update,
        exp=m.exp,
        log=m.log,
    )


def _formula(rule: Any, module: Any, real: Any, m: SimpleNamespace) -> tuple[Any, Any]:
    """Return the two functions of a rule that is given by name, or is user-defined."""
    if isinstance(rule, (CustomActivation, CustomLoss)):
        namespace: dict[str, Any] = {}
        exec(rule.source.text, namespace)
        first, second = map(inner, namespace["rule"](real, m))
        numbers = tuple(map(real, rule.source.constants or (0.0,)))
        if isinstance(rule, CustomLoss):
            return (
                inner(lambda p, y, alpha: first(p, y, numbers)),
                inner(lambda p, y, alpha: second(p, y, numbers)),
            )
        return (
            inner(lambda z, alpha: first(z, numbers)),
            inner(lambda z, a, alpha: second(z, a, numbers)),
        )
    # Learned and drawn slopes are those of leaky_relu, with an alpha of their own.
    make = getattr(module, {"prelu": "leaky_relu", "rrelu": "leaky_relu"}.get(rule, rule))
    first, second = make(real, m)
    return inner(first), inner(second)


def _choose_value(functions: list[Any], code: int = 0) -> Any:
    """Return ``choice(code, z, alpha)``, which calls the function of that position."""
    if not functions:
        return inner(lambda number, z, alpha: z)
    if len(functions) == 1:
        (only,) = functions
        return inner(lambda number, z, alpha: only(z, alpha))
    first, rest = functions[0], _choose_value(functions[1:], code + 1)

    @inner
    def choice(number, z, alpha):
        return first(z, alpha) if number == code else rest(number, z, alpha)

    return choice


def _choose_derivative(functions: list[Any], code: int = 0) -> Any:
    """Return ``choice(code, z, a, alpha)``, which calls the function of that position."""
    if not functions:
        return inner(lambda number, z, a, alpha: a)
    if len(functions) == 1:
        (only,) = functions
        return inner(lambda number, z, a, alpha: only(z, a, alpha))
    first, rest = functions[0], _choose_derivative(functions[1:], code + 1)

    @inner
    def choice(number, z, a, alpha):
        return first(z, a, alpha) if number == code else rest(number, z, a, alpha)

    return choice
