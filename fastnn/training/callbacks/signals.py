"""Signals that ask a training to end: whoever runs a cluster sends them a while before a kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from fastnn.training.progress import Progress, Watch

# SIGUSR1 kills a process that does not expect it; some queues send it as the first warning.
_ALWAYS, _UNLESS_TAKEN = ("SIGTERM",), ("SIGUSR1",)


class StopTraining(BaseException):
    """Raised where a training may end, after a signal; never seen outside `fit`."""


class Signals:
    """Takes note of signals, as a context manager; only a program's main thread can.

    A signal that is ignored stays ignored, and one that has a handler calls it in the end, when
    every handler is back in its place.

    Attributes
    ----------
    received
        The number of the last signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._frame: FrameType | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        """Install the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return self
        try:
            for name in (*_ALWAYS, *_UNLESS_TAKEN):
                number = getattr(signal, name, None)
                if number is None:
                    continue
                before = signal.getsignal(number)
                wanted = before is signal.SIG_DFL or (name in _ALWAYS and callable(before))
                if wanted and before is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._take_note)
        except BaseException:
            self._put_back()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Put every handler back, and call the one that would have been called."""
        before = self._before.get(self.received) if self.received is not None else None
        frame, self._frame = self._frame, None
        self._put_back()
        if before is not None and before is not signal.SIG_DFL:
            before(self.received, frame)

    def check(self) -> None:
        """Raise `StopTraining` where a signal has come."""
        if self.received is not None:
            raise StopTraining

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self.received, self._frame = number, frame

    def _put_back(self) -> None:
        """Put every handler back, even where Ctrl-C comes between two of them."""
        interruption: BaseException | None = None
        while self._before:
            number, handler = next(iter(self._before.items()))
            try:
                signal.signal(number, handler)
                del self._before[number]
            except BaseException as error:  # a handler of another signal raised it
                if interruption is not None and not isinstance(error, KeyboardInterrupt):
                    raise
                interruption = error
        if interruption is not None:
            raise interruption


class Interruptible(Watch):
    """A progress bar that ends an epoch where a check raises; the epoch is then taken back."""

    def __init__(self, progress: Progress | Watch, check: Callable[[], None]) -> None:
        super().__init__(check)
        self._progress = progress

    def start_epoch(self, epoch: int) -> None:
        """Announce an epoch, unless there is to be none."""
        self.check()
        self._progress.start_epoch(epoch)

    def update(self, steps_done: int, loss: float) -> None:
        """Show steps done, unless the epoch is to end."""
        self.check()
        self._progress.update(steps_done, loss)

    def end_epoch(
        self,
        loss: float,
        validation_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Show that the epoch is done."""
        self._progress.end_epoch(loss, validation_loss, metrics)
