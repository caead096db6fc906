"""A trainer from a file whose initialiser was a function: it trains on, and draws nothing else."""

import numpy as np
import pytest
from trainer_cases import LABELS, X

from fastnn import Dense, Dropout, Ensemble, InvalidInput, Network, Trainer, sweep
from fastnn.initializers import constant
from fastnn.network import BatchNorm


def halves(generator, k, n):
    return generator.normal(0.5, 0.1, (k, n))


def biases(generator, k, n):
    return np.linspace(0.0, 1.0, n)


def made(first, last=None, seed=0):
    layers = [first, BatchNorm(), Dropout(0.1), last or Dense(3)]
    return Trainer(Network(4, layers), batch_size=8, seed=seed, target="numpy")


@pytest.fixture
def through_a_file(tmp_path):
    def through(trainer):
        trainer.save(tmp_path / "it.fastnn")
        return Trainer.load(tmp_path / "it.fastnn")

    return through


LOST = {
    "init": lambda: made(Dense(5, "tanh", init=halves)),
    "bias_init": lambda: made(Dense(5, "tanh", bias_init=biases)),
    "init of the last": lambda: made(Dense(5, "tanh"), Dense(3, init=halves)),
}


@pytest.mark.parametrize("which", LOST)
def test_what_would_draw_other_weights_is_refused_before_anything_is_done(which, through_a_file):
    loaded = through_a_file(through_a_file(LOST[which]()))
    before = loaded.parameters
    calls = [
        lambda: loaded.fit(X, LABELS, 1, restarts=2),
        lambda: sweep(loaded, X, LABELS, 1, grid={"batch_size": [4, 8]}),
        lambda: sweep(loaded, X, LABELS, 1, grid={"units": [4, 5]}),
        lambda: sweep(loaded, X, LABELS, 1, grid={}, seeds=2),
        lambda: Trainer(loaded.network),
    ]
    if which == "init of the last":
        calls.append(lambda: loaded.widen(outputs=4))
    for call in calls:
        with pytest.raises(InvalidInput, match="init of Dense layer . was the function '(h|b)"):
            call()
    assert loaded.epoch == 0
    for one, other in zip(before, loaded.parameters, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("which", LOST)
def test_what_needs_no_new_weights_goes_on(which, through_a_file, tmp_path):
    trainer = LOST[which]()
    loaded = through_a_file(trainer)
    trainer.fit(X, LABELS, 2)
    loaded.fit(X, LABELS, 2)
    assert np.array_equal(trainer.forward(X), loaded.forward(X))
    assert len(through_a_file(loaded).fit(X, LABELS, 1).loss) == 3
    Ensemble([loaded, trainer]).save(tmp_path / "both.fastnn")
    both = Ensemble.load(tmp_path / "both.fastnn")
    assert np.array_equal(both.forward(X), Ensemble([loaded, trainer]).forward(X))
    if which != "init of the last":
        loaded.widen(outputs=4)  # which draws of the last layer alone
        assert loaded.network.outputs == 4


def test_the_function_can_be_given_again(through_a_file):
    trainer = LOST["init"]()
    loaded = through_a_file(trainer)
    loaded.set(network=trainer.network)
    results = [
        each.fit(X, LABELS, 1, restarts=3, keep_trainers=True).restarts
        for each in (trainer, loaded)
    ]
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one.trainer.forward(X), other.trainer.forward(X))


def test_a_constant_is_in_the_file(through_a_file):
    trainer = made(Dense(5, "tanh", init=constant(0.5)), Dense(3, init=constant(0.25)))
    loaded = through_a_file(trainer)
    assert loaded.network == trainer.network
    assert repr(loaded.network.layers[0].init) == "constant(0.5)"
    for each in (trainer, loaded):
        each.widen(outputs=4)
    assert np.array_equal(trainer.parameters[-1][0], loaded.parameters[-1][0])
    results = [sweep(each, X, LABELS, 1, grid={"batch_size": [5, 8]}) for each in (trainer, loaded)]
    assert [run.training_loss for run in results[0]] == [run.training_loss for run in results[1]]
