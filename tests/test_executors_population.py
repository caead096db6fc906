"""Populations on the workers of an executor, and errors that end one of several trainings."""

import functools
import multiprocessing
import pickle
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from executor_cases import (
    METHODS,
    X_VAL,
    Y_VAL,
    Elsewhere,
    Kills,
    X,
    Y,
    bits_of,
    margin,
    pool,
    stop_soon,
    trainer_of,
    without_seconds,
)

from fastnn import (
    SGD,
    Adam,
    Dense,
    InvalidInput,
    Network,
    Trainer,
    TrainingWarning,
    WorkerFailed,
    sweep,
    train_population,
)
from fastnn.training.executors import bundle, running

# Python 3.12 warns of any fork while there are threads, as those of pytest's plug-ins.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def populated(executor=None, **settings):
    trainers = [
        trainer_of(target="auto"),
        Trainer(Network(2, [Dense(5, "tanh"), Dense(2)]), optimizer=Adam(0.05), batch_size=8),
        trainer_of(optimizer=SGD(1e30)),
        Trainer(Network(1, [Dense(4, "relu"), Dense(2)]), optimizer=SGD(0.2), seed=7, threads=3),
        trainer_of(seed=6),
    ]
    trainers[1].fit(X, Y, 2)
    defaults = {
        "validation_data": (X_VAL, Y_VAL), "views": [None, None, None, slice(1, 2), None],
        "snapshots": 3, "patience": 2, "metrics": ["f1"], "callbacks": stop_soon,
    }  # fmt: skip
    return train_population(trainers, X, Y, 5, executor=executor, **(defaults | settings))


def facts_of(population):
    """Return all that is to be the same of members, whoever trained them."""
    return [
        (
            member.ended,
            member.failed,
            member.view,
            [
                (each.epoch, each.score, each.target, each.view, each.outputs.tobytes())
                for each in member.snapshots
            ],
            [bits_of(each) for each in member.snapshots],
            bits_of(member.trainer),
            (member.trainer.target, member.trainer.threads, member.trainer.epoch),
            member.history.to_dict() | {"seconds": 0},
        )
        for member in population
    ]


@pytest.mark.parametrize("method", METHODS)
def test_processes_give_the_members_of_threads(method):
    expected = populated()
    with pool(method) as executor:
        population = populated(executor)
    assert facts_of(population) == facts_of(expected)
    assert [each.ended for each in population][2:] == ["diverged", "epochs", "callback"]
    for found in (population, expected):
        found[0].trainer.fit(X, Y, 1)
    assert bits_of(population[0].trainer) == bits_of(expected[0].trainer)


def test_a_pool_of_threads_gives_the_members_of_threads():
    with ThreadPoolExecutor(3) as executor:
        scoring = {"scoring": lambda y, outputs: margin(y, outputs)}
        assert facts_of(populated(executor, **scoring)) == facts_of(populated(**scoring))


def gap(y, outputs):
    return -abs(margin(y, outputs))


def test_members_of_a_population_on_workers_that_share_no_files(monkeypatch):
    scoring = {"scoring": functools.partial(gap)}  # which has no name
    expected = populated(**scoring)
    monkeypatch.setattr(running, "_LEAST_AHEAD", 1)
    executor = Elsewhere(monkeypatch)
    assert facts_of(populated(executor, **scoring)) == facts_of(expected)
    sizes = sorted(executor.sent)
    assert sizes[-1] > sizes[-2] + X.nbytes + X_VAL.nbytes, "data travel once"


def slowly(trainer, history):
    time.sleep(0.05)


@pytest.mark.parametrize("blind", [False, True])
def test_the_time_for_a_population_is_over_on_workers_too(blind, monkeypatch):
    trainers = [trainer_of(seed=seed) for seed in range(3)]
    monkeypatch.setattr(running, "_LEAST_AHEAD", 3)
    executor = Elsewhere(monkeypatch, blind)
    population = train_population(
        trainers, X, Y, 1000, validation_data=(X_VAL, Y_VAL), callbacks=slowly, time_limit=0.3,
        executor=executor,
    )  # fmt: skip
    # Where the data come to the one worker too late for the first member, that is sent again behind
    # the second, and begins, as it always does, when the time is over.
    ended = [each.ended for each in population]
    assert ended[::2] == ["time", "not begun"]
    assert ended[1] == ("time" if len(population[0].history) == 1 else "not begun")
    assert 1 <= len(population[0].history) < 100 and population[0].snapshots
    assert sum(len(each.history) for each in population) < 100
    for each in population:
        assert bool(each.snapshots) == bool(each.trainer.epoch) == (each.ended == "time")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("times", [1, 99])
