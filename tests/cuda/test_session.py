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
    from fastnn.targets.cuda.host import numba_cuda, session

    found: list[tuple[int, int]] = []
    event_of, room_of = session.new_event, session.new_array

    def note() -> None:
        found.append((threading.get_ident(), numba_cuda.current_device()))

    monkeypatch.setattr(session, "new_event", lambda: (note(), event_of())[1])
    monkeypatch.setattr(session, "new_array", lambda *given: (note(), room_of(*given))[1])
    problem = problem_of(5, [Dense(3)], "softmax_cross_entropy", dtype="float32", batch_size=4)
    data, engine = data_of(problem, 12), Engine(problem, device=1)
    engine.load(parameters_of(problem), zero_slots(problem))

    def work() -> None:
        engine.train_epoch(data, np.arange(12), np.full(3, 0.1), 0, 0)
        engine.forward(data.X)
        engine.snapshot()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    devices = [device for ident, device in found if ident == thread.ident]
    assert len(devices) >= 3 and set(devices) == {1}
    assert numba_cuda.current_device() == 0


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
