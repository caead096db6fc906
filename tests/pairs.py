"""Cases of several factors that hold every pair of values, and not the whole product.

What only some combinations show is nearly always a matter of two factors (Kuhn, Wallace and Gallo,
"Software Fault Interactions and Implications for Software Testing", 2004), and each pair of values
of two factors stands in one of these cases. FASTNN_ALL_CASES=1 takes the whole product.
"""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

EVERY_CASE = os.environ.get("FASTNN_ALL_CASES", "0") == "1"


def all_pairs(*factors: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return cases, a value of each factor, with every value of one beside every of another."""
    return pairs_among(list(itertools.product(*factors)))


def pairs_among(cases: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return those of `cases` that it takes for every pair of values which one of them has."""
    if EVERY_CASE:
        return list(cases)
    return [cases[i] for i in covering([set(enumerate(map(repr, case))) for case in cases])]


def in_turns(values: Iterable[Any], *others: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return a case for each of `values`, in which the values of each other factor take turns."""
    if EVERY_CASE:
        return list(itertools.product(values, *others))
    return list(zip(values, *map(itertools.cycle, others), strict=False))


def values_of(parameters: Mapping[str, Any], but: Iterable[str] = ()) -> set[tuple[str, str]]:
    """Return the parameters of a test with their values, as text, but for those of these names."""
    return {(name, repr(value)) for name, value in parameters.items() if name not in but}


def covering(cases: Sequence[Iterable[Any]], limit: int | None = None) -> list[int]:
    """Return which cases to take, the most telling one at a time: its values, then its pairs.

    All values are in the cases taken; so are all pairs, unless that takes more than `limit` cases.
    """
    parts = [(values, set(itertools.combinations(sorted(values), 2))) for values in map(set, cases)]
    seen: tuple[set[Any], set[Any]] = set(), set()
    waiting = [(-len(values), -len(pairs), i) for i, (values, pairs) in enumerate(parts)]
    heapify(waiting)
    taken: list[int] = []
    while waiting:
        *_, i = heappop(waiting)
        alone, together = (len(new - old) for new, old in zip(parts[i], seen, strict=True))
        if taken and not (alone or together):
            continue
        news = -alone, -together, i
        if waiting and waiting[0] < news:  # it was more telling before others had been taken
            heappush(waiting, news)
            continue
        if taken and not alone and limit is not None and len(taken) >= limit:
            break
        taken.append(i)
        for new, old in zip(parts[i], seen, strict=True):
            old |= new
    return taken
