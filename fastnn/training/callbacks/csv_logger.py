"""A table of the epochs in a file of comma-separated values."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, shown
from fastnn.storage.tensor_file import check_writable, family_errors, regular_file
from fastnn.storage.whole_files import write_whole
from fastnn.training.callbacks.bundled import Bundled, Callback
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

_COLUMNS = ("loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
_START = ",".join(("epoch", *_COLUMNS))  # of the first line; names of metrics follow


@explained
@dataclass
class CSVLogger(Bundled):
    """Write the history to a file of comma-separated values, one row an epoch, as it grows.

    The columns are epoch, counted from 1, and the series of `History`, metrics included; a number
    is written with all its digits, and what an epoch lacks is left empty. A row is in the file
    before the next epoch begins. The file always has the epochs of the trainer's history: those of
    earlier calls of `fit` and of a resumed training, too, each once; what another training wrote is
    replaced.

    >>> import os, tempfile
    >>> from fastnn import CSVLogger, Dense, Network, Trainer, datasets
    >>> X, y = datasets.xor(100)
    >>> trainer = Trainer(Network(2, [Dense(2)]), target="numpy")
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> history = trainer.fit(X, y, epochs=3, callbacks=[CSVLogger(path)])
    >>> with open(path) as log:
    ...     [line.split(",")[0] for line in log]
    ['epoch', '1', '2', '3']

    Parameters
    ----------
    path
        The file; its folder is made if need be.

    Raises
    ------
    InvalidInput
        No path. In `fit`: restarts or a sweep, or a file that is there and no such table.
    UnusableFile
        In `fit`: a folder, a pipe or a device, or a file that cannot be written.
    """

    path: str | bytes | os.PathLike[Any]
    one_training: ClassVar[bool] = True
    # How many rows the file has, and how long it is, after this has written to it.
    _rows: int = field(default=0, init=False, repr=False, compare=False)
    _size: int = field(default=-1, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the path."""
        if not isinstance(self.path, (str, bytes, os.PathLike)):
            raise InvalidInput(f"path must be a path, not {shown(self.path):.80}")

    def check(self, trainer: Stateful) -> None:
        """Make the folder, and refuse a file that cannot be written, or that is no such table."""
        name, path = regular_file(self.path)
        with family_errors(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            start = b""
            if path.exists():
                with open(path, "rb") as log:
                    start = log.readline(len(_START) + 1)
        if not any(f"{_START}{end}".encode().startswith(start) for end in ",\n"):
            raise InvalidInput(
                f"{path} is there and no log of fastnn: it starts with {start!r:.80}; give "
                "CSVLogger another path"
            )
        check_writable(self.path)

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Have the first epoch write all rows."""
        self._rows = 0

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Write the row of the epoch just done, or all rows where the file lacks others."""
        (name, path), count = regular_file(self.path), len(history)
        with family_errors(name):
            size = path.stat().st_size if path.exists() else -1
            if self._rows == count - 1 > 0 and size == self._size:
                _append(path, _text(history, count - 1).encode(), size)
            else:
                write_whole(path, (_header(history) + _text(history, 0)).encode())
            self._rows, self._size = count, path.stat().st_size


def _append(path: Path, row: bytes, size: int) -> None:
    """Write a row behind a file of `size` bytes: all of it, or nothing where the disk is full.

    Of a row that is cut off the last number would be there by half, and look whole.
    """
    with open(path, "ab", buffering=0) as log:
        try:
            if log.write(row) != len(row):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            with contextlib.suppress(OSError):
                log.truncate(size)
            raise


def _header(history: History) -> str:
    """Return the first line."""
    return _lines([("epoch", *_COLUMNS, *history.metrics)])


def _text(history: History, first: int) -> str:
    """Return the rows of the epochs from that of index `first` on."""
    columns = [history[name] for name in (*_COLUMNS, *history.metrics)]
    return _lines(
        (history.first_epoch + index + 1, *(column[index] for column in columns))
        for index in range(first, len(history))
    )


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
