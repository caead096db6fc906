"""Networks and optimizers through JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from fastnn.errors import CorruptFile, InvalidInput
from fastnn.initializers import LostInitialiser, constant
from fastnn.inputs.parameters import initial_parameters
from fastnn.network import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Dense,
    Dropout,
    Lion,
    Nadam,
    Network,
    RMSProp,
)
from fastnn.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    StepDecay,
    WarmUp,
)
from fastnn.training.plain_values import (
    network_from_dict,
    network_to_dict,
    optimizer_from_dict,
    optimizer_to_dict,
)

NUMPY: Any = np  # its numbers are taken for Python's
NETWORK = Network(
    NUMPY.int64(5),
    [
        Dropout(0.1),
        Dense(4, "relu", "he_normal", l1=0, l2=0.3, max_norm=NUMPY.float32(3)),
        Dense(3, "elu", bias=NUMPY.bool_(False), alpha=0.3, trainable=NUMPY.bool_(False)),
        Dense(3, "prelu", rate_factor=NUMPY.float32(0.5), bias_rate_factor=NUMPY.float64(2.0)),
        Dropout(0.5),
        Dense(2),
    ],
)


def test_a_network_goes_through_json_unchanged():
    made = network_from_dict(json.loads(json.dumps(network_to_dict(NETWORK))))
    assert made == NETWORK
    assert made.shapes == NETWORK.shapes and made.dropouts == NETWORK.dropouts


def test_a_network_from_before_layers_had_settings_of_their_own_has_the_usual_ones():
    values = network_to_dict(Network(3, [Dense(2, "elu", alpha=0.5)]))
    for name in ("l1", "l2", "max_norm", "trainable", "rate_factor", "bias_rate_factor"):
        del values["layers"][0][name]
    assert network_from_dict(values) == Network(3, [Dense(2, "elu", alpha=0.5)])


def ones(generator, k, n):
    return np.ones((k, n))


def test_of_a_callable_initialiser_its_name_is_kept_and_no_other_is_taken_for_it():
    network = Network(3, [Dense(2, init=ones), Dense(2, bias_init=lambda *_: np.ones(2))])
    made = network
    for _ in range(2):  # also when what was read is saved again
        made = network_from_dict(json.loads(json.dumps(network_to_dict(made))))
        first, second = made.layers
        assert first.init == LostInitialiser("ones") and "function ones, not in" in repr(first)
        assert "<lambda>" in second.bias_init.name and second.init is None
    with pytest.raises(InvalidInput, match="init of Dense layer 0 was the function 'ones'"):
        initial_parameters(made, 0, np.dtype(np.float64))
    assert made != Network(3, [Dense(2), Dense(2)])


def test_parts_of_functions_and_objects_have_names_in_files():
    class Ones:
        def __call__(self, generator, k, n):
            return np.ones((k, n))

    layers = [Dense(2, init=partial(ones)), Dense(1, init=Ones())]
    first, second = network_from_dict(network_to_dict(Network(3, layers))).layers
    assert first.init.name == "ones" and second.init.name.endswith("Ones")


def test_a_constant_initialiser_is_kept():
    network = Network(3, [Dense(2, init=constant(0.25)), Dense(1, init=constant(-3))])
    made = network_from_dict(json.loads(json.dumps(network_to_dict(network))))
    assert made == network and made.layers[0].init == constant(0.25) != constant(0.5)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1),
        SGD(1 / 3, momentum=0.9, nesterov=True),
        SGD(NUMPY.float32(0.1), 0.5, NUMPY.bool_(True)),
        Adam(),
        Adam(1e-4, 0.8, 0.99, 1e-6),
        AdamW(weight_decay=0.1),
        Nadam(1e-4, 0.8, 0.99, 1e-6),
        RMSProp(1e-4, 0.8, 1e-6),
        Adagrad(1e-4, 1e-6),
        Lion(1e-3, 0.8, 0.9, 0.1),
        AveragedSGD(0.1, NUMPY.int64(7)),
        SGD(Constant(0.1)),
        SGD(StepDecay(0.1, NUMPY.int64(30), 0.5), momentum=0.9),
        Adam(Exponential(1 / 3, 0.99)),
        Adam(InverseScaling(0.1, 1.0, 0.01)),
        AdamW(Cosine(0.1, 100, 0.01)),
        AdamW(OneCycle(0.1, 100, 0.4, 10.0, 100.0)),
        SGD(WarmUp(10, 0.1)),
        SGD(WarmUp(10, then=Cosine(0.1, 100))),
    ],
)
def test_an_optimizer_goes_through_json_unchanged(optimizer):
    made = optimizer_from_dict(json.loads(json.dumps(optimizer_to_dict(optimizer))))
    assert made == optimizer and type(made) is type(optimizer)


DENSE = network_to_dict(Network(3, [Dense(2, "relu")]))["layers"][0]


@pytest.mark.parametrize(
    "layer",
    [
        None,
        3,
        {},
        {"kind": "Conv"},
        {"kind": ["Dense"]},
        {"kind": "Network", "inputs": 3, "layers": []},
        {"kind": "Dense"},
        {"kind": "Dense", "units": 2},
        DENSE | {"extra": 1},
        DENSE | {"units": 0},
        DENSE | {"units": "2"},
        DENSE | {"activation": "rleu"},
        DENSE | {"activation": []},
        DENSE | {"init": {}},
        DENSE | {"init": {"constant": "x"}},
        DENSE | {"init": {"constant": None}},
        DENSE | {"init": {"function": 3}},
        DENSE | {"init": {"function": "a", "constant": 1.0}},
        DENSE | {"bias_init": {"module": "os"}},
        DENSE | {"bias": 1},
        DENSE | {"alpha": "x"},
        DENSE | {"l1": -1},
        DENSE | {"trainable": None},
        DENSE | {"rate_factor": 0},
        DENSE | {"max_norm": 0},
        {"kind": "Dropout", "rate": 1.5},
    ],
)
def test_a_damaged_layer_is_refused(layer):
    with pytest.raises(CorruptFile, match="^model.fastnn is damaged"):
        network_from_dict({"inputs": 3, "layers": [layer, DENSE]}, "model.fastnn")


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        {"inputs": 3},
        {"inputs": 3, "layers": []},
        {"inputs": 3, "layers": DENSE},
        {"inputs": -3, "layers": [DENSE]},
        {"inputs": 3, "layers": [DENSE], "extra": 1},
        {"inputs": 3, "layers": [DENSE, {"kind": "Dropout", "rate": 0.5}]},
    ],
)
def test_a_damaged_network_is_refused(values):
    with pytest.raises(CorruptFile, match="the saved file is damaged"):
        network_from_dict(values)


COSINE = {"kind": "Cosine", "rate": 0.1, "steps": 100, "min_lr": 0.0}


@pytest.mark.parametrize(
    "rate",
    [
        None,
        {},
        [COSINE],
        {"kind": "SGD", "learning_rate": 0.1, "momentum": 0.0, "nesterov": False},
        {"kind": "Cosine"},
        COSINE | {"steps": 0},
        COSINE | {"rate": COSINE},
        {"kind": "WarmUp", "steps": 3, "then": None},
        {"kind": "WarmUp", "steps": 3, "then": COSINE | {"extra": 1}},
        {"kind": "WarmUp", "steps": 3, "then": {"kind": "WarmUp", "steps": 3, "then": 0.1}},
    ],
)
def test_a_damaged_schedule_is_refused(rate):
    values = {"kind": "SGD", "learning_rate": rate, "momentum": 0.0, "nesterov": False}
    with pytest.raises(CorruptFile, match="^model.fastnn is damaged"):
        optimizer_from_dict(values, "model.fastnn")


def test_an_initialiser_cannot_become_a_schedule():
    layer = DENSE | {"init": COSINE}
    with pytest.raises(CorruptFile, match="damaged: unknown initialiser"):
        network_from_dict({"inputs": 3, "layers": [layer]})


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"kind": "Dense"},
        {"kind": "SGD", "learning_rate": 0.1},
        {"kind": "SGD", "learning_rate": -1, "momentum": 0.0, "nesterov": False},
        {"kind": "SGD", "learning_rate": 0.1, "momentum": None, "nesterov": False},
    ],
)
def test_a_damaged_optimizer_is_refused(values):
    with pytest.raises(CorruptFile, match="^model.fastnn is damaged"):
        optimizer_from_dict(values, "model.fastnn")
