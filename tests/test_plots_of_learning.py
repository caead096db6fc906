"""Pictures of what a network computes and how it learns have the numbers of the formulas."""

import math
import sys

import numpy as np
import pytest

from fastnn import SGD, Dense, InvalidInput, LayerNorm, MissingExtra, Network, Trainer, plots
from fastnn.graph import maximum, minimize

pytestmark = pytest.mark.usefixtures("pyplot")


def made(layers, loss="mse", inputs=1, **settings):
    settings = {"optimizer": SGD(0.1), "target": "numpy", "dtype": "float64"} | settings
    return Trainer(Network(inputs, layers), loss, **settings)


def line_data(n=12):
    generator = np.random.default_rng(0)
    x = generator.normal(size=n)
    return x[:, None], 2 * x + 1 + 0.3 * generator.normal(size=n)


def written(ax):
    return {text.get_gid(): text.get_text() for text in ax.texts}


def test_the_diagram_shows_what_the_formulas_give_forward_and_back():
    layers = [Dense(3, "tanh", bias_init="normal"), Dense(1, bias_init=0.2)]
    trainer = made(layers, "binary_cross_entropy", inputs=2, l2=0.1)
    x, y = np.array([0.5, -1.0]), 1
    shown = written(plots.network(trainer, x, y))
    (W1, b1), (W2, b2) = trainer.parameters

    def loss(W1, b1, W2, b2):
        z = np.tanh(x @ W1 + b1) @ W2 + b2
        penalty = 0.05 * (np.sum(W1**2) + np.sum(W2**2))
        return float(np.log1p(np.exp(-z[0])) + penalty)

    z1 = x @ W1 + b1
    z2 = np.tanh(z1) @ W2 + b2
    dz2 = 1 / (1 + np.exp(-z2)) - y
    dz1 = (W2 @ dz2) * (1 - np.tanh(z1) ** 2)
    values = {("z", 0): z1, ("a", 0): np.tanh(z1), ("dz", 0): dz1, ("b", 0): b1}
    values |= {("z", 1): z2, ("a", 1): z2, ("dz", 1): dz2, ("b", 1): b2}
    for (what, layer), numbers in values.items():
        for unit, value in enumerate(numbers):
            text = shown[f"{what} {layer} {unit}"]
            assert text.removeprefix(f"{what} ") == f"{value:.3g}"
    h = 1e-6
    for layer, W in enumerate((W1, W2)):
        for place in np.ndindex(W.shape):
            ends = []
            for step in (h, -h):
                arrays = [each.copy() for each in (W1, b1, W2, b2)]
                arrays[2 * layer][place] += step
                ends.append(loss(*arrays))
            slope = (ends[0] - ends[1]) / (2 * h)
            name = f"{layer} {place[0]} {place[1]}"
            assert shown[f"W {name}"] == f"{W[place]:.3g}"
            assert float(shown[f"dW {name}"]) == pytest.approx(slope, rel=6e-3, abs=1e-6)
    assert [shown["title 0"], shown["title 1"]] == ["inputs", "layer 0: tanh"]


def test_the_diagram_leaves_out_what_there_is_not():
    trainer = made([Dense(14, "relu", bias=False), Dense(2)], "mse", inputs=30)
    plain = written(plots.network(trainer))
    assert "more -1" in plain and "more 0" in plain and "more 1" not in plain
    assert not any(name.startswith(("a ", "z ", "dz", "b 0", "W 0")) for name in plain)
    assert "b 1 0" in plain
    forward = written(plots.network(trainer, np.ones(30)))
    assert "z 1 0" in forward and "dz 1 0" not in forward
    single = made([Dense(1, bias=False)])
    ax = plots.network(single, [2.0], 1.0)
    p = 2.0 * single.parameters[0][0][0, 0]
    assert written(ax)["dz 0 0"] == f"dz {p - 1:.3g}"
    assert f"{(p - 1) ** 2 / 2:.6g}" in ax.get_title()


def followed(x, y, rate, batches):
    """Return (w, b) after each step of descent on half the mean square error."""
    w = b = 0.0
    points = [(w, b)]
    for rows in batches:
        error = w * x[rows] + b - y[rows]
        w, b = w - rate * np.mean(error * x[rows]), b - rate * np.mean(error)
        points.append((w, b))
    return np.array(points)


