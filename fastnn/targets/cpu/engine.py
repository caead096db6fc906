"""The CPU engine: working memory, the team of threads, and what the trainer asks of a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastnn.inputs.data import Data
from fastnn.inputs.output_ends import going
from fastnn.inputs.problem import DTYPES, EpochResult, Problem
from fastnn.inputs.sparse_rows import ReadRows, SparseRows, is_sparse
from fastnn.random.many_keys import layer_keys
from fastnn.ranks.group import Group
from fastnn.ranks.local_steps import mean_loss, train_apart
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import UPDATES, activation_row, update_row
from fastnn.storage.kernels.loading import entry
from fastnn.storage.kernels.loading import prepare as prepare_entries
from fastnn.storage.kernels.machine import DISABLE_JIT, register_shape
from fastnn.targets import engine as interface
from fastnn.targets.compiled import CompiledEngine, Epochs
from fastnn.targets.cpu import arguments as words
from fastnn.targets.cpu.arguments import make_jobs, make_strided_views
from fastnn.targets.cpu.begun import (
    NO_ROWS,
    NO_WEIGHTS,
    Begun,
    alone_of,
    results_of,
    sparse_arrays,
    train_seat,
)
from fastnn.targets.cpu.bfloat16 import instructions
from fastnn.targets.cpu.checked import checked
from fastnn.targets.cpu.forward import (
    PREDICT_FLOPS_PER_THREAD,
    Here,
    predicting,
    reads_in_place,
)
from fastnn.targets.cpu.kinds import LINEAR
from fastnn.targets.cpu.known_plans import plan_for
from fastnn.targets.cpu.laziness import (
    EAGER,
    Laziness,
    choose_laziness,
)
from fastnn.targets.cpu.one_layer import is_linear, is_row_by_row
from fastnn.targets.cpu.parts import count_parts
from fastnn.targets.cpu.plan import (
    ADDRESS_TABLES,
    ADDRESSES_SIZE,
    CLASSES,
    COPIED,
    EPOCH_STEPS,
    IN_PLACE,
    LAYER_KIND,
    LAZY,
    LOOK_ROWS,
    NONZERO_SIZE,
    PREFETCH,
    ROW_BY_ROW,
    STEPS,
    THREADS,
    Plan,
)
from fastnn.targets.cpu.resting import Resting
from fastnn.targets.cpu.scalars import LOSS_SUM, MEAN_WEIGHT, WEIGHT_SUM, start_numbers
from fastnn.targets.cpu.sums import Sums
from fastnn.targets.cpu.thread_count import FLOPS_OF_UPDATE, choose_threads
from fastnn.targets.cpu.tiling import IN_PLACE_UNITS, LOOK_TILES
from fastnn.targets.cpu.user_rules import place_rules
from fastnn.targets.cpu.working_memory import Working
from fastnn.targets.fields import BATCH, SAMPLES, SHARED, WEIGHTED
from fastnn.targets.layout import Layout
from fastnn.threads.atomic import new_lock
from fastnn.threads.crowding import run_two
from fastnn.threads.pool import TICK_SECONDS, Task
from fastnn.threads.processors import available_threads

# Rows of data larger than this are asked for a step ahead; smaller ones are in the cache anyway.
PREFETCH_BYTES = 1 << 20
# How far ahead: as many rows as the second-level cache holds beside a batch, up to a limit.
AHEAD_BYTES, PREFETCH_ROWS = 256 << 10, 64
PLANNED_BYTES = 1 << 20  # of activations for which memory is planned before it is known to be used
SHORT_SECONDS = 0.05  # what Ctrl-C may wait for
# What one thread does sooner than two: to wake another takes up to 0.2 ms, and it saves a half at
# most.
ALONE_SECONDS = 1e-3


class Engine(CompiledEngine):
    """Trains and predicts with compiled kernels, as `fastnn.targets.numpy.Engine` defines it."""

    predicts_between = True

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        rule: str | None = None,
        group: Group | None = None,
    ) -> None:
        """Make an engine for `problem`; `threads` None chooses from the work in a step.

        `rule` is another update rule than that of the problem's optimizer, and `group` the
        processes that train together.
        """
        super().__init__(problem)
        self.group, self._sums = group, None if group is None or group.every else Sums(group)
        self._dtype = problem.dtype.name  # which takes 3 us
        self._asked = threads
        network = problem.network
        self._rule = rule or problem.optimizer.rule
        self._rounded = instructions() if problem.precision == "bfloat16" else 0
        self._linear = group is None and not self._rounded and is_linear(problem, self._rule)
        self._slots = (UPDATES[rule] if rule else update_row(problem.optimizer)).slots
        alphas = [
            RRELU_MEAN if activation_row(dense.activation).random else dense.alpha or 0.0
            for dense in network.parametric
        ]
        factors = [1.0 / (1.0 - rate) for rate in problem.network.dropouts]
        self._random = any(problem.network.dropouts) or any(
            activation_row(dense.activation).random for dense in network.parametric
        )
        # Epsilon and momentum of normalizations, or the amplitude of cosines.
        for names in (("epsilon", "amplitude"), ("momentum",)):
            factors += [
                next((getattr(layer, name) for name in names if hasattr(layer, name)), 0.0)
                for layer in network.parametric
            ]
        # Four numbers a layer, each kind in a row, and behind them that of the loss.
        self._alphas = np.array([*alphas, *factors, problem.loss_alpha], problem.dtype)
        self._numbers = start_numbers(problem)
        self._products = sum(
            k * n for k, n in problem.network.shapes
        )  # in the forward pass of a row
        # What a row takes of a slow core, until it has been measured.
        self.slow_row = 6e-9 * self._products + 1e-6
        self.threads = self._choose_threads(None)
        rows, row_bytes = problem.batch_size, sum(map(sum, network.widths)) * problem.dtype.itemsize
        # For what a fit will want, where that is little; an engine may also only predict.
        planned = rows if rows * row_bytes <= PLANNED_BYTES else 1
        self._of_states = self._plan_for(planned, None)  # whose states are those of every plan
        self._working = Working(problem, self._of_states, self._slots, self._alphas)
        self._lock = new_lock()  # one call at a time uses the working memory
        # The state that the working memory holds, by identity; None while that is being changed.
        self._held: np.ndarray | None = None
        self._of_few: Here | None = None
        self._task: Task | None = None  # what may still be at work on it

    @property
    def states(self) -> Working:
        """How states are laid out: alike in every working memory."""
        return self._working

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state as one array that `restore` takes; read only."""
        held = self._held
        if held is None:
            with self._lock:
                self._settle()
                held = self._held = self._working.read()
        return held

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot; at once, if that is what the engine holds."""
        if self._held is snapshot:
            return
        with self._lock:
            self._settle()
            if self._held is not snapshot:
                self._held = None
                self._working.write(snapshot)
                self._held = snapshot

    def _train(self, asked: Epochs) -> list[EpochResult]:
        """Train some epochs in one compiled call, one after another."""
        with self._lock:
            begun = self._begin(asked)
            rows = asked.orders.size
            resting = self._resting(begun)
            if resting is None:
                self._run(begun.train, rows, begun.numbers, begun.control, asked.progress)
            else:
                self._train_outputs(begun, asked, resting)
        return self._results(begun)

    def _train_outputs(self, begun: Begun, asked: Epochs, resting: Resting) -> None:
        """Train epochs of outputs on sparse rows, each of which may end for itself."""
        for number, rates in enumerate(asked.rates):
            own = slice(number, number + 1)
            progress = asked.progress
            report = progress and partial(interface.report_later, progress, number * len(rates))
            rows = len(asked.orders[number])
            self._run(begun.of_epoch(number), rows, begun.numbers[own], begun.control[own], report)
            if begun.control[number, words.BAD_STEP] >= 0:
                break
            if not going(resting.keep(begun.ends_after(number))):
                break
        resting.put_back()

    def _resting(self, begun: Begun) -> Resting | None:
        """Return what keeps the weights of outputs at rest, where kernels change them."""
        if self.ends is None or begun.head[ROW_BY_ROW] == 0:
            return None
        return Resting(self._working, self.ends)

    def _results(self, begun: Begun) -> list[EpochResult]:
        results = results_of(begun, self.tells_penalty)
        self.ends = results[-1].ends
        return results

    def _train_together(self, asked: Epochs) -> EpochResult:
        """Train one epoch, as all processes of the group do."""
        assert self.group is not None and self.shares is not None
        data, (order,), (rates,), epoch, step, progress = asked
        order = self.shares.spread(order)
        if self._sums is None:
            return train_apart(self, data, order, rates, epoch, step, progress)
        with self._lock:
            begun = self._begin(asked._replace(orders=order[None]))
            parts = self._sums.over(self._working)
            self.group.exchange(sums=len(rates) * len(parts), like=parts)
            with self._sums.overlapping(self.threads):
                self._run(begun.train, len(order), begun.numbers, begun.control, progress)
        self._sums.check()
        loss = mean_loss(self.group, *begun.numbers[0, [LOSS_SUM, WEIGHT_SUM]].tolist())
        return results_of(begun, self.tells_penalty)[0]._replace(loss=loss)

    def train_and_predict(
        self,
        data: Data,
        orders: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        X: Any,
        progress: Callable[[int, float], None] | None = None,
    ) -> list[interface.Predicted]:
        """Train some epochs, a compiled call each, and predict X after each of them."""
        if isinstance(X, SparseRows) != isinstance(data.X, SparseRows):  # which are other plans
            return super().train_and_predict(data, orders, rates, epoch, step, X, progress)
        found: list[tuple[Any, Any, float]] = []
        with self._lock:
            begun = self._begin(Epochs(data, orders, rates, epoch, step))
            working, predict = self._working, self._predicting(X)
            resting = self._resting(begun)
            for number in range(len(rates)):
                start, self._held = time.perf_counter(), None
                own = slice(number, number + 1)  # where a team has to stop, it is in its epoch
                report = progress and partial(interface.report_later, progress, rates[:number].size)
                train, numbers = begun.of_epoch(number), begun.numbers[own]
                self._run(train, len(data), numbers, begun.control[own], report)
                seconds = time.perf_counter() - start
                if begun.control[number, words.BAD_STEP] >= 0:
                    found.append((None, None, seconds))
                    break
                if resting is not None:
                    resting.keep(begun.ends_after(number))
                    resting.put_back()
                self._held = working.read()
                found.append((predict(), self._held, seconds))
        results = self._results(begun)
        found = found[: len(results)]
        return [
            interface.Predicted(*each)
            for each in zip(results, *zip(*found, strict=True), strict=True)
        ]

    def _train_in_parts(
        self, asked: Epochs, stops: Sequence[int], look: interface.Look
    ) -> EpochResult:
        """Train one epoch in a compiled call for each part, which begins where the last one ended.

        The calls share all arrays, so that each finds them as the one before has left them, but for
        the tiles that threads claim, and for the stop that has ended that one's threads; and each
        has only its own part of the order. Steps that overlap have one part, the first of these.
        """
        order, (rates,), progress = asked.orders, asked.rates, asked.progress
        batch, n = self._batch, self._places(asked.data)
        ahead = max(batch, PREFETCH_ROWS)  # rows beyond its own that a step may ask for
        with self._lock:
            begun, done = self._begin(asked._replace(orders=NO_ROWS[None]), True), 0
            resting = self._resting(begun)
            reported = time.monotonic()
            for stop in dict.fromkeys((*stops, len(rates))):
                begun.head[STEPS] = stop
                begun.place_order(order[done : min(n, stop * batch + ahead)], done)
                begun.control[0, words.STOP] = 0
                begun.control[0, words.TICKETS :: words.LINE] = words.NOT_OPEN
                self._held = None
                rows = min(n, stop * batch) - done
                self._run(begun.train, rows, begun.numbers, begun.control, progress)
                done += rows
                if begun.control[0, words.BAD_STEP] >= 0:
                    break
                if resting is not None and stop == len(rates):
                    resting.put_back()
                loss, weight = begun.numbers[0, [LOSS_SUM, WEIGHT_SUM]].tolist()
                if stop in stops:
                    with self._made_good(begun, stop < len(rates), resting):
                        look(stop, loss, weight)
                if progress is not None and time.monotonic() - reported >= TICK_SECONDS:
                    progress(stop, loss / weight if weight > 0 else 0.0)  # no short part does
                    reported = time.monotonic()
        return self._results(begun)[0]

    @contextmanager
    def _made_good(self, begun: Begun, unfinished: bool, resting: Resting | None) -> Iterator[None]:
        """Have weights as they are after the last step, and after that as training left them.

        They are other ones only in the middle of an epoch on sparse rows that is done lazily.
        """
        working, changing = self._working, []
        if unfinished and begun.head[LAZY] != EAGER:
            changing = [working.memory[: working.size], begun.touched, begun.jumps]
            kept = [array.copy() for array in changing]
            begun.alone(0)
            if resting is not None:
                resting.put_back()
            self._held = None
        try:
            yield
        finally:
            # Who looked may have predicted, which takes another plan for other features.
            self._settle()
            self._working = working
            if changing:
                self._held = None
                for array, old in zip(changing, kept, strict=True):
                    array[:] = old

    def ends_outputs(self, X: Any) -> bool:
        """Return whether outputs can end each for itself, in training on such features."""
        if not is_sparse(X):
            return self._linear and self.problem.apart
        laziness = self._laziness(X.rows if isinstance(X, ReadRows) else X)
        return laziness is not None and laziness.row_by_row

    @staticmethod
    def hides_steps(problem: Problem) -> str:
        """Return why nobody can look on: a pipeline has no weights between its steps."""
        if Engine.overlaps_steps(problem):
            return (
                "a linear model with plain SGD on one row at a time, whose steps overlap; use "
                "batch_size=2, a momentum, or target='numpy'"
            )
        return ""

    @staticmethod
    def overlaps_steps(problem: Problem) -> bool:
        """Return whether it is one output that `step.batch_of_one` trains by plain SGD."""
        return (
            problem.batch_size == 1
            and problem.precision == "float32"
            and problem.network.widths == problem.network.shapes == ((problem.network.inputs, 1),)
            and problem.network.dense[0].activation == "identity"
            and problem.optimizer.rule == "sgd"
        )

    def _begin(self, asked: Epochs, parted: bool = False) -> Begun:
        """Return some epochs, ready to be run.

        With `parted`, it is one, with a `head` of its own and, before each part, a `place_order`.
        """
        data, orders, rates, epoch, step, _ = asked
        with self._lock:
            self._settle()
            self._follow(self._places(data), self._laziness(data.X))
            working = self._working
            plan, epochs = working.plan, len(rates)
            place_rules(self.problem, plan, training=True)
            numbers, control = self._start(data, step, rates)
            lists = -(-plan.head[BATCH] // plan.head[LOOK_ROWS]) + LOOK_TILES + 1
            if working.sparse:
                lists = 1
            tables = self.threads * ADDRESS_TABLES
            numbered, by_target = range(epoch, epoch + epochs), data.target_weights
            shared = dict(
                strided=self._strided_views(data),
                classes=data.targets if plan.head[CLASSES] else NO_ROWS,
                nonzero=np.zeros((self.threads, lists, plan.head[NONZERO_SIZE]), np.int64).ravel(),
                addresses=np.zeros(tables * plan.head[ADDRESSES_SIZE], np.int64),
                weights=NO_WEIGHTS if data.row_weights is None else data.row_weights,
                target_weights=NO_WEIGHTS if by_target is None else by_target.ravel(),
                row_loss=np.zeros(plan.head[BATCH]),
                parts=np.zeros(plan.parts_size),
                shares=self.shares.table(self._sums is None) if self.shares else NO_ROWS,
                **sparse_arrays(data.X, working),
            )
            drawn = self._random * 2 * len(plan.layers)
            own = dict(
                order=np.ascontiguousarray(orders, np.int64),
                keys=layer_keys(self.problem.seed, numbered, drawn).view(np.int64),
                gathered=np.full((epochs, words.LINE * self.threads), -1),
                control=control,
                rates=np.ascontiguousarray(rates),
                numbers=numbers,
            )
            if self.ends is not None:  # each epoch begins where the one before has ended
                rows = self.ends[None].repeat(epochs + 1, axis=0)
                own["ends"] = as_strided(rows, (epochs, 2 * len(self.ends)), rows.strides)
            head = plan.head
            if parted:
                head = shared["head"] = plan.head.copy()
            jobs = make_jobs(working.fixed, shared, own)
            self._held = None
            compiled = checked(entry(self._entry("train_epoch")), len(data.X))
            kept, threads = (
                (working, data, shared, own),
                () if self._kind == "linear_" else (self.threads,),
            )
            train = partial(train_seat, compiled, jobs, threads, kept)

            def of_epoch(number: int) -> partial[None]:
                return partial(train_seat, compiled, jobs[number : number + 1], threads, kept)

        touched, jumps = shared["touched"], shared["jumps"]
        return Begun(
            train, numbers, control, head, alone_of(train), touched, jumps, jobs, own, of_epoch
        )

    def forward(self, X: Any) -> np.ndarray:
        """Return the outputs (m, outputs) of the last layer for X (m, inputs); no dropout."""
        with self._lock:
            self._settle()
            if isinstance(X, SparseRows) != (self._working.sparse is not None):
                self._follow(int(self._working.plan.head[SAMPLES]), self._laziness(X))
            if type(X) is np.ndarray and self._flops(X) < 2 * PREDICT_FLOPS_PER_THREAD:
                return self._here()(X, self.problem.network.outputs)
            return self._predicting(X)()

    def forward_if_finite(self, X: np.ndarray) -> np.ndarray | None:
        """Return the outputs where the sums of the first layer show that X is finite."""
        with self._lock:
            self._settle()
            if self._working.sparse is not None or not reads_in_place(self._working.plan, X):
                return None
            done = np.zeros((self.threads, words.DONE + 1), np.int64)
            outputs = self._predicting(X, done)()
            return outputs if done[:, words.DONE].sum() == len(X) else None

    def _here(self) -> Here:
        """Return what predicts a few dense rows with the weights as they are now."""
        working = self._working
        place_rules(self.problem, working.plan, training=False)
        if self._of_few is None or self._of_few.working is not working:
            compiled = checked(entry(self._entry("forward")))
            columns = self.problem.network.shapes[0][0]
            self._of_few = Here(compiled, working, self._alphas, columns)
        return self._of_few

    def _flops(self, X: Any) -> float:
        """Return the operations of a forward pass of all rows."""
        return 2.0 * len(X) * self._products_of_a_row(X)

    def _predicting(self, X: Any, done: np.ndarray | None = None) -> Callable[[], np.ndarray]:
        """Return what predicts X, again and again, while plan and memory stay what they are.

        `done` is for `forward_jobs`.
        """
        compiled = checked(entry(self._entry("forward")))
        place_rules(self.problem, self._working.plan, training=False)
        flops, outputs = self._flops(X), self.problem.network.outputs
        return predicting(
            self._run_task, compiled, self._working, self._alphas, X, outputs, flops, self.threads,
            done,
        )  # fmt: skip

    def _storing_gradients(self, problem: Problem) -> Engine:
        return Engine(problem, self.threads, "gradient")

    def prepare(self, X: Any = None, rows: int | None = None, predicts: bool = False) -> None:
        """Make ready for a fit: threads for what is available now, and kernels compiled."""
        with self._lock:
            self._settle()
            self.threads = self._choose_threads(X)
            samples = int(self._working.plan.head[SAMPLES])
            self._follow(samples, self._laziness(X))
            prepare_entries([self._entry("train_epoch"), self._entry("forward"), "shuffle"])
            place_rules(self.problem, self._working.plan, training=True)

    @property
    def tells_penalty(self) -> bool:
        """Whether results have the penalty; that of l1 only in models without hidden layers."""
        known = bool(self._kind) or self._working.plan.head[ROW_BY_ROW] == 1
        return known or not any(l1 for l1, _ in self.problem.penalties)

    @property
    def _kind(self) -> str:
        """Which of the compiled epochs the working memory is for, as its entry points begin."""
        sparse = self._working.sparse
        if sparse is None:
            return "linear_" if self._linear else ""
        return "sparse_linear_" if sparse.linear else ""

    def _entry(self, operation: str) -> str:
        """Return the name of an entry point for this kind of model and dtype."""
        return f"{self._kind}{operation}_{self._dtype}"

    def close(self) -> None:
        """Have no thread at work."""
        with self._lock:
            self._settle()

    def _laziness(self, X: Any) -> Laziness | None:
        """Return how the first layer follows these features; None: they are dense."""
        if not isinstance(X, SparseRows):
            return None
        if self.group is not None:
            return Laziness(EAGER, False)
        alone = self._linear and self.problem.network.outputs == 1
        entries = X.entries / len(X)
        row_by_row = is_row_by_row(self.problem, entries)
        return choose_laziness(self.problem, self._rule, entries, alone, row_by_row)

    def _products_of_a_row(self, X: Any) -> float:
        """Return the number of products in the forward pass of a row."""
        if not isinstance(X, SparseRows):
            return max(1.0, self._products)
        (_, n), *others = self.problem.network.shapes
        return max(1.0, X.entries / len(X) * n + sum(k * n for k, n in others))

    def _choose_threads(self, X: Any) -> int:
        sparse = self._laziness(X)
        # The plain-Python stand-ins of atomic operations are not atomic.
        if (self._linear and sparse is None) or DISABLE_JIT:
            return 1
        if sparse and sparse.linear:
            one = sparse.ranges == 1
            return 1 if one else min(sparse.ranges, self._asked or available_threads())
        if sparse and sparse.row_by_row:
            return 1
        if self._asked is not None:
            return self._asked
        flops = 6.0 * self._batch * self._products_of_a_row(X)
        if sparse and sparse.mode == EAGER:
            k, n = self.problem.network.shapes[0]
            flops += FLOPS_OF_UPDATE * k * n
        if self._sums is None or self._sums.group.size == 1:
            return choose_threads(flops)
        return choose_threads(flops, count_parts(self._products * self.problem.dtype.itemsize) > 1)

    def _plan_for(self, samples: int, sparse: Laziness | None) -> Plan:
        if self._linear if sparse is None else sparse.linear:
            layout = Layout(1, 1)
        else:
            shape = register_shape(self.problem.dtype)
            layout = Layout(shape.lanes, shape.panel)
        problem = replace(self.problem, batch_size=self._batch) if self.shares else self.problem
        return plan_for(
            problem, samples, layout, self.threads, self._rule, sparse, self.shares is not None,
            self._sums.group.size if self._sums else 0, self._rounded,
        )  # fmt: skip

    @property
    def _batch(self) -> int:
        """How many rows of a step are here, at most."""
        return self.problem.batch_size if self.shares is None else self.shares.capacity

    def _places(self, data: Data) -> int:
        """Return how long the order of an epoch is: the number of rows, but for what is shared."""
        return len(data) if self.shares is None else self.shares.padded

    def _follow(self, samples: int, sparse: Laziness | None) -> None:
        """Have working memory for so many rows, and for as many threads as there are."""
        before = self._working
        head = before.plan.head
        batch, shared = min(self._batch, samples), self.shares is not None
        same = head[BATCH], head[SHARED], before.sparse, head[THREADS]
        if same == (batch, shared, sparse, self.threads):
            head[SAMPLES], head[[STEPS, EPOCH_STEPS]] = samples, -(-samples // batch)
            return
        plan = self._plan_for(samples, sparse)
        of_states = None if plan.keeps_states_of(self._of_states) else self._of_states
        working = Working(self.problem, plan, self._slots, self._alphas, sparse, of_states)
        working.write(before.read())
        self._working, self._of_few = working, None

    def _strided_views(self, data: Data) -> np.ndarray:
        """Return where X and y are; X only where it is dense, y only where targets are numbers."""
        classes = self._working.plan.head[CLASSES]
        if isinstance(data.X, SparseRows):
            nowhere = np.zeros((1, words.STRIDED_FIELDS), np.int64)
            return np.vstack([nowhere, nowhere if classes else make_strided_views(data.targets)])
        return make_strided_views(data.X, data.X[:, :1] if classes else data.targets)

    def _start(self, data: Data, step: int, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return fresh `numbers` and `control` for each epoch, and fit the plan to the data."""
        epochs, steps = rates.shape
        length = words.TICKETS + 3 * words.LINE * self.threads
        numbers = self._numbers[None].repeat(epochs, axis=0)
        control = np.zeros((epochs, length), np.int64)
        control[:, words.BAD_STEP] = -1
        control[:, words.FIRST_STEP] = step + steps * np.arange(epochs)
        control[:, words.TICKETS :: words.LINE] = words.NOT_OPEN
        head = self._working.plan.head
        head[WEIGHTED] = data.weighting
        head[CLASSES] = data.targets.ndim == 1
        numbers[:, MEAN_WEIGHT] = data.mean_weight
        head[PREFETCH] = 0
        if isinstance(data.X, SparseRows):
            stored = data.X.values.itemsize + data.X.columns.itemsize
            head[PREFETCH] = data.X.entries * stored > PREFETCH_BYTES
            return numbers, control
        side_by_side = data.X.strides[1] == data.X.itemsize
        row_bytes = data.X.itemsize * data.X.shape[1]
        if side_by_side and row_bytes * len(data.X) > PREFETCH_BYTES:
            head[PREFETCH] = min(PREFETCH_ROWS, max(8, AHEAD_BYTES // row_bytes))
        units = self.problem.network.dense[0].units
        by_rows = (
            self.problem.network.dropouts[0] == 0
            and self._working.plan.layers[0, LAYER_KIND] == LINEAR
            and (self._linear or self._rounded > 0 or units <= IN_PLACE_UNITS)
        )
        head[IN_PLACE] = by_rows and side_by_side and data.X.dtype == self.problem.dtype
        # Copies are for the same sums, whatever the dtype of X; of one output, whatever its layout.
        copied = not head[IN_PLACE] and (self._linear or data.X.dtype not in DTYPES)
        if by_rows and copied and not self._rounded:
            head[IN_PLACE] = COPIED
        return numbers, control

    def _run(
        self,
        train: partial[None],
        rows: int,
        numbers: np.ndarray,
        control: np.ndarray,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        """Train some epochs, of `rows` rows together, with the words.

        This thread only waits, reports, and turns Ctrl-C into a stop; but what is short, or with
        several threads shorter still, runs in this one.
        """

        def tick() -> None:
            if progress is not None:
                weight = numbers[:, WEIGHT_SUM].sum()
                loss = numbers[:, LOSS_SUM].sum() / weight if weight > 0 else 0.0
                progress(int(control[:, words.STEP].sum()), float(loss))

        def stop() -> None:
            if self._sums is None:
                control[:, words.STOP] = 1
            else:
                self._sums.group.stop()  # between two sums of all, none may leave

        start = time.perf_counter()
        known = math.isfinite(self.seconds_per_row)
        row_seconds = self.seconds_per_row if known else self.slow_row
        short = SHORT_SECONDS if self.threads == 1 else ALONE_SECONDS
        if rows * row_seconds < short and self._sums is None:
            alone_of(train)(0)
        elif self.threads == 2 and self._sums is None:
            run_two(
                lambda: self._run_task(Task(train, 2, stop), tick),
                lambda: self._run_task(Task(alone_of(train), 1, stop), tick),
            )
        else:
            self._run_task(Task(train, self.threads, stop), tick)
        # What ended early says nothing of the next.
        if control[:, words.BAD_STEP].max() < 0:
            self.seconds_per_row = (time.perf_counter() - start) / rows

    def _run_task(self, task: Task, tick: Callable[[], None] = lambda: None) -> None:
        """Run a task on the working memory, and leave no thread at work on it.

        Where Ctrl-C interrupts this a second time one may be, until the next call `_settle`s.
        """
        self._task = task
        try:
            task.run(tick)
            assert not task.stopped, "somebody else has settled what is at work here"
        finally:
            self._settle()

    def _settle(self) -> None:
        """Wait until no thread is at work on the working memory."""
        if self._task is not None:
            self._task.settle()
            self._task = None
