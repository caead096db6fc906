"""Graphs: what formulas evaluate to, their gradients, and what is refused."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy import special

from fastnn import InvalidInput, RoundingWarning, graph
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
    variables,
    where,
)

a, b, c = variables("a b c")
(x,) = variables("x")

# Function, its values and its derivatives by another library or a closed form, and points.
WIDE = np.array([-800.0, -30.0, -2.5, -1e-3, 0.0, 1e-3, 0.7, 30.0, 800.0])
MIDDLE = np.array([-5.0, -1.0, -1e-9, 0.0, 1e-9, 0.3, 4.0])
POSITIVE = np.array([1e-300, 1e-9, 0.2, 1.0, 7.0, 1e300])
FUNCTIONS = {
    "exp": (exp, np.exp, np.exp, MIDDLE),
    "expm1": (expm1, np.expm1, np.exp, MIDDLE),
    "log": (log, np.log, lambda x: 1 / x, POSITIVE),
    "log1p": (log1p, np.log1p, lambda x: 1 / (1 + x), POSITIVE),
    "sqrt": (sqrt, np.sqrt, lambda x: 0.5 / np.sqrt(x), POSITIVE),
    "abs": (abs, np.abs, np.sign, MIDDLE),
    "sign": (sign, np.sign, np.zeros_like, MIDDLE),
    "step": (step, lambda x: np.heaviside(x, 1.0), np.zeros_like, MIDDLE),
    "tanh": (tanh, np.tanh, lambda x: np.cosh(x) ** -2.0, MIDDLE),
    "sigmoid": (sigmoid, special.expit, lambda x: special.expit(x) * special.expit(-x), WIDE),
    "softplus": (softplus, lambda x: np.logaddexp(0, x), special.expit, WIDE),
    "erf": (erf, special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x), MIDDLE),
    "sin": (sin, np.sin, np.cos, MIDDLE),
    "cos": (cos, np.cos, lambda x: -np.sin(x), MIDDLE),
    "x**2": (lambda x: x**2, np.square, lambda x: 2 * x, MIDDLE),
    "x**1": (lambda x: x**1, np.copy, np.ones_like, MIDDLE),
    "x**0": (lambda x: x**0, np.ones_like, np.zeros_like, MIDDLE),
    "x**-3": (lambda x: x**-3, lambda x: x**-3.0, lambda x: -3 * x**-4.0, MIDDLE[[0, 1, 5, 6]]),
    "x**1.5": (lambda x: x**1.5, lambda x: x**1.5, lambda x: 1.5 * np.sqrt(x), MIDDLE[3:]),
    "2**x": (lambda x: 2**x, np.exp2, lambda x: np.log(2) * np.exp2(x), MIDDLE),
    "x**x": (
        lambda x: x**x,
        lambda x: x**x,
        lambda x: x**x * (np.log(x) + 1),
        np.array([0.1, 1.0, 3.0]),
    ),
    "1/x": (lambda x: 1 / x, np.reciprocal, lambda x: -1 / x**2, MIDDLE[[0, 1, 5, 6]]),
    "x/(1+x^2)": (
        lambda x: x / (1 + x**2),
        lambda x: x / (1 + x**2),
        lambda x: (1 - x**2) / (1 + x**2) ** 2,
        MIDDLE,
    ),
    "-(+x)": (lambda x: -(+x), np.negative, lambda x: -np.ones_like(x), MIDDLE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_the_closed_form(name):
    function, value, derivative, points = FUNCTIONS[name]
    formula = function(x)
    np.testing.assert_allclose(formula.evaluate(x=points), value(points), rtol=1e-14)
    # The derivative of sigmoid is a (1 - a), which is right to one rounding of 1.
    absolute = 2.3e-16 if name in ("sigmoid", "tanh") else 0
    found = formula.gradient(x=points)["x"]
    np.testing.assert_allclose(found, derivative(points), rtol=1e-13, atol=absolute)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_numbers_and_arrays_compute_at_once(name):
    function, value, _, points = FUNCTIONS[name]
    np.testing.assert_allclose(function(points), value(points), rtol=1e-14)
    if name in graph.__all__:
        assert type(function(0.3)) is float


def test_the_example_of_the_course_notes():
    J = (2 * a + b) * c
    assert J.evaluate(a=3, b=4, c=5) == 50
    assert J.gradient(a=3, b=4, c=5) == {"a": 10, "b": 5, "c": 10}


def test_arrays_broadcast_and_gradients_have_the_shape_of_the_result():
    J = a * b + 3 * c
    rows, columns = np.arange(3.0)[:, None], np.arange(4.0)
    np.testing.assert_array_equal(J.evaluate(a=rows, b=columns, c=1), rows * columns + 3)
    derivatives = J.gradient(a=rows, b=columns, c=1)
    np.testing.assert_array_equal(derivatives["a"], np.tile(columns, (3, 1)))
    np.testing.assert_array_equal(derivatives["b"], np.tile(rows, (1, 4)))
    np.testing.assert_array_equal(derivatives["c"], np.full((3, 4), 3.0))


def test_results_are_new_arrays():
    values = np.arange(3.0)
    result = (+x).evaluate(x=values)
    result[:] = 7
    assert values.tolist() == [0, 1, 2]


def test_float32_arrays_stay_float32_and_everything_else_is_float64():
    formula = where(x > 0, sigmoid(x), 0.1 * x) + step(x) + sign(x)
    single = np.linspace(-2, 2, 5, dtype=np.float32)
    assert formula.evaluate(x=single).dtype == np.float32
    assert formula.gradient(x=single)["x"].dtype == np.float32
    assert formula.evaluate(x=single.astype(np.float64)).dtype == np.float64
    assert formula.evaluate(x=[1, 2]).dtype == np.float64
    assert (a * b).evaluate(a=single, b=0.1).dtype == np.float32
    assert (a * b).evaluate(a=single, b=np.ones(1)).dtype == np.float64
    assert type(formula.evaluate(x=np.float32(1))) is float


def test_outside_of_its_domain_a_function_is_nan_or_infinite_without_a_warning():
    assert math.isnan(log(x).evaluate(x=-1))
    assert log(x).evaluate(x=0) == -math.inf
    assert (1 / x).evaluate(x=0) == math.inf
    assert exp(x).evaluate(x=1000) == math.inf
    assert math.isnan(maximum(x, 0).evaluate(x=math.nan))


@pytest.mark.parametrize(
    "f", [lambda x: x**4 - 3 * x**3, lambda x: sigmoid(x) * sin(x) / x, softplus]
)
def test_second_and_third_derivatives_match_central_differences(f):
    h = 1e-5
    formula = f(x)
    for _ in range(3):
        derivative = formula.derivative("x")
        for point in (-1.3, 0.4, 2.0):
            ahead, behind = formula.evaluate(x=point + h), formula.evaluate(x=point - h)
            expected = (ahead - behind) / (2 * h)
            assert derivative.evaluate(x=point) == pytest.approx(expected, rel=1e-6, abs=1e-8)
        formula = derivative


def test_mixed_derivatives_do_not_depend_on_the_order():
    J = exp(a * b) * sin(a + c)
    values = {"a": 0.3, "b": -0.7, "c": 1.1}
    first, second = J.derivative("a").derivative("b"), J.derivative("b").derivative("a")
    assert first.evaluate(**values) == pytest.approx(second.evaluate(**values), rel=1e-14)


def test_a_derivative_still_knows_all_variables():
    derivative = ((2 * a + b) * c).derivative("c")
    assert derivative.gradient(a=3, b=4, c=5) == {"a": 2, "b": 1, "c": 0}
    assert derivative.evaluate(a=3, b=4) == 10
    assert derivative.derivative("c").evaluate() == 0


def test_a_derivative_may_be_asked_for_by_the_variable_itself():
    assert ((2 * a + b) * c).derivative(c).evaluate(a=3, b=4) == 10


def test_variables_of_one_name_are_the_same_variable():
    (other,) = variables(["x"])
    assert (x - other).gradient(x=1) == {"x": 0}


@pytest.mark.parametrize("names", [3, None, 2.5])
def test_what_are_no_names_is_refused(names):
    with pytest.raises(InvalidInput, match="names must be a string or several"):
        variables(names)


@pytest.mark.parametrize("names", ["", "1a", "a b-c", "lambda", [3]])
def test_what_cannot_be_a_name_is_refused(names):
    with pytest.raises(InvalidInput, match=r"cannot be a name|at least one name"):
        variables(names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1, "b": 2}, r"no value for c; give \(a=..., b=..., c=...\)"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "unknown variable 'd'.*Known: a, b, c"),
        ({"a": 1, "b": "two", "c": 3}, "the value of b must be a number .*not str 'two'"),
        ({"a": 1, "b": 2j, "c": 3}, "the value of b must be a number .*not complex 2j"),
        ({"a": [[1], [2, 3]], "b": 2, "c": 3}, "the value of a must be a number"),
        ({"a": [1, 2], "b": [1, 2, 3], "c": 3}, r"do not broadcast.*a \(2,\), b \(3,\), c \(\)"),
    ],
)
@pytest.mark.parametrize("method", ["evaluate", "gradient", "table"])
def test_values_that_do_not_fit_are_named(method, values, message):
    with pytest.raises(InvalidInput, match=message):
        getattr((2 * a + b) * c, method)(**values)


def test_the_derivative_by_an_unknown_variable_names_the_known_ones():
    with pytest.raises(InvalidInput, match="unknown variable 'alpa'; did you mean 'alpha'"):
        trace(lambda alpha, z: alpha * z).derivative("alpa")


@pytest.mark.parametrize(
    ("f", "derivative_below", "derivative_at", "derivative_above"),
    [
        (abs, -1, 0, 1),
        (sign, 0, 0, 0),
        (step, 0, 0, 0),
        (lambda x: maximum(x, 0), 0, 0, 1),
        (lambda x: maximum(0, x), 0, 0, 1),
        (lambda x: minimum(x, 0), 1, 0, 0),
        (lambda x: minimum(0, x), 1, 0, 0),
        (lambda x: maximum(x, -x), -1, 0, 1),  # half of each
        (lambda x: maximum(x, 3 * x), 1, 2, 3),
        (lambda x: minimum(x, 3 * x), 3, 2, 1),
        (lambda x: where(x > 0, x, 0.1 * x), 0.1, 0.1, 1),
        (lambda x: where(x >= 0, x, 0.1 * x), 0.1, 1, 1),
        (lambda x: where((x > -1) & ~(x >= 1) | (x == 2), x, 5 * x), 1, 1, 1),
        (lambda x: where(x != 0, x, 5 * x), 1, 5, 1),
    ],
)
def test_derivatives_at_kinks_are_those_documented(
    f, derivative_below, derivative_at, derivative_above
):
    derivatives = f(x).gradient(x=np.array([-0.5, 0.0, 0.5]))["x"]
    assert derivatives.tolist() == [derivative_below, derivative_at, derivative_above]


def test_step_is_one_at_zero_and_sign_is_zero_there():
    assert step(x).evaluate(x=0) == 1
    assert sign(x).evaluate(x=0) == 0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: where(x > 0, log(x), 0),
        lambda x: where(x > 0, 3 * sqrt(x) ** 3, 0) * 2,
        lambda x: where(x > 0, where(x < 1, 1 / x, 7), 0),
        lambda x: maximum(0, -1 / (x - 1)) * 0,
        lambda x: minimum(1 / x**2, 3 + 0 * x),
    ],
)
def test_a_branch_not_taken_adds_nothing_though_its_own_derivative_is_infinite(f):
    assert f(x).gradient(x=0) == {"x": 0}


def test_a_power_has_a_derivative_where_its_base_or_its_exponent_is_zero():
    assert (a**b).gradient(a=0, b=2) == {"a": 0, "b": 0}
    assert (a**b).gradient(a=0, b=1) == {"a": 1, "b": 0}
    assert (a**b).gradient(a=3, b=0) == {"a": 0, "b": pytest.approx(math.log(3))}
    assert (x**2).gradient(x=0) == {"x": 0}
    assert (0**x).gradient(x=2) == {"x": 0}


def test_named_results_evaluate_as_before_and_keep_their_names():
    u = (b * c).named("u")
    J = 3 * (a + u).named("v")
    assert J.evaluate(a=5, b=3, c=2) == 33
    assert J.gradient(a=5, b=3, c=2) == {"a": 3, "b": 6, "c": 9}
    assert repr(J) == "3*(a + b*c)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: (a * b).named("a"), "'a' is a variable of a.b; choose another name"),
        (lambda: (a * b).named("two words"), "cannot be a name"),
        (lambda: a.named("u"), "a is not an intermediate result"),
        (lambda: (a * b) > 0 and a, "a branch cannot depend on a.b > 0"),
        (lambda: where(a > 0, "b", 0), "argument 2 of where must be an expression or a number"),
        (lambda: where("a", a, 0), "a condition must be a comparison"),
        (lambda: where(np.array([True, False]), a, 0), r"condition of shape \(2,\)"),
        (lambda: exp("a"), "an argument of exp must be a number"),
        (lambda: exp(a > 0), r"a > 0 is a condition, not a number; use where\(a > 0, 1, 0\)"),
        (lambda: (a > 0) == (b > 0), "a > 0 is a condition, not a number"),
        (lambda: (a > 0) & a, "a condition must be a comparison, .* not a"),
        (lambda: a * math.inf, "a constant of an expression must be finite, not inf"),
        (lambda: a * 10**400, "a constant of an expression must be finite"),
        (lambda: a * np.arange(3), r"an array of shape \(3,\) cannot be a constant"),
    ],
)
def test_what_makes_no_formula_is_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_a_truth_value_as_condition_picks_its_branch():
    assert where(True, a, b) is a
    assert where(np.bool_(False), a, 2).evaluate() == 2
    assert where(np.array([True, False]), 1, 2).tolist() == [1, 2]
    assert where(True, 1, 2) == 1
    assert where((a > 0) & (2 > 1), a, 0).evaluate(a=3) == 3
    assert where((a > 0) & np.bool_(False), a, 0).evaluate(a=3) == 0


def test_an_expression_is_not_equal_to_what_is_no_number():
    assert (a == None) is False  # noqa: E711
    assert a != "a"
    assert len({a, b, a}) == 2


z, y, p = variables("z y p")
s, q = sigmoid(z), 1 / (1 + exp(-z))


@pytest.mark.parametrize("method", ["evaluate", "gradient", "table"])
@pytest.mark.parametrize(
    ("formula", "values", "told"),
    [
        (
            -(y * log(s) + (1 - y) * log(1 - s)),
            {"z": 40, "y": 0},
            r"log\(1 - sigmoid\(z\)\) is -inf",
        ),
        (-(y * log(s) + (1 - y) * log(1 - s)), {"z": -800, "y": 1}, "at z = -800, y = 1, because"),
        (-(y * log(q) + (1 - y) * log(1 - q)), {"z": -800, "y": 1}, "rounded to 0 there"),
        (
            -(y * log(s) + (1 - y) * log1p(-s)),
            {"z": 40, "y": 0},
            "-sigmoid.* is rounded to -1 there",
        ),
        (-(y * log(p) + (1 - y) * log(1 - p)), {"p": 1, "y": 0}, r"log\(1 - p\) is -inf at p = 1"),
        (log(1 + exp(z)), {"z": 1000}, "is inf .* too large for a float"),
    ],
)
def test_a_logarithm_that_is_infinite_by_rounding_says_so_and_what_is_exact(
    method, formula, values, told
):
    with pytest.warns(RoundingWarning, match=f"{told}.*softplus") as caught:
        getattr(formula, method)(**values)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("method", ["evaluate", "gradient", "table"])
@pytest.mark.parametrize(
    ("formula", "at", "told"),
    [
        (exp(z) / (1 + exp(z)), 1000, r"exp\(z\) is too large for a float there; .* sigmoid\(z\)"),
        ((exp(2 * z) - 1) / (exp(2 * z) + 1), 400, r"at z = 400, because exp\(2\*z\) is"),
        ((exp(z) - exp(-z)) / (exp(z) + exp(-z)), -800, r"exp\(-z\) is too .* tanh\(z\)"),
        (exp(p) / (exp(z) + exp(p)), [1.0, 750.0], r"at z = 0, p = 750, because exp\(p\)"),
        (z**200 / z**199, 1e9, r"z\*\*200 is too large .* no part of it becomes so large"),
    ],
)
def test_what_is_nan_as_a_part_overflows_says_so_and_what_does_not(method, formula, at, told):
    values = {"z": at} if formula.names == ("z",) else {"z": 0, "p": np.array(at)}
    if method == "table":
        values = {name: np.max(value) if at != -800 else at for name, value in values.items()}
    with pytest.warns(RoundingWarning, match=told) as caught:
        getattr(formula, method)(**values)
    assert caught[0].filename == __file__


def test_what_overflows_in_the_derivative_alone_is_told_too():
    with pytest.warns(RoundingWarning, match=r"derivative is NaN at z = -1000, because exp\(-z\)"):
        q.gradient(z=-1000)
    assert q.evaluate(z=-1000) == 0 and exp(z).evaluate(z=1000) == math.inf
    assert (1 / z).evaluate(z=0) == math.inf and math.isnan((z / p).evaluate(z=0, p=0))
    assert math.isnan((exp(z) / (1 + exp(z))).evaluate(z=math.nan))


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_an_activation_that_overflows_is_told_where_a_training_diverges(target):
    from fastnn import Dense, Diverged, Network, Trainer

    def logistic(z):
        return 1 / (1 + exp(-z))

    trainer = Trainer(Network(1, [Dense(2, logistic), Dense(1)]), "mse", target=target)
    with pytest.raises(Diverged, match=r"the formula has 1/\(1 \+ exp\(-z\)\).*sigmoid\(z\)"):
        trainer.fit(np.array([[-1e4], [1e4], [3e4]]), np.zeros(3), 3)


def test_the_function_named_is_exact_where_the_logarithm_is_not():
    exact = softplus(z) - y * z
    at = np.array([-800.0, -40, -1, 0, 1, 40, 800])
    for label in (0.0, 1.0):
        naive = -(label * log(s) + (1 - label) * log(1 - s))
        here = at[np.abs(at) < 30]
        np.testing.assert_allclose(
            exact.evaluate(z=here, y=label), naive.evaluate(z=here), rtol=1e-12
        )
        far = np.maximum(at, 0) - label * at
        np.testing.assert_allclose(exact.evaluate(z=at, y=label), far, atol=0.7)


def test_finite_values_and_other_infinite_ones_are_not_told():
    assert (-log(1 - s)).evaluate(z=30.0) == pytest.approx(30, rel=1e-3)
    assert log(p).evaluate(p=0) == -math.inf
    assert maximum(log(s), -100).evaluate(z=-800) == -100


def test_rows_of_a_vector_are_told_of_log_softmax_where_a_training_diverges():
    from fastnn import Dense, Diverged, Network, Trainer, graph

    def loss(outputs, targets):
        return -log(graph.softmax(outputs)[targets[0]])

    trainer = Trainer(Network(1, [Dense(2, init=lambda *_: np.array([[0.0, 1e4]]))]), loss)
    trainer.target = "numpy"
    with pytest.raises(Diverged, match=r"the formula has log\(.*log_softmax"):
        trainer.fit(np.ones((3, 1)), np.zeros(3), 1)


def test_values_of_any_kind_of_number_are_taken_and_masked_ones_are_not():
    z = variables("z")[0]
    for value in (Fraction(1, 4), Decimal("0.25"), np.array([Fraction(1, 4)], object)):
        assert (2 * z).evaluate(z=value) == 0.5
    assert (z / 10**30).evaluate(z=10**30) == 1.0
    with pytest.raises(InvalidInput, match="masked"):
        z.evaluate(z=np.ma.array([1.0, 2.0], mask=[0, 1]))
    for wrong in ([1, None], ["1"], 10**400):
        with pytest.raises(InvalidInput, match="must be a number"):
            z.evaluate(z=wrong)
