"""Many networks of one shape, each trained by a block of its own, in one launch.

Initial parameters, order of the rows, dropout, rates, penalties and limits are each network's own.
Each has an `Engine` of its own, a seat, that is asked for epochs as any engine is. The first that
is asked does those of all others, too, as far as it is known what they will be asked for next, and
these find them done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import DeviceFailure
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import DeviceArray
from fastnn.inputs.problem import EpochResult, Problem
from fastnn.random.keys import ORDER
from fastnn.random.many_keys import random_keys
from fastnn.random.shuffling import make_orders as host_orders
from fastnn.targets.compiled import CompiledEngine, Epochs
from fastnn.targets.cuda.block.family import Block
from fastnn.targets.cuda.block.predict import Predictor
from fastnn.targets.cuda.block.row_orders import make_orders
from fastnn.targets.cuda.device.rules import recipe_of
from fastnn.targets.cuda.dispatch import quicker_together
from fastnn.targets.cuda.host.arguments import RESULT_FIELDS, read_results
from fastnn.targets.cuda.host.data import fits
from fastnn.targets.cuda.host.memory import check_room, free_bytes
from fastnn.targets.cuda.host.numba_cuda import limits, on_device
from fastnn.targets.cuda.host.plan import Plan, make_plan
from fastnn.targets.cuda.host.scalars import step_tables
from fastnn.targets.cuda.host.session import ROOM, Session
from fastnn.targets.cuda.host.streaming import Chunk, Streamed
from fastnn.targets.fields import WEIGHTED

OUTPUT_BYTES = 256 << 20  # of predictions that are on the device together
ORDER_ROWS = 1 << 26  # of the orders of all networks that are there together


# Settings of a problem that networks of one launch may have of their own.
_OWN = ("seed", "optimizer", "l1", "l2", "clip_value", "clip_norm", "label_smoothing")


def worth_it(problem: Problem, count: int, data: Data, device: int = 0) -> bool:
    """Return whether a device does so many networks sooner together than one after another.

    Data that do not fit into the device's memory are streamed for one at a time.
    """
    if not quicker_together(problem, limits(device), count):
        return False
    if isinstance(data.X, DeviceArray):
        return True
    with on_device(device):
        return fits(data, problem, ROOM * free_bytes())[0]


def one_launch(problem: Problem, other: Problem) -> bool:
    """Return whether networks of two problems may be trained in one launch: their code is one."""
    same = all(
        getattr(problem, each.name) == getattr(other, each.name)
        for each in fields(problem)
        if each.init and each.name not in _OWN
    )
    if not same or recipe_of(problem) != recipe_of(other):
        return False
    plans = [make_plan(each, each.batch_size, ones=True) for each in (problem, other)]
    return np.array_equal(plans[0].words, plans[1].words)


@dataclass(frozen=True)
class _Shuffled:
    """The orders of some epochs, which follow from a seed and are made on the device."""

    epochs: range
    n: int
    window: int | None

    def __getitem__(self, part: slice) -> _Shuffled:
        return replace(self, epochs=self.epochs[part])


def _same(one: Epochs, other: Epochs) -> bool:
    """Return whether they are the same epochs."""
    return (
        one.data is other.data
        and (one.epoch, one.step) == (other.epoch, other.step)
        and np.array_equal(one.rates, other.rates)
        and type(one.orders) is type(other.orders)
        and bool(np.all(one.orders == other.orders))
    )


Forecast = tuple[np.ndarray, np.ndarray, int, int]


class _Done(NamedTuple):
    """Epochs that are done for a seat that has not asked for them yet."""

    asked: Epochs
    before: np.ndarray  # the state that they began from
    after: np.ndarray
    results: list[EpochResult]
    seconds: float


class Seat(CompiledEngine):
    """The engine of one of several networks."""

    def __init__(self, several: Several, problem: Problem) -> None:
        """Be what an `Engine` of this problem would be."""
        super().__init__(problem)
        self._several, self.description = several, several.description
        self.state = np.zeros(several.plan.state_size, problem.dtype)
        self.numbers = make_plan(problem, 1, ones=True).numbers
        self.ahead: _Done | None = None
        self.outputs_of: tuple[Any, np.ndarray, np.ndarray] | None = None  # X, state, outputs
        # What it is asked for next, as far as is known: state, rates, epoch and step.
        self.forecast: Callable[[], Forecast | None] = lambda: None

    @property
    def states(self) -> Plan:
        """How states are laid out."""
        return self._several.plan

    def snapshot(self) -> np.ndarray:
        """Return parameters and optimizer state; read only."""
        return self.state

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        self.state = snapshot

    def orders(self, epochs: range, n: int, window: int | None = None) -> Any:
        """Return what stands for the orders of some epochs."""
        return _Shuffled(epochs, n, window)

    def _train(self, asked: Epochs) -> list[EpochResult]:
        """Train some epochs, or take those that are done already."""
        asked, done = asked._replace(progress=None), self.ahead  # all report together
        if done is not None and done.before is self.state and _same(asked, done.asked):
            self.seconds_before += done.seconds
        else:
            done = self._several.train(self, asked)
        self.ahead, self.state = None, done.after
        self.seconds_per_row = self._several.seconds_per_row
        return done.results

    @staticmethod
    def hides_steps(problem: Problem) -> str:
        """Return why an epoch has no parts here: it is one launch, of all networks."""
        return "networks that train together on CUDA"

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

    def prepare(self, X: Any = None, rows: int | None = None, predicts: bool = False) -> None:
        """Compile the kernels of training."""
        self._several.prepare(rows, predicts)


class Several:
    """Networks that train together.

    Attributes
    ----------
    seats
        Their engines.
    seconds_per_row
        What a row takes all of them, as far as known; infinite at first.
    """

    def __init__(self, problems: list[Problem], device: int | None = None) -> None:
        """Make room for a network a problem; of any two of them `one_launch` is true.

        `device` is the number of theirs, None: the first.
        """
        self.problem = problem = problems[0]
        self._session, self._rule = Session(problem, self._go_back, device), problem.optimizer.rule
        has = self._session.limits
        self._family = Block(problem, self._rule, has, len(problems))
        self.plan = self._family.plan(1)
        self.description = f"{self._family.name} kernels on {has.name}"
        self._predictor = Predictor(problem, self._rule, self.plan, has)
        # They come to the SMs in rounds.
        rounds = -(-len(problems) // has.sms)
        self._expected, self.seconds_per_row = rounds * Block.seconds(problem, has), math.inf
        self.seats, self._prepared = [Seat(self, each) for each in problems], False

    def prepare(self, rows: int | None = None, predicts: bool = False) -> None:
        """Compile the kernels of training, at the first call; as of an `Engine`."""
        if not self._prepared:
            batch = self.problem.batch_size
            self._session.prepare(self._family, min(batch, rows or batch), predicts)
            self._prepared = True

    def train(self, asking: Seat, asked: Epochs) -> _Done:
        """Return what a seat is asked for, done beside what the others will be asked for next.

        Where one of these is asked for something else, it does that, too: its state is its own.
        """
        seats, every, start = [asking], [asked], time.perf_counter()
        befores = [asking.state]
        for seat in self.seats:
            if seat is asking or (forecast := seat.forecast()) is None:
                continue
            state, rates, epoch, step = forecast
            done = seat.ahead is not None and seat.ahead.before is state
            if done or rates.shape != asked.rates.shape:
                continue
            orders = asked.orders
            if isinstance(orders, _Shuffled):
                orders = replace(orders, epochs=range(epoch, epoch + len(rates)))
            seats.append(seat)
            every.append(Epochs(asked.data, orders, rates, epoch, step))
            befores.append(state)
        states, found = np.stack(befores), [list[EpochResult]() for _ in seats]
        epochs, each = asked.rates.shape
        most = max(1, ORDER_ROWS // (len(asked.data) * len(seats)))
        for first in range(0, epochs, most):
            part = slice(first, first + most)
            pieces = [
                own._replace(
                    orders=own.orders[part],
                    rates=own.rates[part],
                    epoch=own.epoch + first,
                    step=own.step + first * each,
                )  # fmt: skip
                for own in every
            ]
            states, results = self._launch(seats, states, pieces)
            for before, after in zip(found, results, strict=True):
                if not before or before[-1].bad_step is None:
                    before += after
        seconds = time.perf_counter() - start
        for place, seat in enumerate(seats):
            # A state of its own: one that is kept does not keep those of all others.
            after = states[place].copy()
            seat.ahead = _Done(every[place], befores[place], after, found[place], seconds)
        assert asking.ahead is not None
        return asking.ahead

    def _launch(
        self, seats: list[Seat], states: np.ndarray, every: list[Epochs]
    ) -> tuple[np.ndarray, list[list[EpochResult]]]:
        """Train networks side by side, each for as many epochs, from states (b, state size).

        Return states and, of each, a result for each epoch that it began.
        """
        data, orders, rates = every[0][:3]
        session, (epochs, each), n, networks = self._session, rates.shape, len(data), len(every)
        # The seed of each network, and the numbers of its epochs.
        keyed = [
            (seat.problem.seed, range(own.epoch, own.epoch + epochs))
            for seat, own in zip(seats, every, strict=True)
        ]
        with session.lock, session.guarded("training several networks"):
            plan = self._family.plan(n)
            plan.words[0, WEIGHTED] = data.weighting
            numbers, steps = self._constants(seats, every)
            runs = networks * epochs
            check_room(
                runs * n * 4 + states.nbytes,
                f"{networks} networks and the orders of their rows need",
                "train fewer networks at a time",
            )
            if not isinstance(orders, _Shuffled):
                rows = np.tile(orders.astype(np.int32), (networks, 1))
                placed_orders = session.put("orders", rows)
            elif orders.window is not None and orders.window < n:
                drawn = [host_orders(*each, n, orders.window) for each in keyed]
                placed_orders = session.put("orders", np.concatenate(drawn).astype(np.int32))
            else:
                keys = np.concatenate([random_keys(seed, own, ORDER) for seed, own in keyed])
                placed_orders = make_orders(keys, n, session.stream)
            placed = session.source(data, plan)
            if isinstance(placed, Streamed):
                raise DeviceFailure(
                    f"{session.limits.name} has too little memory for the data, which the networks "
                    "read together; pass fewer rows, or use target='cpu'"
                )
            resident = self._family.resident_bytes(n) > 0
            job = session.job(
                plan, placed, placed_orders, keyed, state=session.put("states", states),
                steps=steps, numbers=numbers, scratches=1 if resident else networks,
            )  # fmt: skip
            chunks, start = [Chunk(0, epochs * each, placed)], time.perf_counter()
            pace = self._expected, self.seconds_per_row
            session.run(self._family, job, plan, chunks, epochs * each, *pace)
            states = job.state.copy_to_host(stream=session.stream)
            found, bad = session.results(job)
            # Of all networks together.
            self.seconds_per_row = (time.perf_counter() - start) / (epochs * n)
        found = found.reshape(networks, epochs, RESULT_FIELDS)
        return states, [
            read_results(own, int(failed), each, session.weight)
            for own, failed in zip(found, bad, strict=True)
        ]

    def _constants(self, seats: list[Seat], every: list[Epochs]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of each network, and the tables of steps, one of all that share it."""
        data, tables = every[0].data, list[np.ndarray]()
        places: dict[Any, int] = {}
        for seat, own in zip(seats, every, strict=True):
            problem = seat.problem
            optimizer = problem.optimizer
            constants = optimizer.constants, optimizer.ema, problem.loss_alpha
            alike = constants, own.step, own.rates.tobytes()
            if alike not in places:
                places[alike] = len(places) * own.rates.size
                tables += step_tables(
                    problem, self._rule, own.rates, own.step, len(data), data.mean_weight
                )
            seat.numbers[-1] = places[alike]
        return np.concatenate([seat.numbers for seat in seats]), np.concatenate(tables)

    def predict(self, asking: Seat, X: Any) -> np.ndarray:
        """Return the outputs of a seat for X, and give others those that they will need."""
        bytes_each = len(X) * self.problem.network.outputs * self.problem.dtype.itemsize
        later = self.seats[self.seats.index(asking) + 1 :]  # those before it have asked already
        others = [seat for seat in later if not seat.has_outputs()]
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
        """Let the device's memory go, and whoever has been forecasting."""
        self._session.close()
        for seat in self.seats:
            seat.forecast = lambda: None

    def _go_back(self) -> None:
        """Do nothing: the states on the host are those of the last good call."""
