"""Predictions of several networks for the same rows, added up.

Every thread takes a block of rows through all networks, one after another, so that the rows and
what is added up stay in its cache; and what Python does for a network is a call and two additions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import TrainerBusy
from fastnn.inputs.pages import pages_of
from fastnn.inputs.problem import Problem
from fastnn.sanitizer import CHECKED
from fastnn.storage.kernels.loading import entry
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets import engine as interface
from fastnn.targets.cpu import arguments as words
from fastnn.targets.cpu.arguments import make_job, make_strided_views
from fastnn.targets.cpu.checked import checked
from fastnn.targets.cpu.engine import Engine
from fastnn.targets.cpu.forward import PREDICT_FLOPS_PER_CALL, PREDICT_FLOPS_PER_THREAD
from fastnn.targets.cpu.plan import INFERENCE_ROWS
from fastnn.targets.cpu.user_rules import place_rules
from fastnn.targets.fields import SAMPLES
from fastnn.threads.atomic import Turn, new_lock
from fastnn.threads.pool import Task

# Whether what is called wants arrays and not only their addresses.
WHOLE = CHECKED or DISABLE_JIT
BLOCK_BYTES = 512 << 10  # of features that a thread takes at a time
SCRATCH_BYTES = 256 << 20  # of all threads in all engines


class _Address:
    """The address of an array, as those take it that call compiled code, looked up once."""

    __slots__ = ("__array_interface__",)

    def __init__(self, array: np.ndarray) -> None:
        self.__array_interface__ = {"data": array.__array_interface__["data"]}


class _Network(NamedTuple):
    """One network in one seat."""

    forward: Callable[..., None]
    job: Any
    weight: Any
    kind: int  # of its outputs: several networks write theirs into the same place
    kept: Any


class SideBySide(interface.SideBySide):
    """Predicts with engines of this target; see `fastnn.targets.engine.SideBySide`."""

    def __init__(
        self,
        engines: Sequence[interface.Engine],
        groups: Sequence[int],
        weights: Sequence[float],
        threads: int,
        finish: interface.Finish | None = None,
    ) -> None:
        super().__init__(engines, groups, weights, threads, finish)
        self._using, self._turn = new_lock(), Turn()
        self._task: Task | None = None
        self._copies: list[Engine] = []  # of engines that have one seat each
        self._outputs = engines[0].problem.network.outputs
        # Of a row in each network, and in the largest.
        flops = [2.0 * sum(k * n for k, n in each.problem.network.shapes) for each in engines]
        self._flops, self._most_flops = sum(flops), max(flops)
        # Engines of other targets may read other features beside these.
        self._read = sorted(set(groups))
        self._tables = np.zeros((threads, len(self._read), words.STRIDED_FIELDS), np.int64)
        self._dtypes = list(dict.fromkeys(each.problem.dtype for each in engines))
        self._dtype = np.result_type(*self._dtypes)
        self._seats: list[list[_Network]] = [[] for _ in range(threads)]
        at = words.POSITIONS["strided"]
        for engine, group, weight in zip(engines, groups, weights, strict=True):
            assert isinstance(engine, Engine)
            dtype = engine.problem.dtype
            for seat, (forward, job, kept) in enumerate(self._jobs_of(engine, threads)):
                table = self._tables[seat, self._read.index(group)]
                job[at] = table.__array_interface__["data"][0]
                job[at + 1] = 1
                passed = job if WHOLE else _Address(job)
                self._seats[seat].append(
                    _Network(
                        forward, passed, dtype.type(weight), self._dtypes.index(dtype), (job, kept)
                    )
                )

    @staticmethod
    def seats(problems: Sequence[Problem], threads: int) -> int:
        """Return for how many threads there is room: each has scratch in each of the engines."""
        needed = sum(
            INFERENCE_ROWS * each.dtype.itemsize * sum(k + 2 * n for k, n in each.network.widths)
            for each in problems
        )
        return max(1, min(threads, SCRATCH_BYTES // needed))

    def _jobs_of(self, engine: Engine, seats: int) -> list[tuple[Callable[..., None], Any, Any]]:
        """Return entry point, job and what is to be kept, for each seat."""
        found: list[tuple[Callable[..., None], Any, Any]] = []
        while True:
            found += _dense_jobs(engine)
            if len(found) >= seats:
                return found[:seats]
            other = Engine(engine.problem, engine.threads)
            other.restore(engine.snapshot())
            self._copies.append(other)
            engine = other

    def add_up(self, features: Sequence[Any]) -> np.ndarray:
        """Return the weighted sum of what the networks predict."""
        read = [features[group] for group in self._read]
        if any(not isinstance(each, np.ndarray) or pages_of(each) for each in read):
            return super().add_up(features)
        rows, outputs, finish = len(read[0]), self._outputs, self.finish
        seats = min(self.threads, max(1, int(self._flops * rows / PREDICT_FLOPS_PER_THREAD)))
        count = self._rows_together(read, rows, seats)
        total = np.zeros((rows, outputs), self._dtype)
        left = deque(range(0, rows, count))

        def predict(seat: int) -> None:
            networks, tables = self._seats[seat], self._tables[seat]
            rooms = [np.empty((count, outputs), dtype) for dtype in self._dtypes]
            while left:
                try:
                    start = left.popleft()
                except IndexError:  # another thread was quicker
                    return
                stop = min(start + count, rows)
                tables[:] = make_strided_views(*(each[start:stop] for each in read))
                parts = [room[: stop - start] for room in rooms]
                places = parts if WHOLE else [*map(_Address, parts)]
                into = total[start:stop]
                for forward, job, weight, kind, _ in networks:
                    part = parts[kind]
                    forward(job, 0, stop - start, places[kind])
                    if finish is not None:
                        finish(part, part)
                    np.multiply(part, weight, out=part)
                    np.add(into, part, out=into)

        this_call = object()
        with self._using:
            if not self._turn.take(this_call):
                raise TrainerBusy(
                    "this is called in the middle of a prediction of the same ensemble, by a "
                    "signal's handler; have the handler set a flag, and predict afterwards"
                )
            try:
                self._settle()
                if seats == 1:
                    predict(0)
                else:
                    self._task = Task(predict, seats, left.clear)
                    self._task.run()
            finally:
                self._settle()
                self._turn.give_back()
        return total

    def _rows_together(self, features: Sequence[np.ndarray], rows: int, seats: int) -> int:
        """Return how many rows a thread takes at a time: as many as stay in its cache."""
        most = max(each.shape[1] * each.itemsize for each in features)
        count = min(BLOCK_BYTES // most, int(PREDICT_FLOPS_PER_CALL / self._most_flops))
        count = max(1, count // INFERENCE_ROWS) * INFERENCE_ROWS
        share = -(-rows // (seats * math.ceil(rows / (seats * count))))  # blocks of equal rows
        return share if rows <= count else -(-share // INFERENCE_ROWS) * INFERENCE_ROWS

    def _settle(self) -> None:
        """Wait until no thread is at work on what these engines have."""
        if self._task is not None:
            self._task.settle()
            self._task = None


def _dense_jobs(engine: Engine) -> list[tuple[Callable[..., None], np.ndarray, Any]]:
    """Return for each seat of an engine what predicts dense rows: entry point, job, what to keep.

    The jobs lack only the table of features. No other call is to use the engine meanwhile.
    """
    with engine._lock:
        engine._settle()
        if engine._working.sparse is not None:
            engine._follow(int(engine._working.plan.head[SAMPLES]), None)
        working, counting = engine._working, np.arange(INFERENCE_ROWS)
        plan = working.plan
        place_rules(engine.problem, plan, training=False)
        forward = checked(entry(engine._entry("forward")))
        jobs = [
            make_job(
                memory=working.memory,
                alphas=engine._alphas,
                head=head,
                layers=layers,
                counting=counting,
            )
            for head, layers in zip(plan.inference_heads, plan.inference, strict=True)
        ]
    return [(forward, job, (engine, working, counting)) for job in jobs]
