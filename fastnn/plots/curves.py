"""Curves over one number: losses over epochs, activations and losses with slopes, a descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, shown
from fastnn.graph.axes import axes_or_new, colour
from fastnn.rules.table import ACTIVATIONS, LOSSES, loss_row, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.graph import Descent
    from fastnn.graph.custom import AnyActivation, AnyLoss
    from fastnn.losses import ParametricLoss
    from fastnn.training.history import History

_WIDTH, _HEIGHT = 6.0, 4.0  # inches
_MOST_MARKED = 30  # epochs that get a marker each; more run together


@explained
def loss_curves(history: History, label: str = "", ax: Axes | None = None) -> Axes:
    """Draw the loss of each epoch, and the validation loss where there is one.

    Called again with the same axes, it adds the curves of another history in the next colour.

    Parameters
    ----------
    history
        What `Trainer.fit` returned; at least one epoch.
    label
        What the legend calls this history; only needed where there are several.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        Not a `History`, or one without an epoch.
    MissingExtra
        Matplotlib is not installed.
    """
    from fastnn.training.history import History

    if not isinstance(history, History):
        raise InvalidInput(
            f"loss_curves needs a History, such as trainer.history, not a {type(history).__name__}"
        )
    if not len(history):
        raise InvalidInput("the history has no epoch to draw; call fit first")
    ax = axes_or_new(ax, _WIDTH, _HEIGHT)
    epochs = history.first_epoch + 1 + np.arange(len(history))
    # Training is solid, validation dashed: the solid lines say how many histories are there.
    shade = colour(sum(line.get_linestyle() == "-" for line in ax.lines))
    mark = "o" if len(history) <= _MOST_MARKED else ""
    before = f"{label}, " if label else ""
    ax.plot(epochs, history.loss, "-", marker=mark, ms=4, color=shade, label=f"{before}training")
    if any(value is not None for value in history.validation_loss):
        found = [np.nan if value is None else value for value in history.validation_loss]
        ax.plot(
            epochs, found, "--", marker=mark, ms=4, mfc="white", color=shade,
            label=f"{before}validation",
        )  # fmt: skip
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


@explained
def activation(
    name: AnyActivation,
    alpha: float | None = None,
    limits: tuple[float, float] = (-5.0, 5.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw an activation a = f(z) and its derivative da/dz.

    Parameters
    ----------
    name
        A name from `fastnn.rules.table.ACTIVATIONS` but softmax and hardmax, which are no curves;
        or a user-defined one, as for `Dense`.
    alpha
        As for `Dense`.
    limits
        The first and the last z.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        An unknown name, softmax or hardmax, an alpha that `Dense` would not take, or limits out of
        order.
    MissingExtra
        Matplotlib is not installed.
    """
    from fastnn.network import Dense
    from fastnn.targets.numpy.activations import activation_of

    curves = [row.name for row in ACTIVATIONS.values() if not row.rowwise]
    if isinstance(name, str) and name not in ACTIVATIONS:
        raise unknown_name("activation", name, curves)
    if isinstance(name, str) and ACTIVATIONS[name].rowwise:
        raise InvalidInput(f"{name} depends on a whole row and is no curve; draw {curves[1]}")
    layer = Dense(1, name, alpha=alpha)
    rule, chosen = activation_of(layer.activation), layer.alpha
    assert rule.derivative is not None
    low, high = (number(limit, "a limit of z") for limit in _pair(limits))
    if low >= high:
        raise InvalidInput(f"limits must be (low, high), not ({low:g}, {high:g})")
    ax = axes_or_new(ax, _WIDTH, _HEIGHT)
    z = np.linspace(low, high, 2001)
    a = rule.value(z[:, None], chosen or 0.0)
    derivatives = rule.derivative(z[:, None], a, chosen or 0.0)
    ax.axhline(0, color="gray", linewidth=0.8)
    ax.axvline(0, color="gray", linewidth=0.8)
    ax.plot(z, a[:, 0], color=colour(0), linewidth=2, label="a")
    ax.plot(z, derivatives[:, 0], "--", color=colour(3), linewidth=2, label="derivative da/dz")
    ax.set_xlabel("z")
    shown = str(layer.activation)
    ax.set_ylabel(f"a = {shown:.30}, and da/dz")
    ax.set_title(shown if chosen is None else f"{shown}, alpha = {chosen:g}")
    ax.legend()
    return ax


