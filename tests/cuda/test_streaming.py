"""Data streamed to the device in chunks. Runs in Numba's simulator too.

What the simulator cannot show: copies and kernels that overlap, and events that hold them apart.
"""

import numpy as np
import pytest
from data_cases import FORMS, LABELS, LOSSES, X, checked, data_of, problem_for, to_device

from fastnn.errors import DeviceFailure

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install fastnn[cuda]")
pytestmark = pytest.mark.usefixtures("running")


def test_no_room_for_two_batches_is_an_error_with_the_bytes():
    from fastnn.targets.cuda.host.numba_cuda import cuda
    from fastnn.targets.cuda.host.streaming import Streamed

    problem = problem_for(dtype="float64")
    data = checked(problem, X, LABELS)
    with pytest.raises(DeviceFailure, match=r"two batches of 8 rows.*need 640 bytes, 600 of"):
        Streamed(data, problem, cuda.stream(), free_bytes=600)
    assert Streamed(data, problem, cuda.stream(), free_bytes=640).chunk_rows == 8


def trained(problem, data, chunk_rows, family="block"):
    """Return state and results after two epochs, with all rows on the device or some at a time."""
    from fastnn.random.keys import random_key
    from fastnn.random.row_orders import epoch_order
    from fastnn.targets.cuda.dispatch import choose_family
    from fastnn.targets.cuda.host.arguments import Job
    from fastnn.targets.cuda.host.data import place
    from fastnn.targets.cuda.host.numba_cuda import cuda, limits
    from fastnn.targets.cuda.host.scalars import step_table, weigh_steps
    from fastnn.targets.cuda.host.streaming import Streamed
    from fastnn.targets.fields import WEIGHTED

    rule, n, stream = problem.optimizer.rule, len(data), cuda.stream()
    family = choose_family(problem, rule, limits(), family)
    plan = family.plan(n)
    plan.words[0, WEIGHTED] = data.weighting
    orders = np.stack([epoch_order(problem.seed, epoch, n) for epoch in range(2)])
    each = -(-n // problem.batch_size)
    tables = [
        step_table(problem, rule, np.full(each, 0.1), e * each, n, data.mean_weight)
        for e in range(len(orders))
    ]
    if data.row_weights is not None:
        for table, order in zip(tables, orders, strict=True):
            weigh_steps(table, problem.batch_size, order, data.row_weights)
    uses = range(2 * len(problem.network.dense))
    keys = [[random_key(problem.seed, epoch, use) | 1 for use in uses] for epoch in range(2)]
    start = np.random.default_rng(1).normal(0, 0.3, (1, plan.state_size)).astype(problem.dtype)
    state, results = to_device(start), to_device(np.zeros((2, 2)))

    def run(rows, order, begin, end):
        job = Job(
            state, to_device(np.zeros((1, plan.scratch_size), problem.dtype)),
            to_device(plan.words), to_device(plan.numbers), to_device(np.concatenate(tables)),
            to_device(np.array(keys, np.uint64)), *rows, to_device(order.astype(np.int32)),
            results, to_device(np.full(1, -1)),
        )  # fmt: skip
        family.train(job, plan, begin, end, stream)

    if chunk_rows is None:
        run(place(data, problem, stream), orders, 0, 2 * each)
    else:
        streamed = Streamed(data, problem, stream, chunk_rows)
        seen = []
        for chunk in streamed.chunks(orders):
            run(chunk.placed, streamed.positions(2), chunk.begin, chunk.end)
            seen.append((chunk.begin, chunk.end))
            assert chunk.placed is streamed.placed[(len(seen) - 1) % 2]
        assert [begin for begin, _ in seen] == [0, *(end for _, end in seen[:-1])]
        assert seen[-1][1] == 2 * each
        assert len(seen) == 2 * -(-n // streamed.chunk_rows)
        streamed.close()
    return state.copy_to_host(), results.copy_to_host()


@pytest.mark.parametrize("chunk_rows", [1, 8, 20, 1000])
@pytest.mark.parametrize(
    ("family", "kind"), [*(("block", kind) for kind in LOSSES), ("tiled", "classes")]
)
def test_training_in_chunks_gives_the_same_numbers(family, kind, chunk_rows):
    problem = problem_for(kind)
    data = data_of(problem, 37, weighted={"real": True, "binary": "targets"}.get(kind, False))
    expected = trained(problem, data, None, family)
    for mine, its in zip(trained(problem, data, chunk_rows, family), expected, strict=True):
        assert np.array_equal(mine, its)
        assert np.isfinite(mine).all()


def test_chunks_may_be_left_and_begun_again():
    from fastnn.targets.cuda.host.numba_cuda import cuda
    from fastnn.targets.cuda.host.streaming import Streamed

    problem = problem_for()
    data = data_of(problem, 37)
    streamed = Streamed(data, problem, cuda.stream(), 8)
    orders = np.arange(37)[::-1][None]
    next(streamed.chunks(orders))
    for chunk in streamed.chunks(orders):
        rows = orders[0, chunk.begin * 8 : chunk.end * 8]
        found = chunk.placed.X.copy_to_host()[: len(rows)]
        np.testing.assert_array_equal(found, data.X[rows])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_of_any_form_are_gathered(form):
    from fastnn.targets.cuda.host.streaming import gather

    rows, source = np.array([3, 0, 10, 3]), form(X)
    out = np.empty((4, 3), np.float32)
    gather(source, rows, out)
    np.testing.assert_array_equal(out, source[rows].astype(np.float32))


def test_rows_are_gathered_from_a_memory_map(tmp_path):
    from fastnn.targets.cuda.host.numba_cuda import cuda
    from fastnn.targets.cuda.host.streaming import Streamed

    np.save(tmp_path / "X.npy", X)
    problem = problem_for()
    data = checked(problem, np.load(tmp_path / "X.npy", mmap_mode="r"), LABELS)
    streamed = Streamed(data, problem, cuda.stream(), 8)
    first = next(streamed.chunks(np.arange(11)[None]))
    np.testing.assert_array_equal(first.placed.X.copy_to_host(), X[:8])
