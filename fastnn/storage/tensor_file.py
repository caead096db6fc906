"""Arrays and settings in one safetensors file, written whole or not at all.

The settings are one JSON text in the file's metadata, with the format's version and a SHA-256 of
settings and arrays, so that damage anywhere in the file is noticed. No pickle: reading a file runs
nothing that is in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import (
    EXHAUSTED,
    CorruptFile,
    FastnnError,
    InvalidInput,
    MissingFile,
    UnusableFile,
    shown,
)
from fastnn.storage.whole_files import try_folder, whole_file, write_whole

FORMAT = 2  # of what is written; files of format 1 are read too: their history is plain values
_KEY = "fastnn"
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
_EFFECTIVE = os.access in os.supports_effective_ids


def write(
    path: str | bytes | os.PathLike[Any], tensors: dict[str, np.ndarray], metadata: dict[str, Any]
) -> None:
    """Write `tensors` and `metadata` to `path`: all of it, or nothing.

    Parameters
    ----------
    path
        An existing file is replaced in one step and its permissions are kept; a link is followed.
    tensors
        Arrays by name, of any shape and strides; not overwritten.
    metadata
        Plain values that `json` can write, with strings as keys.

    Raises
    ------
    MissingFile
        The folder is missing.
    InvalidInput
        No path, or metadata of more than some 100 MB, which the format does not hold.
    UnusableFile
        A folder, a pipe or a device is there, a file or a folder that may not be written, or the
        disk is full: an `OSError`. In every case nothing has changed.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    # safetensors writes the memory of an array in the order in which it lies, and reads bytes in
    # the processor's order.
    arrays = {
        name: np.asarray(tensor, tensor.dtype.newbyteorder("="), order="C")
        for name, tensor in tensors.items()
    }
    header = {"format": FORMAT, "sha256": _digest(arrays, metadata), "content": metadata}
    text = json.dumps(header)

    def content() -> bytes:
        try:
            return save(arrays, {_KEY: text})
        except SafetensorError as error:
            raise InvalidInput(
                "a file cannot hold this: what it has beside the arrays, such as names, scales and "
                f"history, is text of {len(text) // 10**6} MB, above some 100 ({error}); leave out "
                "columns, or train with a shorter history"
            ) from error

    write_file(path, content)


def write_file(path: str | bytes | os.PathLike[Any], make: Callable[[], bytes]) -> None:
    """Write what `make` returns to `path`; the path and the errors are those of `write`."""
    name, place = regular_file(path)
    content = make()
    with family_errors(name):
        _check_rights(place)
        write_whole(place, content, durable=True)


@contextmanager
def writing(path: str | bytes | os.PathLike[Any]) -> Iterator[Callable[[bytes], object]]:
    """Give what writes the next bytes of `path`, which is there when the block has ended well.

    The path and the errors are those of `write`, as which an `OSError` of the block counts, too.
    """
    name, place = regular_file(path)
    with family_errors(name):
        _check_rights(place)
        with whole_file(place, durable=True) as stream:
            yield stream.write


