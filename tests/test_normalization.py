"""LayerNorm and BatchNorm against PyTorch's."""

import numpy as np
import pytest
from normalization_cases import NETWORKS, ROWS, data_of, layers_of, problem_of, started
from numpy.testing import assert_allclose
from simulator import SIMULATED
from test_reference_torch import OPTIMIZERS, clip, group, torch_optimizer

from fastnn import SGD, AdamW, AveragedSGD, BatchNorm, Dense, LayerNorm
from fastnn.rules.table import UPDATES

torch = pytest.importorskip("torch")
F = torch.nn.functional

TARGETS = ["numpy"] if SIMULATED else ["numpy", "cpu"]  # CUDA does not have these yet
EPOCHS = 3
KINDS = [BatchNorm(), BatchNorm(0.3, 1e-2), LayerNorm()]
ACTIVATE = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "prelu": F.prelu,
    "softmax": lambda z: torch.softmax(z, dim=1),
}


def orders_of(epochs=EPOCHS):
    random = np.random.default_rng(4)
    return [random.permutation(ROWS) for _ in range(epochs)]


def trained(engine, problem, data, orders):
    """Return the losses of the epochs."""
    rates = np.full(-(-ROWS // problem.batch_size), problem.optimizer.learning_rate)
    return [
        engine.train_epoch(data, order, rates, e, e * len(rates)).loss
        for e, order in enumerate(orders)
    ]


class TorchNetwork:
    """The same network of PyTorch's own modules, from the same parameters."""

    def __init__(self, problem, parameters):
        self.problem, self.modules, self.slopes = problem, [], []
        for layer, (k, n), own in zip(
            problem.network.parametric, problem.network.widths, parameters, strict=True
        ):
            own = [torch.tensor(each) for each in own]
            if isinstance(layer, Dense):
                module = torch.nn.Linear(k, n)
                module.weight.data, module.bias.data = own[0].T.contiguous(), own[1]
                module.bias.requires_grad_(layer.bias)
            elif isinstance(layer, LayerNorm):
                module = torch.nn.LayerNorm(n, eps=layer.epsilon)
                module.weight.data, module.bias.data = own[:2]
            else:
                module = torch.nn.BatchNorm1d(n, eps=layer.epsilon, momentum=layer.momentum)
                module.weight.data, module.bias.data = own[:2]
                module.running_mean, module.running_var = own[2:4]
            self.modules.append(module)
            prelu = layer.activation == "prelu"
            self.slopes.append([own[-1].requires_grad_(True)] if prelu else [])

    def weights(self):
        """Return what has a penalty."""
        return [m.weight for m in self.modules if isinstance(m, torch.nn.Linear)]

    def others(self):
        """Return what has none."""
        own = {id(each) for each in self.weights()}
        every = [each for module in self.modules for each in module.parameters()]
        return [
            *(each for each in every if id(each) not in own and each.requires_grad),
            *(each for slopes in self.slopes for each in slopes),
        ]

    def __call__(self, a):
        """Return the outputs."""
        for layer, module, slopes in zip(
            self.problem.network.parametric, self.modules, self.slopes, strict=True
        ):
            a = ACTIVATE[layer.activation](module(a), *slopes)
        return a

    def train(self, mode):
        """Take the batch's statistics, or the running ones."""
        for module in self.modules:
            module.train(mode)

    def parameters(self, of=lambda each: each):
        """Return them as fastnn has them; `of` them another value for each."""
        found = []
        for module, slopes in zip(self.modules, self.slopes, strict=True):
            weight = of(module.weight)
            own = [weight.T if weight.ndim > 1 else weight, of(module.bias)]
            if isinstance(module, torch.nn.BatchNorm1d):
                own += [module.running_mean, module.running_var]
            found.append([each.detach().numpy() for each in own + list(map(of, slopes))])
        return found


@pytest.fixture(autouse=True)
def double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def torch_training(problem, parameters, data, orders):
    """Return parameters, epoch losses, and the outputs afterwards in evaluation mode."""
    network = TorchNetwork(problem, parameters)
    groups = group(problem.optimizer, network.weights(), network.others())
    optimizer = torch_optimizer(problem.optimizer, groups)
    inputs, y = torch.tensor(data.X), torch.tensor(data.targets)
    w = torch.ones(ROWS) if data.weights is None else torch.tensor(data.weights)
    losses = []
    for order in orders:
        total = 0.0
        for rows in torch.tensor(order).split(problem.batch_size):
            row_loss = F.mse_loss(network(inputs[rows]), y[rows], reduction="none").mean(dim=1) / 2
            loss = (w[rows] * row_loss).mean() / w.mean()
            for W in network.weights():
                loss = loss + problem.l2 * (W * W).sum() / 2
            optimizer.zero_grad()
            loss.backward()
            clip(problem, [*network.weights(), *network.others()])
            optimizer.step()
            total += (w[rows] * row_loss).sum().item()
        losses.append(total / w.sum().item())

    def mean(each):
        return optimizer.state[each]["ax"] if each in optimizer.state else each

    averaged = isinstance(problem.optimizer, AveragedSGD)
    found = network.parameters(mean) if averaged else network.parameters()
    network.train(False)
    return found, losses, network(inputs).detach().numpy()


def check_follows_pytorch(problem, target, weighted=False, threads=1):
    data, orders = data_of(problem, weighted), orders_of()
    engine, parameters = started(problem, target, threads)
    expected, expected_losses, outputs = torch_training(problem, parameters, data, orders)
    assert_allclose(trained(engine, problem, data, orders), expected_losses, rtol=1e-9)
    mean = UPDATES[problem.optimizer.rule].mean
    found = engine.slots()[-1] if mean else engine.parameters()
    assert not any(np.array_equal(found[i][0], parameters[i][0]) for i in (-2, -1))
    for own, wanted in zip(found, expected, strict=True):
        for array, value in zip(own, wanted, strict=True):
            assert_allclose(array, value, rtol=1e-8, atol=1e-9)
    if not mean:
        assert_allclose(engine.forward(data.X), outputs, rtol=1e-8, atol=1e-9)
    engine.close()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("norm", KINDS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_prediction_follow_pytorch(name, norm, target):
    check_follows_pytorch(problem_of(layers_of(name, norm), SGD(0.1, momentum=0.9)), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm()], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
def test_training_follows_pytorch_with_every_optimizer(optimizer, norm, target):
    check_follows_pytorch(problem_of(layers_of("prelu", norm), optimizer), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm()], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(0.05), AdamW(0.01, weight_decay=0.3)], ids=str)
def test_training_with_weights_penalty_and_limits_follows_pytorch(optimizer, norm, target):
    # Statistics take no notice of the rows' weights, and gamma has neither penalty nor decay.
    limits = {"clip_value": 0.02, "clip_norm": 0.05, "l2": 0.1}
    problem = problem_of(layers_of("linear-norm-relu", norm), optimizer, **limits)
    check_follows_pytorch(problem, target, weighted=True)
