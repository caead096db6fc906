"""Periodic features: derivatives by central differences, every shape, and a trainer's life."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from simulator import SIMULATED
from trainer_cases import LABELS, X, spread, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    LayerNorm,
    Lion,
    Network,
    Periodic,
    Trainer,
)
from fastnn.errors import InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.inputs.problem import Problem
from fastnn.targets import selection
from fastnn.targets.numpy.passes import Batch, dropout_masks, loss_and_gradients
from fastnn.targets.selection import engine_class
from fastnn.training.plain_values import network_from_dict, network_to_dict

TARGETS = ["numpy"] if SIMULATED else ["numpy", "cpu"]  # CUDA does not have it yet
ROWS, BATCH, EPOCHS = 20, 6, 3  # the last batch has 2 rows
# What stands where: first, between others, alone, two in a row, beside columns that only pass.
NETWORKS = {
    "first": [Periodic(3, amplitude=0.7), Dense(5, "silu"), Dense(3)],
    "linear": [Periodic(1), Dense(3)],
    "some columns": [Periodic(2, columns=3), Dense(3)],
    "no columns": [Periodic(2, columns=0), Dense(3)],
    "in between": [Dense(5, "tanh"), Periodic(4, 0.5, columns=2), Dense(3, "tanh"), Dense(3)],
    "two in a row": [Periodic(2, 0.3), Periodic(2, 0.3, columns=5), Dense(3)],
    "rate": [Periodic(3, rate_factor=5.0), Dense(3, rate_factor=0.5)],
    "beside norms": [LayerNorm(), Periodic(2, 0.5), Dense(4), Dense(3)],
}
RANDOM = np.random.default_rng(8)
INPUTS, REAL = RANDOM.normal(0.3, 1, (ROWS, 4)), RANDOM.normal(size=(ROWS, 3))


def problem_of(layers, optimizer=SGD(0.05), inputs=4, **changes):  # noqa: B008
    settings = {"batch_size": BATCH, "l1": 0.0, "l2": 0.0, "seed": 1, "dtype": "float64"} | changes
    return Problem(Network(inputs, layers), "mse", optimizer, **settings)


def started(problem, target="numpy", threads=1):
    engine = engine_class(target)(problem, threads)
    parameters = initial_parameters(problem.network, problem.seed, problem.dtype)
    engine.load(parameters, start_slots(problem, parameters))
    return engine, parameters


def trained(engine, problem, data, epochs=EPOCHS):
    """Return the losses of the epochs, whose orders are always the same."""
    random, steps = np.random.default_rng(4), -(-len(data) // problem.batch_size)
    rates = np.full(steps, problem.optimizer.learning_rate)
    orders = [random.permutation(len(data)) for _ in range(epochs)]
    return [engine.train_epoch(data, order, rates, e, e * steps).loss
            for e, order in enumerate(orders)]  # fmt: skip


@pytest.mark.parametrize("name", [*NETWORKS, "dropped"])
def test_gradients_are_the_derivatives(name):
    dropped = [Dropout(0.3), Periodic(2), Dropout(0.3), Dense(4, "tanh"), Dropout(0.2), Dense(3)]
    problem = problem_of(NETWORKS.get(name, dropped))
    _, parameters = started(problem)
    batch = Batch(INPUTS[:7], REAL[:7], np.linspace(0.1, 2, 7))
    masks = dropout_masks(problem, 7, epoch=1, step_in_epoch=2)
    _, gradients = loss_and_gradients(problem, parameters, batch, masks)
    for own, found in zip(parameters, gradients, strict=True):
        for values, gradient in zip(own, found, strict=True):
            numeric = np.empty_like(values)
            for place in np.ndindex(values.shape):
                start, ends = values[place], []
                for change in (1e-6, -1e-6):
                    values[place] = start + change
                    ends.append(loss_and_gradients(problem, parameters, batch, masks)[0])
                values[place] = start
                numeric[place] = (ends[0] - ends[1]) / 2e-6
            assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


# (inputs, columns, frequencies): around the width of a panel, which is 2 vectors, and of a vector.
SHAPES = [
    (1, 1, 1), (1, None, 40), (3, 0, 2), (3, 2, 7), (7, 7, 16), (8, None, 3), (9, None, 16),
    (15, 9, 1), (16, 16, 1), (17, 5, 31), (31, 31, 2), (32, None, 1), (33, 33, 9), (65, 64, 5),
]  # fmt: skip


@pytest.mark.skipif(SIMULATED, reason="of the CPU target")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("inputs", "columns", "frequencies"), SHAPES)
def test_the_cpu_does_what_numpy_defines(inputs, columns, frequencies, dtype):
    random = np.random.default_rng(inputs)
    data = Data(random.normal(size=(23, inputs)).astype(dtype),
                random.normal(size=(23, 2)).astype(dtype), None)  # fmt: skip
    layer, wide = Periodic(frequencies, 1.0, columns), 2.0**-10
    cases = [
        # A batch of one row, dropout around it, layers that are phases of their own, frozen.
        ({"batch_size": 1}, [layer, Dense(3, "tanh"), Dense(2)], 1),
        ({"clip_norm": 0.5}, [Dropout(0.2), layer, Dropout(0.2), Dense(2)], 2),
        ({}, [Dense(inputs, "tanh"), layer, Dense(170, "relu"), Dense(150, "relu"), Dense(2)], 3),
        ({}, [layer, BatchNorm(), Dense(180, "relu"), Dense(180, "relu"), Dense(2)], 5),
        ({}, [Periodic(frequencies, 1.0, columns, trainable=False), Dense(2)], 1),
    ]
    for settings, layers, threads in cases:
        problem = problem_of(layers, SGD(0.01, 0.5), inputs, dtype=dtype, **settings)
        found = []
        for target, team in (("numpy", 1), ("cpu", 1), ("cpu", threads)):
            engine, _ = started(problem, target, team)
            trained(engine, problem, data, 2)
            found.append([*(a for own in engine.parameters() for a in own), engine.forward(data.X)])
            engine.close()
        tolerance = 5e-4 if dtype == "float32" else 1e-12
        for expected, one, several in zip(*found, strict=True):
            assert np.array_equal(one, several)
            scale = max(wide, np.abs(expected).max(initial=0.0))
            assert_allclose(one, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_the_numbers_and_their_cosines(dtype, target):
    """What a Dense that passes all on gives, also of numbers of many whole periods."""
    x = np.array([[0.0, 0.25, 1e30], [-0.125, 3e5, -0.5], [1 / 3, 1e-30, 2.0**20 + 0.25]], dtype)
    c = np.array([[1.0, 0.5], [-2.0, 3.0]], dtype)
    trainer = trainer_of(
        [Periodic(2, columns=2, amplitude=1.5), Dense(7)], 3, loss="mse", dtype=dtype, target=target
    )
    b = np.array([[0.0, 0.75], [0.5, 0.1]], dtype)
    trainer.set_parameters([(c, b), (np.eye(7), np.zeros(7))])
    turns = (x[:, :2, None] * c + b).astype(np.longdouble)
    cosines = np.cos(8 * np.arctan(np.longdouble(1)) * (turns - np.rint(turns))).reshape(3, 4)
    found = trainer.forward(x)
    assert np.array_equal(found[:, :3], x)
    assert_allclose(found[:, 3:], 1.5 * cosines.astype(dtype), rtol=0, atol=3 * np.finfo(dtype).eps)


def test_frequencies_are_drawn_from_a_clipped_normal_distribution():
    layers = [Periodic(2000, 0.5, columns=3), Dense(6, "relu"), Dense(2)]
    (c, b), *others = trainer_of(layers).parameters
    assert c.shape == (3, 2000)
    assert np.abs(c).max() == 1.5
    assert 0.48 < c.std() < 0.51
    assert abs(c.mean()) < 0.03
    assert b.shape == c.shape and 0 <= b.min() < 0.01 and 0.99 < b.max() < 1
    (other, _), *_ = trainer_of(layers, seed=1).parameters
    assert not np.isin(c[np.abs(c) < 1.5], other).any()
    # The layers behind it start as they would without it.
    (first, _), (second, _) = others
    plain = trainer_of([Dense(6, "relu"), Dense(2)], 4 + 6000).parameters
    assert np.array_equal(plain[0][0], first)
    assert np.array_equal(plain[1][0], second)


@pytest.mark.parametrize("target", TARGETS)
def test_frozen_frequencies_keep_their_bits(target):
    layers = [Periodic(3, trainable=False), Dense(4, "tanh"), Dense(3)]
    trainer = trainer_of(layers, optimizer=AdamW(0.1, ema=0.5), target=target, clip_norm=1.0)
    before = trainer.parameters
    trainer.fit(X, LABELS, epochs=2)
    assert np.array_equal(trainer.parameters[0][0], before[0][0])
    assert not np.array_equal(trainer.parameters[1][0], before[1][0])


LIFE = [Dropout(0.1), Periodic(5, 0.5, columns=3), Dense(6, "relu"), Periodic(2), Dense(3)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [Adam(0.05), Lion(0.01, ema=0.7)], ids=str)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle", "copy", "checkpoint"])
def test_training_goes_on_to_the_same_bits(between, optimizer, target, tmp_path):
    settings = {"optimizer": optimizer, "target": target, "clip_norm": 1.0}
    whole, parts = (trainer_of(LIFE, **settings) for _ in range(2))
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
    parts.fit(X, LABELS, epochs=3)
    assert state_of(parts) == state_of(whole)
    other = trainer_of(LIFE, **settings, seed=5)
    other.set_parameters(parts.parameters)
    assert np.array_equal(other.forward(X), parts.forward(X))


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_are_what_their_seeds_give_alone(target):
    trainer = trainer_of(LIFE, target=target)
    trainer.fit(X, LABELS, epochs=3, restarts=3)
    alone = trainer_of(LIFE, target=target, seed=trainer.problem.seed)
    alone.fit(X, LABELS, epochs=3)
    assert all(map(np.array_equal, trainer.parameters[0], alone.parameters[0]))


def test_summary_gradients_and_trace_know_it():
    trainer = trainer_of([Periodic(5, columns=3), Dense(3)], dtype="float64")
    assert "Periodic" in str(trainer.summary())
    assert trainer.summary().parameters == 2 * 15 + 19 * 3 + 3
    gradients = trainer.gradients(X, LABELS).layers[0]
    for gradient in (gradients.dc, gradients.db):
        assert gradient.shape == (3, 5)
        assert np.abs(gradient).min() > 0
    assert trainer.activations(X)[0].a.shape == (37, 19)
    (step,) = trainer.trace(X, LABELS, steps=1)
    assert not np.array_equal(step.after[0].c, step.before[0].c)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_of_onnx_gives_the_same(dtype, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    layers = [
        Periodic(5, columns=3),
        Dense(6, "tanh"),
        Periodic(2),
        Periodic(4, columns=0),
        Dense(3),
    ]
    trainer = spread(trainer_of(layers, dtype=dtype))
    trainer.to_onnx(tmp_path / "model.onnx")
    rows = (10 * X).astype(dtype)
    (found,) = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(["probabilities"], {"X": rows})
    assert_allclose(
        found, trainer.predict_proba(rows), rtol=0, atol=1e-5 if dtype == "float32" else 1e-12
    )


def test_an_unknown_number_of_inputs_is_that_of_the_first_rows():
    trainer = Trainer(Network(None, [Periodic(2), Dense(3)]), target="numpy")
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.network.widths[0] == (4, 12)
    assert network_from_dict(network_to_dict(trainer.network)) == trainer.network


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frequencies": 0}, "frequencies of Periodic must be .*1"),
        ({"frequencies": 2.5}, "frequencies of Periodic"),
        ({"scale": 0.0}, "scale of Periodic"),
        ({"scale": np.inf}, "scale of Periodic"),
        ({"columns": -1}, "columns of Periodic"),
        ({"columns": True}, "columns of Periodic"),
        ({"rate_factor": 0.0}, "rate_factor of Periodic"),
        ({"amplitude": 0.0}, "amplitude of Periodic"),
        ({"trainable": "no"}, "trainable must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        Periodic(**settings)


def test_what_it_cannot_be_used_for_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="columns of Periodic is 5, but only 4 come in"):
        Network(4, [Periodic(2, columns=5), Dense(3)])
    with pytest.raises(InvalidInput, match="columns of Periodic is 5"):
        Trainer(Network(None, [Periodic(2, columns=5), Dense(3)])).fit(X, LABELS)
    with pytest.raises(InvalidInput, match="must end in a Dense"):
        Network(4, [Periodic(2)])
    with pytest.raises(InvalidInput, match="scale of Periodic layer 0 must return numbers"):
        trainer_of([Periodic(2, scale=1e39), Dense(3)])
    trainer = trainer_of([Periodic(2), Dense(3)])
    with pytest.raises(InvalidInput, match="the first layer is a Periodic.*X.toarray"):
        trainer.fit(sparse.csr_array(X), LABELS)
    with pytest.raises(InvalidInput, match="cuda' does not have Periodic yet; use target='cpu'"):
        selection.choose("cuda", trainer.problem)
    with pytest.raises(InvalidInput, match=r"c of Periodic layer 0 has shape \(2, 4\)"):
        trainer.set_parameters([(np.ones((2, 4)), np.ones((4, 2))), trainer.parameters[1]])
    with pytest.raises(InvalidInput, match=r"Periodic layer 0 must be a pair \(c, b\)"):
        trainer.set_parameters([np.ones((4, 2)), trainer.parameters[1]])


def test_there_is_no_module_of_pytorch_for_it():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(InvalidInput, match="layer 0: PyTorch has no module for Periodic"):
        trainer_of([Periodic(2), Dense(3)]).to_torch()
