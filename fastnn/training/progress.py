"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO


class Progress:
    """Show epoch, batch, loss and samples a second while `stream` is a terminal.

    tqdm is imported only when there is something to show; otherwise each method returns at once.

    Parameters
    ----------
    epochs
        Epochs that this call of `fit` will do.
    steps_per_epoch, batch_size, n
        Minibatches an epoch, rows a minibatch, rows altogether.
    stream
        Where to draw; None for `sys.stderr`.
    wanted
        Whether to draw at all.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        n: int,
        stream: TextIO | None = None,
        wanted: bool = True,
    ) -> None:
        self._epochs, self._steps = epochs, steps_per_epoch
        self._batch_size, self._n = batch_size, n
        self._first: int | None = None
        self._done = 0  # epochs finished in this call
        self._bar: Any = None
        stream = sys.stderr if stream is None else stream
        if wanted and _is_terminal(stream):
            from tqdm import tqdm

            width = _columns(stream)
            self._bar = tqdm(
                total=epochs * n,
                file=stream,
                unit=" samples",
                unit_scale=True,
                miniters=0,  # the clock alone decides when to draw: epochs may take any time
                mininterval=0.1,
                ncols=width or 100,
                nrows=None if width else 20,
                dynamic_ncols=width > 0,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}",
            )

    @property
    def shown(self) -> bool:
        """Whether there is a bar; without one an engine need not report its steps."""
        return self._bar is not None

    def start_epoch(self, epoch: int) -> None:
        """Announce epoch number `epoch`, counted from 0 over all calls of `fit`."""
        if self._bar is None:
            return
        if self._first is None:
            self._first = epoch
        name = f"epoch {epoch + 1}/{self._first + self._epochs}"
        self._bar.set_description_str(name, refresh=False)

    def update(self, steps_done: int, loss: float) -> None:
        """Show that `steps_done` minibatches of this epoch are done, at mean loss `loss`.

        Where several epochs are done in one call, those of the epochs after it count on.
        """
        if self._bar is None:
            return
        epochs = max(0, steps_done - 1) // self._steps  # before the one that these are in
        steps = steps_done - epochs * self._steps
        text = f"batch {steps}/{self._steps}, loss {loss:.4g}"
        self._move(epochs * self._n + min(steps * self._batch_size, self._n), text)

    def end_epoch(
        self,
        loss: float,
        validation_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Show that the epoch is done, with what was measured on the validation data by name."""
        if self._bar is None:
            return
        text = f"loss {loss:.4g}"
        if validation_loss is not None:
            text += f", validation loss {validation_loss:.4g}"
        for name, value in (metrics or {}).items():
            text += f", {name} {value:.4g}"
        self._move(self._n, text)
        self._done += 1

    def show(self, what: str, epochs_done: float) -> None:
        """Show how many epochs are done where several trainings go on at a time."""
        if self._bar is None:
            return
        self._bar.set_description_str(what, refresh=False)
        self._bar.update(int(epochs_done * self._n) - self._bar.n)

    def close(self) -> None:
        """Leave the last state on the terminal; may be called more than once."""
        if self._bar is None:
            return
        self._bar.refresh()
        self._bar.close()
        self._bar = None

    def _move(self, rows: int, text: str) -> None:
        """Advance to `rows` of this epoch; tqdm draws at most every tenth of a second."""
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(self._done * self._n + rows - self._bar.n)


class Watch:
    """What a training reports to instead of a progress bar: it counts, and ends when told to.

    Parameters
    ----------
    check
        Called a few times a second; what it raises ends the training.
    """

    shown = True

    def __init__(self, check: Callable[[], None]) -> None:
        self.check: Callable[[], None] = check
        self.epochs: int = 0

    def start_epoch(self, epoch: int) -> None:
        """Take note of an epoch that begins."""
        self.check()

    def update(self, steps_done: int, loss: float) -> None:
        """Take note of steps done."""
        self.check()

    def end_epoch(
        self,
        loss: float,
        validation_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Take note of an epoch that is done."""
        self.epochs += 1


def _is_terminal(stream: Any) -> bool:
    """Return whether someone can watch `stream`; it is None in a program without a console."""
    if stream is None or getattr(stream, "closed", False):
        return False
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def _columns(stream: Any) -> int:
    """Return the width of the terminal; 0 where it tells none, as many in containers do not."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError):
        return 0
