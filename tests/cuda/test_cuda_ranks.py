"""One model over several processes, each on a device: in the simulator, over threads."""

import numpy as np
import pytest
from data_cases import to_device
from test_ranks import WEIGHTS, X, Y, errors, maker, numbers, trained

from fastnn import SGD, Adam, AdamW, Dense, Dropout, Network, RMSProp
from fastnn.errors import Diverged, InvalidInput, RankFailed
from fastnn.ranks.watch import number_on_machine
from fastnn.targets.cuda import engine as cuda_engine

pytestmark = pytest.mark.usefixtures("running")

ROWS = 41  # batches of 16, 16 and 9
FROZEN = Network(20, [Dense(8, "relu", trainable=False), Dense(6, "tanh", bias=False), Dense(2)])
SETTINGS = {
    "momentum": (
        Network(20, [Dense(16, "relu"), Dropout(0.2), Dense(2)]),
        {"optimizer": SGD(0.1, momentum=0.9)},
    ),
    "limits": (
        Network(20, [Dropout(0.1), Dense(12, "rrelu"), Dense(9, "prelu"), Dense(2)]),
        {"optimizer": RMSProp(0.01), "clip_norm": 0.1, "clip_value": 0.05, "l2": 0.01},
    ),
    "value": (
        Network(20, [Dense(11, "tanh", max_norm=1.0), Dense(5, "relu"), Dense(2)]),
        {"optimizer": Adam(0.01), "clip_value": 0.01, "l2": 0.1},
    ),
    "l1": (FROZEN, {"optimizer": AdamW(0.01), "l1": 0.001}),
    "mean": (FROZEN, {"optimizer": SGD(0.1, ema=0.9)}),
    "one output": (Network(20, [Dense(1)]), {"loss": "binary_cross_entropy", "batch_size": 2}),
}


def make(network, target="cuda", **settings):
    return maker(network, target, **{"batch_size": 16, **settings})


@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_on_devices_come_to_what_one_process_does(name):
    """Of a batch of two, one of three has no row; of the other batches, all have some."""
    network, settings = SETTINGS[name]
    x, y, weights = X[:ROWS], Y[:ROWS], WEIGHTS[:ROWS]
    alone = make(network, "numpy", **settings)()
    alone.fit(x, y, 2, sample_weight=weights)
    size = 3 if settings.get("batch_size") == 2 else 2
    ranks = trained(
        size, make(network, **settings), lambda t, _: t.fit(x, y, 2, sample_weight=weights)
    )
    for each in ranks:
        assert np.abs(numbers(each) - numbers(alone)).max() < 1e-10
        assert np.allclose(each.history.loss, alone.history.loss, rtol=1e-12, atol=0)
        assert each.history.loss == ranks[0].history.loss
    assert len({numbers(each).tobytes() for each in ranks}) == 1


def test_ranks_with_own_rows_do_on_devices_what_they_do_on_numpy():
    network, settings = SETTINGS["momentum"]
    parts = [slice(0, 25), slice(25, ROWS)]

    def fit(trainer, ranks):
        part = parts[ranks.Get_rank()]
        trainer.fit(X[part], Y[part], 2, sample_weight=WEIGHTS[part], rows="own")

    found = [trained(2, make(network, on, **settings), fit) for on in ("numpy", "cuda")]
    numpy, cuda = (numbers(ranks[1]) for ranks in found)
    assert np.abs(numpy - cuda).max() < 1e-12


def test_divergence_on_one_device_is_that_of_all_at_the_same_step():
    rows = np.ones((24, 3))
    rows[16:] = 1e200

    def fit(trainer, ranks):
        trainer.fit(rows[12 * ranks.Get_rank() :][:12], np.ones(12), 3, rows="own")

    found = errors(2, make(Network(3, [Dense(1)]), loss="mse", batch_size=6), fit)
    assert {type(each) for each in found} <= {Diverged} | set(Diverged.__subclasses__())
    assert len({(each.epoch, each.step) for each in found}) == 1


def test_a_rank_that_fails_between_two_kernels_ends_all():
    def fit(trainer, ranks):
        group, calls = trainer._group, []
        add_up = group.add_up

        def interrupted(*given):
            calls.append(given)
            if len(calls) == 2 and group.rank == 1:
                raise MemoryError("no more")
            return add_up(*given)

        group.add_up = interrupted
        trainer.fit(X[:ROWS], Y[:ROWS], 1)

    first, second = errors(2, make(FROZEN), fit)
    assert type(second) is MemoryError and type(first) is RankFailed


def test_each_takes_the_device_of_its_number_on_its_machine(monkeypatch):
    """And keeps its parameters where it was on another one before."""
    taken = []

    class Session(cuda_engine.Session):
        def __init__(self, problem, go_back, device=None):
            super().__init__(problem, go_back)
            taken.append(device)

    monkeypatch.setattr(cuda_engine, "Session", Session)
    monkeypatch.setattr(cuda_engine, "count_devices", lambda: 4)
    trainer = make(FROZEN)()
    engine, before = trainer._open(), numbers(trainer)
    engine._take_device(0)
    assert taken == [None]
    engine._take_device(6 % 4)
    assert taken == [None, 2]
    assert (numbers(trainer) == before).all()
    every = [(("a", "space", pid, ""), frozenset()) for pid in range(3)]
    every[1] = ("b", "space", 1, ""), frozenset()
    assert [number_on_machine(every, rank) for rank in range(3)] == [0, 0, 1]


def averaging(trainer, ranks):
    trainer.synchronise = 4
    trainer.fit(X, Y)


def on_a_device(trainer, ranks):
    trainer.fit(to_device(X), Y)


@pytest.mark.parametrize(
    ("fit", "words"),
    [(averaging, "synchronise=4 makes steps.* 'cuda'"), (on_a_device, "X lies on a device")],
)
def test_what_ranks_do_not_do_on_devices_is_refused_on_all(fit, words):
    for error in errors(2, make(FROZEN), fit):
        assert type(error) is InvalidInput
        with pytest.raises(InvalidInput, match=words):
            raise error
