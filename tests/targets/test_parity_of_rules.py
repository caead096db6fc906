"""Every target takes every name of the tables of rules, and heeds every setting of a problem.

That the operations are the same ones is tests/test_parity.py's to say.
"""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from cuda_cases import CASES, TELLING
from target_cases import OPTIMIZERS, assert_follows_numpy, data_of, problem_of, run

import fastnn
from fastnn.inputs.problem import Problem
from fastnn.network import Dense, Dropout, Network
from fastnn.rules.table import ACTIVATIONS, LOSSES, UPDATES, activation_row

HERE = Path(__file__).parent
# The one rule that is no optimizer is how every target computes gradients.
RULES = {optimizer.rule: optimizer for optimizer in OPTIMIZERS.values()} | {"gradient": None}


def test_every_rule_has_an_optimizer_here():
    assert RULES.keys() == UPDATES.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_trains(fast_class, name):
    problem = problem_of(3, [Dense(4, name), Dense(2)])
    assert_follows_numpy(fast_class, problem, data_of(problem, 11))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains(fast_class, name):
    problem = problem_of(3, [Dense(4, "tanh"), Dense(2)], name)
    assert_follows_numpy(fast_class, problem, data_of(problem, 11))


@pytest.mark.parametrize("name", [name for name in RULES if name != "gradient"])
def test_every_update_trains(fast_class, name):
    problem = problem_of(3, [Dense(4, "tanh"), Dense(2)], optimizer=RULES[name])
    assert_follows_numpy(fast_class, problem, data_of(problem, 11))


LAYERS = [Dense(4, "leaky_relu"), Dense(2)]


def first(**changes):
    """Return the layers with another first one."""
    return {"network": Network(3, [replace(LAYERS[0], **changes), LAYERS[1]])}


# What a setting may be instead; each has to show in the numbers.
SETTINGS = {
    "loss": {"loss": "mae"},
    "optimizer": {"optimizer": OPTIMIZERS["adam"]},
    "batch_size": {"batch_size": 5},
    "l1": {"l1": 0.05},
    "l2": {"l2": 0.5},
    "dtype": {"dtype": np.dtype("float32")},
    "seed": {"seed": 8},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.05},
    "dropout": {"network": Network(3, [LAYERS[0], Dropout(0.6), LAYERS[1]])},
    "units": first(units=5),
    "activation": first(activation="tanh", alpha=None),
    "bias": first(bias=False),
    "alpha": first(alpha=0.4),
    "a layer's l1": first(l1=0.05),
    "a layer's l2": first(l2=0.5),
    "max_norm": first(max_norm=0.3),
    "trainable": first(trainable=False),
    "rate_factor": first(rate_factor=0.3),
    "bias_rate_factor": first(bias_rate_factor=0.3),
}
# Not a matter of numbers, or not of all targets, or of one loss alone (see test_losses.py).
ELSEWHERE = {"network", "precision", "init", "bias_init", "label_smoothing", "ignore_nan"}


def test_every_setting_of_a_problem_and_of_a_layer_is_here():
    known = {name.removeprefix("a layer's ") for name in SETTINGS} | ELSEWHERE
    for kind in (Problem, Dense):
        assert {field.name for field in fields(kind)} <= known
    assert activation_row("leaky_relu").alpha is not None


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_shows_in_the_numbers(fast_class, setting):
    # The seed has dropout to show in; the order of rows is the caller's.
    layers = [Dropout(0.2), *LAYERS] if setting == "seed" else LAYERS
    plain = problem_of(3, layers)
    changed = replace(plain, **SETTINGS[setting])
    assert_follows_numpy(fast_class, changed, data_of(changed, 21))
    one, other = (run(fast_class, each, data_of(each, 21)).losses for each in (plain, changed))
    assert not np.allclose(one, other, rtol=1e-9, atol=0)


def test_weights_of_rows_show_in_the_numbers(fast_class):
    problem = problem_of(3, LAYERS)
    losses = [
        run(fast_class, problem, data_of(problem, 21, weighted=weighted)).losses
        for weighted in (False, True)
    ]
    assert not np.allclose(*losses, rtol=1e-3, atol=0)


def test_what_is_told_of_families_of_kernels_is_of_tests_and_families_that_exist():
    sources = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    assert [name for name in TELLING if f"def {name}(" not in sources] == []
    for family in CASES.keys() - {"grid"}:
        assert (Path(fastnn.__file__).parent / "targets" / "cuda" / family / "family.py").is_file()
