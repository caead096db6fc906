"""Errors go from a worker's process to the one that waits for it, whole."""

import copy
import errno
import pickle

import pytest

from fastnn import errors
from fastnn.tabular.cells import WrongValue
from fastnn.tabular.table import WrongCell


def family(kind=errors.FastnnError):
    return [kind, *(each for child in kind.__subclasses__() for each in family(child))]


def made(kind):
    if issubclass(kind, OSError):
        return kind(errno.EACCES, "no", "model.safetensors")
    if kind is WrongCell:
        return kind(3, "no")
    if kind is WrongValue:
        return kind("no value in ", 3, ".")
    return kind("no", 3, 4) if issubclass(kind, errors.Diverged) else kind("no")


@pytest.mark.parametrize("kind", sorted(set(family()), key=lambda kind: kind.__name__))
def test_an_error_is_pickled_with_all_that_it_says(kind):
    error = made(kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error) and str(again) == str(error)
        assert vars(again) == vars(error)
