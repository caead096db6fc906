"""The processes of guard.py: each trains, in its turn, with a copy of one commit's fastnn."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from processes import HERE, threads

ROOT = HERE.parent


class CannotCompare(Exception):
    """There is no answer; the message says why."""


@dataclass(frozen=True)
class Tree:
    """A copy of one commit's fastnn in a folder of its own, where its kernels are kept too."""

    title: str
    folder: Path


def git(*arguments: str) -> bytes:
    """Return what a git command on this checkout prints."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)
    if done.returncode:
        raise CannotCompare(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def copy_tree(commit: str | None, folder: Path) -> Tree:
    """Copy the fastnn of a commit, or of the working tree, into `folder`."""
    if commit is None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "fastnn", folder / "fastnn", ignore=ignored)
        changed = git("status", "--porcelain", "--", "fastnn")
        known = git("log", "-1", "--format=%h").decode().strip()
        return Tree(f"working tree ({known}{' and changes' if changed else ''})", folder)
    title = git("log", "-1", "--format=%h %s", commit, "--").decode().strip()
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit, "fastnn"))) as tar:
        tar.extractall(folder, filter="data")
    return Tree(title, folder)


class Worker:
    """A process of guard_worker.py that trains with the fastnn of one tree."""

    def __init__(self, tree: Tree, mode: str) -> None:
        with threads(mode) as environment:
            paths = [str(tree.folder), str(HERE), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            environment["FASTNN_CACHE_DIR"] = str(tree.folder / "kernels")
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(HERE / "guard_worker.py"), mode],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                start_new_session=True,  # Ctrl-C is for guard.py, which stops the workers
            )
        self.tree = tree

    def begin(self) -> None:
        """Wait until it is there; it must not have taken another fastnn by mistake."""
        file = self.answer()
        if not Path(file).resolve().is_relative_to(self.tree.folder.resolve()):
            raise CannotCompare(f"{self.tree.title}: {file} was imported instead")

    def ask(self, *command: Any) -> None:
        """Give it something to do."""
        assert self.process.stdin is not None
        try:
            print(json.dumps(command), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            self.fail()

    def answer(self) -> Any:
        """Wait until it is done, and return what it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else self.fail()

    def fail(self) -> NoReturn:
        """Say that it ended; why, it has written itself."""
        raise CannotCompare(f"{self.tree.title}: the process that trains with it ended")

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def workers(trees: Sequence[Tree], mode: str, first: int = 0) -> Iterator[list[Worker]]:
    """Start a worker a tree, the one at `first` before the others; stop all of them at the end."""
    with ExitStack() as stack:
        started: dict[int, Worker] = {}
        for i in range(len(trees)):
            at = (first + i) % len(trees)
            started[at] = Worker(trees[at], mode)
            stack.callback(started[at].stop)
        for worker in started.values():
            worker.begin()
        yield [started[at] for at in range(len(trees))]
