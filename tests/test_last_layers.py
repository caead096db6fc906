"""A loss and a last layer that cannot learn together are refused, and so is what learns nothing."""

import copy
import pickle

import numpy as np
import pytest
from last_layer_cases import suits
from trainer_cases import BINARY, LABELS, TARGETS, X, trainer_of

from fastnn import Adam, Dense, Network, Trainer, sweep
from fastnn.errors import InvalidInput
from fastnn.graph import exp, log, maximum, sign, tanh
from fastnn.rules.last_layers import OUTPUTS
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.storage import tensor_file

FLAT = ("step", "hardmax")
PAIRS = [(loss, activation) for loss in LOSSES for activation in ACTIVATIONS]
RANDOM = np.random.default_rng(3)
POINTS = RANDOM.normal(size=(60, 2))
SIDE = (POINTS @ [2.0, -1.0] > 0.3).astype(int)
APART = POINTS + 0.4 * np.outer(2 * SIDE - 1, [2.0, -1.0])  # a line separates them


def test_every_activation_has_a_row():
    assert OUTPUTS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize(("loss", "activation"), [pair for pair in PAIRS if not suits(*pair)])
@pytest.mark.parametrize("units", [1, 2])
def test_a_pair_that_cannot_learn_what_the_loss_says_is_refused(loss, activation, units):
    layers = [Dense(3, "tanh"), Dense(units, activation)]
    with pytest.raises(InvalidInput, match=rf"{loss}.*\'{activation}\'.*make it Dense\({units}\)"):
        trainer_of(layers, loss=loss)


@pytest.mark.parametrize(("loss", "activation"), [pair for pair in PAIRS if suits(*pair)])
def test_all_other_pairs_learn_or_are_only_for_prediction(loss, activation):
    kind, units = LOSSES[loss].targets, 2
    # Data that the layer can give: those of a network of the same kind.
    made = Trainer(Network(2, [Dense(2, activation)]), "mse", dtype="float64", target="numpy")
    made.set_parameters([(np.array([[2.0, -1.0], [0.5, 1.5]]), np.array([0.3, -0.2]),
                          *[np.full(2, 0.25)] * (activation == "prelu"))])  # fmt: skip
    features = APART if kind != "real" else POINTS
    labels = {"classes": SIDE, "binary": np.column_stack((SIDE, 1 - SIDE))}
    y = labels[kind] if kind in labels else made.forward(features)
    y = np.exp(y / 4) if kind == "counts" else y
    trainer = Trainer(
        Network(2, [Dense(units, activation)]), loss, Adam(0.1), 10, dtype="float64",
        target="numpy",
    )  # fmt: skip
    if activation in FLAT:
        assert trainer.predict(features).shape == (60, 2)
        with pytest.raises(InvalidInput, match="derivative is 0 everywhere.*make it Dense"):
            trainer.fit(features, y)
        return
    before = trainer.evaluate(features, y)["loss"]
    trainer.fit(features, y, epochs=40)
    after = trainer.evaluate(features, y)
    assert after["loss"] < 0.5 * before
    assert after.get("accuracy", 1.0) > 0.95


@pytest.mark.parametrize(
    ("loss", "activation", "alpha", "good"),
    [
        ("hinge", "leaky_relu", 0.0, False),
        ("perceptron", "leaky_relu", 0.0, False),
        ("perceptron", "elu", 0.0, False),
        ("perceptron", "elu", 0.1, True),
        ("hinge", "elu", 0.9, False),
        ("squared_hinge", "elu", 0.9, False),
        ("squared_hinge", "elu", 1.0, True),
        ("hinge", "prelu", 0.0, True),
        ("mse", "leaky_relu", 0.0, True),
    ],
)
def test_alpha_decides_where_it_is_what_gives_an_output_its_sign(loss, activation, alpha, good):
    layers = [Dense(1, activation, alpha=alpha)]
    if good:
        assert trainer_of(layers, loss=loss).problem.loss == loss
    else:
        with pytest.raises(InvalidInput, match=f"'{activation}', whose outputs"):
            trainer_of(layers, loss=loss)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "flat",
    [
        Dense(4, "step"),
        Dense(4, "hardmax"),
        Dense(1, "softmax"),
        Dense(4, sign),
        Dense(4, lambda z: sign(z) * 2),
    ],
)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_a_hidden_layer_through_which_nothing_learns_is_only_for_prediction(flat, loss, target):
    y = LABELS if loss != "mse" else np.eye(3)[LABELS]
    for layers in ([flat, Dense(3)], [Dense(5, "tanh"), flat, Dense(4, "tanh"), Dense(3)]):
        trainer = trainer_of(layers, loss=loss, target=target)
        trainer.set_parameters(trainer.parameters)
        before = trainer.forward(X)
        assert before.shape == (37, 3) and trainer.evaluate(X, y)["loss"] > 0
        place = layers.index(flat)
        with pytest.raises(InvalidInput, match=f"Dense layer {place} has .*'sigmoid' or 'tanh'"):
            trainer.fit(X, y)
        with pytest.raises(InvalidInput, match="can learn"):
            trainer.fit(X, y, restarts=2)
        with pytest.raises(InvalidInput, match=r"batch_size=4: .*can learn"):
            sweep(trainer, X, y, 1, grid={"batch_size": [4, 8]})
        assert trainer.epoch == 0 and np.array_equal(trainer.forward(X), before)


