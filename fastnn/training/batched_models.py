"""Several networks trained in one launch of a device, as far as nothing asks for each by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import Diverged
from fastnn.inputs.data import Data
from fastnn.inputs.magnitudes import large_numbers
from fastnn.inputs.problem import EpochResult, check_converging
from fastnn.targets.selection import describe
from fastnn.training import saved_trainer as models
from fastnn.training.history import History
from fastnn.training.loop import BLOCK_EPOCHS, block_rates
from fastnn.training.metrics import PREFIX, Metric, measured
from fastnn.training.progress import Progress
from fastnn.training.saved_trainer import Model
from fastnn.training.scores import Outputs

if TYPE_CHECKING:
    from fastnn.targets.cuda.batched_models import Several

# Rows of the orders of all networks that are on the device at a time.
ORDER_ROWS = 1 << 26


@dataclass
class Together:
    """Networks of one shape under training, one `Model` each.

    Attributes
    ----------
    models
        Settings and histories; parameters and state are in `engine` until `finish`.
    engine
        Trains them.
    errors
        Of those that diverged: where. Each is as its last good epoch left it.
    """

    models: list[Model]
    engine: Several
    errors: dict[int, Diverged]

    def train(
        self,
        data: Data,
        validation: Data | None,
        epochs: int,
        progress: Progress,
        metrics: tuple[Metric, ...] = (),
    ) -> None:
        """Do so many epochs, as many a launch as memory for their orders allows."""
        most = max(1, min(BLOCK_EPOCHS, ORDER_ROWS // (len(data) * len(self.models))))
        while epochs and len(self.errors) < len(self.models):
            count = min(most if validation is None else 1, epochs)
            self._train_block(data, validation, count, progress, metrics)
            epochs -= count

    def finish(self, network: int) -> Model:
        """Return the model of one network, with its parameters."""
        found = self.models[network]
        found.parameters, found.slots = self.engine.read(network)
        return found

    def _train_block(
        self,
        data: Data,
        validation: Data | None,
        count: int,
        progress: Progress,
        metrics: tuple[Metric, ...],
    ) -> None:
        """Do `count` epochs; where one of several diverges, all of them again one by one."""
        start, first = time.perf_counter(), self._leader()
        rates = block_rates(first, len(data), count)
        before = self.engine.snapshot()
        results = self.engine.train_epochs(data, rates, first.epoch, first.step, first.shuffle)
        finite = self.engine.finite()
        failed = [
            own and (own[-1].bad_step is not None or not good)
            for own, good in zip(results, finite, strict=True)
        ]
        if any(failed) and count > 1:
            self.engine.restore(before)
            for _ in range(count):
                if len(self.errors) < len(self.models):
                    self._train_block(data, validation, 1, progress, metrics)
            return
        seconds = (time.perf_counter() - start) / count
        for network, (own, bad) in enumerate(zip(results, failed, strict=True)):
            if bad:
                self._stop(network, own[-1], rates[-1], before, data)
            elif own:
                self._enter(network, own, rates, seconds)
        if validation is not None:
            self._validate(validation, metrics)
        done = sum(len(model.history) for model in self.models)
        progress.show(f"{len(self.models)} restarts", done)

    def _validate(self, validation: Data, metrics: tuple[Metric, ...]) -> None:
        """Enter the scores of the epoch just done."""
        for network, outputs in enumerate(self.engine.forward(validation.X)):
            if network not in self.errors:
                model = self.models[network]
                found, error = measured(model.problem, Outputs(outputs), validation, metrics)
                if error is not None:
                    raise error
                model.history.enter_last({PREFIX + name: value for name, value in found.items()})

    def _leader(self) -> Model:
        """Return a model that is still trained: all of those have done the same epochs."""
        return next(
            model for network, model in enumerate(self.models) if network not in self.errors
        )

    def _enter(
        self, network: int, results: list[EpochResult], rates: np.ndarray, seconds: float
    ) -> None:
        model = self.models[network]
        for result, own in zip(results, rates, strict=True):
            model.history.append(result.loss, seconds, own[-1])
        model.epoch, model.step = model.epoch + len(results), model.step + rates.size

    def _stop(
        self,
        network: int,
        result: EpochResult,
        rates: np.ndarray,
        before: np.ndarray,
        data: Data,
    ) -> None:
        """Take back the one epoch in which a network diverged, and train it no more."""
        model = self.models[network]
        large = partial(large_numbers, model.problem, data)
        try:
            check_converging(result, lambda: False, rates, model.epoch, large)
        except Diverged as error:
            self.errors[network] = error
        self.engine.restore(before, network)
        self.engine.rest(network)


def begin_together(first: Model, seeds: list[int], chosen: str, reason: str) -> Together:
    """Return the networks of these seeds before any epoch; `first` is that of the first seed."""
    from dataclasses import replace

    from fastnn.targets.cuda.batched_models import Several

    engine = Several(first.problem, seeds)
    every = [replace(first, history=History(chosen, 1, reason))]
    for seed in seeds[1:]:
        problem = replace(first.problem, seed=seed)
        model = models.begin(problem, first.target, first.threads, first.shuffle)
        model.rate_factor, model.feature_names = first.rate_factor, first.feature_names
        every.append(model)
    for network, model in enumerate(every):
        model.history.reason = describe(reason, engine)
        engine.load(network, model.parameters, model.slots)
    engine.prepare()  # so that the first epochs do not have the compiler on their clock
    return Together(every, engine, {})
