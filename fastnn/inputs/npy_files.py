"""Arrays in .npy files: opened where they lie, whatever their size, and never unpickled."""

from __future__ import annotations

import errno
import math
import os
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from fastnn.errors import EXHAUSTED, CorruptFile, InvalidInput, MissingFile, UnusableFile, shown
from fastnn.storage.tensor_file import regular_file

ARROW_STREAM = b"\xff\xff\xff\xff"  # what a message of it begins with, and no other file here
_ZIP = b"PK\x03\x04", b"PK\x05\x06"  # what archives begin with, the second one without content


def open_npy(path: str | bytes | os.PathLike[Any], what: str) -> np.ndarray:
    """Return the array in a .npy file, a read-only map of it: rows are read when they are used.

    Parameters
    ----------
    path
        Of a file as `numpy.save` writes it, C order or Fortran order.
    what
        What messages call the array.

    Raises
    ------
    MissingFile
        There is no such file.
    UnusableFile
        A folder, a pipe or a device, or a file that cannot be opened: an `OSError`.
    CorruptFile
        Another kind of file, or one that is shorter than its header says.
    InvalidInput
        No path, an archive (.npz), Python objects, or columns with names.
    """
    try:
        name, _ = regular_file(path)  # before it is opened, for which a pipe would wait
    except InvalidInput:
        raise InvalidInput(
            f"{what} is {shown(path):.80}, which is no path of a .npy file; pass an array, or the "
            "path of a file that numpy.save wrote"
        ) from None
    try:
        with open(name, "rb") as stream:
            return _map(stream, name, what)
    except FileNotFoundError as error:
        if isinstance(error, MissingFile):
            raise
        text = f"{what} is taken for a path, and there is no such file; numpy.save writes one"
        raise MissingFile(errno.ENOENT, text, name) from None
    except UnusableFile:
        raise
    except OSError as error:
        raise UnusableFile(error.errno, f"{what} cannot be read: {error.strerror}", name) from error


def _map(stream: IO[bytes], name: str, what: str) -> np.ndarray:
    """Return the map of an open file."""
    begin = stream.read(npy.MAGIC_LEN)
    if begin.startswith(_ZIP):
        raise InvalidInput(
            f"{what}: {name} is an archive of several arrays (.npz), which cannot be read in "
            f"place; save the one that is wanted by itself: numpy.save(path, "
            f"numpy.load({name!r})[key])"
        )
    if begin.startswith(ARROW_STREAM):
        raise InvalidInput(f"{what}: {name} {OF_STREAM}")
    if not begin.startswith(npy.MAGIC_PREFIX):
        raise CorruptFile(
            f"{what}: {name} is no .npy file, for it begins with {begin!r}; pass the path of one "
            "that numpy.save wrote"
        )
    stream.seek(0)
    try:
        version = npy.read_magic(stream)
        if version == (3, 0):  # which is written for names of columns alone
            raise InvalidInput(f"{what}: {name} has columns with names; {_PLAIN}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if min(shape, default=0) < 0:
            raise ValueError(f"its shape is {shape}")
    except (InvalidInput, *EXHAUSTED):
        raise
    except Exception as error:  # whatever NumPy makes of bytes that anyone may have written
        raise CorruptFile(
            f"{what}: the header of {name} is damaged, or of a later version of NumPy ({error}); "
            "use another copy of it, or write it again with numpy.save"
        ) from error
    if dtype.hasobject:
        raise InvalidInput(
            f"{what}: {name} has Python objects (dtype {dtype}), which are pickled and never read "
            f"here, since reading them may run code; {_PLAIN}"
        )
    if dtype.names is not None:
        raise InvalidInput(f"{what}: {name} has columns with names; {_PLAIN}")
    start = stream.tell()
    needed, there = start + math.prod(shape) * dtype.itemsize, os.fstat(stream.fileno()).st_size
    if there < needed:
        raise CorruptFile(
            f"{what}: {name} is truncated: an array of shape {shape} and dtype {dtype} takes "
            f"{needed} bytes with its header, and the file has {there}; use another copy of it, or "
            "write it again"
        )
    order: Any = "F" if fortran else "C"
    if math.prod(shape) == 0:  # which no system maps
        return np.empty(shape, dtype, order)
    try:
        return np.memmap(stream, dtype, "r", start, shape, order)
    except (OverflowError, ValueError) as error:  # more than there are addresses
        raise UnusableFile(errno.ENOMEM, f"{what} cannot be mapped: {error}", name) from error


OF_STREAM = (
    "is a stream of Arrow, which can be read but once, from its begin; pass the table itself, "
    "pyarrow.ipc.open_stream(path).read_all(), or write it as a file of Arrow "
    "(pyarrow.ipc.new_file) or Parquet"
)
_PLAIN = "save one plain array of numbers, such as with numpy.save(path, array.astype('float32'))"
