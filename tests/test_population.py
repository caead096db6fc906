"""Populations: each member is what it would be alone, and its best epochs are kept."""

import copy
import pickle
import time

import numpy as np
import pytest
from ctrl_c import interrupted, needs_signals
from numba import config
from trainer_cases import BINARY, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    BatchNorm,
    Dense,
    Diverged,
    Dropout,
    EarlyStopping,
    InvalidInput,
    Periodic,
    ReduceOnPlateau,
    train_population,
)
from fastnn.training.population import Population

LABELS = (X[:, :2] > 0).sum(axis=1)  # which can be learnt, so that later epochs are better
TRAIN, VAL = slice(9, None), slice(0, 9)
EPOCHS = 12
DATA = {"validation_data": (X[VAL], LABELS[VAL])}


def members_of(target, threads=None):
    """Return networks that differ in whatever there is, but in what they predict."""
    settings = {"target": target, "threads": threads}
    last = Dense(3)
    periodic = [] if target == "cuda" else [Periodic(3, columns=2)]
    return [
        trainer_of([*periodic, Dense(6, "tanh"), Dropout(0.3), last], seed=3, **settings),
        trainer_of([Dense(9, "relu", l2=0.01), Dense(5, "gelu"), last],
                   optimizer=Adam(0.05, ema=0.8 * (target != "cuda")), batch_size=5, seed=1,
                   **settings),
        trainer_of([last], optimizer=SGD(0.3, momentum=0.9), l1=0.01, batch_size=28, **settings),
        trainer_of([Dense(5, "silu"), last], optimizer=AveragedSGD(0.2, start=8), seed=4,
                   shuffle=False, label_smoothing=0.1, **settings),
    ]  # fmt: skip


def bits(arrays):
    return [array.tobytes() for layer in arrays for array in layer]


def best_epochs(scores, most):
    """Return the numbers of the best epochs, from 1: of equals the first."""
    return [epoch + 1 for epoch in np.argsort(scores, kind="stable")[:most].tolist()]


@pytest.mark.parametrize("target", TARGETS)
def test_every_member_is_what_it_is_alone(target):
    population = train_population(
        members_of(target), X[TRAIN], LABELS[TRAIN], EPOCHS, **DATA, snapshots=3, patience=2,
        sample_weight=WEIGHTS[TRAIN], metrics="f1", callbacks=ReduceOnPlateau(patience=1),
    )  # fmt: skip
    assert isinstance(population, Population) and len(population) == 4
    ends = set()
    for member, alone in zip(population, members_of(target, 1), strict=True):
        seen = []
        stop = EarlyStopping(patience=2)
        alone.fit(
            X[TRAIN], LABELS[TRAIN], EPOCHS, **DATA, metrics="f1",
            sample_weight=WEIGHTS[TRAIN],
            callbacks=[lambda one, _, seen=seen: seen.append(one.parameters), stop,
                       ReduceOnPlateau(patience=1)],
        )  # fmt: skip
        history = alone.history
        assert member.history.to_dict() | {"seconds": 0, "reason": ""} == history.to_dict() | {
            "seconds": 0,
            "reason": "",
        }
        assert bits(member.trainer.parameters) == bits(stop.best.parameters)
        assert state_of(member.trainer)[:2] == state_of(stop.best)[:2]
        assert state_of(member.trainer)[3] == state_of(stop.best)[3]
        assert member.trainer.threads is None
        epochs = best_epochs(history.validation_loss, 3)
        assert [each.epoch for each in member.snapshots] == epochs
        for snapshot in member.snapshots:
            assert snapshot.score == history.validation_loss[snapshot.epoch - 1]
            assert bits(snapshot.parameters) == bits(seen[snapshot.epoch - 1])
            assert snapshot.outputs.dtype == np.float32
            assert (snapshot.forward(X[VAL]) == snapshot.outputs).all()
        assert (member.trainer.forward(X[VAL]) == member.snapshots[0].outputs).all()
        stopped = len(history) < EPOCHS
        assert member.ended == ("patience" if stopped else "epochs") and not member.diverged
        ends.add(stopped)
        member.trainer.fit(X[TRAIN], LABELS[TRAIN], 1)  # goes on from the best epoch
        stop.best.fit(X[TRAIN], LABELS[TRAIN], 1)
        assert bits(member.trainer.parameters) == bits(stop.best.parameters)
    assert ends == {True, False}
    assert population.best.score == min(each.score for each in population)
    assert len(population.snapshots) == 12


