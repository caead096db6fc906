"""What the network has to answer: which task a label is, its words, and how they are coded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.tabular.categories import MOSTLY
from fastnn.tabular.dates import CLOCK, date_format
from fastnn.tabular.deviations import in_deviations, mean_and_deviation, of_deviations
from fastnn.tabular.durations import duration_format
from fastnn.tabular.hints import date_hint, number_hint
from fastnn.tabular.rules import number_or_truth
from fastnn.tabular.spelling import meant, shortest, word_of_text
from fastnn.tabular.table import WrongCell, cell, counted, listed
from fastnn.tabular.words import code_among, is_missing, number, read_cells

TASKS = ("regression", "classification")
# Whole numbers of no more different values than this are classes, if each is there this often.
MOST_NUMBER_CLASSES, LEAST_ROWS_A_CLASS = 20, 5
MOST_CLASSES = 10_000
_MAKE_NUMBERS = "make a number of each first, such as days, hours or seconds from one moment on"


@dataclass(frozen=True)
class Label:
    """The column to predict.

    Attributes
    ----------
    name
        Of the column.
    classes
        The words of the classes in the order of their indices; none for a regression.
    mean, scale
        Of the numbers of a regression, which the network learns as (y - mean) / scale.
    """

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def task(self) -> str:
        """Which task it is, in a word or two."""
        if not self.classes:
            return "regression"
        return "binary" if len(self.classes) == 2 else f"{len(self.classes)} classes"

    @classmethod
    def learn(
        cls,
        name: str,
        values: np.ndarray,
        task: str | None = None,
        decimal: str = ".",
        absent: Mapping[str, int] | None = None,
    ) -> Self:
        """Return the label that some values are.

        Parameters
        ----------
        values
            (rows,), none of them missing.
        task
            One of `TASKS`, or None to infer it: text and bool are classes, and so are whole numbers
            of few different values; other numbers are a regression.
        absent
            How often each text stands for no label in other rows, as `texts_of_missing`.

        Raises
        ------
        InvalidInput
            One class only, no numbers for a regression, more classes than anyone wants, dates,
            times or durations that are no few classes, or a few cells of another kind among numbers
            that are a regression.
        """
        why = why_missing(absent or {})
        if not len(values):
            raise InvalidInput(
                f"column {name!r}, the label, has no value in any row{': ' * bool(why)}{why}"
            )
        lacking = sum((absent or {}).values())
        those = " that has one" if lacking else ""
        others = f"; {counted(lacking, 'other row')} without a label{': ' * bool(why)}{why}"
        others *= bool(lacking)
        if values.dtype.kind in "mM":
            what, unit = ("dates", "days") if values.dtype.kind == "M" else ("durations", "seconds")
            raise InvalidInput(
                f"column {name!r}, the label, has {what}; make a number of them first, such as "
                f"{unit}"
            )
        numbers, row = numbers_of(values, decimal)
        if task is None and row is not None:
            _check_all_numbers(name, values, row, numbers, decimal)
            _check_no_dates(name, values)
        if task is None:
            words = row is not None or values.dtype == bool or bool(code_among(values)[0])
            classes = words or _few(numbers)
            task = "classification" if classes else "regression"
            if not words and not (numbers != numbers[0]).any():
                task = "regression"  # of which there is more to say than that it is one class
        if task == "regression":
            if row is not None:
                hint = number_hint(values, decimal)
                if not hint and (what := moments_in(values)):
                    hint = f"its values are {what}: {_MAKE_NUMBERS}"
                raise WrongCell(
                    row,
                    f"column {name!r}, the label: {cell(values[row])} where a number is due "
                    f"for a regression; {hint or 'correct it, or leave --task and --loss out'}",
                )
            if not (numbers != numbers[0]).any():
                raise InvalidInput(
                    f"column {name!r}, the label, is {numbers[0]:g} in every row{those}: there "
                    f"is nothing to learn{others}"
                )
            return cls(name).scaled_by(numbers)
        counts = Counter(words_of(values))
        if len(counts) == 1:
            which = f"all {counted(len(values), 'row')}"
            if lacking:
                which = f"{len(values)} of {len(values) + lacking} rows"
            raise InvalidInput(
                f"column {name!r}, the label, has one class only, {next(iter(counts))!r}, in "
                f"{which}; there must be at least two{others}"
            )
        hint = number_hint(values, decimal) if row is not None else ""
        if len(counts) > MOST_CLASSES or (len(counts) > 50 and len(counts) > 0.5 * len(values)):
            raise InvalidInput(
                f"column {name!r}, the label, has {len(counts)} different values in "
                f"{counted(len(values), 'row')}, such as {listed(sorted(counts), 3)}: these are "
                f"no classes; {hint or 'is it the right column?'}"
            )
        return cls(name, tuple(sorted(counts, key=_order)))

    def encode(self, values: np.ndarray, decimal: str = ".") -> tuple[np.ndarray, Counter[str]]:
        """Return targets (rows,), and what is no known class, of which the target is -1.

        Classes give their index, int64. Numbers stay as they are, float64: `standard` scales them.
        """
        if not self.classes:
            numbers, row = numbers_of(values, decimal)
            if row is not None:
                raise WrongCell(
                    row,
                    f"column {self.name!r}, the label: {cell(values[row])} where a number is due",
                )
            return numbers, Counter()
        known = {word: index for index, word in enumerate(self.classes)}
        words = words_of(values, known)
        unknown = Counter(word for word in words if word not in known)
        return np.array([known.get(word, -1) for word in words], np.int64), unknown

    def forgiving(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Return values with the words of the classes, where others differ in a way that is plain.

        That is a full stop at the end, or case: files to test with have such differences, as that
        of UCI Adult does. It is another text of the same number, as 1 is of +1, and 0 and 1 where
        the classes are words for false and true, too, and the other way round. What could be
        several classes is none. Beside it, an example of what was read as what, "" where nothing
        was.
        """
        if not self.classes:
            return values, ""
        words = words_of(values, frozenset(self.classes))
        new = sorted({*words}.difference(self.classes))
        alike: dict[str, list[str]] = {}
        for word in self.classes:
            alike.setdefault(_bare(word), []).append(word)
        bare = {word: _bare(word) for word in new}
        spelt = meant({*bare.values()} - alike.keys(), [_bare(word) for word in self.classes])
        found = {word: alike.get(spelt.get(same, same), []) for word, same in bare.items()}
        changed = {word: other[0] for word, other in found.items() if len(other) == 1}
        if not changed:
            return values, ""
        read = np.array([changed.get(word, word) for word in words], object)
        word, other = next(iter(changed.items()))
        return read, f"{word!r} is read as {other!r}"

    @property
    def alike(self) -> tuple[str, ...]:
        """The first classes that differ in case or a full stop at the end alone; () if none do."""
        found: dict[str, list[str]] = {}
        for word in self.classes:
            found.setdefault(_bare(word), []).append(word)
        return next((tuple(words) for words in found.values() if len(words) > 1), ())

    def scaled_by(self, numbers: np.ndarray) -> Self:
        """Return the label of a regression with the mean and the deviation of some numbers."""
        mean, scale = mean_and_deviation(numbers)
        return type(self)(self.name, (), mean, scale or 1.0)

    def standard(self, numbers: np.ndarray) -> np.ndarray:
        """Return the numbers of a regression as the network learns them."""
        return in_deviations(numbers, self.mean, self.scale)

    def undo(self, outputs: np.ndarray) -> np.ndarray:
        """Return numbers as they are in files from what the network gives."""
        return of_deviations(outputs.astype(np.float64), self.mean, self.scale)

    def to_plain(self) -> dict[str, Any]:
        """Return it as `json` can write it."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "mean": self.mean,
            "scale": self.scale,
        }

    @classmethod
    def from_plain(cls, values: Any) -> Self:
        """Return the label that `to_plain` gave, or raise `CorruptFile`."""
        kinds = {"name": str, "classes": list, "mean": float, "scale": float}
        if (
            not isinstance(values, dict)
            or values.keys() != kinds.keys()
            or any(type(values[name]) is not kind for name, kind in kinds.items())
            or any(type(word) is not str for word in values["classes"])
            or len(values["classes"]) == 1
            or len(set(values["classes"])) != len(values["classes"])
            or not values["scale"] > 0
        ):
            raise CorruptFile(f"the label in the file cannot be {shown(values):.80}")
        return cls(values["name"], tuple(values["classes"]), values["mean"], values["scale"])


def _check_all_numbers(
    name: str, values: np.ndarray, row: int, numbers: np.ndarray, decimal: str
) -> None:
    """Raise `WrongCell` for a cell that is none where nearly all are numbers of a regression."""
    right = numbers[np.isfinite(numbers)]
    if len(right) < MOSTLY * len(values) or _few(right):
        return
    hint = number_hint(values, decimal)
    raise WrongCell(
        row,
        f"column {name!r}, the label: {cell(values[row])} where numbers are due, as in "
        f"{counted(len(right), 'other row')}; "
        f"{hint or 'correct it, leave the cell empty if it is unknown'}, or pass "
        "--task classification if these are classes",
    )


def _check_no_dates(name: str, values: np.ndarray) -> None:
    """Raise `InvalidInput` for text of dates, times or durations, unless few stand for classes."""
    what = moments_in(values)
    if what and not _often_each(len(set(words_of(values))), len(values)):
        raise InvalidInput(
            f"column {name!r}, the label, has {what}, such as {shown(values[0]):.60}; "
            f"{_MAKE_NUMBERS}, or pass --task classification if these are classes"
        )


def moments_in(values: np.ndarray) -> str:
    """Return whether text is of "durations", "times of day" or "dates", nearly all of it, or "".

    >>> moments_in(np.array(["2024-01-31", "2024-02-01"], object))
    'dates'
    """
    if values.dtype != object:
        return ""
    texts = Counter(map(str, values.tolist()))
    if duration_format(texts, MOSTLY)[0]:
        return "durations"
    form, _ = date_format(texts, MOSTLY)
    if form:
        return "times of day" if form == CLOCK else "dates"
    return "dates" if date_hint(values) else ""


def missing_in(values: np.ndarray) -> np.ndarray:
    """Return where a column has no value."""
    if values.dtype == object:
        absent = {text: is_missing(text) for text in set(values.tolist())}
        return np.array([absent[text] for text in values.tolist()], bool)
    found: np.ndarray = values != values  # NaN and NaT
    return found


def texts_of_missing(values: np.ndarray, absent: np.ndarray) -> Counter[str]:
    """Return how often each text stands for no value where there is none; "" for an empty cell."""
    return Counter(each if isinstance(each, str) else "" for each in values[absent].tolist())


def why_missing(absent: Mapping[str, int]) -> str:
    """Return which words of a label are no classes, "" where no word is there.

    >>> why_missing({"NA": 3, "": 1})
    "'NA' stands for a missing value; if it is a class, write it otherwise"
    """
    words = sorted({word.strip() for word in absent} - {""})
    if len(words) > 1:
        return f"{_stand_for(words)}; if they are classes, write them otherwise"
    return f"{_stand_for(words)}; if it is a class, write it otherwise" if words else ""


def stand_for_missing(values: np.ndarray, absent: np.ndarray) -> str:
    """Return which words, such as could be categories, stand for what is absent; "" where none."""
    words = {text.strip() for text in texts_of_missing(values, absent)}
    words = {word for word in words if any(map(str.isalpha, word))}
    return _stand_for(sorted(words)) if words else ""


def _stand_for(words: Sequence[str]) -> str:
    return f"{listed(words)} {'stands' if len(words) == 1 else 'stand'} for a missing value"


def numbers_of(values: np.ndarray, decimal: str = ".") -> tuple[np.ndarray, int | None]:
    """Return a column as numbers, float64, and the first row that is none, or None."""
    if values.dtype == object:
        return read_cells(values, lambda text: number(text, decimal), np.nan, np.float64)
    if values.dtype.kind in "mM":
        return np.full(len(values), np.nan), 0 if len(values) else None
    numbers = values.astype(np.float64)
    wrong = np.isinf(numbers)
    return numbers, int(wrong.argmax()) if wrong.any() else None


def truths_of(values: np.ndarray) -> np.ndarray | None:
    """Return a column of words like true and false as 0 and 1, NaN where missing; None: others."""
    found, row = read_cells(values, lambda text: number_or_truth(text, True), np.nan, np.float64)
    return found if row is None else None


def words_of(values: np.ndarray, classes: Collection[str] = ()) -> list[str]:
    """Return classes as text: stripped, and numbers in the shortest way, so that 1.0 is "1".

    Text that is one of some classes stays as it is.
    """
    if values.dtype == object:
        known = {text: str(text).strip() for text in set(values.tolist())}
        known = {
            text: word if word in classes else word_of_text(word) for text, word in known.items()
        }
        return [known[text] for text in values.tolist()]
    if values.dtype == bool:
        return [str(value) for value in values.tolist()]
    numbers, places = np.unique(values.astype(np.float64), return_inverse=True)
    words = np.empty(len(numbers), object)
    words[:] = [shortest(value) for value in numbers.tolist()]
    found: list[str] = words[places].tolist()
    return found


def _few(numbers: np.ndarray) -> bool:
    """Return whether numbers are classes: whole, of few different values, each there often."""
    different = np.unique(numbers)
    if len(different) <= 2:
        return True
    whole = bool((different == np.round(different)).all())
    return whole and _often_each(len(different), len(numbers))


def _often_each(different: int, rows: int) -> bool:
    """Return whether so many different values may be classes, by how often each is there."""
    return different <= min(MOST_NUMBER_CLASSES, rows // LEAST_ROWS_A_CLASS)


def _bare(word: str) -> str:
    return word.strip().rstrip(".").strip().lower()


def _order(word: str) -> tuple[int, float, str]:
    """Return what numbers are ordered by as numbers, and before all words."""
    try:
        return 0, number(word), word
    except ValueError:
        return 1, 0.0, word
