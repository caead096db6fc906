"""The CPU engine: buffers, the team of threads, and what the trainer asks of a target."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numba import config, int64, types

from fastnn.cpu import epoch as kernels
from fastnn.cpu import linear, team
from fastnn.cpu.checked import checked, zeros_for
from fastnn.cpu.custom import place_rules
from fastnn.cpu.job import make_job, make_jobs
from fastnn.cpu.keys import random_keys
from fastnn.cpu.sources import make_sources
from fastnn.cpu.steps import LOSS_SUM, WEIGHT_SUM, start_numbers
from fastnn.cpu.threads import choose_threads
from fastnn.cpu.vector import register_shape
from fastnn.data import Data
from fastnn.kernel_cache import CompileNotice
from fastnn.layout import Layout
from fastnn.parameters import Parameters
from fastnn.plan import (
    BATCH,
    CAPACITY,
    CLASSES,
    COLUMN_MASK,
    IN_PLACE,
    INFERENCE_ROWS,
    LOOK_ROWS,
    ONES,
    PADDING,
    PREFETCH,
    SAMPLES,
    SIZE,
    TRANSPOSED,
    USED_SIZE,
    WEIGHTED,
    Plan,
    make_plan,
)
from fastnn.problem import EpochResult, Problem
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import UPDATES, activation_row
from fastnn.shuffling import make_orders
from fastnn.spec import Network
from fastnn.tiling import IN_PLACE_UNITS, LOOK_TILES

# Rows of data larger than this are asked for a step ahead; smaller ones are in the cache anyway.
PREFETCH_BYTES = 1 << 20
# How far ahead: as many rows as the second-level cache holds beside a batch, up to a limit.
AHEAD_BYTES, PREFETCH_ROWS = 256 << 10, 64
# Rows that make a second thread worth waking for a prediction.
PREDICT_FLOPS_PER_THREAD = 2e7
PROGRESS_SECONDS, SHORT_SECONDS = 0.2, 0.05  # the second is what Ctrl-C may wait for
JOB, JOBS = types.int64[::1], types.int64[:, ::1]
OUTPUTS = {"float32": types.float32[:, ::1], "float64": types.float64[:, ::1]}
NO_ROWS, NO_WEIGHTS = np.zeros(0, np.int64), np.zeros(0)


class Engine:
    """Trains and predicts with compiled kernels, as `fastnn.reference.Engine` defines it."""

    def __init__(
        self, problem: Problem, threads: int | None = None, rule: str | None = None
    ) -> None:
        """Make an engine for `problem`; `threads` None chooses from the work in a step.

        `rule` is another update rule than that of the problem's optimizer.
        """
        self.problem, self.how = problem, ""
        self.threads = choose_threads(problem) if threads is None else threads
        if config.DISABLE_JIT:
            self.threads = 1  # the plain-Python stand-ins of atomic operations are not atomic
        network = problem.network
        first = activation_row(network.dense[0].activation)
        self._linear = (
            network.shapes == ((network.inputs, 1),)
            and network.dropouts[0] == 0
            and not (first.rowwise or first.random or first.learned)
        )
        if self._linear:
            self.threads, self._layout = 1, Layout(1, 1)
        else:
            shape = register_shape(problem.dtype)
            self._layout = Layout(shape.lanes, shape.panel)
        self._rule = rule or problem.optimizer.rule
        self._slots = UPDATES[self._rule].slots
        alphas = [
            RRELU_MEAN if activation_row(dense.activation).random else dense.alpha or 0.0
            for dense in network.dense
        ]
        factors = [1.0 / (1.0 - rate) for rate in problem.network.dropouts]
        self._alphas = np.array(alphas + factors, problem.dtype)
        self._numbers = start_numbers(problem)
        self._lay_out(make_plan(problem, 1, self._layout, self.threads, self._rule))
        self._team: ThreadPoolExecutor | None = None
        self.seconds_per_row = np.inf
        self._lock = threading.Lock()  # one call at a time uses the scratch

    def load(self, parameters: Parameters, slots: list[Parameters]) -> None:
        """Take parameters and optimizer state, one list of (W, b) a slot; copies."""
        for copy, layers in enumerate([parameters, *slots]):
            for layer, arrays in enumerate(layers):
                every = np.vstack(arrays).astype(self.problem.dtype, copy=False)
                self._plan.write_weights(self._memory, layer, every, copy)
        self._fill_transposed()

    def parameters(self) -> Parameters:
        """Return copies of all (W, b), with prelu (W, b, slopes)."""
        return self._read(0)

    def slots(self) -> list[Parameters]:
        """Return copies of the optimizer state, one list of (W, b) a slot."""
        return [self._read(slot + 1) for slot in range(self._slots)]

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state as one array that `restore` takes."""
        return self._memory[: self._state_size].copy()

    def finite(self) -> bool:
        """Whether all parameters and the optimizer state are finite."""
        return bool(np.isfinite(self._memory[: self._state_size]).all())

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        self._memory[: self._state_size] = snapshot
        self._fill_transposed()

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
        """Train some epochs in one compiled call; more than one takes an engine of one thread."""
        with self._lock:
            if self._plan.head[SAMPLES] != len(data.X):
                plan = make_plan(self.problem, len(data.X), self._layout, self.threads, self._rule)
                self._lay_out(plan)
            place_rules(self.problem, self._plan, training=True)
            numbers, control = self._start(data, step, rates)
            plan, epochs = self._plan, len(rates)
            lists = -(-plan.head[BATCH] // plan.head[LOOK_ROWS]) + LOOK_TILES + 1
            numbered = range(epoch, epoch + epochs)
            shared = dict(
                sources=self._sources(data),
                classes=data.targets if plan.head[CLASSES] else NO_ROWS,
                used=np.zeros((self.threads, lists, plan.head[USED_SIZE]), np.int64).ravel(),
                weights=NO_WEIGHTS if data.weights is None else data.weights,
                row_loss=np.zeros(plan.head[BATCH]),
                parts=np.zeros(plan.parts_size),
            )
            own = dict(
                order=np.ascontiguousarray(orders, np.int64),
                keys=random_keys(self.problem.seed, numbered, 2 * len(plan.layers)),
                gathered=np.full((epochs, team.LINE * self.threads), -1),
                control=control,
                rates=np.ascontiguousarray(rates),
                numbers=numbers,
            )
            self._run(make_jobs(self._fixed, shared, own), orders.size, numbers, control, progress)
        results: list[EpochResult] = []
        for number in range(epochs):
            bad, weight = int(control[number, team.BAD_STEP]), numbers[number, WEIGHT_SUM]
            loss = numbers[number, LOSS_SUM] / weight if weight > 0 else 0.0
            results.append(EpochResult(float(loss), bad if bad >= 0 else None))
            if bad >= 0:
                break
        return results

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs (m, outputs) of the last layer for X (m, inputs); no dropout."""
        outputs = np.empty((len(X), self.problem.network.outputs), self.problem.dtype)
        weights = sum(k * n for k, n in self.problem.network.shapes)
        threads = min(self.threads, max(1, int(2 * weights * len(X) / PREDICT_FLOPS_PER_THREAD)))
        compiled = self._compiled("forward", (JOB, int64, int64, OUTPUTS[self.problem.dtype.name]))
        sources = make_sources(X)
        counting = np.arange(INFERENCE_ROWS)
        bounds = np.linspace(0, len(X), threads + 1).astype(np.int64)
        with self._lock:
            place_rules(self.problem, self._plan, training=False)
            plan = self._plan
            jobs = [
                make_job(
                    memory=self._memory,
                    alphas=self._alphas,
                    head=plan.inference_heads[me],
                    layers=plan.inference[me],
                    sources=sources,
                    counting=counting,
                )
                for me in range(threads)
            ]
            calls = [(jobs[me], bounds[me], bounds[me + 1], outputs) for me in range(threads)]
            if threads == 1:
                compiled(*calls[0])
            else:
                for future in [self._pool().submit(compiled, *call) for call in calls]:
                    future.result()
        return outputs

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
        problem = replace(self.problem, network=network, batch_size=len(data.X))
        other = Engine(problem, self.threads, "gradient")
        other.load(self.parameters(), [])
        result = other.train_epoch(data, np.arange(len(data.X)), np.zeros(1), 0, 0)
        gradients = other.slots()[0]
        other.close()
        return result.loss, gradients

    def hold(self, data: Data) -> Data:
        """Return the data: they are read where they lie."""
        return data

    def prepare(self) -> None:
        """Compile or load the kernels of training, so that the first epoch does not have to."""
        self._train()
        self.orders(range(1), 1)
        with self._lock:
            place_rules(self.problem, self._plan, training=True)

    def _train(self) -> Any:
        return self._compiled("train_epoch", (JOBS,) if self._linear else (JOBS, int64, int64))

    def close(self) -> None:
        """Let the threads go."""
        if self._team is not None:
            self._team.shutdown()
            self._team = None

    @property
    def _state_size(self) -> int:
        return int(self._plan.head[SIZE]) * (1 + self._slots)

    def _lay_out(self, plan: Plan) -> None:
        """Follow another plan from now on; parameters and optimizer state move along."""
        memory = zeros_for(plan, self.problem.dtype)
        previous = getattr(self, "_memory", memory)
        size = int(plan.head[SIZE]) * (1 + self._slots)
        memory[:size] = previous[:size]
        memory[plan.head[ONES] :][: self._layout.panel] = 1
        memory[plan.head[PADDING] + self._layout.lanes :][: self._layout.lanes] = 1
        memory[plan.head[COLUMN_MASK] :][: self.problem.network.outputs] = 1
        self._plan, self._memory, self._counting = plan, memory, np.arange(plan.head[CAPACITY])
        self._fixed = make_job(
            memory=memory,
            alphas=self._alphas,
            head=plan.head,
            layers=plan.layers,
            tiles=plan.tiles,
            owners=plan.owners,
            phases=plan.phases,
            counting=self._counting,
        )
        self._fill_transposed()

    def _fill_transposed(self) -> None:
        """Bring the transposed copies of weights up to date (training then keeps them so)."""
        for layer, (k, n) in enumerate(self.problem.network.shapes):
            at = int(self._plan.layers[layer, TRANSPOSED])
            if at >= 0:
                every = self._plan.read_weights(self._memory, layer)
                flat = self._memory[at : at + n * self._layout.padded(k)]
                self._layout.split(every[:k].T, flat)

    def _read(self, copy: int) -> Parameters:
        result: Parameters = []
        for layer, (k, _) in enumerate(self.problem.network.shapes):
            every = self._plan.read_weights(self._memory, layer, copy)
            result.append((every[:k].copy(), *(row.copy() for row in every[k:])))
        return result

    def _sources(self, data: Data) -> np.ndarray:
        """Return where X and y are; y only where targets are numbers."""
        targets = data.X[:, :1] if self._plan.head[CLASSES] else data.targets
        return make_sources(data.X, targets)

    def _start(self, data: Data, step: int, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return fresh `numbers` and `control` for each epoch, and fit the plan to the data."""
        epochs, steps = rates.shape
        words = team.TICKETS + team.LINE * self.threads
        numbers = np.tile(self._numbers, (epochs, 1))
        control = np.zeros((epochs, words), np.int64)
        control[:, team.BAD_STEP] = -1
        control[:, team.FIRST_STEP] = step + steps * np.arange(epochs)
        control[:, team.TICKETS :: team.LINE] = team.NOT_OPEN
        side_by_side = data.X.strides[1] == data.X.itemsize
        row_bytes = data.X.itemsize * data.X.shape[1]
        head = self._plan.head
        head[WEIGHTED] = data.weights is not None
        head[PREFETCH] = 0
        if side_by_side and row_bytes * len(data.X) > PREFETCH_BYTES:
            head[PREFETCH] = min(PREFETCH_ROWS, max(8, AHEAD_BYTES // row_bytes))
        head[IN_PLACE] = (
            side_by_side
            and data.X.dtype == self.problem.dtype
            and self.problem.network.dropouts[0] == 0
            and self.problem.network.dense[0].units <= IN_PLACE_UNITS
        )
        return numbers, control

    def _compiled(self, operation: str, signature: tuple[Any, ...]) -> Any:
        """Return an entry point for this dtype, compiled or loaded from the cache."""
        module = linear if self._linear else kernels
        function = getattr(module, f"{operation}_{self.problem.dtype.name}")
        if not config.DISABLE_JIT and not function.overloads:
            with CompileNotice(f"{self.problem.dtype.name} {operation}"):
                function.compile(signature)
        return checked(function)

    def _pool(self) -> ThreadPoolExecutor:
        if self._team is None:
            self._team = ThreadPoolExecutor(self.threads, "fastnn")
        return self._team

    def _run(
        self,
        jobs: np.ndarray,
        rows: int,
        numbers: np.ndarray,
        control: np.ndarray,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        """Run the epochs of `jobs`, of `rows` rows together, on the team.

        This thread only waits, reports, and turns Ctrl-C into a stop; but a short epoch that needs
        one thread runs in this one, since waking another takes as long as twenty small steps.
        """
        train = self._train()
        calls: list[tuple[Any, ...]] = [(jobs, me, self.threads) for me in range(self.threads)]
        if self._linear:
            calls = [(jobs,)]
        start = time.perf_counter()
        if self.threads == 1 and rows * self.seconds_per_row < SHORT_SECONDS:
            train(*calls[0])
        else:
            self._run_on_team(train, calls, numbers, control, progress)
        # What ended early says nothing of the next.
        if control[:, team.BAD_STEP].max() < 0:
            self.seconds_per_row = (time.perf_counter() - start) / rows

    def _run_on_team(
        self,
        train: Any,
        calls: list[tuple[Any, ...]],
        numbers: np.ndarray,
        control: np.ndarray,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        futures: list[Future[None]] = [self._pool().submit(train, *call) for call in calls]
        try:
            while wait(futures, PROGRESS_SECONDS, FIRST_EXCEPTION).not_done:
                if progress is not None:
                    weight = numbers[:, WEIGHT_SUM].sum()
                    loss = numbers[:, LOSS_SUM].sum() / weight if weight > 0 else 0.0
                    progress(int(control[:, team.STEP].sum()), float(loss))
        finally:
            control[:, team.STOP] = 1  # after Ctrl-C; otherwise nobody reads it any more
            while not all(future.done() for future in futures):
                # A second Ctrl-C must not leave a thread at work on what is restored next.
                with suppress(KeyboardInterrupt):
                    wait(futures)
        for future in futures:
            future.result()
