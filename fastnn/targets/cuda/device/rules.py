"""The rules of one problem as device functions: its activations, its loss, its update.

A kernel is compiled for the rules that its problem has, so that no time goes into choosing among
all that exist. User-defined rules are compiled in like built-in ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.rules import activations, losses, updates
from fastnn.rules.table import UPDATES, loss_row
from fastnn.targets.cuda.device.elementary import make_elementary
from fastnn.targets.cuda.host.formulas import (
    LAYER_NUMBERS,
    Formula,
    Places,
    activations_of,
    compiled_rule,
    places_of,
)
from fastnn.targets.cuda.host.numba_cuda import U, inner

MOST_IN_REGISTERS = 16  # constants of a formula


@dataclass(frozen=True)
class Recipe:
    """What kernels are compiled for; problems with equal recipes share them.

    Attributes
    ----------
    dtype
        "float32" or "float64".
    activations
        The distinct activations that are applied number by number: names, or user-defined
        formulas without their numbers. The position of one is its code.
    loss
        A name, or a user-defined formula without its numbers.
    rule
        Name of the update rule.
    """

    dtype: str
    activations: tuple[str | Formula, ...]
    loss: str | Formula
    rule: str

    @property
    def slots(self) -> int:
        """How many numbers of state each parameter has."""
        return UPDATES[self.rule].slots

    @property
    def by_class(self) -> bool:
        """Whether the loss is that of classes, which is not computed number by number."""
        return isinstance(self.loss, str) and loss_row(self.loss).rowwise

    @property
    def places(self) -> Places:
        """Where the numbers of rules lie in `Plan.numbers`."""
        return places_of(self.activations, self.loss)


def recipe_of(problem: Problem, rule: str | None = None) -> Recipe:
    """Return what the kernels of `problem` are compiled for; `rule` is another than its own."""
    activations, loss = activations_of(problem.network), compiled_rule(problem.loss)
    return Recipe(problem.dtype.name, activations, loss, rule or problem.optimizer.rule)


def no_precision(problem: Problem) -> str:
    """Return why kernels without tensor cores cannot train a problem, or ""."""
    if problem.precision == "float32":
        return ""
    return f"precision {problem.precision!r} takes tensor cores, which only tiled products use"


def make_rules(recipe: Recipe) -> SimpleNamespace:
    """Return the device functions of a recipe.

    layer_constants(numbers, layer) -> those of the layer's activation, if it is a formula;
    activate(code, z, alpha, constants) -> a;  derivative(code, z, a, alpha, constants) -> da/dz;
    loss_parameter(numbers, alpha) -> what the loss is given: its formula's constants, or alpha;
    loss(p, y, parameter) -> the loss of one output;  gradient(p, y, parameter) -> its derivative by
    p;  of a formula of whole rows there is make_row_loss(together) in their place, see
    `fastnn.graph.row_function`, and of a loss of classes nothing;  update(w, g, s, t, lr, beta1,
    rest1, beta2, rest2, epsilon, shrink, c1, c2, c3, threshold) -> (w, s, t): the rule's step, the
    soft threshold of l1, and the mean of weights;  exp, log.
    """
    dtype = np.dtype(recipe.dtype)
    real, m = dtype.type, make_elementary(dtype)
    places, own = recipe.places, recipe.loss
    take_layer, given = make_constants(real, places.each - LAYER_NUMBERS)
    loss = gradient = make_row_loss = None
    loss_parameter = inner(lambda numbers, alpha: alpha)
    with np.errstate(all="ignore"):  # constants of a user-defined rule may not fit in float32
        pairs = [_activation(each, real, m, given) for each in recipe.activations]
        if isinstance(own, Formula) and own.rowwise:
            make_row_loss = partial(_row_loss, own, real, m)
        elif isinstance(own, Formula):
            loss, gradient, loss_parameter = _loss(own, real, m, places.loss)
        elif not recipe.by_class:
            loss, gradient = map(inner, getattr(losses, own)(real, m))
    values, derivatives = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    step = inner(getattr(updates, recipe.rule)(real, m))
    shrunk, mean = inner(updates.soft_threshold(real)), inner(updates.mean_of_weights(real))
    averages = UPDATES[recipe.rule].mean

    @inner
    def update(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3, threshold):
        w, s, t = step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3)
        w = shrunk(w, threshold)
        return w, mean(s, w, c1) if averages else s, t

    @inner
    def layer_constants(numbers, layer):
        return take_layer(numbers, places.layers + layer * places.each + LAYER_NUMBERS)

    return SimpleNamespace(
        layer_constants=layer_constants,
        activate=_choose(values, inner(lambda z, alpha, constants: z)),
        derivative=_choose(derivatives, inner(lambda z, a, alpha, constants: a)),
        loss_parameter=loss_parameter,
        loss=loss,
        gradient=gradient,
        make_row_loss=make_row_loss,
        update=update,
        exp=m.exp,
        log=m.log,
    )


def make_constants(real: Any, count: int) -> tuple[Any, Any]:
    """Return ``take(numbers, at)`` and ``given(taken)`` for so many constants.

    What is taken is there for the whole of a layer or a batch; given are the constants, a tuple of
    type `real`. Few are read as they are taken, and stay in registers; many are read where they are
    used, as there would be no registers left.
    """
    each = "".join(f"real(numbers[U(at + {place})]), " for place in range(count))
    namespace: dict[str, Any] = {"real": real, "U": U}
    exec(f"def read(numbers, at):\n    return ({each})", namespace)
    read = inner(namespace["read"])
    if count <= MOST_IN_REGISTERS:
        return read, inner(lambda taken: taken)
    return inner(lambda numbers, at: (numbers, at)), inner(lambda taken: read(taken[0], taken[1]))


def _made(formula: Formula, *given: Any) -> Any:
    """Return what the source of a formula makes of the types and functions it is given."""
    namespace: dict[str, Any] = {}
    exec(formula.text, namespace)
    return namespace["rule"](*given)


ALONE = SimpleNamespace(  # for a thread that has a row by itself
    total=inner(lambda team, x: x), largest=inner(lambda team, x: x), wait=inner(lambda team: None)
)


def _row_loss(formula: Formula, real: Any, m: SimpleNamespace, together: Any) -> Any:
    """Return the function of a row's loss, for threads that come together in this way."""
    with np.errstate(all="ignore"):
        return inner(_made(formula, real, m, U, together))


def _loss(formula: Formula, real: Any, m: SimpleNamespace, at: int) -> tuple[Any, Any, Any]:
    """Return value and gradient of a loss of one output, and what reads their last argument."""
    first, second = map(inner, _made(formula, real, m))
    take, given = make_constants(real, formula.count)
    return (
        inner(lambda p, y, taken: first(p, y, given(taken))),
        inner(lambda p, y, taken: second(p, y, given(taken))),
        inner(lambda numbers, alpha: take(numbers, at)),
    )


def _activation(rule: str | Formula, real: Any, m: SimpleNamespace, given: Any) -> tuple[Any, Any]:
    """Return value and derivative of an activation, which take alpha and constants last."""
    if isinstance(rule, Formula):
        first, second = map(inner, _made(rule, real, m))
        return (
            inner(lambda z, alpha, constants: first(z, given(constants))),
            inner(lambda z, a, alpha, constants: second(z, a, given(constants))),
        )
    # Learned and drawn slopes are those of leaky_relu, with an alpha of their own.
    make = getattr(activations, {"prelu": "leaky_relu", "rrelu": "leaky_relu"}.get(rule, rule))
    first, second = map(inner, make(real, m))
    return (
        inner(lambda z, alpha, constants: first(z, alpha)),
        inner(lambda z, a, alpha, constants: second(z, a, alpha)),
    )


def _choose(functions: list[Any], none: Any, code: int = 0) -> Any:
    """Return ``choice(code, *given)``: the function of that position, or `none` where are none."""
    if len(functions) < 2:
        only = functions[0] if functions else none
        return inner(lambda number, *given: only(*given))
    first, rest = functions[0], _choose(functions[1:], none, code + 1)

    @inner
    def choice(number, *given):
        return first(*given) if number == code else rest(number, *given)

    return choice
