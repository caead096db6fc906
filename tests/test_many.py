"""What restarts, sweeps and one call of fit share: each network is trained as if it were alone."""

import copy
import pickle

import numpy as np
import pytest
from simulator import SIMULATED
from trainer_cases import LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    Dense,
    Dropout,
    EarlyStopping,
    InvalidInput,
    ReduceOnPlateau,
    Trainer,
    TrainingWarning,
    sweep,
    train_population,
)
from fastnn.inputs import pages
from fastnn.training import loop

VALIDATION = (X[:9], LABELS[:9])
EPOCHS = 10 if SIMULATED else 20


def one_by_one(trainer, history):
    """Do nothing, as a callback, with which every epoch is a call of its own."""


@pytest.fixture
def counts(monkeypatch):
    """Return how many epochs each call has done; what is known to be short goes by seven."""
    block, found = loop._train_block, []

    def train_block(*arguments):
        found.append(block(*arguments))
        return found[-1]

    monkeypatch.setattr(loop, "BLOCK_EPOCHS", 7)
    monkeypatch.setattr(loop, "BLOCK_SECONDS", 1000.0)
    monkeypatch.setattr("fastnn.training.trainer.BLOCK_SECONDS", 1000.0)
    monkeypatch.setattr(loop, "_train_block", train_block)
    return found


def everything_of(trainer, stopping):
    """Return all that is to be the same, whether epochs were done one by one or not."""
    best = stopping.best
    found = best and (best.rate_factor, best.remaining, best.history.best, state_of(best)[:2])
    parameters = best and state_of(best)[3]
    return (
        state_of(trainer), trainer.rate_factor, trainer.remaining, trainer.history.best, found,
        parameters, best and len(best.history),
    )  # fmt: skip


