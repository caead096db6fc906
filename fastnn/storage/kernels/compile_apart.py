"""Compilation of entries in processes of their own.

Each is Python, isolated from what its environment and the current folder would have it import, that
looks for modules where this process does. It ends with the process that has started it, whichever
way that ends.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastnn.errors import TargetUnavailable
from fastnn.storage.kernels.entries import groups
from fastnn.storage.kernels.machine import Processor
from fastnn.storage.kernels.machine_code import Code, unpack

_ROOT = Path(__file__).parents[3]
_MARK = b"\nfastnn: code follows\n"
_BEGIN_SECONDS = 60.0  # in which Python begins to run, on a machine that is very busy

# The package is found in its own folder, but nothing else that lies there is found before what the
# paths of this process have first.
_CHILD = """\
import json, os, sys, typing
os.write(1, b"begun")
root, paths, names = json.loads(sys.argv[1])
sys.path[:] = [root, *paths]
import fastnn
sys.path[:] = paths
from fastnn.storage.kernels.loading import write_codes
write_codes(names)
"""


def compile_apart(
    names: list[str], made_for: Processor, identities: dict[str, str]
) -> tuple[dict[str, Code], dict[str, str]]:
    """Compile entries, each group in a process; return the code, and why there is none of others.

    Raises
    ------
    TargetUnavailable
        The sources are others by now than those that this process has imported.
    """
    found: dict[str, Code] = {}
    if not sys.executable or getattr(sys, "frozen", False):
        return found, dict.fromkeys(names, "there is no Python to start")
    reasons: dict[str, str] = {}
    children: list[tuple[list[str], subprocess.Popen[bytes]]] = []
    here, there = os.pipe()  # they end when the other end of this is closed
    try:
        for group in groups(names):
            try:
                children.append((group, _start(group, made_for, here)))
            except (OSError, ValueError) as error:
                reasons |= dict.fromkeys(group, str(error))
        end = time.monotonic() + _BEGIN_SECONDS
        for group, child in children:
            if not _has_begun(child, end):
                child.kill()
                reasons |= dict.fromkeys(group, f"{sys.executable} does not run Python")
        for group, child in children:
            output, said = child.communicate()
            for name, content in _contents(output, group):
                found[name] = _unpacked(content, identities[name])
            lines = said.decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no word")
            for name in group:
                if name not in found:
                    reason = f"it ended with status {child.returncode}: {last}"
                    reasons.setdefault(name, reason)
    finally:
        os.close(here)
        os.close(there)
        for _, child in children:
            child.kill()
            child.communicate()
    return found, reasons


def _start(names: list[str], made_for: Processor, stdin: int) -> subprocess.Popen[bytes]:
    paths = [path for path in sys.path if isinstance(path, str)]
    # Numba's other settings are not for code that others use as well.
    environment = {key: each for key, each in os.environ.items() if not key.startswith("NUMBA_")}
    environment |= made_for.environment() | {"NUMBA_DISABLE_INTEL_SVML": "1"}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CHILD, json.dumps([str(_ROOT), paths, names])],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _has_begun(child: subprocess.Popen[bytes], end: float) -> bool:
    if os.name == "nt":  # where a pipe cannot be waited for
        return True
    stream: Any = child.stdout
    with selectors.DefaultSelector() as waiting:  # select() knows no descriptor beyond 1023
        waiting.register(stream, selectors.EVENT_READ)
        return bool(waiting.select(max(0.0, end - time.monotonic())))


def _unpacked(content: bytes, identity: str) -> Code:
    try:
        return unpack(content, identity)
    except ValueError as error:
        raise TargetUnavailable(
            "fastnn's sources have been changed since this process imported them, so nothing more "
            f"can be compiled for it ({error}); start it again"
        ) from None


def begin_to_write() -> int:
    """Prepare this process for `write`: return what to write to; end with whoever started it."""
    output = os.dup(1)
    os.dup2(2, 1)  # whatever is printed meanwhile is no code
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    return output


def _end_with_the_other() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def write(output: int, code: Code) -> None:
    """Write code where `compile_apart` reads it."""
    packed = code.pack()
    with os.fdopen(output, "wb", closefd=False) as stream:
        stream.write(_MARK + len(packed).to_bytes(8, "little") + packed)


def _contents(output: bytes, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield what `write` wrote, whole, for the first of `names`, the second, and so on."""
    at = output.find(_MARK)
    for name in names:
        begin = at + len(_MARK) + 8
        length = int.from_bytes(output[begin - 8 : begin], "little")
        if output[at : at + len(_MARK)] != _MARK or len(output) < begin + length:
            return
        at = begin + length
        yield name, output[begin:at]
