"""Tracing: which functions become formulas, and what the others are told."""

import functools
import math

import numpy as np
import pytest
from scipy import special

from fastnn import InvalidInput, graph
from fastnn.graph import exp, maximum, sigmoid, trace, variables, where

(z,) = variables("z")


def helper(z):
    return exp(-z) + 1


def with_a_loop(z, alpha, power=2):
    total = 0
    for k in range(3):
        total = total + alpha * z**k
    return total / helper(z) ** power


def test_a_function_becomes_the_formula_that_it_computes():
    formula = trace(with_a_loop)
    assert formula.names == ("z", "alpha")
    assert formula.evaluate(z=0.3, alpha=2) == pytest.approx(with_a_loop(0.3, 2), rel=1e-15)


def test_names_may_be_chosen_and_an_argument_may_go_unused():
    formula = trace(lambda p, y: p**2, "output target")
    assert repr(formula) == "output**2"
    assert formula.gradient(output=3, target=1) == {"output": 6, "target": 0}


def test_a_function_that_returns_a_number_is_a_constant():
    formula = trace(lambda z: 3)
    assert formula.evaluate(z=1) == 3
    assert formula.gradient(z=1) == {"z": 0}


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (np.exp, "exp(z)"),
        (lambda z: np.maximum(0, z), "maximum(0, z)"),
        (lambda z: np.where(z > 0, z, 0), "where(z > 0, z, 0)"),
        (lambda z: np.where(np.logical_and(z > 0, z < 1), z, 0), "where((z > 0) & (z < 1), z, 0)"),
        (lambda z: np.clip(z, -1, 1), "minimum(maximum(z, -1), 1)"),
        (lambda z: np.clip(z, a_min=-1, a_max=1), "minimum(maximum(z, -1), 1)"),
        (lambda z: np.clip(a=z, a_min=-1, a_max=1), "minimum(maximum(z, -1), 1)"),
        (lambda z: np.clip(z, min=-1, max=1), "minimum(maximum(z, -1), 1)"),
        (lambda z: np.clip(z, -1, a_max=1, out=None), "minimum(maximum(z, -1), 1)"),
        (lambda z: np.clip(z, None, 1), "minimum(z, 1)"),
        (lambda z: np.clip(z, -1, None), "maximum(z, -1)"),
        (lambda z: np.clip(z, max=1), "minimum(z, 1)"),
        (lambda z: pow(z, 3), "z**3"),
        (lambda z: pow(2, z, None), "2**z"),
        (lambda z: np.float64(2) * z + np.float32(3), "2*z + 3"),
        (lambda z: np.array(2.0) * z, "2*z"),
        (lambda z: np.where(np.float64(2) < z, 1, 0), "where(z > 2, 1, 0)"),
        (lambda z: np.square(z) - np.reciprocal(z), "z**2 - 1/z"),
        (special.erf, "erf(z)"),
        (special.expit, "sigmoid(z)"),
        (functools.partial(lambda z, k: z**k, k=3), "z**3"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",  # no address, another each time
)
def test_functions_of_numpy_and_scipy_mean_the_same_here(function, formula):
    assert repr(trace(function, "z")) == formula


def branch_on_a_value(z):
    if z > 0:
        return z
    return 0.1 * z


def nested(z):
    return 2 * branch_on_a_value(z)


def several_lines(z):
    return 1 + math.tanh(
        z,
    )


