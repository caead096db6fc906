"""What normalization has of parameters and statistics, through a trainer's life."""

import copy
import json
import pickle

import numpy as np
import pytest
from simulator import SIMULATED
from trainer_cases import LABELS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    LayerNorm,
    Network,
    Trainer,
    sweep,
)
from fastnn.errors import CorruptFile, InvalidInput, TrainingWarning
from fastnn.inputs.problem import Problem
from fastnn.storage import tensor_file
from fastnn.targets import selection
from fastnn.training.plain_values import network_from_dict, network_to_dict

TARGETS = ["numpy"] if SIMULATED else ["numpy", "cpu"]  # CUDA does not have these yet
LAYERS = [
    BatchNorm(0.2),
    Dense(6, bias=False),
    BatchNorm(activation="prelu"),
    Dropout(0.2),
    Dense(5, "tanh"),
    LayerNorm(),
    Dense(3),
]
SETTINGS = {"layers": LAYERS, "optimizer": Adam(0.05), "clip_norm": 1.0}
# X has 37 rows, in batches of 8: the last has 5.


def arrays_of(trainer):
    return [array.tobytes() for layer in trainer.parameters for array in layer]


@pytest.mark.parametrize("target", TARGETS)
def test_every_layer_has_its_arrays_and_training_changes_them(target):
    trainer = trainer_of(**SETTINGS, target=target)
    shapes = [[array.shape for array in layer] for layer in trainer.parameters]
    assert shapes == [
        [(4,)] * 4, [(4, 6), (6,)], [(6,)] * 5, [(6, 5), (5,)], [(5,)] * 2, [(5, 3), (3,)],
    ]  # fmt: skip
    starts = [array.copy() for layer in trainer.parameters for array in layer]
    assert [set(array.tolist()) for array in trainer.parameters[0]] == [{1}, {0}, {0}, {1}]
    trainer.fit(X, LABELS, epochs=1)
    ends = [array for layer in trainer.parameters for array in layer]
    same = [i for i, (a, b) in enumerate(zip(starts, ends, strict=True)) if np.array_equal(a, b)]
    assert same == [5]  # the bias that is switched off


@pytest.mark.parametrize("target", TARGETS)
def test_prediction_of_a_row_does_not_depend_on_the_others(target):
    trainer = trainer_of(**SETTINGS, target=target)
    trainer.fit(X, LABELS, epochs=2)
    together = trainer.forward(X)
    alone = np.vstack([trainer.forward(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1)], ids=["adam", "averaged"])
def test_parameters_given_to_another_trainer_predict_the_same(optimizer, target):
    first, second = (
        trainer_of(LAYERS, optimizer=optimizer, target=target, seed=seed) for seed in (1, 2)
    )
    first.fit(X, LABELS, epochs=3)
    second.set_parameters(first.parameters)
    assert np.array_equal(first.forward(X), second.forward(X))
    gamma, beta, mean, variance = first.parameters[0]
    second.set_parameters([(gamma, beta, mean + 1, variance), *first.parameters[1:]])
    assert not np.array_equal(first.forward(X), second.forward(X))


@pytest.mark.parametrize("target", TARGETS)
def test_the_mean_of_averaged_sgd_has_the_statistics_of_the_last_update(target):
    plain = trainer_of([BatchNorm(), Dense(3)], optimizer=SGD(0.1), target=target)
    averaged = trainer_of([BatchNorm(), Dense(3)], optimizer=AveragedSGD(0.1), target=target)
    for trainer in (plain, averaged):
        trainer.fit(X, LABELS, epochs=2)
    (_, _, *expected), (gamma, _, *found) = plain.parameters[0], averaged.parameters[0]
    assert all(map(np.array_equal, found, expected))
    assert not np.array_equal(gamma, plain.parameters[0][0])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1, start=3)], ids=str)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle", "copy", "checkpoint", "restore"])
