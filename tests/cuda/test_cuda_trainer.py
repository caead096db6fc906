"""A Trainer on CUDA beside one on another target: the same numbers, and from one to the other.

What a Trainer does by itself is asked of CUDA by the tests one folder up: in the simulator they run
for CUDA alone. Not shown there is whatever tests/targets/cuda_cases.py lists.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainer_cases import LABELS, REAL, WEIGHTS, X, trainer_of

from fastnn import SGD, Adam, AveragedSGD, Dense, Diverged, Dropout, Nadam, Trainer, sweep
from fastnn.errors import DeviceFailure, InvalidInput
from fastnn.graph import abs as size
from fastnn.graph import exp, logsumexp, tanh
from fastnn.inputs.data import Data
from fastnn.random.row_orders import epoch_order
from fastnn.targets import numpy as reference
from fastnn.training.restarts import restart_seed

pytestmark = pytest.mark.usefixtures("running")

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
RANDOM = (Dropout(0.2), Dense(7, "rrelu"), Dropout(0.5), Dense(5, "prelu"), Dense(3))
VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


def assert_near(found: Trainer, expected: Trainer) -> None:
    """Check that two trainers have come to the same, but for rounding."""
    tolerance = TOLERANCE[str(expected.problem.dtype)]
    one, other = found.__getstate__(), expected.__getstate__()
    assert (one.epoch, one.step) == (other.epoch, other.step)
    for name in ("loss", "validation_loss", "validation_accuracy"):
        scores = [
            np.array(getattr(history, name), float)  # None, where there was none, as NaN
            for history in (one.history, other.history)
        ]
        np.testing.assert_allclose(*scores, rtol=tolerance)
    for layers, same in zip(
        (one.parameters, *one.slots), (other.parameters, *other.slots), strict=True
    ):
        for arrays, equal in zip(layers, same, strict=True):
            for a, b in zip(arrays, equal, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, abs(b).max()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("first", "second"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "numpy"), ("numpy", "cuda")]
)
@pytest.mark.parametrize(
    "optimizer", [Nadam(0.01), AveragedSGD(0.1, start=7)], ids=["nadam", "mean"]
)
def test_a_model_saved_on_one_target_goes_on_on_another(
    first: str, second: str, dtype: str, optimizer: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "dtype": dtype, "l2": 0.01, "seed": 3}
    whole = trainer_of(RANDOM, **settings)
    whole.fit(X, LABELS, epochs=5, sample_weight=WEIGHTS, **VALIDATION)
    moved = trainer_of(RANDOM, target=first, **settings)
    moved.fit(X, LABELS, epochs=2, sample_weight=WEIGHTS, **VALIDATION)
    moved.save(tmp_path / "model")
    moved = Trainer.load(tmp_path / "model", target=second)
    moved.fit(X, LABELS, epochs=3, sample_weight=WEIGHTS, **VALIDATION)
    assert moved.history.target == second
    assert_near(moved, whole)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_predictions_and_scores_are_the_numpy_targets(dtype: str) -> None:
    numpy, cuda = (trainer_of(RANDOM, target=each, dtype=dtype) for each in ("numpy", "cuda"))
    for trainer in (numpy, cuda):
        trainer.fit(X, LABELS, epochs=2)
    tolerance = TOLERANCE[dtype]
    assert np.array_equal(cuda.predict(X), numpy.predict(X))
    np.testing.assert_allclose(cuda.predict_proba(X), numpy.predict_proba(X), rtol=tolerance)
    one, other = (each.evaluate(X, LABELS, WEIGHTS) for each in (cuda, numpy))
    assert one == pytest.approx(other, rel=tolerance)


def test_rows_come_in_the_order_of_seed_and_epoch() -> None:
    trainer = trainer_of(target="cuda", seed=5)
    orders = trainer._open().orders(range(2, 5), 37)
    assert np.array_equal(orders, [epoch_order(5, epoch, 37) for epoch in (2, 3, 4)])


def test_every_step_has_the_rows_masks_and_slopes_of_the_numpy_target() -> None:
    """Trained up to each step in turn, so that no later step hides what one did."""
    from fastnn.targets.cuda.engine import Engine

    model = trainer_of(RANDOM, dtype="float64", optimizer=Adam(0.05)).__getstate__()
    order = epoch_order(5, 1, 37)
    for steps in range(1, 6):
        rows = order[: 8 * steps]
        ends = []
        for kind in (Engine, reference.Engine):
            with closing(kind(model.problem, 1)) as engine:
                engine.load(model.parameters, model.slots)
                data = Data(X.astype(np.float64), LABELS)
                result = engine.train_epoch(data, rows, np.full(steps, 0.05), 1, 5)
                ends.append((result.loss, engine.parameters()))
        (loss, found), (expected_loss, expected) = ends
        assert loss == pytest.approx(expected_loss, rel=1e-12), steps
        for arrays, same in zip(found, expected, strict=True):
            for a, b in zip(arrays, same, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-11, err_msg=f"step {steps}")


def test_rules_of_the_callers_own_train_as_on_the_numpy_target() -> None:
    layers = [Dense(5, lambda z: tanh(z) + 0.1 * z), Dense(1)]
    pair = [
        trainer_of(layers, loss=lambda z, y: size(z - y) ** 3, target=each, dtype="float64")
        for each in ("cuda", "numpy")
    ]
    for trainer in pair:
        trainer.fit(X, REAL, epochs=3)
    assert_near(*pair)


def test_losses_of_whole_rows_train_as_on_the_numpy_target() -> None:
    def gaussian(outputs: Any, targets: Any) -> Any:
        return 0.5 * (outputs[1] + (targets[0] - outputs[0]) ** 2 * exp(-outputs[1]))

    layers = [Dense(5, lambda z: tanh(z) + 0.1 * z), Dense(2)]
    pair = [trainer_of(layers, loss=gaussian, target=each) for each in ("cuda", "numpy")]
    for trainer in pair:
        trainer.fit(X, REAL, 3, (X[:9], REAL[:9]), WEIGHTS)
        trainer.set(loss=lambda z, y: 0.3 * gaussian(z, y))  # another number of another formula
        trainer.fit(X, REAL, 2, (X[:9], REAL[:9]))
    assert_near(*pair)
    one, other = (each.evaluate(X, REAL, WEIGHTS)["loss"] for each in pair)
    assert one == pytest.approx(other, rel=1e-5)


def preparations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """Return the families, rows of a batch and predictions that sessions prepare from now on."""
    from fastnn.targets.cuda.host.session import Session

    found: list[tuple[str, int, bool]] = []
    monkeypatch.setattr(
        Session, "prepare", lambda self, family, *given: found.append((family.name, *given))
    )
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        VALIDATION,
        VALIDATION | {"metrics": ["auc", "f1"]},
        {"sample_weight": WEIGHTS},
        VALIDATION | {"sample_weight": WEIGHTS, "metrics": ["auc"]},
        {"loss": lambda z, y: logsumexp(z) - z[y[0]] + 0.1 * z @ z},
    ],
    ids=["alone", "validated", "measured", "weighted", "weighted, measured", "loss of a row"],
)
def test_restarts_come_to_the_best_of_the_numpy_target(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastnn.targets.cuda.batched_models import Several

    made = []
    begin = Several.__init__
    monkeypatch.setattr(Several, "__init__", lambda *given: (made.append(1), begin(*given))[1])
    prepared = preparations(monkeypatch)
    own = {name: more[name] for name in more.keys() & {"loss"}}
    more = {name: more[name] for name in more.keys() - {"loss"}}
    settings: dict[str, Any] = {"dtype": "float64", "seed": 2} | own
    pair = [trainer_of(target=each, **settings) for each in ("cuda", "numpy")]
    for trainer in pair:
        trainer.fit(X, LABELS, epochs=4, restarts=5, **more)
    one, other = (trainer.history.restarts for trainer in pair)
    assert one.best == other.best
    assert [each.seed for each in one] == [2, *(restart_seed(2, i) for i in range(1, 5))]
    np.testing.assert_allclose(
        [each.loss for each in one], [each.loss for each in other], rtol=1e-9
    )
    if "validation_data" in more:
        for name in ("validation_loss", "validation_accuracy"):
            scores = [[getattr(each, name) for each in ends] for ends in (one, other)]
            np.testing.assert_allclose(*scores, rtol=1e-9)
    for name in more.get("metrics", ()):
        scores = [[each.metrics[f"validation_{name}"] for each in ends] for ends in (one, other)]
        np.testing.assert_allclose(*scores, rtol=1e-9)
        assert len(pair[0].history[f"validation_{name}"]) == 4
    assert_near(*pair)
    assert len(made) == 1, "one launch trains all of them"
    # Nothing is compiled that no launch needs, as for one network alone.
    assert prepared == [("block", 8, "validation_data" in more)]


TARGET_WEIGHTS = np.random.default_rng(8).integers(0, 3, (len(X), 2)) / 2.0


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS, TARGET_WEIGHTS], ids=["", "rows", "targets"])
def test_a_sweep_in_one_launch_comes_to_the_scores_of_the_numpy_target(
    weights: Any, validated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastnn.targets.cuda.batched_models import Several

    launch, launches = Several._launch, []

    def counted(several: Any, seats: Any, *more: Any) -> Any:
        launches.append(len(seats))
        return launch(several, seats, *more)

    monkeypatch.setattr(Several, "_launch", counted)
    prepared = preparations(monkeypatch)
    settings: dict[str, Any] = {"dtype": "float64", "batch_size": 5}
    if weights is not None and weights.ndim == 2:
        settings |= {"layers": [Dense(4, "tanh"), Dense(2)], "loss": "huber"}
    y = np.stack([REAL, -REAL], axis=1) if "loss" in settings else LABELS
    more = {"validation_data": (X[:9], y[:9], np.arange(9) + 1.0)} if validated else {}
    rows = []
    for target in ("cuda", "numpy"):
        trainer = trainer_of(target=target, **settings)
        grid = {"learning_rate": [0.1, 0.3], "l2": [0.0, 0.2]}
        result = sweep(
            trainer, X, y, 2, grid=grid, seeds=2, sample_weight=weights, keep_trainers=True, **more
        )
        rows.append([[each.training_loss, each.validation_loss or 0.0] for each in result])
        if target == "cuda":
            assert prepared == [("block", 5, validated)]
            alone = trainer_of(target=target, **settings, seed=1)
            alone.set(optimizer=SGD(0.3), l2=0.2)
            alone.fit(X, y, 2, sample_weight=weights, **more)
            same = result[-1].trainer
            assert alone.history.loss == same.history.loss
            assert alone.history.validation_loss == same.history.validation_loss
            for one, other in zip(alone.parameters, same.parameters, strict=True):
                assert all(map(np.array_equal, one, other))
    np.testing.assert_allclose(*rows, rtol=1e-9)
    assert set(launches) == {8}
    assert (np.array(rows)[..., 1] > 0.0).all() == validated


def test_what_diverges_says_the_same_and_leaves_the_last_good_epoch() -> None:
    messages = []
    for target in ("cuda", "numpy"):
        trainer = trainer_of(
            [Dense(1)], loss="mse", optimizer=SGD(0.1), target=target, dtype="float64"
        )
        trainer.fit(X, REAL, epochs=2)
        before = [array.copy() for layer in trainer.parameters for array in layer]
        bad = X.astype(np.float64)
        bad[11] *= 1e300
        with pytest.raises(Diverged) as error:
            trainer.fit(bad, REAL, epochs=3)
        messages.append(str(error.value))
        assert trainer.epoch == 2
        for one, other in zip(before, sum(trainer.parameters, ()), strict=True):
            assert np.array_equal(one, other)
        trainer.fit(X, REAL, epochs=1)  # goes on as if nothing had been
        assert trainer.epoch == 3
    assert messages[0] == messages[1]


def test_a_device_that_fails_leaves_the_last_good_epoch_and_stays_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fastnn.targets.cuda.host import session

    class DriverError(Exception):
        """Stands for Numba's and CUDA's own."""

    trainer = trainer_of(target="cuda", optimizer=Adam(0.05))
    trainer.fit(X, LABELS, epochs=2)
    before = [array.copy() for layer in trainer.parameters for array in layer]
    own = trainer._open()
    train = own._family.train

    def fail(*arguments: Any) -> None:
        train(*arguments)  # what it leaves behind is not to be had any more
        raise DriverError("an illegal memory access")

    monkeypatch.setattr(session, "failures", lambda: (DriverError,))
    monkeypatch.setattr(own._family, "train", fail)
    for _ in range(2):  # the second time without asking the device
        what = rf"training with the {own.family} kernels \(kernel train\w*\): an illegal"
        with pytest.raises(DeviceFailure, match=what):
            trainer.fit(X, LABELS, epochs=3)
        assert trainer.epoch == len(trainer.history) == 2
    trainer.save(tmp_path / "model")
    rescued = Trainer.load(tmp_path / "model", target="numpy")
    for one, other in zip(before, sum(rescued.parameters, ()), strict=True):
        assert np.array_equal(one, other)
    rescued.fit(X, LABELS, epochs=1)


BAD = {
    "NaN": (np.where(X == X[5, 2], np.nan, X), LABELS, {}),
    "width": (X[:, :3], LABELS, {}),
    "strings": (X.astype(str), LABELS, {}),
    "labels": (X, LABELS + 7, {}),
    "rows": (X, LABELS[:9], {}),
    "weights": (X, LABELS, {"sample_weight": -WEIGHTS}),
    "epochs": (X, LABELS, {"epochs": -1}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_the_same_words_as_on_the_cpu(case: str) -> None:
    features, labels, more = BAD[case]
    messages = []
    for target in ("cuda", "cpu"):
        with pytest.raises(InvalidInput) as error:
            trainer_of(target=target).fit(features, labels, **more)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_validation_data_go_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.targets.cuda.host import data as placing

    copied = []
    original = placing.new_array

    def new_array(shape: tuple[int, ...], *more: Any) -> Any:
        copied.append(shape)
        return original(shape, *more)

    monkeypatch.setattr(placing, "new_array", new_array)
    histories = []
    for target in ("cuda", "numpy"):
        trainer = trainer_of(target=target)
        histories.append(trainer.fit(X, LABELS, epochs=3, validation_data=(X[:7], LABELS[:7])))
    assert copied.count((7, X.shape[1])) == 1
    one, other = (history.validation_loss for history in histories)
    np.testing.assert_allclose(one, other, rtol=1e-5)
