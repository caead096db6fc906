"""Formulas as LaTeX: what binds how, names as symbols, and vectors by their index."""

import numpy as np
import pytest

from fastnn.graph import (
    abs,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    log_softmax,
    logsumexp,
    maximum,
    mean,
    minimum,
    nodes,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    step,
    sum,
    tanh,
    variables,
    where,
)
from fastnn.graph.expression import Vector
from fastnn.graph.latex import latex, symbol
from fastnn.graph.operations import OPERATIONS

x, y, z = variables("x y z")
o = Vector(nodes.vector("o", 3), ("o",))
t = Vector(nodes.vector("t", 3), ("t",))

FORMULAS = [
    (x + y * z, "x + y z"),
    ((x + y) * z, r"\left(x + y\right) z"),
    (x - (y - z), r"x - \left(y - z\right)"),
    (x - y - z, "x - y - z"),
    (x - (-y), r"x - \left(-y\right)"),
    (x + (-2) * y, r"x + \left(-2 y\right)"),
    (-2 * x + y, "-2 x + y"),
    (x * -y, r"x \left(-y\right)"),
    (-(x + y), r"-\left(x + y\right)"),
    (-(-1 * x), r"-\left(-1 x\right)"),
    (-(x**2), "-x^{2}"),
    ((-x) ** 2, r"\left(-x\right)^{2}"),
    ((-2 * x) ** 2, r"\left(-2 x\right)^{2}"),
    (x ** (y**z), "x^{y^{z}}"),
    ((x**y) ** z, r"\left(x^{y}\right)^{z}"),
    (x ** (-y - 1), "x^{-y - 1}"),
    (x / y / z, r"\frac{\frac{x}{y}}{z}"),
    (x / (y + 1) ** 2, r"\frac{x}{\left(y + 1\right)^{2}}"),
    ((x / y) ** 2, r"\left(\frac{x}{y}\right)^{2}"),
    (-(x / y), r"-\frac{x}{y}"),
    (2 * (x / 3), r"2 \cdot \frac{x}{3}"),
    (x * 2 * 3, r"x \cdot 2 \cdot 3"),
    (2**x * 3**y, r"2^{x} \cdot 3^{y}"),
    (1e-7 * x, "10^{-7} x"),
    (x * 2.5e20, r"x \cdot 2.5 \cdot 10^{20}"),
    ((1.5e-7 + 0 * x) ** x, None),
    (exp(-x / 2), r"e^{\frac{-x}{2}}"),
    (exp(x) ** y, r"\left(e^{x}\right)^{y}"),
    (log(x * y) ** 2, r"\left(\log\left(x y\right)\right)^{2}"),
    (log1p(x - 1), r"\log\left(1 + \left(x - 1\right)\right)"),
    (log1p(-x), r"\log\left(1 + \left(-x\right)\right)"),
    (2 * expm1(x), r"2 \left(e^{x} - 1\right)"),
    (sqrt(x + 1) ** 3, r"\sqrt{x + 1}^{3}"),
    (abs(x - y) * z, r"\left|x - y\right| z"),
    (sigmoid(x) * tanh(y), r"\sigma\left(x\right) \tanh\left(y\right)"),
    (maximum(x, 0) - minimum(y, 1), r"\max\left(x, 0\right) - \min\left(y, 1\right)"),
    (
        2 * where((x < y) & ~(y >= 0), x, -y),
        r"2 \left(\begin{cases} x & \text{if } x < y \land \lnot \left(y \ge 0\right) \\"
        r" -y & \text{otherwise} \end{cases}\right)",
    ),
    (
        where(((x < y) | (x != 1)) & (y == 0), 1, 0),
        r"\begin{cases} 1 & \text{if } \left(x < y \lor x \ne 1\right) \land y = 0 \\"
        r" 0 & \text{otherwise} \end{cases}",
    ),
    (sum((o - t) ** 2) / 3, r"\frac{\sum_{i} \left(o_{i} - t_{i}\right)^{2}}{3}"),
    (sum(o * t) * x, r"\left(\sum_{i} o_{i} t_{i}\right) x"),
    (x - sum(o + 1), r"x - \left(\sum_{i} \left(o_{i} + 1\right)\right)"),
    (sum(o - logsumexp(o)), r"\sum_{j} \left(o_{j} - \log\left(\sum_{i} e^{o_{i}}\right)\right)"),
    (log_softmax(o), r"o_{j} - \log\left(\sum_{i} e^{o_{i}}\right)"),
    (mean(o[1:3] * t[0:3:2]), r"\operatorname{mean}_{i}\left(o_{1 + i} t_{2 i}\right)"),
    ((o - t)[2] ** 2, r"\left(o_{2} - t_{2}\right)^{2}"),
    (o[x], "o_{x}"),
    (o * np.array([1.0, 2.0, 4.0]), r"o_{i} \left[1, 2, 4\right]_{i}"),
]


