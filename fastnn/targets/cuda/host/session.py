"""What networks on one device work with: a stream, buffers, data that are placed, launches.

An `Engine` has one for its network, `Several` one for all of its networks.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from fastnn.errors import DeviceFailure
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import DeviceArray
from fastnn.inputs.problem import Problem
from fastnn.random.many_keys import layer_keys
from fastnn.storage.kernels.kernel_cache import CompileNotice
from fastnn.targets.cuda.host.arguments import LOSS_SUM, RESULT_FIELDS, WEIGHT_SUM, Family, Job
from fastnn.targets.cuda.host.compiling import compile_all
from fastnn.targets.cuda.host.data import Placed, fits, place
from fastnn.targets.cuda.host.launching import forget_launched, launched
from fastnn.targets.cuda.host.memory import free_bytes, new_array, new_event, new_zeros
from fastnn.targets.cuda.host.numba_cuda import (
    cuda,
    failures,
    lacks_memory,
    limits,
    on_device,
    reached,
)
from fastnn.targets.cuda.host.plan import Plan
from fastnn.targets.cuda.host.streaming import Chunk, Streamed

# A launch takes about this long, so that progress shows and Ctrl-C does not wait; the next one is
# put into the stream before it ends.
LAUNCH_SECONDS, FIRST_STEPS = 0.2, 256
ROOM = 0.9  # of the free memory, that data may take
REMEDY = "make the batch or the network smaller, or use target='cpu'"
# What is looked at all the time for so long, as a short epoch may end, and then now and then.
SPIN_SECONDS, POLL_SECONDS = 1e-3, 2e-4

# (steps done, mean loss so far)
Report = Callable[[int, float], None]


def wait_for(event: Any) -> None:
    """Wait until all that was put into a stream before an event is done; Ctrl-C ends it."""
    spin_until = time.perf_counter() + SPIN_SECONDS
    while not reached(event):
        if time.perf_counter() > spin_until:
            time.sleep(POLL_SECONDS)


class Session:
    """Work on one device, for one problem.

    Attributes
    ----------
    stream
        Where all of it goes.
    lock
        Held by a call that uses the buffers: one at a time, and what it calls.
    device
        The number of the device, which every thread that works here uses for so long.
    limits
        What the device has.
    lost
        What the device failed with, or "".
    placed
        The data in use, as `source` returned them.
    weight
        What all of their rows weigh, the same number in every order.
    """

    def __init__(
        self, problem: Problem, go_back: Callable[[], None], device: int | None = None
    ) -> None:
        """Take the device of a number, None: the first.

        `go_back`, a method, is called when the device fails, before an error is raised.
        """
        # Weak, or a session and its engine would keep each other, and the device's memory.
        self._problem, self._go_back = problem, weakref.WeakMethod(go_back)
        self.lock = threading.RLock()  # who looks on at an epoch takes snapshots
        self.lost = ""
        self._arrays: dict[str, Any] = {}  # buffers on the device, by use
        self._sources: dict[str, np.ndarray] = {}  # what `put_once` has put there
        self._data: Data | None = None  # those that are placed
        self.placed: Placed | Streamed | None = None
        self.weight = 0.0
        self.device = device or 0
        with self.guarded("looking for a device"):
            self.limits, self.stream = limits(self.device), cuda.stream()

    def put(self, name: str, array: np.ndarray) -> Any:
        """Return an array on the device with this content, in that buffer if it fits."""
        array = np.ascontiguousarray(array)
        there = self._arrays.get(name)
        if there is None or there.shape != array.shape or there.dtype != array.dtype:
            self._arrays.pop(name, None)
            there = new_array(array.shape, array.dtype, f"{name} of the network need", REMEDY)
            self._arrays[name] = there
        there.copy_to_device(array, stream=self.stream)
        return there

    def put_once(self, name: str, array: np.ndarray) -> Any:
        """Return what `put` does, without a copy where this very array is there already."""
        if self._sources.get(name) is not array:
            self._sources.pop(name, None)
            self.put(name, array)
            self._sources[name] = array
        return self._arrays[name]

    def scratch(self, plan: Plan, networks: int) -> Any:
        """Return the scratch of a plan, zeros when it is new."""
        there, shape = self._arrays.get("scratch"), (networks, plan.scratch_size)
        if there is None or there.shape != shape:
            self._arrays.pop("scratch", None)
            what = "scratch of the network needs", REMEDY
            there = new_zeros(shape, self._problem.dtype, *what, self.stream)
            self._arrays["scratch"] = there
        return there

    def job(
        self,
        plan: Plan,
        placed: Placed,
        orders: Any,
        keyed: list[tuple[int, range]],
        *,
        state: Any,
        steps: np.ndarray,
        numbers: np.ndarray | None = None,
        scratches: int = 1,
    ) -> Job:
        """Put all that some epochs need on the device, beside the data.

        Parameters
        ----------
        plan, placed, orders, state
            As `Job` has them; all but the plan are on the device.
        keyed
            The seed of each network, and the numbers of its epochs.
        steps, numbers
            As `Job` has them, on the host; None: the plan's numbers.
        scratches
            How many rows of scratch.
        """
        uses = 2 * len(self._problem.network.dense)
        keys = np.concatenate([layer_keys(seed, epochs, uses) for seed, epochs in keyed])
        return Job(
            state=state,
            scratch=self.scratch(plan, scratches),
            words=self.put_once("words", plan.words),
            numbers=self.put_once("numbers", plan.numbers if numbers is None else numbers),
            steps=self.put("steps", steps),
            keys=self.put("keys", keys),
            orders=orders,
            results=self.put("results", np.zeros((len(orders), RESULT_FIELDS))),
            bad=self.put("bad", np.full(len(keyed), -1, np.int64)),
            **placed._asdict(),
        )

    def source(self, data: Data, plan: Plan) -> Placed | Streamed:
        """Return the data on the device, or what streams them where they do not fit.

        They stay as long as the next call is for the same data.
        """
        if self._data is not data:
            self._forget_data()
            self.scratch(plan, 1)  # comes first: it cannot be streamed
            room = ROOM * free_bytes()  # orders and the table of steps come after
            if isinstance(data.X, DeviceArray) or fits(data, self._problem, room)[0]:
                self.placed = place(data, self._problem, self.stream)
            else:
                self.placed = Streamed(data, self._problem, self.stream)
            self._data, self.weight = data, float(len(data))
            if data.row_weights is not None:
                rows = data.in_order(np.arange(len(data)))
                self.weight = math.fsum(data.row_weights[rows])
        assert self.placed is not None
        return self.placed

    def run(
        self,
        family: Family,
        job: Job,
        plan: Plan,
        chunks: Iterable[Chunk],
        steps: int,
        expected: float,
        seconds_per_row: float,
        report: Report | None = None,
    ) -> None:
        """Do all steps, in launches of about `LAUNCH_SECONDS` of which two are under way.

        `seconds_per_row` is what training takes, infinity where that is not known: then a step may
        take the `expected` seconds.
        """
        per_step = seconds_per_row * self._problem.batch_size
        if not math.isfinite(per_step):
            # If the estimate is far off, the first launch alone is long.
            per_step = max(LAUNCH_SECONDS / FIRST_STEPS, expected)
        count = max(1, int(LAUNCH_SECONDS / per_step))
        waiting: list[tuple[Any, int]] = []
        try:
            for begin, end, placed in chunks:
                own = job._replace(**placed._asdict())
                for first in range(begin, end, count):
                    last = min(end, first + count)
                    family.train(own, plan, first, last, self.stream)
                    event = new_event()
                    event.record(self.stream)
                    waiting.append((event, last))
                    while len(waiting) > (last < steps):
                        event, done = waiting.pop(0)
                        wait_for(event)
                        if report is not None and done < steps:
                            self.report(job, done, report)
        except KeyboardInterrupt:
            self.stream.synchronize()  # nothing may work on what is restored next
            raise

    def prepare(self, family: Family, rows: int, predicts: bool) -> None:
        """Compile what training on so many rows needs, and predictions if there are any."""
        what = f"{self._problem.dtype.name} CUDA kernels ({family.name})"
        with self.guarded("compiling"), CompileNotice(what):
            compile_all(family, self.limits, rows, predicts)

    def close(self) -> None:
        """Let the device's memory go."""
        with on_device(self.device), suppress(*(failures() if self.lost else ())):
            self._forget_data()
        self._arrays.clear()
        self._sources.clear()

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Turn an error of the device into a `DeviceFailure`; raise it again once it is lost."""
        if self.lost:
            raise DeviceFailure(self.lost)
        forget_launched()
        try:
            with on_device(self.device):
                yield
        except failures() as error:
            go_back = self._go_back()
            if go_back is not None:
                go_back()
            if lacks_memory(error):
                raise DeviceFailure(
                    f"{self.limits.name} has too little memory for {doing} ({error}); {REMEDY}"
                ) from error
            under_way = f" (kernel {launched()})" if launched() else ""
            self.lost = (
                f"{self.limits.name} failed while {doing}{under_way}: {error}; the parameters are "
                "those of the last good epoch: save the model, and go on in a new process or on "
                "target='cpu'"
            )
            raise DeviceFailure(self.lost) from error

    def _forget_data(self) -> None:
        if isinstance(self.placed, Streamed):
            self.placed.close()
        self._data = self.placed = None

    def results(self, job: Job) -> tuple[np.ndarray, np.ndarray]:
        """Return what a job has come to, its `results` and `bad`, when the stream is done."""
        found = job.results.copy_to_host(stream=self.stream)
        bad = job.bad.copy_to_host(stream=self.stream)
        self.stream.synchronize()
        return found, bad

    def report(self, job: Job, done: int, report: Report) -> None:
        """Tell how many steps are done, and their mean loss, when the stream has come so far."""
        sums = job.results.copy_to_host(stream=self.stream)
        self.stream.synchronize()
        loss, weight = sums[:, LOSS_SUM].sum(), sums[:, WEIGHT_SUM].sum()
        report(done, float(loss / weight) if weight > 0 else 0.0)
