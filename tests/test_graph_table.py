"""Tables and drawings of graphs."""

import sys

import numpy as np
import pytest

from fastnn import InvalidInput, MissingExtra
from fastnn.graph import exp, maximum, sigmoid, trace, variables, where

a, b, c = variables("a b c")
NOTES = """\
node  operation  value  gradient
a     variable       5         3
b     variable       3         6
c     variable       2         9
u     b*c            6         3
v     a + u         11         3
J     3*v           33         1"""


def notes():
    u = (b * c).named("u")
    v = (a + u).named("v")
    return (3 * v).named("J")


def test_the_table_of_the_course_notes():
    assert repr(notes().table(a=5, b=3, c=2)) == NOTES


def test_every_node_has_its_value_and_the_gradient_by_it():
    table = (exp(a * b) / (1 + exp(a * b))).table(a=0.5, b=2)
    assert [row.name for row in table] == ["a", "b", "v1", "v2", "v3", "v4"]
    assert [row.operation for row in table][2:] == ["a*b", "exp(v1)", "1 + v2", "v2/v3"]
    e = np.e
    expected = {
        "v4": (e / (1 + e), 1),
        "v3": (1 + e, -e / (1 + e) ** 2),
        "v2": (e, 1 / (1 + e) ** 2),
        "v1": (1, e / (1 + e) ** 2),
        "a": (0.5, 2 * e / (1 + e) ** 2),
        "b": (2, 0.5 * e / (1 + e) ** 2),
    }
    for name, (value, gradient) in expected.items():
        assert table[name].value == pytest.approx(value, rel=1e-14)
        assert table[name].gradient == pytest.approx(gradient, rel=1e-13)
    assert table["v4"].arguments == ("v2", "v3")


def test_the_gradient_of_a_node_is_how_the_result_changes_with_it():
    rest = trace(lambda v, c: v * c + sigmoid(v), "v c")
    u = (a + b**2).named("u")
    whole = u * c + sigmoid(u)
    expected = rest.gradient(v=0.3 + 0.7**2, c=2)["v"]
    assert whole.table(a=0.3, b=0.7, c=2)["u"].gradient == pytest.approx(expected, rel=1e-14)


def test_conditions_stand_in_the_row_that_uses_them():
    table = where(a + b > 1, a * b, 0).table(a=1, b=2)
    assert [row.operation for row in table][2:] == ["a + b", "a*b", "where(v1 > 1, v2, 0)"]
    assert table["v3"].arguments == ("v1", "v2")
    assert table["v1"].gradient == 0


def test_names_given_by_number_avoid_names_that_exist():
    (v1,) = variables("v1")
    table = (2 * v1 + (3 * v1).named("v2")).table(v1=1)
    assert [row.name for row in table] == ["v1", "v3", "v2", "v4"]


def test_two_nodes_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match="two nodes have the name 'u'"):
        ((2 * a).named("u") + (3 * a).named("u")).table(a=1)


def test_an_unknown_row_names_the_known_ones():
    with pytest.raises(InvalidInput, match="unknown node 'w'.*Known: a, b, c, u, v, J"):
        notes().table(a=5, b=3, c=2)["w"]


def test_arrays_are_shown_by_their_shape():
    table = (2 * a).table(a=np.arange(3.0))
    assert repr(table).splitlines()[-1].split() == ["v1", "2*a", "array", "(3,)", "array", "(3,)"]
    assert table[-1].value.tolist() == [0, 2, 4]
    assert len(table) == 2


def test_a_constant_and_a_variable_have_tables_too():
    assert len(a.table(a=3)) == 1
    assert a.table(a=3)["a"].gradient == 1
    constant = (2 * a).derivative("a").table(a=3)
    assert [(row.operation, row.value) for row in constant] == [("2", 2)]


def test_a_table_of_thousands_of_rows_is_made():
    formula = a
    for _ in range(3000):
        formula = formula + 1
    assert len(formula.table(a=0)) == 3001