@pytest.mark.parametrize(("formula", "expected"), FORMULAS, ids=lambda each: repr(each)[:40])
def test_a_formula_is_written_with_the_parentheses_that_it_needs(formula, expected):
    found = latex(formula.node)
    if expected is not None:
        assert found == expected
    assert formula._repr_latex_() == rf"$\displaystyle {found}$"
    assert found.count("{") == found.count("}") and "\0" not in found
    assert found.count(r"\left") == found.count(r"\right")


def test_matplotlib_can_set_what_has_no_cases():
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    for formula, _ in FORMULAS[::5]:
        if r"\begin" not in (text := latex(formula.node)):
            parser.parse(f"${text}$")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"), ("x1", "x_{1}"), ("w12", "w_{12}"), ("w_1_2", "w_{1,2}"),
        ("theta", r"\theta"), ("Theta0", r"\Theta_{0}"), ("alpha_i", r"\alpha_{i}"),
        ("lambda_", r"\lambda"), ("rate", r"\mathrm{rate}"),
        ("y_true", r"y_{\mathrm{true}}"), ("x_alpha1", r"x_{\mathrm{alpha1}}"),
        ("_", r"\mathrm{\_}"), ("_x", r"\mathrm{\_x}"), ("x_", r"\mathrm{x\_}"),
        ("x__1", r"\mathrm{x\_\_1}"), ("α", "α"), ("größe", r"\mathrm{größe}"),
        ("x1y", r"\mathrm{x1y}"), ("dW1", r"\mathrm{dW}_{1}"),
    ],
)  # fmt: skip
def test_a_name_is_a_symbol_with_subscripts(name, expected):
    assert symbol(name) == expected
    assert variables(name)[0]._repr_latex_() == rf"$\displaystyle {expected}$"


def test_different_variables_are_different_symbols():
    x1, x_1, e, sigma, i = variables("x1 x_1 e sigma i")
    assert latex((x1 + x_1).node) == r"\mathrm{x1} + \mathrm{x\_1}"
    assert latex((e * exp(x)).node) == r"e \exp\left(x\right)"
    assert latex((sigma * sigmoid(x)).node) == r"\sigma \operatorname{sigmoid}\left(x\right)"
    assert latex((i * sum(o)).node) == r"i \left(\sum_{j} o_{j}\right)"


def test_every_operation_can_be_written():
    for function in (sin, cos, sign, step, softplus, erf):
        assert latex(function(x).node).endswith(r"\left(x\right)")
    written = latex(nodes.apply("put", x.node, nodes.constant(1), nodes.constant(3)))
    assert written == r"\operatorname{put}\left(x, 1, 3\right)_{i}"
    assert {"put", "spread"} <= set(OPERATIONS)


def test_long_and_deep_formulas_are_a_line():
    deep = x
    for _ in range(5000):
        deep = exp(deep) * y
    assert latex(deep.node) == r"\text{a formula of 10002 nodes}"
    assert latex((1 / (1 + exp(-x))).derivative("x").node).count("e^{-x}") == 2
