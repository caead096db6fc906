"""How two threads share the tiles of an epoch, whatever one does between two steps of the other.

The functions that share them are taken from their sources and turned into generators, which hand on
after each access to a word that both may change. So any interleaving can be played, by chance, in
one thread. Tiles do nothing but last.
"""

import ast
import inspect
import random
from collections import Counter

import numpy as np
import pytest
from test_early import BEGUN, LAYOUTS, NOT_BEGUN, case

from fastnn.targets.cpu import arguments, team
from fastnn.targets.cpu.plan import MIDDLE, PHASES, STEPS, make_plan
from fastnn.targets.cpu.step import epoch
from fastnn.targets.cpu.tiling import UPDATE_TILES
from fastnn.targets.fields import BATCH, SAMPLES

FUNCTIONS = {
    "tiles_in", "end_of_own", "claim", "close_early", "open_phase", "may_begin_early",
    "claim_early", "begin_early", "together",
}  # fmt: skip
WAITING = FUNCTIONS - {"tiles_in", "end_of_own"} | {
    "do_tile", "rest", "atomic_add", "atomic_load", "atomic_store",
}  # fmt: skip


class _Generators(ast.NodeTransformer):
    """Turns functions into generators."""

    def visit_Call(self, node):
        self.generic_visit(node)
        named = isinstance(node.func, ast.Name) and node.func.id in WAITING
        return ast.YieldFrom(value=node) if named else node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.decorator_list = []
        return node


def _source():
    found = [
        _Generators().visit(node)
        for module in (team, epoch)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS
    ]
    assert {node.name for node in found} == FUNCTIONS
    module = ast.Module(body=found, type_ignores=[])
    return compile(ast.fix_missing_locations(module), "interleaved", "exec")


SOURCE = _source()


def _load(words, at):
    yield
    return int(words[at])


def _store(words, at, value):
    yield
    words[at] = value


def _add(words, at, value):
    yield
    before = int(words[at])
    words[at] = before + value
    return before


