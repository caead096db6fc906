"""svmlight's format, also libsvm's: a label and the numbers that are not zero, a row a line."""

from __future__ import annotations

import re

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.tabular.table import Matrix
from fastnn.tabular.words import number

_INDEX = re.compile(r"[0-9]+")


def read_svmlight(name: str, content: bytes) -> tuple[Matrix, list[str]]:
    """Return the CSR and the labels of an svmlight file.

    A file without index 0 counts from 1, as the format has it.

    Raises
    ------
    InvalidInput
        What is none, with its line.
    """
    from scipy.sparse import csr_array

    labels: list[str] = []
    starts, indices, numbers = [0], list[int](), list[float]()
    text = content.decode("utf-8", "replace")
    for line, row in enumerate(text.splitlines(), start=1):
        words = row.partition("#")[0].split()
        if not words:
            continue
        if ":" in words[0]:
            raise InvalidInput(f"{name}, line {line}: begins with {words[0]!r}, not with a label")
        if "," in words[0]:
            raise InvalidInput(
                f"{name}, line {line}: {shown(words[0]):.60} are several labels, of which a model "
                "learns one; write a file with one label a row for each"
            )
        labels.append(words[0])
        entries = {}
        for word in words[1:]:
            index, colon, value = word.partition(":")
            if index == "qid":
                continue
            try:
                if not colon or not _INDEX.fullmatch(index):
                    raise ValueError(word)
                if int(index) in entries:
                    raise InvalidInput(
                        f"{name}, line {line}: index {index} is there twice; leave one out"
                    )
                entries[int(index)] = number(value)
                if int(index) >= 2**31 - 1:
                    raise ValueError(word)
            except InvalidInput:
                raise
            except ValueError:
                raise InvalidInput(
                    f"{name}, line {line}: {shown(word):.60} where INDEX:NUMBER is due"
                ) from None
        indices += sorted(entries)
        numbers += (entries[index] for index in sorted(entries))
        starts.append(len(indices))
    if not indices:
        raise InvalidInput(f"{name} has no rows with numbers")
    columns = np.array(indices, np.int64)
    first = int(columns.min() > 0)
    columns -= first
    X = csr_array(
        (np.array(numbers), columns.astype(np.int32), np.array(starts, np.int32)),
        shape=(len(labels), int(columns.max()) + 1),
    )
    y = np.empty(len(labels), object)
    y[:] = labels
    return Matrix(X, y, first), [f"columns are counted from {first}"]
