"""The CUDA engine: what the trainer asks of a target, on one device.

Parameters and optimizer state stay on the device between epochs. The host has a copy of them as
the last good epoch left them, which is what remains when a device fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import DeviceArray
from fastnn.inputs.problem import EpochResult, Problem
from fastnn.ranks.group import Group
from fastnn.ranks.local_steps import mean_loss
from fastnn.targets.compiled import CompiledEngine, Epochs
from fastnn.targets.cuda.dispatch import FAMILIES, choose_family
from fastnn.targets.cuda.host.arguments import LOSS_SUM, WEIGHT_SUM, Family, Job, read_results
from fastnn.targets.cuda.host.data import Placed, place_features
from fastnn.targets.cuda.host.memory import HostCopies, free_bytes
from fastnn.targets.cuda.host.numba_cuda import count_devices
from fastnn.targets.cuda.host.plan import Plan, without_limits
from fastnn.targets.cuda.host.reader import DeviceReader, all_finite
from fastnn.targets.cuda.host.scalars import share_steps, step_table, step_tables, weigh_steps
from fastnn.targets.cuda.host.session import ROOM, Session
from fastnn.targets.cuda.host.streaming import Chunk, Streamed
from fastnn.targets.cuda.host.sums import Sums
from fastnn.targets.cuda.tiled.family import Tiled
from fastnn.targets.engine import Look
from fastnn.targets.fields import BATCH, SAMPLES, SHARED, WEIGHTED
from fastnn.threads.pool import TICK_SECONDS


class Engine(CompiledEngine):
    """Trains and predicts with CUDA kernels, as `fastnn.targets.numpy.Engine` defines it."""

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        rule: str | None = None,
        family: str | None = None,
        group: Group | None = None,
        device: int | None = None,
    ) -> None:
        """Make an engine for `problem` on the device of a number, None: the first.

        `threads` says nothing here. `rule` is another update rule than that of the problem's
        optimizer; `family` one of `fastnn.targets.cuda.dispatch.FAMILIES` in place of the cheapest.
        `group` is the processes that train together, with the family that keeps whole gradients:
        each on the device that all are given, or on that of its number among those of its machine.
        """
        super().__init__(problem)
        self.group, self._given = group, device
        self._rule = rule or problem.optimizer.rule
        # Where the state is: on the host as long as that is not None, on the device likewise.
        self._host: np.ndarray | None = None
        self._device: Any = None
        self._good: np.ndarray | None = None
        self._copies = HostCopies()
        self._sums: Sums | None = None
        self._session = Session(problem, self._go_back, device)
        has = self._session.limits
        self._family: Family = (
            choose_family(problem, self._rule, has, family)
            if group is None
            else Tiled(problem, self._rule, has, shared=True)
        )
        self.family = self._family.name
        self.description = f"{self.family} kernels on {has.name}"
        self._plan: Plan = self._family.plan(1)
        self._host = self._good = np.zeros(self._plan.state_size, problem.dtype)
        self._predictor = self._family.predictor(self._plan)
        self._training: Plan | None = None  # that of the data last trained on

    @property
    def states(self) -> Plan:
        """How states are laid out: alike for any number of rows."""
        return self._plan

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state as one array that `restore` takes; read only."""
        with self._session.lock:
            return self._kept()

    def _kept(self) -> np.ndarray:
        """Return the state on the host, copied there if need be."""
        if self._host is None:
            with self._session.guarded("copying parameters from the device"):
                self._host = self._good = self._copies.copy(self._device, self._session.stream)
        return self._host

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot; the device keeps what it has if that is the same."""
        if self._host is not snapshot:
            self._device = None
            self._host = self._good = snapshot

    def _go_back(self) -> None:
        """Keep to the last good epoch, for the device failed."""
        self._host, self._device = self._good, None

    def finite(self) -> bool:
        """Whether all parameters and the optimizer state are finite."""
        if self._host is not None:
            return super().finite()
        with self._session.guarded("looking for numbers that are not finite"):
            return all_finite(self._device, self._session.stream)

    def _train_together(self, asked: Epochs) -> EpochResult:
        """Train one epoch, as all processes of the group do.

        MPI adds up gradients on the devices if it says that it does, and else on the host.
        """
        data, (order,), (rates,), epoch, step, progress = asked
        group, shares = self.group, self.shares
        assert group is not None and shares is not None and isinstance(self._family, Tiled)
        if self._given is None:
            self._take_device(group.local_rank % count_devices())
        with self._session.lock, self._session.guarded(f"training with the {self.family} kernels"):
            plan, session = self._plan_for(data), self._session
            table = step_table(self.problem, self._rule, rates, step, len(order))
            table = share_steps(table, shares, order, data.row_weights, data.mean_weight)
            placed = session.source(data, plan)
            if isinstance(placed, Streamed):
                raise InvalidInput(
                    f"X has {len(data)} rows, more than {session.limits.name} holds, and rows are "
                    'not streamed to a device while processes train together; pass fit rows="own" '
                    "and each process fewer rows, or use target='cpu'"
                )
            job = self._job(plan, placed, shares.at_places(order)[None], table, epoch)
            words, numbers = without_limits(plan, self.problem)
            without = job._replace(
                words=session.put("bare words", words), numbers=session.put("bare numbers", numbers)
            )
            self._host, reported = None, time.monotonic()  # the device is ahead of it from here on

            def done(steps: int) -> None:
                nonlocal reported
                if progress is not None and time.monotonic() - reported >= TICK_SECONDS:
                    session.report(job, steps, progress)
                    reported = time.monotonic()

            kept = self._family.kept(job, plan)
            if self._sums is None or not self._sums.suits(group, kept):
                self._sums = Sums(group, kept)
            like = self._sums.begin(kept, session.stream)
            group.exchange(sums=len(rates) * len(like), like=like)
            try:
                self._family.train_shared(
                    job, without, plan, len(rates), session.stream, self._sums.add_up, done
                )
                found, bad = session.results(job)
            finally:
                session.stream.synchronize()  # nothing may work on what is restored next
        loss = mean_loss(group, *found[0, [LOSS_SUM, WEIGHT_SUM]].tolist())
        return read_results(found, int(bad[0]), len(rates))[0]._replace(loss=loss)

    def _take_device(self, number: int) -> None:
        """Be on the device of a number from now on."""
        if self._session.device != number:
            self.snapshot()
            self._device = self._training = None
            self._session.close()
            self._session = Session(self.problem, self._go_back, number)

    def _train_in_parts(self, asked: Epochs, stops: Sequence[int], look: Look) -> EpochResult:
        """Train one epoch in launches that end after the steps that `stops` has."""
        order = asked.orders[0 : len(asked.data)]
        return self._train(asked._replace(orders=order[None]), stops, look)[0]

    def _train(
        self, asked: Epochs, stops: Sequence[int] = (), look: Look | None = None
    ) -> list[EpochResult]:
        """Train some epochs; nothing waits for the host between their steps, but to look on."""
        data, orders, rates, epoch, step, progress = asked
        epochs, each = rates.shape
        with self._session.lock, self._session.guarded(f"training with the {self.family} kernels"):
            start = time.perf_counter()
            plan = self._plan_for(data)
            mean, weights = data.mean_weight, data.row_weights
            tables = step_tables(self.problem, self._rule, rates, step, orders.shape[1], mean)
            if weights is not None:
                for table, order in zip(tables, orders, strict=True):
                    weigh_steps(table, self.problem.batch_size, order, weights)
            source = self._session.source(data, plan)
            if isinstance(source, Streamed):
                rows, placed = source.positions(epochs), source.placed[0]
                chunks = source.chunks(orders)
            else:
                rows, placed = orders, source
                chunks = iter([Chunk(0, epochs * each, placed)])
            job = self._job(plan, placed, rows, np.concatenate(tables), epoch)
            expected = self._family.seconds(self.problem, self._session.limits)
            pace = expected, self.seconds_per_row
            if look is not None:
                chunks = self._looked_on(chunks, job, stops, look)
            self._host = None  # from here on the device is ahead of it
            self._session.run(self._family, job, plan, chunks, epochs * each, *pace, progress)
            found, bad = self._session.results(job)
            if bad[0] < 0:
                self.seconds_per_row = (time.perf_counter() - start) / orders.size
        whole = self._session.weight if orders.shape[1] == len(data) else None
        return read_results(found, int(bad[0]), each, whole)

    def _looked_on(
        self, chunks: Iterator[Chunk], job: Job, stops: Sequence[int], look: Look
    ) -> Iterator[Chunk]:
        """Yield chunks that end after the steps that `stops` has, and call `look` after these.

        Whoever asks for the next one has put all steps of the last one into the stream.
        """
        for begin, end, placed in chunks:
            for last in sorted({end, *(stop for stop in stops if begin < stop < end)}):
                yield Chunk(begin, last, placed)
                begin = last
                if last not in stops or job.bad.copy_to_host(stream=self._session.stream)[0] >= 0:
                    continue
                sums = job.results.copy_to_host(stream=self._session.stream)
                self._session.stream.synchronize()
                good = self._good
                try:
                    look(last, float(sums[0, LOSS_SUM]), float(sums[0, WEIGHT_SUM]))
                finally:
                    self._host, self._good = None, good  # the device goes on

    @staticmethod
    def hides_steps(problem: Problem) -> str:
        """Return why no `StepCallback` looks on: every look would wait for the device."""
        return "target 'cuda', where one launch does many steps; use target='cpu'"

    def forward(self, X: Any) -> np.ndarray:
        """Return the outputs (m, outputs) of the last layer for X (m, inputs); no dropout."""
        with self._session.lock, self._session.guarded("predicting"):
            return self._predictor(self._on_device(), X, self._session.stream)

    def _storing_gradients(self, problem: Problem) -> Engine:
        # One batch of all rows may be too much for this family.
        able = not FAMILIES[self.family].reason_against(problem, "gradient", self._session.limits)
        family = self.family if able else None
        return Engine(problem, self.threads, "gradient", family, device=self._session.device)

    def to_device(self, data: Data) -> Data:
        """Return data that `forward` reads again and again, on the device if they fit."""
        if isinstance(data.X, DeviceArray):
            return data
        dtype = self.problem.dtype
        needed = data.X.size * dtype.itemsize
        with self._session.lock, self._session.guarded("copying data to the device"):
            if needed > ROOM * free_bytes():
                return data
            features = place_features(data.X, dtype, self._session.stream)
            self._session.stream.synchronize()
        return Data(
            DeviceArray(features, DeviceReader(self._session.device)), data.targets, data.weights
        )

    def prepare(self, X: Any = None, rows: int | None = None, predicts: bool = False) -> None:
        """Compile the kernels of training, so that the first epoch does not have to."""
        batch = self.problem.batch_size
        batch = min(batch, rows or batch) if self.shares is None else self.shares.capacity
        self._session.prepare(self._family, batch, predicts)

    def close(self) -> None:
        """Let the device's memory go; parameters stay on the host."""
        if not self._session.lost:
            self.snapshot()
        self._device = None
        self._session.close()

    def _on_device(self) -> Any:
        """Return the state on the device, (1, state size)."""
        if self._device is None:
            assert self._host is not None
            self._device = self._session.put("state", self._host[None])
        return self._device

    def _plan_for(self, data: Data) -> Plan:
        """Return the plan of training on these data, the last one again where it serves."""
        shares, plan = self.shares, self._training
        wanted = [len(data), data.weighting, shares is not None]
        fields = [SAMPLES, WEIGHTED, SHARED]
        if shares is not None:
            wanted, fields = [*wanted, shares.capacity], [*fields, BATCH]
        if plan is None or plan.words[0, fields].tolist() != wanted:
            if shares is None:
                plan = self._family.plan(len(data))
            else:
                assert isinstance(self._family, Tiled)
                plan = self._family.shared_plan(len(data), shares.capacity)
            plan.words[0, WEIGHTED] = data.weighting
            self._training = plan
        return plan

    def _job(
        self, plan: Plan, placed: Placed, orders: np.ndarray, table: np.ndarray, epoch: int
    ) -> Job:
        """Put all that some epochs need on the device, beside the data."""
        session, numbered = self._session, range(epoch, epoch + len(orders))
        rows = session.put("orders", orders.astype(np.int32, copy=False))
        keyed = [(self.problem.seed, numbered)]
        return session.job(plan, placed, rows, keyed, state=self._on_device(), steps=table)
