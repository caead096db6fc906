"""Training goes on to the same bits: after another call of fit, and after a file."""

import os
from dataclasses import fields, replace

import numpy as np
import pytest
from fake_driver import no_driver
from pairs import all_pairs
from trainer_cases import BINARY, LABELS, LAYERS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    CorruptFile,
    Dense,
    Dropout,
    InvalidInput,
    Lion,
    Nadam,
    RMSProp,
    TargetUnavailable,
    Trainer,
)
from fastnn.inputs.problem import Problem
from fastnn.storage import tensor_file
from fastnn.targets.cpu import bfloat16

OPTIMIZERS = [
    SGD(0.1),
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True),
    Adam(0.01),
    AdamW(0.01),
    Nadam(0.01),
    RMSProp(0.01),
    Adagrad(0.01),
    Lion(0.01),
    AveragedSGD(0.1),
    AveragedSGD(0.1, start=7),
]


@pytest.mark.parametrize(
    ("target", "optimizer", "between"),
    all_pairs(TARGETS, OPTIMIZERS, ["nothing", "prediction", "file"]),
    ids=str,
)
def test_two_epochs_and_three_are_five_to_the_bit(between, optimizer, target, tmp_path):
    settings = {"optimizer": optimizer, "target": target, "l1": 1e-3, "l2": 1e-2, "seed": 11}
    data = {"sample_weight": WEIGHTS, "validation_data": (X[:9], LABELS[:9])}
    whole, parts = trainer_of(**settings), trainer_of(**settings)
    whole.fit(X, LABELS, epochs=5, **data)
    parts.fit(X, LABELS, epochs=2, **data)
    if between == "prediction":
        parts.predict(X)
        parts.evaluate(X, LABELS)
    elif between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    parts.fit(X, LABELS, epochs=3, **data)
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_an_epoch_on_other_data_between_does_not_disturb_the_count(target):
    """Epochs of different length: updates and epochs are counted apart."""
    whole, parts = (trainer_of(optimizer=Adam(0.01), target=target) for _ in range(2))
    for trainer in (whole, parts):
        trainer.fit(X[:9], LABELS[:9], epochs=1)
    assert whole.step == 2
    whole.fit(X, LABELS, epochs=2)
    parts.fit(X, LABELS, epochs=1)
    parts.fit(X, LABELS, epochs=1)
    assert whole.step == 12
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({"loss": "mse", "layers": [Dense(1)], "dtype": "float64"}, REAL),
        ({"loss": "hinge", "layers": [Dense(3, "gelu"), Dense(1)], "shuffle": False}, BINARY),
        ({"optimizer": AdamW(0.02, 0.8, 0.9, 1e-6, 0.3), "batch_size": 5, "threads": 2}, LABELS),
        (
            {
                "layers": [
                    Dropout(0.1),
                    Dense(5, "leaky_relu", init="normal", alpha=0.2),
                    Dense(3, bias=False, init=lambda generator, k, n: np.ones((k, n))),
                ],
                "l1": 0.01,
                "l2": 0.1,
                "seed": 2**63 - 1,
            },
            LABELS,
        ),
        ({"optimizer": Adam(0.02), "clip_value": 0.01, "clip_norm": 0.05}, LABELS),
        ({"layers": [Dense(6, "tanh", l1=0.01, l2=0), Dense(3, max_norm=0.5)], "l2": 0.1}, LABELS),
        ({"optimizer": AveragedSGD(0.1, start=3)}, LABELS),
        ({"optimizer": Adam(0.02), "layers": [Dense(6, "prelu", alpha=-0.5), Dense(3)]}, LABELS),
        ({"loss": "mse", "layers": [Dense(1, "prelu")]}, REAL),
    ],
)
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_file_keeps_every_setting(settings, targets, epochs, tmp_path):
    trainer = trainer_of(**settings)
    trainer.fit(X, targets, epochs=epochs)
    before = state_of(trainer)
    trainer.save(tmp_path / "model")
    found = Trainer.load(tmp_path / "model")
    assert state_of(trainer) == before == state_of(found)
    assert found.history == trainer.history
    for name in ("target", "threads", "shuffle"):
        assert getattr(found, name) == getattr(trainer, name)
    for name in (each.name for each in fields(Problem) if each.name != "network"):
        assert getattr(found.problem, name) == getattr(trainer.problem, name)
    network = trainer.problem.network
    assert found.problem.network.dropouts == network.dropouts
    for layer, saved in zip(network.dense, found.problem.network.dense, strict=True):
        # A function cannot be kept; what it gave is.
        assert replace(layer, init=saved.init) == saved
    trainer.fit(X, targets, epochs=1)
    found.fit(X, targets, epochs=1)
    assert state_of(found) == state_of(trainer)


def test_a_file_can_be_loaded_for_another_target_and_thread_count(tmp_path):
    trainer = trainer_of(threads=2)
    trainer.fit(X, LABELS, epochs=1)
    trainer.save(tmp_path / "model")
    found = Trainer.load(tmp_path / "model", target="cpu", threads=1)
    assert (found.target, found.threads) == ("cpu", 1)
    np.testing.assert_allclose(found.forward(X), trainer.forward(X), rtol=1e-5, atol=1e-6)
    found.fit(X, LABELS, epochs=1)
    assert found.history.target == "cpu"
    assert Trainer.load(tmp_path / "model").threads == 2


