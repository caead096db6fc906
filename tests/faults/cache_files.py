"""Cache files and folders: damaged in every way, or writable by somebody else.

``python tests/faults/cache_files.py [--long]`` prints a row for each part. A part is a function of
how many tries to make that returns what broke. What is compiled here takes some tenths of a second;
kernels are kept by the same code.
"""

from __future__ import annotations

import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from model_files import main, new_folder

from fastnn import CacheWarning
from fastnn.storage import cache_folders
from fastnn.storage.kernels import code_cache, kernel_cache, loading, machine_code
from fastnn.storage.kernels.entries import ENTRIES
from fastnn.storage.kernels.machine import processor

compile_apart = loading.compile_apart
SOMEBODY = 54321  # a number of no user
RULE = """def rule(real, m):
    def value(z, numbers):
        return z * numbers[0]

    def derivative(z, a, numbers):
        return numbers[0]

    return value, derivative
"""


def descent() -> tuple[bool, bool]:
    """Minimise anew: return whether the result is right, and whether the code was loaded."""
    from fastnn.graph import trace
    from fastnn.graph.descent_code import Descend, descent_source

    function = Descend(descent_source(trace(lambda x: (x - 3) ** 2)))
    state, path = np.array([1.0, 0.0]), np.empty((1, 1))
    function(state, np.array([-9.0]), np.array([9.0]), 0.25, 0.0, 1, 1, path)
    return path[0, 0] == 2.0, function.loaded


def rule() -> tuple[bool, bool]:
    """Get a loop of a user-defined rule anew, and call it."""
    import ctypes

    from fastnn.targets.cpu import user_rules

    loop = user_rules.Compiled(RULE, 1, "activate", np.dtype(np.float64))
    kinds = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    numbers, constants = np.arange(8.0), np.array([3.0])
    call = ctypes.CFUNCTYPE(None, *kinds)(loop.address)
    call(constants.ctypes.data, numbers.ctypes.data, 0, 8)
    return numbers.tolist() == [3.0 * i for i in range(8)], loop.loaded


def kernel() -> tuple[bool, bool]:
    """Get an entry anew, the shuffling of rows, and call it."""
    made: list[str] = []
    loading.compile_apart = lambda names, *_: (made.extend(names) or {"shuffle": _shuffle()}, {})
    try:
        code = loading.codes(["shuffle"], NOT_SHIPPED)["shuffle"]
    finally:
        loading.compile_apart = compile_apart
    orders = np.empty((1, 10), np.int64)
    shuffle = machine_code.function_at(machine_code.link(code), ENTRIES["shuffle"].arguments)
    shuffle(np.zeros(1, np.int64), 1, orders, 10)
    return sorted(orders[0]) == list(range(10)), not made


@cache
def _shuffle() -> machine_code.Code:
    """Return what compiling it in another process gives, which takes a second or two."""
    identity = {"shuffle": loading.identity_of("shuffle", NOT_SHIPPED)}
    return compile_apart(["shuffle"], NOT_SHIPPED, identity)[0]["shuffle"]


UNITS = {"descent": descent, "rule": rule, "kernel": kernel}
NOT_SHIPPED = processor()._replace(name="")


def kept_in(base: Path) -> Path:
    """Return the folder of compiled code among the caches at `base`."""
    return base / f"kernels-{kernel_cache.SOURCES}"


