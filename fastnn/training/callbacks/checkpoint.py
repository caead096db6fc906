"""Files that a training writes as it goes, from which it can be resumed."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals as SignalNumber
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.arguments import explained
from fastnn.errors import CorruptFile, InvalidInput, true_or_false, whole
from fastnn.storage import tensor_file
from fastnn.storage.checkpoint_files import Place, place_of
from fastnn.training import saved_trainer as models
from fastnn.training.callbacks.bundled import (
    Bundled,
    Callback,
    Mode,
    Monitor,
    check_monitor,
    sign_of,
)
from fastnn.training.callbacks.states import states_of
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful


@explained
@dataclass
class Checkpoint(Bundled):
    """Save the trainer as it goes, so that `Trainer.resume` goes on after a kill, to the same bits.

    A file has all that `Trainer.save` writes, and beside it how many epochs the call of `fit` had
    still to do and the state of its callbacks, the best epoch of `EarlyStopping` included. It is
    written whole or not at all, after every `every`-th epoch and after the last one, when all other
    callbacks have been called. A script that may be killed, and started again:

    >>> import os, tempfile
    >>> from fastnn import Checkpoint, Dense, MissingFile, Network, Trainer, datasets
    >>> X, y = datasets.xor(400)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> try:
    ...     trainer = Trainer.resume(path)
    ...     epochs = trainer.remaining
    ... except MissingFile:
    ...     trainer = Trainer(Network(2, [Dense(8, "tanh"), Dense(2)]), target="numpy")
    ...     epochs = 10
    >>> history = trainer.fit(X, y, epochs, callbacks=[Checkpoint(path, keep=2)])
    >>> sorted(os.listdir(os.path.dirname(path)))
    ['model-0009.safetensors', 'model-0010.safetensors']
    >>> Trainer.resume(path).remaining
    0

    Parameters
    ----------
    path
        Where to. A file whose name has the number of epochs done, as in
        ``"model-{epoch:04d}.safetensors"``. Or one without: ``"model.safetensors"`` stands for that
        same template, and with ``keep=1`` for itself. Or, without a suffix, a folder, with files
        named ``"model-{epoch:04d}.safetensors"``. Folders are made. Checkpoints of more epochs than
        the trainer has done belong to another training, and are refused, not replaced.
    every
        After how many epochs to save, at least 1.
    keep
        How many files stay, at least 1; older ones are removed. None keeps all.
    best
        What the best epoch is best by, as the monitor of `fastnn.EarlyStopping`: "validation_loss",
        "loss", "validation_accuracy", ... or a function (y, outputs). That epoch is saved as well,
        whatever `every` says, with ``best`` in the place of the number.
    on_signal
        Whether SIGTERM, and SIGUSR1 where it would end the process, end the call of `fit` instead:
        the epoch under way is taken back, the state of the last whole one saved, and `fit` returns;
        `Trainer.remaining` then is above 0. During `fit` and in the main thread only, as Python has
        it; all handlers are put back, and a user-defined one for SIGTERM is called in the end.
        Ctrl-C remains an error, and saves the last whole epoch, too.
    mode
        Whether the smallest or the largest is best, as for `fastnn.EarlyStopping`.

    Attributes
    ----------
    signal
        The signal that ended the last call of `fit`, or None.

    Raises
    ------
    InvalidInput
        A setting out of range, or a template that cannot be one. In `fit`: restarts or a sweep,
        which train several networks at a time; a learning rate that is a function, which no file
        can keep; or files of another training.
    """

    path: str | os.PathLike[str]
    every: int = 1
    keep: int | None = 3
    best: Monitor | None = None
    on_signal: bool = True
    mode: Mode = "auto"
    turn: ClassVar[int] = 2
    one_training: ClassVar[bool] = True
    signal: SignalNumber | None = field(default=None, init=False, repr=False, compare=False)
    # Epochs done when this was called last, and when it wrote last.
    _seen: int | None = field(default=None, init=False, repr=False, compare=False)
    _written: int | None = field(default=None, init=False, repr=False, compare=False)
    # The best epoch: its index, what it is best by, and its seconds, which no other epoch has.
    _best: list[Any] | None = field(default=None, init=False, repr=False, compare=False)
    _callbacks: tuple[Callback, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole(self.every, "every", 1)
        if self.keep is not None:
            whole(self.keep, "keep, where it is not None,", 1)
        if self.best is not None:
            check_monitor(self.best, self.mode, "best")
        self.on_signal = true_or_false(self.on_signal, "on_signal")
        self._place()

    def _watched(self) -> Monitor | None:
        return self.best  # the series that says which epoch is best

    def check(self, trainer: Stateful) -> None:
        """Make the folder, and refuse what could not be saved or resumed."""
        models.problem_to_plain(trainer.problem)
        place, done = self._place(), _epochs_of(trainer.history)
        with tensor_file.family_errors(os.fspath(place.folder)):
            place.folder.mkdir(parents=True, exist_ok=True)
        tensor_file.check_writable(place.file(done + 1))
        every = [file for epochs, file in place.numbered().items() if epochs >= done]
        if place.form is None:
            every = [place.file(0)]
        if self.best is not None:
            every.insert(0, place.best)
        self._written = None
        for file in every:
            try:
                history = models.load(file).history
            except FileNotFoundError:
                continue
            except CorruptFile as error:
                if place.form is None and file != place.best:  # whoever it belongs to
                    raise InvalidInput(
                        f"{file} is there and no checkpoint that could be resumed ({error}); "
                        "remove it, or give Checkpoint another path"
                    ) from error
                continue  # a damaged one, which is written again
            epochs = _epochs_of(history)
            # The best epoch may have come after the last that was saved by its number.
            if epochs > done and not (file == place.best and _goes_on(history, trainer.history)):
                raise InvalidInput(
                    f"{file} is a checkpoint of {epochs} epochs, but this trainer has done "
                    f"{done}: go on from it with Trainer.resume({os.fspath(self.path)!r}), "
                    "remove it, or give Checkpoint another path"
                )
            if file != place.best:
                self._written = epochs

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Take note of where the call begins, and of whose state is to be saved."""
        self.signal, self._callbacks = None, callbacks
        self._seen = _epochs_of(trainer.history) or None

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Save the epoch just done, if it is its turn or the best."""
        if not any(each is self for each in self._callbacks):
            raise InvalidInput(
                "a Checkpoint can only be called by fit; pass it as one of its callbacks"
            )
        done = _epochs_of(history)
        if self._is_best(trainer, history):
            self._write(trainer, self._place().best)
        self._seen = done
        if done % self.every == 0 or not trainer.remaining:
            self._save(trainer)

    def end(self, trainer: Stateful) -> None:
        """Save the last whole epoch, unless a callback has failed in it."""
        if self._seen not in (None, self._written) and self._seen == _epochs_of(trainer.history):
            self._save(trainer)
        self._callbacks = ()

    def state(self, trainer: Stateful) -> dict[str, Any]:
        """Return which epoch is the best."""
        return {} if self._best is None else {**self._by(), "epoch": self._best}

    def take_state(self, state: dict[str, Any], trainer: Stateful) -> None:
        """Go on from the best epoch, unless it was best by something else."""
        # Older files have no sign, and are best by what has a name of fastnn's.
        same = all(state.get(name, value) == value for name, value in self._by().items())
        best = state.get("epoch") if same and "by" in state else None
        plain = isinstance(best, list) and [*map(type, best)] == [int, float, float]
        if best is not None and not plain:
            raise CorruptFile(
                "the state of Checkpoint in the file is damaged: its best epoch cannot be "
                f"{best!r:.80}"
            )
        self._best = best

    def _by(self) -> dict[str, Any]:
        """Return what the best epoch is best by."""
        if self.best is None:
            return {"by": None}
        return {"by": self.series(), "sign": sign_of(self.best, self.mode)}

    def _is_best(self, trainer: Stateful, history: History) -> bool:
        """Take note of the epoch just done if it is the best, and return whether it is."""
        if self.best is None or trainer.epoch != _epochs_of(history):
            return False  # taken back to an earlier one, which has been here
        values, last = history[self.series()], len(history) - 1
        if self._best is not None:
            index, *known = self._best
            if index >= last or known != [values[index], history.seconds[index]]:
                self._best = None  # of another training, or of an epoch done anew
        value = values[last]
        sign = sign_of(self.best, self.mode)
        if value is None or value != value:  # NaN, as of outputs that overflow
            return False
        if self._best is not None and not sign * value < sign * self._best[1]:
            return False
        self._best = [last, value, history.seconds[last]]
        return True

    def _save(self, trainer: Stateful) -> None:
        """Write the file of the epochs done, and remove those that are one too many."""
        place, done = self._place(), _epochs_of(trainer.history)
        self._write(trainer, place.file(done))
        self._written = done
        every = place.numbered()
        # Later ones are damaged, or of epochs that are being done anew.
        later = [epochs for epochs in every if epochs > done]
        earlier = [epochs for epochs in every if epochs <= done]
        old = [] if self.keep is None else earlier[: -self.keep]
        for epochs in [*old, *later]:
            with contextlib.suppress(FileNotFoundError):
                every[epochs].unlink()

    def _write(self, trainer: Stateful, file: Path) -> None:
        model = trainer.__getstate__()
        model.callbacks = states_of(self._callbacks, trainer)
        models.save(model, file)

    def _place(self) -> Place:
        return place_of(self.path, one=self.keep == 1)


def _goes_on(history: History, from_: History) -> bool:
    """Whether a history is another one, of an epoch at least, and what came after it."""
    count = len(from_)
    return count > 0 and history.seconds[:count] == from_.seconds


def _epochs_of(history: History) -> int:
    """Return how many epochs have been done, those that were gone back behind included."""
    return history.first_epoch + len(history)
