"""Several networks trained side by side: the best is kept, and is what it would be alone."""

import json
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from ctrl_c import interrupted, needs_signals
from fake_driver import with_device
from numba import config
from pairs import all_pairs
from trainer_cases import LABELS, LAYERS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    CorruptFile,
    Dense,
    Diverged,
    EarlyStopping,
    InvalidInput,
    ReduceOnPlateau,
    Trainer,
    sweep,
)
from fastnn.graph import tanh
from fastnn.targets import numpy as reference
from fastnn.targets.cuda.host import availability as cuda_found
from fastnn.targets.cuda.host import worthwhile
from fastnn.training import loop
from fastnn.training.history import History
from fastnn.training.restart_results import Restart, Restarts
from fastnn.training.restarts import restart_seed

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}
RUNS = {"blocks": {}, "validated": VALIDATION, "called": {"callbacks": [lambda *_: None]}}


def bits_of(trainer):
    """Return all that training changes but for the times and the other restarts."""
    epoch, step, history, arrays = state_of(trainer)
    return epoch, step, history | {"restarts": []}, arrays


@pytest.fixture(params=[3, 64])
def block(request, monkeypatch):
    monkeypatch.setattr(loop, "BLOCK_EPOCHS", request.param)


@pytest.mark.parametrize(
    ("optimizer", "more", "target", "block"),
    all_pairs([SGD(0.1), Adam(0.02)], RUNS, TARGETS, [3, 64]),
    indirect=["block"],
)
def test_every_restart_is_what_its_seed_gives_alone(optimizer, more, target, block):
    more = RUNS[more]
    settings = {"optimizer": optimizer, "target": target, "l2": 0.01}
    together = trainer_of(seed=5, **settings)
    history = together.fit(X, LABELS, epochs=7, restarts=4, **more)
    assert history is together.history
    alone = [trainer_of(seed=each.seed, **settings) for each in history.restarts]
    for trainer, found in zip(alone, history.restarts, strict=True):
        trainer.fit(X, LABELS, epochs=7, **more)
        expected = trainer.history
        assert (found.epochs, found.diverged, found.loss) == (7, False, expected.loss[-1])
        assert found.validation_loss == expected.validation_loss[-1]
        assert found.validation_accuracy == expected.validation_accuracy[-1]
    scores = [each.validation_loss or each.loss for each in history.restarts]
    best = alone[scores.index(min(scores))]
    assert history.restarts.best == scores.index(min(scores))
    assert together.problem == best.problem
    assert bits_of(together) == bits_of(best)
    for trainer in (together, best):
        trainer.fit(X, LABELS, epochs=3)
    assert bits_of(together) == bits_of(best)
    assert len(together.history.restarts) == 4
    assert together.history.seconds[0] > 0.0


@pytest.mark.parametrize("target", TARGETS)
def test_averages_limits_and_rules_of_the_callers_own_restart_too(target, block):
    settings = {
        "layers": [Dense(5, lambda z: tanh(z) + 0.1 * z, max_norm=0.9), Dense(1)],
        "loss": lambda z, y: (z - y) ** 2 / 2,
        "optimizer": AveragedSGD(0.1, start=6),
        "clip_norm": 0.5,
        "target": target,
    }
    together = trainer_of(**settings)
    together.fit(X, REAL, epochs=4, restarts=3)
    alone = trainer_of(seed=together.problem.seed, **settings)
    alone.fit(X, REAL, epochs=4)
    assert together.history.loss == alone.history.loss
    for pair, other in zip(together.parameters, alone.parameters, strict=True):
        assert [a.tobytes() for a in pair] == [a.tobytes() for a in other]
    grid = {"clip_norm": [None, 0.5], "max_norm": [None, 0.9]}
    result = sweep(together, X, REAL, 4, grid=grid, seeds=[together.problem.seed])
    assert result[-1].training_loss == alone.history.loss[-1]
    assert len({run.training_loss for run in result}) > 1


