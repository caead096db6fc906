"""User-defined rules train as built-in rules of the same formula do, on every target."""

import math
from contextlib import closing

import numpy as np
import pytest
from checker import unchecked
from pairs import all_pairs, in_turns
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    assert_same_but_for_rounding,
    data_of,
    few,
    needs_jit,
    parameters_of,
    problem_of,
    run,
    run_python,
    started,
    train,
    zero_slots,
)

from fastnn.graph import (
    abs,
    cos,
    erf,
    exp,
    expm1,
    log,
    maximum,
    minimum,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    step,
    tanh,
    where,
)
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets.cpu.engine import Engine

# The formulas of built-in rules.
ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": lambda z: maximum(z, 0),
    "elu": lambda z: where(z > 0, z, expm1(z)),
    "gelu": lambda z: z * (1 + erf(z / math.sqrt(2))) / 2,
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * tanh(softplus(z)),
    "hardtanh": lambda z: minimum(maximum(z, -1), 1),
    "softplus": lambda number: softplus(number),
    "step": step,
}
LOSSES = {
    "mse": lambda z, y: (z - y) ** 2 / 2,
    "mae": lambda output, target: abs(output - target),
    "huber": lambda z, y: where(abs(z - y) <= 1, (z - y) ** 2 / 2, abs(z - y) - 0.5),
    "perceptron": lambda z, y: (step(z) - y) * z,
    "hinge": lambda z, y: maximum(0, 1 - (2 * y - 1) * z),
    "squared_hinge": lambda z, y: maximum(0, 1 - (2 * y - 1) * z) ** 2,
    "binary_cross_entropy": lambda z, y: softplus(z) - y * z,
}
# Formulas that no built-in rule has.
OTHER_ACTIVATIONS = {
    "constant": lambda z: z * 0 + 3,
    "half tanh": lambda z: tanh(z) * 0.5,
    "snake": lambda z: z + sin(2 * z) ** 2 / 2,
    "bump": lambda z: exp(-(z**2)) * cos(3 * z),
    "powers": lambda z: z**3 / (1 + z**2) + (1 + z * z) ** 0.3 - sqrt(2 + z**2) ** -1,
    "signed root": lambda z: sign(z) * log(1 + abs(z)),
    "far below": lambda z: where((z > -1) & ~(z > 1), z, sign(z)),
    "no number at zero": lambda z: z / abs(z) * tanh(z),
}
OTHER_LOSSES = {
    "labels of -1 and 1": lambda z, y: maximum(0, 1 - y * z) ** 2,
    "log cosh": lambda z, y: softplus(2 * (z - y)) - (z - y) - math.log(2),
    "quantile": lambda z, y: maximum(0.9 * (y - z), 0.1 * (z - y)),
    "power": lambda z, y: (1 + (z - y) ** 2) ** 0.75,
}
# inputs, hidden units, outputs, rows, batch: panels and vectors are 8, 16 or 32 wide.
SHAPES = [
    (1, 1, 1, 1, 1),
    (3, 5, 2, 11, 4),
    (7, 15, 16, 23, 23),
    (2, 17, 17, 18, 8),
    (5, 31, 32, 33, 16),
    (4, 33, 33, 7, 100),
    few((13, 61, 37, 67, 31), (13, 21, 17, 23, 11)),
]


def problems(layers, loss, dtype, **changes):
    """Return a problem with user-defined rules, and the same with names."""
    own = [Dense(units, ACTIVATIONS[name]) for units, name in layers]
    known = [Dense(units, name, own[0].init) for units, name in layers]
    inputs = changes.pop("inputs", 3)
    return (
        problem_of(inputs, own, LOSSES[loss], dtype=dtype, **changes),
        problem_of(inputs, known, loss, dtype=dtype, **changes),
    )


def assert_same(engine_class, pair, data, **settings):
    found, expected = (run(engine_class, problem, data, **settings) for problem in pair)
    assert_same_but_for_rounding(found, expected, pair[0].dtype)


# A formula is compiled for each dtype, for a second: most are tried in one of them.
@pytest.mark.parametrize(("name", "dtype"), in_turns(ACTIVATIONS, DTYPES))
def test_an_activation_trains_as_the_built_in_one(engine_class, name, dtype):
    pair = problems([(21, name), (3, name)], "mse", dtype, batch_size=4)
    assert_same(engine_class, pair, data_of(pair[1], 23))