def test_a_drawing_shows_every_node_with_value_and_gradient(pyplot):
    ax = notes().draw(a=5, b=3, c=2)
    ax.figure.canvas.draw()
    shown = [text.get_text() for text in ax.texts]
    for row in notes().table(a=5, b=3, c=2):
        name = row.name if row.operation == "variable" else f"{row.name} = {row.operation}"
        assert name in shown
        assert f"value {row.value:g}" in shown
        assert f"gradient {row.gradient:g}" in shown
    assert len(shown) == 3 * 6
    ways = [arrow.get_gid() for arrow in ax.patches]
    assert (ways.count("forward"), ways.count("backward")) == (5, 5)


LONG = sigmoid(a * b + exp(c)) * a + where(c > a, b * b, exp(sigmoid(b)) - c) * a + b


@pytest.mark.parametrize("formula", [notes(), LONG, maximum(a * b, c) - sigmoid(a * b + exp(c))])
@pytest.mark.parametrize("panel", [False, True])
def test_no_arrow_runs_through_a_box(formula, panel, pyplot):
    axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")[1][0] if panel else None
    ax = formula.draw(a=1.25, b=-2, c=3e-7, ax=axes)
    ax.figure.canvas.draw()
    boxes = {
        text.get_text().partition(" =")[0]: text.get_bbox_patch().get_window_extent()
        for text in ax.texts
        if not text.get_text().startswith(("value", "gradient"))
    }
    table = formula.table(a=1.25, b=-2, c=3e-7)
    assert boxes.keys() == {row.name for row in table}
    edges = [(name, row.name) for row in table for name in row.arguments]
    arrows = [(arrow.patchA, arrow.patchB, arrow) for arrow in ax.patches]
    assert len(arrows) == 2 * len(edges)
    for start, end, arrow in arrows:
        path = ax.transData.transform_path(arrow.get_path())
        points = np.vstack(path.to_polygons(closed_only=False))
        places = np.vstack(
            [np.linspace(p, q, 20) for p, q in zip(points, points[1:], strict=False)]
        )
        ends = start.get_window_extent(), end.get_window_extent()
        for box in boxes.values():
            inside = (box.x0 < places[:, 0]) & (places[:, 0] < box.x1)
            inside &= (box.y0 < places[:, 1]) & (places[:, 1] < box.y1)
            assert not inside.any()
        # Forward to the right, back to the left, and each touches the boxes that it joins.
        forward = arrow.get_gid() == "forward"
        assert (ends[0].x1 < ends[1].x0) == forward
        left, right = ends if forward else ends[::-1]
        for side, x in (left.x1, places[:, 0].min()), (right.x0, places[:, 0].max()):
            assert abs(side - x) < 0.05 * ax.figure.dpi


def test_a_drawing_in_a_small_panel_fits_into_it(pyplot):
    ax = pyplot.subplots(1, 2, figsize=(7, 3))[1][1]
    LONG.draw(a=1, b=2, c=3, ax=ax).figure.canvas.draw()
    panel = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert panel.x0 - 2 < box.x0 and box.x1 < panel.x1 + 2
        assert panel.y0 - 2 < box.y0 and box.y1 < panel.y1 + 2


def test_a_drawing_goes_from_left_to_right(pyplot):
    J = maximum(a * b, c) - sigmoid(a * b + exp(c))
    ax = J.draw(a=1, b=2, c=3)
    across = {text.get_text().partition(" =")[0]: text.get_position()[0] for text in ax.texts}
    for row in J.table(a=1, b=2, c=3):
        for argument in row.arguments:
            assert across[argument] < across[row.name]
    places = [text.get_position() for text in ax.texts if " = " in text.get_text()]
    assert len(set(places)) == len(places)


def test_a_drawing_uses_the_axes_given(pyplot):
    ax = pyplot.subplots()[1]
    assert (2 * a).draw(a=1, ax=ax) is ax


def test_drawings_that_cannot_be_read_are_refused(pyplot):
    with pytest.raises(InvalidInput, match="draw shows numbers, but a is an array"):
        (2 * a).draw(a=[1, 2])
    formula = a
    for _ in range(100):
        formula = formula + 1
    with pytest.raises(InvalidInput, match="a picture of 101 nodes cannot be read"):
        formula.draw(a=1)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import of it fails
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[plots\]"'):
        (2 * a).draw(a=1)
