"""Many networks of one shape, each trained by a block of its own, in one launch.

Their seeds differ: initial parameters, order of the rows and dropout are each network's own. Each
has an `Engine` of its own, a seat, that is asked for epochs as any engine is. The first that is
asked does them for all that are expected to be asked for the same, and those find them done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import DeviceFailure
from fastnn.inputs.data import Data
from fastnn.inputs.problem import EpochResult, Problem
from fastnn.random.row_orders import order_key
from fastnn.random.shuffling import make_orders as host_orders
from fastnn.targets import engine as interface
from fastnn.targets.cuda.block.family import Block
from fastnn.targets.cuda.block.predict import Predictor
from fastnn.targets.cuda.block.row_orders import make_orders
from fastnn.targets.cuda.dispatch import quicker_together
from fastnn.targets.cuda.host.arguments import RESULT_FIELDS, Job, read_results
from fastnn.targets.cuda.host.memory import check_room
from fastnn.targets.cuda.host.numba_cuda import limits
from fastnn.targets.cuda.host.plan import Parameters
from fastnn.targets.cuda.host.scalars import layer_keys, step_table
from fastnn.targets.cuda.host.session import Session
from fastnn.targets.cuda.host.streaming import Chunk, Streamed

OUTPUT_BYTES = 256 << 20  # of predictions that are on the device together
ORDER_ROWS = 1 << 26  # of the orders of all networks that are there together


def worth_it(problem: Problem, count: int) -> bool:
    """Return whether so many networks are sooner done together than one after another."""
    return quicker_together(problem, limits(), count)


@dataclass(frozen=True)
class _Shuffled:
    """The orders of some epochs, which follow from a seed and are made on the device."""

    epochs: range
    n: int
    window: int | None

    def __getitem__(self, part: slice) -> _Shuffled:
        return replace(self, epochs=self.epochs[part])


class _Asked(NamedTuple):
    """Some epochs that a seat is asked for, as `Engine.train_epochs` is."""

    data: Data
    orders: Any
    rates: np.ndarray
    epoch: int
    step: int

    def same(self, other: _Asked) -> bool:
        """Return whether two seats do the same, each with its own seed."""
        return (
            self.data is other.data
            and (self.epoch, self.step) == (other.epoch, other.step)
            and np.array_equal(self.rates, other.rates)
            and type(self.orders) is type(other.orders)
            and bool(np.all(self.orders == other.orders))
        )


class _Done(NamedTuple):
    """Epochs that are done for a seat that has not asked for them yet."""

    asked: _Asked
    before: np.ndarray  # the state that they began from
    after: np.ndarray
    results: list[EpochResult]
    seconds: float


class Seat(interface.Engine):
    """The engine of one of several networks."""

    def __init__(self, several: Several, seed: int) -> None:
        """Be what an `Engine` with this seed would be."""
        super().__init__(replace(several.problem, seed=seed))
        self._several, self.description = several, several.description
        self.state = np.zeros(several.plan.state_size, several.problem.dtype)
        self.ahead: _Done | None = None
        self.outputs_of: tuple[Any, np.ndarray, np.ndarray] | None = None  # X, state, outputs
        # What it is asked for next, as far as is known: epoch, step and the rate before.
        self.next: tuple[int, int, float] | None = None

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return a snapshot of these parameters and slots."""
        return self._several.plan.pack([parameters, *slots], self.problem.dtype)

    def unpack(self, snapshot: np.ndarray) -> tuple[Parameters, list[Parameters]]:
        """Return copies of the parameters and slots in a snapshot."""
        plan = self._several.plan
        every = [plan.unpack(snapshot, copy) for copy in range(plan.state_size // plan.size)]
        return every[0], every[1:]

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state; read only."""
        return self.state

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        self.state = snapshot

    def finite(self) -> bool:
        """Return whether parameters and optimizer state are finite."""
        return bool(np.isfinite(self.state).all())

    def orders(self, epochs: range, n: int, window: int | None = None) -> Any:
        """Return what stands for the orders of some epochs."""
        return _Shuffled(epochs, n, window)

    def train_epochs(
        self,
        data: Data,
        orders: Any,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Callable[[int, float], None] | None = None,
    ) -> list[EpochResult]:
        """Train some epochs, or take those that are done already."""
        asked, done = _Asked(data, orders, rates, epoch, step), self.ahead
        if done is not None and done.before is self.state and asked.same(done.asked):
            self.seconds_before += done.seconds
        else:
            done = self._several.train(self, asked)
        self.ahead, self.state = None, done.after
        self.seconds_per_row = self._several.seconds_per_row
        self.next = epoch + len(rates), step + rates.size, float(rates[-1, -1])
        return done.results

    def forward(self, X: Any) -> np.ndarray:
        """Return the outputs (m, outputs) of the last layer for X (m, inputs); no dropout."""
        known, self.outputs_of = self.outputs_of, None
        if known is not None and known[0] is X and known[1] is self.state:
            return known[2]
        return self._several.predict(self, X)

    def latest(self) -> np.ndarray:
        """Return the state after all that has been done for it, asked for or not."""
        return self.state if self.ahead is None else self.ahead.after

    def has_outputs(self) -> bool:
        """Return whether there are outputs of that state that nobody has asked for yet."""
        return self.outputs_of is not None and self.outputs_of[1] is self.latest()

    def prepare(self, X: Any = None) -> None:
        """Compile the kernels of training."""
        self._several.prepare()


class Several:
    """Networks that train together.

    Attributes
    ----------
    seats
        Their engines.
    seconds_per_row
        About what a row takes all of them.
    """

    def __init__(self, problem: Problem, seeds: list[int]) -> None:
        """Make room for a network a seed; `problem` gives all else."""
        self.problem = problem
        self._session, self._rule = Session(problem, self._go_back), problem.optimizer.rule
        self._family = Block(problem, self._rule, limits(), len(seeds))
        self.plan = self._family.plan(1)
        self.description = f"{self._family.name} kernels on {limits().name}"
        self._predictor = Predictor(problem, self._rule, self.plan, limits())
        # They come to the SMs in rounds.
        rounds = -(-len(seeds) // limits().sms)
        step = rounds * Block.seconds(problem, limits())
        self.seconds_per_row = step / problem.batch_size
        self.seats = [Seat(self, seed) for seed in seeds]

    def prepare(self) -> None:
        """Compile the kernels of training."""
        self._session.prepare(self._family)

    def train(self, asking: Seat, asked: _Asked) -> _Done:
        """Return what a seat is asked for, done beside that of those expected to be asked it too.

        Where one of these is asked for something else, it does that, too: its state is its own.
        """
        seats, start = [asking], time.perf_counter()
        if asking.next is None or asking.next[:2] == (asked.epoch, asked.step):
            seats += [
                seat
                for seat in self.seats
                if seat is not asking and seat.ahead is None and seat.next == asking.next
            ]
        befores = [seat.state for seat in seats]
        states, found = np.stack(befores), [list[EpochResult]() for _ in seats]
        epochs, each = asked.rates.shape
        most = max(1, ORDER_ROWS // (len(asked.data) * len(seats)))
        for first in range(0, epochs, most):
            part = slice(first, first + most)
            piece = asked._replace(
                orders=asked.orders[part], rates=asked.rates[part],
                epoch=asked.epoch + first, step=asked.step + first * each,
            )  # fmt: skip
            states, results = self._launch([seat.problem.seed for seat in seats], states, piece)
            for every, own in zip(found, results, strict=True):
                if not every or every[-1].bad_step is None:
                    every += own
        seconds = time.perf_counter() - start
        for seat, before, state, own in zip(seats, befores, states, found, strict=True):
            # A row of its own: one that is kept does not keep those of all others.
            seat.ahead = _Done(asked, before, state.copy(), own, seconds)
        assert asking.ahead is not None
        return asking.ahead

    def _launch(
        self, seeds: list[int], states: np.ndarray, asked: _Asked
    ) -> tuple[np.ndarray, list[list[EpochResult]]]:
        """Train networks of some seeds side by side, whose states (b, state size) are given.

        Return states and, of each, a result for each epoch that it began.
        """
        data, orders, rates, epoch, step = asked
        session, epochs, each, n = self._session, *rates.shape, len(data)
        numbered = range(epoch, epoch + epochs)
        with session.lock, session.guarded("training several networks"):
            plan = self._family.plan(n)
            any_order = np.zeros(n, np.int64)
            tables = [
                step_table(self.problem, self._rule, own, step + e * each, any_order, None)
                for e, own in enumerate(rates)
            ]
            runs = len(seeds) * epochs
            check_room(
                runs * n * 4 + states.nbytes,
                f"{len(seeds)} networks and the orders of their rows need",
                "train fewer restarts at a time",
            )
            if not isinstance(orders, _Shuffled):
                every = np.tile(orders.astype(np.int32), (len(seeds), 1))
                placed_orders = session.put("orders", every)
            elif orders.window is not None and orders.window < n:
                drawn = [host_orders(seed, numbered, n, orders.window) for seed in seeds]
                placed_orders = session.put("orders", np.concatenate(drawn).astype(np.int32))
            else:
                keys = [order_key(seed, each) for seed in seeds for each in numbered]
                placed_orders = make_orders(np.array(keys, np.uint64), n, session.stream)
            placed = session.source(data, plan)
            if isinstance(placed, Streamed):
                raise DeviceFailure(
                    f"{limits().name} has too little memory for the data, which restarts read "
                    "together; pass fewer rows, or use target='cpu'"
                )
            resident = self._family.resident_bytes(n) > 0
            job = Job(
                state=session.put("states", states),
                scratch=session.scratch(plan, 1 if resident else len(seeds)),
                words=session.put("words", plan.words),
                numbers=session.put("numbers", plan.numbers),
                steps=session.put("steps", np.concatenate(tables)),
                keys=session.put("keys", layer_keys(self.problem, seeds, numbered)),
                orders=placed_orders,
                results=session.put("results", np.zeros((runs, RESULT_FIELDS))),
                bad=session.put("bad", np.full(len(seeds), -1, np.int64)),
                **placed._asdict(),
            )
            chunks, start = [Chunk(0, epochs * each, placed)], time.perf_counter()
            pace = self.seconds_per_row
            session.run(self._family, job, plan, chunks, epochs * each, seconds_per_row=pace)
            found = job.results.copy_to_host(stream=session.stream)
            bad = job.bad.copy_to_host(stream=session.stream)
            states = job.state.copy_to_host(stream=session.stream)
            session.stream.synchronize()
            # Of all networks together.
            self.seconds_per_row = (time.perf_counter() - start) / (epochs * n)
        found = found.reshape(len(seeds), epochs, RESULT_FIELDS)
        return states, [
            read_results(own, int(failed), each) for own, failed in zip(found, bad, strict=True)
        ]

    def predict(self, asking: Seat, X: Any) -> np.ndarray:
        """Return the outputs of a seat for X, and give others those that they will need."""
        bytes_each = len(X) * self.problem.network.outputs * self.problem.dtype.itemsize
        others = [seat for seat in self.seats if seat is not asking and not seat.has_outputs()]
        others = others[: max(0, OUTPUT_BYTES // bytes_each - 1)]
        states = [asking.state, *(seat.latest() for seat in others)]
        session = self._session
        with session.lock, session.guarded("predicting with several networks"):
            placed = session.put("predicting", np.stack(states))
            outputs = self._predictor.predict_all(placed, X, session.stream)
        for seat, state, own in zip(others, states[1:], outputs[1:], strict=True):
            seat.outputs_of = X, state, own
        return outputs[0]

    def close(self) -> None:
        """Let the device's memory go."""
        self._session.close()

    def _go_back(self) -> None:
        """Do nothing: the states on the host are those of the last good call."""