def test_a_worker_that_is_killed_costs_a_member_at_most(tmp_path, times):
    given = {"validation_data": (X_VAL, Y_VAL), "snapshots": 2}
    trainers = [trainer_of(seed=seed) for seed in (5, 6, 7)]
    expected = facts_of(train_population(trainers, X, Y, 2, **given))
    with pool("fork") as executor:
        population = train_population(
            trainers, X, Y, 2, **given, callbacks=Kills(tmp_path, 6, times), executor=executor
        )
    found = facts_of(population)
    if times == 1:
        assert found == expected
        return
    assert found[::2] == expected[::2]
    dead = population[1]
    assert dead.ended == "failed" and "terminated" in dead.failed and not dead.snapshots
    assert bits_of(dead.trainer) == bits_of(trainers[1]) and dead.score == np.inf
    assert "terminated" in repr(population)
    with (
        pool("fork") as executor,
        pytest.raises(WorkerFailed, match="the workers of 1 of 2 members died, and 1 diverged"),
    ):
        train_population(
            [trainers[1], trainer_of(seed=7, optimizer=SGD(1e30))], X, Y, 2, **given,
            callbacks=Kills(tmp_path, 6, 999), executor=executor,
        )  # fmt: skip


def fails_once(trainer, history):
    if trainer.seed == 6:
        raise ValueError(f"mine, of {trainer.epoch}")


@pytest.mark.parametrize("kind", [None, ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_error_costs_its_own_run_and_is_named(kind, tmp_path):
    expected = sweep(trainer_of(), X, Y, 2, grid={"units": [3, 4]}, seeds=3)
    context = [multiprocessing.get_context("fork")] if kind is ProcessPoolExecutor else []
    executor = kind and kind(2, *context)
    given = {"callbacks": fails_once, "executor": executor}
    text = r"ended the run with units=3, seed=6, and 1 more of 6 runs: ValueError: mine, of 1\."
    with pytest.warns(TrainingWarning, match=text):
        rows = sweep(trainer_of(), X, Y, 2, grid={"units": [3, 4]}, seeds=3, **given)
    for row, other in zip(rows, expected, strict=True):
        if row.seed == 6:
            assert row.failed == "ValueError: mine, of 1" and row.training_loss is None
        else:
            assert without_seconds([row]) == without_seconds([other])
    assert rows.best == expected.best or rows.best.failed is None
    with pytest.raises(ValueError, match="^mine, of 1") as caught:
        sweep(trainer_of(), X, Y, 2, grid={"units": [3]}, seeds=3, on_error="raise", **given)
    assert "the run with units=3, seed=6" in "".join(caught.value.__notes__)
    with pytest.raises(ValueError, match="^mine, of 1") as caught:  # there is no other run
        sweep(trainer_of(), X, Y, 2, grid={}, seeds=[6], **given)
    assert "in the run with seed=6" in "".join(caught.value.__notes__)
    trainers, data = [trainer_of(seed=seed) for seed in (5, 6)], {"validation_data": (X_VAL, Y_VAL)}
    with pytest.warns(TrainingWarning, match="an error ended member 1: ValueError: mine, of 1"):
        population = train_population(trainers, X, Y, 2, **data, **given)
    assert [each.ended for each in population] == ["epochs", "failed"]
    assert facts_of(population)[:1] == facts_of(train_population(trainers[:1], X, Y, 2, **data))
    with pytest.raises(ValueError, match="^mine, of 1") as caught:
        train_population(trainers, X, Y, 2, **data, **given, on_error="raise")
    assert "in member 1" in "".join(caught.value.__notes__)
    alone = trainer_of(seed=6)
    with pytest.raises(ValueError, match="^mine, of 1") as caught:
        alone.fit(X, Y, 2, restarts=2, **given)
    assert "in restart 0, with seed=6" in "".join(caught.value.__notes__) and not alone.epoch
    if executor is not None:
        executor.shutdown()
    with pytest.raises(InvalidInput, match='"continue" or "raise", not \'ignore\''):
        sweep(trainer_of(), X, Y, 2, grid={}, on_error="ignore")


def test_columns_that_members_read_are_shared_by_all_processes():
    wide = np.random.default_rng(0).random((2000, 6))
    shared = bundle.Bundle([wide[:, 1:4], wide], 2)
    try:
        assert len(pickle.dumps(shared._pickled()[0])) < 2000, "no array is in what is copied"
        assert shared.write()
        columns, whole = bundle.from_folder(shared.folder)
        np.testing.assert_array_equal(columns, wide[:, 1:4])
        np.testing.assert_array_equal(whole, wide)
        assert not columns.flags.owndata and not columns.flags.writeable
    finally:
        shared.close()
