"""Functions of the user's that could not be called are refused before anything is done."""

import re
from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn import SGD, Dense, InvalidInput, Network, Trainer, errors, train_population


def wrong_calls():
    """Yield what takes a function, with functions that cannot be called as it calls them."""
    X, y = np.eye(8, 2), np.arange(8) % 2

    def trainer(**settings):
        return Trainer(Network(2, [Dense(2)]), target="numpy", **settings)

    def fit(**settings):
        return trainer().fit(X, y, epochs=1, validation_data=(X, y), **settings)

    def grow(trainers=1, **settings):
        made = [trainer(seed=seed) for seed in range(trainers)]
        return train_population(made, X, y, 1, validation_data=(X, y), **settings)

    yield "callbacks[0] is called with (trainer, history)", lambda f: fit(callbacks=f), 2
    yield "callbacks[1] is called", lambda f: fit(callbacks=[lambda *a: None, f]), 2
    yield "StepCallback is called with (trainer, step, loss)", lambda f: fastnn.StepCallback(f), 3
    yield "metrics[0] is called with (y, outputs)", lambda f: fit(metrics={"own": f}), 2
    yield "metrics[0] is called", lambda f: trainer().evaluate(X, y, metrics=("own", f)), 2
    yield "learning rate that is a function is called with (step)", lambda f: SGD(f), 1
    yield "init of a Dense layer is called with (generator, k, n)", lambda f: Dense(2, init=f), 3
    yield "bias_init of a Dense layer is called with", lambda f: Dense(2, bias_init=f), 3
    yield "patience is called with (epochs)", lambda f: grow(patience=f), 1


@pytest.mark.parametrize(("text", "call", "count"), list(wrong_calls()))
def test_a_function_that_cannot_be_called_is_refused_before_anything_is_done(text, call, count):
    functions = [
        lambda: 0.1, lambda a: 0.1, lambda a, b: 0.1, lambda a, b, c: 0.1, lambda a, b, c, d: 0.1,
    ]  # fmt: skip
    for takes, function in enumerate(functions):
        if takes != count:
            with pytest.raises(InvalidInput, match=re.escape(text)) as caught:
                call(function)
            assert ": missing a" in str(caught.value) or ": too many" in str(caught.value)


def test_functions_with_defaults_and_those_that_do_not_say_what_they_take_pass():
    errors.check_takes(lambda a, b, c=3, *, d=4: None, "trainer, history", "f")
    errors.check_takes(lambda *all_: None, "trainer, history", "f")
    errors.check_takes(partial(lambda a, b, c: None, c=3), "trainer, history", "f")
    errors.check_takes(max, "a, b", "f")  # written in C
    with pytest.raises(InvalidInput, match=re.escape("f is called with (a), but")):
        errors.check_takes(lambda a, *, d: None, "a", "f")