@pytest.mark.parametrize(
    ("name", "dtype", "outputs"),
    [(*case, outputs) for case in in_turns(LOSSES, DTYPES) for outputs in (1, 3, 40)],
)
def test_a_loss_trains_as_the_built_in_one(engine_class, name, outputs, dtype):
    pair = problems([(9, "tanh"), (outputs, "identity")], name, dtype, l1=0.01, l2=0.1)
    assert_same(engine_class, pair, data_of(pair[1], 23, weighted=True))


@pytest.mark.parametrize(
    ("name", "dtype", "batch", "weighted"),
    [
        (*case, *other)
        for case in in_turns(LOSSES, DTYPES)
        for other in all_pairs([1, 8], [False, True])
    ],
)
def test_a_loss_of_one_output_trains_as_the_built_in_one(
    engine_class, name, batch, weighted, dtype
):
    pair = problems([(1, "identity")], name, dtype, batch_size=batch, l2=0.1)
    assert_same(engine_class, pair, data_of(pair[1], 131, weighted=weighted))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape_trains_as_the_built_in_rules_do(engine_class, shape, dtype):
    inputs, hidden, outputs, rows, batch = shape
    layers = [(hidden, "silu"), (outputs, "tanh")]
    pair = problems(layers, "huber", dtype, inputs=inputs, batch_size=batch)
    assert_same(engine_class, pair, data_of(pair[1], rows))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_any_number_of_threads_gives_the_same_bits(fast_class, threads, optimizer):
    layers = [Dense(few(200, 9), ACTIVATIONS["silu"]), Dense(few(150, 7), tanh), Dense(35)]
    problem = problem_of(few(90, 5), layers, LOSSES["huber"], OPTIMIZERS[optimizer], batch_size=40)
    data = data_of(problem, 130, weighted=True)
    alone, together = (
        run(fast_class, problem, data, threads=count, epochs=1) for count in (1, threads)
    )
    assert alone.bits() == together.bits()


@pytest.mark.parametrize(("name", "dtype"), in_turns(OTHER_ACTIVATIONS, DTYPES))
def test_any_activation_follows_the_numpy_target(fast_class, name, dtype):
    rule = OTHER_ACTIVATIONS[name]
    layers = [Dropout(0.2), Dense(19, rule), Dropout(0.5), Dense(35, rule), Dense(2, rule)]
    problem = problem_of(3, layers, "mse", dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 21))


@pytest.mark.parametrize(
    ("name", "dtype", "layers", "batch"),
    [
        (*case, *other)
        for case in in_turns(OTHER_LOSSES, DTYPES)
        for other in all_pairs([[Dense(1)], [Dense(1, tanh)], [Dense(9, "relu"), Dense(3)]], [1, 8])
    ],
)
def test_any_loss_follows_the_numpy_target(fast_class, name, layers, batch, dtype):
    problem = problem_of(3, layers, OTHER_LOSSES[name], dtype=dtype, batch_size=batch)
    for weighted in (True, False):
        assert_follows_numpy(fast_class, problem, data_of(problem, few(21, 9), weighted=weighted))


def test_what_pads_a_panel_stays_a_number(engine_class):
    """Where a function is none at zero: else all parameters would be refused as not finite."""
    rule = OTHER_ACTIVATIONS["no number at zero"]
    problem = problem_of(3, [Dense(5, rule), Dense(35, rule), Dense(2, rule)])
    with closing(started(engine_class, problem)) as engine:
        train(engine, problem, data_of(problem, 21), range(2), 0.01)
        assert engine.finite()


def scaled(factor):
    return lambda z: tanh(factor * z) / factor + 0.1 * z


def long(z):
    for i in range(20):
        z = z * (1.05 - 0.01 * i) + 0.001
    return tanh(z)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_of_one_formula_have_numbers_of_their_own(fast_class, dtype):
    layers = [Dense(5, scaled(0.3)), Dropout(0.2), Dense(4, long), Dense(3, scaled(2.0))]
    problem = problem_of(3, [*layers, Dense(2)], lambda z, y: long(0.1 * (z - y)) ** 2, dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 13, weighted=True))


