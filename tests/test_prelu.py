"""The slopes that prelu learns, as parameters of a trainer: in and out, in files, side by side."""

import copy

import numpy as np
import pytest
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import Adam, AveragedSGD, Dense, Dropout, EarlyStopping, Trainer, sweep
from fastnn.storage import tensor_file

LAYERS = [Dense(6, "prelu"), Dropout(0.2), Dense(5, "prelu", alpha=-0.1), Dense(3)]
SETTINGS = {"layers": LAYERS, "optimizer": Adam(0.05), "clip_norm": 1.0}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fitted", [False, True])
def test_a_layer_of_prelu_has_its_slopes_beside_weights_and_biases(fitted, target):
    trainer = trainer_of(**SETTINGS, target=target)
    if fitted:
        trainer.fit(X, LABELS, epochs=1)
    shapes = [[array.shape for array in layer] for layer in trainer.parameters]
    assert shapes == [[(4, 6), (6,), (6,)], [(6, 5), (5,), (5,)], [(5, 3), (3,)]]
    starts = [0.25] * 6, [-0.1] * 5
    for layer, start in zip(trainer.parameters, starts, strict=False):
        assert (np.abs(layer[2] - start) > 1e-3).any() == fitted


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1)], ids=["adam", "averaged"])
def test_parameters_given_to_another_trainer_predict_the_same(optimizer, target):
    first, second = (
        trainer_of(LAYERS, optimizer=optimizer, target=target, seed=seed) for seed in (1, 2)
    )
    first.fit(X, LABELS, epochs=3)
    second.set_parameters(first.parameters)
    assert np.array_equal(first.forward(X), second.forward(X))
    W, b, slopes = first.parameters[0]
    second.set_parameters([(W, b, slopes + 1), *first.parameters[1:]])
    assert not np.array_equal(first.forward(X), second.forward(X))


@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1)], ids=["adam", "averaged"])
def test_a_file_names_the_slopes_and_layers_without_them_as_ever(optimizer, tmp_path):
    trainer_of(LAYERS, optimizer=optimizer).save(tmp_path / "model")
    names = set(tensor_file.read(tmp_path / "model")[0])
    groups = ["layers", *(f"state.{slot}.layers" for slot in range(len(names) // 8 - 1))]
    of_layer = ("weights", "bias", "slopes"), ("weights", "bias", "slopes"), ("weights", "bias")
    expected = {
        f"{group}.{layer}.{name}"
        for group in groups
        for layer, own in enumerate(of_layer)
        for name in own
    }
    assert names == expected


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("between", ["nothing", "file", "copy"])
def test_training_goes_on_to_the_same_bits(between, target, tmp_path):
    whole, parts = (trainer_of(**SETTINGS, target=target) for _ in range(2))
    whole.fit(X, LABELS, epochs=5)
    parts.fit(X, LABELS, epochs=2)
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    elif between == "copy":
        parts = copy.deepcopy(parts)
    parts.fit(X, LABELS, epochs=3)
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_the_best_epoch_brings_its_slopes_back(target):
    trainer, best = (trainer_of(**SETTINGS, target=target) for _ in range(2))
    stop = EarlyStopping(0, monitor="loss", min_delta=1e9)
    trainer.fit(X, LABELS, epochs=5, callbacks=[stop])
    best.fit(X, LABELS, epochs=1)
    for found, expected in zip(trainer.parameters, best.parameters, strict=True):
        assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_are_what_their_seeds_give_alone(target):
    trainer = trainer_of(**SETTINGS, target=target)
    history = trainer.fit(X, LABELS, epochs=4, restarts=3)
    alone = trainer_of(**SETTINGS, target=target, seed=trainer.problem.seed)
    alone.fit(X, LABELS, epochs=4)
    assert history.loss == alone.history.loss
    for found, expected in zip(trainer.parameters, alone.parameters, strict=True):
        assert all(map(np.array_equal, found, expected))


def test_a_sweep_over_activations_trains_slopes_too():
    trainer = trainer_of([Dense(6, "relu"), Dense(3)])
    result = sweep(trainer, X, LABELS, 3, grid={"activation": ["relu", "prelu"]})
    alone = trainer_of([Dense(6, "prelu"), Dense(3)])
    alone.fit(X, LABELS, 3)
    assert result[1].training_loss == alone.history.loss[-1] != result[0].training_loss
