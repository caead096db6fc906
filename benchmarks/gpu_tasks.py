"""Tasks in processes of their own, one after another, so that all of them end in time.

A fault on a device takes its process along, and nothing else; what a task had measured until then
is kept, since it tells of each figure as soon as it has it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_workloads import Task

HERE = Path(__file__).resolve().parent
LEAST_SECONDS = 3.0  # below which a task is not begun: to import a library takes as long


@dataclass(frozen=True)
class Outcome:
    """What a task told of, how long it took, and why it failed, if it did."""

    records: list[dict[str, Any]]
    seconds: float
    error: str = ""


class Budget:
    """When each task has to be over: its own share after those before it, and what they left.

    Parameters
    ----------
    tasks
        All of them, in their order.
    total
        Seconds of all together; shares are stretched or shrunk to fill them.
    now
        The clock.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        total: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._start = now, now()
        stretch = total / sum(task.seconds for task in tasks)
        self._ends, end = {}, 0.0
        for task in tasks:
            end += task.seconds * stretch
            self._ends[task] = end

    def left(self, task: Task) -> float:
        """Return the seconds that a task may still take, at least 0."""
        return max(0.0, self._start + self._ends[task] - self._now())


def run(command: Sequence[str], seconds: float) -> Outcome:
    """Run this Python with the arguments and a file for its records, for at most so long.

    Its own children, such as the workers of a compiler, end with it.
    """
    with tempfile.TemporaryDirectory(prefix="fastnn-gpu-") as folder:
        records, output = Path(folder, "records"), Path(folder, "output")
        records.touch()
        start, error = time.monotonic(), ""
        with output.open("wb") as stream:
            child = subprocess.Popen(
                [sys.executable, *command, str(records)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"},
            )
            try:
                code = child.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code, error = None, f"not done after {seconds:.0f} s"
            finally:
                _end(child)
        if code:
            error = _last_line(output) or f"exit status {code}"
            if code < 0:
                error = f"ended by signal {-code}; {error}"
        return Outcome(_read(records), time.monotonic() - start, error)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, if any of it still runs."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    else:
        child.kill()
    child.wait()


def _last_line(output: Path) -> str:
    lines = output.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _read(records: Path) -> list[dict[str, Any]]:
    """Return the records of a task; the last one may be torn."""
    found = []
    for line in records.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def run_task(task: Task, device: str, seconds: float) -> Outcome:
    """Run a task for at most so many seconds."""
    if seconds < LEAST_SECONDS:
        return Outcome([], 0.0, "no time was left for it")
    script = str(HERE / "gpu_part.py")
    return run([script, task.part, task.contender, device, f"{seconds:.1f}"], seconds)