STOPPING = {
    "noisy": ({"optimizer": SGD(1.5)}, {"patience": 4}),
    "soon": ({"optimizer": SGD(3.0), "batch_size": 37}, {"patience": 0}),
    "steady": ({"optimizer": Adam(0.01)}, {"patience": 3}),
    "not enough": ({"optimizer": SGD(0.3)}, {"patience": 5, "min_delta": 0.05}),
    "stays": ({"optimizer": SGD(1.5)}, {"patience": 6, "restore_best": False}),
    "largest": ({"optimizer": SGD(0.5)}, {"patience": 9, "mode": "max"}),
    "restored": ({"optimizer": SGD(1.5), "on_divergence": "restore"}, {"patience": 4}),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("plateau", [False, True])
@pytest.mark.parametrize("case", STOPPING)
def test_stopping_by_the_loss_is_the_same_in_blocks_as_epoch_by_epoch(
    case, plateau, target, counts
):
    settings, stop = STOPPING[case]
    found, most = [], []
    for more in ([], [one_by_one]):
        trainer, stopping = (
            trainer_of(target=target, **settings),
            EarlyStopping(monitor="loss", **stop),
        )
        callbacks = [stopping, *more]
        if plateau:
            callbacks.append(ReduceOnPlateau(0.5, 2, monitor="loss"))
        for epochs in (12, 6) if SIMULATED else (45, 30):
            del counts[:]
            trainer.fit(X, LABELS, epochs, callbacks=callbacks)
            most.append(max(counts))
            found.append(everything_of(trainer, stopping))
    half = len(found) // 2
    assert found[:half] == found[half:]
    assert max(most[half:]) == 1
    if target != "numpy" and case not in ("restored", "soon"):  # a patience of 0 looks at each
        assert max(most[:half]) > 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")])
def test_what_ends_a_fit_leaves_the_best_epoch_so_far(error, counts, monkeypatch):
    target = TARGETS[-1]
    trainer, stopping = trainer_of(target=target, optimizer=SGD(1.5)), EarlyStopping(99, "loss")
    engine = trainer._open()
    train_epochs = engine.train_epochs

    def train(*arguments):
        if arguments[3] >= 15:  # the number of the epoch
            raise error
        return train_epochs(*arguments)

    monkeypatch.setattr(engine, "train_epochs", train)
    with pytest.raises(type(error)):
        trainer.fit(X, LABELS, 40, callbacks=stopping)
    other, expected = trainer_of(target=target, optimizer=SGD(1.5)), EarlyStopping(99, "loss")
    other.fit(X, LABELS, trainer.epoch, callbacks=[expected, one_by_one])
    assert stopping.best.epoch == expected.best.epoch == np.argmin(trainer.history.loss) + 1
    assert state_of(stopping.best)[3] == state_of(expected.best)[3]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("settings", [{}, {"on_divergence": "restore"}])
def test_restarts_and_runs_stop_and_slow_down_as_they_would_alone(settings, target):
    def callbacks():
        return [EarlyStopping(3, "loss"), ReduceOnPlateau(0.5, 1, monitor="loss")]

    settings = {"optimizer": SGD(1.0), "target": target} | settings
    trainer = trainer_of(**settings)
    trainer.fit(X, LABELS, EPOCHS, callbacks=callbacks(), restarts=4, keep_trainers=True)
    runs = sweep(
        trainer_of(**settings), X, LABELS, EPOCHS, grid={"learning_rate": [0.5, 1.0]}, seeds=2,
        callbacks=callbacks(), keep_trainers=True,
    )  # fmt: skip
    for each in (*trainer.history.restarts, *runs):
        alone = trainer_of(seed=each.seed, **settings)
        if each in runs:
            alone.set(optimizer=SGD(each.settings["learning_rate"]))
        alone.fit(X, LABELS, EPOCHS, callbacks=callbacks())
        kept = each.trainer
        assert isinstance(kept, Trainer) and kept.target == target and kept.threads is None
        assert state_of(kept) == state_of(alone) and kept.rate_factor == alone.rate_factor
        assert kept.remaining == 0 and (each.epochs, each.seed) == (alone.epoch, alone.problem.seed)
        assert np.array_equal(kept.predict(X), alone.predict(X))
        for one in (kept, alone):
            one.fit(X, LABELS, 2)
        assert state_of(kept) == state_of(alone)
    assert len({each.epochs for each in trainer.history.restarts}) > 1 or SIMULATED


def test_trainers_that_are_kept_are_no_part_of_the_best_one(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, restarts=3, keep_trainers=True)
    ends = trainer.history.restarts
    best = ends[ends.best].trainer
    assert state_of(best)[3] == state_of(trainer)[3] and not best.history.restarts
    trainer.fit(X, LABELS, 1)
    assert best.epoch == len(best.history) == 2
    for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        same = other.history.restarts[ends.best].trainer
        assert state_of(same) == state_of(best) and same is not best
    trainer.save(tmp_path / "model")
    found = Trainer.load(tmp_path / "model").history.restarts
    assert found == ends and [each.trainer for each in found] == [None] * 3
    assert trainer.history.to_dict()["restarts"] == ends.to_list()
    plain = trainer_of()
    plain.fit(X, LABELS, 2, restarts=3)
    assert plain.history.restarts[0].trainer is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_trainers": 1, "restarts": 2}, "keep_trainers must be True or False, not 1"),
        ({"keep_trainers": True}, "but restarts=1 trains only this trainer"),
    ],
)
def test_trainers_that_cannot_be_kept_are_refused(arguments, message):
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match=message):
        trainer.fit(X, LABELS, 1, **arguments)
    with pytest.raises(InvalidInput, match="keep_trainers must be"):
        sweep(trainer, X, LABELS, 1, grid={}, keep_trainers="yes")
    assert trainer.epoch == 0


def test_a_sweep_warns_once_of_all_runs_that_learn_nothing():
    layers = [Dense(4, "relu"), Dense(1)]
    trainer = trainer_of(layers, loss="mse")
    y = 1000.0 * REAL
    grid = {"learning_rate": [0.0, 1e-12], "l2": [0.25]}
    with pytest.warns(TrainingWarning) as caught:
        result = sweep(trainer, X, y, 3, grid=grid, seeds=2)
    (warning,) = caught
    text = str(warning.message)
    begin = "with learning_rate=0, l2=0.25, and 3 more of 4 runs: the network does no better"
    assert text.startswith(begin) and "y is large" in text
    assert warning.filename == __file__ and len(result) == 4
    with pytest.warns(TrainingWarning, match="with learning_rate=1e-12: the network does no"):
        sweep(trainer, X, y, 3, grid={"learning_rate": [1e-12]})


