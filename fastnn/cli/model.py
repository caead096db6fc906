"""A model of a table: networks, and what makes their features and their answers.

A `TableModel` is one network, of ``fastnn train``; a `PopulationModel` is an estimator of many, of
``fastnn train --tabular``.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput
from fastnn.tabular import preparation as preparations
from fastnn.tabular.label import Label, missing_in, numbers_of, texts_of_missing, why_missing
from fastnn.tabular.met import Met
from fastnn.tabular.preparation import Columns, Preparation, Scaled
from fastnn.tabular.rules import DateRule, DurationRule, Rule
from fastnn.tabular.table import Matrix, Table, WrongCell, cell, counted, in_file, listed
from fastnn.targets.selection import is_cuda
from fastnn.training import scores
from fastnn.training.ensemble import measured_of

if TYPE_CHECKING:
    from fastnn.estimators import TabularClassifier, TabularRegressor
    from fastnn.training.metrics import Metrics
    from fastnn.training.trainer import Trainer

_CLASSIFIER, _REGRESSOR = "TabularClassifier", "TabularRegressor"
FORMAT = 1  # of the preparation in a file
_FLOAT32_DIGITS, MOST_DIGITS = 9, 17  # of float32 and float64, that tell all their numbers apart


@dataclass(frozen=True)
class Plan:
    """What else a model remembers of its training.

    Attributes
    ----------
    columns
        The names of all columns of the data, in their order; none of a matrix.
    numbered
        Whether the data have no names, so that these are "1", "2", ...
    rows
        How many rows the data had, without those that have no label.
    validation, test, seed
        Which shares of the rows were left out, and the seed that chose them.
    weight
        The column of weights, "" for none.
    labels
        What `digest_of` gives for the labels, by which a training that goes on knows its rows; ""
        where nobody has kept it.
    """

    columns: tuple[str, ...]
    numbered: bool
    rows: int
    validation: float
    test: float
    seed: int
    weight: str = ""
    labels: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return it as `json` can write it."""
        found = {**vars(self), "columns": list(self.columns)}
        if not self.labels:
            del found["labels"]
        return found


def digest_of(targets: np.ndarray) -> str:
    """Return a digest of targets (rows,) in their order, the same whatever file they are from."""
    plain = targets + 0.0  # without -0.0
    return hashlib.blake2b(plain.astype("<f8").data, digest_size=16).hexdigest()


