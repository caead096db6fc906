"""The same bits for every number of threads, and for engines used side by side."""

import threading
from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import DTYPES, OPTIMIZERS, data_of, needs_jit, problem_of, run, started, train

from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout

pytestmark = needs_jit

DROPPED = [Dropout(0.2), Dense(65, "tanh"), Dropout(0.5), Dense(33, "softmax"), Dense(7)]
# inputs, layers, loss, batch size, rows
NETWORKS = {
    "tiny": (3, [Dense(5, "tanh"), Dense(2)], "mse", 4, 30),
    "one output": (30, [Dense(1)], "binary_cross_entropy", 8, 30),
    "small": (50, DROPPED, "softmax_cross_entropy", 33, 150),
    "every rule": (
        40,
        [
            *(Dense(37, name) for name in ("sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu")),
            *(Dense(31, name) for name in ("softplus", "prelu", "rrelu")),
            Dense(9, "softmax"),
        ],
        "mse",
        50,
        120,
    ),
    # Above 48 KiB a team takes a layer by its columns, above 1 MiB one thread does as well.
    "a large layer": (97, [Dense(131, "gelu"), Dense(257, "silu"), Dense(5)], "huber", 70, 150),
    "large layers, large batch": (
        131,
        [
            Dropout(0.1),
            Dense(521, "relu"),
            Dropout(0.5),
            Dense(523, "tanh"),
            Dropout(0.5),
            Dense(9),
        ],
        "softmax_cross_entropy",
        200,
        450,
    ),
    "softmax of a large layer": (
        131,
        [Dense(200, "softmax"), Dense(210, "softmax"), Dropout(0.3), Dense(9)],
        "mse",
        64,
        150,
    ),
    "slopes": (
        131,
        [Dense(200, "prelu"), Dropout(0.3), Dense(210, "prelu"), Dense(33, "prelu")],
        "mse",
        64,
        150,
    ),
    "few outputs with slopes": (97, [Dense(3, "prelu"), Dense(40, "prelu")], "mse", 33, 150),
    "more inputs than fit a block": (
        2100,
        [Dense(40, "relu"), Dense(600, "relu"), Dense(3)],
        "mse",
        64,
        100,
    ),
}


@pytest.mark.parametrize(
    ("network", "rule", "dtype"), all_pairs(NETWORKS, ["sgd", "adamw"], DTYPES)
)
def test_every_number_of_threads_gives_the_same_bits(fast_class, network, rule, dtype):
    inputs, layers, loss, batch_size, rows = NETWORKS[network]
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype, l1=1e-4
    )
    data = data_of(problem, rows, weighted=True)
    expected = run(fast_class, problem, data, epochs=3, rate=0.01).bits()
    for threads in (2, 3, 5):
        found = run(fast_class, problem, data, threads=threads, epochs=3, rate=0.01).bits()
        assert found == expected, f"{threads} threads"


@pytest.mark.parametrize("network", ["small", "large layers, large batch"])
def test_a_team_gives_the_same_bits_every_time(fast_class, network):
    inputs, layers, loss, batch_size, rows = NETWORKS[network]
    problem = problem_of(inputs, layers, loss, batch_size=batch_size, dtype="float32")
    data = data_of(problem, rows)
    runs = {tuple(run(fast_class, problem, data, threads=2).bits()) for _ in range(6)}
    assert len(runs) == 1


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_have_the_same_bits_for_every_number_of_threads(fast_class, network, dtype):
    inputs, layers, loss, _, rows = NETWORKS[network]
    problem = problem_of(inputs, layers, loss, dtype=dtype, l1=1e-4)
    data = data_of(problem, rows, weighted=True)
    answers = set()
    for threads in (1, 2, 3, 5):
        with closing(started(fast_class, problem, threads)) as engine:
            value, gradients = engine.gradients(data)
            answers.add((value, *(array.tobytes() for pair in gradients for array in pair)))
    assert len(answers) == 1


def test_the_number_of_threads_may_exceed_the_rows_and_the_tiles(fast_class):
    problem = problem_of(3, [Dense(2)], batch_size=1)
    data = data_of(problem, 2)
    runs = {tuple(run(fast_class, problem, data, threads=t).bits()) for t in (1, 2, 9, 17)}
    assert len(runs) == 1