def test_training_goes_on_to_the_same_bits(between, optimizer, target, tmp_path):
    settings = SETTINGS | {"optimizer": optimizer, "target": target}
    whole, parts = (trainer_of(**settings) for _ in range(2))
    whole.fit(X, LABELS, epochs=5)
    parts.fit(X, LABELS, epochs=2, callbacks=Checkpoint(tmp_path / "checkpoints"))
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    elif between == "pickle":
        parts = pickle.loads(pickle.dumps(parts))
    elif between == "copy":
        parts = copy.deepcopy(parts)
    elif between == "checkpoint":
        parts = Trainer.resume(tmp_path / "checkpoints")
    elif between == "restore":
        earlier = copy.copy(parts)
        parts.fit(X, LABELS, epochs=1)
        assert arrays_of(parts) != arrays_of(earlier)
        parts.restore(earlier)
        assert arrays_of(parts) == arrays_of(earlier)
    parts.fit(X, LABELS, epochs=3)
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_the_best_epoch_brings_its_statistics_back(target):
    trainer, best = (trainer_of(**SETTINGS, target=target) for _ in range(2))
    stop = EarlyStopping(0, monitor="loss", min_delta=1e9)
    trainer.fit(X, LABELS, epochs=5, callbacks=[stop])
    best.fit(X, LABELS, epochs=1)
    assert arrays_of(trainer) == arrays_of(best)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_are_what_their_seeds_give_alone(target):
    trainer = trainer_of(**SETTINGS, target=target)
    history = trainer.fit(X, LABELS, epochs=4, restarts=3)
    alone = trainer_of(**SETTINGS, target=target, seed=trainer.problem.seed)
    alone.fit(X, LABELS, epochs=4)
    assert history.loss == alone.history.loss
    assert arrays_of(trainer) == arrays_of(alone)


def test_a_sweep_changes_the_hidden_dense_layers_and_leaves_normalization():
    trainer = trainer_of([Dense(6), BatchNorm(activation="relu"), Dropout(0.1), Dense(3)])
    result = sweep(trainer, X, LABELS, 3, grid={"units": [6, 9], "dropout": [0.3]})
    alone = trainer_of([Dense(9), BatchNorm(activation="relu"), Dropout(0.3), Dense(3)])
    alone.fit(X, LABELS, 3)
    assert result[1].training_loss == alone.history.loss[-1] != result[0].training_loss
    with pytest.raises(InvalidInput, match="BatchNorm needs at least 2 rows in every batch"):
        sweep(trainer, X, LABELS, 3, grid={"batch_size": [8, 9]})


def test_a_normalization_does_not_change_how_the_dense_layers_start():
    plain = trainer_of([Dense(6, "relu"), Dense(3)])
    normalized = trainer_of([BatchNorm(), Dense(6, "relu"), LayerNorm(), Dense(3)])
    for own, at in zip(plain.parameters, (1, 3), strict=True):
        assert all(map(np.array_equal, own, normalized.parameters[at]))


@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1)], ids=["adam", "averaged"])
def test_a_file_names_every_array(optimizer, tmp_path):
    trainer_of(LAYERS, optimizer=optimizer).save(tmp_path / "model")
    names = set(tensor_file.read(tmp_path / "model")[0])
    of_layer = (
        ("gamma", "beta", "mean", "variance"),
        ("weights", "bias"),
        ("gamma", "beta", "mean", "variance", "slopes"),
        ("weights", "bias"),
        ("gamma", "beta"),
        ("weights", "bias"),
    )
    slots = 2 if isinstance(optimizer, Adam) else 1
    groups = ["layers", *(f"state.{slot}.layers" for slot in range(slots))]
    assert names == {
        f"{group}.{layer}.{name}"
        for group in groups
        for layer, own in enumerate(of_layer)
        for name in own
    }


def test_a_file_with_a_negative_variance_is_damaged(tmp_path):
    trainer_of(LAYERS).save(tmp_path / "model")
    tensors, content = tensor_file.read(tmp_path / "model")
    tensors["layers.0.variance"] = tensors["layers.0.variance"] * np.float32(-1)
    tensor_file.write(tmp_path / "model", tensors, content)
    with pytest.raises(CorruptFile, match="'layers.0.variance' has a number that is negative"):
        Trainer.load(tmp_path / "model")


def test_a_network_goes_through_json_unchanged():
    network = Network(4, [*LAYERS[:-1], LayerNorm(0.01, lambda z: z * z), Dense(3)])
    assert network_from_dict(json.loads(json.dumps(network_to_dict(network)))) == network


