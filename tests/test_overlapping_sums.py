"""Parts of the gradient that are summed over processes while others are computed."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from test_ranks import SETTINGS, X, Y, errors, maker, numbers, trained
from test_ranks import WEIGHTS as SAMPLE_WEIGHTS
from threaded_ranks import IN_PLACE, Ranks, run_ranks

from fastnn import Adam, Dense, LayerNorm, Network, Trainer
from fastnn.errors import Diverged, RankFailed
from fastnn.ranks.group import Group
from fastnn.ranks.watch import count_neighbours
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets.cpu import known_plans, parts, thread_count
from fastnn.targets.cpu.plan import make_plan
from fastnn.targets.cpu.sums import Sums
from fastnn.targets.cpu.tiling import (
    BACKWARD,
    BEGINS,
    END_PANEL,
    FIRST_PANEL,
    KIND,
    LAYER,
    NEEDS,
    UPDATE_TILES,
)
from fastnn.targets.fields import SIZE, WEIGHTS
from fastnn.targets.layout import Layout

# Layers that go back in phases of their own, of each kind that the gradient is cut at.
DEEP = Network(
    20,
    [
        Dense(300, "tanh"),
        Dense(280, "prelu"),
        LayerNorm(),
        Dense(260, "relu", max_norm=1.0),
        Dense(2),
    ],
)
CASES = SETTINGS | {
    "deep": (DEEP, {"optimizer": Adam(0.001), "threads": 3}),
    "deep with limits": (DEEP, {"clip_norm": 0.5, "clip_value": 0.1, "l2": 0.01}),
}


@pytest.fixture
def cut(monkeypatch):
    """Have small gradients cut, and summed by a thread of their own or where they are begun."""

    def into(part_bytes, overlapping):
        monkeypatch.setattr(parts, "PART_BYTES", part_bytes)
        monkeypatch.setattr(known_plans, "_KNOWN", {})  # which have been cut otherwise
        monkeypatch.setattr(Group, "has_spare_processor", lambda group, threads: overlapping)

    return into


@pytest.mark.parametrize("name", CASES)
def test_sums_of_parts_are_the_bits_of_one_sum(name, cut):
    network, settings = CASES[name]
    make, runs = maker(network, "cpu", **settings), {}
    for part_bytes, overlapping in ((1 << 30, False), (256, False), (256, True)):
        cut(part_bytes, overlapping)
        ranks = trained(3, make, lambda t, _: t.fit(X, Y, 2, sample_weight=SAMPLE_WEIGHTS))
        count = len(ranks[0]._open()._working.plan.parts)
        assert count == 1 if part_bytes > 256 else count > 1 or name == "one output"
        runs[part_bytes, overlapping] = {numbers(each).tobytes() for each in ranks}
    first, *others = runs.values()
    assert len(first) == 1 and all(each == first for each in others)


def test_a_sum_goes_on_while_what_comes_after_it_is_computed(cut, monkeypatch):
    """That of a step's first part ends only when the second part has been begun."""
    cut(256, True)
    begun, whole = threading.Semaphore(0), Sums._sum

    def telling(sums, begins, needs):
        if begins == 1:
            begun.release()
        return whole(sums, begins, needs)

    class Slow(Ranks):
        first = True

        def Allreduce(self, send, buffer):
            if self.first:
                assert begun.acquire(timeout=20.0), "nothing was computed meanwhile"
            self.first = False
            super().Allreduce(send, buffer)

    monkeypatch.setattr(Sums, "_sum", telling)
    make = maker(DEEP, "cpu", batch_size=101)
    found = run_ranks(2, lambda ranks: make(Slow(ranks._together, ranks._rank)).fit(X, Y, 1))
    assert not any(isinstance(each, BaseException) for each in found)
    assert not [each for each in threading.enumerate() if each.name == "fastnn-sums"]


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("call", [1, 2, 9, 10, 11, 29])
def test_a_rank_that_fails_in_any_part_of_a_step_ends_all(call, overlapping, cut):
    """Also in the last one of the epoch, after which others have done it."""
    cut(256, overlapping)
    trainers = [None] * 3

    def fit(trainer, ranks):
        trainers[ranks.Get_rank()] = trainer
        add_up, calls = trainer._group.add_up, []

        def interrupted(*given):
            calls.append(given)
            if len(calls) == call and ranks.Get_rank() == 1:
                raise MemoryError("no more")
            return add_up(*given)

        trainer._group.add_up = interrupted
        trainer.fit(X, Y, 1)

    first, second, third = errors(3, maker(DEEP, "cpu"), fit)
    assert type(second) is MemoryError
    assert [type(each) for each in (first, third)] == [RankFailed] * 2
    assert "MemoryError: no more" in str(first)
    assert len({numbers(each).tobytes() for each in trainers}) == 1
    assert {each.epoch for each in trainers} == {0}


