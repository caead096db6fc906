"""Trainers as modules of PyTorch: the same outputs, and what PyTorch may do with such a module."""

import copy
import dataclasses
import io
import pickle

import numpy as np
import pytest
from all_operations import FORMULAS
from numpy.testing import assert_allclose
from trainer_cases import BINARY, LABELS, REAL, TARGETS, X, spread, trainer_of

from fastnn import (
    Adam,
    AveragedSGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    Trainer,
)
from fastnn.rules.table import ACTIVATIONS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

DTYPES = ["float32", "float64"]
WIDE = 20 * X
NAMES = [name for name in ACTIVATIONS if name != "hardmax"]
IDS = [*NAMES, *(f"formula {number}" for number in range(len(FORMULAS)))]


def outputs_of(module, rows):
    """Return what a module gives for rows of features."""
    dtype = next(module.parameters()).dtype
    with torch.no_grad():
        return module(torch.tensor(rows, dtype=dtype)).numpy()


def check_same_outputs(trainer, rows=WIDE):
    """Return the module of a trainer, when it has given what the trainer gives."""
    dtype = trainer.problem.dtype
    expected = trainer.forward(rows.astype(dtype))
    module = trainer.to_torch()
    assert type(module) is nn.Sequential and not module.training
    found = outputs_of(module, rows)
    assert found.dtype == expected.dtype == dtype
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1, abs(expected).max()))
    return module


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*NAMES, *FORMULAS], ids=IDS)
def test_outputs_are_the_trainers_for_every_activation(activation, dtype):
    trainer = spread(trainer_of([Dense(6, activation), Dropout(0.4), Dense(3)], dtype=dtype))
    check_same_outputs(trainer)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "prelu"])
def test_an_alpha_goes_along(activation):
    trainer = trainer_of([Dense(6, activation, alpha=0.6), Dense(3)])
    module = check_same_outputs(trainer)
    assert 0.6 in (
        getattr(module[1], "negative_slope", None),
        getattr(module[1], "alpha", None),
        getattr(module[1], "init", None),
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outputs_are_the_trainers_at_every_depth_after_training(depth, bias, target):
    hidden = [Dense(6, "prelu", bias=bias), Dropout(0.2), Dense(5, "tanh", bias=bias)]
    layers = [*(hidden * 2)[:depth], Dense(3, bias=bias)]
    trainer = trainer_of(layers, optimizer=Adam(0.01), target=target)
    trainer.fit(X, LABELS, epochs=2)
    module = check_same_outputs(trainer, X)
    kinds = {Dropout: (nn.Dropout,), Dense: (nn.Linear, nn.PReLU, nn.Tanh)}
    assert all(isinstance(each, kinds[Dropout] + kinds[Dense]) for each in module)
    linear = [each for each in module if isinstance(each, nn.Linear)]
    assert [each.bias is not None for each in linear] == [bias] * len(linear)


NORMS = [BatchNorm(0.3, epsilon=1e-3), LayerNorm(1e-4)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["identity", "elu", "prelu", "softmax", FORMULAS[0]])
@pytest.mark.parametrize("norm", NORMS, ids=["batch", "layer"])
def test_a_norm_goes_with_its_activation_and_comes_back_as_it_was(norm, activation, dtype):
    norm = dataclasses.replace(norm, activation=activation)
    layers = [norm, Dropout(0.2), Dense(6, "tanh"), norm, Dense(5), norm, Dense(3)]
    trainer = spread(trainer_of(layers, dtype=dtype))
    module = check_same_outputs(trainer, X)
    if activation is FORMULAS[0]:
        return  # PyTorch has no module for it by which it would come back
    back = Trainer.from_torch(module, target="numpy")
    assert back.problem.network == trainer.problem.network
    for arrays, expected in zip(back.parameters, trainer.parameters, strict=True):
        assert all(map(np.array_equal, arrays, expected))


@pytest.mark.parametrize("target", ["numpy", "cpu"])  # CUDA has no norms
def test_a_norm_has_the_statistics_that_training_has_left(target):
    layers = [BatchNorm(), Dense(6), BatchNorm(activation="relu"), Dense(5), LayerNorm(), Dense(3)]
    trainer = trainer_of(layers, optimizer=Adam(0.05), target=target, dtype="float64")
    trainer.fit(3 * X + 5, LABELS, epochs=3)
    module = check_same_outputs(trainer, 3 * X + 5)
    assert_allclose(module[0].running_mean.numpy(), trainer.parameters[0][2])
    assert all(each.num_batches_tracked == 0 for each in (module[0], module[2]))


def test_a_layer_that_is_not_trained_is_frozen_and_comes_back_so():
    layers = [
        Dense(6, "prelu", trainable=False),
        LayerNorm(activation="prelu"),
        Dense(5, "tanh", bias=False, trainable=False),
        Dense(4, lambda z: z / (1 + abs(z)), trainable=False),
        Dense(3, "prelu", rate_factor=0.5),
    ]
    trainer = trainer_of(layers, loss="mse")
    module = check_same_outputs(trainer)
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    assert trained == {"2.weight", "2.bias", "3.weight", "8.weight", "8.bias", "9.weight"}
    back = Trainer.from_torch(module, loss="mse", target="numpy").problem.network
    assert [layer.trainable for layer in back.parametric] == [False, True, False, False, True]


def test_square_weights_are_turned():
    check_same_outputs(trainer_of([Dense(4, "tanh"), Dense(4)]))


def test_the_mean_of_averaged_sgd_is_what_goes():
    trainer = trainer_of([Dense(3)], optimizer=AveragedSGD(0.5))
    trainer.fit(X, LABELS, epochs=3)
    check_same_outputs(trainer)


@pytest.mark.parametrize(
    ("layers", "loss", "labels"),
    [
        ([Dense(5, "tanh"), Dense(3)], "softmax_cross_entropy", LABELS),
        ([Dense(2)], "binary_cross_entropy", np.stack([BINARY, 1 - BINARY], axis=1)),
        ([Dense(1)], "binary_cross_entropy", BINARY),
    ],
)
def test_probabilities_are_those_of_predict_proba(layers, loss, labels):
    trainer = trainer_of(layers, loss=loss)
    trainer.fit(X, labels, epochs=1)
    expected = trainer.predict_proba(X)
    if layers[-1].units == 1:
        expected = expected[:, 1:]
    module = trainer.to_torch(probabilities=True)
    assert_allclose(outputs_of(module, X), expected, atol=1e-6)
    # And back: what it ends in is what the loss applies.
    back = Trainer.from_torch(module, loss=loss, target="numpy")
    assert_allclose(back.forward(X), trainer.forward(X), atol=1e-6)


def test_probabilities_of_a_loss_that_makes_none_are_refused():
    with pytest.raises(InvalidInput, match="'mse' gives no probabilities"):
        trainer_of([Dense(1)], loss="mse").to_torch(probabilities=True)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "step"])