SMOOTH = [name for name in OTHER_ACTIVATIONS if name not in ("constant", "far below")]


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("loss", OTHER_LOSSES)
def test_gradients_are_the_differences_of_the_loss(engine_class, activation, loss):
    layers = [Dense(3, OTHER_ACTIVATIONS[activation]), Dense(2)]
    problem = problem_of(2, layers, OTHER_LOSSES[loss], l2=0.2)
    data, parameters, h = data_of(problem, 7, weighted=True), parameters_of(problem), 1e-5

    def objective():
        engine.load(parameters, zero_slots(problem))
        value = engine.gradients(data)[0]
        return value + sum(0.1 * (W * W).sum() for W, _ in parameters)

    with closing(started(engine_class, problem)) as engine:
        _, gradients = engine.gradients(data)
        for pair, found in zip(parameters, gradients, strict=True):
            for values, gradient in zip(pair, found, strict=True):
                numeric = np.empty_like(values)
                for place in np.ndindex(values.shape):
                    kept = values[place]
                    values[place] = kept + h
                    above = objective()
                    values[place] = kept - h
                    numeric[place] = (above - objective()) / (2 * h)
                    values[place] = kept
                assert numeric.any()
                np.testing.assert_allclose(gradient, numeric, rtol=0, atol=2e-6)


def test_a_loss_that_overflows_names_the_step(engine_class):
    problem = problem_of(2, [Dense(2)], lambda z, y: exp(10 * z**2) * (1 + y**2), batch_size=2)
    data = data_of(problem, 8)
    large = Data(np.where(np.arange(8)[:, None] < 4, 1e-3, 1e3) * np.ones((8, 2)), data.targets)
    with closing(started(engine_class, problem)) as engine:
        result = engine.train_epoch(large, np.arange(8), np.full(4, 1e-9), 0, 0)
    assert result.bad_step == 2 and not math.isfinite(result.loss)


@needs_jit
def test_prediction_alone_compiles_values_alone(monkeypatch):
    from fastnn.targets.cpu import user_rules

    asked, compiled = [], user_rules.compiled

    def noted(rule, count, operation, *rest):
        asked.append(operation)
        return compiled(rule, count, operation, *rest)

    monkeypatch.setattr(user_rules, "compiled", noted)
    problem = problem_of(3, [Dense(4, lambda z: z / (1 + abs(z))), Dense(2)], LOSSES["mse"])
    with closing(started(Engine, problem)) as engine:
        engine.forward(data_of(problem, 5).X)
        assert set(asked) == {"activate"}
        train(engine, problem, data_of(problem, 5))
        assert set(asked) == {"activate", "multiply_derivative", "losses", "loss_gradients"}


# Trains with user-defined rules; prints how many kernels were compiled, and how many of the
# rule's own loops came from the cache.
TRAIN = """
import gc
from contextlib import closing
import numba.core.event as event

with event.install_recorder("numba:compile") as recorder:
    from target_cases import DTYPES, data_of, problem_of, started, train
    from fastnn.targets.cpu.user_rules import Compiled
    from fastnn.targets.cpu.engine import Engine
    from fastnn.graph import exp, tanh
    from fastnn.network import Dense

    for dtype in DTYPES:
        for layers in ([Dense(1)], [Dense(9, lambda z: tanh(z) * {factor}), Dense(3)]):
            loss = lambda z, y: exp({factor} * (z - y)) - {factor} * (z - y)
            problem = problem_of(5, layers, loss, dtype=dtype)
            data = data_of(problem, 20)
            with closing(started(Engine, problem)) as engine:
                print(train(engine, problem, data)[0].loss, engine.forward(data.X).sum())
print(len(recorder.buffer))
loops = [each for each in gc.get_objects() if isinstance(each, Compiled)]
print(len(loops), sum(each.loaded for each in loops))
"""


@unchecked
@needs_jit
def test_a_second_process_compiles_nothing():
    code = TRAIN.format(factor=0.4375)
    *results, _, _ = run_python(code).splitlines()
    *again, kernels, loops = run_python(code).splitlines()
    assert kernels == "0" and loops == "10 10"
    assert again == results


@unchecked
@needs_jit
def test_rules_of_other_formulas_are_not_mixed_up():
    # What the test above has compiled is one of them: a rule takes a second to compile.
    first, second = (run_python(TRAIN.format(factor=factor)) for factor in (0.4375, 0.75))
    assert first.splitlines()[:4] != second.splitlines()[:4]
    both = "first, second = 0.4375, 0.75\n" + TRAIN.replace("{factor}", "first")
    both += TRAIN.replace("{factor}", "second")
    lines = run_python(both).splitlines()
    assert lines[:4] == first.splitlines()[:4]
    assert lines[6:10] == second.splitlines()[:4]