@pytest.mark.parametrize("overlapping", [False, True])
def test_divergence_is_known_with_the_first_part(overlapping, cut):
    cut(256, overlapping)
    rows = np.ones((60, 3))
    rows[40:] = 1e200

    def fit(trainer, ranks):
        trainer.fit(rows[30 * ranks.Get_rank() :][:30], np.ones(30), 3, rows="own")

    make = maker(Network(3, [Dense(300), Dense(1)]), "cpu", loss="mse", batch_size=6)
    found = errors(2, make, fit)
    assert {type(each) for each in found} <= {Diverged} | set(Diverged.__subclasses__())
    assert len({(each.epoch, each.step) for each in found}) == 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("layout", [Layout(4, 8), Layout(16, 32)], ids=str)
@pytest.mark.parametrize("units", [[300, 301, 2], [1000, 10], [17, 513, 257, 9], [3, 700]], ids=str)
def test_parts_are_runs_of_the_gradient_whose_tiles_hold_it_once(threads, layout, units, cut):
    cut(5_000, True)
    problem = Trainer(Network(100, [Dense(n) for n in units])).problem
    plan = make_plan(problem, 64, layout, threads, shared=True, summed=3)
    alone = make_plan(problem, 64, layout, threads, shared=True, summed=1)
    assert len(alone.parts) == 1 < len(plan.parts) <= parts.MOST_PARTS
    starts = [part.start for part in plan.parts]
    ends = [int(plan.head[SIZE]), *starts]
    assert starts[-1] == alone.parts[0].start == 0 and all(np.diff(ends) < 0)
    held = set()
    for number, part in enumerate(plan.parts):
        own = plan.owners[[number * threads, (number + 1) * threads]]
        for layer, first, last, p0, p1 in plan.tiles[slice(*own)].tolist():
            k, n = problem.network.shapes[layer]
            for p in range(p0, p1):
                place = plan.layers[layer, WEIGHTS] + p * layout.panel * (k + 1)
                assert part.start <= place < ends[number]
                inputs = range(first, last, layout.panel)
                assert held.isdisjoint((layer, i, p) for i in inputs)
                held.update((layer, i, p) for i in inputs)
    assert len(held) == sum(layout.panels(k) * layout.panels(n) for k, n in problem.network.shapes)
    # Each is begun once its layers' derivatives are there, and waited for once.
    kinds = plan.phases[:, KIND].tolist()
    updates = [row for row, kind in enumerate(kinds) if kind == UPDATE_TILES]
    assert plan.phases[updates, BEGINS].tolist() == list(range(len(plan.parts)))
    needs = plan.phases[:, NEEDS]
    assert needs[needs >= 0].tolist() == list(range(len(plan.parts)))
    for row in updates:
        lowest, first, _ = plan.parts[plan.phases[row, LAYER]].pieces[-1]
        later = plan.phases[row:][plan.phases[row:, KIND] == BACKWARD]
        assert all(
            lowest >= each[LAYER] or (lowest == each[LAYER] - 1 and first >= each[END_PANEL])
            for each in later
        )
    # Derivatives by all inputs of a layer come once.
    back = plan.phases[plan.phases[:, KIND] == BACKWARD]
    for layer in np.unique(back[:, LAYER]):
        runs = back[back[:, LAYER] == layer][::-1, [FIRST_PANEL, END_PANEL]].ravel().tolist()
        panels = layout.panels(problem.network.shapes[layer][0])
        assert runs[0] == 0 and runs[1:-1:2] == runs[2::2] and runs[-1] == panels


