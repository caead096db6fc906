"""User-defined losses of whole rows as values: what is taken and refused, and what a file keeps."""

import copy
import json
import pickle

import numpy as np
import pytest
from trainer_cases import LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import CorruptFile, Dense, InvalidInput, Network, Trainer, graph
from fastnn.graph import exp, log_softmax, logsumexp, maximum, one_hot, softmax, where
from fastnn.graph.custom import CustomLoss, CustomRowLoss
from fastnn.graph.saved import from_plain
from fastnn.training.plain_values import loss_from_plain, loss_to_plain

LAYERS = [Dense(5, "tanh"), Dense(3)]


def gaussian(outputs, targets):
    return 0.5 * (outputs[1] + (targets[0] - outputs[0]) ** 2 * exp(-outputs[1]))


def entropy(outputs, targets):
    return logsumexp(outputs) - outputs[targets[0]]


def loss_of(function, outputs=3):
    return Trainer(Network(4, [Dense(outputs)]), loss=function).problem.loss


@pytest.mark.parametrize(
    "function",
    [
        lambda z, y: (z - y) ** 4,
        lambda z, y: maximum(0, 1 - y * z),
        lambda z, y: where((z > y) & (y > 0), z * y, np.square(z - y)),
        lambda z, y: graph.softplus((z * 2).named("u")) - y * z,
    ],
)
def test_what_works_number_by_number_is_a_loss_of_one_output_whatever_their_number(function):
    for outputs in (1, 3):
        loss = loss_of(function, outputs)
        assert isinstance(loss, CustomLoss) and loss == loss_of(graph.trace(function, "z y"))


def test_a_result_of_several_numbers_means_their_mean():
    assert loss_of(lambda z, y: (z - y[0]) ** 2) == loss_of(
        lambda z, y: graph.mean((z - y[0]) ** 2)
    )
    assert loss_of(lambda z, y: z[:2] * y[0]) == loss_of(lambda z, y: np.mean(z[:2] * y[0]))


@pytest.mark.parametrize(
    ("function", "columns"),
    [
        (lambda z, y: z[0] * y[0], 1),
        (lambda z, y: z[0] * y[4], 5),
        (lambda z, y: z[0] * graph.sum(y[1:4]), 4),
        (lambda z, y: z[0] * graph.sum(y[0:9:4]), 9),
        (lambda z, y: z[0] * y[-1], 3),
        (lambda z, y: z[0] * graph.sum(y[1:]), 3),
        (lambda z, y: graph.sum(z * y), 3),
        (lambda z, y: z[0] * y[0] * len(y), 3),
        (lambda z, y: z[0] * sum(y), 3),
        (lambda z, y: z[0] * y[0] + graph.max(y), 3),
    ],
)
def test_how_many_targets_there_are_follows_from_the_use_of_them(function, columns):
    loss = loss_of(function)
    assert isinstance(loss, CustomRowLoss)
    assert (loss.outputs, loss.columns) == (3, columns)


def test_vectors_of_one_output_and_target_are_numbers():
    def function(z, y):
        return graph.sum((z - y[0]) ** 2) + logsumexp(z) * np.max(z) - y[0] * z[-1]

    loss = loss_of(function, 1)
    assert loss == loss_of(lambda z, y: (z - y) ** 2 + z * z - y * z, 1)


def test_a_loss_shows_its_formula():
    shown = repr(loss_of(lambda out, t: -graph.sum(t * log_softmax(out[0:2:1])[1]) + out[t[0]]))
    assert shown == ("lambda out, t: -sum(t*(out[0:2] - logsumexp(out[0:2]))[1]) + out[t[0]]")
    q = np.array([0.1, 0.9])
    assert repr(loss_of(lambda z, y: q * z[::2] * y[0])) == (
        "lambda z, y: mean(array([0.1, 0.9])*z[0:3:2]*y[0])"
    )
    assert "loss=lambda outputs, targets: logsumexp(outputs)" in repr(
        trainer_of(LAYERS, loss=entropy)
    )


def test_losses_are_equal_if_their_formulas_are_whatever_the_vectors_are_called():
    assert loss_of(entropy) == loss_of(lambda a, b: logsumexp(a) - a[b[0]])
    assert hash(loss_of(entropy)) == hash(loss_of(lambda a, b: logsumexp(a) - a[b[0]]))
    assert loss_of(entropy) != loss_of(entropy, 4)
    assert loss_of(entropy) != loss_of(lambda a, b: logsumexp(a) - a[b[1]])


def test_functions_of_vectors_compute_with_arrays_too():
    v = np.random.default_rng(0).normal(size=(4, 6)) * 300
    np.testing.assert_allclose(softmax(v).sum(axis=1), 1)
    np.testing.assert_allclose(log_softmax(v), v - logsumexp(v)[:, None])
    assert np.array_equal(graph.max(v), v.max(axis=1)) and graph.min(v[0]) == v[0].min()
    assert graph.sum([1, 2]) == 3.0 and graph.mean([1, 2]) == 1.5
    assert one_hot([0, 2], 3).tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(InvalidInput, match="sum needs a vector of at least one number, not 3"):
        graph.sum(3)


