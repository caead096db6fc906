"""User-defined activations and losses, from a function or a formula of `fastnn.graph`.

The formula says everything: targets take value and derivative from it, `repr` shows it, two rules
of one formula are equal whatever their variables are called, and a file keeps its nodes and no
code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.derivative import adjoints
from fastnn.graph.evaluate import evaluate
from fastnn.graph.expression import Expression
from fastnn.graph.nodes import MOST_TOGETHER, check_compiled, topological, vector
from fastnn.graph.row_function import row_function
from fastnn.graph.row_source import RowSource, row_source
from fastnn.graph.saved import from_plain, to_plain
from fastnn.graph.simplify import ZERO
from fastnn.graph.source import RuleSource, activation_source, loss_source
from fastnn.graph.tracing import parameter_names, trace, trace_row
from fastnn.rules.table import Activation, ActivationName, Loss, LossName

TARGET = "y"  # the variable of a loss given as a formula that stands for the target
# Parameters of these names come first where others define losses (target, output).
_TARGETS = frozenset(("y_true", "true", "truth", "target", "targets", "label", "labels"))
# With y before one of these names, y is the target.
_OUTPUTS = frozenset(
    ("z", "y_pred", "pred", "prediction", "output", "outputs", "logit", "logits", "score", "scores")
)


@dataclass(frozen=True, eq=False, repr=False)
class CustomRule:
    """A formula in the place of a name; see the two kinds below.

    Attributes
    ----------
    expression
        Its first variable is the one by which the derivative is taken.
    """

    expression: Expression

    _count: ClassVar[int]
    _variables: ClassVar[str]
    _what: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the variables; drop names of intermediate results, which a file does not keep."""
        names = self.expression.names
        if len(names) != self._count:
            raise self._wrong_count(names)
        check_compiled(len(topological([self.expression.node])))  # before it is differentiated
        plain = to_plain(self.expression)
        for name in names:
            if name not in plain["nodes"]:
                raise InvalidInput(
                    f"{self._what} {self!r} does not depend on {name}, so it is a mistake; "
                    f"use {name} in it"
                )
        object.__setattr__(self, "expression", from_plain(plain))
        check_compiled(self.source.operations)

    @classmethod
    def _wrong_count(cls, names: tuple[str, ...]) -> InvalidInput:
        return InvalidInput(
            f"{cls._variables}, not {len(names)} ({', '.join(names) or 'none'}); "
            "give the other parameters of the function a default"
        )

    @property
    def source(self) -> RuleSource | RowSource:
        """The rule for compiled targets."""
        raise NotImplementedError

    @cached_property
    def derivative(self) -> Expression:
        """The derivative by the first variable."""
        return self.expression.derivative(self.expression.names[0])

    @cached_property
    def flat(self) -> bool:
        """Whether the derivative is 0 everywhere."""
        node = self.derivative.node
        return node.operation == "constant" and node.value == 0

    @cached_property
    def _key(self) -> tuple[type, str]:
        names, plain = self.expression.names, to_plain(self.expression)
        rows = [names.index(row) if row in names else [row] for row in plain["nodes"]]
        return type(self), repr((plain.get("lengths"), rows))

    def __eq__(self, other: object) -> bool:
        """Compare formulas, whatever their variables are called."""
        return self._key == other._key if isinstance(other, CustomRule) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash of the formula."""
        return hash(self._key)

    def __repr__(self) -> str:
        """Show the formula as a function."""
        return f"lambda {', '.join(self.expression.names)}: {self.expression!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the formula; the rest follows from it."""
        return type(self), (self.expression,)


