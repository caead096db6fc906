"""What several trainings share: data that are checked once, and what each is to measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fastnn.inputs.arrays import as_table
from fastnn.inputs.data import Data, check_data, check_validation, width_of
from fastnn.inputs.problem import Problem
from fastnn.inputs.table_files import TableRows, of_table
from fastnn.targets.selection import Target, check_reads, choose, reader_of
from fastnn.threads.atomic import new_lock
from fastnn.training.callbacks import Callback, watched_metrics
from fastnn.training.metrics import Metric, check_measurable, check_metrics


class SharedInputs:
    """The caller's data, checked once for all problems that need them in the same form."""

    def __init__(self, X: Any, y: Any, sample_weight: Any, validation: Any) -> None:
        X, y, sample_weight = of_table(X, y, sample_weight)
        weights = as_table(sample_weight, "sample_weight")
        self._given = as_table(X, "X"), as_table(y, "y"), weights
        self._validation = validation
        self._found: dict[Any, tuple[Data, Data | None]] = {}

    def checked(self, problem: Problem, target: Target) -> tuple[Data, Data | None]:
        """Return training and validation data as `problem` needs them on a target."""
        network = problem.network
        validated = self._validation if isinstance(self._validation, (tuple, list)) else ()
        # Those in files are read into memory, which every target does.
        held = [each for each in validated[:1] if not isinstance(each, TableRows)]
        check_reads(target, problem, self._given[0], *held)
        reader = reader_of(choose(target, problem)[0])
        kind = (
            network.inputs, network.outputs, problem.loss, problem.ignore_nan, problem.dtype,
            reader,
        )  # fmt: skip
        if kind not in self._found:
            data = check_data(problem, *self._given, reader=reader, streams=True)
            validation = check_validation(problem, self._validation, reader, data.names)
            self._found[kind] = data, validation
        problem.check_batches(len(self))
        return self._found[kind]

    def width(self) -> int:
        """Return the number of columns of X."""
        return width_of(self._given[0])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self._found.values()))[0])


class Watched:
    """What every run measures: metrics as they were given, and those that callbacks watch."""

    def __init__(self, given: Any, callbacks: tuple[Callback, ...]) -> None:
        self._given = list(given) if isinstance(given, Iterator) else given
        self._callbacks = callbacks
        self._lock = new_lock()

    def metrics(self, problem: Problem, validation: Data | None) -> tuple[Metric, ...]:
        """Return the metrics of a problem, or raise `InvalidInput` where it cannot have them."""
        asked = check_metrics(problem, self._given, validation is not None)
        asked = watched_metrics(self._callbacks, problem, asked, validation is not None)
        if validation is not None:
            check_measurable(problem, asked, validation, "the validation data")
        return tuple(replace(each, lock=self._lock) for each in asked)
