"""A stream that brings new classes: what says so, and a last layer that gets outputs for them."""

import copy
import pickle

import numpy as np
import pytest
from trainer_cases import BINARY, LABELS, REAL, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Lion,
    Nadam,
    Network,
    RMSProp,
    Trainer,
)
from fastnn.errors import InvalidInput

OPTIMIZERS = [
    SGD(0.1),
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True),
    Adam(0.02),
    AdamW(0.02),
    Nadam(0.02),
    RMSProp(0.02),
    Adagrad(0.02),
    Lion(0.02),
    AveragedSGD(0.1, start=3),
]
LAYERS = [Dense(6, "prelu"), Dropout(0.2), Dense(3)]
MORE = np.arange(37) % 5  # labels 0 to 4


def arrays_of(trainer):
    """Return every array by its place: parameters, then each slot of state."""
    model = trainer.__getstate__()
    return {
        (group, layer, which): array
        for group, layers in enumerate((model.parameters, *model.slots))
        for layer, arrays in enumerate(layers)
        for which, array in enumerate(arrays)
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
def test_what_is_there_keeps_its_bits_and_what_is_new_starts_as_at_the_beginning(optimizer, target):
    trainer = trainer_of(LAYERS, optimizer=optimizer, target=target)
    trainer.fit(X, LABELS, epochs=2)
    before, outputs, history = arrays_of(trainer), trainer.forward(X), trainer.history
    trainer.widen(outputs=5)
    after = arrays_of(trainer)
    assert after.keys() == before.keys()
    for place, array in before.items():
        found = after[place][..., : array.shape[-1]]
        assert found.dtype == array.dtype and found.tobytes() == array.tobytes()
    drawn = after[0, 1, 0][:, 3:]
    limit = np.sqrt(6 / (6 + 5))  # of xavier_uniform (Glorot & Bengio 2010, eq. 16), 6 to 5 units
    assert drawn.shape == (6, 2) and 0 < abs(drawn).min() and abs(drawn).max() <= limit
    assert len(np.unique(drawn)) == 12 and not after[0, 1, 1][3:].any()
    last = max(group for group, _, _ in after)
    for group in range(1, last + 1):
        mean = optimizer.rule == "averaged_sgd" and group == last
        for which in (0, 1):
            expected = after[0, 1, which][..., 3:] * mean
            assert np.array_equal(after[group, 1, which][..., 3:], expected)
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (2, 10, 2)
    assert trainer.history is history and trainer.network.outputs == 5
    np.testing.assert_allclose(trainer.forward(X)[:, :3], outputs, rtol=2e-6, atol=1e-7)
    trainer.fit(X, MORE, epochs=1)
    assert trainer.step == 15 and len(trainer.history) == 3


@pytest.mark.parametrize("target", TARGETS)
def test_new_classes_are_learned_and_old_ones_kept(target):
    random = np.random.default_rng(0)
    centres = np.array([[3, 0], [-3, 0], [0, 3], [0, -3]])
    y = np.repeat(np.arange(4), 30)
    points = centres[y] + random.normal(0, 0.3, (120, 2))
    trainer = trainer_of(
        [Dense(8, "tanh"), Dense(2)], inputs=2, optimizer=Adam(0.05), target=target
    )
    trainer.fit(points[:60], y[:60], epochs=20)
    assert trainer.evaluate(points[:60], y[:60])["accuracy"] == 1.0
    with pytest.raises(InvalidInput, match=r"label 2 at row 60.*trainer\.widen\(outputs=4\)"):
        trainer.fit(points, y, epochs=1)
    trainer.widen(outputs=4)
    trainer.fit(points, y, epochs=30)
    assert trainer.evaluate(points, y)["accuracy"] == 1.0


def test_the_draw_follows_from_the_seed_the_layer_and_the_width():
    def drawn(seed, *widths, init=None):
        trainer = trainer_of([Dense(6, "tanh"), Dense(3, init=init)], seed=seed)
        for width in widths:
            trainer.widen(outputs=width)
        return trainer.parameters[-1][0][:, 3:]

    assert np.array_equal(drawn(1, 5), drawn(1, 5))
    assert not np.array_equal(drawn(1, 5), drawn(2, 5))
    assert not np.array_equal(drawn(1, 4, 5)[:, 1], drawn(1, 4, 5)[:, 0])
    assert (drawn(1, 5, init="zeros") == 0).all()
    assert (drawn(1, 5, init=lambda generator, k, n: np.full((k, n), n)) == 5).all()
    fresh = trainer_of([Dense(6, "tanh"), Dense(5)], seed=1).parameters[-1][0]
    assert not np.isin(drawn(1, 5), fresh).any()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("last", "loss", "y", "more"),
    [
        (Dense(3, "prelu", alpha=0.3), "mse", np.eye(3)[LABELS], np.eye(5)[LABELS]),
        (Dense(3, max_norm=0.5, bias=False), "softmax_cross_entropy", LABELS, MORE),
        (Dense(1), "huber", REAL, np.column_stack([REAL] * 5)),
        (Dense(2), "binary_cross_entropy", np.eye(2)[BINARY], np.eye(5)[BINARY]),
        (Dense(2), "hinge", np.eye(2)[BINARY], np.eye(5)[BINARY]),
        (Dense(2), lambda z, y: (z - y) ** 2, np.eye(2)[BINARY], np.eye(5)[BINARY]),
    ],
)
def test_other_losses_and_layers_get_more_outputs_too(last, loss, y, more, target):
    trainer = trainer_of([Dense(6, "tanh"), last], loss=loss, target=target, dtype="float64")
    trainer.fit(X, y, epochs=1)
    before = trainer.forward(X)
    trainer.widen(outputs=5)
    assert trainer.network.dense[-1].units == 5
    np.testing.assert_allclose(trainer.forward(X)[:, : last.units], before, rtol=1e-12)
    if last.activation == "prelu":
        assert trainer.parameters[-1][2].tolist()[3:] == [0.3, 0.3]
    trainer.fit(X, more, epochs=1)
    if not last.bias:
        assert not trainer.parameters[-1][1].any()


