"""One model over several processes, each on a device: in the simulator, over threads."""

import numpy as np
import pytest
from data_cases import to_device
from test_ranks import WEIGHTS, X, Y, errors, maker, numbers, trained
from threaded_ranks import Ranks

from fastnn import SGD, Adam, AdamW, Dense, Dropout, Network, RMSProp
from fastnn.errors import Diverged, InvalidInput, RankFailed
from fastnn.ranks import device_sums, watch
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


@pytest.fixture
def aware(monkeypatch):
    """Have MPI say that it takes arrays on devices; return the kinds of array that it is given."""
    given = []
    allreduce = Ranks.Allreduce

    def watched(ranks, send, buffer):
        given.append(type(buffer))
        allreduce(ranks, send, buffer)

    monkeypatch.setattr(watch, "adds_on_devices", lambda communicator: True)
    monkeypatch.setattr(Ranks, "Allreduce", watched)
    return given


@pytest.mark.parametrize("name", ["momentum", "limits", "one output"])
def test_gradients_are_added_up_on_devices_where_mpi_does_so(name, aware, monkeypatch):
    network, settings = SETTINGS[name]
    data = X[:ROWS], Y[:ROWS]

    def fit(trainer, ranks):
        trainer.fit(*data, 2, sample_weight=WEIGHTS[:ROWS])

    found = trained(2, make(network, **settings), fit)
    on_host, on_devices = aware.count(np.ndarray), len(aware) - aware.count(np.ndarray)
    assert on_host == on_devices == 2 * found[0].step
    monkeypatch.setattr(watch, "adds_on_devices", lambda communicator: False)
    through_host = trained(2, make(network, **settings), fit)
    for each, other in zip(found, through_host, strict=True):
        assert numbers(each).tobytes() == numbers(other).tobytes()
        assert each.history.loss == other.history.loss


def test_where_one_mpi_does_not_no_rank_adds_up_on_its_device(monkeypatch):
    of_first = iter([True, False])
    monkeypatch.setattr(watch, "adds_on_devices", lambda communicator: next(of_first))
    ranks = trained(2, make(FROZEN), lambda t, _: t.fit(X[:ROWS], Y[:ROWS], 1))
    assert [each._group.on_devices for each in ranks] == [False, False]


def test_an_mpi_that_does_not_do_what_it_says_is_an_error_of_all(aware, monkeypatch):
    watched = Ranks.Allreduce

    def forgetful(ranks, send, buffer):
        if isinstance(buffer, np.ndarray):
            watched(ranks, send, buffer)
        else:
            ranks.allgather(None)

    monkeypatch.setattr(Ranks, "Allreduce", forgetful)
    for error in errors(2, make(FROZEN), lambda t, _: t.fit(X[:ROWS], Y[:ROWS], 1)):
        assert type(error) is RankFailed
        assert "but 2 times 1 came to 1; start it without its support of CUDA" in str(error)


@pytest.mark.parametrize("part", [0, 1])
def test_a_rank_that_fails_beside_a_sum_on_devices_ends_all(aware, part):
    def fit(trainer, ranks):
        group, calls = trainer._group, []
        add_up = group.add_up

        def interrupted(buffer, now=0):
            calls.append(now)
            if group.rank == 1 and calls.count(part) == 3 and calls[-1] == part:
                calls.append(part)  # once
                raise KeyboardInterrupt
            return add_up(buffer, now)

        group.add_up = interrupted
        trainer.fit(X[:ROWS], Y[:ROWS], 3)

    assert {type(each) for each in errors(2, make(FROZEN), fit)} == {KeyboardInterrupt}


def test_what_mpi_says_of_devices(monkeypatch):
    class Info(dict):
        Get = dict.get

    class Communicator:
        def __init__(self, **info):
            self.Get_info = lambda: Info(info)

    class Library:
        def __init__(self, name, answer=None):
            if answer is not None:
                self.MPIX_Query_cuda_support = lambda: answer

    kinds = "mpi,system,cuda:device:host"
    assert device_sums.adds_on_devices(Communicator(mpi_memory_alloc_kinds=kinds))
    for answer in (None, 0, 1):
        monkeypatch.setattr(device_sums.ctypes, "CDLL", lambda name, a=answer: Library(name, a))
        for each in (Communicator(mpi_memory_alloc_kinds="mpi,system"), Communicator(), object()):
            assert device_sums.adds_on_devices(each) is (answer == 1)


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