@pytest.mark.parametrize("workers", [2, 5])
def test_results_are_the_same_bits_for_any_number_of_workers(workers):
    found = [
        train_population(
            members_of("cpu"), X[TRAIN], LABELS[TRAIN], 6, **DATA, snapshots=2, workers=each
        )
        for each in (1, workers)
    ]
    first, other = (
        [(s.epoch, s.score, bits(s.parameters), s.outputs.tobytes()) for s in each.snapshots]
        for each in found
    )
    assert first == other


@pytest.mark.parametrize("target", TARGETS)
def test_members_read_features_of_their_own(target):
    features = {"all": X, "two": np.ascontiguousarray(X[:, [3, 0]], np.float64)}
    layers = [Dense(4, "tanh"), Dense(3)]
    trainers = [trainer_of(layers, inputs=None, seed=1, target=target) for _ in range(2)]

    def rows(chosen):
        return {name: array[chosen] for name, array in features.items()}

    by_name = train_population(
        trainers, rows(TRAIN), LABELS[TRAIN], 3, validation_data=(rows(VAL), LABELS[VAL]),
        views=["two", "all"],
    )  # fmt: skip
    by_column = train_population(
        trainers, X[TRAIN], LABELS[TRAIN], 3, **DATA, views=[[3, 0], slice(0, 4)]
    )
    for (view, array), one, other in zip(
        reversed(features.items()), by_name, by_column, strict=True
    ):
        alone = trainer_of(layers, inputs=array.shape[1], seed=1, target=target)
        alone.fit(array[TRAIN], LABELS[TRAIN], 3, (array[VAL], LABELS[VAL]))
        assert one.view == view and one.trainer.network.inputs == array.shape[1]
        for member in (one, other):
            assert member.history.validation_loss == alone.history.validation_loss
    assert trainers[0].network.inputs is None  # they are not changed


@pytest.mark.parametrize("target", TARGETS)
def test_a_member_that_diverges_keeps_the_epochs_before(target):
    settings = {"target": target, "loss": "mse", "layers": [Dense(1)]}
    good = trainer_of(**settings)
    wild = trainer_of(optimizer=SGD(3e5), **settings)
    at_once = trainer_of(optimizer=SGD(1e30), **settings)
    restoring = trainer_of(optimizer=SGD(3e5), on_divergence="restore", max_restores=50, **settings)
    data = {"validation_data": (X[VAL], REAL[VAL]), "snapshots": 9}
    found = train_population([good, wild, at_once, restoring], X[TRAIN], REAL[TRAIN], 9, **data)
    assert [each.ended for each in found] == ["epochs", "diverged", "diverged", "epochs"]
    assert [each.diverged for each in found] == [False, True, True, False]
    assert 0 < len(found[1].snapshots) == len(found[1].history) < 9
    for snapshot in (*found[1].snapshots, *found[3].snapshots):
        assert (snapshot.forward(X[VAL]) == snapshot.outputs).all()
    assert found[2].snapshots == () and found[2].score == np.inf
    assert [each.epoch for each in sorted(found[3].snapshots, key=lambda s: s.epoch)] == [
        *range(1, 10)
    ]
    assert found.best is found[0] and "diverged" in repr(found) and "<- best" in repr(found)
    with pytest.raises(Diverged, match="all 2 members diverged, the first in epoch"):
        train_population([wild, at_once], X[TRAIN], REAL[TRAIN], 9, **data)


