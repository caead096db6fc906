"""A call of `fit`, as its callbacks see it: it begins, a signal may end it, and it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from signal import Signals as SignalNumber
from typing import TYPE_CHECKING

from fastnn.training.callbacks.bundled import Bundled, Callback
from fastnn.training.callbacks.checkpoint import Checkpoint
from fastnn.training.callbacks.signals import Interruptible, Signals, StopTraining
from fastnn.training.callbacks.states import hand_over
from fastnn.training.progress import Progress, Watch

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful


@contextmanager
def running(
    trainer: Stateful, callbacks: tuple[Callback, ...], progress: Progress | Watch
) -> Iterator[Progress | Watch]:
    """Let callbacks get ready and clear up, and give what the training reports to meanwhile.

    Where one of them heeds signals, a signal ends the training, and nothing is raised.
    """
    states, trainer._callback_states = trainer._callback_states, []
    heeding = [each for each in callbacks if isinstance(each, Checkpoint) and each.on_signal]
    with ExitStack() as ending:
        try:
            hand_over(states, callbacks, trainer)
            for callback in callbacks:
                if isinstance(callback, Bundled):
                    callback.begin(trainer, callbacks)
                    ending.callback(callback.end, trainer)
        except BaseException:
            trainer._callback_states = states  # for a call that is not refused
            raise
        if not heeding:
            yield progress
            return
        with Signals() as signals:
            try:
                yield Interruptible(progress, signals.check)
            except StopTraining:
                pass
            finally:
                ending.close()  # saves, while a second signal does no harm
                for callback in heeding:
                    number = signals.received
                    callback.signal = None if number is None else SignalNumber(number)
