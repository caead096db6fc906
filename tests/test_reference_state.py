"""The NumPy target's engine: dtypes, state in and out, divergence, progress and interruption."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference_cases import X, Y, assert_same, problem_of, started, train, zero_slots

from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters
from fastnn.network import SGD, Adam, AdamW, Dense
from fastnn.targets.numpy import Engine
from fastnn.targets.numpy import epoch as epoch_module


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), Adam(), AdamW()])
def test_parameters_and_slots_stay_in_the_problems_dtype(dtype, optimizer):
    problem = problem_of(optimizer=optimizer, dtype=np.dtype(dtype), l1=0.1, l2=0.1)
    engine = started(problem)
    other = np.float64 if dtype is np.float32 else np.float32
    train(engine, Data(X.astype(other), Y.astype(dtype), np.ones(23)), problem)
    arrays = [each for part in (engine.parameters(), *engine.slots()) for each in sum(part, ())]
    assert {each.dtype for each in arrays} == {np.dtype(dtype)}
    assert engine.forward(X.astype(other)).dtype == dtype
    assert {each.dtype for each in sum(engine.gradients(Data(X, Y.astype(dtype)))[1], ())} == {
        np.dtype(dtype)
    }


def test_float32_training_follows_float64_training():
    ends = []
    for dtype in (np.float32, np.float64):
        problem = problem_of(dtype=np.dtype(dtype), optimizer=Adam(0.01))
        engine = started(problem)
        train(engine, Data(X, Y.astype(dtype)), problem, epochs=range(5), rate=0.01)
        ends.append(engine.forward(X))
    assert_allclose(ends[0], ends[1], atol=1e-5)


def test_any_layout_of_x_gives_the_same_bits():
    problem = problem_of()
    wide = np.zeros((46, 12))
    wide[::-2, 1:9:2] = X
    assert np.shares_memory(wide[::-2, 1:9:2], wide)
    engines = [started(problem) for _ in range(2)]
    for engine, rows in zip(engines, (X, wide[::-2, 1:9:2]), strict=True):
        train(engine, Data(rows, Y), problem)
    assert_same(engines[0].parameters(), engines[1].parameters())


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9, True), Adam(), AdamW()])
def test_state_moved_to_another_engine_goes_on_to_the_same_bits(optimizer):
    problem = problem_of(optimizer=optimizer)
    whole, first, second = started(problem), started(problem), Engine(problem)
    results = train(whole, Data(X, Y), problem, epochs=range(5))
    parts = train(first, Data(X, Y), problem, epochs=range(2))
    second.load(first.parameters(), first.slots())
    parts += train(second, Data(X, Y), problem, epochs=range(2, 5))
    assert results == parts
    assert_same(whole.parameters(), second.parameters())
    for slot, other in zip(whole.slots(), second.slots(), strict=True):
        assert_same(slot, other)


def test_state_is_copied_in_and_out():
    problem = problem_of(optimizer=SGD(0.1, 0.9))
    parameters = initial_parameters(problem.network, 0, problem.dtype)
    slots = zero_slots(problem, parameters)
    engine = Engine(problem)
    engine.load(parameters, slots)
    before = initial_parameters(problem.network, 0, problem.dtype)
    parameters[0][0][:] = slots[0][0][0][:] = 7
    engine.parameters()[0][0][:] = engine.slots()[0][0][0][:] = 8
    assert_same(engine.parameters(), before)
    assert not engine.slots()[0][0][0].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_stops_the_epoch_at_the_first_loss_that_is_not_finite(dtype):
    problem = problem_of([Dense(2)], dtype=np.dtype(dtype), batch_size=1)
    engine = started(problem)
    [result] = train(engine, Data(X, Y.astype(dtype)), problem, rate=1e30)
    assert not math.isfinite(result.loss)
    replay = started(problem)
    good = result.bad_step
    assert good > 0
    rates, order = np.full(good, 1e30), np.arange(good)
    assert replay.train_epoch(Data(X, Y.astype(dtype)), order, rates, 0, 0).bad_step is None
    # The bad step has made no update.
    assert_same(replay.parameters(), engine.parameters())


def test_a_loss_that_is_bad_from_the_start_is_step_zero():
    problem = problem_of([Dense(2)])
    engine = started(problem, [(np.full((4, 2), 1e200), np.zeros(2))])
    [result] = train(engine, Data(X, Y), problem)
    assert (result.loss, result.bad_step) == (math.inf, 0)


def test_progress_is_called_with_the_steps_done_and_the_mean_loss(monkeypatch):
    monkeypatch.setattr(epoch_module, "PROGRESS_SECONDS", 0.0)
    problem = problem_of([Dense(2)])
    calls = []
    [result] = train(
        started(problem), Data(X, Y), problem, progress=lambda *call: calls.append(call)
    )
    assert [steps for steps, _ in calls] == [1, 2, 3, 4, 5]
    assert calls[-1][1] == result.loss
    assert calls[0][1] == started(problem).gradients(Data(X[:5], Y[:5]))[0]


def test_progress_is_not_called_more_than_a_few_times_a_second():
    calls = []
    problem = problem_of([Dense(2)])
    train(started(problem), Data(X, Y), problem, progress=lambda *call: calls.append(call))
    assert len(calls) <= 1


def test_an_interrupt_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(epoch_module, "PROGRESS_SECONDS", 0.0)

    def interrupt(steps, loss):
        raise KeyboardInterrupt

    problem = problem_of([Dense(2)])
    with pytest.raises(KeyboardInterrupt):
        train(started(problem), Data(X, Y), problem, progress=interrupt)


def test_engine_runs_on_one_thread_of_its_own_and_can_be_closed_twice():
    engine = Engine(problem_of(), threads=5)
    assert engine.threads == 1
    engine.close()
    engine.close()
