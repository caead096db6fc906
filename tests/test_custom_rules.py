"""User-defined rules as values: what is taken, what is refused, and what a file keeps."""

import copy
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from trainer_cases import LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import CorruptFile, Dense, InvalidInput, Network, Trainer, graph
from fastnn.graph import abs, exp, maximum, tanh, trace, variables, where
from fastnn.graph.custom import CustomActivation, CustomLoss
from fastnn.graph.saved import from_plain, to_plain
from fastnn.training.plain_values import loss_from_plain, network_from_dict, network_to_dict

HALF = Dense(6, activation=lambda z: tanh(z) * 0.5)
LAYERS = (HALF, Dense(2))
Y = np.column_stack((REAL, -REAL))


def bump(z: Any, width: float = 2.0) -> Any:
    """Return a bump of a width, which has a default and so is no variable."""
    return exp(-((z / width) ** 2))


def quantile(z: Any, y: Any) -> Any:
    return maximum(0.9 * (y - z), 0.1 * (z - y))


def own_trainer(**settings: Any) -> Trainer:
    return trainer_of(LAYERS, **({"loss": quantile} | settings))


def test_a_rule_shows_its_formula():
    assert repr(HALF.activation) == "lambda z: tanh(z)*0.5"
    assert "activation=lambda z: tanh(z)*0.5" in repr(HALF)
    trainer = own_trainer()
    assert "loss=lambda z, y: maximum(0.9*(y - z), 0.1*(z - y))" in repr(trainer)
    assert repr(Dense(1, bump).activation) == "lambda z: exp(-(z/2)**2)"


def test_rules_are_equal_if_their_formulas_are_whatever_the_variables_are_called():
    assert Dense(6, lambda number: tanh(number) * 0.5) == HALF
    assert hash(Dense(6, lambda number: tanh(number) * 0.5)) == hash(HALF)
    assert Dense(6, lambda z: tanh(z) * 0.25) != HALF
    assert Dense(6, "tanh") != HALF and Dense(6, tanh) != Dense(6, "tanh")
    assert Dense(6, activation=HALF.activation) == HALF
    swapped = trainer_of(LAYERS, loss=lambda p, q: maximum(0.9 * (p - q), 0.1 * (q - p)))
    assert swapped.problem != own_trainer().problem
    renamed = trainer_of(LAYERS, loss=lambda a, b: maximum(0.9 * (b - a), 0.1 * (a - b)))
    assert renamed.problem == own_trainer().problem


def test_names_of_intermediate_results_do_not_count():
    plain = CustomActivation(trace(lambda z: exp(2 * z) + 2 * z))
    assert CustomActivation(trace(lambda z: exp((2 * z).named("u")) + 2 * z)) == plain


def test_a_formula_is_taken_in_place_of_a_function():
    (x,) = variables("x")
    assert Dense(6, tanh(x) * 0.5) == HALF
    z, y = variables("z y")
    for formula in (maximum(0, 1 - y * z), maximum(0, 1 - z * y)):
        loss = trainer_of(LAYERS, loss=formula).problem.loss
        assert isinstance(loss, CustomLoss)
        assert loss.expression.names == ("z", "y")
    loss = trainer_of(LAYERS, loss=maximum(0, 1 - y * z)).problem.loss
    assert loss == trainer_of(LAYERS, loss=lambda a, b: maximum(0, 1 - b * a)).problem.loss


def test_weights_start_from_xavier_uniform_unless_init_is_given():
    found, named, he = (
        trainer_of((Dense(6, activation, init), Dense(2)), loss="mse").parameters[0][0]
        for activation, init in ((tanh, None), ("tanh", None), (tanh, "he_normal"))
    )
    assert np.array_equal(found, named) and not np.array_equal(found, he)


def test_there_is_no_alpha():
    with pytest.raises(InvalidInput, match=r"activation lambda x: tanh\(x\) has no alpha"):
        Dense(6, tanh, alpha=0.1)


