"""Layers that are not trained and layers with rates of their own, as a Trainer has them."""

import copy
import pickle

import numpy as np
import pytest
from trainer_cases import TARGETS

import fastnn
from fastnn import SGD, Adam, Dense, Network, Trainer, sweep
from fastnn.errors import InvalidInput

X = np.random.default_rng(0).normal(size=(60, 5))
LABELS = np.random.default_rng(1).integers(0, 3, 60)
LAYERS = [
    Dense(9, "tanh", trainable=False),
    Dense(7, "prelu", rate_factor=0.5, l1=0.01, max_norm=2.0),
    Dense(3),
]


def trainer_of(layers=LAYERS, **settings):
    settings = {"optimizer": Adam(0.01), "batch_size": 8, "threads": 1} | settings
    return Trainer(Network(5, layers), **settings)


def bits(trainer):
    return [array.tobytes() for layer in trainer.parameters for array in layer]


@pytest.mark.parametrize("target", TARGETS)
def test_fit_changes_all_layers_but_those_that_are_not_trained(target):
    trainer = trainer_of(target=target)
    before = trainer.parameters
    trainer.fit(X, LABELS, epochs=3)
    same = [
        np.array_equal(one[0], other[0])
        for one, other in zip(before, trainer.parameters, strict=True)
    ]
    assert same == [True, False, False]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layers", [[Dense(3)], [Dense(9, "tanh"), Dense(3)]])
def test_a_network_of_which_nothing_is_trained_predicts_and_does_not_fit(target, layers):
    frozen = [Dense(each.units, each.activation, trainable=False) for each in layers]
    trainer = trainer_of(frozen, target=target)
    expected = trainer_of(layers, target=target)
    assert np.array_equal(trainer.forward(X), expected.forward(X))
    assert trainer.evaluate(X, LABELS) == expected.evaluate(X, LABELS)
    before = bits(trainer)
    for settings in ({}, {"restarts": 2}, {"epochs": 0}):
        with pytest.raises(InvalidInput, match="no layer .* is trainable, .* trainable=True"):
            trainer.fit(X, LABELS, **settings)
    assert bits(trainer) == before and trainer.epoch == 0
    with pytest.raises(InvalidInput, match="^with batch_size=4: no layer .* is trainable"):
        sweep(trainer, X, LABELS, 1, grid={"batch_size": [4]})


@pytest.mark.parametrize("target", TARGETS)
def test_saved_pickled_and_copied_trainers_go_on_as_the_trainer_does(target, tmp_path):
    trainer = trainer_of(target=target)
    trainer.fit(X, LABELS, epochs=2)
    path = tmp_path / "model.fastnn"
    trainer.save(path)
    others = [
        Trainer.load(path), pickle.loads(pickle.dumps(trainer)), copy.copy(trainer),
    ]  # fmt: skip
    trainer.fit(X, LABELS, epochs=2)
    for other in others:
        assert other.problem == trainer.problem
        other.fit(X, LABELS, epochs=2)
        assert bits(other) == bits(trainer)


def test_a_layer_shows_whether_and_how_fast_it_is_trained():
    assert "trainable=False, rate_factor=1.0" in repr(Dense(3, trainable=False))
    assert "trainable=True, rate_factor=0.5" in repr(Dense(3, rate_factor=0.5))
    assert Dense(3) != Dense(3, trainable=False) != Dense(3, rate_factor=0.5)


def test_a_pickle_from_before_layers_had_these_settings_is_of_trained_layers():
    dense = Dense(3, "relu")
    for name in ("trainable", "rate_factor", "bias_rate_factor"):
        del dense.__dict__[name]
    old = pickle.loads(pickle.dumps(dense))
    assert "trainable" not in vars(old)
    assert old == Dense(3, "relu") and repr(old) == repr(Dense(3, "relu"))
    trainer, expected = trainer_of([old, Dense(3)]), trainer_of([Dense(3, "relu"), Dense(3)])
    for each in (trainer, expected):
        each.fit(X, LABELS, epochs=2)
    assert bits(trainer) == bits(expected)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_draw_and_keep_the_layers_that_are_not_trained(target):
    trainer = trainer_of(target=target)
    trainer.fit(X, LABELS, epochs=2, restarts=3)
    seed = trainer.problem.seed
    drawn = trainer_of(target=target, seed=seed).parameters
    assert np.array_equal(trainer.parameters[0][0], drawn[0][0])
    assert not np.array_equal(trainer.parameters[1][0], drawn[1][0])


def test_a_sweep_goes_over_whether_and_how_fast_hidden_layers_are_trained():
    trainer = trainer_of([Dense(9, "tanh"), Dense(3)], target="cpu")
    result = sweep(
        trainer, X, LABELS, 2, grid={"trainable": [True, False], "rate_factor": [1.0, 0.1]},
        workers=1,
    )  # fmt: skip
    losses = [run.training_loss for run in result]
    assert losses[2] == losses[3] and len(set(losses)) == 3
    for run in result[:2]:
        layers = [Dense(9, "tanh", **run.settings), Dense(3)]
        other = trainer_of(layers, target="cpu")
        assert other.fit(X, LABELS, epochs=2).loss[-1] == run.training_loss


@pytest.mark.parametrize("target", TARGETS)
def test_epochs_in_one_call_and_apart_are_the_same_bits(target):
    one, other = trainer_of(target=target), trainer_of(target=target)
    one.fit(X, LABELS, epochs=5)
    other.fit(X, LABELS, epochs=2)
    other.fit(X, LABELS, epochs=3)
    assert bits(one) == bits(other)


def test_a_frozen_network_before_a_trained_layer_is_a_fixed_map():
    # Training the last layer alone is training one layer on what those before it give.
    layers = [Dense(9, "tanh", trainable=False), Dense(7, "relu", trainable=False), Dense(3)]
    optimizer = SGD(0.1, momentum=0.9)
    for target in TARGETS:
        settings = {"target": target, "dtype": "float64", "optimizer": optimizer}
        trainer = trainer_of(layers, **settings)
        (W0, b0), (W1, b1), last = trainer.parameters
        inputs = np.maximum(np.tanh(X @ W0 + b0) @ W1 + b1, 0)
        alone = fastnn.Trainer(Network(7, [Dense(3)]), batch_size=8, **settings)
        alone.set_parameters([last])
        trainer.fit(X, LABELS, epochs=4)
        alone.fit(inputs, LABELS, epochs=4)
        for one, of in zip(trainer.parameters[2], alone.parameters[0], strict=True):
            np.testing.assert_allclose(one, of, rtol=1e-10, atol=1e-12)
