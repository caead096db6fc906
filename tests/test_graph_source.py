"""Rules generated from formulas: the values and derivatives are those of the formula."""

import math
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from fastnn import InvalidInput
from fastnn.graph import (
    abs,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    step,
    tanh,
    trace,
    where,
)
from fastnn.graph.lower import lower
from fastnn.graph.source import activation_source, loss_source
from fastnn.graph.statements import FUNCTIONS
from fastnn.rules import activations, losses
from fastnn.targets.numpy.activations import ACTIVATIONS

NUMPY = SimpleNamespace(
    **{name: getattr(np, name) for name in FUNCTIONS if name != "erf"}, erf=special.erf
)
POINTS = [-800.0, -30.0, -2.0, -1.0, -0.3, -1e-6, 0.0, 1e-6, 0.5, 1.0, 2.5, 30.0, 800.0]

FORMULAS = {
    "identity": lambda z: z,
    "constant": lambda z: 3,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": lambda z: maximum(z, 0),
    "leaky_relu": lambda z, alpha: where(z > 0, z, alpha * z),
    "elu": lambda z, alpha: where(z > 0, z, alpha * expm1(z)),
    "gelu": lambda z: 0.5 * z * (1 + erf(z / math.sqrt(2))),
    "silu": lambda z: z * sigmoid(z),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + abs(z)),
    "tanh_gelu": lambda z: 0.5 * z * (1 + tanh(0.7978845608 * (z + 0.044715 * z**3))),
    "snake": lambda z, a: z + sin(a * z) ** 2 / a,
    "powers": lambda z: (1 + z**2) ** -0.5 + z**-2 + z**5 + (2 + z**2) ** 1.7 + z**0 + z**17,
    "variable_power": lambda z, a: abs(z) ** a,
    "every_function": lambda z: sqrt(abs(z)) + log(1 + exp(-abs(z))) + log1p(z**2) + cos(z),
    "kinks": lambda z, k: maximum(z, k) - minimum(z, 2 * k) + step(z - k) * z + sign(z) * abs(z),
    "conditions": lambda z: where((z > -1) & ~(z >= 1) | (z == 2.5), z**3, 3 * z - 2),
    "named": lambda z: (z * sigmoid(z)).named("u") / (1 + z * sigmoid(z)),
}


def functions_of(source, real=np.float64, m=NUMPY):
    namespace = {}
    exec(source.text, namespace)
    return namespace["rule"](real, m)


def rule_of(source, real=np.float64, m=NUMPY):
    """Return the functions of a rule with its numbers; of an activation they still take alpha."""
    numbers = tuple(map(real, source.constants))
    used = {int(index) + 1 for index in re.findall(r"numbers\[(\d+)\]", source.text)}
    with_alpha = max(used, default=0) > len(numbers)

    def given(function):
        if "value(z" in source.text:
            return lambda *values: function(*values[:-1], (*values[-1:] * with_alpha, *numbers))
        return lambda *values: function(*values, numbers)

    return tuple(map(given, functions_of(source, real, m)))


