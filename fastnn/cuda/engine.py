"""The CUDA engine: what the trainer asks of a target, on one device.

Parameters and optimizer state stay on the device between epochs. The host has a copy of them as
the last good epoch left them, which is what remains when a device fails.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.cuda.choice import FAMILIES, choose_family
from fastnn.cuda.data import Placed, fits, place, place_features
from fastnn.cuda.device import cuda, failures, lacks_memory, limits, reached
from fastnn.cuda.job import LOSS_SUM, RESULT_FIELDS, WEIGHT_SUM, Job, read_results
from fastnn.cuda.launching import forget_launched, launched
from fastnn.cuda.memory import HostCopies, free_bytes, new_array, new_event, new_zeros
from fastnn.cuda.plan import WEIGHTED, Parameters, Plan
from fastnn.cuda.reader import DeviceReader, all_finite
from fastnn.cuda.steps import layer_keys, step_table
from fastnn.cuda.streaming import Chunk, Streamed
from fastnn.data import Data
from fastnn.device_arrays import DeviceArray
from fastnn.errors import DeviceFailure
from fastnn.kernel_cache import CompileNotice
from fastnn.problem import EpochResult, Problem
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import UPDATES, activation_row
from fastnn.shuffling import make_orders
from fastnn.spec import Network

# A launch takes about this long, so that progress shows and Ctrl-C does not wait; the next one is
# put into the stream before it ends.
LAUNCH_SECONDS, FIRST_STEPS = 0.2, 256
ROOM = 0.9  # of the free memory, that data may take
REMEDY = "make the batch or the network smaller, or use target='cpu'"
POLL_SECONDS = 2e-4


class Engine:
    """Trains and predicts with CUDA kernels, as `fastnn.reference.Engine` defines it."""

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        rule: str | None = None,
        family: str | None = None,
    ) -> None:
        """Make an engine for `problem` on the current device.

        `threads` says nothing here. `rule` is another update rule than that of the problem's
        optimizer; `family` one of `fastnn.cuda.choice.FAMILIES` in place of the cheapest.
        """
        self.problem, self.threads, self.seconds_per_row = problem, 1, math.inf
        self._rule = rule or problem.optimizer.rule
        self._slots = UPDATES[self._rule].slots
        self._lock = threading.Lock()  # one call at a time uses the scratch
        self._lost = ""  # what the device failed with
        with self._guarded("looking for a device"):
            self._family = choose_family(problem, self._rule, limits(), family)
            self._stream = cuda.stream()
        self.family = self._family.name
        self.how = f"{self.family} kernels on {limits().name}"
        self._plan: Plan = self._family.plan(1)
        # Where the state is: on the host as long as that is not None, on the device likewise.
        self._host: np.ndarray | None = np.zeros(self._plan.state_size, problem.dtype)
        self._good = self._host
        self._device: Any = None
        self._copies = HostCopies()
        self._arrays: dict[str, Any] = {}  # buffers on the device, by use
        self._data: Data | None = None  # those that are placed
        self._placed: Placed | Streamed | None = None
        self._predictor = self._family.predictor(self._plan)

    def load(self, parameters: Parameters, slots: list[Parameters]) -> None:
        """Take parameters and optimizer state, one list of (W, b) a slot; copies."""
        self.restore(self._plan.pack([parameters, *slots], self.problem.dtype))

    def parameters(self) -> Parameters:
        """Return copies of all (W, b), with prelu (W, b, slopes)."""
        return self._plan.unpack(self.snapshot(), 0)

    def slots(self) -> list[Parameters]:
        """Return copies of the optimizer state, one list of (W, b) a slot."""
        state = self.snapshot()
        return [self._plan.unpack(state, slot + 1) for slot in range(self._slots)]

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state as one array that `restore` takes; read only."""
        with self._lock:
            return self._kept()

    def _kept(self) -> np.ndarray:
        """Return the state on the host, copied there if need be."""
        if self._host is None:
            with self._guarded("copying parameters from the device"):
                self._host = self._good = self._copies.copy(self._device, self._stream)
        return self._host

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        self._host = self._good = snapshot
        self._device = None

    def finite(self) -> bool:
        """Whether all parameters and the optimizer state are finite."""
        if self._host is not None:
            return bool(np.isfinite(self._host).all())
        with self._guarded("looking for numbers that are not finite"):
            return all_finite(self._device, self._stream)

    def orders(self, epochs: range, n: int) -> np.ndarray:
        """Return the shuffled rows 0..n-1 of some epochs, int64 (len(epochs), n)."""
        return make_orders(self.problem.seed, epochs, n)

    def train_epoch(
        self,
        data: Data,
        order: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Callable[[int, float], None] | None = None,
    ) -> EpochResult:
        """Train one epoch; see the NumPy target for the definition of every argument."""
        return self.train_epochs(data, order[None], rates[None], epoch, step, progress)[0]

    def train_epochs(
        self,
        data: Data,
        orders: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Callable[[int, float], None] | None = None,
    ) -> list[EpochResult]:
        """Train some epochs; nothing waits for the host between their steps."""
        epochs, each = rates.shape
        with self._lock, self._guarded(f"training with the {self.family} kernels"):
            start = time.perf_counter()
            plan = self._family.plan(len(data))
            plan.words[0, WEIGHTED] = data.weights is not None
            tables = [
                step_table(self.problem, self._rule, own, step + e * each, order, data.weights)
                for e, (own, order) in enumerate(zip(rates, orders, strict=True))
            ]
            source = self._source(data, plan)
            if isinstance(source, Streamed):
                rows, placed = source.positions(epochs), source.placed[0]
                chunks = source.chunks(orders)
            else:
                rows, placed = orders, source
                chunks = iter([Chunk(0, epochs * each, placed)])
            job = self._job(plan, placed, rows, np.concatenate(tables), epoch)
            self._run(job, plan, chunks, epochs * each, progress)
            found = job.results.copy_to_host(stream=self._stream)
            bad = job.bad.copy_to_host(stream=self._stream)
            self._stream.synchronize()
            self._host = None
            if bad[0] < 0:
                self.seconds_per_row = (time.perf_counter() - start) / orders.size
        return read_results(found, int(bad[0]), each)

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs (m, outputs) of the last layer for X (m, inputs); no dropout."""
        with self._lock, self._guarded("predicting"):
            return self._predictor(self._on_device(), X, self._stream)

    def gradients(self, data: Data) -> tuple[float, Parameters]:
        """Return the data loss over all rows as one batch, and its gradient with the penalty."""
        # Neither dropout nor drawn slopes.
        layers = [
            replace(each, activation="leaky_relu", alpha=RRELU_MEAN)
            if activation_row(each.activation).random
            else each
            for each in self.problem.network.dense
        ]
        network = Network(self.problem.network.inputs, layers)
        problem = replace(self.problem, network=network, batch_size=len(data))
        # One batch of all rows may be too much for this family.
        able = not FAMILIES[self.family].suits(problem, "gradient", limits())
        other = Engine(problem, self.threads, "gradient", self.family if able else None)
        other.load(self.parameters(), [])
        result = other.train_epoch(data, np.arange(len(data)), np.zeros(1), 0, 0)
        gradients = other.slots()[0]
        other.close()
        return result.loss, gradients

    def hold(self, data: Data) -> Data:
        """Return data that `forward` reads again and again, on the device if they fit."""
        if isinstance(data.X, DeviceArray):
            return data
        dtype = self.problem.dtype
        needed = data.X.size * dtype.itemsize
        with self._lock, self._guarded("copying data to the device"):
            if needed > ROOM * free_bytes():
                return data
            features = place_features(data.X, dtype, self._stream)
            self._stream.synchronize()
        return Data(DeviceArray(features, DeviceReader()), data.targets, data.weights)

    def prepare(self) -> None:
        """Compile the kernels of training, so that the first epoch does not have to."""
        what = f"{self.problem.dtype.name} CUDA kernels ({self.family})"
        with self._guarded("compiling"), CompileNotice(what):
            self._family.prepare(self.problem.batch_size)

    def close(self) -> None:
        """Let the device's memory go; parameters stay on the host."""
        if not self._lost:
            self.snapshot()
        self._forget_data()
        self._device = None
        self._arrays.clear()

    def _on_device(self) -> Any:
        """Return the state on the device, (1, state size)."""
        if self._device is None:
            assert self._host is not None
            self._device = self._put("state", self._host[None])
        return self._device

    def _put(self, name: str, array: np.ndarray) -> Any:
        """Return an array on the device with this content, in that buffer if it fits."""
        array = np.ascontiguousarray(array)
        there = self._arrays.get(name)
        if there is None or there.shape != array.shape or there.dtype != array.dtype:
            self._arrays.pop(name, None)
            there = new_array(array.shape, array.dtype, f"{name} of the network need", REMEDY)
            self._arrays[name] = there
        there.copy_to_device(array, stream=self._stream)
        return there

    def _job(
        self, plan: Plan, placed: Placed, orders: np.ndarray, table: np.ndarray, epoch: int
    ) -> Job:
        """Put all that some epochs need on the device, beside the data."""
        numbered = range(epoch, epoch + len(orders))
        return Job(
            state=self._on_device(),
            scratch=self._scratch(plan, 1),
            words=self._put("words", plan.words),
            numbers=self._put("numbers", plan.numbers),
            steps=self._put("steps", table),
            keys=self._put("keys", layer_keys(self.problem, [self.problem.seed], numbered)),
            orders=self._put("orders", orders.astype(np.int32, copy=False)),
            results=self._put("results", np.zeros((len(orders), RESULT_FIELDS))),
            bad=self._put("bad", np.full(1, -1, np.int64)),
            **placed._asdict(),
        )

    def _source(self, data: Data, plan: Plan) -> Placed | Streamed:
        """Return the data on the device, or what streams them where they do not fit.

        They stay as long as the next call is for the same data.
        """
        if self._data is not data:
            self._forget_data()
            self._scratch(plan, 1)  # comes first: it cannot be streamed
            room = ROOM * free_bytes()  # orders and the table of steps come after
            if isinstance(data.X, DeviceArray) or fits(data, self.problem, room)[0]:
                self._placed = place(data, self.problem, self._stream)
            else:
                self._placed = Streamed(data, self.problem, self._stream)
            self._data = data
        assert self._placed is not None
        return self._placed

    def _forget_data(self) -> None:
        if isinstance(self._placed, Streamed):
            self._placed.close()
        self._data = self._placed = None

    def _scratch(self, plan: Plan, networks: int) -> Any:
        """Return the scratch of a plan, zeros when it is new."""
        there, shape = self._arrays.get("scratch"), (networks, plan.scratch_size)
        if there is None or there.shape != shape:
            self._arrays.pop("scratch", None)
            what = "scratch of the network needs", REMEDY
            there = new_zeros(shape, self.problem.dtype, *what, self._stream)
            self._arrays["scratch"] = there
        return there

    def _run(
        self,
        job: Job,
        plan: Plan,
        chunks: Iterable[Chunk],
        steps: int,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        """Do all steps, in launches of about `LAUNCH_SECONDS` of which two are under way."""
        waiting: list[tuple[Any, int]] = []
        try:
            for begin, end, placed in chunks:
                own = job._replace(**placed._asdict())
                for first, last in self._launches(begin, end):
                    self._family.train(own, plan, first, last, self._stream)
                    event = new_event()
                    event.record(self._stream)
                    waiting.append((event, last))
                    while len(waiting) > (last < steps):
                        event, done = waiting.pop(0)
                        while not reached(event):
                            time.sleep(POLL_SECONDS)
                        if progress is not None and done < steps:
                            self._report(job, done, progress)
        except KeyboardInterrupt:
            self._stream.synchronize()  # nothing may work on what is restored next
            raise

    def _launches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut steps into launches."""
        per_step = self.seconds_per_row * self.problem.batch_size
        count = FIRST_STEPS if math.isinf(per_step) else max(1, int(LAUNCH_SECONDS / per_step))
        for first in range(begin, end, count):
            yield first, min(end, first + count)

    def _report(self, job: Job, done: int, progress: Callable[[int, float], None]) -> None:
        sums = job.results.copy_to_host(stream=self._stream)
        self._stream.synchronize()
        loss, weight = sums[:, LOSS_SUM].sum(), sums[:, WEIGHT_SUM].sum()
        progress(done, float(loss / weight) if weight > 0 else 0.0)

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        """Turn an error of the device into a `DeviceFailure`, and keep to the last good epoch."""
        if self._lost:
            raise DeviceFailure(self._lost)
        forget_launched()
        try:
            yield
        except failures() as error:
            self._host, self._device = self._good, None
            if lacks_memory(error):
                raise DeviceFailure(
                    f"{limits().name} has too little memory for {doing} ({error}); {REMEDY}"
                ) from error
            under_way = f" (kernel {launched()})" if launched() else ""
            self._lost = (
                f"{limits().name} failed while {doing}{under_way}: {error}; the parameters are "
                "those of the last good epoch: save the model, and go on in a new process or on "
                "target='cpu'"
            )
            raise DeviceFailure(self._lost) from error
