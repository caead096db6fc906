"""Code of the CPU target, made ahead: ``python -m fastnn.build`` compiles what a fit would.

Without options it fills this user's cache for this processor, which is what a checkout wants after
an edit. With --out it writes the folder that a wheel ships: ``pip install .`` does that for this
processor's level, and a release for all levels of its system.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastnn.storage.kernels import code_cache
from fastnn.storage.kernels.entries import ENTRIES
from fastnn.storage.kernels.loading import codes, shipped_file
from fastnn.storage.kernels.machine import LEVELS, Processor, levels, processor
from fastnn.storage.kernels.machine_code import Code
from fastnn.threads.processors import available_threads


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastnn.build", description=__doc__)
    parser.add_argument("--out", type=Path, help="the folder to write, emptied first")
    parser.add_argument(
        "--levels",
        nargs="+",
        metavar="LEVEL",
        help=f"'native' (the default), 'all' of this system, or names: {', '.join(LEVELS)}",
    )
    options = parser.parse_args(arguments)
    wanted = _levels(options.levels or ["native"], parser)
    if options.out and not all(level.name for level in wanted):
        print(f"no level of this processor ({', '.join(LEVELS)}): it compiles on first use")
        wanted = [level for level in wanted if level.name]
    work = [(level, name) for level in wanted for name in ENTRIES]
    work.sort(key=lambda each: "train" not in each[1])  # the longest first
    logging.getLogger("fastnn").setLevel(logging.ERROR)  # it would say the same as is said here
    with ThreadPoolExecutor(available_threads()) as pool:
        found = list(pool.map(_make, work))
    if options.out:
        for old in options.out.glob("*/*"):
            old.unlink()
        for (level, name), code in zip(work, found, strict=True):
            file = shipped_file(name, level, options.out)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(code_cache.seal(code.pack()))
    return 0


def _make(work: tuple[Processor, str]) -> Code:
    level, name = work
    begun = time.monotonic()
    code = codes([name], level)[name]
    print(f"{name} for {level.name or level.cpu}: {time.monotonic() - begun:.0f} s", flush=True)
    return code


def _levels(names: list[str], parser: argparse.ArgumentParser) -> list[Processor]:
    """Return the levels of these names, each once."""
    found: list[Processor] = []
    for name in names:
        if name == "native":
            found.append(processor())
        elif name == "all":
            found += levels()
        elif name in LEVELS:
            found.append(LEVELS[name])
        else:
            parser.error(f"no level is called {name!r}; there are {', '.join(LEVELS)}")
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    sys.exit(main())