def test_the_surface_is_the_loss_and_the_paths_are_those_of_the_rule():
    X, y = line_data()
    x = X[:, 0]
    trainer = made([Dense(1, init="zeros")], shuffle=False)
    before = trainer.parameters
    ax = plots.loss_surface(trainer, X, y, {"all": 12, "some": 5, "single": 1}, epochs=3)
    assert np.array_equal(trainer.parameters[0][0], before[0][0]) and trainer.epoch == 0
    order = np.arange(12)
    parts = {"all": [order], "some": [order[:5], order[5:10], order[10:]]}
    parts["single"] = [order[i : i + 1] for i in order]
    lines = {line.get_label().partition(",")[0]: line for line in ax.lines}
    for name, batches in parts.items():
        expected = followed(x, y, 0.1, batches * 3)
        np.testing.assert_allclose(lines[name].get_xydata(), expected, rtol=1e-9, atol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("W[0, 0]", "b[0]")
    lines = [each for each in ax.collections if each.get_linewidths()[0] == 0.3]
    checked = 0
    for contours in lines:
        for level, path in zip(contours.levels, contours.get_paths(), strict=True):
            if len(path.vertices) and level > 0.3:
                w, b = path.vertices.T
                loss = np.mean((np.outer(w, x) + b[:, None] - y) ** 2, axis=1) / 2
                np.testing.assert_allclose(loss, level, rtol=0.02)
                checked += 1
    assert checked > 5


def test_a_solid_surface_has_loss_and_penalty_as_heights():
    X, y = line_data()
    trainer = made([Dense(1, init="zeros")], l2=0.5)
    ways = {"mine": [[0, 0], [1.0, 0.5]]}
    limits = ((-1, 3), (-1, 2))
    ax = plots.loss_surface(trainer, X, y, ways, limits=limits, three_d=True)
    way = ax.lines[0].get_data_3d()
    expected = [
        np.mean((w * X[:, 0] + b - y) ** 2) / 2 + 0.25 * w**2 for w, b in ((0, 0), (1, 0.5))
    ]
    np.testing.assert_allclose(way[2], expected, rtol=1e-12)
    assert ax.get_zlabel() == "loss + penalty"
    assert ax.collections[0].get_array().max() <= 30


def test_the_surface_is_one_of_two_chosen_parameters():
    trainer = made([Dense(2, "tanh"), Dense(1)])
    X, y = line_data()
    ax = plots.loss_surface(trainer, X, y, {}, 0, [(0, "W", 0, 1), (1, "b", 0)])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("W[0, 1] of layer 0", "b[0] of layer 1")


def test_the_regression_line_is_that_of_the_parameters_with_every_error():
    X, y = line_data()
    trainer = made([Dense(1)])
    trainer.set_parameters([(np.array([[1.5]]), np.array([-0.25]))])
    ax = plots.regression_line(trainer, X, y, residuals=True)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), 1.5 * line.get_xdata() - 0.25, rtol=1e-12)
    assert line.get_label() == "1.5 x - 0.25"
    errors, cloud = ax.collections
    ends = np.array([segment[:, 1] for segment in errors.get_segments()])
    np.testing.assert_allclose(ends, np.column_stack((y, 1.5 * X[:, 0] - 0.25)), rtol=1e-12)
    np.testing.assert_array_equal(cloud.get_offsets(), np.column_stack((X, y)))


@pytest.mark.parametrize(
    ("loss", "value", "slope"),
    [
        ("mse", lambda p, y: (p - y) ** 2 / 2, lambda p, y: p - y),
        ("mae", lambda p, y: abs(p - y), lambda p, y: np.sign(p - y)),
        (
            "binary_cross_entropy",
            lambda z, y: np.log1p(np.exp(z)) - y * z,
            lambda z, y: 1 / (1 + math.exp(-z)) - y,
        ),
        ("hinge", lambda p, y: np.maximum(0, 1 - (2 * y - 1) * p), None),
        (lambda z, y: maximum(0, 1 - y * z) ** 2, lambda z, y: np.maximum(0, 1 - y * z) ** 2, None),
    ],
)
def test_a_loss_is_drawn_with_its_tangent(loss, value, slope):
    ax = plots.loss_function(loss, y=[0, 1], at=0.75)
    for target, curve, tangent in zip((0, 1), ax.lines[::3], ax.lines[1::3], strict=True):
        p = curve.get_xdata()
        np.testing.assert_allclose(curve.get_ydata(), value(p, target), rtol=1e-9, atol=1e-12)
        (u, v), (s, t) = tangent.get_xdata(), tangent.get_ydata()
        wanted = slope or (lambda p, y: (value(p + 1e-6, y) - value(p - 1e-6, y)) / 2e-6)
        assert (t - s) / (v - u) == pytest.approx(wanted(0.75, target), rel=1e-6, abs=1e-9)
        assert (s + t) / 2 == pytest.approx(value(0.75, target), rel=1e-9, abs=1e-12)