class CustomActivation(CustomRule):
    """An activation a = f(z), of one variable.

    >>> from fastnn import Dense
    >>> from fastnn.graph import tanh
    >>> Dense(10, activation=lambda z: tanh(z) * 0.5).activation
    lambda z: tanh(z)*0.5
    """

    _count = 1
    _variables = "an activation has one variable"
    _what = "the activation"

    @cached_property
    def row(self) -> Activation:
        """What has to be known of it, as `fastnn.rules.table.ACTIVATIONS` has it for names."""
        needs_z = self.source.derivative_needs_z
        return Activation(repr(self), "user-defined", derivative_needs_z=needs_z, flat=self.flat)

    @cached_property
    def side(self) -> int:
        """The sign that all values have, of numbers from -1000 to 1000 of all sizes; 0: both.

        A 0 is taken for a positive value, as `predict` does, unless only numbers of more than 10
        give one: as -exp(z), which is rounded to it.
        """
        sizes = np.geomspace(1e-6, 1e3, 91)
        z = np.concatenate([-sizes[::-1], [0.0], sizes])
        with np.errstate(all="ignore"):  # of what is rounded to 0
            formula = self.expression
            values: np.ndarray = formula._values([formula.node], {formula.names[0]: z})[0]
        there = ~np.isnan(values)
        if (values[there] >= 0).all():
            return 1
        near = there & (np.abs(z) <= 10)
        return -1 if (values[there] <= 0).all() and (values[near] < 0).all() else 0

    @cached_property
    def source(self) -> RuleSource:
        """The rule for compiled targets."""
        return activation_source(self.expression)


