"""A progress bar on a terminal or in a notebook, and lines for logs where they are asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import numpy as np

from fastnn.errors import InvalidInput, shown, whole

_WIDTH = 100  # of a terminal that tells none
_LEAST_BAR = 8
# What there is to see, and how many columns it takes beside the bar, the epoch and what follows;
# the first that leaves room for the bar and for a loss.
_FORMS = (
    ("{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}", 44),
    ("{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}", 22),
    ("{desc} {percentage:3.0f}%|{bar}|{postfix}", 9),
)
_LEAST_LOSS = 34  # columns of "epoch 10/100" and "loss 0.1234" and, if there is room, some more


class Progress:
    """Show epoch, batch, loss and samples a second while `stream` is a terminal, or a notebook's.

    The bar has at least a few columns of its own on a terminal of any width: what there is no room
    for beside it is left out. tqdm is imported only when there is a bar; without bar and lines each
    method returns at once.

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
    verbose
        Instead of a bar, write a line after every so many epochs, and after the last; 0: none.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        n: int,
        stream: TextIO | None = None,
        wanted: bool = True,
        verbose: int = 0,
    ) -> None:
        self._epochs, self._steps = epochs, steps_per_epoch
        self._batch_size, self._n = batch_size, n
        self._first: int | None = None
        self._done = 0  # epochs finished in this call
        self._bar: Any = None
        self._room = 0  # columns for what follows the bar
        self._verbose, self._begun = verbose, time.monotonic()
        notebook = stream is None and in_notebook()
        self._stream = stream = sys.stderr if stream is None else stream
        if wanted and not verbose and (notebook or _is_terminal(stream)):
            width = 0 if notebook else _columns(stream)
            form, beside = _FORMS[0] if notebook else _form(width or _WIDTH)
            self._room = (width or _WIDTH) - beside - _LEAST_BAR
            self._bar = _tqdm(notebook)(
                total=epochs * n,
                file=stream,
                unit=" samples",
                unit_scale=True,
                miniters=0,  # the clock alone decides when to draw: epochs may take any time
                mininterval=0.1,
                ncols=None if notebook else width or _WIDTH,
                nrows=None if width else 20,
                dynamic_ncols=width > 0,
                ascii=None if _draws_blocks(stream) else True,
                bar_format=form,
            )

    @property
    def shown(self) -> bool:
        """Whether there is a bar; without one an engine need not report its steps."""
        return self._bar is not None

    def start_epoch(self, epoch: int) -> None:
        """Announce epoch number `epoch`, counted from 0 over all calls of `fit`."""
        if self._first is None:
            self._first = epoch
        if self._bar is None:
            return
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
        parts = [f"loss {loss:.4g}", f"batch {steps}/{self._steps}"]
        self._move(epochs * self._n + min(steps * self._batch_size, self._n), parts)

    def end_epoch(
        self,
        loss: float,
        validation_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Show that the epoch is done, with what was measured on the validation data by name."""
        if self._bar is None and not self._verbose:
            return
        parts = [f"loss {loss:.4g}"]
        if validation_loss is not None:
            parts.append(f"validation loss {validation_loss:.4g}")
        parts += [f"{name} {value:.4g}" for name, value in (metrics or {}).items()]
        if self._bar is not None:
            self._move(self._n, parts)
        self._done += 1
        if self._verbose and self._stream is not None:
            if self._done % self._verbose == 0 or self._done == self._epochs:
                first = self._first or 0
                seconds = time.monotonic() - self._begun
                line = f"epoch {first + self._done}/{first + self._epochs}: {', '.join(parts)}"
                with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                    print(f"{line}, {seconds:.1f} s", file=self._stream, flush=True)

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

    def _move(self, rows: int, parts: list[str]) -> None:
        """Advance to `rows` of this epoch; tqdm draws at most every tenth of a second."""
        text, room = "", self._room - len(self._bar.desc or "")
        for part in parts:
            longer = f"{text}, {part}" if text else part
            if len(longer) <= room:
                text = longer
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


def check_progress(progress: Any) -> bool:
    """Return whether there is a bar, or raise `InvalidInput`."""
    if isinstance(progress, (bool, np.bool_)):
        return bool(progress)
    raise InvalidInput(
        f"progress must be True or False, not {shown(progress):.80}; verbose=5 writes a line after "
        "every fifth epoch"
    )


def check_verbose(verbose: Any, restarts: int) -> int:
    """Return after how many epochs there is a line, 0 for none, or raise `InvalidInput`."""
    if isinstance(verbose, (bool, np.bool_)):
        verbose = int(verbose)
    every = whole(verbose, "verbose, where it is not True or False,", 0)
    if every and restarts > 1:
        raise InvalidInput(
            f"verbose={every} writes lines of one training, but restarts={restarts} trains "
            "several; leave verbose out: the history tells how each of them ended"
        )
    return every


def _form(width: int) -> tuple[str, int]:
    """Return what to show on a terminal of so many columns, and how many it takes."""
    for form, beside in _FORMS:
        if width >= beside + _LEAST_BAR + _LEAST_LOSS:
            return form, beside
    return _FORMS[-1]


def in_notebook() -> bool:
    """Return whether the code runs in a notebook, whose output is no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _tqdm(notebook: bool) -> Any:
    """Return tqdm's bar; in a notebook the one of widgets, if it can have those."""
    if not notebook:
        from tqdm import tqdm

        return tqdm
    # tqdm.auto would warn that there are no widgets, and so a bar of text.
    from tqdm import notebook as widgets

    shown = getattr(widgets, "IProgress", None) is not None
    return widgets.tqdm if shown else widgets.std_tqdm


def _draws_blocks(stream: Any) -> bool:
    """Return whether a stream's encoding has the letters that a bar is drawn with."""
    try:
        "\u2588".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
