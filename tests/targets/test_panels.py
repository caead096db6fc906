"""The panels that a matrix is stored in, and the tiles that its update is cut into."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_cases import OPTIMIZERS, problem_of

from fastnn.network import Dense, Dropout
from fastnn.rules.table import UPDATES
from fastnn.targets.cpu.plan import make_plan
from fastnn.targets.cpu.tiling import END_PANEL, FORWARD, KIND
from fastnn.targets.layout import Layout

LAYOUTS = [Layout(1, 1), Layout(4, 8), Layout(8, 16), Layout(16, 32), Layout(2, 4)]


def place_of(layout, rows, columns, i, j):
    """Return where element (i, j) of a (rows, columns) matrix is, straight from the definition."""
    first = j // layout.panel * layout.panel
    width = layout.lanes if columns - first <= layout.lanes else layout.panel
    return first * rows + i * width + j - first


@given(
    layout=st.sampled_from(LAYOUTS),
    rows=st.integers(1, 40),
    columns=st.integers(1, 70),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_split_puts_every_number_where_the_definition_says_and_zeros_elsewhere(
    layout, rows, columns, dtype
):
    matrix = np.arange(1, rows * columns + 1, dtype=dtype).reshape(rows, columns)
    size = rows * layout.padded(columns)
    flat = np.full(size + 5, np.nan, dtype)
    layout.split(matrix, flat)
    assert np.isnan(flat[size:]).all()
    expected = np.zeros(size, dtype)
    for i, j in np.ndindex(matrix.shape):
        expected[place_of(layout, rows, columns, i, j)] = matrix[i, j]
    assert np.array_equal(flat[:size], expected)
    back = np.empty_like(matrix)
    layout.join(flat, back)
    assert np.array_equal(back, matrix)


@pytest.mark.parametrize(
    ("columns", "padded", "panels"),
    [(1, 4, 1), (4, 4, 1), (5, 8, 1), (8, 8, 1), (9, 12, 2), (12, 12, 2), (13, 16, 2)],
)
def test_a_last_panel_of_at_most_one_vector_is_one_vector_wide(columns, padded, panels):
    assert Layout(4, 8).padded(columns) == padded
    assert Layout(4, 8).panels(columns) == panels


@pytest.mark.parametrize("matrix", [np.asfortranarray, lambda a: a[::-1].copy()[::-1]])
def test_split_takes_matrices_of_any_strides(matrix):
    layout, plain = Layout(4, 8), np.random.default_rng(0).normal(size=(5, 21))
    flats = np.zeros((2, 5 * layout.padded(21)))
    layout.split(plain, flats[0])
    layout.split(matrix(plain), flats[1])
    assert np.array_equal(flats[0], flats[1])


@pytest.mark.parametrize(
    ("columns", "begun"), [(1, 1), (8, 1), (9, 1), (12, 1), (13, 2), (16, 2), (17, 2), (21, 3)]
)
def test_a_narrow_last_panel_begins_no_tile_but_alone(columns, begun):
    assert Layout(4, 8).begun(columns) == begun


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
@pytest.mark.parametrize("panels", [1, 2, 3, 6, 17])
def test_a_narrow_last_panel_is_multiplied_with_the_one_before(threads, layout, panels):
    """On any number of threads, forward and in the update: alone it costs more than its share."""
    units = panels * layout.panel + 1
    problem = problem_of(100_000, [Dense(units), Dense(2)], dtype="float32")
    plan = make_plan(problem, 100, layout, threads)
    begins = plan.tiles[plan.tiles[:, 0] == 0, 3]
    assert begins.max() < panels
    (forward,) = plan.phases[plan.phases[:, KIND] == FORWARD]
    assert forward[END_PANEL] == panels


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
@pytest.mark.parametrize(
    ("inputs", "units"), [(1, [1]), (33, [17, 65, 7]), (97, [131, 2]), (300, [301, 513, 10])]
)
def test_the_tiles_of_an_update_hold_every_weight_once(threads, layout, inputs, units):
    problem = problem_of(inputs, [Dense(n, "relu") for n in units], dtype="float32")
    plan = make_plan(problem, 100, layout, threads)
    held = Counter()
    for layer, first, last, p0, p1 in plan.tiles.tolist():
        assert first % layout.panel == 0
        for panel in range(p0, p1):
            held.update((layer, i, panel) for i in range(first, last))
    assert set(held.values()) == {1}
    assert set(held) == {
        (layer, i, panel)
        for layer, (k, n) in enumerate(problem.network.shapes)
        for i in range(k)
        for panel in range(layout.panels(n))
    }
    assert plan.owners[0] == 0 and plan.owners[-1] == len(plan.tiles)
    assert len(plan.owners) == threads + 1 and (np.diff(plan.owners) >= 0).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_parameters_and_state_come_first_and_where_the_plan_says(threads, rule):
    layers = [Dense(17, "relu"), Dropout(0.5), Dense(5)]
    problem = problem_of(9, layers, optimizer=OPTIMIZERS[rule], dtype="float32")
    plan = make_plan(problem, 100, Layout(4, 8), threads)
    memory = np.zeros(plan.memory_size, np.float32)
    copies = 1 + UPDATES[problem.optimizer.rule].slots
    for copy in range(copies):
        for layer, (k, n) in enumerate(problem.network.shapes):
            assert not plan.read_weights(memory, layer, copy).any()  # none share a number
            plan.write_weights(memory, layer, np.ones((k + 1, n), np.float32), copy)
            assert plan.read_weights(memory, layer, copy).all()
    assert np.count_nonzero(memory) == copies * sum((k + 1) * n for k, n in problem.network.shapes)
    end = int(np.flatnonzero(memory)[-1])
    assert end < memory.size // 2


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_weights_of_few_outputs_come_back_as_they_were(outputs):
    problem = problem_of(20, [Dense(outputs)], dtype="float32")
    plan = make_plan(problem, 100, Layout(4, 8), 1)
    memory = np.zeros(plan.memory_size, np.float32)
    weights = np.arange(21 * outputs, dtype=np.float32).reshape(21, outputs)
    plan.write_weights(memory, 0, weights)
    assert (plan.read_weights(memory, 0) == weights).all()
