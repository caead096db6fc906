"""Trainers as files of ONNX: onnxruntime, or what the package onnx has, gives what they give."""

import dataclasses

import numpy as np
import pytest
from all_operations import FORMULAS
from numpy.testing import assert_allclose
from scipy import special
from trainer_cases import BINARY, LABELS, TARGETS, X, spread, trainer_of

from fastnn import (
    Adam,
    AveragedSGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    MissingFile,
    Quantile,
    graph,
)
from fastnn.interchange import onnx_file
from fastnn.rules.table import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

DTYPES = ["float32", "float64"]
WIDE = 20 * X


def with_onnxruntime(path, rows):
    """Return what onnxruntime gives, by the names of the outputs."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": rows}), strict=True))


def with_reference(path, rows):
    """Return what the definition of each operator gives, in NumPy."""
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(path)
    with np.errstate(all="ignore"):  # in branches that are not taken
        return dict(zip(session.output_names, session.run(None, {"X": rows}), strict=True))


@pytest.fixture(params=[with_onnxruntime, with_reference], ids=["onnxruntime", "reference"])
def run(request):
    """Return what runs a file: (path, rows) -> outputs by name."""
    return request.param


def check_same(trainer, path, run, rows=X):
    """Write a trainer, run it, and compare with the trainer itself."""
    trainer.to_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    dtype = trainer.problem.dtype
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    for count in (1, 7, len(rows)):
        some = rows[:count].astype(dtype)
        found = run(str(path), some)
        expected = {"outputs": trainer.forward(some)}
        if trainer.problem.loss in ("softmax_cross_entropy", "binary_cross_entropy"):
            expected["probabilities"] = trainer.predict_proba(some)
        if trainer.problem.loss == "poisson":
            expected["rates"] = trainer.predict(some).reshape(count, -1)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].dtype == values.dtype == dtype
            limit = tolerance * max(1, abs(values).max())
            assert_allclose(found[name], values, rtol=tolerance, atol=limit)


EVERY = {**{name: name for name in ACTIVATIONS}, **dict(enumerate(FORMULAS))}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", EVERY)
def test_a_file_gives_what_the_trainer_gives_for_every_activation(activation, dtype, run, tmp_path):
    activation = EVERY[activation]
    trainer = spread(trainer_of([Dense(6, activation), Dropout(0.4), Dense(3)], dtype=dtype))
    check_same(trainer, tmp_path / "model.onnx", run, WIDE)


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (graph.erf, special.erf),
        (graph.expm1, np.expm1),
        (graph.log1p, np.log1p),
        (graph.softplus, lambda x: np.logaddexp(0, x)),
    ],
    ids=["erf", "expm1", "log1p", "softplus"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_that_are_no_operators_keep_their_digits(function, exact, dtype, run, tmp_path):
    sizes = np.logspace(-30, 2, 200)
    x = np.concatenate([-sizes, [0.0], sizes]).astype(dtype)[:, None]
    if exact is np.log1p:
        x = x[x > -1][:, None]
    trainer = trainer_of([Dense(1, lambda z: function(z))], 1, loss="mse", dtype=dtype)
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
    trainer.to_onnx(tmp_path / "model.onnx")
    found = run(str(tmp_path / "model.onnx"), x)["outputs"]
    with np.errstate(over="ignore"):
        assert_allclose(found, exact(x), rtol=1e-6 if dtype == "float32" else 3e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "activation",
    [*ACTIVATIONS, lambda z: z * (1 + graph.erf(z))],
    ids=lambda each: each if isinstance(each, str) else "formula",
)
def test_an_activation_of_any_size_is_what_the_trainer_gives(activation, dtype, run, tmp_path):
    if activation in ("softmax", "hardmax"):
        activation = "identity"
    sizes = np.array([6.0, 8.4, 8.5, 50.0, 1e4, 1e10, 1e30])
    x = np.concatenate([-sizes, sizes])[:, None].astype(dtype)
    trainer = trainer_of([Dense(1, activation)], 1, loss="mse", dtype=dtype)
    slopes = trainer.parameters[0][2:]
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1), *slopes)])
    trainer.to_onnx(tmp_path / "model.onnx")
    found = run(str(tmp_path / "model.onnx"), x)["outputs"]
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    assert_allclose(found, trainer.forward(x), rtol=tolerance, atol=tolerance)


NORMS = [BatchNorm(0.3, epsilon=1e-3), LayerNorm(1e-4)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "activation", ["identity", "relu", "prelu", "elu", "softmax", "hardmax", FORMULAS[0]]
)
@pytest.mark.parametrize("norm", NORMS, ids=["batch", "layer"])
def test_a_norm_is_in_a_file_with_its_activation(norm, activation, dtype, run, tmp_path):
    norm = dataclasses.replace(norm, activation=activation)
    layers = [norm, Dropout(0.2), Dense(6, "tanh"), norm, Dense(5), norm, Dense(3)]
    check_same(spread(trainer_of(layers, dtype=dtype)), tmp_path / "model.onnx", run)


@pytest.mark.parametrize("target", ["numpy", "cpu"])  # CUDA has no norms
@pytest.mark.parametrize("optimizer", [Adam(0.05), AveragedSGD(0.1)], ids=["adam", "averaged"])
def test_a_file_has_the_statistics_that_training_has_left(optimizer, target, run, tmp_path):
    layers = [BatchNorm(), Dense(6), BatchNorm(activation="relu"), Dense(5), LayerNorm(), Dense(3)]
    trainer = trainer_of(layers, optimizer=optimizer, target=target)
    trainer.fit(3 * X + 5, LABELS, epochs=3)
    check_same(trainer, tmp_path / "model.onnx", run, 3 * X + 5)


@pytest.mark.parametrize("norm", NORMS, ids=["batch", "layer"])
def test_a_norm_in_a_file_keeps_the_digits_of_numbers_far_from_zero(norm, run, tmp_path):
    rows = (np.random.default_rng(0).normal(size=(37, 1000)) + 300).astype(np.float32)
    trainer = trainer_of([norm, Dense(3)], 1000, loss="mse")
    parameters = trainer.parameters
    if len(parameters[0]) == 4:
        parameters[0] = (*parameters[0][:2], rows.mean(axis=0), rows.var(axis=0))
        trainer.set_parameters(parameters)
    trainer.to_onnx(tmp_path / "model.onnx")
    found = run(str(tmp_path / "model.onnx"), rows)["outputs"]
    assert_allclose(found, trainer.forward(rows), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "prelu"])
def test_an_alpha_goes_along(activation, dtype, alpha, run, tmp_path):
    trainer = trainer_of([Dense(6, activation, alpha=alpha), Dense(3)], dtype=dtype)
    check_same(trainer, tmp_path / "model.onnx", run)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_file_gives_what_a_trained_network_gives(depth, bias, target, run, tmp_path):
    hidden = [Dense(6, "prelu", bias=bias), Dropout(0.2), Dense(5, "tanh", bias=bias)]
    layers = [*(hidden * 2)[:depth], Dense(3, bias=bias)]
    trainer = trainer_of(layers, optimizer=Adam(0.01), target=target)
    trainer.fit(X, LABELS, epochs=2)
    check_same(trainer, tmp_path / "model.onnx", run)


@pytest.mark.parametrize(
    ("layers", "loss", "labels"),
    [
        ([Dense(1)], "binary_cross_entropy", BINARY),
        ([Dense(5, "relu"), Dense(2)], "binary_cross_entropy", np.stack([BINARY, 1 - BINARY], 1)),
        ([Dense(1)], "mse", X[:, 0]),
        ([Dense(2, "softmax")], "mse", X[:, :2]),
        ([Dense(1)], "hinge", BINARY),
        ([Dense(1)], lambda z, y: (z - y) ** 4, X[:, 0]),
        ([Dense(2)], lambda z, y: graph.abs(z[0] - y[0]) + (z[1] - y[0]) ** 2, X[:, 0]),
        ([Dense(1)], "quantile", X[:, 0]),
        ([Dense(2)], Quantile(0.9), X[:, :2]),
        ([Dense(1)], "poisson", LABELS),
        ([Dense(5, "relu"), Dense(2)], "poisson", np.stack([LABELS, BINARY], 1)),
    ],
    ids=[
        "binary", "binaries", "mse", "softmax", "hinge", "custom", "rows", "median", "quantiles",
        "count", "counts",
    ],
)  # fmt: skip
def test_probabilities_and_rates_are_there_where_the_loss_makes_them(
    layers, loss, labels, run, tmp_path
):
    trainer = trainer_of(layers, loss=loss)
    trainer.fit(X, labels, epochs=1)
    check_same(trainer, tmp_path / "model.onnx", run)


def test_square_weights_are_as_they_should_be(run, tmp_path):
    check_same(trainer_of([Dense(4, "tanh"), Dense(4)]), tmp_path / "model.onnx", run)


def test_the_mean_of_averaged_sgd_is_what_is_written(run, tmp_path):
    trainer = trainer_of([Dense(3)], optimizer=AveragedSGD(0.5))
    trainer.fit(X, LABELS, epochs=3)
    check_same(trainer, tmp_path / "model.onnx", run)


def test_a_file_says_what_goes_in_and_out(tmp_path):
    path = tmp_path / "model.onnx"
    trainer_of([Dense(6, "prelu"), Dense(3, bias=False)]).to_onnx(path)
    model = onnx.load(path)
    assert model.producer_name == "fastnn"
    assert (model.ir_version, model.opset_import[0].version) == (7, 13)
    dims = {
        each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in [*model.graph.input, *model.graph.output]
    }
    assert dims == {"X": ["batch", 4], "outputs": ["batch", 3], "probabilities": ["batch", 3]}
    arrays = [each.name for each in model.graph.initializer]
    assert arrays == ["layers.0.weights", "layers.0.bias", "layers.0.slopes", "layers.1.weights"]


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        trainer_of([Dense(6, FORMULAS[0]), Dense(3)]).to_onnx(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    trainer_of([Dense(3)]).to_onnx(path)
    before = path.read_bytes()
    with pytest.raises(MissingFile, match="there is no such folder"):
        trainer_of().to_onnx(tmp_path / "none" / "model.onnx")
    monkeypatch.setattr(onnx_file, "_LARGEST", 50)
    with pytest.raises(InvalidInput, match="the parameters have 60 bytes, .* at most 50"):
        trainer_of([Dense(3)]).to_onnx(path)
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]
    for wrong in (None, "", 3.5):
        with pytest.raises(InvalidInput, match="path must be the path of a file"):
            trainer_of().to_onnx(wrong)