def test_columns_of_a_layer_get_derivatives_and_gradient_before_the_next_ones(cut):
    """So that a sum is begun as often as that of a layer behind it, not all after one another."""
    cut(5_000, True)
    problem = Trainer(Network(100, [Dense(256), Dense(256), Dense(3)])).problem
    plan = make_plan(problem, 64, Layout(4, 8), 2, shared=True, summed=3)
    kinds = plan.phases[:, KIND].tolist()
    back = [row for row, kind in enumerate(kinds) if kind == BACKWARD]
    assert len(back) > 2
    assert all(kinds[row + 1] == UPDATE_TILES for row in back)


def test_memory_is_kept_from_epoch_to_epoch(cut):
    cut(256, True)
    memories = []

    def fit(trainer, ranks):
        def note(trainer, _):
            memories.append(id(trainer._open()._working))

        trainer.fit(X, Y, 3, callbacks=note if ranks.Get_rank() == 0 else None)

    trained(2, maker(DEEP, "cpu", threads=2), fit)
    assert len(memories) == 3 and len(set(memories)) == 1


def test_frozen_first_layers_are_not_sent(cut):
    cut(1 << 30, False)
    layers = [Dense(64, "relu", trainable=False), Dense(8)]
    plan = make_plan(
        Trainer(Network(100, layers)).problem, 64, Layout(4, 8), 1, shared=True, summed=2
    )
    assert [part.start for part in plan.parts] == [plan.layers[1, WEIGHTS]]


def test_neighbours_are_the_processes_whose_processors_overlap():
    def process(machine, pid, *on):
        return (machine, "space", pid, "began"), frozenset(on)

    every = [process("a", 1, 0, 1), process("a", 2, 1, 2), process("a", 3, 2), process("b", 1, 0)]
    assert [count_neighbours(every, rank, 4) for rank in range(4)] == [2, 3, 2, 1]
    assert count_neighbours([process("a", 1, 0)] * 3, 1, 3) == 1  # threads of one process
    assert count_neighbours([(None, frozenset())] * 3, 0, 3) == 3


@pytest.mark.parametrize(
    ("level", "available", "neighbours", "threads", "spare"),
    [(3, 2, 1, 1, True), (2, 9, 1, 1, False), (3, 3, 2, 1, False), (3, 4, 1, 4, False)],
)
def test_a_sum_has_its_own_thread_where_mpi_and_processors_allow(
    level, available, neighbours, threads, spare, monkeypatch
):
    monkeypatch.setattr("fastnn.ranks.group.available_threads", lambda: available)
    module = SimpleNamespace(
        IN_PLACE=IN_PLACE, THREAD_SERIALIZED=2, THREAD_MULTIPLE=3, Query_thread=lambda: level
    )
    monkeypatch.setitem(sys.modules, "an_mpi", module)

    class Communicator(Ranks):
        __module__ = "an_mpi"

    (group,) = run_ranks(1, lambda ranks: Group(Communicator(ranks._together, 0)))
    group.neighbours = neighbours
    assert group.has_spare_processor(threads) is spare


@pytest.mark.skipif(DISABLE_JIT, reason="one thread alone")
def test_one_of_many_processors_is_left_for_sums(monkeypatch):
    for available, expected in ((4, 4), (8, 7), (64, 63)):
        monkeypatch.setattr(thread_count, "available_threads", lambda found=available: found)
        assert thread_count.choose_threads(1e12) == available
        assert thread_count.choose_threads(1e12, sums=True) == expected