def test_one_inputs_boundary_is_where_the_probability_is_a_half():
    trainer = made([Dense(1)], "binary_cross_entropy")
    trainer.set_parameters([(np.array([[2.0]]), np.array([-1.0]))])
    X, y = np.array([[-1.0], [0.0], [1.0], [2.0]]), [0, 0, 1, 1]
    ax = plots.decision_boundary(trainer, X, y)
    curve, boundary = ax.lines
    z = 2 * curve.get_xdata() - 1
    np.testing.assert_allclose(curve.get_ydata(), 1 / (1 + np.exp(-z)), rtol=1e-9)
    assert boundary.get_xdata()[0] == pytest.approx(0.5, abs=1e-9)
    below, above = [each for each in ax.collections if each.get_zorder() == 3]
    assert below.get_offsets().tolist() == [[-1, 0], [0, 0]]
    assert above.get_offsets().tolist() == [[1, 1], [2, 1]]
    assert ax.get_ylabel() == "probability of class 1"


def test_one_inputs_boundaries_of_three_classes():
    trainer = made([Dense(3)], "softmax_cross_entropy")
    # z = (-x, 0, x - 1): class 0 below 0, class 2 above 1
    trainer.set_parameters([(np.array([[-1.0, 0.0, 1.0]]), np.array([0.0, 0.0, -1.0]))])
    ax = plots.decision_boundary(trainer, [[-1.0], [0.5], [2.0]], [0, 1, 2])
    upright = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
    assert upright == pytest.approx([0, 1], abs=1e-9)
    np.testing.assert_allclose(sum(line.get_ydata() for line in ax.lines[:3]), 1, rtol=1e-12)
    ax = plots.decision_boundary(made([Dense(1)], "hinge"), [[-1.0], [2.0]], [0, 1])
    assert "points at -1 and 1" in ax.get_ylabel()


def test_axes_have_the_names_of_the_columns():
    pandas = pytest.importorskip("pandas")
    X, y = line_data()
    frame = pandas.DataFrame(X, columns=["area"])
    trainer = made([Dense(1)])
    trainer.fit(frame, y, 1, progress=False)
    assert plots.regression_line(trainer, frame, y).get_xlabel() == "area"
    assert plots.loss_surface(trainer, frame, y, {}).get_xlabel() == "W[0, 0], of area"
    assert plots.activation("tanh").get_ylabel() == "a = tanh, and da/dz"
    assert plots.loss_function("mse").get_xlabel() == "output p"


def test_columns_in_another_order_are_refused_by_every_picture():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    y = (X["a"] > 0).astype(int)
    trainer = Trainer(Network(2, [Dense(1)]), "binary_cross_entropy", target="numpy")
    trainer.fit(X, y, epochs=1)
    two = [(0, "W", 0, 0), (0, "b", 0)]
    for draw in (
        lambda X: plots.decision_boundary(trainer, X, y),
        lambda X: plots.loss_surface(trainer, X, y, epochs=1, parameters=two),
        lambda X: plots.animate(trainer, X, y, frames=1),
        lambda X: plots.network(trainer, X[:1], 1),
        lambda X: plots.network(trainer, X.iloc[0], 1),
    ):
        with pytest.raises(InvalidInput, match="the same names in another order"):
            draw(X[["b", "a"]])


def test_axes_of_a_trainer_without_names_have_those_of_the_data_drawn():
    pandas = pytest.importorskip("pandas")
    X, y = np.linspace(-1, 1, 8)[:, None], np.arange(8.0)
    trainer = Trainer(Network(1, [Dense(1)]), "mse", target="numpy")
    trainer.fit(X, y, epochs=1)
    frame, series = pandas.DataFrame(X, columns=["size"]), pandas.Series(y, name="price")
    ax = plots.regression_line(trainer, frame, series)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("size", "price")
    ax = plots.regression_line(trainer, X, y)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input 0", "y")


def test_an_animation_of_a_training_shows_each_epoch(tmp_path):
    X, y = line_data()
    trainer = made([Dense(1, init="zeros")], batch_size=12)
    animation = plots.animate(trainer, X, y, frames=3, every=2)
    ax = animation._fig.axes[0]
    states = followed(X[:, 0], y, 0.1, [np.arange(12)] * 4)[::2]
    for frame, (w, b) in enumerate(states):
        animation._draw_frame(frame)
        line = ax.lines[-1]
        np.testing.assert_allclose(line.get_ydata(), w * line.get_xdata() + b, rtol=1e-9)
        assert ax.get_title() == f"after {2 * frame} epochs"
    assert trainer.epoch == 0
    animation.save(tmp_path / "line.gif", writer="pillow", dpi=30)
    assert (tmp_path / "line.gif").read_bytes().startswith(b"GIF8")