REFUSED = [
    (branch_on_a_value, "if z > 0:", "z > 0", "where(condition, a, b)"),
    (nested, "if z > 0:", "z > 0", "where(condition, a, b)"),
    (lambda z: z if z >= 1 else -z, None, "z >= 1", "where(condition, a, b)"),
    (lambda z: where(0 < z < 1, z, 0), None, "0 < z < 1", "& and |"),
    (lambda z: where(z > 0 and z < 1, z, 0), None, "z > 0 and z < 1", "& and |"),
    (lambda z: 3 * max(z, 0), None, "max(z, 0)", "use maximum(a, b)"),
    (lambda z: math.exp(z) + 1, None, "math.exp(z)", "use exp of fastnn.graph"),
    (several_lines, "return 1 + math.tanh(", "math.tanh(", "use tanh of fastnn.graph"),
    (lambda z: float(z), None, "float(z)", "the functions of fastnn.graph: abs, cos, erf"),
    (lambda z: [1, 2][z], None, "[1, 2][z]", "a number is needed, but z has no value yet"),
    (lambda z: np.arctan(z), None, "np.arctan(z)", "NumPy's arctan is unknown here"),
    (lambda z: np.tan(z), None, "np.tan(z)", "use sin(x)/cos(x)"),
    (lambda z: special.gamma(z), None, "special.gamma(z)", "gamma is unknown here"),
    (lambda z: np.sum(z), None, "np.sum(z)", "NumPy's sum is unknown here"),
    (lambda z: np.exp(z, dtype=float), None, "np.exp(z, dtype=float)", "cannot take dtype here"),
    (lambda z: np.array([z, z]), None, "np.array([z, z])", "needs a number"),
    (lambda z: np.arange(2) * z, None, "np.arange(2) * z", "an array of shape (2,) cannot be"),
    (lambda z: z * math.inf, None, "z * math.inf", "must be finite"),
    (lambda z: z.sum(), None, "z.sum", "no attribute 'sum'"),
    (lambda z: exp(z) / exp(z).sum(), None, "exp(z).sum", "stands for one number, not an array"),
    (lambda z: z / np.sum(z), None, "np.sum(z)", "each argument of the function stands for one"),
    (lambda x: x[0] ** 2 + x[1] ** 2, None, "x[0]", "give it one argument for each number"),
    (lambda x: len(x) * x, None, "len(x)", "stands for one number, not an array"),
    (lambda x: maximum(*x), None, "maximum(*x)", "stands for one number, not an array"),
    (lambda z: z.tanh(), None, "z.tanh", "use tanh of fastnn.graph"),
    (lambda z: z // 2, None, "z // 2", "// of z is unknown here"),
    (lambda z: (z > 0) * z, None, "(z > 0) * z", "use where(z > 0, 1, 0)"),
    (lambda z: where(z, 1, 0), None, "where(z, 1, 0)", "a condition must be a comparison"),
]


PARTS = [f"{part} in {function.__name__}" for function, _, part, _ in REFUSED]


@pytest.mark.parametrize(("function", "line", "part", "remedy"), REFUSED, ids=PARTS)
def test_what_cannot_be_traced_is_shown_with_its_line_and_what_to_write(
    function, line, part, remedy
):
    with pytest.raises(InvalidInput) as caught:
        trace(function)
    text = str(caught.value)
    assert f'file "{__file__}", line ' in text
    shown, mark = text.splitlines()[-2:]
    if line is not None:
        assert shown.strip() == line
    assert remedy in text.partition("\n")[0]  # the line of this file that is shown has it too
    start = mark.index("^")
    assert shown[start : start + mark.count("^")].startswith(part)


def test_the_line_of_a_branch_is_shown_outside_of_a_trace_too():
    with pytest.raises(
        InvalidInput, match=r"(?s)z < 3, which has.*    if z < 3:\n       \^\^\^\^\^$"
    ):
        if z < 3:
            pass


def test_source_that_is_not_at_hand_is_named_by_its_place():
    function = eval("lambda z: 1 if z > 0 else 0")
    with pytest.raises(
        InvalidInput, match=r'file "<string>", line 1 \(its source is not at hand\)'
    ):
        trace(function)


def test_columns_are_those_of_the_characters_shown():
    with pytest.raises(InvalidInput) as caught:
        trace(lambda z: "Grüße, 你好" and math.exp(z))
    shown, mark = str(caught.value).splitlines()[-2:]
    assert shown[mark.index("^") :].startswith("math.exp(z)")


@pytest.mark.parametrize(
    ("function", "names", "message"),
    [
        (lambda z: None, "z", "returned: .* not NoneType None; did it forget to return"),
        (lambda z: (z, z), "z", r"returned: .* not tuple \(z, z\)"),
        (lambda z: z > 0, "z", "z > 0 is a condition, not a number"),
        (lambda z: z, "z y", "cannot be called with z, y: too many positional arguments"),
        (lambda z, y: z, "z", "cannot be called with z: missing a required argument: 'y'"),
        (lambda z, y: z, "z z", "two variables have one name: z, z"),
        (lambda *z: sum(z), None, "takes any number of arguments"),
        (lambda: 3, None, "no parameter without a default"),
        (max, None, "the parameters of max cannot be known; wrap it in a lambda"),
    ],
)
def test_functions_that_do_not_fit_are_told_why(function, names, message):
    with pytest.raises(InvalidInput, match=message):
        trace(function, names)


def test_an_error_of_the_function_itself_comes_through():
    def broken(z):
        return z + missing  # noqa: F821

    with pytest.raises(NameError, match="missing"):
        trace(broken)


def test_a_traced_function_may_use_a_formula_made_before():
    gate = sigmoid(z)
    assert trace(lambda z: z * gate).node is (z * sigmoid(z)).node
    assert maximum(2, 3) == 3


def test_a_branch_on_a_call_that_can_be_traced_asks_for_where():
    def huber(z, y):
        return graph.abs(z - y) if graph.abs(z - y) > 1 else (z - y) ** 2

    with pytest.raises(InvalidInput, match=r"use where\(condition"):
        trace(huber)
    with pytest.raises(InvalidInput, match=r"use maximum\(a, b\)"):
        trace(lambda z: max(z, 0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: np.array(z), "a.* number.*, but z has no value yet; use"),
        (lambda z: np.array(z, copy=True), "a.* number.*, but z has no value yet; use"),
        (lambda z: np.array(z > 0), "a.* number.*, but z > 0 has no value yet; use"),
        (lambda z: pow(z, 2, 5), r"pow of z cannot take a modulus, .* use x\*\*n"),
        (lambda z: np.clip(z, 0, 1, min=0), "clip has two values of a_min here; leave one"),
        (lambda z: np.clip(z, 0, 1, np.zeros(1)), "clip cannot take out here; leave it out"),
        (lambda z: np.maximum(z, 0, where=True), r"cannot take where here; use where\(condition"),
    ],
)
def test_calls_that_are_no_formula_are_refused_by_what_they_are_and_what_to_write(
    function, message
):
    with pytest.raises(InvalidInput, match=message) as caught:
        trace(function)
    assert "_no_number" not in str(caught.value) and "locals" not in str(caught.value)


