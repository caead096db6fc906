"""Curves over one number: losses over epochs, an activation and its derivative, a descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import InvalidInput, number
from fastnn.graph.axes import axes_or_new, colour
from fastnn.rules.table import ACTIVATIONS, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.graph import Descent
    from fastnn.graph.custom import AnyActivation
    from fastnn.training.history import History

_WIDTH, _HEIGHT = 6.0, 4.0  # inches
_MOST_MARKED = 30  # epochs that get a marker each; more run together


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
    low, high = (number(limit, "a limit of z") for limit in limits)
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
    ax.set_ylabel("a and its derivative")
    shown = str(layer.activation)
    ax.set_title(shown if chosen is None else f"{shown}, alpha = {chosen:g}")
    ax.legend()
    return ax


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
