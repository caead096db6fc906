"""Parameters and optimizer state in and out of an engine, on every target."""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    data_of,
    few,
    parameters_of,
    problem_of,
    started,
    train,
    zero_slots,
)

from fastnn.network import Dense, Dropout
from fastnn.rules.table import UPDATES

ODD = {
    "one number": (1, [1]),
    "vectors and one more": (17, [33, 9, 1]),
    "one less than vectors": (15, [31, 7, few(63, 15)]),
    "primes": few((97, [131, 13, 2]), (19, [23, 13, 2])),
    "one row": (1, [few(65, 17), 3]),
    "one column": (few(65, 17), [1, few(64, 16)]),
    "one layer of one output": (29, [1]),
    "slopes": (15, [33, 7, 1], "prelu"),
    "few outputs with slopes": (few(97, 33), [3, few(65, 17)], "prelu"),
    "one output with a slope": (29, [1], "prelu"),
}


def problem_with(sizes, rule, dtype):
    inputs, units, activation = (*sizes, "tanh")[:3]
    layers = [Dense(n, activation) for n in units]
    return problem_of(inputs, layers, optimizer=OPTIMIZERS[rule], dtype=dtype)


def bits(pairs):
    return [(each.dtype.str, each.shape, each.tobytes()) for pair in pairs for each in pair]


def state_of(engine):
    return [bits(engine.parameters()), *map(bits, engine.slots())]


def slots_of(problem):
    count = UPDATES[problem.optimizer.rule].slots
    return [[tuple(map(abs, own)) for own in parameters_of(problem, 40 + i)] for i in range(count)]


@pytest.mark.parametrize(("rule", "sizes", "dtype"), all_pairs(OPTIMIZERS, ODD, DTYPES))
def test_what_was_loaded_comes_back_to_the_bit(engine_class, rule, sizes, dtype):
    problem = problem_with(ODD[sizes], rule, dtype)
    parameters, slots = parameters_of(problem), slots_of(problem)
    with closing(engine_class(problem, 1)) as engine:
        engine.load(parameters, slots)
        assert state_of(engine) == [bits(parameters), *map(bits, slots)]
        train(engine, problem, data_of(problem, 20))
        assert state_of(engine)[0] != bits(parameters)
        engine.load(parameters, slots)
        assert state_of(engine) == [bits(parameters), *map(bits, slots)]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1].copy()[::-1]])
def test_parameters_may_be_loaded_from_any_layout_and_dtype(engine_class, layout):
    problem = problem_with(ODD["vectors and one more"], "momentum", "float32")
    parameters, slots = parameters_of(problem), slots_of(problem)
    wide = [(layout(W.astype(np.float64)), layout(b.astype(np.float64))) for W, b in parameters]
    with closing(engine_class(problem, 1)) as engine:
        engine.load(wide, slots)
        assert state_of(engine) == [bits(parameters), *map(bits, slots)]


def test_state_is_copied_in_and_out(engine_class):
    problem = problem_with((3, [4, 2]), "momentum", "float64")
    parameters, slots = parameters_of(problem), slots_of(problem)
    with closing(engine_class(problem, 1)) as engine:
        engine.load(parameters, slots)
        before = state_of(engine)
        for pairs in (parameters, *slots, engine.parameters(), *engine.slots()):
            for W, b in pairs:
                W[:], b[:] = 7, 7
        assert state_of(engine) == before


@pytest.mark.parametrize(("rule", "sizes", "dtype"), all_pairs(OPTIMIZERS, ODD, DTYPES))
def test_training_from_a_snapshot_comes_to_the_same_bits_again(engine_class, rule, sizes, dtype):
    problem = problem_with(ODD[sizes], rule, dtype)
    data = data_of(problem, 21)
    with closing(started(engine_class, problem)) as engine:
        train(engine, problem, data)
        snapshot, before = engine.snapshot(), state_of(engine)
        results = train(engine, problem, data, [1, 2])
        after, outputs = state_of(engine), engine.forward(data.X)
        engine.restore(snapshot)
        assert state_of(engine) == before
        assert train(engine, problem, data, [1, 2]) == results
        assert state_of(engine) == after
        assert np.array_equal(engine.forward(data.X), outputs)
        engine.restore(snapshot)  # a snapshot can be used again
        assert state_of(engine) == before


