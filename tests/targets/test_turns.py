"""A team of threads comes to the same bits wherever its threads change places.

Compiled code on two cores has a race only now and then: here schedules are forced, in plain Python.
"""

from target_cases import run_python

TRAIN = """
import numpy as np
from scipy import sparse
from target_cases import OPTIMIZERS, data_of, problem_of, run
from turns import SCHEDULES, TURNS, Team, at_random, hook
from fastnn.targets.cpu.engine import Engine
from fastnn.inputs.data import Data
from fastnn.inputs.sparse_rows import check_sparse
from fastnn.network import Dense, Dropout
from fastnn.targets.cpu import laziness

hook()
laziness.RANGE_ENTRIES, laziness.RANGES_ENTRIES = 1, 0
PROBLEMS = {
    "small": problem_of(3, [Dense(5, "tanh"), Dense(2)], optimizer=OPTIMIZERS["adamw"]),
    "many tiles": problem_of(3, [Dense(33, "relu"), Dense(40)], batch_size=24),
    "limits": problem_of(
        3, [Dropout(0.2), Dense(9, "relu", max_norm=0.5), Dense(2)], batch_size=4, clip_norm=0.2
    ),
    "ranges of sparse inputs": problem_of(9, [Dense(1)], batch_size=5, l2=0.1),
    "ranges that are cut": problem_of(9, [Dense(1)], batch_size=5, l1=0.01, l2=0.1),
}
for case, problem in PROBLEMS.items():
    # Every step has a rate and a sum of weights of its own, so that those of another step show.
    data = data_of(problem, 2 * problem.batch_size + 3, weighted=True)
    if case.startswith("ranges"):
        rows = sparse.csr_array(np.where(data.X > -0.5, data.X, 0.0))
        rows = check_sparse(rows, 9, problem.dtype, "X")
        data = Data(rows, data.targets, data.weights)
        assert laziness.choose_laziness(problem, "sgd", rows.entries / len(rows), True).ranges == 4
    expected = run(Engine, problem, data).bits()
    for threads in (2, 3):
        for schedule in [*SCHEDULES, *range(8)]:
            TURNS.hands_over = SCHEDULES.get(schedule) or at_random(schedule)
            found = run(Team, problem, data, threads=threads).bits()
            differing = sorted(what for what, _ in set(expected) - set(found))
            assert not differing, (case, threads, schedule, differing)
print("same")
"""


def test_bits_do_not_depend_on_where_threads_change_places():
    assert run_python(TRAIN, NUMBA_DISABLE_JIT="1") == "same\n"


EPOCHS = """
import numpy as np
from scipy import sparse
from target_cases import data_of, problem_of, started
from turns import SCHEDULES, TURNS, Team, at_random, hook
from fastnn.targets.cpu.engine import Engine
from fastnn.inputs.data import Data
from fastnn.inputs.sparse_rows import check_sparse
from fastnn.network import AveragedSGD, Dense
from fastnn.targets.cpu import laziness

hook()
laziness.RANGE_ENTRIES, laziness.RANGES_ENTRIES = 1, 0


def trained(engine_class, problem, data, threads=1):
    steps = -(-len(data) // problem.batch_size)
    orders = np.stack([np.random.default_rng(epoch).permutation(len(data)) for epoch in range(4)])
    rates = 0.1 * np.linspace(1, 0.5, 4 * steps).reshape(4, steps)
    engine = started(engine_class, problem, threads)
    results = engine.train_epochs(data, orders, rates, 0, 0)
    layers = [*engine.parameters(), *(layer for slot in engine.slots() for layer in slot)]
    told = [(each.loss, each.penalty) for each in results]
    assert None not in told[0]
    return told, [array.tobytes() for layer in layers for array in layer]


for settings in ({"l2": 0.3}, {"l1": 0.01, "l2": 0.1, "optimizer": AveragedSGD(0.1, 3)}):
    problem = problem_of(9, [Dense(1)], batch_size=5, **settings)
    dense = data_of(problem, 13, weighted=True)
    rows = sparse.csr_array(np.where(dense.X > -0.5, dense.X, 0.0))
    data = Data(check_sparse(rows, 9, problem.dtype, "X"), dense.targets, dense.weights)
    expected = trained(Engine, problem, data)
    for threads in (2, 3):
        for schedule in [*SCHEDULES, *range(24)]:
            TURNS.hands_over = SCHEDULES.get(schedule) or at_random(schedule)
            found = trained(Team, problem, data, threads)
            assert found == expected, (settings, threads, schedule)
print("same")
"""


def test_an_epoch_ends_when_all_threads_have_updated_their_weights():
    """Only then may its penalty be told, and the next one begin, in the same call."""
    assert run_python(EPOCHS, NUMBA_DISABLE_JIT="1") == "same\n"
