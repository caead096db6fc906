"""Callbacks that follow the results of epochs, of which many are done in one call."""

import numpy as np
import pytest
from trainer_cases import LABELS, TARGETS, X, trainer_of

from fastnn import SGD, Dense, InvalidInput
from fastnn.inputs.problem import penalty_of
from fastnn.training.callbacks import Bundled


class Below(Bundled):
    """Ends training after the first epoch whose loss is below a limit."""

    follows = True

    def __init__(self, limit, by_results=True):
        self.limit, self.by_results = limit, by_results
        self.results, self.calls = [], 0

    def calls_after(self, trainer, results):
        """Return the number of the first epoch below the limit."""
        below = [number for number, each in enumerate(results, 1) if each.loss < self.limit]
        return below[0] if below else len(results)

    def take(self, trainer, results, anew):
        """Keep the results."""
        self.results += results

    def __call__(self, trainer, history):
        """Return whether the last epoch was below."""
        self.calls += 1
        assert len(self.results) == len(history) == trainer.epoch
        return history.loss[-1] < self.limit


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("on_divergence", ["raise", "restore"])
def test_training_ends_after_the_epoch_that_is_wanted_whatever_was_done_in_a_call(
    target, on_divergence
):
    settings = {"target": target, "threads": 1, "optimizer": SGD(0.05, 0.9), "l2": 0.1}
    settings["on_divergence"] = on_divergence
    plain = trainer_of(**settings)
    losses = plain.fit(X, LABELS, epochs=40).loss
    epochs = int(np.argmin(losses)) + 1
    assert epochs > 10
    limit = np.nextafter(losses[epochs - 1], np.inf)
    fast, slow = (trainer_of(**settings) for _ in range(2))
    callbacks = Below(limit), Below(limit, by_results=False)
    fast.fit(X, LABELS, epochs=40, callbacks=callbacks[0])
    slow.fit(X, LABELS, epochs=40, callbacks=callbacks[1])
    assert fast.epoch == slow.epoch == epochs and fast.remaining == 0
    assert fast.history.loss == slow.history.loss == losses[:epochs]
    assert callbacks[1].calls == epochs
    if target == "cpu" and on_divergence == "raise":
        assert callbacks[0].calls < epochs
    for one, other in zip(fast.parameters, slow.parameters, strict=True):
        assert np.array_equal(one[0], other[0])
    last = callbacks[0].results[-1].penalty
    assert last == pytest.approx(penalty_of(fast.problem, fast.parameters), rel=1e-5)
    fast.fit(X, LABELS, epochs=5)
    slow.fit(X, LABELS, epochs=5)
    assert fast.history.loss == slow.history.loss  # state and step are those of the epoch, too


@pytest.mark.parametrize("target", TARGETS)
def test_the_velocity_in_steps_survives_another_rate(target):
    trainer, expected = trainer_of(target=target, optimizer=SGD(0.05, 0.5)), []
    trainer.fit(X, LABELS, epochs=2)
    before = trainer.parameters
    velocity = [[array.copy() for array in layer] for layer in trainer._state.read()[1][0]]
    trainer.scale_state(4.0)
    scaled = trainer._state.read()[1][0]
    for layer, other in zip(velocity, scaled, strict=True):
        for one, two in zip(layer, other, strict=True):
            expected.append(np.array_equal(one * 4, two))
    assert all(expected)
    for one, other in zip(before, trainer.parameters, strict=True):
        assert np.array_equal(one[0], other[0])
    with pytest.raises(InvalidInput, match="factor must be"):
        trainer.scale_state(0.0)


def test_parameters_that_are_read_later_are_those_of_then():
    trainer = trainer_of([Dense(3)])
    trainer.fit(X, LABELS, epochs=1)
    then, later = trainer.parameters, trainer.parameters_later()
    trainer.fit(X, LABELS, epochs=1)
    assert np.array_equal(later()[0][0], then[0][0])
    assert not np.array_equal(trainer.parameters[0][0], then[0][0])