@pytest.mark.parametrize(
    ("layers", "loss", "outputs", "complaint"),
    [
        ([Dense(3)], "softmax_cross_entropy", 2, "at least the 3 that the network has, not 2"),
        ([Dense(3)], "softmax_cross_entropy", 0, "outputs must be a whole number of at least 1"),
        ([Dense(3)], "softmax_cross_entropy", 4.0, "outputs must be a whole number"),
        ([Dense(3)], "softmax_cross_entropy", 2**31, "at most"),
        (
            [Dense(1)],
            "binary_cross_entropy",
            3,
            r"two classes apart.*ends in Dense\(3\).*softmax_c",
        ),
        ([Dense(1)], "hinge", 2, r"2 would be 2 labels of 0 and 1 each.*ends in Dense\(2\)"),
        ([Dense(1)], "perceptron", 2, "set_parameters"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(layers, loss, outputs, complaint):
    trainer = trainer_of(layers, loss=loss)
    trainer.fit(X, LABELS if layers[0].units == 3 else BINARY, epochs=1)
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=complaint):
        trainer.widen(outputs=outputs)
    assert state_of(trainer) == before
    trainer.widen(outputs=trainer.network.outputs)
    assert state_of(trainer) == before


def test_one_binary_output_is_two_classes_by_the_recipe_of_its_message():
    trainer = trainer_of([Dense(6, "tanh"), Dense(1)], loss="binary_cross_entropy", dtype="float64")
    trainer.fit(X, BINARY, epochs=3)
    hidden, (w, b) = trainer.parameters
    classes = trainer_of([Dense(6, "tanh"), Dense(2)], dtype="float64")
    classes.set_parameters([hidden, (np.hstack((0 * w, w)), np.append(0.0, b))])
    np.testing.assert_allclose(classes.predict_proba(X), trainer.predict_proba(X), rtol=1e-10)


def test_a_label_beyond_the_outputs_names_widen_once_the_network_is_trained():
    trainer, y = trainer_of(LAYERS), LABELS.copy()
    y[[4, 9]] = 3, 6
    with pytest.raises(InvalidInput, match="label 3 at row 4") as found:
        trainer.fit(X, y, epochs=1)
    assert "widen" not in str(found.value)
    trainer.fit(X, LABELS, epochs=1)
    before = state_of(trainer)
    for arguments in ((X, y, 1), (X, LABELS, 1, (X, y)), (X, y.astype(float).reshape(-1, 1), 1)):
        with pytest.raises(InvalidInput, match=r"label 3 at row 4.*trainer\.widen\(outputs=7\)"):
            trainer.fit(*arguments)
    with pytest.raises(InvalidInput, match="^in validation_data, y has label 3"):
        trainer.fit(X, LABELS, 1, (X, y))
    with pytest.raises(InvalidInput, match="label -1") as found:
        trainer.fit(X, np.where(y > 2, -1, y), epochs=1)
    assert "widen" not in str(found.value) and state_of(trainer) == before
    trainer.widen(outputs=7)
    trainer.fit(X, y, epochs=1)


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_a_wider_trainer_is_kept_and_goes_on_to_the_same_bits(way, tmp_path):
    trainer = trainer_of(LAYERS, optimizer=AveragedSGD(0.1, start=2))
    trainer.fit(X, LABELS, epochs=1)
    trainer.widen(outputs=5)
    trainer.save(tmp_path / "model.safetensors")
    again = {
        "file": lambda: Trainer.load(tmp_path / "model.safetensors"),
        "pickle": lambda: pickle.loads(pickle.dumps(trainer)),
        "copy": lambda: copy.deepcopy(trainer),
    }[way]()
    trainer.fit(X, MORE, epochs=2), again.fit(X, MORE, epochs=2)
    assert state_of(trainer) == state_of(again)


def test_restores_after_divergence_checkpoints_and_the_best_epoch_know_of_it(tmp_path):
    path = tmp_path / "model.safetensors"
    stopping = EarlyStopping(5, "loss", min_delta=10.0)
    callbacks = [stopping, Checkpoint(path, keep=1)]
    trainer = trainer_of(LAYERS, on_divergence="restore")
    trainer.fit(X, LABELS, 1, callbacks=callbacks)
    trainer.widen(outputs=5)
    trainer.fit(X, MORE, 1, callbacks=callbacks)  # the best is of the wider network from here on
    resumed = Trainer.resume(path)
    for each, callback in ((trainer, stopping), (resumed, EarlyStopping(5, "loss", 10.0))):
        each.fit(X, MORE, 3, callbacks=callback)
        assert callback.best.epoch == 2 and callback.best.network.outputs == 5
        assert each.network.outputs == 5 and each.epoch == 5
    assert state_of(trainer) == state_of(resumed)
    assert trainer.__getstate__().earlier.parameters[-1][0].shape == (6, 5)


def test_the_mean_of_averaged_sgd_begins_anew_where_it_is_told_to():
    trainer = trainer_of([Dense(3)], optimizer=AveragedSGD(0.1))
    trainer.fit(X, LABELS, epochs=2)
    trainer.widen(outputs=5)
    trainer.set(optimizer=AveragedSGD(0.1, start=trainer.step), batch_size=37)
    trainer.fit(X, MORE, epochs=1)  # one update: the mean is what it gave
    model = trainer.__getstate__()
    assert np.array_equal(model.slots[-1][0][0], model.parameters[0][0])
    assert Network(4, [Dense(5)]) == trainer.network
