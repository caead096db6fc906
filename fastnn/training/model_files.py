"""Files of a trainer: one written and read by name, and the newest of those that it left."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any, Never, Self

from fastnn.errors import InvalidInput
from fastnn.inputs.problem import Precision
from fastnn.storage.checkpoint_files import newest_good
from fastnn.targets.selection import Target
from fastnn.training import saved_trainer as models
from fastnn.training.saved_trainer import Model


class Stored:
    """What can be written to a file and read again, since a `Model` says all that it is."""

    @abstractmethod
    def __getstate__(self) -> Model:
        """Return all that there is to keep."""

    @abstractmethod
    def __setstate__(self, model: Model) -> None:
        """Become what `model` describes."""

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write network, settings, parameters, optimizer state, epoch and history to one file.

        The file is safetensors, without pickle, and is written whole or not at all. Of an
        initialiser that is a function, but for `fastnn.initializers.constant`, only the weights
        that it gave are kept: restarts, sweeps and `widen` of what is loaded, which would draw
        others, are refused until it is given again by ``set(network=...)``. Raises `MissingFile`
        where there is no such folder, `UnusableFile` where no file can be written, and
        `InvalidInput` where a learning rate is a function.
        """
        models.save(self.__getstate__(), path)

    @classmethod
    def load(
        cls,
        path: str | bytes | os.PathLike[Any],
        target: Target | None = None,
        threads: int | None = None,
        precision: Precision | None = None,
        **others: Never,
    ) -> Self:
        """Return the trainer that `save` wrote to `path`; it trains on to the same bits.

        Parameters
        ----------
        path
            The file.
        target, threads, precision
            What to use instead of the saved ones; None keeps those. What was trained on CUDA in
            another precision goes on elsewhere with ``precision="float32"``.

        Raises
        ------
        MissingFile
            There is no such file.
        UnusableFile
            A folder, a pipe or a device in its place, or a file that may not be read.
        CorruptFile
            A file that is damaged, or not one that fastnn wrote.
        InvalidInput
            A setting that the file has and `load` does not change.
        """
        _refuse_others(cls.__name__, "load", others)
        trainer = cls.__new__(cls)
        trainer.__setstate__(models.load(path, target, threads, precision))
        return trainer

    @classmethod
    def resume(
        cls,
        path: str | bytes | os.PathLike[Any],
        target: Target | None = None,
        threads: int | None = None,
        precision: Precision | None = None,
        **others: Never,
    ) -> Self:
        """Return the trainer of the newest good file that a `Checkpoint` wrote.

        ``fit(X, y, trainer.remaining, ...)`` with the same data and callbacks as before then ends
        in the same bits as if training had not been interrupted. The first callback of a class
        that keeps state (`EarlyStopping`, `Checkpoint`, any that has ``state_dict()`` and
        ``load_state_dict(state)``) goes on from that of the first of its class, and so on; one that
        there was not before starts anew.

        Parameters
        ----------
        path
            What the `Checkpoint` was given: a template, a path or a folder. Of its files, one that
            is damaged is passed over, with a warning. Or one file, which is then taken.
        target, threads, precision
            As for `load`.

        Raises
        ------
        MissingFile
            There is no checkpoint, as before the first one is written.
        CorruptFile
            All of them are damaged.
        InvalidInput
            A folder with files of several trainings; or a setting, as for `load`.
        """
        _refuse_others(cls.__name__, "resume", others)
        return newest_good(path, lambda file: cls.load(file, target, threads, precision))


def _refuse_others(kind: str, method: str, others: dict[str, Any]) -> None:
    """Raise `InvalidInput` for settings that a file has, and not whoever reads it."""
    for name in others:
        raise InvalidInput(
            f"{kind}.{method} takes target, threads and precision, not {name}, which is as in the "
            "file; trainer.set(...) changes afterwards what can be changed"
        )