def test_a_network_of_names_comes_back_as_it_was(name):
    layers = [Dropout(0.1), Dense(6, name), Dropout(0.2), Dense(5, name, bias=False), Dense(3)]
    trainer = spread(trainer_of(layers, dtype="float64"))
    back = Trainer.from_torch(trainer.to_torch(), target="numpy")
    found = back.problem.network
    assert found == trainer.problem.network
    for arrays, expected in zip(back.parameters, trainer.parameters, strict=True):
        assert all(map(np.array_equal, arrays, expected))


@pytest.mark.parametrize(
    "module",
    [
        nn.CELU(0.4),
        nn.ELU(-0.3),
        nn.GELU("tanh"),
        nn.Hardshrink(0.1),
        nn.Hardsigmoid(),
        nn.Hardswish(),
        nn.Hardtanh(-0.3, 0.2),
        nn.LeakyReLU(-0.3),
        nn.LogSigmoid(),
        nn.ReLU6(),
        nn.Softplus(-0.7, 1.5),
        nn.Softshrink(0.1),
        nn.Softsign(),
        nn.Tanhshrink(),
        nn.Threshold(0.2, -0.5),
    ],
    ids=str,
)
def test_a_module_that_became_a_formula_comes_back_as_itself(module):
    chain = nn.Sequential(nn.Linear(4, 6), module, nn.Linear(6, 3))
    back = Trainer.from_torch(chain, target="numpy").to_torch()[1]
    assert str(back).replace(".0", "") == str(module).replace(".0", "")


def test_a_formula_is_a_module_that_lives_without_fastnn():
    module = trainer_of([Dense(6, FORMULAS[0]), Dense(3)]).to_torch()
    expected = outputs_of(module, X)
    assert [name for name, _ in module.named_parameters()] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    assert module.state_dict().keys() == dict(module.named_parameters()).keys()
    assert_allclose(outputs_of(copy.deepcopy(module), X), expected)
    content = pickle.dumps(module)
    assert b"fastnn" not in content
    assert_allclose(outputs_of(pickle.loads(content), X), expected)
    assert_allclose(outputs_of(module.double(), X), expected, atol=1e-5)
    rows = torch.tensor(X[:2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, rows)


def test_a_module_shares_nothing_with_the_trainer():
    trainer = trainer_of()
    before = trainer.forward(X)
    module = trainer.to_torch()
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.requires_grad
            parameter.zero_()
    assert np.array_equal(trainer.forward(X), before)


def test_no_number_of_pytorchs_generator_is_drawn():
    before = torch.get_rng_state()
    trainer_of([Dense(6, "prelu"), Dropout(0.2), Dense(3)]).to_torch()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_usual_dtype_and_device_of_pytorch_make_no_difference():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            module = trainer_of([Dense(6, FORMULAS[0]), Dense(6, "prelu"), Dense(3)]).to_torch()
    finally:
        torch.set_default_dtype(torch.float32)
    tensors = [*module.parameters(), *module.buffers()]
    assert {(each.dtype, each.device.type) for each in tensors} == {(torch.float32, "cpu")}


def test_what_pytorch_does_not_have_is_refused_by_name():
    with pytest.raises(InvalidInput, match="layer 2: PyTorch has no module.*'hardmax'"):
        trainer_of([Dense(6, "tanh"), Dropout(0.1), Dense(3, "hardmax")], loss="mse").to_torch()


def test_a_trained_module_can_be_saved_by_its_state(tmp_path):
    trainer = trainer_of(loss="mse", layers=[Dense(6, "silu"), Dense(1)])
    trainer.fit(X, REAL, epochs=1)
    stream = io.BytesIO()
    torch.save(trainer.to_torch().state_dict(), stream)
    stream.seek(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 1))
    module.load_state_dict(torch.load(stream))
    assert_allclose(outputs_of(module, X), trainer.forward(X), atol=1e-6)
