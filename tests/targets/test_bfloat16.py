"""Products of factors rounded to bfloat16, on the CPU and in NumPy; nothing else is rounded."""

import pickle
from contextlib import closing

import numpy as np
import pytest
from target_cases import OPTIMIZERS, data_of, needs_jit, problem_of, run, started

from fastnn import (
    SGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    Network,
    Trainer,
    graph,
)
from fastnn.inputs.data import Data
from fastnn.rules.rounding import rounded
from fastnn.targets import numpy as reference
from fastnn.targets.cpu import bfloat16, engine
from fastnn.targets.cpu.plan import PACKED_TERMS, PAIRS, TILES

MISSING = bfloat16.missing()
needs_bfloat16 = pytest.mark.skipif(bool(MISSING), reason=f"needs {MISSING}")


def cases():
    """Return the kinds of instructions that there are here."""
    if MISSING:
        return []
    return [PAIRS] if bfloat16.instructions() == PAIRS else [PAIRS, TILES]


@pytest.fixture(params=cases(), ids={PAIRS: "pairs", TILES: "tiles"}.get)
def instructions(request, monkeypatch):
    monkeypatch.setattr(engine, "instructions", lambda: request.param)


def bfloat16_of(inputs, layers, loss="mse", optimizer=OPTIMIZERS["sgd"], **changes):
    changes = {"dtype": "float32", "precision": "bfloat16"} | changes
    return problem_of(inputs, layers, loss, optimizer, **changes)


def distance(one, other):
    """Return the 2-norm of the difference of what two runs have learned."""
    pairs = zip(one.parameters, other.parameters, strict=True)
    return float(
        np.sqrt(sum(((a - b) ** 2).sum() for x, y in pairs for a, b in zip(x, y, strict=True)))
    )


def assert_follows_rounded(problem, data, **settings):
    """Check that the CPU learns what NumPy does, well within what rounding changes.

    They are not the same to rounding in float32: where a number lies between two of bfloat16, its
    last bit decides which one it becomes.
    """
    found = run(engine.Engine, problem, data, **settings)
    expected = run(reference.Engine, problem, data, **settings)
    unrounded = run(reference.Engine, problem.changed(precision="float32"), data, **settings)
    effect = distance(expected, unrounded)
    assert 0 < effect
    assert distance(found, expected) < 0.25 * effect
    np.testing.assert_allclose(found.losses, expected.losses, rtol=0.01)
    return found


def undefined_at_zero(z):
    """Return no number for what pads a panel."""
    return z / graph.abs(z) * graph.tanh(z)


def test_numbers_are_rounded_to_the_nearest_and_ties_to_even():
    one = np.float32(1)
    given = [one, one + 2**-8, one + 3 * 2**-8, one + 2**-8 + 2**-20, -one - 2**-8, 0.0, -0.0]
    expected = [1, 1, 1 + 2**-6, 1 + 2**-7, -1, 0.0, -0.0]
    found = rounded("bfloat16", np.array(given, np.float32))
    assert found.tolist() == expected and np.signbit(found[-1])
    largest = np.finfo(np.float32).max
    odd = np.array([np.inf, -np.inf, largest, np.nan], np.float32)
    assert np.isnan(rounded("bfloat16", odd)[3])
    assert rounded("bfloat16", odd)[:3].tolist() == [np.inf, -np.inf, np.inf]


def test_numpy_rounds_factors_and_neither_biases_nor_their_gradient():
    problem = bfloat16_of(5, [Dense(4, "tanh"), Dense(3)])
    data = data_of(problem, 8)
    (W1, b1), (W2, b2) = parameters = started(reference.Engine, problem).parameters()
    layers = reference.passes.forward(problem, parameters, data.X)

    def factor(x):  # in other words than those of the target
        exponent = np.floor(np.log2(np.abs(x)))
        unit = 2.0 ** (exponent - 7)
        return np.round(x / unit) * unit

    Z1 = factor(data.X) @ factor(W1) + b1
    A1 = np.tanh(layers[0].Z)
    Z2 = factor(A1) @ factor(W2) + b2
    np.testing.assert_allclose(layers[0].Z, Z1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layers[1].A, Z2, rtol=1e-5, atol=1e-6)
    batch = reference.passes.Batch(data.X, data.targets, None)
    _, gradients = reference.passes.backward(problem, parameters, layers, batch)
    dZ2 = (layers[1].A - data.targets) * np.float32(1 / (8 * 3))
    np.testing.assert_allclose(gradients[1][0], factor(A1).T @ factor(dZ2), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(gradients[1][1], dZ2.sum(axis=0), rtol=1e-5, atol=1e-7)
    dZ1 = factor(dZ2) @ factor(W2).T * (1 - A1**2)
    np.testing.assert_allclose(
        gradients[0][0], factor(data.X).T @ factor(dZ1), rtol=0.01, atol=1e-5
    )


@needs_jit
@pytest.mark.parametrize("rows", [1, 2, 15, 17, 33, 600])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (16, 17), (31, 33), (33, 16), (600, 40), (70, 1100)])
def test_one_layer_is_the_product_of_the_rounded_factors(instructions, rows, k, n):
    problem = bfloat16_of(k, [Dense(n)], batch_size=rows)
    data = data_of(problem, rows)
    with closing(started(engine.Engine, problem, 2)) as cpu:
        (W, b), = cpu.parameters()  # fmt: skip
        X, W = (rounded("bfloat16", each).astype(float) for each in (data.X, W))
        expected = X @ W + b
        scale = np.abs(expected).max()
        np.testing.assert_allclose(cpu.forward(data.X), expected, rtol=0, atol=3e-6 * scale)


