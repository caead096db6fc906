"""Which words of a column are categories: the frequent ones, and one for all that are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.tabular.spelling import meant

MOST_CATEGORIES = 1000
MOSTLY = 0.9  # share of cells from which on the others are mistakes
LEAST_NAMED = 20  # rows, from which on text that differs in nearly all of them is a name


class Kept(NamedTuple):
    """What is kept of the words of a column.

    Attributes
    ----------
    words
        The categories, the most frequent first, equals by the alphabet.
    gaps
        Whether missing ones are a category, after all words.
    other
        Whether rare ones are, which is the last and has new ones, too.
    rare
        Words that are no categories by themselves.
    rows
        How many rows have one of these.
    """

    words: tuple[str, ...]
    gaps: bool
    other: bool
    rare: int = 0
    rows: int = 0

    @property
    def codes(self) -> int:
        """How many categories there are in all."""
        return len(self.words) + self.gaps + self.other


def least_rows(rows: int, most: int) -> int:
    """Return how many rows a word needs to be a category: one in 500, at most so many.

    >>> least_rows(100, 4), least_rows(1500, 4), least_rows(10**6, 4)
    (1, 3, 4)
    """
    return max(1, min(most, rows // 500))


def kept_words(counts: Mapping[str, int], missing: int, least: int) -> Kept:
    """Return which words are categories, by how many rows have each.

    >>> kept_words({"a": 9, "b": 1, "c": 1}, 0, 2)
    Kept(words=('a',), gaps=False, other=True, rare=2, rows=2)
    >>> kept_words({"a": 9, "b": 1}, 3, 2)
    Kept(words=('a', 'b'), gaps=True, other=False, rare=0, rows=0)

    Parameters
    ----------
    missing
        Rows without a word.
    least
        The fewest rows of a category; a single word of fewer is one, though, since nothing would be
        gained by another name for it.
    """
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    kept = [word for word in ordered if counts[word] >= least][:MOST_CATEGORIES]
    if len(ordered) - len(kept) == 1 and len(kept) < MOST_CATEGORIES:
        kept = ordered
    rare = ordered[len(kept) :]
    rows = sum(counts[word] for word in rare)
    return Kept(tuple(kept), missing > 0, bool(rare), len(rare), rows)


def codes_of(words: Sequence[Any], kept: Kept, absent: Any) -> tuple[np.ndarray, set[str]]:
    """Return the code of each word (rows,), int64, -1 for one that has none, and the new words.

    A word that is a category written otherwise is no new one.

    Parameters
    ----------
    absent
        What stands in the place of a missing one.
    """
    known: dict[Any, int] = {word: code for code, word in enumerate(kept.words)}
    known[absent] = len(kept.words) if kept.gaps else -1
    fallback = kept.codes - 1 if kept.other else -1
    others = set(words) - known.keys()
    spelt = meant(others, kept.words)
    known |= {word: known[category] for word, category in spelt.items()}
    codes = np.array([known.get(word, fallback) for word in words], np.int64)
    return codes, others - spelt.keys()


def is_named(counts: Mapping[str, int], rows: int) -> bool:
    """Return whether text differs in nearly all rows, so that it names them.

    >>> is_named(dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 1), 26), is_named({"a": 26}, 26)
    (True, False)
    """
    return rows >= LEAST_NAMED and len(counts) > MOSTLY * rows