def test_vectors_are_clipped_number_by_number_with_either_bound_alone():
    def loss(outputs, targets):
        return np.mean(a=np.clip(outputs, None, np.array([1.0, 2.0])) - targets)

    formula = graph.custom.custom_loss(loss, 2)
    outputs, targets = np.array([[0.0, 5.0]]), np.array([[1.0, 1.0]])
    assert formula.evaluate(outputs, targets).tolist() == [0.0]


OPERATORS = "use + - * / ** and the functions of fastnn.graph: abs"
UNKNOWN = {
    "modulo": (lambda x, z: x % 2, f"% of x is unknown here; {OPERATORS}"),
    "of a number": (lambda x, z: 2 % x, "% of x is unknown here"),
    "whole": (lambda x, z: x // z, "// of x is unknown here"),
    "whole number": (lambda x, z: 2 // x, "// of x is unknown here"),
    "both": (lambda x, z: divmod(x, 2), "divmod of x is unknown here"),
    "both of a number": (lambda x, z: divmod(2, x), "divmod of x is unknown here"),
    "product": (lambda x, z: x @ z, "@ of x is unknown here, which is one number; use *"),
    "product of a number": (lambda x, z: 2 @ x, "@ of x is unknown here"),
    "exclusive": (lambda x, z: x ^ z, f"^ of x is unknown here; {OPERATORS}"),
    "shift": (lambda x, z: x << 1, "<< of x is unknown here"),
    "shift back": (lambda x, z: x >> 1, ">> of x is unknown here"),
    "and": (lambda x, z: x & z, "a condition must be a comparison, such as z > 0, not x"),
    "or": (lambda x, z: 1 | x, "a condition must be a comparison"),
    "not": (lambda x, z: ~x, "a condition must be a comparison"),
    "of a condition": (lambda x, z: (x > z) % 2, "x > z is a condition, not a number; use where("),
    "condition @": (lambda x, z: (x > z) @ z, "x > z is a condition, not a number"),
    "condition ^": (lambda x, z: (x > z) ^ (z > 0), "x > z is a condition, not a number"),
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("traced", [False, True], ids=["of variables", "traced"])
def test_operators_that_no_formula_has_are_refused_with_the_line_and_what_to_write(case, traced):
    function, message = UNKNOWN[case]
    with pytest.raises(InvalidInput) as caught:
        if traced:
            trace(function)
        else:
            function(*graph.variables("x z"))
    assert str(caught.value).startswith(message)
    assert __file__ in str(caught.value)


def test_remainders_of_vectors_are_refused_and_their_products_known():
    with pytest.raises(InvalidInput, match="% of .* is unknown here"):
        graph.custom.custom_loss(lambda z, y: np.mean((z - y) % 2), 2)
    formula = graph.custom.custom_loss(lambda z, y: (z[0] * y) @ z, 2)
    assert formula.evaluate(np.array([[2.0, 3.0]]), np.array([[1.0, 4.0]])).tolist() == [28.0]