def test_auto_may_choose_a_device_for_many_networks_and_not_for_one(monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(cuda_found, "unavailable", lambda *_: "")
    engine = SimpleNamespace(Engine=reference.Engine)
    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.engine", engine)
    trainer = trainer_of(target="auto")
    monkeypatch.setattr(worthwhile, "WORTHWHILE", 3 * worthwhile.step_operations(trainer.problem))
    alone = [[0], [1], [2]]  # no kernels can share a launch here
    monkeypatch.setattr("fastnn.training.many._groups", lambda members: alone)
    history = trainer.fit(X, LABELS, epochs=1, restarts=3, sample_weight=WEIGHTS)
    assert (trainer.target, history.target) == ("auto", "cuda")
    assert history.reason.startswith("auto chose cuda: Some Card")
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.history.target == "cpu"


def test_restarts_differ_in_weights_order_and_dropout():
    seeds = [restart_seed(7, restart) for restart in range(100)]
    assert seeds[0] == 7 and len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not set(seeds) & {restart_seed(8, restart) for restart in range(100)}
    assert restart_seed(2**63 - 1, 1) < 2**63


# By value: a file names the seeds of its restarts, and README lets anyone train one of them alone.
@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (5, [5, 8045672173732945952, 4494970918977969219, 6016551734882969901]),
        (2**63 - 1, [2**63 - 1, 6166416388827167597, 6105408706745039082]),
    ],
)
def test_the_seeds_of_restarts_are_these_numbers(seed, expected):
    history = trainer_of(seed=seed).fit(X, LABELS, epochs=1, restarts=len(expected))
    assert [each.seed for each in history.restarts] == expected


@pytest.mark.parametrize("more", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("threads", [1, 2, 3, 7, None])
def test_the_results_are_the_same_bits_for_any_number_of_threads(threads, more):
    first, other = (trainer_of(target="cpu", threads=each) for each in (1, threads))
    for trainer in (first, other):
        trainer.fit(X, LABELS, epochs=4, restarts=5, **more)
    assert other.threads == threads
    assert bits_of(first) == bits_of(other)
    kept = [
        [(each.seed, each.loss, each.validation_loss) for each in trainer.history.restarts]
        for trainer in (first, other)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_restart_has_the_parameters_and_the_rate_of_the_trainer(target):
    one, many = (trainer_of(target=target, shuffle=False) for _ in range(2))
    parameters = [(2 * W, b + 1) for W, b in one.parameters]
    for trainer in (one, many):
        trainer.set_parameters(parameters)
        trainer.rate_factor = 0.5
    one.fit(X, LABELS, epochs=2)
    many.fit(X, LABELS, epochs=2, restarts=3)
    assert many.history.restarts[0].loss == one.history.loss[-1]
    assert many.history.learning_rate == [0.05, 0.05] and many.rate_factor == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"restarts": 0}, "restarts must be a whole number of at least 1, not 0"),
        ({"restarts": 2.0}, "restarts must be a whole number"),
        ({"restarts": True}, "restarts must be a whole number"),
        ({"restarts": 2, "epochs": 0}, "restarts=2 needs at least one epoch"),
    ],
)
def test_restarts_that_make_no_sense_are_refused(arguments, message):
    trainer = trainer_of()
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=message):
        trainer.fit(X, LABELS, **arguments)
    assert state_of(trainer) == before


def test_a_trainer_that_has_trained_cannot_restart():
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match="has done 1 epoch already; make a new Trainer"):
        trainer.fit(X, LABELS, restarts=2)
    assert state_of(trainer) == before


def wild(seeds):
    """Return an initialiser that gives far too large weights to networks of these seeds."""
    drawn = {
        np.random.Generator(np.random.PCG64([seed, 0x696E6974, 0])).random(): seed for seed in seeds
    }

    def init(generator, inputs, outputs):
        return np.full((inputs, outputs), 1e30 if generator.random() in drawn else 0.01)

    return init


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("more", [{}, {"validation_data": (X, REAL)}], ids=["blocks", "validated"])
def test_those_that_diverge_lose(more, target, block):
    layers = [Dense(1, init=wild([restart_seed(0, restart) for restart in (0, 2)]))]
    trainer = trainer_of(layers, loss="mse", target=target)
    history = trainer.fit(X, REAL, epochs=5, restarts=3, **more)
    assert [each.diverged for each in history.restarts] == [True, False, True]
    assert [each.epochs for each in history.restarts] == [0, 5, 0]
    assert history.restarts[0].loss is None
    assert history.restarts.best == 1 and trainer.problem.seed == history.restarts[1].seed
    assert "diverged" in repr(history.restarts)


@pytest.mark.parametrize("target", TARGETS)
def test_where_all_diverge_nothing_changes(target):
    trainer = trainer_of([Dense(1)], loss="mse", target=target, optimizer=SGD(100.0))
    before = state_of(trainer)
    with pytest.raises(Diverged, match="all 3 restarts diverged, the first in epoch") as found:
        trainer.fit(X, REAL, epochs=100, restarts=3)
    assert state_of(trainer) == before
    alone = trainer_of([Dense(1)], loss="mse", target=target, optimizer=SGD(100.0))
    with pytest.raises(Diverged) as expected:
        alone.fit(X, REAL, epochs=100)
    assert (found.value.epoch, found.value.step) == (expected.value.epoch, expected.value.step)


@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping_counts_for_each_and_becomes_the_best_ones(target):
    settings = {"target": target, "optimizer": SGD(0.5)}
    stopping, alone = EarlyStopping(patience=1), EarlyStopping(patience=1)
    trainer = trainer_of(threads=2, **settings)
    callbacks = [stopping, ReduceOnPlateau(0.5, patience=0)]
    trainer.fit(X, LABELS, epochs=30, restarts=4, callbacks=callbacks, **VALIDATION)
    found = trainer.history.restarts
    assert len({each.epochs for each in found}) > 1
    other = trainer_of(seed=trainer.problem.seed, **settings)
    callbacks = [alone, ReduceOnPlateau(0.5, patience=0)]
    other.fit(X, LABELS, epochs=30, callbacks=callbacks, **VALIDATION)
    assert bits_of(trainer) == bits_of(other)
    assert found[found.best].validation_loss == min(each.validation_loss for each in found)
    assert found[found.best].epochs == trainer.epoch
    assert stopping.best.epoch == alone.best.epoch and stopping.best.threads == 2
    trainer.restore(stopping.best)


def test_callbacks_of_the_callers_are_called_for_each_epoch_of_each_one_at_a_time():
    seen, inside = [], threading.Lock()

    def record(trainer, history):
        assert inside.acquire(blocking=False)
        seen.append((trainer.problem.seed, trainer.epoch, len(history)))
        inside.release()
        return trainer.epoch == 2

    trainer = trainer_of(target="cpu", threads=3)
    history = trainer.fit(X, LABELS, epochs=9, restarts=6, callbacks=[record])
    expected = [(each.seed, epoch, epoch) for each in history.restarts for epoch in (1, 2)]
    assert sorted(seen) == sorted(expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine")])
def test_an_error_in_one_of_them_leaves_the_trainer_as_it_was(error, target):
    trainer = trainer_of(target=target, threads=2)
    before = state_of(trainer)

    def fail(other, history):
        if other.epoch == 3 and other.problem.seed != 0:
            raise error

    with pytest.raises(type(error)):
        trainer.fit(X, LABELS, epochs=5, restarts=4, callbacks=[fail])
    assert state_of(trainer) == before
    assert not [each for each in threading.enumerate() if each.name.startswith("fastnn-worker")]


def test_a_rate_that_is_no_number_late_in_training_is_found():
    trainer = trainer_of(optimizer=SGD(lambda step: 0.1 if step < 1_000_000 else -1.0))
    trainer.fit(X, LABELS, epochs=2, restarts=2)
    assert trainer.epoch == 2


LONG = """
import numpy as np
from fastnn import SGD, Dense, Network, Trainer

row = np.linspace(-1, 1, 64, dtype=np.float32)
X = np.broadcast_to(row, ({rows}, 64))
y = np.zeros(len(X), np.int64)
Trainer(Network(64, [Dense(64, "relu"), Dense(10)])).fit(X[:640], y[:640], 1, restarts=2)
trainer = Trainer(Network(64, [Dense(64, "relu"), Dense(10)]), optimizer=SGD(1e-3), threads=2)
before = trainer.parameters
print("ready", flush=True)
try:
    trainer.fit(X, y, epochs=10**6, restarts=16)
except KeyboardInterrupt:
    print("stopped", flush=True)
same = all(
    np.array_equal(a, b)
    for pair, other in zip(before, trainer.parameters, strict=True)
    for a, b in zip(pair, other, strict=True)
)
print(same, trainer.epoch, trainer.step, len(trainer.history), trainer.problem.seed)
"""


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="an epoch of this size takes minutes")
@pytest.mark.parametrize("rows", [640, 4_000_000])
def test_ctrl_c_ends_all_of_them_soon_and_changes_nothing(rows):
    assert interrupted(LONG.format(rows=rows)) == "True 0 0 0 0\n"


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_keeps_what_became_of_each(target, tmp_path):
    trainer = trainer_of(LAYERS, target=target)
    trainer.fit(X, LABELS, epochs=2, restarts=3, **VALIDATION)
    trainer.save(tmp_path / "model")
    found = Trainer.load(tmp_path / "model")
    assert found.history.restarts == trainer.history.restarts
    assert isinstance(found.history.restarts, Restarts)
    assert found.history == trainer.history


RESTARTS = Restarts(
    (
        Restart(0, 5, 0.5, 0.75, 0.25, 1.5, False),
        Restart(99, 2, 0.25, None, None, 1.0, True),
        Restart(7, 5, 0.625, 0.5, 0.5, 0.5, False),
    )
)


def test_restarts_print_as_a_table_with_the_best_marked():
    assert RESTARTS.best == 2
    lines = repr(RESTARTS).splitlines()
    assert lines[0] == "3 restarts"
    assert [line.split() for line in lines[1:]] == [
        [
            "restart", "seed", "epochs", "loss", "validation_loss", "validation_accuracy",
            "seconds", "diverged",
        ],
        ["0", "0", "5", "0.5", "0.75", "0.25", "1.5"],
        ["1", "99", "2", "0.25", "-", "-", "1", "yes"],
        ["2", "7", "5", "0.625", "0.5", "0.5", "0.5", "<-", "best"],
    ]  # fmt: skip
    assert repr(Restarts()) == "Restarts()"
    history = History(restarts=RESTARTS, target="cpu")
    assert repr(history).endswith("on cpu, 1 thread; the best of 3 restarts")


def test_a_loss_that_is_no_number_is_worse_than_any_but_better_than_none():
    nan, worse = Restart(1, 1, 1.0, float("nan"), 0.5, 1.0, False), RESTARTS[0]
    assert Restarts((nan, worse)).best == 1
    assert Restarts((RESTARTS[1], nan)).best == 1


def test_restarts_go_through_json_unchanged():
    history = History(restarts=RESTARTS)
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    older = history.to_dict()
    del older["restarts"]
    assert History.from_dict(older).restarts == ()


@pytest.mark.parametrize(
    "damage",
    [None, {}, [3], [{}], [{"seed": 1}]]
    + [
        [RESTARTS.to_list()[0] | change]
        for change in (
            {"seed": -1}, {"seed": 1.0}, {"epochs": None}, {"loss": "1"}, {"loss": True},
            {"diverged": 1}, {"seconds": None}, {"unknown": 1},
        )
    ],
)  # fmt: skip
def test_damaged_restarts_are_refused(damage):
    with pytest.raises(CorruptFile, match="saved history is damaged: restarts cannot be"):
        History.from_dict(History().to_dict() | {"restarts": damage})
