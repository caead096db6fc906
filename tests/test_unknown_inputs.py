"""``Network(None, ...)``, which takes its number of inputs from the first X that is trained on."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas
import pytest
from trainer_cases import LABELS, REAL, TARGETS, X, state_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    BatchNorm,
    Checkpoint,
    CorruptFile,
    Dense,
    Diverged,
    Dropout,
    InvalidInput,
    LayerNorm,
    Network,
    StepCallback,
    Trainer,
    sweep,
)
from fastnn.training.plain_values import network_from_dict, network_to_dict

LAYERS = (Dense(6, "tanh"), Dropout(0.3), Dense(3))
SAID = "takes its number of inputs from the first X that fit sees"


def trainer_of(inputs=None, layers=LAYERS, **settings) -> Trainer:
    """Return a trainer of a network that does not know its inputs, but for `inputs`."""
    defaults = {"optimizer": SGD(0.1), "batch_size": 8, "target": "numpy"}
    return Trainer(Network(inputs, layers), **(defaults | settings))


@pytest.mark.parametrize(
    ("layers", "settings"),
    [
        (LAYERS, {}),
        (LAYERS, {"seed": 7, "dtype": "float64", "optimizer": Adam(), "l1": 0.01}),
        (LAYERS, {"optimizer": AveragedSGD(0.1)}),
        ((LayerNorm(), Dense(3)), {}),
        ((BatchNorm(), Dense(5, "prelu"), Dense(3)), {}),
        ((Dropout(0.2), Dense(3, init=lambda g, k, n: g.normal(size=(k, n)))), {}),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_it_becomes_the_network_of_that_number_to_the_bit(layers, settings, target):
    if target == "cuda" and any(isinstance(each, (LayerNorm, BatchNorm)) for each in layers):
        pytest.skip("CUDA has no normalization")
    unknown, known = (trainer_of(k, layers, target=target, **settings) for k in (None, 4))
    for trainer in (unknown, known):
        trainer.fit(X, LABELS, 2)
    assert state_of(unknown) == state_of(known)
    assert unknown.network == Network(4, layers) and unknown.problem == known.problem
    assert np.array_equal(unknown.predict(X), known.predict(X))


@pytest.mark.parametrize(
    "given", [X, X.tolist(), X[:, ::-1], pandas.DataFrame(X), (X > 0), X.astype(object), tuple(X)]
)
def test_every_kind_of_X_says_how_many_inputs_there_are(given):
    trainer = trainer_of()
    trainer.fit(given, LABELS, 1)
    assert trainer.network.inputs == 4


def test_the_network_itself_never_changes():
    network = Network(None, LAYERS)
    trainer = Trainer(network, target="numpy")
    trainer.fit(X, LABELS, 1)
    assert network == Network(None, LAYERS) != Network(4, LAYERS) == trainer.network
    assert network.inputs is None and hash(network) == hash(Network(None, LAYERS))
    assert "inputs=None" in repr(network)
    other = Trainer(network, target="numpy")
    other.fit(X[:, :2], LABELS, 1)
    assert other.network.inputs == 2 and trainer.network.inputs == 4


def test_what_needs_no_number_is_known():
    network = Network(None, LAYERS)
    assert network.outputs == 3 and len(network.parametric) == 2 and network.first_trained == 0
    assert network.with_trainable([False, True]).inputs is None
    assert network.names == ("Dense layer 0", "Dense layer 1")


@pytest.mark.parametrize("attribute", ["widths", "shapes", "parameters", "parameter_shapes"])
def test_what_needs_it_is_refused(attribute):
    with pytest.raises(InvalidInput, match=f"{SAID}.*write the number"):
        getattr(Network(None, LAYERS), attribute)


@pytest.mark.parametrize("inputs", [0, -1, 1.5, True, "4"])
def test_other_numbers_are_refused_as_before(inputs):
    with pytest.raises(InvalidInput, match="inputs of a Network must be a whole number"):
        Network(inputs, LAYERS)


CALLS = {
    "predict": lambda t, path: t.predict(X),
    "predict_proba": lambda t, path: t.predict_proba(X),
    "forward": lambda t, path: t.forward(X),
    "evaluate": lambda t, path: t.evaluate(X, LABELS),
    "parameters": lambda t, path: t.parameters,
    "set_parameters": lambda t, path: t.set_parameters(trainer_of(4).parameters),
    "save": lambda t, path: t.save(path / "model"),
    "to_torch": lambda t, path: t.to_torch(),
    "to_onnx": lambda t, path: t.to_onnx(path / "model"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_before_fit_a_trainer_says_what_is_missing(call, tmp_path):
    if call is CALLS["to_torch"]:
        pytest.importorskip("torch")
    if call is CALLS["to_onnx"]:
        pytest.importorskip("onnx")
    trainer = trainer_of(optimizer=AveragedSGD(0.1))
    with pytest.raises(InvalidInput, match=SAID):
        call(trainer, tmp_path)
    assert not list(tmp_path.iterdir())
    assert repr(trainer).startswith("Trainer(?-6-3, ")


def test_copies_and_pickles_do_not_know_it_either_and_train_alike():
    trainer, known = trainer_of(), trainer_of(4)
    known.fit(X, LABELS, 2)
    for other in (
        copy.copy(trainer),
        copy.deepcopy(trainer),
        pickle.loads(pickle.dumps(trainer)),
        trainer,
    ):
        other.fit(X, LABELS, 2)
        assert state_of(other) == state_of(known)


def test_what_is_saved_afterwards_is_whole(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=Checkpoint(tmp_path))
    trainer.save(tmp_path / "model")
    for other in (Trainer.load(tmp_path / "model"), Trainer.resume(tmp_path)):
        assert other.network == Network(4, LAYERS) and state_of(other) == state_of(trainer)


def test_restarts_and_sweeps_take_it_from_X():
    unknown, known = trainer_of(), trainer_of(4)
    for trainer in (unknown, known):
        trainer.fit(X, LABELS, 2, restarts=3)
    assert unknown.seed == known.seed and unknown.history.loss == known.history.loss
    assert np.array_equal(unknown.forward(X), known.forward(X))
    makers = (trainer_of(), trainer_of(4), lambda seed: trainer_of(seed=seed))
    tables = [
        sweep(make, X, LABELS, 2, grid={"l2": [0.0, 0.1]}, seeds=2, validation_data=(X, LABELS))
        for make in makers
    ]
    losses = [[run.training_loss for run in table] for table in tables]
    assert losses[0] == losses[1] == losses[2]
    networks = [Network(None, LAYERS), Network(None, LAYERS[2:])]
    assert len(sweep(trainer_of(), X, LABELS, 1, grid={"network": networks})) == 2


def test_another_width_is_refused_afterwards():
    trainer = trainer_of()
    trainer.fit(X, LABELS, 1)
    for call in (lambda: trainer.fit(X[:, :3], LABELS, 1), lambda: trainer.predict(X[:, :3])):
        with pytest.raises(InvalidInput, match="3 columns but the network has 4 inputs"):
            call()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (X[:, 0], "two-dimensional"),
        (X[:0], "no rows"),
        (X[:, :0], "number of columns of X must be a whole number of at least 1"),
        ([], "no rows"),
        (None, "X is None and no array of numbers"),
        (np.where(X > 1, np.nan, X), "nan at row"),
        (X.astype(str), "dtype <U"),
    ],
)
def test_a_fit_that_is_refused_leaves_it_unknown(bad, said):
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match=said):
        trainer.fit(bad, LABELS, 1)
    assert trainer.network.inputs is None
    with pytest.raises(InvalidInput, match="labels are 0..2"):
        trainer.fit(X[:, :3], LABELS + 5, 1)
    assert trainer.network.inputs is None
    trainer.fit(X, LABELS, 1)
    assert trainer.network.inputs == 4


def test_a_fit_that_diverges_in_its_first_epoch_leaves_it_unknown():
    trainer = trainer_of(loss="mse", layers=[Dense(1)])
    trainer.set(learning_rate=1e30)
    with pytest.raises(Diverged):
        trainer.fit(X, REAL, 1)
    assert not trainer.epoch and trainer.network.inputs is None
    trainer.set(learning_rate=0.01)
    trainer.fit(X[:, :2], REAL, 1)
    assert trainer.network.inputs == 2


def test_no_epoch_is_enough_to_know_it():
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=0)
    fresh = trainer_of(4)
    for found, expected in zip(trainer.parameters, fresh.parameters, strict=True):
        assert all(np.array_equal(*each) for each in zip(found, expected, strict=True))


def test_settings_may_be_changed_before():
    trainer, known = trainer_of(), trainer_of(4, optimizer=Adam(), dtype="float64")
    assert "optimizer SGD -> Adam" in trainer.set(optimizer=Adam(), dtype="float64")
    trainer.widen(5)
    assert trainer.network == Network(None, [*LAYERS[:2], Dense(5)])
    trainer.set(network=Network(None, LAYERS))
    assert trainer.set(trainable=[True, True]) == ""
    for each in (trainer, known):
        each.fit(X, LABELS, 2)
    assert state_of(trainer) == state_of(known)


def test_a_network_may_be_set_that_knows_it():
    trainer = trainer_of()
    trainer.set(network=Network(4, LAYERS))
    assert state_of(trainer) == state_of(trainer_of(4))


def test_a_network_that_does_not_know_it_takes_that_of_the_trainer():
    trainer = trainer_of()
    trainer.fit(X, LABELS, 1)
    trainer.set(network=Network(None, [Dense(6, "relu"), Dense(3)]))
    assert trainer.network == Network(4, [Dense(6, "relu"), Dense(3)])
    with pytest.raises(InvalidInput, match="same shapes"):
        trainer.set(network=Network(None, [Dense(7), Dense(3)]))


def test_a_copy_from_before_can_be_gone_back_to():
    trainer = trainer_of()
    before = copy.copy(trainer)
    trainer.fit(X, LABELS, 2)
    trainer.restore(before)
    assert trainer.network.inputs is None and not trainer.epoch
    trainer.fit(X[:, :3], LABELS, 1)
    assert trainer.network.inputs == 3


def test_callbacks_see_the_whole_network():
    seen = []
    trainer = trainer_of()
    looks = StepCallback(lambda view, *_: seen.append(view.forward(X).shape), every=1)
    trainer.fit(X, LABELS, 1, callbacks=[looks, lambda t, _: seen.append(t.network.inputs)])
    assert set(seen) == {(37, 3), 4}


def test_auto_chooses_when_it_is_known():
    trainer = trainer_of(target="auto")
    assert "does not know its number of inputs" in trainer.history.reason
    trainer.fit(X, LABELS, 1)
    assert "does not know" not in trainer.history.reason


def test_no_file_has_such_a_network():
    values = network_to_dict(Network(None, LAYERS))
    with pytest.raises(CorruptFile, match="no number of inputs"):
        network_from_dict(values)
