"""exp, log, tanh and their kin on the CPU target: errors in ulp, and the ends of their range."""

import numpy as np
import pytest
from numba import njit
from scipy import special
from target_cases import DTYPES, needs_jit

from fastnn.targets.cpu.llvm.elementary import _ERFC_SERIES, make_elementary

pytestmark = needs_jit

WIDE = np.longdouble
NAMES = ["exp", "expm1", "log", "log1p", "tanh", "normal_cdf", "erf", "sqrt", "sin", "cos"]
TURNS = {"cos_of_turns": 0, "sin_of_turns": 1}  # what `turn` gives
NAMES += TURNS
ULPS = {"exp": 1.5, "expm1": 2.5, "log": 1.5, "log1p": 2.5, "tanh": 3.5, "erf": 3.0, "sqrt": 0.5}
ULPS |= {"sin": 1.0, "cos": 1.0}  # of the C library
ULPS |= dict.fromkeys(TURNS, 2.0)
INF, NAN = np.inf, np.nan
# (x, value): limits and exact values
SPECIAL = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (1e30, INF), (-1e30, 0)],
    "expm1": [(0, 0), (-0.0, 0), (INF, INF), (-INF, -1), (1e30, INF), (-1e30, -1)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-1, NAN), (-INF, NAN), (-1e-40, NAN)],
    "log1p": [(0, 0), (INF, INF), (-2, NAN), (-INF, NAN)],
    "tanh": [(0, 0), (INF, 1), (-INF, -1), (1e30, 1), (-1e30, -1)],
    "normal_cdf": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (1e30, 1), (-1e30, 0)],
    "erf": [(0, 0), (-0.0, 0), (INF, 1), (-INF, -1), (1e30, 1), (-1e30, -1)],
    "sin": [(0, 0), (-0.0, 0), (INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "cos_of_turns": [(0, 1), (0.25, 0), (-0.5, -1), (1e30, 1), (INF, NAN), (-INF, NAN)],
    "sin_of_turns": [(0, 0), (0.25, 1), (-0.75, 1), (0.5, 0), (1e30, 0), (INF, NAN)],
    "sqrt": [(0, 0), (4, 2), (INF, INF), (-1, NAN)],
}
# Where a result is a finite number, as the rules of activations and losses use the functions.
DOMAINS = {
    "exp": lambda x, top: x < np.log(top),
    "expm1": lambda x, top: (
        x < 1023.5 * np.log(2.0) if float(top) > 1e100 else x < 127.5 * np.log(2.0)
    ),
    "log": lambda x, top: x > 0,
    "log1p": lambda x, top: x > -1,
    "tanh": lambda x, top: True,
    "normal_cdf": lambda x, top: True,
    "erf": lambda x, top: True,
    "sin": lambda x, top: True,
    "cos": lambda x, top: True,
    "cos_of_turns": lambda x, top: True,
    "sin_of_turns": lambda x, top: True,
    "sqrt": lambda x, top: x >= 0,
}


@pytest.fixture(scope="module", params=DTYPES)
def functions(request):
    """Return the dtype, and one function (name, x) -> values that runs each in a compiled loop."""
    elementary = make_elementary(np.dtype(request.param))

    def loop_of(function):
        @njit
        def loop(x, out):
            for i in range(x.size):
                out[i] = function(x[i])

        return loop

    def part_of_turn(part):
        turn = elementary.turn
        return njit(lambda t: turn(t)[part])

    loops = {
        name: loop_of(part_of_turn(TURNS[name]) if name in TURNS else getattr(elementary, name))
        for name in NAMES
    }

    def evaluate(name, x):
        x = np.ascontiguousarray(x, request.param)
        out = np.empty_like(x)
        loops[name](x, out)
        return out

    return np.dtype(request.param), evaluate


def points(dtype):
    """Return finite numbers of every size and sign, dense where the functions bend."""
    random = np.random.default_rng(0)
    whole = np.dtype(f"uint{8 * dtype.itemsize}")
    anything = random.integers(0, np.iinfo(whole).max, 400_000, whole, endpoint=True).view(dtype)
    bends = [
        random.uniform(-reach, reach, 60_000).astype(dtype)
        for reach in (1e-3, 0.5, 1.0, 2.0, 10.0, 20.0, 104.0, 750.0)
    ]
    sizes = np.exp2(random.uniform(-30, 30, 60_000)).astype(dtype)
    near_one = (1 + random.uniform(-1e-3, 1e-3, 60_000)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal * random.integers(1, 1000, 1000).astype(dtype)
    x = np.concatenate([anything, *bends, sizes, -sizes, near_one, -near_one, tiny, -tiny])
    return x[np.isfinite(x)]


def exact(name, x):
    """Return the function's values in at least twice the precision that matters."""
    if name == "normal_cdf":
        # SciPy has ndtr in float64 only, whose own error grows as the one that is tested.
        tail = np.exp(-x * x / 2) * special.erfcx(np.abs(x).astype(float) / np.sqrt(2)) / 2
        return np.where(x < 0, tail, 1 - tail)
    if name == "erf":
        # 2 / sqrt(pi) exp(-x^2) sum 2^n x^(2n + 1) / (2n + 1)!!, whose terms are all of one sign.
        size, value = np.abs(x), np.ones_like(x)
        pi = 4 * np.arctan(WIDE(1))
        for inside, terms in ((size < 1, 40), ((size >= 1) & (size < 7), 200)):
            own = size[inside]
            term = total = own
            for n in range(1, terms):
                term = term * (2 * own * own) / (2 * n + 1)
                total = total + term
            value[inside] = 2 / np.sqrt(pi) * np.exp(-own * own) * total
        return np.copysign(value, x)
    if name in TURNS:
        # An eighth of a turn at most is left, a product with pi of full relative precision.
        quarters = 4 * (x - np.rint(x))
        angle = 2 * np.arctan(WIDE(1)) * (quarters - np.rint(quarters))
        quarter = (np.rint(quarters).astype(int) + (name == "cos_of_turns")) % 4
        sine, cosine = np.sin(angle), np.cos(angle)
        return np.choose(quarter, [sine, cosine, -sine, -cosine])
    return getattr(np, name)(x)


def errors_in_ulp(found, expected, dtype):
    step = np.spacing(np.abs(expected).astype(dtype)).astype(WIDE)
    return np.abs(found.astype(WIDE) - expected) / step


@pytest.mark.skipif(
    np.finfo(WIDE).eps > 2e-19, reason="needs a long double of more precision than float64"
)
@pytest.mark.parametrize("name", ULPS)
def test_error_is_within_the_stated_bound(functions, name):
    dtype, evaluate = functions
    x = points(dtype)
    x = x[np.broadcast_to(DOMAINS[name](x.astype(float), np.finfo(dtype).max), x.shape)]
    with np.errstate(all="ignore"):
        expected = exact(name, x.astype(WIDE))
        errors = errors_in_ulp(evaluate(name, x), expected, dtype)
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULPS[name], f"at {x[worst]!r}"


@pytest.mark.skipif(
    np.finfo(WIDE).eps > 2e-19, reason="needs a long double of more precision than float64"
)
def test_normal_cdf_is_within_its_stated_relative_error(functions):
    dtype, evaluate = functions
    x = points(dtype)
    with np.errstate(all="ignore"):
        expected = exact("normal_cdf", x.astype(WIDE))
    normal = expected >= np.finfo(dtype).tiny
    x, expected = x[normal], expected[normal]
    error = np.abs(evaluate("normal_cdf", x).astype(WIDE) - expected) / expected
    bound = 12 * np.finfo(dtype).eps * (1 + x.astype(WIDE) ** 2)
    worst = int(np.argmax(error / bound))
    assert error[worst] <= bound[worst], f"at {x[worst]!r}"


@pytest.mark.parametrize("name", NAMES)
def test_values_at_the_ends_are_the_limits(functions, name):
    dtype, evaluate = functions
    x, expected = np.array(SPECIAL[name], dtype).T
    assert np.array_equal(evaluate(name, x), expected, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_also_among_numbers(functions, name):
    dtype, evaluate = functions
    x = np.full(37, 0.5, dtype)
    x[::5] = np.nan
    assert np.array_equal(np.isnan(evaluate(name, x)), np.isnan(x))


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin"])
def test_next_to_zero_the_function_is_its_argument_down_to_the_last_number(functions, name):
    dtype, evaluate = functions
    limits = np.finfo(dtype)
    small = np.array([limits.smallest_subnormal, limits.tiny, limits.eps**2], dtype)
    x = np.concatenate([small, -small])
    assert np.array_equal(evaluate(name, x), x)


def test_exp_underflows_gradually(functions):
    dtype, evaluate = functions
    limits = np.finfo(dtype)
    x = (np.log(limits.tiny.astype(WIDE)) - np.linspace(0, 12, 100)).astype(dtype)
    found = evaluate("exp", x)
    assert (found > 0).all() and (found[1:] < limits.tiny).all()
    # The edge itself may have been rounded to a number whose exponential is still normal.
    assert found[0] <= np.exp(x[0].astype(WIDE)) * (1 + 2 * WIDE(limits.eps))
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("name", ["exp", "tanh", "log"])
def test_the_function_never_falls_where_it_should_rise_by_more_than_its_error(functions, name):
    dtype, evaluate = functions
    x = np.sort(points(dtype))
    x = x[(x > 0) & (x < 80)]
    found = evaluate(name, x)
    fall = found[:-1] - found[1:]
    assert (fall <= 2 * ULPS[name] * np.spacing(np.abs(found[1:]))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_number_alone_has_the_bits_it_has_in_a_vector(functions, name):
    # Results must not depend on how a loop is cut: code for vectors is not the code for the rest.
    dtype, evaluate = functions
    x = points(dtype)[::997][:1000]
    alone = np.concatenate([evaluate(name, x[i : i + 1]) for i in range(x.size)])
    together = evaluate(name, x)
    assert np.array_equal(alone, together, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_series_of_erfc_is_its_interpolation(dtype):
    """Its last bits depend on the machine, which is why it is written down."""

    def function(t):
        x = 2 * (1 + t) / (1 - t)
        large = special.erfcx(x) * (x + 2) - 2
        # The same next to 0, without subtracting numbers of about 2.
        power = np.minimum(x * x, 1.0)
        square = np.exp(power)
        small = x * square + 2 * np.expm1(power) - (x + 2) * square * special.erf(x)
        return np.where(x < 0.5, small, large) / (1 + t)

    series = _ERFC_SERIES[dtype]
    expected = np.polynomial.chebyshev.chebinterpolate(function, len(series) - 1)
    np.testing.assert_allclose(series, expected, rtol=1e-7 * (dtype == "float32"), atol=1e-14)