@pytest.mark.parametrize("name", FORMULAS)
def test_an_activation_computes_the_formula_and_its_derivative(name):
    formula = trace(FORMULAS[name])
    value, derivative = rule_of(activation_source(formula))
    alpha = 0.3
    settings = {formula.names[1]: alpha} if len(formula.names) > 1 else {}
    first = formula.names[0]
    with np.errstate(all="ignore"):
        for z in map(np.float64, POINTS):
            values = {first: z, **settings}
            a = value(z, alpha)
            # float64's underflow in exp and squares of 800 leave a few roundings.
            assert a == pytest.approx(formula.evaluate(**values), rel=1e-13, nan_ok=True)
            expected = formula.gradient(**values)[first]
            assert derivative(z, a, alpha) == pytest.approx(
                expected, rel=1e-12, abs=1e-15, nan_ok=True
            )


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "silu", "softplus", "gelu"])
def test_a_known_activation_agrees_with_the_reference(name):
    value, derivative = rule_of(activation_source(trace(FORMULAS[name])))
    reference = ACTIVATIONS[name]
    z = np.linspace(-6, 6, 49)
    a = np.array([value(each, 0.0) for each in z])
    derivatives = np.array([derivative(*each, 0.0) for each in zip(z, a, strict=True)])
    np.testing.assert_allclose(a, reference.value(z, 0.0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(derivatives, reference.derivative(z, a, 0.0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "hinge", "squared_hinge"])
def test_a_known_loss_agrees_with_the_hand_written_rule(name):
    formulas = {
        "mse": lambda p, y: (p - y) ** 2 / 2,
        "mae": lambda p, y: abs(p - y),
        "huber": lambda p, y: where(abs(p - y) <= 1, (p - y) ** 2 / 2, abs(p - y) - 0.5),
        "hinge": lambda p, y: maximum(0, 1 - (2 * y - 1) * p),
        "squared_hinge": lambda p, y: maximum(0, 1 - (2 * y - 1) * p) ** 2,
    }
    found = rule_of(loss_source(trace(formulas[name])))
    expected, alpha = getattr(losses, name)(np.float64, NUMPY), float(name == "huber")
    for p in np.linspace(-3, 3, 25):
        for y in (0.0, 1.0):
            for mine, theirs in zip(found, expected, strict=True):
                assert mine(p, y) == pytest.approx(theirs(p, y, alpha), rel=1e-14, abs=1e-16)


def test_a_loss_on_raw_outputs_does_not_overflow():
    value, gradient = rule_of(loss_source(trace(lambda p, y: softplus(p) - y * p)))
    with np.errstate(over="ignore"):
        assert value(np.float64(800), 1.0) == 0
        assert value(np.float64(-800), 1.0) == 800
        assert gradient(np.float64(-800), 1.0) == -1
        assert gradient(np.float64(800), 0.0) == 1


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "constant"])
def test_nan_stays_nan(name):
    value, _ = rule_of(activation_source(trace(FORMULAS[name])))
    assert math.isnan(value(np.float64("nan"), 0.3))


@pytest.mark.parametrize("name", FORMULAS)
def test_float32_stays_float32(name):
    value, derivative = rule_of(activation_source(trace(FORMULAS[name])), np.float32)
    z, alpha = np.float32(0.7), np.float32(0.3)
    a = value(z, alpha)
    assert a.dtype == np.float32
    assert derivative(z, a, alpha).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "needs_z"),
    [("identity", False), ("sigmoid", False), ("tanh", False), ("silu", True), ("relu", True)],
)
def test_the_source_says_whether_the_derivative_follows_from_the_output(name, needs_z):
    source = activation_source(trace(FORMULAS[name]))
    assert source.derivative_needs_z == needs_z
    if not needs_z:
        value, derivative = rule_of(source)
        z = np.float64(0.7)
        a = value(z, 0.3)
        assert derivative(None, a, 0.3) == derivative(z, a, 0.3)


def test_the_source_names_the_functions_that_it_needs():
    assert activation_source(trace(FORMULAS["gelu"])).functions == ("erf", "exp")
    assert activation_source(trace(FORMULAS["relu"])).functions == ()
    assert activation_source(trace(softplus)).functions == ("exp", "log1p")


def test_shared_subexpressions_are_computed_once():
    def gated(z):
        gate = sigmoid(z + 1)
        return gate * z + gate * gate

    text = activation_source(trace(gated)).text
    value, derivative = text.split("def derivative")
    assert value.count("exp(") == derivative.count("exp(") == 1


def test_the_text_does_not_depend_on_names_or_on_what_was_made_before():
    first = activation_source(trace(lambda z, alpha: where(z > alpha, z, exp(z * alpha)))).text
    trace(lambda u: exp(u) / 3 + sigmoid(u))
    again = trace(lambda u, v: where(u > v, u, exp((u * v).named("product"))))
    assert activation_source(again).text == first


