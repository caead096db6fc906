"""Graphs: how formulas are simplified, shown and shared, and that their size has no limit."""

import copy
import math
import pickle

import pytest

from fastnn.graph import abs, cos, exp, log, maximum, sigmoid, sin, tanh, variables, where
from fastnn.graph.nodes import topological

a, b, c = variables("a b c")
(x,) = variables("x")


@pytest.mark.parametrize(
    ("formula", "derivative"),
    [
        (5 * x, "5"),
        (x**2, "2*x"),
        (x**3 + 0, "3*x**2"),
        (3 * (2 * x), "6"),
        (1 / x, "-x**-2"),
        (-(0 - x), "1"),
        (x * 0, "0"),
        (x - x, "0"),
        (exp(2 * x), "2*exp(2*x)"),
        (log(x), "1/x"),
        (x * log(x), "1 + log(x)"),
        (x**4 - 3 * x**3 + 2, "4*x**3 - 9*x**2"),
        (sigmoid(x), "sigmoid(x)*(1 - sigmoid(x))"),
        (tanh(x), "1 - tanh(x)**2"),
        (cos(x), "-sin(x)"),
        (maximum(0, x), "where(x > 0, 1, 0)"),
        (where(x > 0, x, 0.1 * x), "where(x > 0, 1, 0.1)"),
        (where(x > 0, where(x < 1, x, x**2), exp(x)), "where(x > 0, where(x < 1, 1, 2*x), exp(x))"),
        (where(x < 0, 3, 4), "0"),
        (abs(x), "sign(x)"),
    ],
    ids=repr,
)
def test_derivatives_are_simplified(formula, derivative):
    assert repr(formula.derivative("x")) == derivative


@pytest.mark.parametrize(
    "text",
    [
        "(2*a + b)*c",
        "a - (b - c)",
        "a - b - c",
        "a/(b*c)",
        "a/b*c",
        "a/b/c",
        "(a + b)**2",
        "-a**2",
        "(-a)**2",
        "-(a*b)",
        "-a*b",
        "a**b**c",
        "(a**b)**c",
        "a**-2",
        "2**-a",
        "a*(-2)",
        "-(-a)",
        "where((a > 0) & ~(b < 1) | (c == 2), exp(-a), 0.5)",
        "maximum(a + 1, b)/2",
        "1e+30*a",
    ],
)
def test_a_formula_shows_with_the_parentheses_that_it_needs_and_no_others(text):
    assert repr(eval(text)) == text


def test_products_and_sums_show_without_parentheses_that_change_nothing():
    assert repr(a + (b + c)) == "a + b + c"
    assert repr(a * (b * c)) == "a*b*c"


def test_a_formula_too_long_to_read_shows_its_size():
    formula = x
    for _ in range(60):
        formula = formula * formula + 1
    assert repr(formula) == "<a formula of 122 nodes>"


def test_equal_subexpressions_are_one_node():
    u = exp(a * b)
    assert u.node is exp(a * b).node
    assert len(topological([(u + exp(a * b) ** 2).node])) == 7  # a, b, a*b, exp, 2, **, +


def test_the_gradient_shares_what_the_value_has_computed():
    J = exp(sin(a) * b)
    derivatives = [J.derivative(name).node for name in ("a", "b")]
    both = topological([J.node, *derivatives])
    assert sum(node.operation == "exp" for node in both) == 1
    assert sum(node.operation == "sin" for node in both) == 1


def test_formulas_with_shared_parts_cost_no_more_than_their_nodes():
    formula = x
    for _ in range(200):  # 2^200 terms, were they written out
        formula = formula + formula
    assert formula.evaluate(x=1) == 2.0**200
    assert formula.gradient(x=1) == {"x": 2.0**200}


def deep(link, count):
    formula = x
    for _ in range(count):
        formula = link(formula)
    return formula


LINKS = {
    "sum": lambda f: f + 1,
    "product": lambda f: 1.0001 * f,
    "difference": lambda f: 1 - f,
    "function": lambda f: sin(f),
    "maximum": lambda f: maximum(f, 0) * 1.0001,
    "guard": lambda f: where(x > 0, f, 0),
    "guards": lambda f: where(x < 0, 0, where(x < 5, f + 1, x)),
    "branches": lambda f: where(f > x, f * x, f),
}


@pytest.mark.parametrize("link", LINKS)
def test_chains_of_thousands_of_operations_do_not_exhaust_the_stack(link):
    # Python's limit is 1,000 calls; that of functions in C is higher.
    formula = deep(LINKS[link], 10_000 if link in ("sum", "guard") else 2_500)
    assert math.isfinite(formula.evaluate(x=0.9))
    assert math.isfinite(formula.gradient(x=0.9)["x"])
    assert repr(formula).startswith("<a formula of ")
    assert copy.deepcopy(formula) is formula
    assert pickle.loads(pickle.dumps(formula)).node is formula.node


def test_the_gradient_of_a_long_chain_is_right():
    formula = deep(lambda f: 1.0001 * f + 0.5, 10_000)
    assert formula.gradient(x=3)["x"] == pytest.approx(1.0001**10_000, rel=1e-11)
