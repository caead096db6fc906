"""Gradient descent on functions: the path, the bounds, the restarts, and the cache."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from checker import unchecked

from fastnn import Diverged, InvalidInput, MissingExtra
from fastnn.graph import Descent, erf, exp, log, minimize, sin, sqrt, trace, variables, where
from fastnn.graph.descent import MOST_POINTS


def parabola(x):
    return (x - 1) ** 2


def quartic(x):
    return x**4 - 3 * x**3 + 2


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def followed(gradient, x, learning_rate, steps, momentum=0.0, low=-np.inf, high=np.inf):
    """Return the path of gradient descent in plain NumPy."""
    path, v = [np.array(x, float)], np.zeros(len(x))
    for _ in range(steps):
        v = momentum * v + gradient(path[-1])
        path.append(np.clip(path[-1] - learning_rate * v, low, high))
    return np.array(path)


def test_a_function_of_an_array_is_told_to_take_one_argument_a_variable():
    with pytest.raises(InvalidInput, match=r"one argument for each number, as in lambda x, y:"):
        minimize(lambda x: x[0] ** 2 + x[1] ** 2, start=(1, 1))


def test_each_step_on_a_parabola_shrinks_the_distance_by_the_same_factor():
    result = minimize(parabola, start=5, learning_rate=0.1, steps=60)
    np.testing.assert_allclose(result.path[:, 0], 1 + 4 * 0.8 ** np.arange(61), rtol=1e-13)
    assert result.path_steps.tolist() == list(range(61))
    assert result.x == result.path[-1]
    assert result.value == parabola(result.x[0])
    assert result.gradient == pytest.approx([2 * (result.x[0] - 1)], rel=1e-14)


def test_momentum_follows_the_same_path_as_plain_numpy():
    def gradient(at):
        x, y = at
        return np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])

    settings = {"learning_rate": 1e-3, "steps": 300, "momentum": 0.9}
    result = minimize(rosenbrock, start=(-1.2, 1), **settings)
    expected = followed(gradient, (-1.2, 1), **settings)
    np.testing.assert_allclose(result.path, expected, rtol=1e-9)


def test_steps_that_would_leave_the_bounds_end_on_them():
    bounds = [(-1.5, 0.5), (-0.1, 2)]
    result = minimize(rosenbrock, start=(-1, 1), bounds=bounds, learning_rate=1e-3, steps=4000)
    assert (result.path >= [-1.5, -0.1]).all() and (result.path <= [0.5, 2]).all()
    assert result.x == pytest.approx([0.5, 0.25], abs=1e-6)
    assert result.low.tolist() == [-1.5, -0.1]


def test_one_pair_bounds_every_variable():
    result = minimize(lambda x, y: -x - 2 * y, start=(0, 0), bounds=(-1, 3), learning_rate=1)
    assert result.x.tolist() == [3, 3]


def test_the_best_of_the_restarts_is_returned_and_all_are_listed():
    def two_valleys(x):
        return (x**2 - 1) ** 2 + 0.3 * x

    result = minimize(two_valleys, bounds=(-2, 2), restarts=12, learning_rate=0.02, seed=3)
    ends = np.array([each.x[0] for each in result.restarts])
    assert len(ends) == 12
    assert {float(round(end, 3)) for end in ends} == {-1.036, 0.96}
    best = result.restarts[result.best]
    assert result.value == best.value == min(each.value for each in result.restarts)
    assert result.path[0] == best.start
    assert result.path[-1] == best.x == result.x
    for each in result.restarts:
        assert -2 <= each.start[0] <= 2
        assert each.value == pytest.approx(two_valleys(each.x[0]), rel=1e-13)


def test_normalized_steps_have_the_length_of_the_rate_and_the_gradients_direction():
    def gradient(at):
        x, y = at
        found = np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])
        return found / math.hypot(*found)

    settings = {"learning_rate": 0.05, "steps": 40, "momentum": 0.5}
    result = minimize(rosenbrock, start=(-1.2, 1), normalized=True, **settings)
    np.testing.assert_allclose(result.path, followed(gradient, (-1.2, 1), **settings), rtol=1e-9)
    lengths = minimize(rosenbrock, start=(-1.2, 1), learning_rate=0.05, steps=9, normalized=True)
    np.testing.assert_allclose(np.hypot(*np.diff(lengths.path, axis=0).T), 0.05, rtol=1e-12)


def test_normalized_steps_of_one_variable_go_by_its_sign_and_stay_where_the_gradient_is_0():
    result = minimize(lambda x: x**2, start=3, learning_rate=0.5, steps=9, normalized=True)
    assert result.path[:, 0].tolist() == [3, 2.5, 2, 1.5, 1, 0.5, 0, 0, 0, 0]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_normalized_step_is_the_same_however_the_function_is_scaled(scale):
    result = minimize(
        lambda x, y: scale * (3 * x + 4 * y),
        start=(0, 0),
        learning_rate=5,
        steps=1,
        normalized=True,
    )
    assert result.x == pytest.approx([-3, -4], rel=1e-14)


@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [
        ((0, None), [0, 0], [math.inf] * 2),
        ((None, 5), [-math.inf] * 2, [5, 5]),
        ([(0, None), None], [0, -math.inf], [math.inf] * 2),
        ([(0.5, 2), (None, 5)], [0.5, -math.inf], [2, 5]),
        (None, [-math.inf] * 2, [math.inf] * 2),
    ],
)
def test_none_is_no_bound(bounds, low, high):
    result = minimize(lambda x, y: x - y, start=(1, 1), bounds=bounds, steps=3, learning_rate=9)
    assert (result.low.tolist(), result.high.tolist()) == (low, high)
    assert (result.x >= low).all() and (result.x <= high).all()


def test_every_restarts_path_is_kept_on_request_and_goes_into_a_frame():
    pytest.importorskip("pandas")
    settings = {"bounds": [(-2, 2), (-1, 3)], "restarts": 3, "learning_rate": 1e-3, "steps": 20}
    plain, kept = (
        minimize(rosenbrock, **settings),
        minimize(rosenbrock, keep_paths=True, **settings),
    )
    assert all(each.path is None for each in plain.restarts)
    np.testing.assert_array_equal(kept.restarts[kept.best].path, plain.path)
    frame = kept.to_frame()
    assert [*frame.columns] == ["restart", "step", "x", "y", "value", "d/dx", "d/dy"]
    assert frame["step"].tolist() == [*range(21)] * 3
    for index, each in enumerate(kept.restarts):
        rows = frame[frame["restart"] == index]
        np.testing.assert_array_equal(rows[["x", "y"]], each.path)
        x, y = each.path.T
        np.testing.assert_allclose(rows["value"], rosenbrock(x, y), rtol=1e-9)
        np.testing.assert_allclose(rows["d/dx"], 2 * (x - 1) - 400 * x * (y - x * x), rtol=1e-9)
        np.testing.assert_allclose(rows["d/dy"], 200 * (y - x * x), rtol=1e-9, atol=1e-12)
    assert set(plain.to_frame()["restart"]) == {plain.best}


def test_a_frame_needs_pandas_and_names_that_are_free(monkeypatch):
    with pytest.raises(InvalidInput, match="a variable is called 'step'"):
        minimize(lambda step: step * step, start=1, steps=1).to_frame()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[tables\]"'):
        minimize(parabola, start=1, steps=1).to_frame()


def test_starts_follow_from_the_seed():
    def starts(**settings):
        result = minimize(parabola, bounds=(-2, 2), steps=1, restarts=3, **settings)
        return [float(each.start[0]) for each in result.restarts]

    assert starts(seed=1) == starts(seed=1) != starts(seed=2)
    assert starts(seed=1, start=0.5)[0] == 0.5


def test_many_steps_keep_a_bounded_evenly_thinned_path_with_its_end():
    steps = 2 * MOST_POINTS + 1
    result = minimize(quartic, start=6, learning_rate=0.001, steps=steps)
    assert len(result.path) == len(result.path_steps) <= MOST_POINTS + 1
    assert result.path_steps[:3].tolist() == [0, 3, 6]
    assert result.path_steps[-1] == steps
    assert result.path[-1] == result.x
    full = minimize(quartic, start=6, learning_rate=0.001, steps=30)
    np.testing.assert_array_equal(result.path[:11], full.path[::3])


def test_long_runs_in_several_calls_go_on_where_they_stopped(monkeypatch):
    settings = {"start": (-1.2, 1), "learning_rate": 1e-3, "momentum": 0.5, "steps": 25_003}
    whole = minimize(rosenbrock, **settings)
    monkeypatch.setattr("fastnn.graph.descent._STEPS_A_CALL", 1000)
    parts = minimize(rosenbrock, **settings)
    np.testing.assert_array_equal(parts.path, whole.path)


def test_no_steps_stay_at_the_start():
    result = minimize(quartic, start=6, steps=0)
    assert result.path.tolist() == [[6]]
    assert result.value == 650


def test_a_formula_can_be_minimised_and_so_can_numpys_functions():
    p, q = variables("p q")
    result = minimize((p - 2) ** 2 + exp(q) - q, start=(0, 1), learning_rate=0.1)
    assert result.function.names == ("p", "q")
    assert result.x == pytest.approx([2, 0], abs=1e-6)
    assert minimize(lambda x: -np.cos(x), start=0.5, learning_rate=0.5).x == pytest.approx([0])


def test_every_function_of_a_graph_compiles():
    def everything(x):
        return erf(x) ** 2 + abs(x) ** 1.5 + sin(x) * exp(-(x**2)) + sqrt(1 + x**2) + log(3 + x)

    result = minimize(everything, start=1.3, learning_rate=0.01, steps=5)
    derivative = trace(everything)
    expected = followed(lambda at: derivative.gradient(x=at)["x"], [1.3], 0.01, 5)
    np.testing.assert_allclose(result.path, expected, rtol=1e-13)


def test_divergence_names_the_step_the_place_and_the_remedy():
    with pytest.raises(Diverged) as caught:
        minimize(quartic, start=6, learning_rate=1.0)
    assert (caught.value.epoch, caught.value.step) == (0, 4)
    message = str(caught.value)
    assert "restart 0 diverged after 4 steps: at x = 3.06778e+81 the function is inf" in message
    assert "use a learning_rate below 1, or bounds" in message


def test_a_start_where_the_function_is_not_finite_says_so():
    with pytest.raises(Diverged, match=r"after 0 steps: at x = -1 the function is nan.*; start"):
        minimize(lambda x: log(x), start=-1)


def test_a_log_loss_that_is_rounded_to_infinity_names_the_function_that_is_exact():
    with pytest.raises(Diverged) as caught:
        minimize(lambda z: -log(1 - 1 / (1 + exp(-z))), start=50)
    message = str(caught.value)
    assert "log(1 - 1/(1 + exp(-z))) is -inf at z = 50" in message and "-softplus(z)" in message


def test_a_last_step_to_where_the_function_is_not_finite_is_noticed():
    with pytest.raises(Diverged) as caught:
        minimize(quartic, start=6, learning_rate=1.0, steps=4)
    assert caught.value.step == 4


def test_descent_shows_function_value_and_every_variable():
    result = minimize(rosenbrock, start=(1, 1), steps=7)
    assert repr(result).splitlines() == [
        "Descent on (1 - x)**2 + 100*(y - x**2)**2: value 0 after 7 steps",
        "variable  start  end  gradient",
        "x             1    1         0",
        "y             1    1         0",
    ]
    several = minimize(parabola, bounds=(0, 2), restarts=4, steps=1)
    assert "best of 4 restarts (values up to " in repr(several)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"start=None draws starting points, so bounds must be finite: .*, or a start"),
        ({"start": (1, 1), "restarts": 2}, "restarts=2 draws .* or restarts=1"),
        ({"bounds": (0, math.inf)}, "bounds must be finite"),
        ({"bounds": (2, 1), "start": (1, 1)}, r"bounds of x must be \(low, high\), not \(2, 1\)"),
        ({"bounds": [(0, 1)] * 3}, r"one pair \(low, high\), or 2 of them for x, y.*\(3, 2\)"),
        ({"bounds": "ab"}, "bounds must be a number or an array of numbers"),
        ({"start": 1}, r"start must be 2 numbers, one for each of x, y, not of shape \(1,\)"),
        ({"start": (1, math.nan)}, "start has y = nan, which must be a finite number"),
        ({"start": (1, 5), "bounds": (0, 4)}, r"start has y = 5, .* the bounds \(0, 4\)"),
        ({"start": (1, 1), "learning_rate": -1}, "learning_rate must be a finite number"),
        ({"start": (1, 1), "momentum": 1}, "momentum must be a finite number in"),
        ({"start": (1, 1), "steps": 1.5}, "steps must be a whole number of at least 0"),
        ({"start": (1, 1), "restarts": 0}, "restarts must be a whole number of at least 1"),
        ({"start": (1, 1), "seed": -1}, "seed must be a whole number of at least 0"),
        ({"start": (1, 1), "normalized": 1}, "normalized must be True or False, not 1"),
        ({"start": (1, 1), "keep_paths": "x"}, "keep_paths must be True or False, not 'x'"),
        (
            {"bounds": (0, 1), "restarts": 10**6, "keep_paths": True},
            "would keep 2002000000 numbers of 1000000 paths",
        ),
        ({"bounds": (0, None)}, "draws starting points, so bounds must be finite"),
        ({"start": (1, 1), "bounds": [(0, None)] * 3}, r"\(3, 2\)"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(InvalidInput, match=message):
        minimize(rosenbrock, **settings)


def test_a_function_that_branches_is_shown_with_its_line():
    with pytest.raises(InvalidInput, match=r"minimize\(lambda x: x if x > 0 else -x, start=1\)"):
        minimize(lambda x: x if x > 0 else -x, start=1)


def test_a_formula_without_variables_is_refused():
    with pytest.raises(InvalidInput, match="3 has no variable to vary"):
        minimize(where(True, 3, variables("x")[0]), start=1)


def test_a_path_of_one_variable_is_drawn_over_the_curve(pyplot):
    result = minimize(quartic, start=6, learning_rate=0.001, steps=50, bounds=(0, 6.5))
    ax = result.plot()
    curve, path, start, end = ax.lines
    np.testing.assert_array_equal(path.get_xdata(), result.path[:, 0])
    np.testing.assert_allclose(path.get_ydata(), quartic(result.path[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(curve.get_ydata(), quartic(curve.get_xdata()), rtol=1e-12, atol=1e-9)
    assert (curve.get_xdata().min(), curve.get_xdata().max()) == (0, 6.5)
    assert (start.get_xdata(), end.get_xdata()) == (6, result.x)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "x**4 - 3*x**3 + 2")


def test_a_path_of_two_variables_is_drawn_over_contours(pyplot):
    result = minimize(rosenbrock, start=(-1.2, 1), learning_rate=1e-3, steps=200)
    ax = pyplot.subplots()[1]
    assert result.plot(ax) is ax
    assert len(ax.collections) == 1  # the contours
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), result.path)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    ax.figure.canvas.draw()


def test_flat_functions_and_paths_that_stay_are_drawn_too(pyplot):
    minimize(lambda x, y: 0 * x + 0 * y, start=(1, 1)).plot()
    minimize(lambda x: 0 * x, start=1).plot()


def test_more_than_two_variables_are_not_drawn(pyplot):
    result = minimize(lambda x, y, z: x**2 + y**2 + z**2, start=(1, 2, 3), steps=3)
    with pytest.raises(InvalidInput, match="plot shows one or two variables, .* has 3"):
        result.plot()


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


COMPILE = """
from fastnn.graph import minimize, trace
from fastnn.graph.descent_code import compiled, descent_source
f = lambda {name}: {name}**2 / (3 + {name}**4)
result = minimize(f, start=0.5, steps=3)
print(int(compiled(descent_source(trace(f))).loaded), *result.x)
"""


@unchecked
def test_a_later_process_loads_what_an_earlier_one_compiled(tmp_path):
    environment = {"FASTNN_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    first = run_python(COMPILE.format(name="x"), **environment).split()
    again = run_python(COMPILE.format(name="other"), **environment).split()
    assert (first[0], again[0]) == ("0", "1")
    assert first[1] == again[1]


@unchecked
def test_damaged_code_in_the_cache_is_replaced(tmp_path):
    environment = {"FASTNN_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    first = run_python(COMPILE.format(name="x"), **environment).split()
    (code,) = tmp_path.glob("kernels-*/*")
    code.write_bytes(code.read_bytes()[:-1])
    again = run_python(COMPILE.format(name="x"), **environment).split()
    assert again == first
    assert run_python(COMPILE.format(name="x"), **environment).split()[0] == "1"


def test_without_compilation_the_path_is_the_same():
    code = (
        "from fastnn.graph import minimize, exp\n"
        "r = minimize(lambda x: x**4 - 3*x**3 + exp(-x), start=3, learning_rate=0.01, steps=50)\n"
        "print(r.x[0])\n"
        "try: minimize(lambda x: x**4 + exp(x), start=6, learning_rate=1.0)\n"
        "except Exception as error: print(type(error).__name__, error.step)"
    )
    plain = run_python(code, NUMBA_DISABLE_JIT="1").split()
    compiled = run_python(code, NUMBA_DISABLE_JIT="0").split()
    assert float(plain[0]) == pytest.approx(float(compiled[0]), rel=1e-12)
    assert plain[1:] == compiled[1:] == ["Diverged", plain[2]]


def test_the_result_is_a_descent():
    assert isinstance(minimize(parabola, start=0, steps=1), Descent)
