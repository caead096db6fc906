"""How a whole table becomes features: a rule for each column, or one scale for a matrix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.tabular.categories import LEAST_NAMED, MOSTLY, least_rows
from fastnn.tabular.cells import Cells
from fastnn.tabular.columns import is_absent
from fastnn.tabular.dates import CLOCK, DATE_FORMATS, ISO, date_format
from fastnn.tabular.durations import HOURS, duration_format
from fastnn.tabular.hints import compact_date, number_hint, text_hint
from fastnn.tabular.label import missing_in, numbers_of, stand_for_missing, truths_of, words_of
from fastnn.tabular.matrices import dense_in_units, sparse_in_units
from fastnn.tabular.met import Met
from fastnn.tabular.rules import (
    CategoryRule,
    DateRule,
    DurationRule,
    Found,
    NumberRule,
    Rule,
    check_zones,
    dates_of,
    durations_of,
    from_plain,
    to_plain,
)
from fastnn.tabular.table import Matrix, Table, WrongCell, counted, in_file, listed, naming, offered
from fastnn.tabular.words import code_among, is_infinite
from fastnn.tabular.zones import WITH, WITHOUT

_NAMES = re.compile(
    r"(.*[_ .-])?(id|uuid|guid|index|row|rownum|nr|no)|unnamed: 0|__index_level_\d+__|", re.I
)
# Of rows without any zero a sparse matrix has more to store than a dense one.
DENSEST = 0.4
_WARNING = "warning: "


@dataclass(frozen=True)
class Choices:
    """What a user says of columns that are otherwise found out.

    Attributes
    ----------
    categories, numbers
        Columns that are to be this.
    keep
        Columns that are not to be dropped as names of rows.
    decimal
        The decimal mark.
    day_first
        Whether 01/02/2024 is a day in February, where all dates of a column could be either.
    durations
        Columns of durations, though they could be times of day.
    rare
        Rows, fewer of which are too few for a category in a large table.
    """

    categories: Collection[str] = ()
    numbers: Collection[str] = ()
    keep: Collection[str] = ()
    decimal: str = "."
    day_first: bool = False
    rare: int = 10
    durations: Collection[str] = ()


@dataclass(frozen=True)
class Columns:
    """The preparation of a `Table`.

    Attributes
    ----------
    rules
        One for each column that is used.
    dropped
        Why others are not, by name.
    numbered
        Whether the columns have no names of their own.
    """

    rules: tuple[Rule, ...]
    dropped: dict[str, str]
    numbered: bool

    @classmethod
    def learn(
        cls, table: Table, choices: Choices, rows: np.ndarray | None = None
    ) -> tuple[Self, list[str]]:
        """Return the preparation for a table of features, and what is to be said of it.

        Parameters
        ----------
        rows
            Those to train on, from which alone all numbers and categories are learnt; None: all.
            What kind a column is, such as dates day first, all rows tell.

        Raises
        ------
        InvalidInput
            No column to learn from, or text among the numbers of one.
        """
        rules: list[Rule] = []
        dropped: dict[str, str] = {}
        said: list[str] = []
        for name, values in table.columns.items():
            with in_file(table.places):
                rule = _learn(name, values, table, rows, choices, said)
            if isinstance(rule, str):
                dropped[name] = rule
            else:
                rules.append(rule)
        if not rules:
            reasons = [f"{name!r} {why}" for name, why in dropped.items()] or ["there is none"]
            reasons += [each.removeprefix(_WARNING) for each in said if each.startswith(_WARNING)]
            raise InvalidInput(f"no column is left to learn from: {'; '.join(reasons)}")
        return cls(tuple(rules), dropped, table.numbered), said

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a table has to have."""
        return tuple(rule.name for rule in self.rules)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features: those of numbers and dates, then those of categories."""
        rules = (*self._dense(), *self._categories())
        return tuple(name for rule in rules for name in rule.features)

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.features)

    @property
    def sparse(self) -> bool:
        """Whether so many features are 0 that a sparse matrix is the smaller one."""
        stored = sum(len(rule.features) for rule in self._dense()) + len(list(self._categories()))
        return stored <= DENSEST * self.width

    def _dense(self) -> Iterator[NumberRule | DateRule | DurationRule]:
        return (rule for rule in self.rules if not isinstance(rule, CategoryRule))

    def _categories(self) -> Iterator[CategoryRule]:
        return (rule for rule in self.rules if isinstance(rule, CategoryRule))

    def apply(
        self, data: Table | Matrix, sparse: bool | None = None, decimal: str = "."
    ) -> tuple[Any, Met]:
        """Return the features (rows, features), float32, an array or a CSR, and what was met.

        Parameters
        ----------
        sparse
            Whether they may be sparse; None: where that is smaller.

        Raises
        ------
        InvalidInput
            A column is missing, or has what its rule cannot read.
        """
        data, met = self._checked(data)
        blocks = []
        for rule in self._dense():
            with in_file(data.places):
                block, found = rule.apply(data.columns[rule.name], decimal)
            blocks.append(block)
            met.add(rule.name, found)
        dense = np.concatenate(blocks, axis=1) if blocks else np.zeros((data.rows, 0), np.float32)
        codes, starts, width = [], [], dense.shape[1]
        for category in self._categories():
            code, found = category.codes(data.columns[category.name])
            codes.append(code)
            starts.append(width)
            width += len(category.features)
            met.add(category.name, found)
        if not codes:
            return dense, met
        places = np.stack(codes, axis=1)
        absent_places = places < 0
        places += np.array(starts)
        if self.sparse if sparse is None else sparse:
            return _compressed(dense, places, absent_places, width), met
        whole = np.zeros((data.rows, width), np.float32)
        whole[:, : dense.shape[1]] = dense
        rows, columns = np.nonzero(~absent_places)
        whole[rows, places[rows, columns]] = 1.0
        return whole, met

    def read(self, data: Table | Matrix, decimal: str = ".") -> tuple[Cells, Met]:
        """Return the columns as they are read, for other features than these, and what was met.

        Numbers, and true and false as 1 and 0, are float64; dates datetime64; durations
        timedelta64; words and times of day objects.

        Raises
        ------
        InvalidInput
            As of `apply`.
        """
        data, met = self._checked(data)
        columns = []
        for rule in self.rules:
            with in_file(data.places):
                values = rule.read(data.columns[rule.name], decimal)
            if isinstance(rule, DateRule) and rule.form == CLOCK:
                moments = [None if each is None else each.time() for each in values.tolist()]
                values = np.array(moments, object)
            columns.append(values)
            if isinstance(rule, CategoryRule):
                met.add(rule.name, rule.codes(values)[1])
            else:
                met.add(rule.name, Found(sum(map(is_absent, values.tolist()))))
        categorical = tuple(isinstance(rule, CategoryRule) for rule in self.rules)
        labels = None if self.numbered else self.names
        names = tuple(map(repr, self.names))
        zones = tuple(
            rule.zone if isinstance(rule, DateRule) and rule.form != CLOCK else ""
            for rule in self.rules
        )
        return Cells(tuple(columns), names, categorical, data.rows, labels, zones), met

    def _checked(self, data: Table | Matrix) -> tuple[Table, Met]:
        """Return a table that has all columns, and those that it has beside them."""
        if isinstance(data, Matrix):
            raise InvalidInput(
                "the data are one matrix without names, but the model was trained on a table with "
                f"the columns {listed(self.names)}"
            )
        absent = [name for name in self.names if name not in data.columns]
        if absent:
            known = [name for name in data.columns if name not in self.names]
            raise InvalidInput(
                f"{counted(len(absent), 'column')} that the model needs "
                f"{'is' if len(absent) == 1 else 'are'} not there: {listed(absent)}"
                f"{offered(absent[0], known) if known else ''}"
            )
        for rule in self.rules:
            if isinstance(rule, DateRule):
                with in_file(data.places):
                    rule.check_zone(data.columns[rule.name], rule.name in data.zoned)
        return data, Met(ignored=tuple(name for name in data.columns if name not in self.names))

    def describe(self) -> list[str]:
        """Return what becomes of the columns, a line for each kind."""
        lines = []
        for kind, what, plural in (
            ("number", "number", "numbers"),
            ("truth", "true or false", "true or false"),
            ("date", "date", "dates"),
            ("time", "time of day", "times of day"),
            ("duration", "duration", "durations"),
            ("category", "category", "categories"),
        ):
            names = [rule.name for rule in self.rules if _kind(rule) == kind]
            if names:
                lines.append(f"{counted(len(names), what, plural)}: {listed(names, 6)}")
        if self.dropped:
            reasons: dict[str, list[str]] = {}
            for name, why in self.dropped.items():
                reasons.setdefault(why, []).append(name)
            lines += [
                f"{counted(len(names), 'column')} dropped, {why}: {listed(names, 6)}"
                for why, names in reasons.items()
            ]
        return lines

    def to_plain(self) -> dict[str, Any]:
        """Return it as `json` can write it."""
        return {
            "kind": "columns",
            "rules": [to_plain(rule) for rule in self.rules],
            "dropped": self.dropped,
            "numbered": self.numbered,
        }


def _kind(rule: Rule) -> str:
    if isinstance(rule, DateRule) and rule.form == CLOCK:
        return "time"
    return "truth" if isinstance(rule, NumberRule) and rule.truth else rule.kind


def _compressed(dense: np.ndarray, places: np.ndarray, absent: np.ndarray, width: int) -> Any:
    """Return a CSR of some dense columns and of a 1 in each of some places of every row."""
    from scipy.sparse import csr_array

    rows, first = dense.shape
    numbers = np.concatenate([dense, np.ones(places.shape, np.float32)], axis=1)
    columns = np.concatenate([np.broadcast_to(np.arange(first), dense.shape), places], axis=1)
    stored = numbers != 0
    stored[:, first:] &= ~absent
    starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    kind = np.int32 if starts[-1] < 2**31 and width < 2**31 else np.int64
    return csr_array(
        (numbers[stored], columns[stored].astype(kind), starts.astype(kind)), shape=(rows, width)
    )


def _learn(
    name: str,
    values: np.ndarray,
    table: Table,
    rows: np.ndarray | None,
    choices: Choices,
    said: list[str],
) -> Rule | str:
    """Return the rule of a column, or why it is dropped."""
    present = ~missing_in(values)
    if not present.any():
        return "without any value"
    read = _read(name, values, present, table, choices, said)
    if isinstance(read, str):
        return read
    seen = slice(None) if rows is None else rows
    trained = "" if rows is None else " to train on"
    if not present[seen].any():
        return f"without any value in the rows{trained}"
    column = read.values[seen]
    rule: Rule | None
    if read.kind == "category":
        rule = CategoryRule.learn(name, column, least_rows(len(column), choices.rare))
        if rule is not None and rule.other:
            rare = len(set(words_of(column[present[seen]]))) - len(rule.categories)
            text = counted(rare, "rare category", "rare categories")
            said.append(f"{name!r}: {text} count as one")
    elif read.kind == "date":
        rule = DateRule.learn(name, column, read.form, read.zone)
    elif read.kind == "duration":
        rule = DurationRule.learn(name, column, read.form)
    else:
        rule = NumberRule.learn(name, column, truth=read.kind == "truth")
    if rule is None:
        return f"{_why_none(column[present[seen]], read.kind)}{trained}"
    if read.remark:
        said.append(read.remark)
    if not present[seen].all():
        filled = "a category of its own"
        if not isinstance(rule, CategoryRule):
            median = "" if isinstance(rule, DateRule) else f" {rule.fill:.6g}"
            filled = f"filled with the median{median}, and flagged"
        missing = len(values) - int(present.sum())
        words = stand_for_missing(values, ~present) if isinstance(rule, CategoryRule) else ""
        said.append(
            f"{name!r}: {counted(missing, 'value')} missing, {filled}{'; ' * bool(words)}{words}"
        )
    return rule


def _why_none(values: np.ndarray, kind: str) -> str:
    """Return why there is nothing to learn from the values of a column, none being missing."""
    if kind == "category" and len(set(words_of(values))) > 1:
        return "of rare categories alone"
    if kind != "category" and (values != values[0]).any():
        return "of numbers too alike to tell apart"
    return "the same in all rows"


@dataclass(frozen=True, eq=False)
class _Read:
    """A column, once it is known what it is.

    That is number, truth, date or duration, of a form, or category; dates with a zone or without.
    """

    kind: str
    values: np.ndarray
    form: str = ISO
    remark: str = ""
    zone: str = ""


def _read(
    name: str,
    values: np.ndarray,
    present: np.ndarray,
    table: Table,
    choices: Choices,
    said: list[str],
) -> _Read | str:
    """Return what a column is, or why it is dropped."""
    if name in choices.categories:
        return _Read("category", values)
    if values.dtype == bool:
        return _Read("truth", values)
    if values.dtype.kind == "M":
        return _Read("date", values, zone=WITH if name in table.zoned else WITHOUT)
    if values.dtype.kind == "m":
        return _Read("duration", values, HOURS)
    if name in choices.durations:
        return _as_durations(name, values, present, choices, said)
    numbers, row = numbers_of(values, choices.decimal)
    named = name not in choices.keep and table.rows >= LEAST_NAMED
    remark = ""
    if row is None:
        whole = numbers[present]
        if (
            named
            and not table.numbered
            and _NAMES.fullmatch(name)
            and len(np.unique(whole)) == table.rows
            and bool((whole == np.round(whole)).all())
        ):
            return "a number of the row"
        code, why = ("", "") if name in choices.numbers else code_among(values)
        if not code:
            if name not in choices.numbers and (example := compact_date(numbers)):
                said.append(
                    f"{_WARNING}{name!r} is read as numbers: all values seem to be dates, such as "
                    f"{example}: write them as {DATE_FORMATS[ISO]}, or pass "
                    f"{naming('--number', name)}"
                )
            return _Read("number", numbers)
        remark = (
            f"{name!r}: a category, since {code!r} {why}; {naming('--number', name)} "
            "makes it a number"
        )
    elif values.dtype != object:
        raise WrongCell(
            row,
            f"column {name!r}: {values[row]} is no number to learn from; leave the cell empty if "
            "it is unknown",
        )
    else:
        _check_numbers(name, values, row, ~np.isnan(numbers), present, choices)
        truths = truths_of(values)
        if truths is not None:
            return _Read("truth", truths)
        if duration_format(_counts(values, present), MOSTLY)[0]:
            return _as_durations(name, values, present, choices, said)
        form, ambiguous, dates, zone = _dates(name, values, present, choices.day_first)
        if dates is not None:
            if ambiguous:
                one, other = ("day", "month") if choices.day_first else ("month", "day")
                advice = "" if choices.day_first else "; --day-first reads them so"
                text = f"dates are read as {DATE_FORMATS[form]}, {one} first, though {other} first"
                said.append(f"{name!r}: {text} fits{advice}")
            if form == CLOCK and duration_format(_counts(values, present), MOSTLY, True)[0]:
                said.append(f"{name!r}: times of day; {naming('--duration', name)} reads durations")
            return _Read("date", dates, form, zone=zone)
        if hint := text_hint(values, choices.decimal):
            other = f", or pass {naming('--category', name)} if these are names"
            if duration_format(_counts(values, present), MOSTLY, True)[0]:
                other = f", or pass {naming('--duration', name)} if these are durations{other}"
            said.append(f"{_WARNING}{name!r} is read as text: {hint}{other}")
    different = len(set(words_of(values[present])))
    if named and different > MOSTLY * table.rows:
        return "text that differs in nearly all rows"
    return _Read("category", values, remark=remark)


def _check_numbers(
    name: str,
    values: np.ndarray,
    row: int,
    read: np.ndarray,
    present: np.ndarray,
    choices: Choices,
) -> None:
    """Raise where a column is one of numbers, but for some texts of which the first is in `row`."""
    count = int(read.sum())
    infinite = sum(n for text, n in _counts(values, present).items() if is_infinite(text))
    if name not in choices.numbers and count + infinite < MOSTLY * present.sum():
        return
    hint = number_hint(values, choices.decimal)
    asked = f"as {naming('--number', name)} asks for" if name in choices.numbers else ""
    where = f"as in {counted(count, 'other row')}" if count else asked
    raise WrongCell(
        row,
        f"column {name!r}: {values[row]!r:.60} where numbers are due, {where}; "
        + (f"{hint}; or " if hint else "correct it, leave the cell empty if it is unknown, or ")
        + f"pass {naming('--category', name)} if these are names",
    )


def _counts(values: np.ndarray, present: np.ndarray) -> Counter[str]:
    return Counter(values[present].tolist())


def _as_durations(
    name: str, values: np.ndarray, present: np.ndarray, choices: Choices, said: list[str]
) -> _Read:
    """Return a column as durations.

    Raises
    ------
    InvalidInput
        Nearly all are durations, or are asked to be, but not all.
    """
    asked, asked_for = name in choices.durations, naming("--duration", name)
    if values.dtype != object:
        raise InvalidInput(
            f"{asked_for}: that column has numbers or dates, and durations are read from text; "
            "leave it out"
        )
    form, ambiguous = duration_format(_counts(values, present), 0.0, True)
    found, row = durations_of(values, form or HOURS)
    if row is not None:
        count = int((~np.isnat(found)).sum())
        where = f"as {asked_for} asks for"
        if not asked:
            where = f"as in {counted(count, 'other row')}"
        other = f"leave {asked_for} out" if asked else f"pass {naming('--category', name)}"
        raise WrongCell(
            row,
            f"column {name!r}: {values[row]!r:.60} where durations are due, {where}; correct it, "
            f"leave the cell empty if it is unknown, or {other} if these are names",
        )
    if ambiguous:
        said.append(
            f"{name!r}: durations of two numbers are read as minutes and seconds, such as 05:59, "
            "since others have hours before them"
        )
    return _Read("duration", found, form)


def _dates(
    name: str, values: np.ndarray, present: np.ndarray, day_first: bool
) -> tuple[str, bool, np.ndarray | None, str]:
    """Return the format of dates, whether another fits, and the dates; None: these are none.

    Beside them, whether they have a time zone.

    Raises
    ------
    WrongCell
        Nearly all are dates, but this is none, or has a zone where others have none.
    """
    texts = _counts(values, present)
    form, ambiguous = date_format(texts, MOSTLY, day_first)
    if not form:
        return "", False, None, ""
    dates, row, zones = dates_of(values, form)
    if row is not None:
        count = int((~np.isnat(dates)).sum())
        raise WrongCell(
            row,
            f"column {name!r}: {values[row]!r:.60} where dates are due, as in "
            f"{counted(count, 'other row')}; correct it, leave the cell empty if it is unknown, or "
            f"pass {naming('--category', name)} if these are names",
        )
    check_zones(name, values, zones)
    return form, ambiguous, dates, zones.zone


MOST_COLUMNS = 3_000_000  # whose scales are 80 MB of text


@dataclass(frozen=True, eq=False)
class Scaled:
    """The preparation of a `Matrix`: (X - mean) / scale, of which sparse ones are only divided.

    Attributes
    ----------
    mean, scale
        float64 (columns,).
    first
        The index of the first column in its files.
    """

    mean: np.ndarray
    scale: np.ndarray
    first: int

    @classmethod
    def learn(
        cls, matrix: Matrix, choices: Choices, rows: np.ndarray | None = None
    ) -> tuple[Self, list[str]]:
        """Return the preparation for a matrix, and what is to be said of it; as of `Columns`."""
        from fastnn.inputs.scaling import Scaling

        columns = matrix.X.shape[1]
        if columns > MOST_COLUMNS:
            raise InvalidInput(
                f"the data have {counted(columns, 'column')}, and the file of a model the scales "
                f"of {MOST_COLUMNS} at most; leave out columns, or number them anew, such as by a "
                "hash into fewer"
            )
        if matrix.X.dtype == np.uint8 and isinstance(matrix.X, np.ndarray):
            ones = np.ones(columns)
            return cls(0 * ones, 255 * ones, matrix.first), ["bytes are divided by 255"]
        if rows is not None:
            matrix = matrix.take(rows)
        if isinstance(matrix.X, np.ndarray):
            scaling = Scaling.fit(matrix.X)
            return cls(scaling.mean, scaling.scale, matrix.first), []
        # Zeros stay zeros; the largest of each column becomes 1.
        largest = abs(matrix.X).max(axis=0)
        scale = np.asarray(largest.todense(), np.float64).ravel()
        scale[scale == 0] = 1.0
        return cls(np.zeros(columns), scale, matrix.first), ["columns are divided by their largest"]

    @property
    def width(self) -> int:
        """How many features there are, of which names take long where they are millions."""
        return len(self.mean)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features: the numbers of the columns."""
        return tuple(str(self.first + index) for index in range(len(self.mean)))

    @property
    def dropped(self) -> dict[str, str]:
        """No column is dropped."""
        return {}

    def apply(
        self, data: Table | Matrix, sparse: bool | None = None, decimal: str = "."
    ) -> tuple[Any, Met]:
        """Return the features (rows, columns), float32, and what was met; as of `Columns`."""
        if isinstance(data, Table):
            raise InvalidInput(
                "the data are a table with names, but the model was trained on a matrix without; "
                "pass a .npz, .npy or svmlight file such as that"
            )
        X, columns = data.X, len(self.mean)
        dense = isinstance(X, np.ndarray)
        have = X.shape[1]
        if have != columns and dense:
            raise InvalidInput(
                f"the data have {counted(have, 'column')}, but the model was trained on {columns}"
            )
        if dense:
            with in_file(data.places):
                return dense_in_units(X, self.mean, self.scale, 1), Met()
        wide, ignored, remarks = data.in_order(columns, self.first)
        met = Met(ignored=ignored, remarks=remarks)
        if self.mean.any():  # a zero is no zero any more
            with in_file(data.places):
                return dense_in_units(wide.toarray(), self.mean, self.scale, self.first), met
        with in_file(data.places):
            wide.data = sparse_in_units(wide, self.scale, self.first)
        return (wide if sparse in (None, True) else wide.toarray()), met

    def describe(self) -> list[str]:
        """Return what becomes of the columns."""
        return [counted(len(self.mean), "number")]

    def to_plain(self) -> dict[str, Any]:
        """Return it as `json` can write it."""
        return {
            "kind": "scaled",
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "first": self.first,
        }


