"""The epochs as curves in TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, MissingExtra, shown
from fastnn.storage.tensor_file import family_errors
from fastnn.storage.whole_files import try_folder
from fastnn.training.callbacks.bundled import Bundled, Callback
from fastnn.training.history import History
from fastnn.training.metrics import PREFIX

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

# What TensorBoard calls the series: those with the same word before the slash share a heading.
TAGS = {
    "loss": "loss/train",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "seconds": "seconds",
}


@explained
@dataclass
class TensorBoard(Bundled):
    """Write a point an epoch to the curves that TensorBoard shows: ``tensorboard --logdir ...``.

    The curves are loss/train, loss/validation, accuracy/validation, learning_rate and seconds, and
    for each metric of `fit` one such as auc/validation; the step is the number of epochs done.
    Points are in the file before the next epoch begins. Where a training is resumed, or goes back,
    points of the epochs that are done anew are dropped.

    Needs ``tensorboard``, the extra of that name, or ``tensorboardX``.

    Parameters
    ----------
    folder
        Where to; made if need be. TensorBoard takes each folder for a run.

    Raises
    ------
    InvalidInput
        No path. In `fit`: restarts or a sweep.
    MissingExtra
        Neither library is installed.
    UnusableFile
        In `fit`: no folder, or one that cannot be written to.
    """

    folder: str | bytes | os.PathLike[Any]
    one_training: ClassVar[bool] = True
    _writer: Any = field(default=None, init=False, repr=False, compare=False)
    _last: int = field(default=-1, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the folder, and that there is what writes."""
        if not isinstance(self.folder, (str, bytes, os.PathLike)):
            raise InvalidInput(f"folder must be a path, not {shown(self.folder):.80}")
        if not os.fsdecode(self.folder) or "\0" in os.fsdecode(self.folder):
            raise InvalidInput(f"folder must be the path of one, not {shown(self.folder):.80}")
        _maker()

    def check(self, trainer: Stateful) -> None:
        """Make the folder, and refuse one that cannot be written to."""
        _maker()  # a pickle may have come to where there is none
        folder = os.fsdecode(self.folder)
        if "://" in folder:
            return  # not in this machine's file system; the writer knows how to get there
        with family_errors(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
            try_folder(Path(folder))

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Have the first epoch open a file of its own."""
        self.end(trainer)

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Write the points of the epoch just done."""
        step = history.first_epoch + len(history)
        if self._writer is None or step <= self._last:
            self.end(trainer)
            with family_errors(os.fsdecode(self.folder)):
                self._writer = _maker()(os.fsdecode(self.folder), step)
        tags = TAGS | {name: f"{name.removeprefix(PREFIX)}/validation" for name in history.metrics}
        for name, tag in tags.items():
            value = history[name][-1]
            if value is not None:
                self._writer.add_scalar(tag, value, step)
        self._writer.flush()
        self._last = step

    def end(self, trainer: Stateful) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _maker() -> Callable[[str, int], Any]:
    """Return what makes a writer for a folder, from which points from a step on are dropped."""
    if find_spec("tensorboard") is not None:
        return _Events
    if find_spec("tensorboardX") is not None:
        return _summary_writer
    raise MissingExtra(
        "fastnn.TensorBoard writes with tensorboard or tensorboardX, and neither is installed: "
        'pip install "fastnn[tensorboard]"'
    )


def _summary_writer(folder: str, purge_step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(folder, purge_step=purge_step)


class _Events:
    """Scalars as events of TensorBoard's own file format; PyTorch's writer stands on the same."""

    def __init__(self, folder: str, purge_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._file = EventFileWriter(folder)
        # A start drops whatever earlier files have from this step on, but only in this version.
        self._add(purge_step, file_version="brain.Event:2")
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._add(purge_step, session_log=start)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        point = self._summary.Value(tag=tag, simple_value=value)
        self._add(step, summary=self._summary(value=[point]))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _add(self, step: int, **content: Any) -> None:
        self._file.add_event(self._event(wall_time=time.time(), step=step, **content))
