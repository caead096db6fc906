"""Modules of PyTorch as trainers: the same outputs and the same training, or a refusal by name."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import LABELS, REAL, TARGETS, X

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    Quantile,
    Trainer,
    graph,
)
from fastnn.interchange import from_torch
from fastnn.interchange.torch_activations import KINDS
from fastnn.rules.table import LOSSES

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}

# Each class with its usual settings and with others.
ACTIVATIONS = [
    nn.CELU(),
    nn.CELU(0.4),
    nn.ELU(),
    nn.ELU(0.3),
    nn.ELU(-0.3),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.Hardshrink(),
    nn.Hardshrink(0.1),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Hardtanh(),
    nn.Hardtanh(-0.3, 0.2),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.3),
    nn.LeakyReLU(-0.3),
    nn.LogSigmoid(),
    nn.Mish(),
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.RReLU(),
    nn.SELU(),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softmax(1),
    nn.Softmax(-1),
    nn.Softplus(),
    nn.Softplus(2.0),
    nn.Softplus(1.0, 2.0),
    nn.Softplus(-0.7, 1.5),
    nn.Softshrink(),
    nn.Softshrink(0.1),
    nn.Softsign(),
    nn.Tanh(),
    nn.Tanhshrink(),
    nn.Threshold(0.2, -0.5),
]
KEEPING_SLOPES = [nn.PReLU(), nn.PReLU(6), nn.PReLU(6, init=-0.4)]


def module_of(*activations, dtype=torch.float64, seed=0, bias=True, rate=0.0):
    """Return a chain of layers of 6 units, each with one of the activations, and 3 outputs."""
    torch.manual_seed(seed)
    layers, inputs = [], 4
    for activation in activations:
        layers += [nn.Linear(inputs, 6, bias=bias), copy.deepcopy(activation)]
        if rate:
            layers.append(nn.Dropout(rate))
        inputs = 6
    return nn.Sequential(*layers, nn.Linear(inputs, 3, bias=bias)).to(dtype)


def outputs_of(module, rows=X):
    """Return what a module gives in evaluation, whichever mode it is in."""
    dtype = next(module.parameters()).dtype
    with torch.no_grad():
        return copy.deepcopy(module).eval()(torch.tensor(rows, dtype=dtype)).numpy()


def check_same_outputs(module, rows=X, **settings):
    """Return the trainer of a module, when it has given what the module gives."""
    before = copy.deepcopy(module.state_dict())
    trainer = Trainer.from_torch(module, **settings)
    expected = outputs_of(module, rows)
    found = trainer.forward(rows.astype(expected.dtype))
    assert found.dtype == expected.dtype == trainer.problem.dtype
    tolerance = 1e-6 if expected.dtype == np.float32 else 1e-12
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1, abs(expected).max()))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    return trainer


def test_every_class_that_is_known_is_among_those_tried():
    assert {type(each).__name__ for each in ACTIVATIONS} == set(KINDS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", [*ACTIVATIONS, *KEEPING_SLOPES], ids=str)
def test_outputs_are_pytorchs_for_every_activation(activation, dtype):
    wide = 20 * X  # far on both sides of every threshold
    check_same_outputs(module_of(activation, dtype=dtype), wide, target="numpy")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_outputs_are_pytorchs_at_every_depth(depth, dtype, target):
    activations = [nn.Tanh(), nn.LeakyReLU(0.2), nn.PReLU(6)][:depth]
    for bias in (True, False):
        module = module_of(*activations, dtype=dtype, bias=bias, rate=0.3)
        trainer = check_same_outputs(module, target=target)
        assert [dense.bias for dense in trainer.problem.network.dense] == [bias] * (depth + 1)


@pytest.mark.parametrize("rows", [1, 7])
def test_a_single_linear_is_a_network(rows):
    check_same_outputs(nn.Linear(4, 3), X[:rows], target="numpy")
    check_same_outputs(nn.Linear(4, 1, bias=False), X[:rows], loss="mse", target="numpy")


def test_a_square_weight_is_turned():
    trainer = check_same_outputs(nn.Linear(4, 4), target="numpy")
    assert trainer.parameters[0][0].shape == (4, 4)


def test_nested_chains_are_one_chain():
    class Perceptron(nn.Sequential):
        pass

    relu = nn.ReLU()  # one that occurs twice
    inner = nn.Sequential(OrderedDict(first=nn.Linear(6, 5), act=relu, none=nn.Identity()))
    module = Perceptron(
        nn.Flatten(), nn.Sequential(nn.Linear(4, 6), relu), nn.Sequential(inner), nn.Linear(5, 3)
    )
    trainer = check_same_outputs(module, target="numpy")
    assert [dense.activation for dense in trainer.problem.network.dense] == [
        "relu",
        "relu",
        "identity",
    ]


@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_in_fit_alone_whatever_the_mode(training):
    module = nn.Sequential(
        nn.Dropout(0.1), nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.3), nn.Dropout(0), nn.Linear(6, 3)
    ).train(training)
    trainer = check_same_outputs(module, target="numpy")
    assert trainer.problem.network.layers == (
        Dropout(0.1),
        Dense(6, "tanh"),
        Dropout(0.3),
        Dense(3),
    )
    assert module.training == training


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(6)], ids=str)
def test_dropout_before_an_activation_that_scales_is_dropout_after_it(activation):
    module = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), activation, nn.Linear(6, 3))
    trainer = check_same_outputs(module, target="numpy")
    assert [type(layer) for layer in trainer.problem.network.layers] == [Dense, Dropout, Dense]
    z = torch.randn(9, 6)
    for factor in (0.0, 2.0):  # what dropout multiplies by
        torch.testing.assert_close(activation(factor * z), factor * activation(z))


NORM_TARGETS = ["numpy", "cpu"]  # CUDA has no norms


def losses_modules(target):
    """Return modules of one layer, of two, and of norms where there are some."""
    modules = [module_of(), module_of(nn.Tanh())]
    return [*modules, normalized()] if target in NORM_TARGETS else modules


def normalized(*activations, first=True, dtype=torch.float64):
    """Return a chain with norms of all kinds in all places, whose parameters are not usual."""
    torch.manual_seed(0)
    layers = [nn.BatchNorm1d(4, eps=1e-3, momentum=0.3)] if first else []
    layers += [nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6, momentum=0.0), nn.Tanh()]
    layers += [nn.LayerNorm(6, eps=1e-3), nn.Linear(6, 5), nn.LayerNorm(5), nn.SiLU()]
    for activation in activations:
        layers += [nn.Linear(5, 5), nn.BatchNorm1d(5), copy.deepcopy(activation)]
        layers += [nn.LayerNorm(5), copy.deepcopy(activation)]
    module = nn.Sequential(*layers, nn.Linear(5, 3)).to(dtype)
    with torch.no_grad():
        for values in [*module.parameters(), *module.buffers()]:
            if values.is_floating_point():
                values += 0.2 * torch.rand_like(values)
    return module


@pytest.mark.parametrize("target", NORM_TARGETS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_norms_give_what_they_give_in_evaluation_whatever_the_mode(training, dtype, target):
    module = normalized(nn.ReLU(), dtype=dtype).train(training)
    trainer = check_same_outputs(module, 3 * X + 5, target=target)
    assert trainer.problem.network.layers == (
        BatchNorm(0.3, 1e-3),
        Dense(6, bias=False),
        BatchNorm(0.0, activation="tanh"),
        LayerNorm(1e-3),
        Dense(5),
        LayerNorm(activation="silu"),
        Dense(5),
        BatchNorm(activation="relu"),
        LayerNorm(activation="relu"),
        Dense(3),
    )
    assert module.training == training


@pytest.mark.parametrize("activation", [*ACTIVATIONS, nn.PReLU(), nn.PReLU(5, init=-0.4)], ids=str)
def test_the_activation_behind_a_norm_is_the_norms(activation):
    module = normalized(activation)
    trainer = check_same_outputs(module, target="numpy")
    assert len(trainer.problem.network.layers) == 10
    # PyTorch has 1/6 of Hardsigmoid's and the derivative of CELU in float32 precision.
    rough = isinstance(activation, nn.Hardsigmoid) or str(activation) == "CELU(alpha=0.4)"
    if not isinstance(activation, nn.RReLU) and str(activation) != "PReLU(num_parameters=1)":
        loss, tolerance = nn.CrossEntropyLoss(), 1e-5 if rough else 1e-8
        check_same_training(
            module, loss, LABELS, "softmax_cross_entropy", tolerance, target="numpy"
        )


@pytest.mark.parametrize("target", NORM_TARGETS)
@pytest.mark.parametrize("first", [True, False])
def test_norms_and_their_statistics_are_trained_as_pytorchs(first, target):
    module = normalized(nn.ReLU(), first=first)
    trainer = check_same_training(
        module, nn.CrossEntropyLoss(), LABELS, "softmax_cross_entropy", target=target
    )
    found = trainer.to_torch().state_dict()
    for name, values in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[name], values, rtol=1e-8, atol=1e-9)


def test_a_norm_at_the_end_may_be_followed_by_the_identity():
    module = normalized().append(nn.BatchNorm1d(3).double())
    with pytest.raises(InvalidInput, match="9, BatchNorm1d.*a network ends in a Linear"):
        Trainer.from_torch(module)
    last = nn.Linear(3, 3, bias=False).double().requires_grad_(False)
    last.weight.copy_(torch.eye(3))
    module.append(last)
    check_same_outputs(module, target="numpy")
    check_same_training(
        module, nn.CrossEntropyLoss(), LABELS, "softmax_cross_entropy", target="numpy"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_frozen_linears_are_layers_that_are_not_trained(target):
    module = module_of(nn.Tanh(), nn.PReLU(6), nn.PReLU(6))
    for frozen in (0, 2, 3):
        module[frozen].requires_grad_(False)
    trainer = check_same_training(
        module, nn.CrossEntropyLoss(), LABELS, "softmax_cross_entropy", target=target
    )
    layers = trainer.problem.network.dense
    assert [layer.trainable for layer in layers] == [False, False, True, True]
    bare = nn.Sequential(nn.Linear(4, 3, bias=False).requires_grad_(False), nn.Linear(3, 3))
    layers = check_same_outputs(bare, target=target).problem.network.dense
    assert [layer.trainable for layer in layers] == [False, True]


def test_a_module_that_is_frozen_throughout_can_predict():
    module = module_of(nn.Tanh()).requires_grad_(False)
    trainer = check_same_outputs(module, target="numpy")
    with pytest.raises(InvalidInput, match="no layer of the network is trainable"):
        trainer.fit(X, LABELS)


def row_loss(outputs, targets):
    """Return what a normal density's logarithm comes to, and something of the third output."""
    error = targets[0] - outputs[0]
    return 0.5 * (outputs[1] + error**2 * graph.exp(-outputs[1])) + outputs[2] ** 2


def torch_row_loss(p, y):
    """Return the same of a batch."""
    losses = 0.5 * (p[:, 1] + (y - p[:, 0]) ** 2 * torch.exp(-p[:, 1])) + p[:, 2] ** 2
    return losses.mean()


def pinball(p, y):
    """Return the loss of the quantile 0.8."""
    return torch.maximum(0.8 * (y - p), 0.2 * (p - y)).mean()


COUNTS = np.stack([LABELS, LABELS[::-1], 2 * LABELS], axis=1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("loss", "torch_loss", "targets"),
    [
        (row_loss, torch_row_loss, REAL.astype(float)),
        (Quantile(0.8), pinball, X[:, :3].astype(float)),
        ("quantile", lambda p, y: nn.functional.l1_loss(p, y) / 2, X[:, :3].astype(float)),
        ("poisson", nn.PoissonNLLLoss(), COUNTS.astype(float)),
    ],
    ids=["row", "Quantile", "quantile", "poisson"],
)
def test_training_with_other_losses_goes_on_as_pytorchs_would(loss, torch_loss, targets, target):
    for module in losses_modules(target):
        check_same_training(module, torch_loss, targets, loss, target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_training_with_smoothed_labels_goes_on_as_pytorchs_would(target):
    for module in losses_modules(target):
        check_same_training(
            module,
            nn.CrossEntropyLoss(label_smoothing=0.2),
            LABELS,
            "softmax_cross_entropy",
            label_smoothing=0.2,
            target=target,
        )


def test_a_loss_of_rows_is_made_for_the_outputs_of_the_module():
    with pytest.raises(InvalidInput, match="outputs"):
        Trainer.from_torch(nn.Linear(4, 2), loss=row_loss)
    with pytest.raises(InvalidInput, match="unknown loss 'mce'"):
        Trainer.from_torch(nn.Linear(4, 2), loss="mce")


def test_every_loss_that_applies_something_has_its_last_modules():
    names = {row.name for row in LOSSES.values() if row.from_logits}
    assert from_torch._OF_LOSS.keys() == names
    for end in (nn.Sigmoid(), nn.Softmax(1), nn.Softplus()):
        with pytest.raises(InvalidInput, match="loss 'poisson' takes raw outputs"):
            Trainer.from_torch(nn.Sequential(nn.Linear(4, 3), end), loss="poisson")


@pytest.mark.parametrize("slopes", [nn.PReLU(init=0.1), nn.PReLU(6, init=-0.2)], ids=str)
def test_slopes_are_taken_and_learned_for_each_unit(slopes):
    trainer = check_same_outputs(module_of(slopes), target="numpy")
    start = trainer.parameters[0][2]
    assert_allclose(start, slopes.weight.detach().numpy().repeat(7 - len(slopes.weight))[:6])
    trainer.fit(X.astype(float), LABELS, epochs=2)
    assert len(set(trainer.parameters[0][2])) == 6


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Softmax(-1), nn.LogSoftmax(1)], ids=str)
def test_a_softmax_at_the_end_is_that_of_the_loss(end):
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), end)
    trainer = Trainer.from_torch(module, target="numpy")
    expected = outputs_of(module)
    if isinstance(end, nn.LogSoftmax):
        expected = np.exp(expected)
    assert_allclose(trainer.predict_proba(X), expected, atol=1e-6)
    assert_allclose(trainer.forward(X), outputs_of(module[:-1]), atol=1e-6)
    assert trainer.problem.network.dense[-1].activation == "identity"