def test_no_member_begins_after_the_time_limit_and_running_ones_end_with_their_epoch():
    trainers = members_of("numpy")
    none = train_population(trainers, X[TRAIN], LABELS[TRAIN], 9, **DATA, time_limit=0)
    assert [each.ended for each in none] == ["time", *["not begun"] * 3]
    assert [len(each.history) for each in none] == [1, 0, 0, 0]
    assert bits(none[1].trainer.parameters) == bits(trainers[1].parameters)
    slow = train_population(
        trainers[:2], X[TRAIN], LABELS[TRAIN], 10**6, **DATA, time_limit=0.2, workers=1
    )
    assert slow[0].ended == "time" and slow[1].ended == "not begun"
    assert slow[0].snapshots[0].epoch <= len(slow[0].history) < 10**6
    free, bound = (
        train_population(trainers, X[TRAIN], LABELS[TRAIN], 3, **DATA, time_limit=limit)
        for limit in (None, 100)
    )
    assert [bits(s.parameters) for s in free.snapshots] == [
        bits(s.parameters) for s in bound.snapshots
    ]


def test_epochs_are_compared_by_what_is_asked_for():
    def negative_loss(y, outputs):
        return -np.log1p(np.exp(-outputs * (2 * y - 1))).mean()

    trainers = [trainer_of([Dense(6, "tanh"), Dense(1)], seed=s, loss="binary_cross_entropy")
                for s in range(2)]  # fmt: skip
    data = {"validation_data": (X[VAL], BINARY[VAL]), "snapshots": 4}
    for scoring, series, sign in (
        (None, "validation_loss", 1),
        ("accuracy", "validation_accuracy", -1),
        ("auc", "validation_auc", -1),
        ("log_loss", "validation_log_loss", 1),
        (negative_loss, "validation_negative_loss", -1),
    ):
        found = train_population(trainers, X[TRAIN], BINARY[TRAIN], 8, scoring=scoring, **data)
        for member in found:
            scores = sign * np.array(member.history[series])
            assert [each.epoch for each in member.snapshots] == best_epochs(scores, 4)
            assert member.score == scores.min()
            assert member.history.best == int(scores.argmin())
        shown = repr(found).splitlines()
        place = shown[1].split().index("score") - len(shown[1].split())
        for member, line in zip(found, shown[2:], strict=True):
            value = float(line.removesuffix("<- best").split()[place])
            assert value == pytest.approx(sign * member.score, abs=1e-4)


def test_members_may_go_on_from_where_they_are():
    whole, parts = members_of("cpu"), members_of("cpu")
    for trainer in parts:
        trainer.fit(X[TRAIN], LABELS[TRAIN], 4, (X[VAL], LABELS[VAL]))
    found = train_population(parts, X[TRAIN], LABELS[TRAIN], 5, **DATA, snapshots=9)
    expected = train_population(whole, X[TRAIN], LABELS[TRAIN], 9, **DATA, snapshots=9)
    for member, other in zip(found, expected, strict=True):
        assert member.history.loss == other.history.loss
        later = {s.epoch: bits(s.parameters) for s in other.snapshots if s.epoch > 4}
        assert {s.epoch: bits(s.parameters) for s in member.snapshots} == later


def test_a_network_with_statistics_and_a_population_are_copied_and_pickled():
    trainer = trainer_of(
        [Dense(6), BatchNorm(activation="relu"), Dense(3)], target="cpu", dtype="float64"
    )
    found = train_population(trainer, X[TRAIN], LABELS[TRAIN], 4, **DATA, snapshots=2)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        for snapshot, same in zip(found.snapshots, other.snapshots, strict=True):
            assert bits(snapshot.parameters) == bits(same.parameters)
            assert (same.forward(X[VAL]).astype(np.float32) == snapshot.outputs).all()
            assert (
                repr(same)
                == repr(snapshot)
                == f"Snapshot(4-6-3, epoch={same.epoch}, " + (f"score={same.score:.6g})")
            )