@pytest.mark.parametrize("target", TARGETS)
def test_an_activation_of_ones_own_and_statistics_over_the_whole_batch(target):
    """Momentum 1 keeps the last batch's statistics; here that is all rows, whatever they weigh."""
    layers = [BatchNorm(1.0, activation=lambda z: z * 0.5), Dense(3)]
    trainer = trainer_of(layers, target=target, batch_size=64, dtype="float64")
    trainer.fit(X, LABELS, epochs=1, sample_weight=np.linspace(0, 5, 37))
    _, _, mean, variance = trainer.parameters[0]
    np.testing.assert_allclose(mean, X.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, X.astype(float).var(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_divergence_leaves_the_statistics_of_the_last_good_epoch(target):
    trainer = trainer_of([Dense(6), BatchNorm(), Dense(1)], loss="mse", target=target)
    y = LABELS.astype(np.float32)
    trainer.fit(X, y, epochs=1)
    before = arrays_of(trainer)
    y[20] = np.float32(3e38)
    with pytest.raises(Exception, match="diverged"):
        trainer.fit(X, y, epochs=3)
    if trainer.epoch == 1:
        assert arrays_of(trainer) == before
    assert all(np.isfinite(array).all() for layer in trainer.parameters for array in layer)


@pytest.mark.parametrize(
    ("rows", "batch_size", "remedy"),
    [
        (37, 1, "batch_size=1 gives one of a single row.*batch_size, such as 32"),
        (37, 9, "37 rows in batches of 9 gives one .*another batch_size, such as 8"),
        (37, 36, "such as 35"),
        (1, 8, "1 rows? in batches of 8|give it more rows"),
        (3, 2, "such as 3"),
    ],
)
def test_a_batch_of_one_row_is_refused_with_a_remedy(rows, batch_size, remedy):
    trainer = trainer_of([Dense(6), BatchNorm(), Dense(3)], batch_size=batch_size)
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=remedy):
        trainer.fit(X[:rows], LABELS[:rows])
    assert state_of(trainer) == before
    trainer_of([Dense(6), LayerNorm(), Dense(3)], batch_size=batch_size).fit(
        X[:rows], LABELS[:rows], epochs=1
    )


@pytest.mark.parametrize("size", range(2, 45))
def test_the_batch_size_that_is_suggested_can_be_taken(size):
    network = Network(4, [BatchNorm(), Dense(3)])

    def check(size, rows):
        problem = Problem(network, "mse", SGD(0.1), size, 0.0, 0.0, np.dtype("float32"), 0)
        problem.check_batches(rows)

    for rows in range(2, 100):
        ends_in_one = rows % min(size, rows) == 1
        try:
            check(size, rows)
        except InvalidInput as error:
            assert ends_in_one
            check(int(str(error).split("such as ")[1].split(",")[0]), rows)
        else:
            assert not ends_in_one


def test_cuda_refuses_normalization_by_name_and_auto_takes_the_processor(monkeypatch):
    network = Network(4, [LayerNorm(), Dense(512), BatchNorm(), Dense(512), BatchNorm(), Dense(3)])
    with pytest.raises(
        InvalidInput, match="'cuda' does not have LayerNorm and BatchNorm yet; use target='cpu'"
    ):
        Trainer(network, target="cuda")
    trainer = Trainer(network, target="auto", batch_size=512)
    assert selection.choose("auto", trainer.problem)[0] == "cpu"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(1.5), r"momentum of BatchNorm must be .* in \[0, 1\], not 1.5"),
        (lambda: BatchNorm(-0.1), "momentum of BatchNorm must be"),
        (lambda: BatchNorm(epsilon=0.0), r"epsilon of BatchNorm must be .* in \(0, inf\), not 0.0"),
        (lambda: LayerNorm(-1e-5), "epsilon of LayerNorm must be"),
        (lambda: LayerNorm(activation="rleu"), "did you mean 'relu'"),
        (lambda: LayerNorm(alpha=0.1), "activation 'identity' has no alpha"),
        (lambda: Network(4, [Dense(3), BatchNorm()]), "must end in a Dense layer"),
        (lambda: Network(4, BatchNorm()), "layers must be a list of"),
        (
            lambda: trainer_of([LayerNorm(1e-60), Dense(3)]),
            "epsilon of LayerNorm layer 0 must be above 0 in float32",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:-1], "the arrays of 6 layers: BatchNorm layer 0, Dense layer 1"),
        (
            lambda p: [p[0][:2], *p[1:]],
            r"BatchNorm layer 0 must be a tuple \(gamma, beta, mean",
        ),
        (
            lambda p: [(*p[0][:3], p[0][3] - 2), *p[1:]],
            "variance of BatchNorm layer 0 must be at least 0, not -1.0",
        ),
        (lambda p: [(p[0][0][:2], *p[0][1:]), *p[1:]], "gamma of BatchNorm layer 0 has shape"),
        (lambda p: [p[0], (p[1][0], p[1][1] + 1), *p[2:]], "b of Dense layer 1 must be zeros"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, message):
    trainer = trainer_of(LAYERS)
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=message):
        trainer.set_parameters(change(trainer.parameters))
    assert state_of(trainer) == before


def test_the_momentum_of_keras_is_told_by_fit_alone(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(64, 2)), np.arange(64) % 2
    trainer = Trainer(Network(2, [Dense(3), BatchNorm(0.99), Dense(2)]), target="numpy")
    with pytest.warns(TrainingWarning, match="Keras's 0.99 is momentum=0.01 here"):
        trainer.fit(X, y, 2)
    trainer.save(tmp_path / "model")
    Trainer.load(tmp_path / "model")
    for momentum in (0.5, 1.0):
        network = Network(2, [Dense(3), BatchNorm(momentum), Dense(2)])
        Trainer(network, target="numpy").fit(X, y, 2)