def test_what_does_nothing_may_follow_the_softmax_of_the_loss():
    module = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Flatten(), nn.Dropout(0.0))
    trainer = Trainer.from_torch(module, target="numpy")
    assert_allclose(trainer.predict_proba(X), outputs_of(module), atol=1e-6)


def test_a_sigmoid_at_the_end_is_that_of_the_loss():
    module = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    trainer = Trainer.from_torch(module, loss="binary_cross_entropy", target="numpy")
    assert_allclose(trainer.predict_proba(X)[:, 1], outputs_of(module)[:, 0], atol=1e-6)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid(), nn.Tanh()], ids=str)
def test_with_another_loss_the_last_activation_stays(end):
    check_same_outputs(nn.Sequential(nn.Linear(4, 3), end), loss="mse", target="numpy")


def torch_training(module, loss, targets, epochs, rate):
    """Train in place with PyTorch's SGD on batches of 8 rows in their order."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
    rows, y = torch.tensor(X, dtype=torch.float64), torch.tensor(targets)
    for _ in range(epochs):
        for batch in torch.arange(len(rows)).split(8):
            optimizer.zero_grad()
            loss(module(rows[batch]), y[batch]).backward()
            optimizer.step()


def check_same_training(module, torch_loss, targets, loss, tolerance=1e-8, epochs=1, **settings):
    """Train a module and its trainer, which begin alike, and compare what they have learned."""
    optimizer = SGD(0.05, momentum=0.9)
    trainer = Trainer.from_torch(
        module, loss=loss, optimizer=optimizer, batch_size=8, shuffle=False, **settings
    )
    start = trainer.forward(X.astype(float))
    trainer.fit(X.astype(float), targets, epochs)
    torch_training(module, torch_loss, targets, epochs, 0.05)
    found, expected = trainer.forward(X.astype(float)), outputs_of(module)
    assert abs(found - start).max() > 1e-3
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance / 10)
    return trainer


LEARNING = [each for each in ACTIVATIONS if not isinstance(each, nn.RReLU)]


@pytest.mark.parametrize("activation", [*LEARNING, nn.PReLU(6)], ids=str)
def test_training_goes_on_as_pytorchs_would(activation):
    module = module_of(activation)
    loss = nn.CrossEntropyLoss()
    check_same_training(module, loss, LABELS, "softmax_cross_entropy", target="numpy")


@pytest.mark.parametrize("target", TARGETS)
def test_training_goes_on_as_pytorchs_would_at_depth_and_on_every_target(target):
    module = module_of(nn.Tanh(), nn.Softsign(), nn.PReLU(6))
    check_same_training(
        module, nn.CrossEntropyLoss(), LABELS, "softmax_cross_entropy", epochs=3, target=target
    )


def test_training_with_a_log_softmax_is_that_of_its_negative_log_likelihood():
    module = nn.Sequential(*module_of(nn.Tanh()), nn.LogSoftmax(1))
    trainer = Trainer.from_torch(
        module, optimizer=SGD(0.05, momentum=0.9), batch_size=8, shuffle=False
    )
    trainer.fit(X.astype(float), LABELS, epochs=3)
    torch_training(module, nn.NLLLoss(), LABELS, 3, 0.05)
    assert_allclose(trainer.forward(X.astype(float)), outputs_of(module[:-1]), rtol=1e-8)


def test_training_of_a_regression_goes_on_as_pytorchs_would():
    module = nn.Sequential(nn.Linear(4, 6, bias=False), nn.GELU("tanh"), nn.Linear(6, 1)).double()
    targets = REAL.astype(float)
    check_same_training(module, lambda p, y: nn.functional.mse_loss(p[:, 0], y) / 2, targets, "mse")


def test_settings_are_those_of_the_trainer():
    module = module_of(nn.ReLU(), dtype=torch.float32)
    trainer = Trainer.from_torch(module, optimizer=Adam(0.01), dtype="float64", seed=5, l2=0.1)
    assert trainer.problem.optimizer == Adam(0.01)
    assert (trainer.problem.dtype, trainer.problem.seed, trainer.problem.l2) == (np.float64, 5, 0.1)
    assert_allclose(trainer.forward(X.astype(float)), outputs_of(module.double()), atol=1e-12)
    with pytest.raises(TypeError, match="batchsize"):
        Trainer.from_torch(module, batchsize=3)


def test_the_mean_of_averaged_sgd_starts_from_the_module():
    check_same_outputs(module_of(nn.Tanh()), optimizer=AveragedSGD(0.1), target="numpy")


def test_a_trainer_shares_nothing_with_its_module():
    module = nn.Linear(4, 3)
    trainer = Trainer.from_torch(module, target="numpy")
    before = trainer.forward(X)
    with torch.no_grad():
        module.weight.zero_()
    assert np.array_equal(trainer.forward(X), before)


def test_weights_in_any_order_of_memory_are_taken():
    module = nn.Linear(4, 3)
    module.weight = nn.Parameter(torch.randn(4, 3).T)
    check_same_outputs(module, target="numpy")