class Epoch:
    """An epoch of two threads, whose tiles are checked as they begin."""

    def __init__(self, plan, layout, chance):
        control = np.zeros(arguments.TICKETS + 6 * arguments.LINE, np.int64)
        control[arguments.BAD_STEP] = -1
        control[arguments.TICKETS :: arguments.LINE] = arguments.NOT_OPEN
        self.plan, self.chance, self.early = plan, chance, 0
        self.running, self.done = {}, set()
        self.lasting = chance.choice([[1, 2, 3], [5, 10], [1, 40], [20]])
        names = vars(team) | vars(epoch)
        for name in ("head", "layers", "phases", "owners", "tiles"):
            names[f"{name}_of"] = lambda job, name=name: getattr(job, name)
        names |= {
            "control_of": lambda job: control,
            "panels_of": layout.panels,
            "rows_of": lambda job, step: min(
                job.head[BATCH], job.head[SAMPLES] - step * job.head[BATCH]
            ),
            "begin_step": lambda *arguments: None,
            "end_phase": lambda *arguments: True,
            "rest": lambda looks: iter([None]),
            "atomic_add": _add,
            "atomic_load": _load,
            "atomic_store": _store,
            "do_tile": self.do_tile,
        }
        exec(SOURCE, names)
        self.names, self.control = names, control

    def tiles(self, number):
        """Return how many tiles a phase has."""
        step, p = divmod(number, int(self.plan.head[PHASES]))
        rows = self.names["rows_of"](self.plan, step)
        return int(self.names["tiles_in"](self.plan, p, rows))

    def owner(self, tile):
        """Return whose columns of the first layer a tile of the update has; None: of another."""
        layer, _, _, panel, _ = self.plan.tiles[tile].tolist()
        return int(panel >= self.plan.head[MIDDLE]) if layer == 0 else None

    def do_tile(self, job, step, p, samples, tile, me):
        """Check that a tile may be begun, and let it last."""
        number = step * int(job.head[PHASES]) + p
        assert 0 <= tile < self.tiles(number)
        assert (number, tile) not in self.done and (number, tile) not in self.running
        if number > 0:
            before = {(number - 1, each) for each in range(self.tiles(number - 1))}
            left = before - self.done
            self.early += bool(left)
            # What is left of the step before is the other thread's own columns.
            assert not left or p == 0
            assert {self.owner(each) for _, each in left} <= {1 - me}
        for later, _ in [each for each in self.running if each[0] > number]:
            assert later == number + 1 and job.phases[p, 0] == UPDATE_TILES
            assert self.owner(tile) == me
        self.running[number, tile] = me
        for _ in range(self.chance.choice(self.lasting)):
            yield
        del self.running[number, tile]
        self.done.add((number, tile))

    def play(self):
        """Let the threads take turns by chance until both have ended."""
        threads = [self.names["together"](self.plan, me, 2) for me in range(2)]
        often, now, steps = self.chance.choice([0.01, 0.05, 0.2, 0.5]), 0, 0
        while threads:
            steps += 1
            assert steps < 400_000, "no thread comes to an end"
            if self.chance.random() < often:
                now = self.chance.randrange(2)
            try:
                next(threads[now % len(threads)])
            except StopIteration:
                threads.pop(now % len(threads))
        self.check_end()

    def play_with_a_stop(self, stopped, at, length):
        """Let the threads take turns, but for one that is stopped at a step for a while.

        Return whether it had so many.
        """
        threads = {me: self.names["together"](self.plan, me, 2) for me in range(2)}
        made, waits, had = Counter(), 0, False
        while threads:
            assert made.total() < 100_000, "no thread comes to an end"
            for me in [*threads]:
                if me == stopped and made[me] >= at and waits < length and len(threads) == 2:
                    had, waits = True, waits + 1
                    continue
                made[me] += 1
                if next(threads[me], "end") == "end":
                    del threads[me]
        self.check_end()
        return had

    def check_end(self):
        """Check that all is done that there was to do."""
        count = int(self.plan.head[PHASES] * self.plan.head[STEPS])
        expected = {(n, tile) for n in range(count) for tile in range(self.tiles(n))}
        assert self.done == expected
        assert self.control[arguments.STEP] == self.plan.head[STEPS]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", [8, 50])
@pytest.mark.parametrize("network", BEGUN)
def test_every_interleaving_does_each_tile_once_and_none_too_early(network, batch_size, layout):
    layout = LAYOUTS[layout]
    plan = make_plan(case(BEGUN[network], batch_size), 4 * batch_size, layout, 2)
    early = 0
    for seed in range(100):
        played = Epoch(plan, layout, random.Random(seed))
        played.play()
        early += played.early
    assert early > 100, "a step is begun early where it may be"


@pytest.mark.parametrize("stopped", [0, 1])
@pytest.mark.parametrize("network", ["even", "of which the first has more", "two hidden layers"])
def test_a_thread_may_be_stopped_anywhere_while_the_other_does_whole_phases(network, stopped):
    layout = LAYOUTS["wide"]
    plan = make_plan(case(BEGUN[network], 50), 100, layout, 2)
    for seed in range(2):
        at, had = 0, True
        while had:  # the same course until the stop
            had = Epoch(plan, layout, random.Random(seed)).play_with_a_stop(stopped, at, 1500)
            at += 1
        assert at > 100


@pytest.mark.parametrize("network", NOT_BEGUN)
def test_what_is_not_to_be_begun_early_is_not(network):
    plan = make_plan(case(NOT_BEGUN[network], 16), 70, LAYOUTS["wide"], 2)
    played = [Epoch(plan, LAYOUTS["wide"], random.Random(seed)) for seed in range(20)]
    for each in played:
        each.play()
    assert Counter(each.early for each in played) == {0: 20}