Preparation = Columns | Scaled


def learn(
    data: Table | Matrix, choices: Choices, rows: np.ndarray | None = None
) -> tuple[Preparation, list[str]]:
    """Return the preparation for data without their label, learnt from some rows or all.

    Beside it, what is to be said of it.
    """
    if isinstance(data, Matrix):
        return Scaled.learn(data, choices, rows)
    return Columns.learn(data, choices, rows)


def from_file(values: Any) -> Preparation:
    """Return the preparation that `to_plain` gave, or raise `CorruptFile`."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "columns" and values.keys() == {"kind", "rules", "dropped", "numbered"}:
        rules, dropped, numbered = values["rules"], values["dropped"], values["numbered"]
        if isinstance(rules, list) and isinstance(dropped, dict) and type(numbered) is bool:
            return Columns(tuple(map(from_plain, rules)), dropped, numbered)
    if kind == "scaled" and values.keys() == {"kind", "mean", "scale", "first"}:
        try:
            mean, scale = (np.array(values[name], np.float64) for name in ("mean", "scale"))
        except (TypeError, ValueError):
            mean = scale = np.zeros((0, 0))
        good = mean.ndim == 1 and mean.shape == scale.shape and bool((scale > 0).all())
        if good and np.isfinite(mean).all() and values["first"] in (0, 1):
            return Scaled(mean, scale, int(values["first"]))
    raise CorruptFile(f"the preparation in the file cannot be {shown(values):.80}")
