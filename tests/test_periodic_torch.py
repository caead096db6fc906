"""Training with periodic features against the same network written in PyTorch."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_periodic import EPOCHS, INPUTS, NETWORKS, REAL, TARGETS, problem_of, started, trained
from test_reference_torch import OPTIMIZERS, clip, group, torch_optimizer

from fastnn import SGD, AveragedSGD, Dense, LayerNorm
from fastnn.inputs.data import Data
from fastnn.rules.table import update_row

torch = pytest.importorskip("torch")


def torch_training(problem, parameters, data):
    """Return parameters and epoch losses of the same network written in PyTorch."""
    layers = problem.network.parametric
    own = [[torch.tensor(array, requires_grad=True) for array in arrays] for arrays in parameters]

    def forward(a):
        for layer, arrays in zip(layers, own, strict=True):
            if isinstance(layer, Dense):
                a = a @ arrays[0] + arrays[1]
                a = {
                    "identity": lambda z: z,
                    "tanh": torch.tanh,
                    "silu": lambda z: z.sigmoid() * z,
                }[layer.activation](a)
            elif isinstance(layer, LayerNorm):
                a = torch.nn.functional.layer_norm(a, a.shape[1:], *arrays, layer.epsilon)
            else:
                turns = a[:, : len(arrays[0]), None] * arrays[0] + arrays[1]
                cosines = layer.amplitude * torch.cos(2 * math.pi * turns)
                a = torch.cat([a, cosines.flatten(1)], dim=1)
        return a

    groups = []
    for layer, arrays in zip(layers, own, strict=True):
        weights, others = (arrays[:1], arrays[1:]) if isinstance(layer, Dense) else ([], arrays)
        groups += group(problem.optimizer, weights, others, layer.rate_factor)
    optimizer = torch_optimizer(problem.optimizer, groups)
    every = [each for arrays in own for each in arrays]
    weights = [a[0] for layer, a in zip(layers, own, strict=True) if isinstance(layer, Dense)]
    inputs, y, losses = torch.tensor(data.X), torch.tensor(data.targets), []
    random = np.random.default_rng(4)
    for _ in range(EPOCHS):
        total = 0.0
        for rows in torch.tensor(random.permutation(len(data))).split(problem.batch_size):
            loss = torch.square(forward(inputs[rows]) - y[rows]).mean() / 2
            total += loss.item() * len(rows) / len(data)
            for W in weights:
                loss = loss + problem.l2 * (W * W).sum() / 2
            optimizer.zero_grad()
            loss.backward()
            clip(problem, every)
            optimizer.step()
        losses.append(total)
    averaged = isinstance(problem.optimizer, AveragedSGD)
    return [
        [(optimizer.state[each]["ax"] if averaged else each).detach().numpy() for each in arrays]
        for arrays in own
    ], losses


def check_follows_pytorch(problem, target, threads=1):
    data = Data(INPUTS, REAL, None)
    engine, parameters = started(problem, target, threads)
    expected, losses = torch_training(problem, parameters, data)
    assert_allclose(trained(engine, problem, data), losses, rtol=1e-8)
    mean = update_row(problem.optimizer).mean
    found = engine.slots()[-1] if mean else engine.parameters()
    for own, wanted, start in zip(found, expected, parameters, strict=True):
        for array, value, before in zip(own, wanted, start, strict=True):
            assert array.size == 0 or not np.array_equal(array, before)
            assert_allclose(array, value, rtol=1e-7, atol=1e-9)
    engine.close()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_follows_pytorch(name, target):
    problem = problem_of(NETWORKS[name], SGD(0.02, momentum=0.9))
    check_follows_pytorch(problem, target, threads=3 if name == "in between" else 1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
def test_training_follows_pytorch_with_every_optimizer(optimizer, target):
    """Weight decay and the penalty are not on the frequencies, limits of the gradient are."""
    limits = {"clip_value": 0.05, "clip_norm": 0.1, "l2": 0.1}
    check_follows_pytorch(problem_of(NETWORKS["some columns"], optimizer, **limits), target)