def branch(z, y):
    if z[0] > y[0]:
        return z[0]
    return y[0]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda z, y: None, "did it forget to return"),
        (lambda z, y: [z[0], y[0]], "a number or a vector is needed, not list"),
        (lambda z, y: "z", "a number or a vector is needed, not str"),
        (lambda z, y: z[0] > y[0], "is a condition, not a number"),
        (lambda z, y: z > y, "is a condition, not a number"),
        (lambda z, y: z[7] * y[0], r"z has 3 numbers, and none of index 7; the last(.|\n)*z\[7\]"),
        (lambda z, y: z[-4] * y[0], "none of index -4"),
        (lambda z, y: z[1.0] * y[0], "must be a whole number, a slice or an expression, not 1.0"),
        (lambda z, y: z["a"] * y[0], "must be a whole number, a slice"),
        (lambda z, y: z[True] * y[0], "must be a whole number, a slice"),
        (lambda z, y: graph.sum(z[5:]) * y[0], r"slice of z, of 3 numbers, cannot be slice\(5, No"),
        (lambda z, y: graph.sum(z[::-1]) * y[0], "step at least 1"),
        (lambda z, y: z[0] * y[4] + graph.sum(y), "y is used as a whole.*one of index 4"),
        (lambda z, y: y - z[:2], r"y of 3 numbers and z\[0:2\] of 2 .* cannot go together"),
        (lambda z, y: graph.sum(z * np.ones(2)) * y[0], "cannot go together, number by number"),
        (lambda z, y: graph.sum(z * np.array([1, 2, np.nan])) * y[0], "must be finite, not nan"),
        (lambda z, y: graph.sum(z * np.ones((3, 3))) * y[0], r"an array of shape \(3, 3\) cannot"),
        (lambda z, y: max(z) * y[0], r"use maximum\(a, b\), or max\(v\) for a vector v"),
        (lambda z, y: max(0, z) * y[0], r"use maximum\(a, b\), or max\(v\) for a vector v"),
        (lambda z, y: graph.max(z[0], y[0]), "takes 1 positional argument"),
        (
            lambda z, y: graph.max(z[0]) * y[0],
            r"max needs a vector, but z\[0\] is one number; use max",
        ),
        (lambda z, y: graph.sum(z > y), "sum needs a vector, but .* is one vector of conditions"),
        (branch, r"branch cannot depend on z\[0\] > y\[0\](.|\n)*if z\[0\] > y\[0\]"),
        (lambda z, y: z if z > 0 else y, "branch cannot depend on z > 0"),
        (lambda z, y: np.std(z) * y[0], "NumPy's std is unknown"),
        (lambda z, y: np.sum(z, keepdims=True) * y[0], "sum cannot take keepdims"),
        (lambda z, y: z.std() * y[0], r"no attribute 'std'; what there is of a vector v is v\[0\]"),
        (lambda z, y: float(z) * y[0], "needs a number, but z has no value"),
        (lambda z, y: np.array(z) * y[0], "has no value yet"),
        (lambda z, y: graph.sum(z), "does not depend on y"),
        (lambda z, y: graph.sum(y), "does not depend on z"),
        (lambda z, y: graph.sum(graph.step(z)) * y[0], "derivative 0 by the outputs z everywhere"),
        (lambda y, z: graph.sum(z * y), "has y first; write lambda z, y"),
        (lambda targets, p: graph.sum(p) * targets[0], "has targets first"),
        (lambda z, y, w: graph.sum(z * y), r"two variables, .* not 3 \(z, y, w\)"),
    ],
)
def test_what_cannot_be_a_loss_is_refused_with_its_line_and_what_to_write(function, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        loss_of(function)


def test_an_activation_is_still_of_one_number():
    with pytest.raises(InvalidInput, match="stands for one number, not an array"):
        Dense(3, lambda z: z[0])
    with pytest.raises(InvalidInput, match="softmax needs a vector, but z is one number"):
        Dense(3, lambda z: softmax(z))


def test_a_formula_that_is_too_long_is_refused_whatever_the_width():
    assert loss_of(entropy, 100_000).source.operations < 30

    def long(z, y):
        for _ in range(600):
            z = graph.sin(z) + y[0]
        return graph.sum(z)

    with pytest.raises(InvalidInput, match="at most 1000 are compiled"):
        loss_of(long)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_of_training_validation_and_scores_is_the_formula(target):
    trainer = trainer_of([Dense(5, "tanh"), Dense(2)], loss=gaussian, target=target)
    history = trainer.fit(X, REAL, 3, (X, REAL, WEIGHTS), WEIGHTS)
    z = trainer.forward(X).astype(np.float64)
    rows = 0.5 * (z[:, 1] + (REAL - z[:, 0]) ** 2 * np.exp(-z[:, 1]))
    expected = {"loss": pytest.approx(np.average(rows, weights=WEIGHTS), rel=1e-5)}
    assert trainer.evaluate(X, REAL, WEIGHTS) == expected
    assert history.validation_loss[-1] == expected["loss"]
    assert np.array_equal(trainer.predict(X), trainer.forward(X))
    assert trainer.evaluate(X, REAL[:, None], WEIGHTS) == expected
    with pytest.raises(InvalidInput, match=r"y has shape \(37, 2\) but lambda .* takes \(37,\) or"):
        trainer.fit(X, np.stack((REAL, REAL), axis=1))


@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_trainer_goes_on_to_the_same_bits(target, tmp_path):
    trainer = trainer_of(LAYERS, loss=entropy, target=target)
    trainer.fit(X, LABELS, 2)
    path = tmp_path / "own.safetensors"
    trainer.save(path)
    others = [Trainer.load(path), pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)]
    trainer.fit(X, LABELS, 2)
    for other in others:
        assert other.problem == trainer.problem and repr(other.problem) == repr(trainer.problem)
        other.fit(X, LABELS, 2)
        assert state_of(other) == state_of(trainer)


