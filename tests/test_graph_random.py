"""Random formulas: against NumPy, and their gradients against complex steps."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnn import InvalidInput, graph
from fastnn.graph import trace

# The formula and what it means to NumPy, by the same text; both for complex numbers too.
SMOOTH = {
    "exp": np.exp,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "expm1": np.expm1,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
}
KINKED = {
    "abs": np.abs,
    "sign": np.sign,
    "step": lambda z: np.heaviside(z, 1.0),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
}
NAMES = ("x", "y")
NUMBERS = st.sampled_from(["0", "1", "2", "(-1)", "0.5", "(-3)"])
POINTS = st.sampled_from([-1.7, -1.0, -0.25, 0.0, 0.5, 1.0, 1.9])


def extend(smooth_only):
    def more(inner):
        either = [
            st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner),
            st.builds("({} / (1.5 + {} ** 2))".format, inner, inner),
            st.builds("({} ** {})".format, inner, st.sampled_from(["2", "3", "1", "0"])),
            st.builds(
                "(1.5 + {} ** 2) ** {}".format, inner, st.sampled_from(["-1", "0.5", "-1.5"])
            ),
            st.builds("(-{})".format, inner),
            st.builds("{}({})".format, st.sampled_from(list(SMOOTH)), inner),
        ]
        if not smooth_only:
            signs = st.sampled_from(["<", "<=", ">", ">="])
            compared = st.builds("(x + {} {} {})".format, inner, signs, inner)
            extremes = st.sampled_from(["maximum", "minimum"])
            either += [
                st.builds("{}({})".format, st.sampled_from(["abs", "sign", "step"]), inner),
                st.builds("{}({}, {})".format, extremes, inner, inner),
                st.builds("where({}, {}, {})".format, compared, inner, inner),
                st.builds("where({} & ~{}, {}, 2)".format, compared, compared, inner),
            ]
        return st.one_of(either)

    return more


def formulas(smooth_only):
    leaves = st.one_of(st.sampled_from(NAMES), NUMBERS)
    return st.recursive(leaves, extend(smooth_only), max_leaves=12)


def meaning(text, functions, **values):
    with np.errstate(all="ignore"):
        # NumPy's numbers throughout: Python's own raise where these give infinity.
        return eval(text, dict(functions), {name: np.asarray(v)[()] for name, v in values.items()})


def traced(text):
    functions = {name: getattr(graph, name) for name in SMOOTH | KINKED}
    try:
        return trace(eval(f"lambda x, y: {text}", functions))
    except InvalidInput as error:
        assume("must be finite" not in str(error))  # exp(exp(exp(2))), a constant too large
        raise


@given(formulas(smooth_only=False), POINTS, POINTS)
@settings(max_examples=150)
def test_any_formula_has_the_value_that_numpy_gives_it(text, x, y):
    expected = meaning(text, SMOOTH | KINKED, x=x, y=y)
    assume(np.abs(expected) < 1e12)
    np.testing.assert_allclose(traced(text).evaluate(x=x, y=y), expected, rtol=1e-9, atol=1e-9)


@given(formulas(smooth_only=True), POINTS, POINTS)
@settings(max_examples=150)
def test_the_gradient_of_any_smooth_formula_is_its_complex_step(text, x, y):
    h = 1e-30  # f(x + ih) = f(x) + ih f'(x): no difference, so no cancellation
    expected = {
        "x": np.imag(meaning(text, SMOOTH, x=x + 1j * h, y=y)) / h,
        "y": np.imag(meaning(text, SMOOTH, x=x, y=y + 1j * h)) / h,
    }
    assume(all(np.abs(each) < 1e8 for each in expected.values()))
    found = traced(text).gradient(x=x, y=y)
    for name, each in expected.items():
        np.testing.assert_allclose(found[name], each, rtol=1e-8, atol=1e-8)


@given(formulas(smooth_only=False), POINTS, POINTS)
@settings(max_examples=150)
def test_what_a_formula_shows_is_the_formula(text, x, y):
    formula = traced(text)
    shown = repr(formula)
    assume(not shown.startswith("<"))
    again = traced(shown)
    expected = formula.evaluate(x=x, y=y)
    assume(np.abs(expected) < 1e12)
    np.testing.assert_allclose(again.evaluate(x=x, y=y), expected, rtol=1e-9, atol=1e-9)


@given(formulas(smooth_only=False), POINTS, POINTS)
@settings(max_examples=100)
def test_the_gradient_of_any_formula_is_that_of_its_derivative_formulas(text, x, y):
    formula = traced(text)
    for name, derivative in formula.gradient(x=x, y=y).items():
        np.testing.assert_allclose(
            formula.derivative(name).evaluate(x=x, y=y), derivative, rtol=1e-12
        )