def test_what_replaces_a_setting_is_checked_before_the_file_is_read(tmp_path, monkeypatch):
    no_driver(monkeypatch)
    with pytest.raises(InvalidInput, match="unknown target 'gpu'"):
        Trainer.load(tmp_path / "missing", target="gpu")
    with pytest.raises(TargetUnavailable):
        Trainer.load(tmp_path / "missing", target="cuda")
    with pytest.raises(InvalidInput, match="threads must be"):
        Trainer.load(tmp_path / "missing", threads=0)
    with pytest.raises(InvalidInput, match="unknown precision 'half'"):
        Trainer.load(tmp_path / "missing", precision="half")
    with pytest.raises(FileNotFoundError):
        Trainer.load(tmp_path / "missing")


def test_saving_replaces_a_file_whole_and_leaves_nothing_beside_it(tmp_path):
    trainer = trainer_of()
    trainer.save(tmp_path / "model")
    trainer.fit(X, LABELS, epochs=1)
    trainer.save(os.fspath(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert Trainer.load(tmp_path / "model").epoch == 1


def rewritten(path, change):
    """Save a trainer with momentum to `path`, after `change(tensors, content)`."""
    trainer = trainer_of(optimizer=SGD(0.1, 0.9))
    trainer.save(path)
    tensors, content = tensor_file.read(path)
    change(tensors, content)
    tensor_file.write(path, tensors, content)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda tensors: tensors.pop("layers.1.bias"), "lacks the array 'layers.1.bias'"),
        (lambda tensors: tensors.pop("state.0.layers.0.weights"), "lacks the array 'state.0"),
        (
            lambda tensors: tensors.update({"layers.2.bias": tensors["layers.1.bias"]}),
            "no place for the array 'layers.2.bias'",
        ),
        (
            lambda tensors: tensors.update({"layers.0.weights": np.ones((6, 4), np.float32)}),
            r"'layers.0.weights' is float32 of shape \(6, 4\), .* needs float32 of shape \(4, 6\)",
        ),
        (
            lambda tensors: tensors.update({"layers.0.weights": np.ones((4, 6))}),
            "'layers.0.weights' is float64",
        ),
        (
            lambda tensors: tensors.update({"layers.1.bias": np.full(3, np.nan, np.float32)}),
            "'layers.1.bias' has a number that is not finite",
        ),
    ],
)
def test_arrays_that_do_not_fit_the_network_are_refused(damage, named, tmp_path):
    rewritten(tmp_path / "model", lambda tensors, content: damage(tensors))
    with pytest.raises(CorruptFile, match=f"model is damaged: .*{named}"):
        Trainer.load(tmp_path / "model")


@pytest.mark.parametrize(
    "damage",
    [
        {"loss": "cosine"},
        {"loss": "binary_cross_entropy", "dtype": "float16"},
        {"batch_size": 0},
        {"l2": "0"},
        {"clip_value": -1.0},
        {"clip_norm": "1"},
        {"precision": "half"},
        {"seed": None},
        {"optimizer": {"kind": "SGD"}},
        {"network": {"inputs": 4, "layers": []}},
        {"network": {"inputs": 5, "layers": [{}]}},
        {"target": "abacus"},
        {"threads": 0},
        {"shuffle": "yes"},
        {"epoch": -1},
        {"step": 0.5},
        {"rate_factor": -1.0},
        {"rate_factor": None},
        {"history": {}},
        {"unknown": 1},
    ],
)
def test_settings_that_no_trainer_has_are_refused(damage, tmp_path):
    rewritten(tmp_path / "model", lambda tensors, content: content.update(damage))
    with pytest.raises(CorruptFile, match="damaged"):
        Trainer.load(tmp_path / "model")


def test_a_file_without_one_of_the_settings_is_refused(tmp_path):
    rewritten(tmp_path / "model", lambda tensors, content: content.pop("shuffle"))
    with pytest.raises(CorruptFile, match="settings are missing or unknown"):
        Trainer.load(tmp_path / "model")


def test_a_file_from_before_there_were_limits_of_the_gradient_has_none(tmp_path):
    def without(tensors, content):
        del content["clip_value"], content["clip_norm"], content["precision"]

    rewritten(tmp_path / "model", without)
    found = Trainer.load(tmp_path / "model").problem
    assert (found.clip_value, found.clip_norm, found.precision) == (None, None, "float32")


def test_what_was_trained_in_another_precision_goes_on_elsewhere_when_told_so(
    tmp_path, monkeypatch
):
    def elsewhere(tensors, content):
        content.update(target="cuda", precision="bfloat16")

    rewritten(tmp_path / "model", elsewhere)
    monkeypatch.setattr(bfloat16, "missing", lambda: "another processor")
    with pytest.raises(TargetUnavailable, match="'bfloat16' on .*load.path, precision='float32'"):
        Trainer.load(tmp_path / "model", target="cpu")
    trainer = Trainer.load(tmp_path / "model", target="numpy", precision="float32")
    assert (trainer.target, trainer.problem.precision) == ("numpy", "float32")
    trainer.fit(X, LABELS, epochs=1)


def test_the_layers_of_a_saved_trainer_can_be_read_by_name(tmp_path):
    trainer = trainer_of(LAYERS)
    trainer.save(tmp_path / "model")
    tensors, content = tensor_file.read(tmp_path / "model")
    assert sorted(tensors) == [
        "layers.0.bias",
        "layers.0.weights",
        "layers.1.bias",
        "layers.1.weights",
    ]
    assert np.array_equal(tensors["layers.0.weights"], trainer.parameters[0][0])
    assert content["optimizer"]["learning_rate"] == 0.1
