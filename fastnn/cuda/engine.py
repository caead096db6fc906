"""The CUDA engine: what the trainer asks of a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.cuda import predict
from fastnn.cuda.block import Block
from fastnn.cuda.device import SIMULATED, cuda
from fastnn.cuda.job import Job
from fastnn.cuda.plan import WEIGHTED, Parameters, Plan, make_plan
from fastnn.cuda.rules import recipe_of
from fastnn.cuda.steps import step_table
from fastnn.data import Data
from fastnn.keys import random_key
from fastnn.problem import EpochResult, Problem
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import UPDATES, activation_row, loss_row
from fastnn.shuffling import make_orders
from fastnn.spec import Network

THREADS = 2 if SIMULATED else 256
PREDICT_ROWS = 32


class Engine:
    """Trains and predicts with CUDA kernels, as `fastnn.reference.Engine` defines it."""

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        rule: str | None = None,
        family: str | None = None,
    ) -> None:
        self.problem, self.threads, self.seconds_per_row = problem, 1, math.inf
        self._rule = rule or problem.optimizer.rule
        self._recipe = recipe_of(problem, self._rule)
        self._slots = UPDATES[self._rule].slots
        self._family = Block(problem, self._rule, 0)
        self._plan = self._family.plan(1)
        self._state = np.zeros(self._plan.state_size, problem.dtype)

    def load(self, parameters: Parameters, slots: list[Parameters]) -> None:
        self._state = self._plan.pack([parameters, *slots], self.problem.dtype)

    def parameters(self) -> Parameters:
        return self._plan.unpack(self._state, 0)

    def slots(self) -> list[Parameters]:
        return [self._plan.unpack(self._state, slot + 1) for slot in range(self._slots)]

    def snapshot(self) -> np.ndarray:
        return self._state.copy()

    def restore(self, snapshot: np.ndarray) -> None:
        self._state = snapshot.copy()

    def finite(self) -> bool:
        return bool(np.isfinite(self._state).all())

    def orders(self, epochs: range, n: int) -> np.ndarray:
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
        epochs, each = rates.shape
        plan = self._family.plan(len(data.X))
        layers = len(self.problem.network.dense)
        keys = np.array(
            [
                [random_key(self.problem.seed, epoch + e, use) | 1 for use in range(2 * layers)]
                for e in range(epochs)
            ],
            np.uint64,
        )
        table = np.concatenate(
            [
                step_table(self.problem, self._rule, own, step + e * each, order, data.weights)
                for e, (own, order) in enumerate(zip(rates, orders, strict=True))
            ]
        )
        dtype = self.problem.dtype
        classes = loss_row(self.problem.loss).targets == "classes"
        plan.words[0, WEIGHTED] = data.weights is not None
        job = Job(
            state=cuda.to_device(self._state[None]),
            scratch=cuda.to_device(np.zeros((1, plan.scratch_size), dtype)),
            words=cuda.to_device(plan.words),
            numbers=cuda.to_device(plan.numbers),
            steps=cuda.to_device(table),
            keys=cuda.to_device(keys),
            X=cuda.to_device(np.ascontiguousarray(data.X, dtype)),
            classes=cuda.to_device(data.targets if classes else np.zeros(1, np.int64)),
            targets=cuda.to_device(np.zeros((1, 1), dtype) if classes else data.targets),
            weights=cuda.to_device(np.zeros(1) if data.weights is None else data.weights),
            orders=cuda.to_device(orders.astype(np.int32)),
            results=cuda.to_device(np.zeros((epochs, 2))),
            bad=cuda.to_device(np.full(1, -1, np.int64)),
        )
        self._family.train(job, plan, 0, len(table), 0)
        self._state = job.state.copy_to_host()[0]
        found, failed = job.results.copy_to_host(), int(job.bad.copy_to_host()[0])
        answers = []
        for e in range(epochs):
            weight = found[e, 1]
            loss = float(found[e, 0] / weight) if weight > 0 else 0.0
            here = failed - e * each if failed >= 0 and failed // each == e else None
            answers.append(EpochResult(loss, here))
            if here is not None:
                break
        return answers

    def forward(self, X: np.ndarray) -> np.ndarray:
        problem = replace(self.problem, batch_size=PREDICT_ROWS)
        plan = make_plan(problem, PREDICT_ROWS, rule=self._rule, ones=True)
        dtype = problem.dtype
        blocks = 1
        first = self._plan.size * self._slots if UPDATES[self._rule].mean else 0
        outputs = cuda.to_device(np.zeros((len(X), problem.network.outputs), dtype))
        predict.make_kernel(self._recipe)[blocks, THREADS](
            cuda.to_device(self._state[first:]),
            cuda.to_device(np.zeros((blocks, plan.scratch_size), dtype)),
            cuda.to_device(plan.words),
            cuda.to_device(plan.numbers),
            cuda.to_device(np.zeros(1, np.uint64)),
            cuda.to_device(np.arange(len(X), dtype=np.int32)),
            cuda.to_device(np.ascontiguousarray(X, dtype)),
            outputs,
        )
        return outputs.copy_to_host()

    def gradients(self, data: Data) -> tuple[float, Parameters]:
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

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass
