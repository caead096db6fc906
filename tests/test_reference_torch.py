"""Whole trajectories of the NumPy target against PyTorch in float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Adagrad, Adam, AdamW, AveragedSGD, Dense, Nadam, Network, RMSProp
from fastnn.rules.table import ACTIVATIONS, LOSSES, UPDATES
from fastnn.targets.numpy import Engine

torch = pytest.importorskip("torch")
F = torch.nn.functional

ROWS, BATCH, EPOCHS = 22, 6, 3
OPTIMIZERS = [
    SGD(0.05),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.9, nesterov=True),
    Adam(0.01),
    AdamW(0.01, weight_decay=0.3),
    Nadam(0.01, beta1=0.8),
    RMSProp(0.01, decay=0.9),
    Adagrad(0.05, epsilon=1e-4),
    AveragedSGD(0.05, start=3),
]
ACTIVATE = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "prelu": F.prelu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "mish": F.mish,
    "hardtanh": F.hardtanh,
    "silu": F.silu,
    "softplus": F.softplus,
    "softmax": lambda z: torch.softmax(z, dim=1),
}


@pytest.fixture(autouse=True)
def double_precision():
    """Let PyTorch count in float64: its NAdam keeps the product of mu in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# PyTorch draws other slopes for rrelu.
FOLLOWING = [name for name, row in ACTIVATIONS.items() if not (row.flat or row.random)]


def signed(p, y):
    return (2 * y - 1) * p


ROW_LOSS = {
    "softmax_cross_entropy": lambda p, y: F.cross_entropy(p, y, reduction="none"),
    "binary_cross_entropy": lambda p, y: F.binary_cross_entropy_with_logits(p, y, reduction="none"),
    "mse": lambda p, y: F.mse_loss(p, y, reduction="none") / 2,
    "mae": lambda p, y: F.l1_loss(p, y, reduction="none"),
    "huber": lambda p, y: F.huber_loss(p, y, reduction="none"),
    "poisson": lambda p, y: F.poisson_nll_loss(p, y, log_input=True, reduction="none"),
    "quantile": lambda p, y: F.l1_loss(p, y, reduction="none") / 2,
    "perceptron": lambda p, y: torch.relu(-signed(p, y)),
    "hinge": lambda p, y: torch.relu(1 - signed(p, y)),
    "squared_hinge": lambda p, y: torch.relu(1 - signed(p, y)) ** 2,
    "margin": lambda p, y: torch.relu(1 - signed(p, y)),
    "modified_huber": lambda p, y: torch.where(
        signed(p, y) >= -1, torch.relu(1 - signed(p, y)) ** 2, -4 * signed(p, y)
    ),
    "epsilon_insensitive": lambda p, y: torch.relu((p - y).abs() - 0.1),
    "squared_epsilon_insensitive": lambda p, y: torch.relu((p - y).abs() - 0.1) ** 2,
}


def group(optimizer, weights, others, factor=1.0):
    """Return two groups of parameters for `torch_optimizer`; weight decay is for weights alone."""
    rate = {"lr": factor * optimizer.learning_rate}
    decay = optimizer.constants[3]
    return [
        {"params": weights, "weight_decay": decay, **rate},
        {"params": others, "weight_decay": 0.0, **rate},
    ]


def torch_optimizer(optimizer, groups):
    """Return PyTorch's own optimizer."""
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(
            groups,
            lr=optimizer.learning_rate,
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
        )
    if isinstance(optimizer, AveragedSGD):
        rate, start = optimizer.learning_rate, optimizer.start
        return torch.optim.ASGD(groups, lr=rate, lambd=0, alpha=0, t0=start - 1)
    common = {"lr": optimizer.learning_rate, "eps": optimizer.epsilon}
    if isinstance(optimizer, RMSProp):
        return torch.optim.RMSprop(groups, alpha=optimizer.decay, **common)
    if isinstance(optimizer, Adagrad):
        return torch.optim.Adagrad(groups, **common)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam}
    return kinds[optimizer.rule](groups, betas=(optimizer.beta1, optimizer.beta2), **common)


def clip(problem, parameters):
    """Let PyTorch clip the gradients."""
    if problem.clip_value is not None:
        torch.nn.utils.clip_grad_value_(parameters, problem.clip_value)
    if problem.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(parameters, problem.clip_norm)


def torch_training(problem, parameters, data, orders):
    """Return parameters and epoch losses of the same training in PyTorch."""
    network = problem.network
    layers = [
        [torch.tensor(each, requires_grad=layer.trainable) for each in own]
        for layer, own in zip(network.dense, parameters, strict=True)
    ]
    weights, every = [W for W, *_ in layers], [each for own in layers for each in own]
    groups = [
        each
        for layer, (W, *rest) in zip(problem.network.dense, layers, strict=True)
        if layer.trainable
        for each in group(problem.optimizer, [W], rest, layer.rate_factor)
    ]
    optimizer = torch_optimizer(problem.optimizer, groups)
    means, updates = [each.detach().clone() for each in every], 0
    X, y = torch.tensor(data.X), torch.tensor(data.targets)
    w = torch.ones(ROWS, dtype=X.dtype) if data.weights is None else torch.tensor(data.weights)
    losses = []
    for order in orders:
        total = 0.0
        for rows in torch.tensor(order).split(BATCH):
            a = X[rows]
            for layer, (W, b, *slopes) in zip(network.dense, layers, strict=True):
                a = ACTIVATE[layer.activation](a @ W + b, *slopes)
            row_loss = ROW_LOSS[problem.loss](a, y[rows])
            row_loss = row_loss if row_loss.ndim == 1 else row_loss.mean(dim=1)
            loss = (w[rows] * row_loss).mean() / w.mean()
            for (_, l2), W in zip(problem.penalties, weights, strict=True):
                loss = loss + l2 * (W * W).sum() / 2
            optimizer.zero_grad()
            loss.backward()
            clip(problem, every)
            optimizer.step()
            updates += 1
            for layer, (l1, _), W in zip(network.dense, problem.penalties, weights, strict=True):
                if layer.trainable:
                    rate = layer.rate_factor * problem.optimizer.learning_rate
                    W.data = F.softshrink(W.data, rate * l1)
                if layer.trainable and layer.max_norm is not None:
                    W.data = torch.renorm(W.data, 2, dim=1, maxnorm=layer.max_norm)
            if isinstance(problem.optimizer, AveragedSGD):
                # PyTorch's own mean is of what the step alone makes of the weights.
                share = 1 / max(1, updates - problem.optimizer.start)
                for mean, each in zip(means, every, strict=True):
                    mean += share * (each.detach() - mean)
                shrinks = any(l1 for l1, _ in problem.penalties)
                if not shrinks and not any(layer.max_norm for layer in network.dense):
                    for mean, each in zip(means, every, strict=True):
                        own = optimizer.state[each]["ax"] if each.requires_grad else each.detach()
                        assert_allclose(mean, own, rtol=1e-12, atol=1e-15)
            total += (w[rows] * row_loss).sum().item()
        losses.append(total / w.sum().item())
    if isinstance(problem.optimizer, AveragedSGD):
        found = iter(means)
        layers = [[next(found) for _ in own] for own in layers]
    return [tuple(each.detach().numpy() for each in own) for own in layers], losses


def data_of(loss: str, outputs: int, weighted: bool) -> Data:
    random = np.random.default_rng(3)
    X = random.normal(size=(ROWS, 4))
    kind = LOSSES[loss].targets
    if kind == "classes":
        targets = random.integers(0, outputs, ROWS)
    elif kind == "binary":
        targets = random.integers(0, 2, (ROWS, outputs)).astype(np.float64)
    elif kind == "counts":
        targets = random.poisson(2.0, (ROWS, outputs)).astype(np.float64)
    else:
        targets = random.normal(0, 2, (ROWS, outputs))
    return Data(X, targets, random.uniform(0.1, 2, ROWS) if weighted else None)


def check(layers, loss, optimizer, *, l1=0.0, l2=0.0, weighted=False, **limits):
    """Train with both from the same start and compare parameters and losses."""
    problem = Problem(
        Network(4, layers), loss, optimizer, BATCH, l1, l2, np.dtype(np.float64), 1, **limits
    )
    parameters = initial_parameters(problem.network, problem.seed, problem.dtype)
    data = data_of(loss, problem.network.outputs, weighted)
    random = np.random.default_rng(4)
    orders = [random.permutation(ROWS) for _ in range(EPOCHS)]
    expected, expected_losses = torch_training(problem, parameters, data, orders)

    engine = Engine(problem)
    engine.load(parameters, start_slots(problem, parameters))
    rates = np.full(-(-ROWS // BATCH), optimizer.learning_rate)
    losses = [
        engine.train_epoch(data, order, rates, e, e * len(rates)).loss
        for e, order in enumerate(orders)
    ]
    assert_allclose(losses, expected_losses, rtol=1e-9)
    ends = engine.slots()[-1] if UPDATES[optimizer.rule].mean else engine.parameters()
    for pair, expected_pair, start, layer in zip(ends, expected, parameters, layers, strict=True):
        assert all(np.array_equal(pair[i], start[i]) != layer.trainable for i in (0, -1))
        for found, wanted in zip(pair, expected_pair, strict=True):
            assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize("loss", LOSSES)
def test_training_follows_pytorch(loss, optimizer):
    check([Dense(6, "tanh"), Dense(5, "relu"), Dense(3)], loss, optimizer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "huber"])
def test_training_with_weights_and_penalties_follows_pytorch(loss, optimizer):
    layers = [Dense(6, "silu"), Dense(3)]
    check(layers, loss, optimizer, l1=0.01, l2=0.1, weighted=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize(
    "limits",
    [
        {"clip_value": 0.03},
        {"clip_norm": 0.1},
        {"clip_norm": 0.6},  # some steps are above it and some below
        {"clip_value": 0.03, "clip_norm": 0.1},
    ],
    ids=str,
)
def test_training_with_a_clipped_gradient_follows_pytorch(limits, optimizer):
    check([Dense(6, "tanh"), Dense(3)], "mse", optimizer, l1=0.01, l2=0.1, weighted=True, **limits)


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:-1], ids=lambda each: each.rule)
def test_training_with_limited_columns_follows_pytorch(optimizer):
    # PyTorch's mean of ASGD would be of the weights before they are limited.
    layers = [Dense(6, "tanh", max_norm=0.9), Dense(5, "tanh"), Dense(3, max_norm=1.1)]
    check(layers, "mse", optimizer, l2=0.01, weighted=True, clip_norm=0.6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
def test_training_with_penalties_of_each_layer_follows_pytorch(optimizer):
    layers = [Dense(6, "tanh", l1=0.02), Dense(5, "tanh", l1=0, l2=0.3), Dense(3, l2=0.0)]
    check(layers, "mse", optimizer, l1=0.01, l2=0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (0, 1), (2,), (0, 2), (1, 2)], ids=str)
def test_training_of_some_layers_at_rates_of_their_own_follows_pytorch(frozen, optimizer):
    layers = [
        Dense(units, "prelu", rate_factor=factor, trainable=index not in frozen, max_norm=norm)
        for index, (units, factor, norm) in enumerate(
            [(6, 0.3, 0.9), (5, 2.0, None), (3, 1.0, 1.1)]
        )
    ]
    check(layers, "mse", optimizer, l1=0.05, l2=0.1, weighted=True, clip_norm=0.6)


@pytest.mark.parametrize("start", [0, 1, 2, 5, 11, 12, 100])
def test_the_mean_of_weights_follows_pytorch_from_any_start(start):
    check([Dense(6, "tanh"), Dense(3)], "mse", AveragedSGD(0.2, start=start), weighted=True)


@pytest.mark.parametrize("activation", FOLLOWING)
def test_training_with_every_activation_follows_pytorch(activation):
    layers = [Dense(6, activation), Dense(5, activation), Dense(2, activation)]
    check(layers, "mse", SGD(0.05, momentum=0.9))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize("limits", [{}, {"clip_value": 0.03, "clip_norm": 0.1}], ids=str)
def test_training_of_slopes_follows_pytorch(limits, optimizer):
    layers = [Dense(6, "prelu"), Dense(5, "prelu", alpha=-0.3), Dense(3, "prelu")]
    check(layers, "mse", optimizer, l1=0.01, l2=0.1, weighted=True, **limits)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_without_hidden_layer_follows_pytorch(loss):
    check([Dense(2)], loss, Adam(0.01))
