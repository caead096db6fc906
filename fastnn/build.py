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
from fastnn.storage.kernels.entries import ENTRIES, groups
from fastnn.storage.kernels.kernel_cache import SOURCES
from fastnn.storage.kernels.loading import codes, shipped_file
from fastnn.storage.kernels.machine import CHOICES, LEVELS, Processor, levels, processor
from fastnn.storage.kernels.machine_code import SUFFIX, Code
from fastnn.threads.processors import available_threads


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastnn.build", description=__doc__)
    parser.add_argument(
        "--out", type=Path, help="the folder to write; code of levels that is there is replaced"
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        metavar="LEVEL",
        help=f"'native' (the default), 'all' of this system, or names: {', '.join(LEVELS)}",
    )
    options = parser.parse_args(arguments)
    if options.out and options.out.exists() and not options.out.is_dir():
        parser.error(f"--out must be a folder, and {options.out} is none")
    wanted = _levels(options.levels or ["native"], parser)
    if options.out and not all(level.name for level in wanted):
        print(
            f"nothing is shipped: this processor has none of the levels {', '.join(LEVELS)},"
            f" or one of {', '.join(CHOICES)} is set; kernels are compiled on first use"
        )
        wanted = [level for level in wanted if level.name]
    work = [(level, names) for level in wanted for names in groups(ENTRIES)]
    log = logging.getLogger("fastnn")
    before = log.level
    log.setLevel(logging.ERROR)  # it would say the same as is said here
    try:
        with ThreadPoolExecutor(available_threads()) as pool:
            found = list(pool.map(_make, work))
    finally:
        log.setLevel(before)
    if options.out:
        for name in LEVELS:
            for old in (options.out / name).glob(f"*{SUFFIX}"):
                old.unlink()
        for (level, _), made in zip(work, found, strict=True):
            for name, code in made.items():
                file = shipped_file(name, level, options.out)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(code_cache.seal(code.pack()))
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "SOURCES").write_text(SOURCES)
    return 0


def _make(work: tuple[Processor, list[str]]) -> dict[str, Code]:
    level, names = work
    begun = time.monotonic()
    found = codes(names, level)
    seconds = time.monotonic() - begun
    print(f"{', '.join(names)} for {level.name or level.cpu}: {seconds:.0f} s", flush=True)
    return found


def _levels(names: list[str], parser: argparse.ArgumentParser) -> list[Processor]:
    """Return the levels of these names, each once."""
    found: list[Processor] = []
    for name in names:
        if name == "native":
            found.append(processor())
        elif name == "all":
            found += levels()
        else:
            mine = {level.name: level for level in levels()}
            if name not in mine:
                parser.error(
                    f"this system has no level {name!r}; it has {', '.join(mine) or 'none'}"
                )
            found.append(mine[name])
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    sys.exit(main())