def test_callbacks_see_each_member_and_may_end_it():
    ended = []

    def stop(trainer, history):
        ended.append(trainer.batch_size)
        return trainer.batch_size == 5 and len(history) == 2

    found = train_population(
        members_of("cpu"), X[TRAIN], LABELS[TRAIN], 4, **DATA, callbacks=stop, workers=2
    )
    assert [each.ended for each in found] == ["epochs", "callback", "epochs", "epochs"]
    assert sorted(ended) == [5, 5, *[8] * 8, *[28] * 4]


@pytest.mark.parametrize("begun", [0, 3])
@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_patience_may_depend_on_the_best_epoch(target, begun):
    trainers = members_of(target)
    for trainer in trainers:
        trainer.fit(X[TRAIN], LABELS[TRAIN], begun)
    population = train_population(
        trainers, X[TRAIN], LABELS[TRAIN], EPOCHS, **DATA, patience=lambda best: best // 2
    )
    lengths = set()
    for member in population:
        scores = member.history.validation_loss[begun:]
        best = 0
        for epoch, score in enumerate(scores, 1):
            best = epoch if score < min(scores[: epoch - 1], default=np.inf) else best
            late = epoch - best > best // 2
            assert late == (member.ended == "patience" and epoch == len(scores))
        lengths.add(len(scores))
    assert len(lengths) > 1


@pytest.mark.parametrize("given", [-1, 1.5, "a", None])
def test_patience_that_is_no_number_of_epochs_is_refused(given):
    with pytest.raises(InvalidInput, match="patience must be a whole number of at least 0"):
        train_population(
            ONE, X[TRAIN], LABELS[TRAIN], EPOCHS, **DATA, patience=lambda best: given,
            on_error="raise",
        )  # fmt: skip


ONE = trainer_of()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainers": []}, "at least one Trainer, not none"),
        ({"trainers": [ONE, 3]}, r"trainers\[1\] must be a Trainer, not 3"),
        ({"epochs": 0}, "epochs of a population must be a whole number of at least 1"),
        ({"snapshots": 0}, "snapshots must be a whole number of at least 1"),
        ({"patience": -1}, "patience must be a whole number of at least 0"),
        ({"time_limit": -1.0}, "time_limit must be a"),
        ({"validation_data": None}, r"validation_data must be \(X, y\)"),
        ({"scoring": "r3"}, "scoring must be None for the validation loss, one of loss"),
        ({"scoring": "r2"}, "member 0: .*r2"),
        ({"workers": 0}, "workers must be a whole number"),
        ({"views": ["a"]}, "X must be a mapping, since a member reads its 'a'"),
        ({"views": [None, None]}, "views must be a list with one for each of 1 trainers"),
        ({"views": [slice(4, 2)]}, r"views\[0\] must be None, the key of a mapping X, or columns"),
        ({"views": [[4]]}, r"shape \(28, 4\), but a member reads its column 4"),
        ({"views": [[0, 1]]}, "member 0: X has 2 columns but the network has 4 inputs"),
        ({"X": {"a": X[TRAIN], "b": X[TRAIN]}}, "is a mapping .'a', 'b'., but a member reads all"),
        ({"X": X[:5]}, "member 0: y has 28 rows but there are 5 samples"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    given = {"trainers": [ONE], "X": X[TRAIN], "y": LABELS[TRAIN], "epochs": 2} | DATA | arguments
    before = state_of(ONE)
    with pytest.raises(InvalidInput, match=message):
        train_population(**given)
    assert state_of(ONE) == before


LONG = """
import numpy as np
from fastnn import Dense, Network, Trainer, train_population
X = np.ones((3000, 40), np.float32); X[::2] = -1
y = np.arange(3000) % 2
trainers = [Trainer(Network(40, [Dense(64 + i, "relu"), Dense(2)])) for i in range(4)]
print("ready", flush=True)
try:
    train_population(trainers, X, y, 10**6, validation_data=(X[:100], y[:100]), workers=2)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="an epoch of this size takes minutes")
def test_ctrl_c_ends_all_members_soon():
    start = time.monotonic()
    assert interrupted(LONG) == ""
    assert time.monotonic() - start < 60
