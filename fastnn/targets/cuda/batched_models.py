"""Many networks of one shape, each trained by a block of its own, in one launch.

Their seeds differ: initial parameters, order of the rows and dropout are each network's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.errors import DeviceFailure
from fastnn.inputs.data import Data
from fastnn.inputs.problem import EpochResult, Problem
from fastnn.random.row_orders import order_key
from fastnn.random.shuffling import make_orders as host_orders
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


def worth_it(problem: Problem, count: int) -> bool:
    """Return whether so many networks are sooner done together than one after another."""
    return quicker_together(problem, limits(), count)


class Several:
    """Networks that train together; network i is what an `Engine` with seed i would be."""

    def __init__(self, problem: Problem, seeds: list[int]) -> None:
        """Make room for a network a seed; `problem` gives all else."""
        self.problem, self._seeds = problem, seeds
        self._session, self._rule = Session(problem, self._go_back), problem.optimizer.rule
        self._family = Block(problem, self._rule, limits(), len(seeds))
        self._plan = self._family.plan(1)
        self.description = f"{self._family.name} kernels on {limits().name}"
        self._predictor = Predictor(problem, self._rule, self._plan, limits())
        self._state = np.zeros((len(seeds), self._plan.state_size), problem.dtype)
        self._resting = np.zeros(len(seeds), bool)
        # About what a row takes all of them, which come to the SMs in rounds.
        rounds = -(-len(seeds) // limits().sms)
        step = rounds * Block.seconds(problem, limits())
        self._seconds_per_row = step / problem.batch_size

    def load(self, network: int, parameters: Parameters, slots: list[Parameters]) -> None:
        """Take parameters and optimizer state of one network; copies."""
        self._state[network] = self._plan.pack([parameters, *slots], self.problem.dtype)

    def read(self, network: int) -> tuple[Parameters, list[Parameters]]:
        """Return copies of parameters and optimizer state of one network."""
        copies = [
            self._plan.unpack(self._state[network], copy)
            for copy in range(self._plan.state_size // self._plan.size)
        ]
        return copies[0], copies[1:]

    def prepare(self, X: Any = None) -> None:
        """Compile the kernels of training."""
        self._session.prepare(self._family)

    def snapshot(self) -> np.ndarray:
        """Return the state of all networks as `restore` takes it; read only."""
        return self._state

    def restore(self, snapshot: np.ndarray, network: int | None = None) -> None:
        """Go back to a snapshot with all networks, or with one."""
        if network is None:
            self._state = snapshot
        else:
            self._state = self._state.copy()
            self._state[network] = snapshot[network]

    def rest(self, network: int) -> None:
        """Train this network no more."""
        self._resting[network] = True

    def finite(self) -> np.ndarray:
        """Say of each network whether parameters and optimizer state are finite, bool (b,)."""
        found: np.ndarray = np.isfinite(self._state)
        return np.all(found, axis=1)

    def train_epochs(
        self, data: Data, rates: np.ndarray, epoch: int, step: int, shuffle: bool | int
    ) -> list[list[EpochResult]]:
        """Train some epochs, all networks side by side.

        Parameters
        ----------
        data
            Of all networks; without weights.
        rates
            float64 (epochs, steps).
        epoch, step
            Numbers of the first epoch and the first step.
        shuffle
            Whether each network goes through the rows in an order of its own, or how many rows are
            shuffled together.

        Returns
        -------
        list of list of EpochResult
            Of each network, one for each epoch that it began; none for one that rests.
        """
        session, epochs, each, n = self._session, *rates.shape, len(data)
        numbered = range(epoch, epoch + epochs)
        with session.lock, session.guarded("training several networks"):
            plan = self._family.plan(n)
            any_order = np.zeros(n, np.int64)
            tables = [
                step_table(self.problem, self._rule, own, step + e * each, any_order, None)
                for e, own in enumerate(rates)
            ]
            runs = len(self._seeds) * epochs
            check_room(
                runs * n * 4 + self._state.nbytes,
                f"{len(self._seeds)} networks and the orders of their rows need",
                "train fewer restarts at a time",
            )
            if shuffle is not True and 0 < shuffle < n:
                every = [host_orders(seed, numbered, n, shuffle) for seed in self._seeds]
                orders = session.put("orders", np.concatenate(every).astype(np.int32))
            elif shuffle:
                keys = [order_key(seed, each) for seed in self._seeds for each in numbered]
                orders = make_orders(np.array(keys, np.uint64), n, session.stream)
            else:
                orders = session.put("orders", np.tile(np.arange(n, dtype=np.int32), (runs, 1)))
            placed = session.source(data, plan)
            if isinstance(placed, Streamed):
                raise DeviceFailure(
                    f"{limits().name} has too little memory for the data, which restarts read "
                    "together; pass fewer rows, or use target='cpu'"
                )
            resident = self._family.resident_bytes(n) > 0
            job = Job(
                state=session.put("states", self._state),
                scratch=session.scratch(plan, 1 if resident else len(self._seeds)),
                words=session.put("words", plan.words),
                numbers=session.put("numbers", plan.numbers),
                steps=session.put("steps", np.concatenate(tables)),
                keys=session.put("keys", layer_keys(self.problem, self._seeds, numbered)),
                orders=orders,
                results=session.put("results", np.zeros((runs, RESULT_FIELDS))),
                bad=session.put("bad", np.where(self._resting, 0, -1)),
                **placed._asdict(),
            )
            chunks, start = [Chunk(0, epochs * each, placed)], time.perf_counter()
            pace = self._seconds_per_row
            session.run(self._family, job, plan, chunks, epochs * each, seconds_per_row=pace)
            found = job.results.copy_to_host(stream=session.stream)
            bad = job.bad.copy_to_host(stream=session.stream)
            self._state = job.state.copy_to_host(stream=session.stream)
            session.stream.synchronize()
            # Of all networks together; those that rest have no part in it.
            self._seconds_per_row = (time.perf_counter() - start) / (epochs * n)
        found = found.reshape(len(self._seeds), epochs, RESULT_FIELDS)
        return [
            [] if rests else read_results(own, int(failed), each)
            for own, failed, rests in zip(found, bad, self._resting, strict=True)
        ]

    def forward(self, X: Any) -> Iterator[np.ndarray]:
        """Yield the outputs (m, outputs) of each network for X (m, inputs), without dropout."""
        session = self._session
        bytes_each = len(X) * self.problem.network.outputs * self.problem.dtype.itemsize
        together = max(1, OUTPUT_BYTES // bytes_each)
        for first in range(0, len(self._seeds), together):
            with session.lock, session.guarded("predicting with several networks"):
                states = session.put("predicting", self._state[first : first + together])
                outputs = self._predictor.predict_all(states, X, session.stream)
            yield from outputs

    def close(self) -> None:
        """Let the device's memory go."""
        self._session.close()

    def _go_back(self) -> None:
        """Do nothing: the state on the host is that of the last good call."""