def test_an_animation_of_a_descent_goes_down_its_path():
    result = minimize(lambda x: (x - 1) ** 2, start=4, learning_rate=0.1, steps=10)
    animation = plots.animate(result, frames=3)
    ax = animation._fig.axes[0]
    for frame, step in enumerate((0, 5, 10)):
        animation._draw_frame(frame)
        x = 1 + 3 * 0.8**step
        assert ax.lines[-1].get_xydata()[0] == pytest.approx([x, (x - 1) ** 2], rel=1e-12)
        assert ax.get_title().endswith(f"{step} steps")
    animation._draw_was_started = True


def test_restarts_are_drawn_from_start_to_end_over_all_of_the_bounds():
    result = minimize(
        lambda x, y: (x**2 - 1) ** 2 + y**2, bounds=[(-2, 2), (-3, 1)], restarts=4, steps=30,
        keep_paths=True,
    )  # fmt: skip
    ax = plots.descent(result)
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-2, 2, -3, 1)
    others = [each for index, each in enumerate(result.restarts) if index != result.best]
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    ways = [line.get_xydata() for line in ax.lines if line.get_linewidth() == 0.8]
    for way, each in zip(ways, others, strict=True):
        np.testing.assert_array_equal(way, each.path)
    starts, ends = lines["starts of other restarts"], lines["ends of other restarts"]
    np.testing.assert_array_equal(starts, [each.start for each in others])
    np.testing.assert_array_equal(ends, [each.x for each in others])
    np.testing.assert_array_equal(lines["start"][0], result.path[0])


X1, Y1 = line_data(4)
LINE = made([Dense(1)])


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: plots.network(made([LayerNorm(), Dense(1)])), "this network has LayerNorm"),
        (lambda: plots.network(LINE, y=1), "there is no x"),
        (lambda: plots.network(LINE, [1.0, 2.0]), "2"),
        (
            lambda: plots.loss_surface(made([Dense(1)], inputs=3), np.ones((4, 3)), Y1),
            "this network has 4",
        ),
        (lambda: plots.loss_surface(LINE, X1, Y1, parameters=[(0, "W", 0, 0)]), "two of them"),
        (
            lambda: plots.loss_surface(LINE, X1, Y1, parameters=[(0, "W", 0, 0), (1, "b", 0)]),
            r"\(1, 'b', 0\)",
        ),
        (lambda: plots.loss_surface(LINE, X1, Y1, parameters=[(0, "b", 0)] * 2), "twice"),
        (lambda: plots.loss_surface(LINE, X1, Y1, {"one": 1}, 10**5), "400000 updates"),
        (lambda: plots.loss_surface(LINE, X1, Y1, {"one": [1, 2]}), r"\(2,\)"),
        (lambda: plots.loss_surface(LINE, X1, Y1, [1]), "dict of batch sizes"),
        (lambda: plots.loss_surface(LINE, X1, Y1, {}, limits=((2, 1), (0, 1))), r"\(2, 1\)"),
        (lambda: plots.regression_line(made([Dense(2)]), X1, X1), "of 1 and 2"),
        (lambda: plots.regression_line(made([Dense(1)], "hinge"), X1, [0, 1, 0, 1]), "classifier"),
        (lambda: plots.loss_function("softmax_cross_entropy"), "whole row"),
        (lambda: plots.loss_function("msee"), "did you mean 'mse'"),
        (lambda: plots.loss_function("hinge", y=-1), "-1"),
        (lambda: plots.loss_function("mse", limits=(1, 1)), r"\(1, 1\)"),
        (lambda: plots.loss_function("mse", limits=4), "low, high.*not 4"),
        (lambda: plots.loss_function("mse", ax=[]), "ax must be axes of Matplotlib"),
        (lambda: plots.animate(3), "not a int"),
        (lambda: plots.animate(made([Dense(1)], inputs=3), X1, Y1), "give picture="),
        (lambda: plots.animate(LINE, X1, Y1, frames=0), "frames must be"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_figure_is_made(draw, named, pyplot):
    with pytest.raises(InvalidInput, match=named):
        draw()
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.network(LINE),
        lambda: plots.loss_surface(LINE, X1, Y1, {}),
        lambda: plots.loss_surface(LINE, X1, Y1, {}, three_d=True),
        lambda: plots.regression_line(LINE, X1, Y1),
        lambda: plots.loss_function("mse"),
        lambda: plots.animate(LINE, X1, Y1),
    ],
)
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[plots\]"'):
        draw()
