"""Pictures show what they say: data, labels, axes given and made, and errors before any figure."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import (
    SGD,
    BatchNorm,
    Dense,
    Dropout,
    History,
    InvalidInput,
    LayerNorm,
    MissingExtra,
    Network,
    Periodic,
    Trainer,
    datasets,
    plots,
)
from fastnn.graph import minimize, tanh

pytestmark = pytest.mark.usefixtures("pyplot")


def history_of(losses, validation=None):
    history = History()
    for index, loss in enumerate(losses):
        history.append(loss, 0.1, 0.1, None if validation is None else validation[index])
    return history


def planar(layers, loss="softmax_cross_entropy", parameters=None):
    """Return a trainer of two inputs, with these parameters where they are given."""
    trainer = Trainer(Network(2, layers), loss, target="numpy", dtype="float64")
    if parameters is not None:
        trainer.set_parameters(parameters)
    return trainer


POINTS = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])


def test_loss_curves_show_each_epoch_from_1_on():
    ax = plots.loss_curves(history_of([3.0, 2.0, 1.0]))
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_loss_curves_go_on_counting_where_the_history_does():
    history = history_of([1.0, 0.5])
    history.first_epoch = 10
    assert plots.loss_curves(history).lines[0].get_xdata().tolist() == [11, 12]


def test_loss_curves_leave_epochs_without_validation_out():
    ax = plots.loss_curves(history_of([3.0, 2.0, 1.0], [None, 2.5, 1.5]))
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [np.nan, 2.5, 1.5])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation"]


def test_a_second_history_on_the_same_axes_has_the_next_colour():
    ax = plots.loss_curves(history_of([3.0, 2.0], [3.0, 2.0]), "first")
    assert plots.loss_curves(history_of([1.0, 0.5], [1.0, 0.5]), "second", ax=ax) is ax
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert "second, validation" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_boundary_of_one_output_lies_where_the_output_is_zero():
    # p = x0 + 2 x1 - 1/2
    W, b = np.array([[1.0], [2.0]]), np.array([-0.5])
    for loss in ("binary_cross_entropy", "perceptron", "hinge"):
        ax = plots.decision_boundary(planar([Dense(1)], loss, [(W, b)]), POINTS, [0, 0, 1, 1])
        lines = [each for each in ax.collections if each.get_zorder() == 1]
        vertices = np.vstack([path.vertices for line in lines for path in line.get_paths()])
        assert len(vertices) > 100
        np.testing.assert_allclose(vertices @ W[:, 0], 0.5, atol=1e-9)


def test_each_region_has_the_colour_of_the_points_of_its_class():
    from matplotlib.colors import to_rgb

    # z = (-x0 - x1, x0 - x1, x1): class 2 above, 0 left below, 1 right below.
    W = np.array([[-1.0, 1.0, 0.0], [-1.0, -1.0, 1.0]])
    trainer = planar([Dense(3)], parameters=[(W, np.zeros(3))])
    labels = trainer.predict(POINTS)
    assert labels.tolist() == [0, 1, 2, 2]
    ax = plots.decision_boundary(trainer, POINTS, labels)
    regions = [each for each in ax.collections if each.get_zorder() == 0]
    clouds = [each for each in ax.collections if each.get_zorder() == 2]
    assert len(regions) == len(clouds) == 3
    for index, (region, cloud) in enumerate(zip(regions, clouds, strict=True)):
        assert to_rgb(region.get_facecolor()[0]) == to_rgb(cloud.get_facecolor()[0])
        np.testing.assert_array_equal(cloud.get_offsets(), POINTS[labels == index])
        inside = [
            any(path.contains_point(point) for path in region.get_paths()) for point in POINTS
        ]
        assert inside == (labels == index).tolist()


def test_a_network_that_says_one_class_everywhere_has_no_boundary():
    trainer = planar([Dense(1)], "hinge", [(np.zeros((2, 1)), np.array([-1.0]))])
    ax = plots.decision_boundary(trainer, POINTS, [0, 0, 1, 1])
    assert [each.get_zorder() for each in ax.collections] == [0, 2, 2]


def test_points_that_coincide_are_drawn():
    plots.decision_boundary(planar([Dense(2)]), np.zeros((3, 2)), [0, 1, 1])


def test_weights_are_the_columns_of_the_layer_as_images():
    trainer = Trainer(Network(6, [Dense(5, "relu"), Dense(2)]), target="numpy")
    ax = plots.weights(trainer, shape=(2, 3))
    W = trainer.parameters[0][0]
    mosaic = ax.images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(mosaic[:2, :3], W[:, 0].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[:2, 4:7], W[:, 1].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[-2:, :3], W[:, 3].reshape(2, 3))
    assert np.isnan(mosaic[-2:, 8:]).all()  # there is no sixth unit
    assert [text.get_text() for text in ax.texts] == list("01234")
    assert ax.images[0].norm.vmax == -ax.images[0].norm.vmin == np.abs(W).max()


def test_weights_take_chosen_units_of_a_later_layer():
    trainer = Trainer(Network(6, [Dense(9, "relu"), Dense(7)]), target="numpy")
    ax = plots.weights(trainer, layer=1, units=[6])
    W = trainer.parameters[1][0]
    np.testing.assert_array_equal(ax.images[0].get_array(), W[:, 6].reshape(3, 3))
    assert "1 of 7 units" in ax.get_title()


def test_weights_of_zero_are_drawn():
    plots.weights(Trainer(Network(4, [Dense(2, init="zeros")]), target="numpy"))


def test_the_confusion_matrix_of_words_has_them_at_its_ticks():
    true = np.array(["wine", "beer", "wine", "beer"], object)
    ax = plots.confusion_matrix(true, ["wine", "beer", "beer", "beer"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["beer", "wine"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["beer", "wine"]
    assert [text.get_text() for text in ax.texts] == ["2", "0", "1", "1"]
    assert ax.get_title() == "3 of 4 right"
    truths = plots.confusion_matrix(np.array([True, False]), np.array([True, True]))
    assert [tick.get_text() for tick in truths.get_yticklabels()] == ["False", "True"]


def test_the_confusion_matrix_counts_true_rows_and_predicted_columns():
    ax = plots.confusion_matrix([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0])
    counts = {text.get_position(): text.get_text() for text in ax.texts}
    assert [[counts[column, row] for column in range(3)] for row in range(3)] == [
        ["2", "1", "0"],
        ["0", "1", "0"],
        ["1", "0", "1"],
    ]
    np.testing.assert_allclose(ax.images[0].get_array()[0], [2 / 3, 1 / 3, 0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title() == "4 of 6 right"


def test_a_class_that_is_only_predicted_has_an_empty_row():
    ax = plots.confusion_matrix(np.array([0, 1]), np.array([0, 3]))
    assert ax.images[0].get_array().shape == (4, 4)
    assert not ax.images[0].get_array()[3].any()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "gelu", "silu", "elu"])
def test_the_derivative_drawn_is_that_of_the_activation_drawn(name):
    ax = plots.activation(name, limits=(-3, 3))
    a, derivative = (line for line in ax.lines if len(line.get_xdata()) > 2)
    z = a.get_xdata()
    differences = np.gradient(a.get_ydata(), z)
    smooth = np.abs(z) > 0.01  # elu's second derivative jumps at 0
    np.testing.assert_allclose(derivative.get_ydata()[smooth], differences[smooth], atol=2e-3)


def test_an_activation_is_drawn_with_its_alpha():
    ax = plots.activation("leaky_relu", alpha=0.3)
    a = next(line for line in ax.lines if line.get_label() == "a")
    assert a.get_ydata()[0] == pytest.approx(-1.5)
    assert ax.get_title() == "leaky_relu, alpha = 0.3"


def test_an_activation_of_ones_own_is_drawn_under_its_formula():
    ax = plots.activation(lambda z: tanh(z) * 0.5)
    a, derivative = (line for line in ax.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(a.get_ydata(), np.tanh(a.get_xdata()) / 2, rtol=1e-15)
    np.testing.assert_allclose(
        derivative.get_ydata(), 0.5 - np.tanh(a.get_xdata()) ** 2 / 2, atol=1e-15
    )
    assert ax.get_title() == "lambda z: tanh(z)*0.5"


def test_a_descent_shows_its_path_and_where_other_restarts_ended():
    def two_valleys(x):
        return (x**2 - 1) ** 2 + 0.3 * x

    result = minimize(two_valleys, bounds=(-2, 2), restarts=6, learning_rate=0.02, seed=3)
    ax = plots.descent(result)
    found = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(found["path"].get_xdata(), result.path[:, 0])
    ends = [each.x[0] for index, each in enumerate(result.restarts) if index != result.best]
    assert found["ends of other restarts"].get_xdata().tolist() == ends
    least, most = ax.get_xlim()
    assert least < min(ends) and max(ends) < most


@pytest.mark.parametrize("before", [[LayerNorm()], [BatchNorm(), Dropout(0.1)], [Periodic(2)]])
def test_layers_of_weights_are_counted_among_dense_ones(before, pyplot):
    layers = [*before, Dense(3, "prelu"), LayerNorm(), Dense(2)]
    trainer = Trainer(Network(4, layers), "mse", target="numpy")
    dense = [
        arrays[0]
        for layer, arrays in zip(trainer.network.parametric, trainer.parameters, strict=True)
        if isinstance(layer, Dense)
    ]
    for layer, W in enumerate(dense):
        drawn = plots.weights(trainer, layer, (len(W), 1)).images[0].get_array()
        np.testing.assert_array_equal(drawn[: len(W), 0], W[:, 0])
    with pytest.raises(InvalidInput, match="layer must be 0 to 1, not 2"):
        plots.weights(trainer, 2)


def test_every_picture_takes_axes_and_gives_them_back(pyplot):
    X, y = datasets.xor(40)
    trainer = Trainer(Network(2, [Dense(4, "tanh"), Dense(2)]), optimizer=SGD(0.1), target="numpy")
    history = trainer.fit(X, y, epochs=2)
    result = minimize(lambda x, y: x * x + y * y, start=(1, 1), steps=5)
    drawn = (
        lambda ax: plots.loss_curves(history, ax=ax),
        lambda ax: plots.decision_boundary(trainer, X, y, ax=ax),
        lambda ax: plots.weights(trainer, shape=(1, 2), ax=ax),
        lambda ax: plots.confusion_matrix(y, trainer.predict(X), ax=ax),
        lambda ax: plots.activation("relu", ax=ax),
        lambda ax: plots.descent(result, ax=ax),
    )
    figure, axes = pyplot.subplots(2, 3)
    for draw, ax in zip(drawn, axes.flat, strict=True):
        assert draw(ax) is ax
        assert ax.has_data()
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: plots.loss_curves([1.0]), "not a list"),
        (lambda: plots.loss_curves(History()), "no epoch"),
        (lambda: plots.decision_boundary(small(3, "hinge"), X3, [0, 1]), "2 inputs, not of 3"),
        (lambda: plots.decision_boundary(small(2, "mse"), X3[:, :2], [0, 1]), "'mse'"),
        (lambda: plots.decision_boundary(small(2, "hinge"), X3[:, :2], [0, 5]), "5"),
        (lambda: plots.decision_boundary(small(2, "hinge", 2), X3[:, :2], X3), "not 2"),
        (lambda: plots.weights(small(6, "mse")), "6 inputs, which make no square"),
        (lambda: plots.weights(small(6, "mse"), shape=(2, 2)), "4 pixels"),
        (lambda: plots.weights(small(6, "mse"), shape=6), "not 6"),
        (lambda: plots.weights(small(4, "mse"), layer=1), "0 to 0, not 1"),
        (lambda: plots.weights(small(4, "mse"), units=[1]), r"\[1\]"),
        (lambda: plots.weights(small(4, "mse"), units=[]), r"\[\]"),
        (lambda: plots.confusion_matrix([0, 1], [0]), "2 labels but y_predicted 1"),
        (lambda: plots.confusion_matrix([0.5], [0]), "y_true .* float64"),
        (lambda: plots.confusion_matrix([0], [-2]), "row 0 has -2"),
        (lambda: plots.confusion_matrix([], []), "y_true"),
        (lambda: plots.activation("rellu"), "did you mean 'relu'"),
        (lambda: plots.activation("softmax"), "whole row"),
        (lambda: plots.activation("relu", alpha=1.0), "no alpha"),
        (lambda: plots.activation("relu", limits=(2, 1)), r"\(2, 1\)"),
        (lambda: plots.descent((1, 2)), "not a tuple"),
        (lambda: plots.weights(small(4, "mse"), units=1), "units must be a list"),
        (lambda: plots.confusion_matrix([0, 10**9], [0, 1]), "1000000001 classes"),
        (lambda: plots.confusion_matrix(np.array([2**63], np.uint64), [0]), "classes"),
        (lambda: plots.confusion_matrix([[0], [0, 1]], [0, 1]), "y_true must be labels"),
        (lambda: plots.weights("model"), "weights needs a fastnn.Trainer, not str"),
        (lambda: plots.decision_boundary(None, X3, [0, 1]), "needs a fastnn.Trainer, not None"),
        (lambda: plots.regression_line(Trainer, X3, [0, 1]), "not the class Trainer"),
        (lambda: plots.loss_surface([], X3, [0, 1]), "loss_surface needs a fastnn.Trainer"),
        (lambda: plots.network(small(4, "mse").network), "network needs a fastnn.Trainer"),
        (
            lambda: plots.loss_surface(small(1, "mse"), X3[:, :1], [0, 1], {"a": [[1, 2], [3]]}),
            "path 'a' .* cannot be read as an array",
        ),
        (
            lambda: plots.loss_surface(small(1, "mse"), X3[:, :1], [0, 1], {"a": "ab"}),
            "the batch size of path 'a'",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_figure_is_made(draw, named, pyplot):
    with pytest.raises(InvalidInput, match=named):
        draw()
    assert not pyplot.get_fignums()


X3 = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def small(inputs, loss, units=1):
    return Trainer(Network(inputs, [Dense(units)]), loss, target="numpy")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.loss_curves(history_of([1.0])),
        lambda: plots.decision_boundary(small(2, "hinge"), X3[:, :2], [0, 1]),
        lambda: plots.weights(small(4, "mse")),
        lambda: plots.confusion_matrix([0], [0]),
        lambda: plots.activation("relu"),
        lambda: plots.descent(minimize(lambda x: x * x, start=1, steps=1)),
    ],
)
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[plots\]"'):
        draw()


def test_no_module_has_a_name_that_seems_to_be_a_function():
    modules = {path.stem for path in Path(plots.__file__).parent.glob("*.py")}
    assert not modules & {*plots.__all__, "confusion", "plot", "loss", "history"}
