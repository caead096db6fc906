"""Arrays and settings in one safetensors file, written whole or not at all.

The settings are one JSON text in the file's metadata, with the format's version and a SHA-256 of
settings and arrays, so that damage anywhere in the file is noticed. No pickle: reading a file runs
nothing that is in it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastnn.errors import CorruptFile, MissingFile

FORMAT = 1
_KEY = "fastnn"
_PART = ".fastnn-*.part"  # a file that is not whole yet
_PART_SECONDS = 10.0  # when one has surely been locked by whoever writes it


def write(
    path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: dict[str, Any]
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
    OSError
        The folder is full or not writable. In either case nothing has changed.
    """
    from safetensors.numpy import save

    # safetensors writes the memory of an array in the order in which it lies.
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    header = {"format": FORMAT, "sha256": _digest(arrays, metadata), "content": metadata}
    content = save(arrays, {_KEY: json.dumps(header)})
    place = Path(os.path.realpath(path))
    # Beside the file, since a rename is atomic only within one file system.
    beside = place.with_name(_PART.replace("*", secrets.token_hex(8)))
    try:
        with open(beside, "xb") as stream:
            _lock(stream)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if place.exists():
            shutil.copymode(place, beside)
        os.replace(beside, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        name = os.fsdecode(path)  # the one beside it means nothing to the caller
        if isinstance(error, FileNotFoundError):
            what = "there is no such folder to save into; make it first, such as with os.makedirs"
            raise MissingFile(errno.ENOENT, what, os.path.dirname(name)) from None
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, error.strerror, name) from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what writers have left in a folder that were killed before their file was whole."""
    for part in folder.glob(_PART):
        with contextlib.suppress(OSError), open(part, "r+b") as stream:
            if time.time() - part.stat().st_mtime > _PART_SECONDS and _lock(stream):
                part.unlink()


def _lock(stream: BinaryIO) -> bool:
    """Lock an open file until it is closed, and say whether nobody else has; not on Windows."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody has, or the file system knows no locks
        return False
    return True


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the metadata that `write` put into `path`.

    Raises
    ------
    CorruptFile
        A file that is damaged, truncated, not fastnn's, or of a later version of fastnn.
    MissingFile
        There is no such file.
    OSError
        A file that cannot be opened.
    """
    from safetensors import safe_open

    name = os.fspath(path)
    try:
        open(name, "rb").close()  # the system's own error, where there is nothing to read
    except FileNotFoundError as error:
        what = "there is no such file; pass the path of one that Trainer.save made"
        raise MissingFile(errno.ENOENT, what, name) from error
    try:
        with safe_open(name, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(_KEY)
            if text is None:
                raise CorruptFile(
                    f"{name} is a safetensors file but not one that fastnn wrote; "
                    "pass a file that Trainer.save made"
                )
            header = _parse(text, name)
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
    except (CorruptFile, OSError):
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
    header: Any = json.loads(text)
    version = header.get("format") if isinstance(header, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise CorruptFile(
            f"{name} has format {version} but this fastnn reads up to {FORMAT}; "
            "upgrade fastnn to read it"
        )
    if version != FORMAT or header.keys() != {"format", "sha256", "content"}:
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
