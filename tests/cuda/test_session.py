"""Whoever works on a device: in whichever thread, and how it waits for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "targets"))

from target_cases import data_of, parameters_of, problem_of, zero_slots

from fastnn.network import Dense

pytestmark = pytest.mark.usefixtures("running")


def test_an_engine_works_on_its_own_device_in_every_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastnn.targets.cuda.engine import Engine
    from fastnn.targets.cuda.host import session

    current: list[int] = []
    entered: list[tuple[int, int]] = []

    @contextmanager
    def on_device(number: int) -> Iterator[None]:
        entered.append((threading.get_ident(), number))
        current.append(number)
        yield
        current.pop()

    stream_of = session.new_event
    monkeypatch.setattr(session, "current_device", lambda: 1)
    monkeypatch.setattr(session, "on_device", on_device)
    monkeypatch.setattr(session, "new_event", lambda: stream_of() if current == [1] else 1 / 0)
    problem = problem_of(5, [Dense(3)], "softmax_cross_entropy", dtype="float32", batch_size=4)
    data, engine = data_of(problem, 12), Engine(problem)
    engine.load(parameters_of(problem), zero_slots(problem))
    monkeypatch.setattr(session, "current_device", lambda: 0)  # of other threads

    def work() -> None:
        engine.train_epoch(data, np.arange(12), np.full(3, 0.1), 0, 0)
        engine.forward(data.X)
        engine.snapshot()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    own = [number for ident, number in entered if ident == thread.ident]
    assert len(own) >= 3 and set(own) == {1}


def test_a_device_is_made_current_and_let_go_where_another_one_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastnn.targets.cuda.host import numba_cuda

    entered: list[str] = []

    @contextmanager
    def second() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    class Module:
        gpus = (None, second())

    monkeypatch.setattr(numba_cuda, "SIMULATED", False)
    monkeypatch.setattr(numba_cuda, "_cuda", Module)
    monkeypatch.setattr(numba_cuda, "current_device", lambda: 0)
    with numba_cuda.on_device(0):
        assert entered == []
    with numba_cuda.on_device(1):
        assert entered == ["in"]
    assert entered == ["in", "out"]


def test_waiting_spins_at_first_and_sleeps_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.targets.cuda.host import session

    asked: list[float] = []
    slept: list[int] = []
    clock = iter(range(1000))

    def reached(event: float) -> bool:
        asked.append(event)
        return len(asked) == 8

    monkeypatch.setattr(session, "reached", reached)
    monkeypatch.setattr(session, "SPIN_SECONDS", 4)
    monkeypatch.setattr(session.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(session.time, "sleep", lambda seconds: slept.append(len(asked)))
    session.wait_for(0.0)
    assert slept == [5, 6, 7]