class CustomLoss(CustomRule):
    """A loss f(p, y) of one output and its target, both numbers; of a row the mean over outputs.

    >>> from fastnn import Dense, Network, Trainer
    >>> from fastnn.graph import maximum
    >>> trainer = Trainer(Network(3, [Dense(1)]), loss=lambda z, y: maximum(0, 1 - y * z) ** 2)
    >>> trainer.problem.loss
    lambda z, y: maximum(0, 1 - y*z)**2
    """

    _count = 2
    _variables = "a loss has two variables, the output and the target"
    _what = "the loss"

    def __post_init__(self) -> None:
        """Check also that there is something to learn."""
        super().__post_init__()
        if self.flat:
            raise _nothing_to_learn(self, "output")

    @cached_property
    def row(self) -> Loss:
        """What has to be known of it, as `fastnn.rules.table.LOSSES` has it for names."""
        return Loss(repr(self), "user-defined", "real")

    @cached_property
    def source(self) -> RuleSource:
        """The rule for compiled targets."""
        return loss_source(self.expression)

    def evaluate(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each output alone."""
        return self._of(self.expression, outputs, targets)

    def gradient(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the derivative of each of them by its output."""
        return self._of(self.derivative, outputs, targets)

    def _of(self, rule: Expression, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        values = dict(zip(self.expression.names, (outputs, targets), strict=True))
        found: np.ndarray = rule._values([rule.node], values)[0]
        return found


class CustomRowLoss(CustomRule):
    """A loss of a row: one number, of the vectors of its outputs and its targets.

    >>> from fastnn import Dense, Network, Trainer
    >>> from fastnn.graph import exp
    >>> def gaussian(outputs, targets):
    ...     mean, log_variance = outputs
    ...     return 0.5 * (log_variance + (targets[0] - mean) ** 2 * exp(-log_variance))
    >>> Trainer(Network(3, [Dense(2)]), loss=gaussian).problem.loss
    lambda outputs, targets: 0.5*(outputs[1] + (targets[0] - outputs[0])**2*exp(-outputs[1]))
    """

    _count = 2
    _variables = "a loss has two variables, the outputs and the targets"
    _what = "the loss"

    def __post_init__(self) -> None:
        """Check also that there is something to learn."""
        super().__post_init__()
        if self.flat:
            raise _nothing_to_learn(self, "outputs")

    @cached_property
    def _lengths(self) -> tuple[int, int]:
        first, second = to_plain(self.expression)["lengths"]
        return first, second

    @property
    def outputs(self) -> int:
        """How many outputs it takes."""
        return self._lengths[0]

    @property
    def columns(self) -> int:
        """How many targets it takes."""
        return self._lengths[1]

    @cached_property
    def row(self) -> Loss:
        """What has to be known of it, as `fastnn.rules.table.LOSSES` has it for names."""
        return Loss(repr(self), "user-defined", "real", rowwise=True, columns=self.columns)

    @cached_property
    def source(self) -> RowSource:
        """The rule for compiled targets."""
        return row_source(self.expression, self.outputs, self.columns)

    @cached_property
    def function_text(self) -> str:
        """The rule as the source of a function of one row by itself."""
        return row_function(self.expression, self.outputs, self.columns)

    @cached_property
    def derivative(self) -> Expression:
        """The derivatives by the outputs, a vector, or a number that all of them have."""
        first, _ = self.expression.names
        node = adjoints(self.expression.node).get(vector(first, self.outputs), ZERO)
        return Expression(node, self.expression.names)

    def evaluate(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each row, (m,), of outputs (m, n) and targets (m, columns)."""
        return self._evaluated(self.expression, outputs, targets, 1)[:, 0]

    def gradient(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the derivatives of the loss of each row by its outputs, (m, n)."""
        return self._evaluated(self.derivative, outputs, targets, self.outputs)

    def _evaluated(
        self, formula: Expression, outputs: np.ndarray, targets: np.ndarray, width: int
    ) -> np.ndarray:
        values = dict(zip(self.expression.names, (outputs, targets), strict=True))
        (found,) = evaluate([formula.node], values, outputs.dtype)
        return np.array(np.broadcast_to(found, (len(outputs), width)), outputs.dtype)


def _nothing_to_learn(loss: CustomRule, what: str) -> InvalidInput:
    return InvalidInput(
        f"the loss {loss!r} has derivative 0 by the {what} {loss.expression.names[0]} "
        f"everywhere, so nothing can be learned; give one that changes with the {what}"
    )


# What `Dense` and `Problem` take.
AnyActivation = ActivationName | Callable[[Any], Any] | Expression | CustomActivation
AnyLoss = LossName | Callable[[Any, Any], Any] | Expression | CustomLoss | CustomRowLoss


def check_together(rules: Iterable[CustomRule]) -> None:
    """Raise `InvalidInput` where the rules of a network would take minutes to compile."""
    count = sum(rule.source.operations for rule in rules)
    if count > MOST_TOGETHER:
        raise InvalidInput(
            f"the activations and the loss given as formulas have {count} operations together, "
            f"their derivatives included, but at most {MOST_TOGETHER} are compiled, since many "
            "more would take minutes; make them shorter, or give fewer layers one"
        )


def custom_activation(rule: Callable[..., Any] | Expression) -> CustomActivation:
    """Return the activation that a function or a formula of one variable gives.

    Raises
    ------
    InvalidInput
        Another number of variables, a formula in which it does not occur or that is too long to be
        compiled, or what `fastnn.graph.trace` cannot trace.
    """
    return CustomActivation(rule if isinstance(rule, Expression) else trace(rule))


def custom_loss(rule: Callable[..., Any] | Expression, outputs: int) -> CustomLoss | CustomRowLoss:
    """Return the loss that a function of (outputs, targets) gives, or a formula with a variable y.

    Parameters
    ----------
    rule
        A function of two vectors, or a formula of two numbers.
    outputs
        How many outputs a network has.

    Raises
    ------
    InvalidInput
        Other variables, a loss that does not change with the output or does not depend on the
        target, a function whose parameters are called as a target and an output are, a formula too
        long to be compiled, or what `fastnn.graph.trace` cannot trace.
    """
    if not isinstance(rule, Expression):
        parameters = parameter_names(rule)
        if len(parameters) != 2:
            raise CustomLoss._wrong_count(parameters)
        formula = trace_row(rule, outputs)
        vectors = "lengths" in to_plain(formula)
        loss = CustomRowLoss(formula) if vectors else CustomLoss(formula)
        first, second = parameters
        if first in _TARGETS or (first == TARGET and second in _OUTPUTS):
            raise InvalidInput(
                f"a loss takes the output first and the target second, but {loss!r} has {first} "
                f"first; write lambda {second}, {first}: ... (or rename it, if it is the output)"
            )
        return loss
    # Which variable of a formula comes first depends on how it is written.
    others = tuple(name for name in rule.names if name != TARGET)
    if len(others) != 1:
        raise InvalidInput(
            f"a loss given as a formula has a variable {TARGET}, the target, and one other, the "
            f"output, not {', '.join(rule.names) or 'none'}; a function (output, target) may give "
            "them any names"
        )
    return CustomLoss(Expression(rule.node, (*others, TARGET)))


LOSS_KINDS = (CustomLoss, CustomRowLoss)