def taken(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix`, without it; take them out of `tensors`."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def check_writable(path: str | bytes | os.PathLike[Any]) -> None:
    """Raise what writing a file to `path` would, before there is anything to write.

    Raises
    ------
    MissingFile
        The folder is missing.
    InvalidInput
        No path.
    UnusableFile
        A folder, a pipe or a device is there, or no file can be written.
    """
    name, place = regular_file(path)
    with family_errors(name):
        _check_rights(place)
        try_folder(place.parent)


def _check_rights(place: Path) -> None:
    """Raise an error for a file that may not be written, though its folder may."""
    if place.exists() and not os.access(place, os.W_OK, effective_ids=_EFFECTIVE):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def family_errors(name: str) -> Iterator[None]:
    """Turn what the system says while a file is written into fastnn's errors, with its name.

    Raises
    ------
    MissingFile
        Its folder is missing.
    UnusableFile
        It cannot be written.
    """
    try:
        yield
    except FileNotFoundError as error:
        folder = os.path.dirname(os.path.realpath(name))  # of what a link leads to
        if os.path.isdir(folder):  # one of the system's, such as /proc
            what = "cannot be written: that folder takes no files"
            raise UnusableFile(errno.EACCES, what, name) from error
        what = "there is no such folder to save into; make it first, such as with os.makedirs"
        missing = folder if os.path.islink(name) else os.path.dirname(name)
        raise MissingFile(errno.ENOENT, what, missing) from None
    except FastnnError:
        raise
    except OSError as error:
        if not error.errno:
            raise
        # The part beside the file, which the system speaks of, means nothing to the caller.
        raise UnusableFile(error.errno, f"cannot be written: {error.strerror}", name) from error


def regular_file(path: Any) -> tuple[str, Path]:
    """Return a path as text and the file that it leads to, which is a regular one if it exists.

    Raises
    ------
    InvalidInput
        No path.
    UnusableFile
        A folder, a pipe or a device, or what the system cannot look up.
    """
    try:
        name = os.fsdecode(path)
        if not name:
            raise ValueError("it is empty")
        if name.endswith(_SEPARATORS):
            raise UnusableFile(errno.EISDIR, "this is a folder; add the name of a file", name)
        place = Path(os.path.realpath(name))
        mode = os.stat(name).st_mode
    except (TypeError, ValueError) as error:  # no path at all; one with a NUL
        raise InvalidInput(
            f"path must be the path of a file, such as 'model.safetensors', not {shown(path):.80} "
            f"({error})"
        ) from None
    except FileNotFoundError:
        return name, place
    except UnusableFile:
        raise
    except OSError as error:
        raise UnusableFile(error.errno, error.strerror, name) from error
    if stat.S_ISDIR(mode):
        raise UnusableFile(errno.EISDIR, "this is a folder; add the name of a file", name)
    if not stat.S_ISREG(mode):
        what = "a pipe, a device or a socket is in the place of the file; choose another path"
        raise UnusableFile(errno.EINVAL, what, name)
    return name, place


def read(
    path: str | bytes | os.PathLike[Any], writer: str = "Trainer.save"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the metadata that `write` put into `path`.

    Parameters
    ----------
    path
        The file.
    writer
        What writes such files, in messages.

    Raises
    ------
    CorruptFile
        A file that is damaged, truncated, not fastnn's, or of a later version of fastnn.
    MissingFile
        There is no such file.
    InvalidInput
        No path.
    UnusableFile
        A folder, a pipe, a device, or a file that cannot be opened: an `OSError`.
    """
    from safetensors import safe_open

    name, _ = regular_file(path)  # before it is opened, for which a pipe would wait
    try:
        open(name, "rb").close()
    except FileNotFoundError as error:
        what = f"there is no such file; pass the path of one that {writer} wrote"
        raise MissingFile(errno.ENOENT, what, name) from error
    except OSError as error:
        raise UnusableFile(error.errno, error.strerror, name) from error
    try:
        with safe_open(name, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(_KEY)
            if text is None:
                raise CorruptFile(
                    f"{name} is a safetensors file but not one that fastnn wrote; "
                    f"pass a file that {writer} wrote"
                )
            header = _parse(text, name)
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
    except (CorruptFile, OSError, *EXHAUSTED):
        raise
    except Exception as error:  # whatever the parsers make of bytes that anyone may have written
        raise CorruptFile(
            f"{name} is damaged, truncated or not a file that fastnn wrote ({error}); "
            "use another copy of it, or save the model again"
        ) from error
    if header["sha256"] != _digest(tensors, header["content"]):
        raise CorruptFile(
            f"{name} is damaged: its content does not match its checksum; "
            "use another copy of it, or save the model again"
        )
    return tensors, header["content"]


def _parse(text: str, name: str) -> dict[str, Any]:
    """Return the header in `text`, of a version that this fastnn reads."""
    try:
        header: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError("its header is nested too deep") from error
    version = header.get("format") if isinstance(header, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise CorruptFile(
            f"{name} has format {version} but this fastnn reads up to {FORMAT}; "
            "upgrade fastnn to read it"
        )
    if version not in (1, FORMAT) or header.keys() != {"format", "sha256", "content"}:
        raise ValueError("its header is not one of fastnn's")
    return dict(header)


def _digest(tensors: dict[str, np.ndarray], metadata: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the metadata and of each C-contiguous tensor."""
    digest = hashlib.sha256(json.dumps(metadata).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        digest.update(tensor.data)
    return digest.hexdigest()