@pytest.mark.parametrize("target", TARGETS)
def test_the_cross_entropy_written_by_hand_is_the_built_in_one(target):
    own, known = (
        trainer_of(LAYERS, loss=loss, target=target, dtype="float64")
        for loss in (entropy, "softmax_cross_entropy")
    )
    losses = [trainer.fit(X, LABELS, 5).loss for trainer in (own, known)]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    np.testing.assert_allclose(own.forward(X), known.forward(X), rtol=1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_and_sweeps_take_them(target):
    from fastnn import sweep

    trainer = trainer_of(LAYERS, loss=entropy, target=target)
    assert trainer.fit(X, LABELS, 2, (X, LABELS), restarts=3).restarts
    grid = {"units": [3, 4], "loss": [entropy, gaussian]}
    assert len(sweep(trainer_of(LAYERS, target=target), X, LABELS, 1, grid=grid)) == 4


def test_a_loss_that_was_made_for_another_number_of_outputs_is_refused():
    with pytest.raises(InvalidInput, match="made for a network of 3 outputs, but this one has 2"):
        Trainer(Network(4, [Dense(2)]), loss=loss_of(entropy))
    assert Trainer(Network(4, [Dense(3)]), loss=loss_of(entropy)).problem.loss == loss_of(entropy)


GOOD = loss_to_plain(loss_of(lambda z, y: graph.sum(z[0:2]) * z[2] - z[y[0]]))


def test_a_loss_goes_through_json_unchanged():
    functions = [entropy, gaussian, lambda z, y: graph.max(z[1:] * y[0:2]) + one_hot(y[2], 3) @ z]
    functions.append(lambda z, y: np.array([1.0, y[0], 3.0][:1]) * z[:1] + np.mean(y))
    for function in functions:
        loss = loss_of(function)
        back = loss_from_plain(json.loads(json.dumps(loss_to_plain(loss))))
        assert back == loss and back.expression.node is loss.expression.node
        assert from_plain(loss_to_plain(loss)).node is loss.expression.node


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": None},
        {"lengths": [3]},
        {"lengths": [3, 0]},
        {"lengths": [3, -1]},
        {"lengths": [3, 2.0]},
        {"lengths": [3, True]},
        {"lengths": [2**40, 1]},
        {"lengths": [2, 1]},
        {"nodes": ["z", 3.0, ["item", 0, 1], "y", ["item", 3, 0]]},
        {"nodes": ["z", "y", ["mul", 0, 1]]},
        {"nodes": ["z", "y", ["sum", 0], ["add", 0, 1], ["sum", 3]]},
        {"nodes": ["z", 0.0, ["item", 0, 1], ["sum", 2]]},
        {"nodes": ["z", -1.0, ["item", 0, 1]]},
        {"nodes": ["z", 0.5, ["item", 0, 1]]},
        {"nodes": ["z", 0.0, ["item", 0, 1], ["item", 0, 2]]},
        {"nodes": ["z", 0.0, 2.0, ["slice", 0, 1, 2, 1], ["sum", 3]]},
        {"nodes": ["z", 0.0, 9.0, 1.0, ["slice", 0, 1, 2, 3], ["sum", 4]]},
        {"nodes": ["z", 1.0, ["slice", 0, 1, 1, 1], ["sum", 2]]},
        {"nodes": [1e300, ["range", 0], ["sum", 1]]},
        {"nodes": [1e9, ["range", 0], ["sum", 1]]},
        {"nodes": ["z", ["array"], ["sum", 1]]},
        {"nodes": ["z", ["array", 0, 0], ["sum", 1]]},
        {"nodes": ["z", 0.0, ["item", 0, 1], ["array", *[2] * 5000], ["sum", 3]]},
        {"nodes": ["z", "y", ["take", 0, 1]]},
        {"nodes": ["z", 1.0, ["put", 1, 1, 1], ["sum", 2]]},
        {"nodes": ["z", 1.0, ["spread", 0, 1, 1, 1, 1], ["sum", 2]]},
        {"nodes": ["z", "y", ["lt", 0, 0], ["sum", 2]]},
    ],
)
def test_a_damaged_loss_is_refused(changes):
    assert loss_from_plain(GOOD).columns == 1
    with pytest.raises(CorruptFile, match="^own.fastnn is damaged"):
        loss_from_plain(GOOD | changes, "own.fastnn")
