"""The gradients of LayerNorm and BatchNorm by central differences."""

import numpy as np
import pytest
from normalization_cases import NETWORKS, data_of, layers_of, problem_of, started
from numpy.testing import assert_allclose

from fastnn import BatchNorm, Dropout, LayerNorm
from fastnn.targets.numpy.passes import Batch, dropout_masks, loss_and_gradients


@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm()], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_derivatives(name, norm):
    layers = layers_of(name, norm)
    problem = problem_of([layers[0], Dropout(0.3), *layers[1:-1], Dropout(0.2), layers[-1]])
    engine, parameters = started(problem)
    data = data_of(problem, weighted=True)
    batch = Batch(data.X[:7], data.targets[:7], data.weights[:7])
    masks = dropout_masks(problem, 7, epoch=1, step_in_epoch=2)
    _, gradients = loss_and_gradients(problem, parameters, batch, masks)
    h = 1e-6
    every = zip(
        problem.network.parametric, parameters, gradients, problem.network.parameters, strict=True
    )
    for layer, own, found, wanted in every:
        for values, gradient, each in zip(own, found, wanted, strict=True):
            if each.name == "bias" and not layer.bias:
                assert not gradient.any()
                continue
            numeric = np.empty_like(values)
            for place in np.ndindex(values.shape):
                start = values[place]
                ends = []
                for change in (h, -h):
                    values[place] = start + change
                    ends.append(loss_and_gradients(problem, parameters, batch, masks)[0])
                values[place] = start
                numeric[place] = (ends[0] - ends[1]) / (2 * h)
            assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8, err_msg=each.name)