def test_softmax_of_two_units_and_user_defined_activations_train():
    trainer_of([Dense(2, "softmax"), Dense(3)]).fit(X, LABELS, epochs=1)
    trainer_of([Dense(3, "softmax")], loss="mse").fit(X, np.eye(3)[LABELS], epochs=1)
    trainer_of([Dense(1, lambda z: tanh(z) + 0.5)], loss="hinge").fit(X, BINARY, epochs=1)
    flat = trainer_of([Dense(1, sign)], loss=lambda z, y: (z - y) ** 2)
    with pytest.raises(InvalidInput, match="derivative is 0 everywhere"):
        flat.fit(X, BINARY)


@pytest.mark.parametrize("loss", ["perceptron", "hinge", "modified_huber"])
def test_a_user_defined_last_activation_of_one_sign_is_refused_by_losses_about_signs(loss):
    for one_sided, label in ((lambda z: maximum(z, 0), 1), (lambda z: -exp(z), 0)):
        with pytest.raises(InvalidInput, match=f"all of them mean class {label}"):
            trainer_of([Dense(1, one_sided)], loss=loss).fit(X, BINARY, epochs=1)
    trainer_of([Dense(1, lambda z: log(z))], loss=loss)  # NaN at half of the numbers


def test_logic_gates_set_by_hand_predict_and_are_kept(tmp_path):
    trainer = trainer_of([Dense(2, "step"), Dense(1, "step")], inputs=2, loss="mse")
    gates = [(np.ones((2, 2)), [-1.0, -2.0]), ([[1.0], [-1.0]], [-1.0])]
    trainer.set_parameters(gates)
    trainer.save(tmp_path / "xor.safetensors")
    loaded = Trainer.load(tmp_path / "xor.safetensors")
    for each in (trainer, loaded, copy.copy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert each.predict([[0, 0], [0, 1], [1, 0], [1, 1]]).tolist() == [0, 1, 1, 0]


def test_a_model_that_an_earlier_version_trained_still_predicts_and_says_why_it_trains_no_more(
    tmp_path,
):
    """Hinge on a sigmoid: version 0.1 made, trained and saved such networks."""
    path = tmp_path / "old.safetensors"
    trainer = trainer_of([Dense(1, "sigmoid")], loss="mse")
    expected = trainer.forward(X)
    trainer.save(path)
    tensors, content = tensor_file.read(path)
    tensor_file.write(path, tensors, content | {"loss": "hinge"})
    loaded = Trainer.load(path)
    for each in (
        loaded,
        pickle.loads(pickle.dumps(loaded)),
        Trainer.load(path, precision="float32"),
    ):
        assert each.problem.loss == "hinge"
        assert np.array_equal(each.forward(X), expected) and (each.predict(X) == 1).all()
        with pytest.raises(InvalidInput, match=r"'sigmoid', whose outputs.*make it Dense\(1\)"):
            each.fit(X, BINARY)
        each.threads = 1
        assert each.set(batch_size=3).startswith("batch_size")
        with pytest.raises(InvalidInput, match="whose outputs"):
            each.set(loss="squared_hinge")
        each.set(loss="mse")
        each.fit(X, BINARY, 1)
