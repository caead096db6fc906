"""The table of faults that are tried on purpose, and how each is tried in a process of its own.

A file a subject: it has functions that run in a child, and parts that start children and count. A
part is a function of how many tries to make, with the decorator `part`; `SUBJECTS` names the files.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
SUBJECTS = (
    "interrupts", "lines", "first_use", "forks", "scarcity", "concurrency", "kills", "scripts",
    "settings",
)  # fmt: skip


@dataclass
class Count:
    """What became of a number of tries."""

    tries: int = 0
    broken: list[str] = field(default_factory=list)  # crashes, hangs, and wrong results

    def add(self, tries: int, broken: Iterable[str] = ()) -> None:
        """Count some more."""
        self.tries += tries
        self.broken += broken


@dataclass(frozen=True)
class Part:
    """A row of the table: a name, what tries it, and how often; 0 where the suite does not."""

    name: str
    run: Callable[[int], Count]
    short: int
    long: int


PARTS: dict[str, Part] = {}


def part(name: str, short: int, long: int) -> Callable[[Callable[[int], Count]], Any]:
    """Enter a function in the table; `short` and `long` are how many tries it makes."""

    def enter(run: Callable[[int], Count]) -> Callable[[int], Count]:
        PARTS[name] = Part(name, run, short, long)
        return run

    return enter


def load() -> dict[str, Part]:
    """Return the whole table."""
    for subject in SUBJECTS:
        importlib.import_module(subject)
    return PARTS


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child, which finds this fastnn before an installed one."""
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(places)} | changes


def command(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """Return the command that calls a function of a subject, with arguments that JSON can hold."""
    child = [sys.executable, "-X", "faulthandler", str(FOLDER / "child.py")]
    return [*child, function.__module__, function.__name__, json.dumps(arguments)]


def in_child(
    count: Count,
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float = 300,
    **changes: str,
) -> Any:
    """Call a function in a new process, and return its result; None where it did not end well.

    A function returns [tries, what broke], which is counted.
    """
    try:
        done = subprocess.run(
            command(function, *arguments),
            env=environment(**changes),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        count.add(1, [f"{function.__name__}{arguments}: hangs"])
        return
    # However the program went on, Python ends itself by SIGINT where Ctrl-C came during any `eval`
    # or `exec` before, as when a dataclass is made.
    survived = done.returncode == -signal.SIGINT and done.stdout.endswith("]\n")
    if done.returncode and not survived:
        code, said = done.returncode, done.stderr.strip()[:1500]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        count.add(1, [f"{function.__name__}{arguments}: {how}\n{said}"])
        return
    count.add(*json.loads(done.stdout.splitlines()[-1]))


def one_child(function: Callable[..., Any], *arguments: Any, seconds: float = 300) -> Count:
    """Return what became of the tries of one call in a new process, as `in_child` makes it."""
    count = Count()
    in_child(count, function, *arguments, seconds=seconds)
    return count


def show(parts: Iterable[Part], long: bool) -> int:
    """Run parts, print the table, and return how many tries broke something."""
    broken = 0
    print(f"{'fault':<44}{'tries':>8}{'broken':>8}{'seconds':>9}")
    for each in parts:
        tries = each.long if long else each.short
        if not tries:
            continue
        start = time.monotonic()
        count = each.run(tries)
        seconds = time.monotonic() - start
        print(f"{each.name:<44}{count.tries:>8}{len(count.broken):>8}{seconds:>9.1f}", flush=True)
        for what in count.broken[:3]:
            print("    " + what.replace("\n", "\n    "))
        broken += len(count.broken)
    return broken
