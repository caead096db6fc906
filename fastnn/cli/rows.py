"""The rows of a training: the column to predict, those to learn from, and who sees which rows."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastnn.cli import screen, settings
from fastnn.cli.data import called, names_in, read_data
from fastnn.errors import InvalidInput, number

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.model import Described, Plan
    from fastnn.tabular.label import Label
    from fastnn.tabular.preparation import Choices, Preparation
    from fastnn.tabular.table import Matrix, Table

_VALIDATION = 0.1  # of the rows
# With fewer rows left out, their loss is too much of chance to choose an epoch by.
_LEAST_VALIDATION = 10
# Options that name columns of features; those after the first two say what is in them.
_COLUMNS = ("drop", "keep", "category", "number", "duration")


@dataclass
class Prepared:
    """A table that has been read, and what is known of it before a model is made.

    Attributes
    ----------
    data
        The rows that have a label.
    label, preparation, plan
        As of the model to be.
    targets
        (rows,) as `Label.encode` gives them.
    rows
        How many of them are to train on.
    """

    data: Table | Matrix
    label: Label
    preparation: Preparation
    plan: Plan
    targets: np.ndarray
    rows: int


def prepare(options: argparse.Namespace, said: list[str], tabular: bool = False) -> Prepared:
    """Return the table that options name, and what becomes of its columns.

    Parameters
    ----------
    said
        What there is to say is added to it.
    tabular
        Whether it is for a population: rows to validate on are needed, however few, and a matrix is
        a table without names.
    """
    import numpy as np

    from fastnn.cli.model import Plan, digest_of, labelled, said_of_unlabelled
    from fastnn.tabular import preparation
    from fastnn.tabular.label import Label
    from fastnn.tabular.table import Matrix, counted, in_file

    validation, test = shares(options)
    seed = options.seed or 0
    task = settings.task_for(options.task, options.loss)
    data, remarks = read_data(options)
    said.append("; ".join([f"{called(options.data)}: {extent(data)}", *remarks]))
    if tabular and isinstance(data, Matrix):
        data = data.as_table()
    label, weight = label_of(options, data), ""
    columns: tuple[str, ...] = ()
    numbered = False
    if not isinstance(data, Matrix):
        columns, numbered = tuple(data.columns), data.numbered
        if options.weight is not None:
            weight = weight_in(options, data)
    elif options.weight is not None:
        raise InvalidInput("--weight names a column, and a matrix has none")
    data, absent = labelled(data, label)
    if absent:
        said.append(said_of_unlabelled(absent))
    if not data.rows:
        Label.learn(label, np.zeros(0), absent=absent)  # which refuses
    inputs, choices = inputs_of(options, data, label, weight, tabular)
    values = data.y if isinstance(data, Matrix) else data.columns[label]
    assert values is not None
    with in_file(data.places):
        told = Label.learn(label, values, task, options.decimal, absent)
        targets, _ = told.encode(values, options.decimal)
    if (
        round(validation * data.rows) < _LEAST_VALIDATION
        and validation
        and options.validation is None
        and not tabular
    ):
        said.append(f"{counted(data.rows, 'row')} are too few to leave some out: no validation")
        validation = 0.0
    groups = targets if told.classes else np.zeros(data.rows, np.int64)
    parts = split(groups, validation, test, seed)
    if tabular and not len(parts[1]):
        raise InvalidInput(
            f"--tabular needs rows to validate on, and --validation {validation:g} of "
            f"{counted(data.rows, 'row')} are none; pass more rows, or a larger --validation"
        )
    rows = len(parts[0])
    if not told.classes:
        told = told.scaled_by(targets[parts[0]])
    features, more = preparation.learn(inputs, choices, None if rows == data.rows else parts[0])
    said += said_of_label(told, values, options.decimal, task)
    said += said_of_parts(parts, validation, test)
    said += features.describe() + more
    labels = "" if tabular else digest_of(targets)  # a population does not go on
    plan = Plan(columns, numbered, data.rows, validation, test, seed, weight, labels)
    return Prepared(data, told, features, plan, targets, rows)


def inputs_of(
    options: argparse.Namespace, data: Table | Matrix, label: str, weight: str, tabular: bool
) -> tuple[Any, Choices]:
    """Return what there is to learn from in data, and what options say of the columns."""
    from fastnn.tabular import preparation
    from fastnn.tabular.fields import RARE
    from fastnn.tabular.table import Matrix

    if isinstance(data, Matrix):
        for option in _COLUMNS:
            if getattr(options, option) is not None:
                raise InvalidInput(f"--{option} names columns, and a matrix has none")
        return replace(data, y=None), preparation.Choices(decimal=options.decimal)
    given = {
        option: [data.name_of(name, f"--{option}") for name in names_in(value)]
        for option, value in vars(options).items()
        if option in _COLUMNS
    }
    _check_roles({"label": [label], "weight": [weight] if weight else [], **given})
    inputs = data.without([label, *([weight] if weight else []), *given["drop"]])
    if not inputs.columns:
        why = "--drop names all of them" if given["drop"] else "the label is the only one"
        raise InvalidInput(f"no column is left to learn from: {why}{_blanks_in(data)}")
    return inputs, preparation.Choices(
        given["category"], given["number"], given["keep"], options.decimal,
        bool(options.day_first), RARE if tabular else preparation.Choices.rare, given["duration"],
    )  # fmt: skip


def _blanks_in(data: Table) -> str:
    """Return what to do about blanks between the values of a table of one column; "" for none."""
    if len(data.columns) != 1:
        return ""
    ((name, values),) = data.columns.items()
    cells = values[:50].tolist() if values.dtype == object else []
    texts = [each for each in (name, *cells) if each]
    if not any(len(text.split()) > 1 for text in texts):
        return ""
    return "; if blanks are between values, pass --delimiter ' '"


class Parts:
    """The rows of a training: which ones it sees, and which it is measured on."""

    def __init__(self, model: Described, data: Table | Matrix, options: Any, said: list[str]):
        import numpy as np

        from fastnn.cli.model import weights_of
        from fastnn.tabular.table import in_file

        self.weights: np.ndarray | None = None
        self.places = data.places
        plan = model.plan
        values = model.labels(data)
        assert values is not None
        with in_file(data.places):
            if plan.weight:
                self.weights = weights_of(data, plan.weight, options.decimal)
            targets, new = model.targets(values, options.decimal, said)
            self.y = outcomes_of(model, targets)
        if new:
            raise InvalidInput(
                f"the label has {len(new)} classes that the model does not know, such as "
                f"{next(iter(new))!r}; train a new model for them"
            )
        self.targets = targets
        self.X = model.features(data, options.decimal, said)
        groups = targets if model.label.classes else np.zeros(len(targets), np.int64)
        self.train, self.validation, self.test = split(
            groups, plan.validation, plan.test, plan.seed
        )
        check_weights(plan.weight, self.weights, self.train, self.validation, self.test)

    def of(self, rows: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Return features, targets and weights of some of them."""
        return self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]

    def features(self, part: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return the features of a part to measure on, and its rows."""
        return self.X[part], part


def split(
    groups: np.ndarray, validation: float, test: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows to train on, to validate and to test with, at random, of each group alike.

    Parameters
    ----------
    groups
        (rows,), such as classes; of each, at least one row is to train on.
    validation, test
        Shares of all rows; of groups too small for theirs, some give a row and others none.
    """
    import numpy as np

    random = np.random.default_rng([seed, 0x73706C69])  # ASCII "spli": apart from other draws
    order = random.permutation(len(groups))
    drawn = groups[order]
    names, sizes = np.unique(groups, return_counts=True)
    ties = random.random(len(names))
    tested = _quotas(sizes, sizes - 1, test, ties)
    validated = _quotas(sizes, sizes - 1 - tested, validation, 1 - ties)
    parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for name, of_test, of_validation in zip(names, tested, validated, strict=True):
        rows = np.split(order[drawn == name], (of_test, of_test + of_validation))
        for part, chosen in zip((2, 1, 0), rows, strict=True):
            parts[part].append(chosen)
    train, validated_rows, tested_rows = (np.sort(np.concatenate(part)) for part in parts)
    return train, validated_rows, tested_rows


def _quotas(sizes: np.ndarray, free: np.ndarray, share: float, ties: np.ndarray) -> np.ndarray:
    """Return how many rows of each group make a share of all, by the largest remainders.

    Parameters
    ----------
    sizes, free
        Rows of each group, and how many of these may be taken.
    ties
        The order among equal remainders.
    """
    import numpy as np

    exact = share * sizes
    quotas = np.minimum(np.floor(exact + 1e-9).astype(np.int64), free)  # 0.1 * 30 is less than 3
    lacking = round(share * int(sizes.sum())) - int(quotas.sum())
    while lacking > 0 and (quotas < free).any():
        order = np.lexsort((ties, -(exact - quotas).round(9)))
        order = order[(quotas < free)[order]][:lacking]
        quotas[order] += 1
        lacking -= len(order)
    return quotas


def said_of_parts(parts: Any, validation: float, test: float) -> list[str]:
    """Return what there is to say where a part was asked for but has no row."""
    from fastnn.tabular.table import counted

    rows = counted(sum(map(len, parts)), "row")
    return [
        f"warning: no row is left out to {what}: --{option} {share:g} of {rows} is none"
        for what, option, share, part in (
            ("validate", "validation", validation, parts[1]),
            ("test", "test", test, parts[2]),
        )
        if share and not len(part)
    ]


def extent(data: Table | Matrix) -> str:
    """Return how large data are."""
    from fastnn.tabular.table import Matrix, counted

    width = data.X.shape[1] if isinstance(data, Matrix) else len(data.columns)
    return f"{counted(data.rows, 'row')}, {counted(width, 'column')}"


def said_of_label(label: Any, values: Any, decimal: str, task: str | None) -> list[str]:
    """Return what there is to say of a label, for which the user has asked for a task or for none.

    Dates that are to be classes are.
    """
    from fastnn.tabular.hints import number_hint
    from fastnn.tabular.label import moments_in

    hint = number_hint(values, decimal) if label.classes and values.dtype == object else ""
    if label.classes and not hint and task is None and (what := moments_in(values)):
        hint = (
            f"its values are {what}, whose order classes do not have; make numbers of them if "
            "that counts, or pass --task classification"
        )
    lines = [f"warning: label {label.name!r} is read as classes: {hint}"] if hint else []
    if label.alike:
        one, other = label.alike[:2]
        lines.append(
            f"warning: label {label.name!r}: {one!r} and {other!r} are two classes; write them in "
            "one way if they are the same"
        )
    return [*lines, _said_of(label, values)]


def _said_of(label: Any, values: Any) -> str:
    """Return which task a label is, with its values."""
    from collections import Counter

    from fastnn.tabular.label import words_of

    if not label.classes:
        return (
            f"label {label.name!r}: regression, mean {label.mean:.6g}, deviation {label.scale:.6g}"
        )
    counts = Counter(words_of(values))
    shown = ", ".join(f"{word!r} {counts[word]}" for word in label.classes[:8])
    more = f" and {len(label.classes) - 8} more" if len(label.classes) > 8 else ""
    kind = "binary" if len(label.classes) == 2 else "multi-class"
    return f"label {label.name!r}: {kind} classification, rows by class: {shown}{more}"


def label_of(options: argparse.Namespace, data: Table | Matrix) -> str:
    """Return the name of the label."""
    from fastnn.tabular.table import Matrix, listed

    if isinstance(data, Matrix) and data.y is None:
        raise InvalidInput(f"{called(options.data)} has features but no labels; add them as y")
    apart = data.label
    if apart is not None:
        if options.label not in (None, "y", "-1", apart):
            raise InvalidInput(
                f"--label {options.label}: {called(options.data)} is a matrix with labels of its "
                f"own, {apart}"
            )
        return apart
    assert not isinstance(data, Matrix)
    if options.label is None:
        raise InvalidInput(
            f"--label is missing; which column is to be predicted: {listed([*data.columns], 20)}?"
        )
    return data.name_of(options.label, "--label")


def weight_in(options: argparse.Namespace, data: Table) -> str:
    """Return the name of the column of weights."""
    weight = data.name_of(options.weight, "--weight")
    if not weight:
        raise InvalidInput("--weight: that column has no name; give it one in the header")
    return weight


def _check_roles(given: dict[str, list[str]]) -> None:
    """Refuse columns that two options name for what cannot be both."""
    for one, another in itertools.combinations(given, 2):
        both = [name for name in given[one] if name in given[another]]
        if both and {one, another} not in [{"keep", kind} for kind in _COLUMNS[2:]]:
            raise InvalidInput(
                f"--{one} and --{another} both name column {both[0]!r}; leave it out of one"
            )


def check_weights(
    name: str,
    weights: np.ndarray | None,
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
) -> None:
    """Raise `InvalidInput` where all rows of a part have weight 0, of which there is no mean."""
    from fastnn.tabular.table import counted

    parts = (("train on", train), ("validate with", validation), ("test with", test))
    for what, rows in parts:
        if weights is not None and len(rows) and not weights[rows].any():
            raise InvalidInput(
                f"--weight: column {name!r} is 0 in each of {counted(len(rows), 'row')} to {what}; "
                "give some a larger weight, or choose another column"
            )


def outcomes_of(model: Described, targets: np.ndarray) -> np.ndarray:
    """Return what a model learns of targets, or raise `WrongCell` where its dtype holds one not."""
    import numpy as np

    from fastnn.cli.model import TableModel
    from fastnn.tabular.table import WrongCell

    found = model.outcomes(targets)
    if isinstance(model, TableModel) and not model.label.classes:
        dtype = model.trainer.problem.dtype
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(found.astype(dtype))
        if wrong.any():
            row = int(wrong.argmax())
            raise WrongCell(
                row,
                f"column {model.label.name!r}, the label: {targets[row]:g} is too large for "
                f"{dtype.name}; correct it, or train a model with --dtype float64",
            )
    return found


def check_counts(label: Label, targets: np.ndarray, places: np.ndarray | None) -> None:
    """Raise `InvalidInput` where labels for the loss poisson are negative."""
    from fastnn.tabular.table import WrongCell, in_file

    if (targets < 0).any():
        row = int((targets < 0).argmax())
        with in_file(places):
            raise WrongCell(
                row,
                f"column {label.name!r}, the label: {targets[row]:g}, but --loss poisson takes "
                "counts, which are at least 0; correct it, or choose another --loss",
            )


def shares(options: argparse.Namespace) -> tuple[float, float]:
    """Return which shares of the rows are left out to validate and to test."""
    usual = {"validation": _VALIDATION, "test": 0.0}
    asked = {name: getattr(options, name) for name in usual}
    validation, test = (
        number(usual[name] if share is None else share, f"--{name}", 0.0, 1.0, open_high=True)
        for name, share in asked.items()
    )
    return validation, test


def scored(model: Described, data: Any) -> list[tuple[str, str]]:
    """Return how good a model is on the rows left out, or where there are none on the others."""
    from fastnn.cli.scores import scores, short
    from fastnn.tabular.table import counted

    left_out = {"validation": data.validation, "test": data.test}
    parts = {name: part for name, part in left_out.items() if len(part)}
    rows = []
    for name, part in (parts or {"training": data.train}).items():
        X, measured = data.features(part)
        weights = None if data.weights is None else data.weights[measured]
        found = scores(model, model.outputs(X), data.targets[measured], weights)
        some = counted(len(part), "row")
        some = some if len(measured) == len(part) else f"{len(measured)} of {some}"
        rows.append((name, f"{some}: {short(found)}"))
    return rows + weighted_by(model.plan.weight)


def weighted_by(name: str) -> list[tuple[str, str]]:
    """Return the line that names the column by which rows count; none where they count alike."""
    return [("weights", f"of column {name!r}")] if name else []


def file_row(out: str) -> tuple[str, str]:
    """Return where the model is, and how large."""
    from fastnn.errors import UnusableFile

    try:
        return "model", f"{out} ({screen.size(os.path.getsize(out))})"
    except OSError as error:
        raise UnusableFile(error.errno or errno.EIO, str(error.strerror), out) from error