def test_no_number_given_picks_one_that_the_machine_has(engine_class):
    from fastnn.threads.processors import available_threads

    tiny = problem_of(3, [Dense(2)])
    large = problem_of(784, [Dense(512, "relu"), Dense(10)], batch_size=512)
    with closing(engine_class(tiny, None)) as engine:
        assert engine.threads == 1
    with closing(engine_class(large, None)) as engine:
        assert 1 <= engine.threads <= available_threads()


def test_engines_in_several_threads_of_the_caller_do_not_disturb_each_other(engine_class):
    problem = problem_of(30, [Dense(40, "tanh"), Dense(3)], "softmax_cross_entropy")
    data = data_of(problem, 300)
    expected = run(engine_class, problem, data, threads=2, epochs=4).bits()
    found = [None] * 3

    def work(place):
        found[place] = run(engine_class, problem, data, threads=2, epochs=4).bits()

    workers = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 3


def test_predictions_from_several_threads_of_the_caller_on_one_engine_are_right(engine_class):
    problem = problem_of(30, [Dense(40, "tanh"), Dense(3, "softmax")])
    parts = [data_of(problem, 500, seed=seed).X for seed in range(4)]
    with closing(started(engine_class, problem, 2)) as engine:
        expected = [engine.forward(part) for part in parts]
        found = [[] for _ in parts]

        def work(place):
            for _ in range(20):
                found[place].append(engine.forward(parts[place]))

        workers = [threading.Thread(target=work, args=(place,)) for place in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for one, many in zip(expected, found, strict=True):
        assert len(many) == 20 and all(np.array_equal(one, each) for each in many)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_data_of_another_size_leave_the_training_before_and_after_alone(fast_class, threads):
    problem = problem_of(20, [Dense(30, "relu"), Dense(3)], optimizer=OPTIMIZERS["adam"])
    first, second = data_of(problem, 100), data_of(problem, 3, seed=5)
    ends = []
    for count in (1, threads):
        with closing(started(fast_class, problem, count)) as engine:
            losses = [
                train(engine, problem, data, [epoch])[0].loss
                for epoch, data in enumerate([first, second, first, second])
            ]
            ends.append(
                (losses, [array.tobytes() for W, b in engine.parameters() for array in (W, b)])
            )
    assert ends[0] == ends[1]


@pytest.mark.parametrize("rule", ["sgd", "momentum"])
@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_who_looked_for_columns_of_zeros(fast_class, rule, threads):
    # Some batches use all columns and others do not, so what a thread has seen matters.
    problem = problem_of(
        200,
        [Dense(130, "relu"), Dense(5)],
        optimizer=OPTIMIZERS[rule],
        dtype="float32",
        batch_size=64,
    )
    data, random = data_of(problem, 64 * 60), np.random.default_rng(1)
    for start in range(0, 64 * 60, 64):
        if random.random() < 0.5:
            data.X[start : start + 64, random.random(200) < 0.4] = 0
    order, rates = np.arange(64 * 60), np.full(60, 0.01)

    def bits(count):
        with closing(started(fast_class, problem, count)) as engine:
            for epoch in range(3):
                engine.train_epoch(data, order, rates, epoch, 60 * epoch)
            return [array.tobytes() for pair in engine.parameters() for array in pair]

    expected = bits(1)
    assert all(bits(threads) == expected for _ in range(4))


def test_a_tile_sums_in_one_order_whatever_else_is_in_it(fast_class):
    # With column 1 unused, column 2 falls into another tile than with it.
    problem = problem_of(200, [Dense(130, "relu"), Dense(5)], dtype="float32", batch_size=64)
    data = data_of(problem, 64)
    data.X[:, 1] = 0
    few = data.X.copy()
    few[:, 5:] = 0
    many = few.copy()
    many[:, 5:] = np.float32(1e-30)  # used, but too small to change a sum

    def first_rows(X):
        with closing(started(fast_class, problem)) as engine:
            engine.train_epoch(Data(X, data.targets, None), np.arange(64), np.ones(1), 0, 0)
            return engine.parameters()[0][0][:5].tobytes()

    assert first_rows(few) == first_rows(many)
