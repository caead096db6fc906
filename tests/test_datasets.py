"""Facts about the digits and the point clouds: their content and their form."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastnn import datasets
from fastnn.errors import InvalidInput

Make = Callable[..., Any]
GENERATORS = [datasets.moons, datasets.rings, datasets.spirals, datasets.xor]
each_generator = pytest.mark.parametrize("make", GENERATORS, ids=lambda make: make.__name__)


# digits


def test_digits_have_their_shape_type_and_range() -> None:
    X, y = datasets.digits()
    assert (X.shape, X.dtype, X.min(), X.max()) == ((1797, 64), np.float32, 0.0, 1.0)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    np.testing.assert_array_equal(X * 16, np.round(X * 16))


def test_digits_have_the_published_count_of_each_class() -> None:
    # optdigits.names of the UCI repository, class distribution of the test part.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(datasets.digits()[1]).tolist() == counts


def test_digits_are_those_of_scikit_learn() -> None:
    shipped = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = datasets.digits()
    np.testing.assert_array_equal(X * 16, shipped.data)
    np.testing.assert_array_equal(y, shipped.target)


def test_digits_are_fresh_arrays_each_time() -> None:
    datasets.digits()[0][:] = -1
    assert datasets.digits()[0].min() == 0


def test_importing_datasets_imports_only_numpy_and_the_standard_library() -> None:
    code = (
        "import numpy.random, sys; before = set(sys.modules); import fastnn.datasets; "
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(names - sys.stdlib_module_names - {'numpy', 'fastnn'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# Point clouds


@each_generator
@pytest.mark.parametrize("n", [3, 4, 5, 100, 1001])
def test_points_have_their_shape_and_type_and_balanced_classes(make: Make, n: int) -> None:
    X, y = make(n=n)
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((n, 2), np.float32, (n,), np.int64)
    assert X.flags.c_contiguous and y.flags.c_contiguous
    counts = np.bincount(y)
    assert len(counts) == (3 if make is datasets.spirals else 2)
    assert counts.max() - counts.min() <= 1


@each_generator
def test_seed_alone_decides_the_points(make: Make) -> None:
    first, again, other = make(n=50, seed=3), make(n=50, seed=3), make(n=50, seed=4)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.isin(other[0], first[0]).any()


@each_generator
def test_labels_come_in_shuffled_order(make: Make) -> None:
    y = make(n=300)[1]
    changes = np.mean(y[1:] != y[:-1])
    assert 0.35 < changes < 0.8
    assert (make(n=300, seed=1)[1] != y).any()


@each_generator
def test_noise_has_the_asked_deviation_and_keeps_the_points(make: Make) -> None:
    exact, noisy = make(n=4000, noise=0.0), make(n=4000, noise=0.25)
    np.testing.assert_array_equal(exact[1], noisy[1])
    shift = noisy[0] - exact[0]
    assert shift.std() == pytest.approx(0.25, rel=0.05)
    assert abs(shift.mean()) < 0.02


def test_moons_without_noise_lie_on_two_half_circles() -> None:
    X, y = datasets.moons(n=500, noise=0.0)
    first, second = X[y == 0], X[y == 1]
    np.testing.assert_allclose(np.hypot(*first.T), 1, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(*(second - (1.0, 0.5)).T), 1, rtol=1e-6)
    assert first[:, 1].min() >= 0 and second[:, 1].max() <= 0.5
    assert first[:, 0].min() < -0.9 and second[:, 0].max() > 1.9


def test_rings_without_noise_lie_on_two_circles() -> None:
    X, y = datasets.rings(n=500, noise=0.0, factor=0.25)
    np.testing.assert_allclose(np.hypot(*X.T), np.where(y == 0, 1, 0.25), rtol=1e-6)
    for ring in (0, 1):
        assert (np.ptp(X[y == ring], axis=0) > (1.9, 0.45)[ring]).all()


@pytest.mark.parametrize(("classes", "turns"), [(2, 1.0), (3, 0.5), (5, 2.25)])
def test_spirals_without_noise_lie_on_their_arms(classes: int, turns: float) -> None:
    X, y = datasets.spirals(n=503, classes=classes, noise=0.0, turns=turns)
    radius = np.hypot(*X.astype(np.float64).T)
    angle = 2 * np.pi * (turns * radius + y / classes)
    np.testing.assert_allclose(X, radius[:, None] * np.c_[np.cos(angle), np.sin(angle)], atol=1e-6)
    assert 0 < radius.min() < 0.05 and 0.95 < radius.max() < 1 + 1e-6


def test_xor_without_noise_is_decided_by_the_signs() -> None:
    X, y = datasets.xor(n=1002, noise=0.0)
    np.testing.assert_array_equal(y, (X[:, 0] > 0) ^ (X[:, 1] > 0))
    assert (X != 0).all() and np.abs(X).max() <= 1
    quadrants = np.bincount(2 * (X[:, 0] > 0) + (X[:, 1] > 0))
    assert quadrants.max() - quadrants.min() <= 1


@pytest.mark.parametrize(
    ("make", "name", "bad"),
    [
        *((make, "n", bad) for make in GENERATORS for bad in (1, -5, 2.5, "10", True, None)),
        *((make, "noise", bad) for make in GENERATORS for bad in (-0.1, np.nan, np.inf, "0", 1j)),
        *((make, "seed", bad) for make in GENERATORS for bad in (-1, 0.5, None)),
        *((datasets.rings, "factor", bad) for bad in (0.0, 1.0, -0.5, np.nan, "half")),
        *((datasets.spirals, "classes", bad) for bad in (1, 2.0, "3")),
        *((datasets.spirals, "turns", bad) for bad in (0.0, -1.0, np.inf, "1")),
    ],
)
def test_an_argument_out_of_range_is_named(make: Make, name: str, bad: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be .*not "):
        make(**{name: bad})


def test_spirals_need_a_point_for_each_class() -> None:
    assert set(datasets.spirals(n=7, classes=7)[1]) == set(range(7))
    with pytest.raises(InvalidInput, match="at least 7"):
        datasets.spirals(n=6, classes=7)