@pytest.mark.skipif(not SIMULATED, reason="is about launches of a device")
@pytest.mark.parametrize("target", ["cuda"])  # else it would be left out
def test_networks_that_differ_in_their_seeds_share_their_launches(target, monkeypatch):
    from fastnn.targets.cuda.batched_models import Several

    launch, launches = Several._launch, []

    def counted(self, seats, states, every):
        launches.append((len(seats), every[0].epoch, len(every[0].rates)))
        return launch(self, seats, states, every)

    monkeypatch.setattr(Several, "_launch", counted)
    trainer = trainer_of(target=target)
    trainer.fit(
        X, LABELS, 6, VALIDATION, restarts=4, callbacks=lambda trainer, _: trainer.predict(X)
    )
    assert launches == [(4, epoch, 1) for epoch in range(6)]
    del launches[:]
    grid = {"learning_rate": [0.1, 0.4], "l2": [0.0, 0.5], "batch_size": [8, 20]}
    sweep(trainer_of(target=target), X, LABELS, 6, grid=grid)
    assert launches == [(4, 0, 6)] * 2  # one for each size of the batches
    del launches[:]
    slower = ReduceOnPlateau(0.5, 0, monitor="loss")  # at other epochs in each
    trainer_of(target=target, optimizer=SGD(2.0)).fit(
        X, LABELS, 6, callbacks=[slower, one_by_one], restarts=4
    )
    assert launches == [(4, epoch, 1) for epoch in range(6)]
    del launches[:]
    stopping = EarlyStopping(0, "loss", min_delta=0.1)
    trainer_of(target=target).fit(X, LABELS, 9, callbacks=[stopping, one_by_one], restarts=4)
    assert launches[0][0] == 4 and launches[-1][0] < 4  # those that have stopped take no part
    del launches[:]
    trainer_of(target=target).fit(X, LABELS, 2, sample_weight=WEIGHTS, restarts=4)
    assert launches == [(4, 0, 2)]
    del launches[:]
    members = [
        trainer_of([Dense(units, "tanh"), Dense(3)], seed=units * seed, target=target)
        for units in (5, 7) for seed in (1, 2)
    ]  # fmt: skip
    train_population(members, X[9:], LABELS[9:], 2, validation_data=(X[:9], LABELS[:9]))
    assert sorted(launches) == [(2, 0, 1)] * 2 + [(2, 1, 1)] * 2  # one for each shape


@pytest.mark.parametrize("target", TARGETS)
def test_dropout_and_rows_in_order_are_those_of_each_alone(target):
    settings = {"layers": [Dropout(0.2), Dense(5, "rrelu"), Dense(3)], "target": target}
    for shuffle in (False, 5):
        runs = sweep(
            trainer_of(shuffle=shuffle, **settings), X, LABELS, 3, grid={}, seeds=3,
            keep_trainers=True,
        )  # fmt: skip
        for run in runs:
            alone = trainer_of(shuffle=shuffle, seed=run.seed, **settings)
            alone.fit(X, LABELS, 3)
            assert state_of(run.trainer) == state_of(alone)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_on_a_file_shuffled_within_a_window_are_those_on_its_rows(
    target, tmp_path, monkeypatch
):
    np.save(tmp_path / "x.npy", X)
    file = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(pages, "PIECE_BYTES", 64)
    monkeypatch.setattr(pages.Pages, "resident", lambda self: False)
    found = []
    for rows in (X, file):
        trainer = trainer_of(target=target, shuffle=20)
        trainer.fit(rows, LABELS, 3, restarts=2)
        found.append(trainer.parameters)
    for one, other in zip(*found, strict=True):
        assert all(map(np.array_equal, one, other))