def _flip(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def _in_its_place(make: Callable[[Path], Any]) -> Callable[[Path, random.Random], None]:
    def damage(file: Path, chance: random.Random) -> None:
        file.unlink()
        make(file)

    return damage


def _move_behind_link(file: Path) -> None:
    other = file.with_name("elsewhere")
    other.write_bytes(b"nothing")
    file.symlink_to(other)


WRONG = (b"", b"\n", b"\n\n", b"\xff\n\xff\n", b"a\nb c\n\x7fELF", pickle.dumps({"a": 1}))
# How a file is damaged -> what does so. Those in `STAY` cannot be replaced, or need not be.
DAMAGES: dict[str, Callable[[Path, random.Random], Any]] = {
    "empty": lambda file, chance: file.write_bytes(b""),
    "truncated": lambda file, chance: os.truncate(file, chance.randrange(file.stat().st_size)),
    "garbage": lambda file, chance: file.write_bytes(chance.randbytes(chance.randint(1, 9999))),
    "longer": lambda file, chance: file.write_bytes(file.read_bytes() + b"\0"),
    "a flipped bit": _flip,
    "text": lambda file, chance: file.write_text("def f(): pass"),
    "other content": lambda file, chance: file.write_bytes(code_cache.seal(chance.choice(WRONG))),
    "an older format": lambda file, chance: file.write_bytes(pickle.dumps(("0.61.0", {}))),
    "gone": lambda file, chance: file.unlink(),
    "a folder": _in_its_place(Path.mkdir),
    "a pipe": _in_its_place(os.mkfifo),
    "a link": _in_its_place(_move_behind_link),
    "a link to nothing": _in_its_place(lambda file: file.symlink_to(file.with_name("absent"))),
    "a link to itself": _in_its_place(lambda file: file.symlink_to(file)),
    "unreadable": lambda file, chance: file.chmod(0),
    "written by others": lambda file, chance: file.chmod(0o666),
    "its folder gone": lambda file, chance: shutil.rmtree(file.parent),
    "its folder a file": lambda file, chance: (
        shutil.rmtree(file.parent),
        file.parent.write_text(""),
    ),
}
SILENT = ("gone", "its folder gone", *(["unreadable"] if os.geteuid() == 0 else []))
STAY = ("a folder", "its folder a file")


@contextmanager
def new_base() -> Iterator[Path]:
    """Give a place for caches that is not there yet, and an empty folder for temporary files."""
    with new_folder() as top:
        temporary = top / "temporary"
        temporary.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(temporary)
        try:
            yield top / "above" / "base"
        finally:
            tempfile.tempdir = before


@contextmanager
def caches_in(folder: Path, **environment: str) -> Iterator[list[str]]:
    """Keep caches in a folder; yield the warnings that come, of which nobody has had one yet."""
    before = dict(os.environ)
    os.environ.update(FASTNN_CACHE_DIR=str(folder), **environment)
    said: list[str] = []
    cache_folders._warned = False
    kernel_cache.folder.cache_clear()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        said += [str(each.message) for each in caught if each.category is CacheWarning]
        said += [
            f"not of fastnn: {each.message}" for each in caught if each.category is not CacheWarning
        ]
    finally:
        os.environ.clear()
        os.environ.update(before)


def copy_cache(name: str, base: Path) -> None:
    """Have a cache at `base` with one file in it, as a first compilation leaves it."""
    if name not in _caches:
        _caches[name] = Path(_kept.name, name, "base")
        with caches_in(_caches[name]) as said:
            UNITS[name]()
        assert not said
    base.parent.mkdir(mode=0o700)
    shutil.copytree(_caches[name], base)


_caches: dict[str, Path] = {}
_kept = tempfile.TemporaryDirectory()


def damages(tries: int, seed: int = 0) -> list[str]:
    """Damage cache files: what they hold is compiled anew with one warning, and kept again."""
    broken: list[str] = []
    chance = random.Random(seed)
    for attempt in range(tries):
        name = chance.choice(list(UNITS))
        damage = list(DAMAGES)[attempt % len(DAMAGES)]
        label = f"try {attempt}, {name}, {damage}"
        with new_base() as folder:
            try:
                copy_cache(name, folder)
                (file,) = kept_in(folder).iterdir()
                DAMAGES[damage](file, chance)
                with caches_in(folder) as said:
                    right, loaded = UNITS[name]()
                if not right or (loaded and damage != "unreadable"):
                    broken.append(f"{label}: right {right}, loaded {loaded}")
                if len(said) != (damage not in SILENT):
                    broken.append(f"{label}: it says {said}")
                with caches_in(folder) as said:
                    right, loaded = UNITS[name]()
                if not right or (damage not in STAY and (said or not loaded)):
                    broken.append(f"{label}, then: right {right}, loaded {loaded}, says {said}")
            except Exception as error:
                broken.append(f"{label}: {error!r:.200}")
    return broken


# How others could have written into a cache at `base`, in which lies the file `file`.
INTRUSIONS: dict[str, Callable[[Path, Path], Any]] = {
    "file of all": lambda base, file: file.chmod(0o666),
    "file of the group": lambda base, file: file.chmod(0o620),
    "folder of all": lambda base, file: file.parent.chmod(0o777),
    "folder of the group": lambda base, file: file.parent.chmod(0o770),
    "sticky folder of all": lambda base, file: file.parent.chmod(0o1777),
    "base of all": lambda base, file: base.chmod(0o777),
    "folder above of all": lambda base, file: base.parent.chmod(0o777),
    "a link": lambda base, file: (file.rename(base / "x"), file.symlink_to(base / "x")),
}
if os.geteuid() == 0:
    INTRUSIONS |= {
        "somebody's file": lambda base, file: os.chown(file, SOMEBODY, -1),
        "somebody's folder": lambda base, file: os.chown(file.parent, SOMEBODY, -1),
        "somebody's base": lambda base, file: os.chown(base, SOMEBODY, -1),
        "somebody's folder above": lambda base, file: os.chown(base.parent, SOMEBODY, -1),
        "somebody's link to the base": lambda base, file: _by_link(base),
        "a link through somebody's folder": lambda base, file: _by_link(base, own=False),
    }


def _by_link(base: Path, own: bool = True) -> None:
    """Move the base, and put a link to it in its place: somebody's, or one by way of theirs."""
    real = base.with_name("real")
    base.rename(real)
    if own:
        base.symlink_to(real)
        os.lchown(base, SOMEBODY, -1)
        return
    between = base.with_name("between")
    between.mkdir()
    (between / "link").symlink_to(real)
    os.chown(between, SOMEBODY, -1)
    base.symlink_to(between / "link")


def intrusions(tries: int, seed: int = 0) -> list[str]:
    """Leave code where others could have written it: it does not run, one warning says why."""
    broken: list[str] = []
    chance = random.Random(seed)
    for attempt in range(tries):
        name = chance.choice(list(UNITS))
        how = list(INTRUSIONS)[attempt % len(INTRUSIONS)]
        label = f"try {attempt}, {name}, {how}"
        with new_base() as base:
            try:
                copy_cache(name, base)
                (file,) = kept_in(base).iterdir()
                INTRUSIONS[how](base, file)
                with caches_in(base) as said:
                    right, loaded = UNITS[name]()
                if not right or loaded:
                    broken.append(f"{label}: right {right}, loaded {loaded}")
                if len(said) != 1 or not said[0].startswith("fastnn's cache: "):
                    broken.append(f"{label}: it says {said}")
            except Exception as error:
                broken.append(f"{label}: {error!r:.200}")
    return broken


def full_disks(tries: int) -> list[str]:
    """Let no file grow beyond a size: what was compiled works, nothing is left, one warning."""
    broken: list[str] = []
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for attempt in range(tries):
        name = list(UNITS)[attempt % len(UNITS)]
        with new_base() as folder:
            resource.setrlimit(resource.RLIMIT_FSIZE, (random.randrange(2048), hard))
            try:
                with caches_in(folder) as said:
                    right, _ = UNITS[name]()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            left = list(kept_in(folder).iterdir())
            if not right or left or len(said) != 1:
                broken.append(f"try {attempt}, {name}: right {right}, {left} left, says {said}")
    return broken


# name -> (part, tries of the short form, of the long form)
PARTS = {
    "damaged cache files": (damages, len(DAMAGES), 500),
    "caches that others can write": (intrusions, len(INTRUSIONS), 200),
    "no room for cache files": (full_disks, 3, 60),
}

if __name__ == "__main__":
    sys.exit(main(PARTS) > 0)
