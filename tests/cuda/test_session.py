"""Whoever works on a device: in whichever thread, and how it waits for it."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

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


def test_a_launch_takes_a_fifth_of_a_second_however_large_the_network_is() -> None:
    """A driver may end what takes two, and Ctrl-C waits for it."""
    from fastnn.targets.cuda.engine import Engine
    from fastnn.targets.cuda.host.streaming import Chunk

    problem = problem_of(5, [Dense(3)], dtype="float32", batch_size=4)
    session, pieces = Engine(problem)._session, list[int]()

    def pieces_of(steps: int, pace: float, expected: float = 0.0) -> list[int]:
        pieces.clear()
        family = SimpleNamespace(
            train=lambda job, plan, begin, end, stream: pieces.append(end - begin)
        )
        chunks = [Chunk(0, steps, cast(Any, SimpleNamespace(_asdict=dict)))]
        job = cast(Any, SimpleNamespace(_replace=lambda: None))
        session.run(cast(Any, family), job, cast(Any, None), chunks, steps, expected, pace)
        return list(pieces)

    assert pieces_of(100, 0.01 / 4) == [20] * 5
    assert pieces_of(5, 1.0) == [1] * 5
    # Of the first epoch nothing is known but what it should take.
    assert pieces_of(25, math.inf, 0.02) == [10, 10, 5]
    assert pieces_of(600, math.inf) == [256, 256, 88]


def test_networks_side_by_side_take_launches_of_their_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a short one at first, when nothing is known but an estimate."""
    from fastnn.targets.cuda.batched_models import Several
    from fastnn.targets.cuda.block.family import Block
    from fastnn.targets.cuda.host.numba_cuda import limits

    problem = problem_of(5, [Dense(3)], dtype="float32", batch_size=4)
    rounds = 3 * limits().sms
    several = Several([problem] * (rounds - limits().sms + 1))
    given, run = list[Any](), several._session.run
    monkeypatch.setattr(
        several._session, "run", lambda *all: (given.append(all[-2:]), run(*all))[1]
    )
    data, seat = data_of(problem, 12), several.seats[0]
    for epoch in range(2):
        seat.train_epochs(data, np.arange(12)[None], np.full((1, 3), 0.1), epoch, 3 * epoch)
    (expected, pace), (_, known) = given
    assert expected == pytest.approx(3 * Block.seconds(problem, limits()))
    assert pace == math.inf and math.isfinite(known)


def test_predictions_of_many_networks_take_several_launches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastnn.targets.cuda.batched_models import Several
    from fastnn.targets.cuda.block import predict
    from fastnn.targets.cuda.host import costs

    problem = problem_of(5, [Dense(3)], dtype="float32", batch_size=4)
    several, X = Several([problem] * 3), np.ones((100, 5), np.float32)
    for seat in several.seats:
        seat.load(parameters_of(problem), zero_slots(problem))
    most, in_pieces = list[int](), predict.predict_in_pieces
    monkeypatch.setattr(
        predict, "predict_in_pieces", lambda *all: (most.append(all[2]), in_pieces(*all))[1]
    )
    expected = several.seats[2].forward(X)
    # A second has 15 products for each of 3 networks and 200 rows: as many as a launch may 40.
    monkeypatch.setattr(costs, "DISTANT_RATE", 15.0 * 3 * 200)
    outputs = several.seats[0].forward(X)
    assert most == [100, 40]
    np.testing.assert_array_equal(outputs, expected)
    monkeypatch.setattr(costs, "DISTANT_RATE", 1.0)
    several.seats[2].forward(X + 1)
    assert most == [100, 40, predict.ROWS]
