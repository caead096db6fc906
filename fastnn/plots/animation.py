"""Moving pictures: a training from epoch to epoch, a descent from step to step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, shown, whole
from fastnn.graph.axes import axes_or_new, colour, pyplot
from fastnn.plots.boundary import decision_boundary
from fastnn.plots.regression import regression_line
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

    from fastnn.graph import Descent
    from fastnn.training.trainer import Trainer

Picture = Callable[..., Any]  # (trainer, X, y, ax=ax)


@explained
def animate(
    subject: Trainer | Descent,
    X: Any = None,
    y: Any = None,
    frames: int = 30,
    every: int = 1,
    picture: Picture | None = None,
    interval: float = 150.0,
    ax: Axes | None = None,
) -> FuncAnimation:
    """Return an animation of a training, or of the path of `fastnn.graph.minimize`.

    It is Matplotlib's own: ``animation.save("training.gif")`` writes a file, and
    ``HTML(animation.to_jshtml())`` of IPython.display shows it in a notebook. Keep it until then,
    since Matplotlib stops an animation that nobody holds.

    Parameters
    ----------
    subject
        A trainer, which stays as it is: a copy of it is trained. Or a `Descent`.
    X, y
        Of a trainer, what to train on, as for `Trainer.fit`.
    frames
        How many pictures at most. The first is of the start; those of a descent are points of its
        path, evenly apart, with its end.
    every
        Of a trainer, after how many epochs each further picture is.
    picture
        Of a trainer, what draws one: a function ``(trainer, X, y, ax=ax)``, such as
        `decision_boundary`, which is that of a classifier, or `regression_line`, that of a
        regression of one input.
    interval
        Milliseconds from one picture to the next.
    ax
        Where to draw; None makes a new figure. A trainer's pictures clear it.

    Raises
    ------
    InvalidInput
        Another subject, a setting out of range, data that `fit` would not take, or a trainer that
        no picture here can draw.
    MissingExtra
        Matplotlib is not installed.
    """
    from fastnn.graph import Descent
    from fastnn.training.trainer import Trainer

    frames, every = whole(frames, "frames", 1, 100_000), whole(every, "every", 1)
    pause = number(interval, "interval", 0.0, open_low=True)
    if isinstance(subject, Descent):
        if X is not None or y is not None or picture is not None:
            raise InvalidInput("X, y and picture are for a trainer; a Descent takes none of them")
        return _of_descent(subject, frames, pause, ax)
    if not isinstance(subject, Trainer):
        raise InvalidInput(
            f"animate needs a Trainer, or what minimize returned, not a {type(subject).__name__}"
        )
    draw = picture or _usual(subject)
    if not callable(draw):
        raise InvalidInput(
            f"picture must be a function (trainer, X, y, ax=ax), not {shown(draw):.80}"
        )
    pyplot()  # what is missing is told before anything is trained
    states = _states(subject, X, y, frames, every)
    ax = axes_or_new(ax, 6.5, 4.8)
    model = copy.copy(subject)

    def show(index: int) -> list[Any]:
        ax.clear()
        model.set_parameters(states[index])
        draw(model, X, y, ax=ax)
        epoch = subject.epoch + index * every
        ax.set_title(f"after {epoch} epoch{'s' * (epoch != 1)}")
        return []

    return _animation(ax, show, len(states), pause)


def _animation(ax: Axes, show: Callable[[int], list[Any]], frames: int, pause: float) -> Any:
    from matplotlib.animation import FuncAnimation

    show(0)  # what cannot be drawn is told here, and not where the animation is first shown
    figure: Any = ax.figure
    return FuncAnimation(figure, show, frames=frames, interval=pause, repeat=False)


def _usual(trainer: Trainer) -> Picture:
    """Return the picture that is drawn of such a trainer, or raise `InvalidInput`."""
    network, kind = trainer.network, loss_row(trainer.problem.loss).targets
    _ = network.widths  # an error, where the number of inputs is not known yet
    if kind in ("classes", "binary") and network.inputs in (1, 2):
        return decision_boundary
    if kind in ("real", "counts") and network.inputs == 1 and network.outputs == 1:
        return regression_line
    raise InvalidInput(
        f"animate has no picture of a network of {network.inputs} inputs and {network.outputs} "
        f"outputs with loss {trainer.problem.loss!r}; give picture=, a function (trainer, X, y, "
        "ax=ax) that draws one"
    )


def _states(trainer: Trainer, X: Any, y: Any, frames: int, every: int) -> list[Any]:
    """Return the parameters of a copy before training and after every so many epochs."""
    mine = copy.copy(trainer)
    states = [mine.parameters]
    for _ in range(frames - 1):
        # What a training of few epochs has not learned is no news in a picture of it.
        mine._fit_in_turn(lambda text: None, X, y, every, progress=False)
        states.append(mine.parameters)
    return states


def _of_descent(result: Descent, frames: int, pause: float, ax: Axes | None) -> Any:
    """Return the animation of a point that goes down its path."""
    count = len(result.path)
    chosen = np.unique(np.linspace(0, count - 1, min(frames, count)).round().astype(int))
    ax = result.plot(ax)
    places = result.places()
    (trail,) = ax.plot([], [], "-", color=colour(3), linewidth=2.5, zorder=6)
    (point,) = ax.plot([], [], "o", color=colour(3), markeredgecolor="black", ms=9, zorder=7)
    title = ax.get_title()

    def show(index: int) -> list[Any]:
        last = int(chosen[index])
        trail.set_data(*places[:, : last + 1])
        point.set_data(*places[:, last : last + 1])
        step = int(result.path_steps[last])
        text = f"{step} step{'s' * (step != 1)}"
        ax.set_title(f"{title}: {text}" if title else text)
        return [trail, point]

    return _animation(ax, show, len(chosen), pause)
