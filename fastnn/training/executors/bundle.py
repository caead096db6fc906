"""Data that every worker of an executor has once, whatever number of trainings it does.

The arrays of a pickled object are kept apart from the rest (PEP 574), in one file, which all
processes of a machine map: they share its pages. An array that lies in a file already, as a
`numpy.memmap` does, is not copied; each process maps that file itself. What shares no files gets
the same bytes with a task.
"""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import socket
import struct
import tempfile
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import EXHAUSTED, InvalidInput, WorkerFailed
from fastnn.inputs.pages import Place, place_of

_ALIGNED = 64  # bytes: what vector instructions read without crossing a cache line
_HEAD, _DATA, _EPOCHS = "head", "data", "epochs"


class Bundle:
    """What all trainings of a call have in common, and a folder by which processes share it.

    The folder is there as long as the call is, which tells workers of this machine when to stop.

    Parameters
    ----------
    value
        Any object with a pickle; arrays in it are not to be changed meanwhile.
    members
        How many trainings there are.

    Attributes
    ----------
    token
        Names the bundle, among those of all processes.
    folder
        Its path.
    epochs
        For each training 0 where it has not begun, else 1 more than the epochs done; int64
        (members,), in a file that workers of this machine write to.
    written
        Whether the data are in a file.
    """

    def __init__(self, value: Any, members: int) -> None:
        self.token = uuid.uuid4().hex
        self._value = value
        self._parts: tuple[bytes, list[memoryview]] | None = None
        self._bytes = b""
        self.written = False
        self.folder = tempfile.mkdtemp(prefix="fastnn-")
        self.epochs: np.ndarray = _epochs(self.folder, "w+", members)

    def write(self) -> bool:
        """Have the data in a file, and return whether that can be."""
        if self.written:
            return True
        head, buffers = self._pickled()
        size = sum(-(-each.nbytes // _ALIGNED) * _ALIGNED for each in buffers)
        if shutil.disk_usage(self.folder).free < 2 * size:
            return False
        try:
            with open(Path(self.folder, _DATA), "wb") as file:
                for each in buffers:
                    file.write(each)
                    file.write(bytes(-each.nbytes % _ALIGNED))
            sizes = [each.nbytes for each in buffers]
            part = Path(self.folder, _HEAD + ".part")
            part.write_bytes(pickle.dumps((head, sizes)))
            part.rename(Path(self.folder, _HEAD))  # now the data are whole
        except OSError:
            return False
        self.written = True
        return True

    def to_bytes(self) -> bytes:
        """Return the data as they travel with a task."""
        if not self._bytes:
            head, buffers = self._pickled()
            stream = BytesIO()
            for each in (memoryview(head), *buffers):
                stream.write(struct.pack("<Q", each.nbytes))
                stream.write(each)
            self._bytes = stream.getvalue()
        return self._bytes

    def close(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)  # Windows keeps what is mapped

    def _pickled(self) -> tuple[bytes, list[memoryview]]:
        if self._parts is None:
            stream, buffers = BytesIO(), list[pickle.PickleBuffer]()
            try:
                _Pickler(stream, 5, buffer_callback=buffers.append).dump(self._value)
            except EXHAUSTED:
                raise
            except Exception as error:  # whatever the arrays are of
                raise InvalidInput(
                    f"X, y or weights cannot be handed to other processes ({error}); pass NumPy "
                    "arrays or a path, or a ThreadPoolExecutor"
                ) from error
            self._parts = stream.getvalue(), [each.raw() for each in buffers]
        return self._parts


class _Pickler(pickle.Pickler):
    """Pickles arrays in files as where they lie."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return NotImplemented
        place = place_of(value)
        if place is not None:
            return _mapped, (place,)
        if isinstance(value, np.memmap):  # of a file that is gone, or changed in memory alone
            return np.asarray(value).view(np.ndarray).__reduce_ex__(5)
        if not value.flags.forc and value.dtype != object:  # some columns: kept apart as well
            return np.ascontiguousarray(value).__reduce_ex__(5)
        return NotImplemented


def _mapped(place: Place) -> np.ndarray:
    """Return the array in a file, as another process has seen it."""
    try:
        stat = os.stat(place.path)
        if (stat.st_size, stat.st_mtime_ns) != (place.size, place.time):
            raise OSError("it is not the same file there, or has been changed")
        return place.map()
    except OSError as error:
        raise WorkerFailed(
            f"a worker on {socket.gethostname()} cannot map {place.path} ({error}); put the file "
            "where all machines see it by this name, or pass numpy.array(X), which is sent to them"
        ) from None


def from_folder(folder: str) -> Any:
    """Return the value of a bundle whose folder has it in a file; None where it has not."""
    try:
        head, sizes = pickle.loads(Path(folder, _HEAD).read_bytes())
        buffers: list[Any] = []
        if any(sizes):
            with open(Path(folder, _DATA), "rb") as file:
                source = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            whole: Any = np.asarray(_Memory(source))
            whole, at = memoryview(whole), 0
            for size in sizes:
                buffers.append(whole[at : at + size])
                at += -(-size // _ALIGNED) * _ALIGNED
        else:
            buffers = [b""] * len(sizes)
    except FileNotFoundError:
        return None
    return pickle.loads(head, buffers=buffers)


def from_bytes(data: bytes) -> Any:
    """Return the value that `Bundle.to_bytes` gave."""
    view, at, parts = memoryview(data), 0, []
    while at < len(view):
        (size,) = struct.unpack_from("<Q", view, at)
        parts.append(view[at + 8 : at + 8 + size])
        at += 8 + size
    # Copies, since pieces of bytes lie anywhere, and numbers are read where they are aligned.
    return pickle.loads(parts[0], buffers=[np.array(part) for part in parts[1:]])


def epochs_of(folder: str) -> np.ndarray | None:
    """Return `Bundle.epochs`, to be written to, where this process sees the folder."""
    try:
        return _epochs(folder, "r+", None)
    except OSError:
        return None


def _epochs(folder: str, mode: Any, members: int | None) -> np.ndarray:
    return np.memmap(Path(folder, _EPOCHS), np.int64, mode, shape=members)


class _Memory:
    """The bytes of a map as memory, of which nothing is let go while it is trained on."""

    def __init__(self, source: mmap.mmap) -> None:
        self._source = source
        address = np.frombuffer(source, np.uint8).__array_interface__["data"][0]
        self.__array_interface__ = {
            "version": 3, "shape": (len(source),), "typestr": "|u1", "data": (address, True),
        }  # fmt: skip