def test_the_text_is_the_same_in_another_process():
    code = (
        "from fastnn.graph import *; from fastnn.graph.source import activation_source\n"
        "x = variables('q w e r t y'); x[3] * exp(x[1] / 3)\n"
        "print(activation_source(trace(lambda z: z * tanh(softplus(z)) + maximum(z, 3))).text)"
    )
    here = activation_source(trace(lambda z: z * tanh(softplus(z)) + maximum(z, 3))).text
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == here + "\n"


def test_other_numbers_give_the_same_text():
    def quantile(q):
        return lambda z, y: maximum(q * (y - z), (q - 1) * (z - y)) + 0.5 * (z - y) ** 2 * q

    sources = [loss_source(trace(quantile(q))) for q in (0.9, 0.5, 0.125, 3.0)]
    assert len({source.text for source in sources}) == 1
    assert sources[0].constants == (0.9, 0.9 - 1, 0.5, 0.9)
    one, other = (activation_source(trace(lambda z, s=s: tanh(z * s) / s)) for s in (0.3, 7.0))
    assert one.text == other.text and (one.constants, other.constants) == ((0.3, 0.3), (7.0, 7.0))


@pytest.mark.parametrize(
    "formula", [lambda z: z**2, lambda z: z**3, lambda z: z * -1, lambda z: z**0.5, lambda z: 1 / z]
)
def test_what_arithmetic_is_another_with_is_in_the_text(formula):
    assert activation_source(trace(formula)).constants == ()


def test_a_long_chain_becomes_many_short_lines():
    def chain(z):
        for _ in range(500):
            z = sin(z) + 0.5
        return z

    source = activation_source(trace(chain))
    assert max(map(len, source.text.splitlines())) < 120
    value, _ = rule_of(source)
    assert value(np.float64(0.3), 0) == pytest.approx(trace(chain).evaluate(z=0.3), rel=1e-12)


def test_lowered_graphs_have_only_what_compiled_code_knows():
    allowed = {"add", "sub", "mul", "div", "pow", "neg", "abs", "where", *FUNCTIONS}
    allowed |= {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "constant", "variable"}
    for function in FORMULAS.values():
        (root,) = lower([trace(function).node])
        seen, stack = set(), [root]
        while stack:
            node = stack.pop()
            seen.add(node.operation)
            stack.extend(node.arguments)
        assert seen <= allowed


def test_a_generated_rule_compiles_with_the_functions_of_the_cpu_target():
    numba = pytest.importorskip("numba")
    if numba.config.DISABLE_JIT:
        pytest.skip("needs compiled functions")
    from fastnn.targets.cpu.llvm.elementary import make_elementary

    m = make_elementary(np.dtype(np.float32))
    generated = functions_of(activation_source(trace(FORMULAS["silu"])), np.float32, m)
    written = activations.silu(np.float32, m)
    for mine, theirs, arity in zip(generated, written, (2, 3), strict=True):
        mine, theirs = numba.njit(mine), numba.njit(theirs)
        for z in np.array([-90, -3, 0, 0.4, 20], np.float32):
            arguments = (z, z, z)[:arity]
            assert mine(*arguments[:-1], ()) == pytest.approx(
                theirs(*arguments), rel=1e-6, abs=1e-30
            )


@pytest.mark.parametrize(
    ("make", "f", "message"),
    [
        (activation_source, lambda p, y, w: p, r"one variable, or two .* not 3 \(p, y, w\)"),
        (loss_source, lambda p: p, r"a loss has two variables, .* not 1 \(p\)"),
    ],
)
def test_a_rule_with_another_number_of_variables_is_refused(make, f, message):
    with pytest.raises(InvalidInput, match=message):
        make(trace(f))
