"""``fastnn train`` on Parquet and Arrow files that are read while the network trains.

What becomes of the columns is learnt from some of the rows; the features of all others are made by
that while they are read. Labels and weights, and the rows left out, are in memory.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fastnn.cli import settings
from fastnn.cli.data import called
from fastnn.cli.rows import (
    Prepared,
    check_weights,
    inputs_of,
    label_of,
    outcomes_of,
    said_of_label,
    said_of_parts,
    shares,
    split,
    weight_in,
)
from fastnn.errors import FastnnError, InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.model import TableModel
    from fastnn.inputs.table_files import TableFiles

_LEARNT = 100_000  # rows, at most, that tell what becomes of the columns
_CELLS = 1 << 24  # of these
_LEAST_LEARNT = 2_000
_GROUPS = 64  # of rows from which they are drawn, at most
_VALIDATION_ROWS = 100_000  # at most, where no share is asked for
# Bytes that a cell takes on its way into memory as a table: as pyarrow has it, as a column, as a
# feature or two, and once more as one of the rows to train on.
_CELL = 32


class Source:
    """Files whose rows are read while a network trains.

    Attributes
    ----------
    files
        The files.
    why
        Why they are not read into memory, in words.
    """

    def __init__(self, files: TableFiles, why: str) -> None:
        self.files, self.why = files, why
        self._read: dict[str, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [name for name, _ in self.files.columns]

    def column(self, name: str) -> np.ndarray:
        """Return a column of all rows."""
        from fastnn.tabular.files.parquet import column_in

        if name not in self._read:
            found = column_in(self.files, name)
            if found is None:
                raise InvalidInput(f"column {name!r} has no numbers, text, dates or times")
            self._read[name] = found
        return self._read[name]

    def let_go(self) -> None:
        """Forget the columns that have been read."""
        self._read.clear()


def source_of(options: argparse.Namespace) -> Source | None:
    """Return DATA as files to be read while training; None where it is read into memory.

    It is read meanwhile where `--stream` says so, or where it would take more memory than there is.

    Raises
    ------
    InvalidInput
        Files that cannot be read so, or other options that need all rows in memory.
    """
    from fastnn.inputs.memory import available_bytes, readable
    from fastnn.tabular.files.reading import files_of, opened

    if options.stream is False:
        return None
    listed = options.format in (None, "parquet", "arrow")
    paths = files_of(options.data) if listed else None
    if paths is None:
        if options.stream:
            raise InvalidInput(
                f"--stream reads Parquet and Arrow files, and {called(options.data)} is none; "
                "write the table as Parquet, or leave --stream out"
            )
        return None
    try:
        files = opened(options.data, paths)
        if not len(files) or not files.columns:
            raise InvalidInput(f"{called(options.data)} has no rows")
    except FastnnError:  # which reading it into memory tells as ever
        if options.stream:
            raise
        return None
    why = "as --stream asks for"
    if not options.stream:
        needed, free = _CELL * len(files) * len(files.columns) + files.bytes, available_bytes()
        if needed <= free:
            return None
        why = (
            f"since they would take {readable(needed)} of memory, about, of which there are "
            f"{readable(free)} (--no-stream reads them into memory all the same)"
        )
    for given, name in ((options.tabular, "--tabular"), (options.mpi, "--mpi")):
        if given:
            raise InvalidInput(
                f"{name} needs all rows in memory, and those of {called(options.data)} are read "
                f"from the files while training, {why}; pass fewer rows, or leave {name} out"
            )
    from fastnn.targets.selection import is_cuda

    if options.target == "auto" or is_cuda(options.target or ""):
        raise InvalidInput(
            f"--target {options.target}: the rows of {called(options.data)} are read from the "
            f'files while training, {why}, which target "cpu" does; leave --target out'
        )
    return Source(files, why)


def prepare(source: Source, options: argparse.Namespace, said: list[str]) -> Prepared:
    """Return what is known of the rows before a model is made; as `fastnn.cli.rows.prepare`."""
    import numpy as np

    from fastnn.cli.model import Plan, digest_of, said_of_unlabelled
    from fastnn.tabular import preparation
    from fastnn.tabular.files.parquet import table_of
    from fastnn.tabular.label import Label, missing_in, texts_of_missing
    from fastnn.tabular.table import Table, counted, in_file

    files = source.files
    validation, test = shares(options)
    seed = options.seed or 0
    said.append(
        f"{called(options.data)}: {counted(len(files), 'row')}, "
        f"{counted(len(source.names), 'column')}, read from the files while training, {source.why}"
    )
    first = table_of(files, source.names, np.arange(1))
    left = [f"{name!r} ({kind})" for name, kind in files.columns if name not in first.columns]
    if left:
        said.append(f"left out, as no numbers, text, dates or times: {', '.join(left)}")
    label = label_of(options, first)
    weight = "" if options.weight is None else weight_in(options, first)
    inputs_of(options, first, label, weight, False)  # which refuses names
    values = source.column(label)
    missing = missing_in(values)
    rows, absent = np.flatnonzero(~missing), texts_of_missing(values, missing)
    if absent:
        said.append(said_of_unlabelled(absent))
    values = values[rows]
    task = settings.task_for(options.task, options.loss)
    with in_file(rows):
        told = Label.learn(label, values, task, options.decimal, absent)
        targets, _ = told.encode(values, options.decimal)
    if options.validation is None:
        validation = min(validation, _VALIDATION_ROWS / len(rows))
    groups = targets if told.classes else np.zeros(len(rows), np.int64)
    parts = split(groups, validation, test, seed)
    if not told.classes:
        told = told.scaled_by(targets[parts[0]])
    sample = _drawn(files, rows[parts[0]], seed)
    inputs, choices = inputs_of(
        options, table_of(files, list(first.columns), sample), label, weight, False
    )
    features, more = preparation.learn(inputs, choices)
    said += said_of_label(told, values, options.decimal, task)
    said += said_of_parts(parts, validation, test)
    if len(sample) < len(parts[0]):
        said.append(
            f"what becomes of the columns is learnt from {len(sample)} of {len(parts[0])} rows to "
            "train on, from all over the files"
        )
    said += features.describe() + more
    names, digest = tuple(first.columns), digest_of(targets)
    plan = Plan(names, False, len(rows), validation, test, seed, weight, digest)
    return Prepared(Table({}, len(rows), False, rows), told, features, plan, targets, len(parts[0]))


def _drawn(files: TableFiles, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return some of the rows to train on, in order, of row groups from all over the files."""
    import numpy as np

    most = max(_LEAST_LEARNT, min(_LEARNT, _CELLS // len(files.columns)))
    count = len(files.groups)
    if count > _GROUPS:
        chosen = np.unique(np.linspace(0, count - 1, _GROUPS).astype(np.int64))
        among = np.isin(np.searchsorted(files.edges, rows, "right") - 1, chosen)
        if among.any():
            rows = rows[among]
    if len(rows) <= most:
        return rows
    random = np.random.default_rng([seed, 0x6C65726E])  # ASCII "lern": apart from other draws
    return np.sort(random.choice(rows, most, replace=False))


class StreamedParts:
    """The rows of a training, as `fastnn.cli.rows.Parts`; those to train on stay in their files.

    Attributes
    ----------
    rows
        How many have a label.
    places
        The numbers of these in the files, from 0.
    """

    def __init__(
        self, model: TableModel, source: Source, options: argparse.Namespace, said: list[str]
    ) -> None:
        import numpy as np

        from fastnn.cli.model import remarks, weights_of
        from fastnn.tabular.label import missing_in
        from fastnn.tabular.preparation import Columns
        from fastnn.tabular.table import Table, in_file, listed

        plan, prepared = model.plan, model.preparation
        if not isinstance(prepared, Columns) or prepared.numbered:
            raise InvalidInput(
                "the model was trained on a table without names, and the columns of Parquet and "
                "Arrow files have names; pass data such as those, or train a new model"
            )
        needed = [*prepared.names, model.label.name, *([plan.weight] if plan.weight else [])]
        if absent := [name for name in needed if name not in source.names]:
            raise InvalidInput(f"the data have no column {listed(absent)}, which the model needs")
        values = source.column(model.label.name)
        self.places = np.flatnonzero(~missing_in(values))
        self._model, self._source, self._decimal = model, source, options.decimal
        self.rows, self.weights = len(self.places), None
        with in_file(self.places):
            targets, new = model.targets(values[self.places], options.decimal, said)
            if plan.weight:
                weights = Table({plan.weight: source.column(plan.weight)[self.places]}, self.rows)
                self.weights = weights_of(weights, plan.weight, options.decimal)
            self.y = outcomes_of(model, targets)
        if new:
            raise InvalidInput(
                f"the label has {len(new)} classes that the model does not know, such as "
                f"{next(iter(new))!r}; train a new model for them"
            )
        self.targets = targets
        groups = targets if model.label.classes else np.zeros(self.rows, np.int64)
        self.train, self.validation, self.test = split(
            groups, plan.validation, plan.test, plan.seed
        )
        check_weights(plan.weight, self.weights, self.train, self.validation, self.test)
        self._training = self._prepared(self.train)
        _check_groups(self._training, source)
        source.let_go()
        self._training.looked_through()
        said += remarks(self._training.met, prepared, len(self.train))
        self._held: dict[int, Any] = {}

    def of(self, rows: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Return features, targets and weights of a part."""
        X = self._training if rows is self.train else self.features(rows)[0]
        return X, self.y[rows], None if self.weights is None else self.weights[rows]

    def features(self, part: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return the features of a part to measure on, and its rows: of those to train on, some."""
        from fastnn.inputs.memory import available_bytes, readable

        if part is self.train:
            part = part[:: -(-len(part) // _VALIDATION_ROWS)]
        if id(part) not in self._held:
            found = self._prepared(part)
            needed, free = len(found) * found.row_bytes, available_bytes()
            if needed > free:
                raise InvalidInput(
                    f"{len(part)} rows that are left out take {readable(needed)} of memory, of "
                    f"which there are {readable(free)}; pass a smaller --validation or --test"
                )
            self._held[id(part)] = part, found.whole()
        return self._held[id(part)][1], part

    def _prepared(self, part: np.ndarray) -> Any:
        import numpy as np

        from fastnn.tabular.prepared_rows import PreparedRows

        chosen = np.zeros(len(self._source.files), bool)
        chosen[self.places[part]] = True
        model: Any = self._model
        return PreparedRows(self._source.files, model.preparation, chosen, self._decimal)


def _check_groups(rows: Any, source: Source) -> None:
    """Raise `InvalidInput` where a row group, which is decoded as a whole, takes too much."""
    from fastnn.inputs.memory import available_bytes, readable

    largest, free = int(rows.groups.max()), available_bytes()
    needed = 2 * largest * rows.row_bytes  # the one that is trained on, and the next
    if needed > free:
        raise InvalidInput(
            f"two row groups of {largest} rows, which are decoded as a whole, take "
            f"{readable(needed)} of memory, of which there are {readable(free)}; write the table "
            "with smaller ones, such as row_group_size=50_000"
        )