class Described(ABC):
    """What a model of a table has in common with all others: its columns and its label."""

    preparation: Preparation
    label: Label
    plan: Plan

    def to_plain(self) -> dict[str, Any]:
        """Return what its file says of the table, as `json` can write it."""
        return {
            "format": FORMAT,
            "features": self.preparation.to_plain(),
            "label": self.label.to_plain(),
            "plan": self.plan.to_plain(),
        }

    @property
    @abstractmethod
    def unlikely(self) -> str:
        """Why there are no probabilities of classes; "" where there are."""

    @abstractmethod
    def read(self, data: Table | Matrix, decimal: str) -> tuple[Any, Met]:
        """Return what the model reads of data, row by row, and what was met in them."""

    def features(self, data: Table | Matrix, decimal: str, said: list[str]) -> Any:
        """Return what the model reads of data, row by row, and say what is new in them."""
        X, met = self.read(data, decimal)
        said += remarks(met, self.preparation, data.rows)
        return X

    @abstractmethod
    def outcomes(self, targets: np.ndarray) -> np.ndarray:
        """Return targets, as `targets` gives them, as the training takes them."""

    @abstractmethod
    def outputs(self, X: Any) -> np.ndarray:
        """Return what the networks give for features, a row for each, from which all else comes."""

    @abstractmethod
    def places(self, outputs: np.ndarray) -> np.ndarray:
        """Return the most probable class of each row of outputs, by its place."""

    @abstractmethod
    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each class (rows, classes)."""

    @abstractmethod
    def numbers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the predictions of a regression in the units of the data, float64 (rows,)."""

    @property
    @abstractmethod
    def digits(self) -> int:
        """How many digits a file has of what is predicted: as many as the model tells apart."""

    @abstractmethod
    def measured(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        metrics: Metrics,
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return metrics of classes, all of which the model knows."""

    def aligned(self, data: Table | Matrix, said: list[str]) -> Table | Matrix:
        """Return a table with the model's names, where one of the two has none.

        One matrix is the same whether its file keeps the labels apart or as a column.
        """
        plan, label = self.plan, self.label.name
        if isinstance(self.preparation, Scaled):
            return self._matrix(data, self.preparation)
        if isinstance(data, Matrix):
            data = self._numbered(data, said)
        if not (plan.numbered or data.numbered):
            return data
        names, columns = list(plan.columns), dict(data.columns)
        labels = None if data.label is None else columns.pop(data.label)
        if labels is not None or len(columns) == len(names) - 1:  # those to predict have no label
            names.remove(label)
        if len(columns) != len(names):
            features = len(plan.columns) - 1
            raise InvalidInput(
                f"the data have {counted(len(columns), 'column')} without names that the model "
                f"knows, but it was trained on {features} and the label"
            )
        if plan.numbered != data.numbered:
            said.append("columns are taken in their order, since one of the files has no names")
        zoned = frozenset(
            name for name, old in zip(names, columns, strict=True) if old in data.zoned
        )
        columns = dict(zip(names, columns.values(), strict=True))
        if labels is not None:
            columns[label] = labels
        return Table(columns, data.rows, plan.numbered, data.places, zoned)

    def fits(self, cells: list[str], decimal: str) -> bool:
        """Return whether cells could be a row of data without names, with a label or without."""
        names, label = list(self.plan.columns), self.label.name
        if len(cells) == len(names) - 1:
            names.remove(label)
        if len(cells) != len(names) or not isinstance(self.preparation, Columns):
            return False
        row = {name: np.array([cell], object) for name, cell in zip(names, cells, strict=True)}
        numbers = {self.plan.weight} | ({label} if not self.label.classes else set())
        if any(numbers_of(row[name], decimal)[1] is not None for name in numbers & row.keys()):
            return False
        try:
            for rule in self.preparation.rules:
                rule.read(row[rule.name], decimal)
        except InvalidInput:
            return False
        return True

    def _numbered(self, data: Matrix, said: list[str]) -> Table:
        """Return a matrix as a table of numbered columns, and its labels after them."""
        X = data.X
        if not isinstance(X, np.ndarray):
            wide, ignored, remarks = data.in_order(len(self.plan.columns) - 1, 0)
            X = wide.toarray()
            said += remarks
            if ignored:
                said.append(
                    f"{counted(len(ignored), 'column')} that the model does not know ignored"
                )
        columns = {str(place + 1): each.astype(np.float64) for place, each in enumerate(X.T)}
        if data.y is not None:
            columns[data.label] = data.y
        return Table(columns, data.rows, True, data.places)

    def _matrix(self, data: Table | Matrix, scaled: Scaled) -> Table | Matrix:
        """Return a table without names as a matrix, for a model of one."""
        if isinstance(data, Matrix) or not data.numbered:
            return data
        columns = dict(data.columns)
        y = None if data.label is None else columns.pop(data.label)
        width = scaled.width
        if len(columns) != width:
            more = ""
            if len(columns) == width + 1:
                more = "; labels have to be apart from them, as X and y in a .npz"
            raise InvalidInput(
                f"the data have {counted(len(columns), 'column')}, but the model was trained on "
                f"{width}{more}"
            )
        X = np.empty((data.rows, width))
        for place, (name, values) in enumerate(columns.items()):
            X[:, place], row = numbers_of(values)
            if row is None and np.isnan(X[:, place]).any():
                row = int(np.isnan(X[:, place]).argmax())
            if row is not None:
                what = f"column {name!r}: {cell(values[row])} where a number is due, and there was "
                with in_file(data.places):
                    raise WrongCell(row, what + "one in all rows of the training")
        return Matrix(X, y, scaled.first, data.places, self.label.name)

    def _known(self, data: Table | Matrix) -> Any:
        """Return the columns of data that are features, or that the training did not have."""
        if not isinstance(data, Table):
            return data
        features = self.preparation.names if isinstance(self.preparation, Columns) else ()
        return data.without({self.label.name, *self.plan.columns}.difference(features))

    def labels(self, data: Table | Matrix) -> np.ndarray | None:
        """Return the label of data as the file has it; None where it has none."""
        return data.y if isinstance(data, Matrix) else data.columns.get(self.label.name)

    def targets(
        self, values: np.ndarray, decimal: str, said: list[str]
    ) -> tuple[np.ndarray, Counter[str]]:
        """Return what the network is to answer, none being missing, and labels that are new."""
        targets, new = self.label.encode(values, decimal)
        if new:
            values, example = self.label.forgiving(values)
            if example:
                said.append(f"labels are written otherwise than in training: {example}")
                targets, new = self.label.encode(values, decimal)
        return targets, new


@dataclass
class TableModel(Described):
    """A trainer, and how columns become its features and its outputs the label's own words."""

    trainer: Trainer
    preparation: Preparation
    label: Label
    plan: Plan

    def keep(self) -> None:
        """Have the trainer keep all of this in its files."""
        self.trainer.keep_preparation(self.to_plain())

    @classmethod
    def of(cls, trainer: Trainer, path: str) -> Self:
        """Return the model that a trainer from a file is.

        Raises
        ------
        InvalidInput
            A trainer that nobody told how columns become its features.
        CorruptFile
            What it was told cannot be.
        """
        features, label, plan = _described(trainer.preparation, path, "fastnn.Trainer.load")
        if features.width != trainer.network.inputs:
            raise CorruptFile(
                f"{path} is damaged: its features are not as many as the network's inputs"
            )
        return cls(trainer, features, label, plan)

    def read(self, data: Table | Matrix, decimal: str) -> tuple[Any, Met]:
        """Return the features of data, and what was met in them."""
        sparse = False if is_cuda(self.trainer.target) else None
        return self.preparation.apply(self._known(data), sparse, decimal)

    def outcomes(self, targets: np.ndarray) -> np.ndarray:
        """Return classes by place, or numbers as the network learns them."""
        if self.label.classes:
            return targets.astype(np.int64)
        y = targets if self.counts else self.label.standard(targets)
        return y.astype(self.trainer.problem.dtype)

    @property
    def counts(self) -> bool:
        """Whether the loss is of counts, which are not scaled."""
        from fastnn.rules.table import loss_row

        return bool(loss_row(self.trainer.problem.loss).targets == "counts")

    @property
    def unlikely(self) -> str:
        """Why there are no probabilities of classes; "" where there are."""
        from fastnn.rules.table import loss_row

        if not self.label.classes:
            return "the label is a number"
        loss = self.trainer.problem.loss
        return "" if loss_row(loss).from_logits else f"the loss {loss} gives none"

    def outputs(self, X: Any) -> np.ndarray:
        """Return the last layer's outputs (rows, outputs)."""
        return self.trainer.forward(X)

    def places(self, outputs: np.ndarray) -> np.ndarray:
        """Return the most probable class of each row of outputs, by its place."""
        return scores.predictions(self.trainer.problem, outputs)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each class (rows, classes)."""
        return scores.probabilities(self.trainer.problem, outputs)

    def numbers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the predictions of a regression in the units of the data, float64 (rows,)."""
        return self.label.undo(scores.predictions(self.trainer.problem, outputs))

    @property
    def digits(self) -> int:
        """How many digits a file has of what is predicted."""
        return _digits(self.trainer.problem.dtype.itemsize, self.label.mean, self.label.scale)

    def measured(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        metrics: Metrics,
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return metrics of classes, all of which the model knows."""
        return measured_of(self.trainer.problem, outputs, targets, weights, metrics)


@dataclass
class PopulationModel(Described):
    """An estimator of tables, and how the columns of a file become those that it reads."""

    estimator: TabularClassifier | TabularRegressor
    preparation: Preparation
    label: Label
    plan: Plan

    @classmethod
    def of(cls, estimator: Any, path: str) -> Self:
        """Return the model that an estimator from a file is; raises as `TableModel.of`."""
        kind = type(estimator).__name__
        features, label, plan = _described(estimator.table, path, f"fastnn.{kind}.load")
        names = [*features.names] if isinstance(features, Columns) else []
        if len(names) != estimator.n_features_in_:
            raise CorruptFile(f"{path} is damaged: its columns are not as many as were learnt from")
        model = cls(estimator, features, label, plan)
        known = np.asarray(estimator.classes_).tolist() if label.classes else []
        if set(known) != set(model._names()) or bool(label.classes) != (kind == _CLASSIFIER):
            raise CorruptFile(f"{path} is damaged: its classes are not those of its label")
        return model

    def keep(self) -> None:
        """Have the estimator keep all of this in its file."""
        self.estimator.table = self.to_plain()

    def _names(self) -> list[Any]:
        """Return the classes as the estimator has them: numbers where all are whole ones."""
        try:
            numbers = [int(word) for word in self.label.classes]
        except ValueError:
            return list(self.label.classes)
        plain = [str(number) for number in numbers] == list(self.label.classes)
        return numbers if plain else list(self.label.classes)

    def read(self, data: Table | Matrix, decimal: str) -> tuple[Any, Met]:
        """Return the columns of data, and what was met in them."""
        assert isinstance(self.preparation, Columns)
        return self.preparation.read(self._known(data), decimal)

    def outcomes(self, targets: np.ndarray) -> np.ndarray:
        """Return classes by name, or numbers."""
        return np.array(self._names())[targets] if self.label.classes else targets

    @property
    def unlikely(self) -> str:
        """Why there are no probabilities of classes; "" where there are."""
        return "" if self.label.classes else "the label is a number"

    def outputs(self, X: Any) -> np.ndarray:
        """Return the mean of all members (rows, outputs), or the predictions of a regression."""
        return self.estimator.mean(X) if self.label.classes else self.estimator.predict(X)

    def places(self, outputs: np.ndarray) -> np.ndarray:
        """Return the most probable class of each row, by its place."""
        return self.probabilities(outputs).argmax(axis=1)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each class (rows, classes), in the order of the label's."""
        from fastnn.estimators.tabular.scorers import shares_of

        return np.asarray(shares_of(outputs))[:, self._order()]

    def _order(self) -> np.ndarray:
        """Return which of the estimator's classes each of the label's is."""
        classes = self.estimator.classes_
        return np.searchsorted(classes, np.array(self._names()))

    def numbers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the predictions of a regression in the units of the data, float64 (rows,)."""
        return outputs

    @property
    def digits(self) -> int:
        """How many digits a file has of what is predicted."""
        return _digits(4, self.label.mean, self.label.scale)

    def measured(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        metrics: Metrics,
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return metrics of classes, all of which the model knows."""
        return self.estimator.measured(outputs, self._order()[targets], metrics, weights)


def _digits(itemsize: int, mean: float, scale: float) -> int:
    """Return in how many digits ``output * scale + mean`` has all those that an output has.

    A number that is large beside its deviation has more of them in front.
    """
    if itemsize > 4:
        return MOST_DIGITS
    more = math.ceil(math.log10(min(max(abs(mean) / scale, 1.0), 1e17)))
    return min(MOST_DIGITS, _FLOAT32_DIGITS + more)


def remarks(met: Met, preparation: Preparation, rows: int) -> list[str]:
    """Return what there is to say of data that are not those that the model was trained on."""
    said = list(met.remarks)
    if met.ignored:
        what = "column that the model does not know is"
        many = "columns that the model does not know are"
        said.append(f"{counted(len(met.ignored), what, many)} ignored: {listed(met.ignored)}")
    rules = preparation.rules if isinstance(preparation, Columns) else ()
    names = [rule.name for rule in rules]
    for name in filter(met.unknown.__contains__, names):
        words = met.unknown[name]
        said.append(
            f"warning: column {name!r} has {counted(len(words), 'category', 'categories')} that "
            f"the model does not know, in {counted(words.total(), 'row')} of {rows}: "
            f"{listed([word for word, _ in words.most_common()], 5)}; they count as none"
        )
    flagged = {rule.name for rule in rules if _is_flagged(rule)}
    for name in filter(met.missing.__contains__, names):
        if name not in flagged:
            said.append(
                f"column {name!r} has no value in {counted(met.missing[name], 'row')}, and had one "
                "in all rows of the training: it counts as the median there, or as no category"
            )
    return said


def _is_flagged(rule: Rule) -> bool:
    """Return whether a rule has a feature for missing values, as the training had some."""
    if isinstance(rule, DateRule):
        return rule.days.flag
    if isinstance(rule, DurationRule):
        return rule.seconds.flag
    return rule.flag


def labelled(data: Table | Matrix, label: str) -> tuple[Table | Matrix, Counter[str]]:
    """Return the rows that have a label, and how often each text stands for none in others."""
    values = data.y if isinstance(data, Matrix) else data.columns[label]
    assert values is not None
    absent = missing_in(values)
    if not absent.any():
        return data, Counter()
    return data.take(~absent), texts_of_missing(values, absent)


def weights_of(data: Any, name: str, decimal: str) -> np.ndarray:
    """Return the weights in a column, or raise `WrongCell` where one is none."""
    weights, row = numbers_of(data.columns[name], decimal)
    wrong = ~(weights >= 0)
    if row is None and wrong.any():
        row = int(np.argmax(wrong))
    if row is not None:
        raise WrongCell(
            row,
            f"column {name!r}: {cell(data.columns[name][row])} where a weight of at least 0 is due",
        )
    return weights


def said_of_unlabelled(absent: Counter[str]) -> str:
    """Return what there is to say of rows without a label, "" where there are none."""
    if not absent:
        return ""
    why = why_missing(absent)
    return f"{counted(absent.total(), 'row')} without a label left out{': ' * bool(why)}{why}"


def _described(values: Any, path: str, loader: str) -> tuple[Preparation, Label, Plan]:
    """Return what a file says of its table.

    Raises
    ------
    InvalidInput
        Nothing, since a Python program made it.
    CorruptFile
        What it says cannot be.
    """
    if values is None:
        raise InvalidInput(
            f"{path} is the model of a Python program, which does not say how the columns of a "
            f"table become its features; use it with {loader}, or make one with fastnn train"
        )
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise CorruptFile(
            f"{path} was made by a later fastnn, whose tables have format {version} and not "
            f"{FORMAT}; upgrade fastnn to use it"
        )
    try:
        if version != FORMAT or values.keys() != {"format", "features", "label", "plan"}:
            raise CorruptFile(f"it has {', '.join(values)}")
        plan, label = _plan(values["plan"]), Label.from_plain(values["label"])
        return preparations.from_file(values["features"]), label, plan
    except CorruptFile as error:
        raise CorruptFile(f"{path} is damaged: {error}") from error


def _plan(values: Any) -> Plan:
    kinds = {
        "columns": list, "numbered": bool, "rows": int, "validation": float, "test": float,
        "seed": int, "weight": str, "labels": str,
    }  # fmt: skip
    if isinstance(values, dict):
        values = {"labels": "", **values}  # which older files lack
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise CorruptFile("its plan is incomplete")
    if any(type(values[name]) is not kind for name, kind in kinds.items()):
        raise CorruptFile("its plan has values of another kind")
    if any(type(name) is not str for name in values["columns"]):
        raise CorruptFile("its plan has columns without names")
    return Plan(**{**values, "columns": tuple(values["columns"])})


def load(path: str, target: Any = None, threads: int | None = None) -> TableModel | PopulationModel:
    """Return the model in a file.

    Raises
    ------
    MissingFile, UnusableFile, CorruptFile
        As of `opened`.
    InvalidInput
        A model that no command made.
    """
    from fastnn.training.trainer import Trainer

    found = opened(path, target, threads)
    if isinstance(found, Trainer):
        return TableModel.of(found, path)
    return PopulationModel.of(found, path)


def opened(path: str, target: Any = None, threads: int | None = None) -> Any:
    """Return what is in a file: a `Trainer`, or an estimator of tables.

    Raises
    ------
    MissingFile, UnusableFile, CorruptFile
        As `fastnn.Trainer.load`; files of like names are offered.
    """
    import errno
    import os

    from fastnn.errors import MissingFile
    from fastnn.storage.model_kinds import OtherModel
    from fastnn.tabular.table import offered
    from fastnn.training.trainer import Trainer

    try:
        return Trainer.load(path, target=target, threads=threads)
    except OtherModel as error:
        if error.kind not in (_CLASSIFIER, _REGRESSOR):
            raise
        import fastnn

        estimator = getattr(fastnn, error.kind).load(path, target=target)
        estimator.ensemble_.threads = threads
        return estimator
    except MissingFile as error:
        folder = os.path.dirname(path) or "."
        try:
            near = offered(os.path.basename(path), sorted(os.listdir(folder)))
        except OSError:
            near = ""
        near = near if "did you mean" in near else ""
        raise MissingFile(errno.ENOENT, f"there is no such model{near}", path) from error