@needs_jit
def test_the_cpu_rounds_every_number_as_numpy_does(instructions):
    random = np.random.default_rng(3)
    X = random.integers(0, 2**32, (64, 64), np.uint32).view(np.float32)
    tiny = ~(np.abs(X) >= np.finfo(np.float32).tiny) & ~np.isnan(X)
    # Products with zeros must stay zero, and denormal numbers are zeros to these instructions.
    X[tiny | ~np.isfinite(X) | (np.abs(X) > 1e38)] = 1 + 2**-8
    problem = bfloat16_of(64, [Dense(64)])
    with closing(started(engine.Engine, problem)) as cpu:
        cpu.load([(np.eye(64, dtype=np.float32), np.zeros(64, np.float32))], [])
        assert np.array_equal(cpu.forward(X), rounded("bfloat16", X))


@needs_jit
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize(
    ("inputs", "units", "batch"),
    [
        (1, (1, 1), 1),
        (7, (5, 3), 8),
        (33, (65, 31, 64), 32),
        (64, (100, 10), 33),
        (600, (40, 600, 3), 15),
        (20, (40, 3), 530),
    ],
)  # fmt: skip
def test_training_follows_numpy(instructions, inputs, units, batch, rule):
    layers = [Dense(n, "tanh") for n in units[:-1]] + [Dense(units[-1])]
    l2 = 1.0 if batch > PACKED_TERMS else 0.0  # W is made smaller once, whatever a sum is cut into
    problem = bfloat16_of(inputs, layers, optimizer=OPTIMIZERS[rule], batch_size=batch, l2=l2)
    data = data_of(problem, 2 * batch + 5)
    one = assert_follows_rounded(problem, data)
    two = run(engine.Engine, problem, data, threads=2)
    three = run(engine.Engine, problem, data, threads=3)
    assert one.bits() == two.bits() == three.bits()


@needs_jit
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("inputs", [1, 15, 31, 32, 300])
def test_rows_that_are_read_in_place_come_to_the_bits_of_copies(instructions, inputs, threads):
    layers = [Dense(70, "relu"), Dense(3)]
    problem = bfloat16_of(inputs, layers, optimizer=OPTIMIZERS["sgd"], batch_size=41, l2=0.3)
    data = data_of(problem, 100)
    wide = np.zeros((100, inputs + 5), np.float32)
    wide[:, 3:-2] = data.X
    layouts = {
        "rows": data.X,
        "columns of wider rows": wide[:, 3:-2],
        "rows from below": data.X[::-1].copy()[::-1],
        "columns": np.asfortranarray(data.X),
        "float64": data.X.astype(np.float64),
    }
    ends = {
        name: run(engine.Engine, problem, Data(X, data.targets), threads=threads).bits()
        for name, X in layouts.items()
    }
    assert all(bits == ends["columns"] for bits in ends.values())


@needs_jit
@needs_bfloat16
@pytest.mark.parametrize(
    ("layers", "changes"),
    [
        ([Dropout(0.2), Dense(40, "relu"), Dropout(0.5), Dense(3)], {"l1": 0.001, "l2": 0.01}),
        ([Dense(40, "prelu", max_norm=0.4), Dense(3)], {"clip_norm": 0.1}),
        ([Dense(40, bias=False), BatchNorm(), Dense(33, "gelu"), LayerNorm(), Dense(3)], {}),
        ([Dense(300, "sigmoid"), Dense(300, "elu"), Dense(3)], {"clip_value": 0.01, "l2": 0.1}),
        ([Dense(1)], {"batch_size": 1}),
        ([Dense(40, undefined_at_zero), BatchNorm(), Dense(33, undefined_at_zero), Dense(3)], {}),
    ],
    ids=["dropout", "norms", "normalized", "wide", "one output", "undefined padding"],
)
def test_what_surrounds_products_is_that_of_other_precisions(layers, changes):
    problem = bfloat16_of(50, layers, **changes)
    assert_follows_rounded(problem, data_of(problem, 37, weighted=True), threads=2)


@needs_bfloat16
def test_a_trainer_saves_resumes_and_predicts_in_it(tmp_path):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(90, 20)), random.integers(0, 3, 90)
    network = Network(20, [Dense(40, "relu"), Dense(3)])
    trainer = Trainer(network, optimizer=SGD(0.1, momentum=0.9), precision="bfloat16")
    trainer.fit(X, y, epochs=2)
    trainer.save(tmp_path / "model")
    others = [Trainer.load(tmp_path / "model"), pickle.loads(pickle.dumps(trainer))]
    for each in (trainer, *others):
        each.fit(X, y, epochs=2)
    for other in others:
        assert other.precision == "bfloat16"
        assert np.array_equal(other.forward(X), trainer.forward(X))
    plain = Trainer.load(tmp_path / "model", precision="float32")
    assert 0 < np.abs(plain.forward(X) - Trainer.load(tmp_path / "model").forward(X)).max() < 0.05
    several = Trainer(network, precision="bfloat16", threads=2)
    several.fit(X, y, epochs=2, restarts=3)
    assert several.precision == "bfloat16"


def test_what_has_no_rounded_products_is_refused():
    network = Network(4, [Dense(2)])
    with pytest.raises(InvalidInput, match="'bfloat16' is for dtype 'float32', not 'float64'"):
        Trainer(network, precision="bfloat16", dtype="float64", target="numpy")
    from scipy.sparse import csr_array

    trainer = Trainer(network, precision="bfloat16", target="numpy")
    with pytest.raises(InvalidInput, match=r"X is sparse .* not rounded to bfloat16; use preci"):
        trainer.fit(csr_array(np.eye(4)), [0, 1, 0, 1])