@explained
def loss_function(
    loss: AnyLoss | ParametricLoss,
    y: float | Sequence[float] | None = None,
    at: float | None = 1.0,
    limits: tuple[float, float] = (-4.0, 4.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw a loss l(p, y) over its output p, and its tangent, whose slope is dl/dp.

    Parameters
    ----------
    loss
        A name from `fastnn.rules.table.LOSSES` but softmax_cross_entropy, which is a function of a
        whole row; one of `fastnn.losses`; or a user-defined one of one output, as for a `Trainer`.
    y
        The target, or several: a curve each. None: 0 and 1 for losses with labels, 1 for counts, 0
        for numbers.
    at
        The output at which the tangents are; None: no tangents. At a kink the slope is the one that
        training takes.
    limits
        The first and the last output.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        An unknown name, a loss of a whole row, a target or an output that it does not have, or
        limits out of order.
    MissingExtra
        Matplotlib is not installed.
    """
    from fastnn.inputs.data import check_data
    from fastnn.inputs.problem import Problem
    from fastnn.network import SGD, Dense, Network
    from fastnn.targets.numpy.losses import definition_of

    if isinstance(loss, str) and loss in LOSSES and LOSSES[loss].rowwise:
        raise InvalidInput(
            f"{loss} depends on a whole row of outputs and is no curve; of two classes it is "
            "binary_cross_entropy of the difference of the outputs"
        )
    double = np.dtype(np.float64)
    problem = Problem(Network(1, [Dense(1)]), loss, SGD(0.1), 1, 0.0, 0.0, double, 0)
    rule, row = definition_of(problem), loss_row(problem.loss)
    if rule.value is None or rule.gradient is None:
        raise InvalidInput(f"{problem.loss!r} is a loss of a whole row, which is no curve")
    low, high = (number(limit, "a limit of the output") for limit in _pair(limits))
    if low >= high:
        raise InvalidInput(f"limits must be (low, high), not ({low:g}, {high:g})")
    if y is None:
        y = {"binary": (0.0, 1.0), "counts": (1.0,)}.get(row.targets, (0.0,))
    targets = [number(each, "a target y") for each in np.atleast_1d(np.asarray(y)).tolist()]
    check_data(problem, np.zeros((len(targets), 1)), targets)
    place = None if at is None else number(at, "the output at")
    ax = axes_or_new(ax, _WIDTH, _HEIGHT)
    p = np.linspace(low, high, 2001)
    for index, target in enumerate(targets):
        with np.errstate(all="ignore"):
            values = rule.value(p[:, None], np.full((len(p), 1), target))[:, 0]
        ax.plot(p, values, color=colour(index), linewidth=2, label=f"y = {target:g}")
        if place is None:
            continue
        here = np.array([[place]]), np.array([[target]])
        height, slope = float(rule.value(*here)[0, 0]), float(rule.gradient(*here)[0, 0])
        ends = place + 0.18 * (high - low) * np.array([-1.0, 1.0])
        ax.plot(
            ends, height + slope * (ends - place), "--", color=colour(index), linewidth=1.3,
            label=f"tangent at {place:g}: slope {slope + 0.0:.4g}",
        )  # fmt: skip
        ax.plot([place], [height], "o", color=colour(index), markersize=5)
    name = problem.loss if isinstance(problem.loss, str) else repr(problem.loss)
    ax.set_xlabel("output z" if row.from_logits else "output p")
    ax.set_ylabel("loss")
    ax.set_title(f"{name:.60}")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def _pair(limits: Any) -> Any:
    """Return two limits, or raise `InvalidInput` for what are not two."""
    if isinstance(limits, (tuple, list, np.ndarray)) and len(limits) == 2:
        return limits
    raise InvalidInput(f"limits must be (low, high), not {shown(limits):.80}")


@explained
def descent(result: Descent, ax: Axes | None = None) -> Axes:
    """Draw the path of `fastnn.graph.minimize`: the picture of `Descent.plot`.

    Raises
    ------
    InvalidInput
        Not a `Descent`, or one of more than two variables.
    MissingExtra
        Matplotlib is not installed.
    """
    from fastnn.graph import Descent

    if not isinstance(result, Descent):
        raise InvalidInput(
            "descent needs what fastnn.graph.minimize returned, not a " + type(result).__name__
        )
    return result.plot(ax)
