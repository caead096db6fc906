"""A team of two leaves its epochs to one thread where other programs want the processors."""

import itertools

import numpy as np
import pytest
from target_cases import needs_jit

from fastnn import SGD, Dense, EarlyStopping, Network, Trainer
from fastnn.threads import crowding
from fastnn.threads.crowding import Crowding

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(300, 40)).astype(np.float32), RANDOM.integers(0, 3, 300)


def test_a_team_that_lacks_its_processors_pauses_longer_each_time():
    crowded = Crowding()
    for pause in (0.2, 0.4, 0.8, 1.6, 3.2, 3.2):
        crowded.saw(2, wall=0.1, processors=0.1, now=10.0)
        assert crowded.wants_one(10.0 + 0.99 * pause)
        assert not crowded.wants_one(10.0 + 1.01 * pause)
    crowded.saw(2, wall=0.1, processors=0.19, now=20.0)
    assert not crowded.wants_one(20.0)
    crowded.saw(2, wall=0.1, processors=0.1, now=30.0)
    assert not crowded.wants_one(30.3)  # from the beginning


def test_one_thread_that_is_never_away_gives_the_other_another_try():
    crowded = Crowding()
    crowded.saw(2, wall=0.1, processors=0.1, now=1.0)
    crowded.saw(1, wall=0.1, processors=0.07, now=1.1)
    assert crowded.wants_one(1.15)
    crowded.saw(1, wall=0.1, processors=0.1, now=1.15)
    assert not crowded.wants_one(1.16)


def test_what_is_short_says_nothing():
    crowded = Crowding()
    crowded.saw(2, wall=0.004, processors=0.0, now=1.0)
    assert not crowded.wants_one(1.0)


@needs_jit
@pytest.mark.parametrize("callbacks", [(), (EarlyStopping(patience=9),)], ids=["blocks", "epochs"])
def test_bits_do_not_depend_on_who_trains_which_epoch(monkeypatch, callbacks):
    def trained(pattern):
        turns = itertools.cycle(pattern)
        taken = []

        def wants_one(now):
            taken.append(next(turns))
            return taken[-1]

        monkeypatch.setattr(crowding.CROWDING, "wants_one", wants_one)
        trainer = Trainer(
            Network(40, [Dense(300, "tanh"), Dense(200, "relu"), Dense(3)]),
            optimizer=SGD(0.1, momentum=0.9), batch_size=32, threads=2,
        )  # fmt: skip
        for _ in range(3):
            trainer.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=callbacks)
        assert set(taken) == set(pattern)
        return [a.tobytes() for layer in trainer.parameters for a in layer]

    assert trained([False]) == trained([True]) == trained([True, False])
