"""Names of targets, and the engines behind them."""

import inspect
import sys

import pytest
from trainer_cases import TARGETS

from fastnn import InvalidInput, TargetUnavailable
from fastnn.target import Engine, choose, engine_class


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_asked_for_by_name_needs_no_reason(name):
    assert choose(name) == (name, "")


def test_auto_says_what_it_chose():
    name, reason = choose("auto")
    assert name == "cpu"
    assert reason.startswith("auto chose cpu: ")


@pytest.mark.parametrize(("name", "hint"), [("cpus", "'cpu'"), ("nunpy", "'numpy'"), (3, "Known")])
def test_an_unknown_target_is_refused_with_a_near_name(name, hint):
    with pytest.raises(InvalidInput, match=f"unknown target {name!r}.*{hint}"):
        choose(name)


def test_cuda_is_not_there_yet_and_the_error_says_what_to_use():
    with pytest.raises(TargetUnavailable, match="no CUDA target yet; use target='cpu'"):
        choose("cuda")


@pytest.mark.parametrize("name", TARGETS)
def test_every_engine_has_the_operations_with_the_same_arguments(name):
    engine = engine_class(name)
    for operation, expected in vars(Engine).items():
        if not operation.startswith("_"):
            found = inspect.signature(getattr(engine, operation))
            assert [*found.parameters] == [*inspect.signature(expected).parameters], operation


def test_where_numba_cannot_be_imported_the_cpu_target_is_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.cpu.engine", None)  # an import of it fails
    with pytest.raises(TargetUnavailable, match="needs Numba, .* or use target='numpy'"):
        engine_class("cpu")