def test_a_snapshot_outlives_data_of_another_size(engine_class):
    problem = problem_with((9, [17, 3]), "adam", "float32")
    with closing(started(engine_class, problem)) as engine:
        train(engine, problem, data_of(problem, 5))
        snapshot, before = engine.snapshot(), state_of(engine)
        train(engine, problem, data_of(problem, 100), [1])
        engine.restore(snapshot)
        assert state_of(engine) == before


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_state_moved_to_another_engine_goes_on_to_the_same_bits(engine_class, rule):
    layers = [Dense(17, "relu"), Dropout(0.3), Dense(5)]
    problem = problem_of(9, layers, optimizer=OPTIMIZERS[rule], dtype="float32")
    data = data_of(problem, 21)
    with (
        closing(started(engine_class, problem)) as whole,
        closing(started(engine_class, problem)) as first,
        closing(engine_class(problem, 2)) as second,
    ):
        results = train(whole, problem, data, range(4))
        parts = train(first, problem, data, range(2))
        second.load(first.parameters(), first.slots())
        parts += train(second, problem, data, range(2, 4))
        assert parts == results
        assert state_of(second) == state_of(whole)


def test_predicting_and_asking_for_gradients_change_nothing(engine_class):
    layers = [Dense(17, "gelu"), Dropout(0.3), Dense(5)]
    problem = problem_of(9, layers, optimizer=OPTIMIZERS["adam"], l1=0.1)
    data = data_of(problem, 21, weighted=True)
    with (
        closing(started(engine_class, problem)) as engine,
        closing(started(engine_class, problem)) as plain,
    ):
        for epoch in range(3):
            engine.forward(data_of(problem, 200).X)
            first, second = engine.gradients(data), engine.gradients(data)
            assert first[0] == second[0] and bits(first[1]) == bits(second[1])
            assert train(engine, problem, data, [epoch]) == train(plain, problem, data, [epoch])
            assert state_of(engine) == state_of(plain)


def test_dropout_and_penalty_do_not_act_where_they_should_not(engine_class):
    dropped = problem_of(9, [Dropout(0.5), Dense(17, "tanh"), Dropout(0.5), Dense(5)], l2=0.1)
    plain = problem_of(9, [Dense(17, "tanh"), Dense(5)], l2=0.1)
    data = data_of(plain, 21)
    answers = []
    for problem in (dropped, plain):
        with closing(started(engine_class, problem)) as engine:
            answers.append((engine.gradients(data), engine.forward(data.X)))
    (one, outputs), (other, expected) = answers
    assert one[0] == other[0] and bits(one[1]) == bits(other[1])
    assert np.array_equal(outputs, expected)


def test_state_that_is_not_finite_is_noticed_wherever_it_is(engine_class):
    problem = problem_with((5, [9, 3]), "adam", "float32")
    with closing(engine_class(problem, 1)) as engine:
        for bad in (np.nan, np.inf, -np.inf):
            for copy in range(3):
                for layer in range(2):
                    for part in range(2):
                        everything = [parameters_of(problem), *zero_slots(problem)]
                        everything = [[(W.copy(), b.copy()) for W, b in p] for p in everything]
                        engine.load(everything[0], everything[1:])
                        assert engine.finite()
                        everything[copy][layer][part].flat[-1] = bad
                        engine.load(everything[0], everything[1:])
                        assert not engine.finite()


def test_an_engine_can_be_closed_twice(engine_class):
    problem = problem_with((5, [9, 3]), "sgd", "float32")
    engine = started(engine_class, problem, 2)
    engine.close()
    train(engine, problem, data_of(problem, 20))
    engine.close()
    engine.close()
