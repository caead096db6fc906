"""Compiled sums have the order that their source gives, so no call site changes their bits."""

import ast
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checker import unchecked
from numba import njit

import fastnn
from fastnn.targets.cpu.products.dot import make_squares

PACKAGE = Path(fastnn.__file__).parent
# A product fused into a sum has the order of both. All else that LLVM calls fast reorders sums
# ("reassoc", "fast"), or takes a number for another ("nnan", "ninf", "nsz", "arcp", "afn").
HARMLESS = {"contract"}


def options(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield what any option is set to that lets LLVM compute something else than was written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("fastmath", "flags"):
            yield node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "fastmath":
                    yield value


def reorders(value: ast.expr) -> bool:
    try:
        flags = ast.literal_eval(value)
    except ValueError:
        return True  # nobody can see what it is
    return flags is True or not set(flags or ()) <= HARMLESS


@pytest.mark.parametrize(
    "text",
    [
        "njit(fastmath=True)(f)",
        "njit(fastmath={'contract', 'reassoc'})(f)",
        "FAST = {'fastmath': {'reassoc'}}",
        "njit(fastmath=flags)(f)",
        "builder.fadd(a, b, flags=('fast',))",
    ],
)
def test_every_way_to_let_sums_be_reordered_is_seen(text):
    assert [reorders(value) for value in options(ast.parse(text))] == [True]


def test_no_sum_of_the_package_may_be_reordered():
    texts = {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    found = [(path, value) for path in texts for value in options(ast.parse(texts[path]))]
    assert found  # EXACT's, at least
    wrong = [f"{path.name}:{value.lineno}" for path, value in found if reorders(value)]
    assert not wrong


@unchecked
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31, 33, 100])
def test_a_sum_of_squares_has_the_same_bits_wherever_it_is_called(count, dtype):
    squares = make_squares(np.dtype(dtype))
    numbers = np.random.default_rng(count).normal(size=count + 3).astype(dtype)

    @njit
    def of_any(numbers, at, count, unit):
        return squares(numbers, at, count, unit)

    @njit
    def of_these(numbers):
        return squares(numbers, 3, count, 0.25)  # all is known where LLVM inlines it

    total = of_any(numbers, 3, count, 0.25)
    assert total == of_these(numbers)
    exact = math.fsum((0.25 * float(x)) ** 2 for x in numbers[3:])
    assert total == pytest.approx(exact, rel=1e-14)