def branch(z: Any) -> Any:
    return z if z > 0 else 0.1 * z


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Dense(3, branch), r"branch cannot depend on z > 0.*use where(.|\n)*z if z > 0 el"),
        (lambda: Dense(3, lambda z: math.tanh(z)), r"use tanh of fastnn.graph(.|\n)*h.tanh\(z\)"),
        (lambda: Dense(3, lambda z: max(z, 0)), r"use maximum\(a, b\)(.|\n)*max\(z, 0\)"),
        (lambda: Dense(3, lambda z: np.sinh(z)), r"NumPy's sinh is unknown(.|\n)*np.sinh\(z\)"),
        (lambda: Dense(3, math.tanh), r"needed, but x has no value(.|\n)*Dense\(3, math.tanh\)"),
        (lambda: Dense(3, lambda z: z > 0), "is a condition, not a number"),
        (lambda: Dense(3, lambda z: None), "did it forget to return"),
        (lambda: Dense(3, lambda z, y: z * y), r"one variable, not 2 \(z, y\); give .* a default"),
        (lambda: Dense(3, trace(lambda: 3, [])), "at least one name"),
        (lambda: Dense(3, [tanh]), "unknown activation"),
        (lambda: own_trainer(loss=lambda z, y: max(0, 1 - y * z)), r"use maximum\(a, b\)"),
        (lambda: own_trainer(loss=lambda z: z**2), r"two variables.*not 1 \(z\)"),
        (lambda: own_trainer(loss=lambda z, y, w: w * z), r"not 3 \(z, y, w\)"),
        (lambda: own_trainer(loss=lambda z, y: y**2), "does not depend on z"),
        (lambda: own_trainer(loss=lambda z, y: z**2), "does not depend on y"),
        (
            lambda: own_trainer(loss=lambda z, y: graph.step(z) - y),
            "derivative 0 by the output z every",
        ),
        (lambda: own_trainer(loss=lambda y, z: y * z - z), r"has y first; write lambda z, y:"),
        (lambda: Dense(3, lambda z: 1.0), "activation lambda z: 1 does not depend on z"),
        (lambda: own_trainer(loss=lambda y_true, p: y_true - p), "has y_true first; .* p, y_true:"),
        (lambda: own_trainer(loss=graph.step), "two variables"),
        (lambda: own_trainer(loss=variables("p")[0] * variables("t")[0]), "called|not p, t"),
        (lambda: own_trainer(loss=variables("y")[0] ** 2), "one other, the output, not y"),
        (lambda: own_trainer(loss=3), "unknown loss 3"),
    ],
)
def test_what_cannot_be_a_rule_is_refused_with_its_line_and_what_to_write(make, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        make()


def test_a_loss_of_raw_outputs_refuses_an_own_activation():
    with pytest.raises(InvalidInput, match=r"activation lambda z: tanh\(z\)\*0.5; make it Dense"):
        trainer_of((Dense(3, HALF.activation),))


@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_numbers_and_predictions_are_outputs(target):
    trainer = own_trainer(target=target)
    trainer.fit(X, Y, 2, validation_data=(X, Y, WEIGHTS), sample_weight=WEIGHTS)
    assert np.array_equal(trainer.predict(X), trainer.forward(X))
    found = trainer.evaluate(X, Y, WEIGHTS)
    P = trainer.forward(X).astype(np.float64)
    row_loss = np.maximum(0.9 * (Y - P), 0.1 * (P - Y)).mean(axis=1)
    assert found == {"loss": pytest.approx(np.average(row_loss, weights=WEIGHTS), rel=1e-6)}
    with pytest.raises(InvalidInput, match="gives no probabilities"):
        trainer.predict_proba(X)
    with pytest.raises(InvalidInput, match=r"y has shape \(37,\) but lambda z, y: .* \(37, 2\)"):
        trainer.fit(X, LABELS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_trainer_goes_on_to_the_same_bits(target, tmp_path):
    trainer = own_trainer(target=target)
    trainer.fit(X, Y, 2)
    path = tmp_path / "own.safetensors"
    trainer.save(path)
    others = [Trainer.load(path), pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)]
    trainer.fit(X, Y, 2)
    for other in others:
        assert other.problem == trainer.problem and repr(other.problem) == repr(trainer.problem)
        other.fit(X, Y, 2)
        assert state_of(other) == state_of(trainer)
    earlier = copy.copy(trainer)
    trainer.fit(X, Y, 1)
    trainer.restore(earlier)
    assert state_of(trainer)[0] == 4


FORMULAS = [
    lambda z: z,
    lambda z: where(z > 3, 3, z),
    lambda z: where((z > -1) & ~(z > 1) | (z == 5), z**2.5, -0.0),
    lambda z: abs(z) * 1e-300 + z / 3 + (2 * z).named("u"),
]


@pytest.mark.parametrize("function", FORMULAS)
def test_a_formula_goes_through_json_unchanged(function):
    rule = Dense(2, function).activation
    assert isinstance(rule, CustomActivation)
    back = from_plain(json.loads(json.dumps(to_plain(rule.expression))))
    assert back.node is rule.expression.node and back.names == rule.expression.names


GOOD = to_plain(trace(lambda z: where(z > 0, z, 0.1 * z)))


def changed(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


@pytest.mark.parametrize(
    "formula",
    [
        {},
        changed(extra=1),
        changed(variables="z"),
        changed(variables=[]),
        changed(variables=["z", "z"]),
        changed(variables=["z", "y", "w"]),
        changed(variables=["not a name"]),
        changed(variables=["lambda"]),
        changed(variables=[3]),
        changed(nodes=None),
        changed(nodes=[]),
        changed(nodes=["x"]),
        changed(nodes=[True]),
        changed(nodes=[None]),
        changed(nodes=[math.nan]),
        changed(nodes=[math.inf]),
        changed(nodes=[10**400]),
        changed(nodes=[[]]),
        changed(nodes=["z", ["eval", 0]]),
        changed(nodes=["z", [["exp"], 0]]),
        changed(nodes=["z", ["exp"]]),
        changed(nodes=["z", ["exp", 0, 0]]),
        changed(nodes=["z", ["exp", 1]]),
        changed(nodes=["z", ["exp", -1]]),
        changed(nodes=["z", ["exp", 0.0]]),
        changed(nodes=["z", ["exp", "z"]]),
        changed(nodes=["z", ["variable", 0]]),
        changed(nodes=["z", ["lt", 0, 0]]),
        changed(nodes=["z", ["where", 0, 0, 0]]),
        changed(nodes=["z", ["lt", 0, 0], ["exp", 1]]),
        changed(nodes=["z", ["and", 0, 0], ["where", 1, 0, 0]]),
    ],
)
def test_a_damaged_formula_is_refused(formula):
    layers = network_to_dict(Network(4, [HALF]))
    layers["layers"][0]["activation"] = formula
    with pytest.raises(CorruptFile, match="^own.fastnn is damaged"):
        network_from_dict(layers, "own.fastnn")
    with pytest.raises(CorruptFile, match="^own.fastnn is damaged"):
        loss_from_plain(formula, "own.fastnn")
