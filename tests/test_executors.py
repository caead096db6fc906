"""Trainings on the workers of an executor: the same bits as on threads, whatever happens there."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from executor_cases import (
    METHODS,
    X_VAL,
    Y_VAL,
    Elsewhere,
    Kills,
    X,
    Y,
    bits_of,
    margin,
    pool,
    stop_soon,
    trainer_of,
    without_seconds,
)

from fastnn import (
    SGD,
    Dense,
    Diverged,
    EarlyStopping,
    InvalidInput,
    Network,
    Trainer,
    WorkerFailed,
    sweep,
)
from fastnn.training.executors import bundle, running, worker

GRID = {"units": [3, 5], "learning_rate": [0.1, 1e30]}  # of which the last diverges

# Python 3.12 warns of any fork while there are threads, as those of pytest's plug-ins.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def swept(executor=None, data=(X, Y), **settings):
    return sweep(
        trainer_of(), *data, 4, grid=GRID, seeds=2, validation_data=(X_VAL, Y_VAL),
        callbacks=[stop_soon, EarlyStopping(patience=2)], metrics=[margin, "f1"],
        keep_trainers=True, executor=executor, **settings,
    )  # fmt: skip


def fitted(executor=None, **settings):
    trainer = trainer_of()
    stopping = EarlyStopping(patience=1)
    trainer.fit(
        X, Y, 6, validation_data=(X_VAL, Y_VAL), restarts=5, callbacks=stopping,
        keep_trainers=True, executor=executor, **settings,
    )  # fmt: skip
    return trainer, stopping


def assert_the_same(result, expected):
    (rows, (trainer, stopping)), (rows2, (trainer2, stopping2)) = result, expected
    assert [row.diverged for row in rows] == [False, False, True, True] * 2
    assert without_seconds(rows) == without_seconds(rows2)
    assert [bits_of(row.trainer) for row in rows] == [bits_of(row.trainer) for row in rows2]
    assert rows.best.settings == rows2.best.settings and rows.best_settings == rows2.best_settings
    assert bits_of(trainer) == bits_of(trainer2) and trainer.seed == trainer2.seed
    restarts, restarts2 = trainer.history.restarts, trainer2.history.restarts
    assert without_seconds(restarts) == without_seconds(restarts2)
    assert restarts.best == restarts2.best
    assert [bits_of(row.trainer) for row in restarts] == [bits_of(row.trainer) for row in restarts2]
    assert bits_of(stopping.best) == bits_of(stopping2.best)
    assert trainer.threads is None and trainer.target == "cpu"
    trainer.fit(X, Y, 1)
    trainer2.fit(X, Y, 1)
    assert bits_of(trainer) == bits_of(trainer2)


@pytest.mark.parametrize("method", METHODS)
def test_processes_give_the_bits_of_threads(method):
    with pool(method) as executor:
        assert_the_same((swept(executor), fitted(executor)), (swept(), fitted()))


def test_a_pool_of_threads_gives_the_bits_of_threads():
    with ThreadPoolExecutor(3) as executor:
        assert_the_same((swept(executor), fitted(executor)), (swept(), fitted()))


def test_a_machine_that_shares_no_files_is_sent_the_data(monkeypatch):
    expected = swept(), fitted()
    monkeypatch.setattr(running, "_LEAST_AHEAD", 1)
    executor = Elsewhere(monkeypatch)
    result = swept(executor)
    size = X.nbytes + X_VAL.nbytes
    assert sum(sent > size for sent in executor.sent) == 1, "the data travel once"
    assert len(executor.sent) == 8 + 2  # asked for a file, then for the data themselves
    assert_the_same((result, fitted(executor)), expected)
    assert len(executor.held) == 1, "data of calls that are over are let go"


def test_a_file_is_mapped_where_it_lies_and_others_are_written_once(monkeypatch, tmp_path):
    columns = np.concatenate([X, X[::-1]], axis=1)
    np.save(tmp_path / "x.npy", columns)
    memmap = np.load(tmp_path / "x.npy", mmap_mode="r")
    view = memmap[10:][::-2, 1:3]
    labels = Y[: len(view)].copy()
    found = swept(None, (view, labels))
    wrote = []
    write = bundle.Bundle.write

    def watched(self):
        done = write(self)
        wrote.append(Path(self.folder, "data").stat().st_size)
        return done

    monkeypatch.setattr(bundle.Bundle, "write", watched)
    with pool("fork", 1) as executor:
        executor.submit(max, 1, 2).result()  # so that the worker is there before the data
        rows = swept(executor, (view, labels))
    assert without_seconds(rows) == without_seconds(found)
    everything = labels.size * 8 + X_VAL.nbytes + Y_VAL.size * 8
    assert wrote and max(wrote) <= everything + 4 * 64, "X is not in it"


def place_in(array, path, **more):
    data = np.memmap(path, array.dtype, "w+", shape=array.shape, **more)
    data[:] = array
    return data


@pytest.mark.parametrize("offset", [0, 13, mmap_page := 4096 * 3 + 8])
def test_where_an_array_lies_in_a_file(tmp_path, offset):
    array = np.arange(60.0).reshape(12, 5)
    data = place_in(array, tmp_path / "x.bin", offset=offset)
    for view in (data, data[3:7, ::2], data[::-1], data.T, data[2], np.asarray(data)[1:]):
        place = bundle.place_of(view)
        np.testing.assert_array_equal(place.map(), view)
        assert not place.map().flags.writeable
    assert bundle.place_of(array) is None
    assert bundle.place_of(np.memmap(tmp_path / "x.bin", "f8", "c", offset, (3,))) is None
    os.remove(tmp_path / "x.bin")
    assert bundle.place_of(data) is None


def test_a_file_that_a_worker_cannot_see(tmp_path, monkeypatch):
    memmap = place_in(X, tmp_path / "x.bin")
    executor = Elsewhere(monkeypatch)
    monkeypatch.setattr(bundle.Place, "map", lambda self: open("/no/such/file"))
    with pytest.raises(WorkerFailed, match=r"cannot map .*x\.bin.*numpy\.array\(X\)"):
        sweep(trainer_of(), memmap, Y, 1, grid={}, executor=executor)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("times", [1, 2, 99])
def test_a_worker_that_is_killed_costs_a_row_at_most(tmp_path, times):
    expected = sweep(trainer_of(), X, Y, 2, grid={"units": [3, 4]}, seeds=3)
    with pool("fork") as executor:
        result = sweep(
            trainer_of(), X, Y, 2, grid={"units": [3, 4]}, seeds=3,
            callbacks=Kills(tmp_path, 6, times), executor=executor,
        )  # fmt: skip
    for row, other in zip(result, expected, strict=True):
        if times == 99 and row.seed == 6:
            assert "terminated abruptly" in row.failed and row.score == np.inf
            assert row.training_loss is None and row.epochs == 0 and not row.diverged
        else:
            assert without_seconds([row]) == without_seconds([other])
    assert result.best.failed is None
    assert ("failed" in result.columns) == (times == 99)
    assert (
        result.best_settings
        == min(
            [result[:3], result[3:]],
            key=lambda rows: np.median([row.score for row in rows if not row.failed]),
        )[0].settings
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_restart_whose_worker_is_killed_is_not_the_best(tmp_path):
    with pool("fork") as executor:
        trainer = trainer_of()
        trainer.fit(X, Y, 2, restarts=3, callbacks=Kills(tmp_path, 5, 99), executor=executor)
    restarts = trainer.history.restarts
    assert restarts[0].failed and restarts.best != 0 and "failed" in repr(restarts)
    trainer.save(tmp_path / "model")
    assert Trainer.load(tmp_path / "model").history.restarts == restarts
    lonely = trainer_of(seed=6)
    before = bits_of(lonely)
    with pool("fork") as executor, pytest.raises(WorkerFailed, match="of 2 restarts died"):
        lonely.fit(X, Y, 2, restarts=2, callbacks=kill_always, executor=executor)
    assert bits_of(lonely) == before and not lonely.epoch


def kill_always(trainer, history):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_once():
    os._exit(3)


def test_workers_that_never_begin_are_one_error():
    context = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(1, context, initializer=die_at_once)
    with pytest.raises(WorkerFailed, match="ran no training.*__main__"):
        sweep(trainer_of(), X, Y, 1, grid={}, executor=executor)
    executor.shutdown()


def fails(trainer, history):
    raise ValueError(f"mine, of {trainer.seed}")


class Odd(Exception):
    """Cannot be pickled."""

    def __init__(self, one):
        super().__init__(one)
        self.lock = threading.Lock()


def odd(trainer, history):
    raise Odd("this")


def test_errors_come_out_as_on_threads():
    trainer = trainer_of()
    before = bits_of(trainer)
    with pool("fork") as executor:
        with pytest.raises(ValueError, match="mine, of") as caught:
            trainer.fit(X, Y, 2, restarts=2, callbacks=fails, executor=executor)
        assert "in fails" in "".join(caught.value.__notes__)
        assert "in restart " in "".join(caught.value.__notes__)
        with pytest.raises(WorkerFailed, match="Odd in a worker: this"):
            trainer.fit(X, Y, 2, restarts=2, callbacks=odd, executor=executor)
        with pytest.raises(Diverged, match="all 2 restarts diverged, the first in epoch 0"):
            line = Trainer(Network(2, [Dense(1)]), "mse", optimizer=SGD(1e9))
            line.fit(X, Y, 9, restarts=2, executor=executor)
        with pytest.raises(InvalidInput, match=r"callbacks\[0\].*<lambda>.*cannot be pickled"):
            trainer.fit(X, Y, 2, restarts=2, callbacks=lambda *_: None, executor=executor)
        with pytest.raises(InvalidInput, match=r"metric 'mine'.*cannot be pickled"):
            sweep(
                trainer, X, Y, 1, grid={}, metrics={"mine": lambda y, outputs: 0.0},
                validation_data=(X, Y), executor=executor,
            )  # fmt: skip
        assert executor.submit(max, 1, 2).result() == 2, "the pool goes on"
    assert bits_of(trainer) == before and not trainer.epoch


def test_versions_have_to_be_the_same(monkeypatch):
    work = running._work

    def old(*arguments):
        return replace(work(*arguments), version="0.0.other")

    monkeypatch.setattr(running, "_work", old)
    with pool("fork", 1) as executor, pytest.raises(WorkerFailed, match="but 0.0.other sent it"):
        sweep(trainer_of(), X, Y, 1, grid={}, executor=executor)


@pytest.mark.parametrize(
    "executor, text",
    [
        (3, "must be a concurrent.futures.Executor"),
        (ThreadPoolExecutor, "must be a concurrent.futures.Executor"),
        (type("Client", (), {"get_executor": lambda self: 0})(), "executor=client.get_executor"),
    ],
)
def test_what_is_no_executor(executor, text):
    with pytest.raises(InvalidInput, match=text):
        sweep(trainer_of(), X, Y, 1, grid={}, executor=executor)
    with pytest.raises(InvalidInput, match=text):
        trainer_of().fit(X, Y, 1, restarts=2, executor=executor)


def test_settings_that_an_executor_leaves_without_meaning():
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(InvalidInput, match="workers=2 is how many threads"):
            sweep(trainer_of(), X, Y, 1, grid={}, workers=2, executor=executor)
        with pytest.raises(InvalidInput, match="restarts=1 trains only this trainer"):
            trainer_of().fit(X, Y, 1, executor=executor)


class Interrupted(BaseException):
    """In the place of Ctrl-C."""


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_interruption_cancels_what_has_not_begun_and_ends_what_has(kind, tmp_path):
    executor = ThreadPoolExecutor(2) if kind == "threads" else pool("fork")
    begun = Begun(tmp_path)
    trainer = trainer_of()
    before = bits_of(trainer)

    def tick(done):
        if done > 3:
            raise Interrupted

    with executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn.training.progress.Progress.show", lambda self, name, done: tick(done))
        start = time.monotonic()
        with pytest.raises(Interrupted):
            trainer.fit(X, Y, 10_000, restarts=60, callbacks=begun, executor=executor)
        names = set(os.listdir(tmp_path))
        executor.submit(max, 1, 2).result()
    assert time.monotonic() - start < 20
    assert len(names) < 10 and set(os.listdir(tmp_path)) == names
    assert bits_of(trainer) == before and not trainer.epoch
    assert not worker._SHARED


class Begun:
    """A callback that takes a while, and leaves the names of those that have begun."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, trainer, history):
        """Leave the name."""
        (self.folder / str(trainer.seed)).touch()
        time.sleep(0.002)


def test_nothing_is_left_in_the_folder_of_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pool("fork", 1) as executor:
        executor.submit(max, 1, 2).result()
        swept(executor)
        with pytest.raises(ValueError, match="mine"):
            sweep(trainer_of(), X, Y, 1, grid={}, callbacks=fails, executor=executor)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("fastnn-")]


def test_data_that_no_training_uses_any_more_are_let_go(monkeypatch):
    monkeypatch.setattr(worker, "KEPT_SECONDS", 0.2)
    held = {"b": worker.Shared([], used=0.0, at_work=1), "a": worker.Shared([], used=0.0)}
    monkeypatch.setattr(worker, "_SHARED", held)
    before = threading.active_count()
    for _ in range(50):
        worker._let_go_later()
    assert threading.active_count() <= before + 1
    until = time.monotonic() + 5
    while "a" in held and time.monotonic() < until:
        time.sleep(0.01)
    assert set(held) == {"b"}
    held["b"].at_work = 0
    while (held or worker._SWEEPERS) and time.monotonic() < until:
        time.sleep(0.01)
    assert not held and not worker._SWEEPERS and threading.active_count() <= before


def test_threads_of_this_process_leave_no_others_behind():
    before = threading.active_count()
    with ThreadPoolExecutor(2) as executor:
        trainer_of().fit(X, Y, 1, restarts=20, executor=executor)
    assert threading.active_count() <= before


class Mine(ProcessPoolExecutor):
    """A pool of somebody's own, in a script."""


Mine.__module__ = "__main__"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_pool_of_a_class_of_ones_own_is_replaced_too(tmp_path):
    expected = sweep(trainer_of(), X, Y, 2, grid={}, seeds=3)
    with Mine(2, multiprocessing.get_context("fork")) as executor:
        result = sweep(
            trainer_of(), X, Y, 2, grid={}, seeds=3, callbacks=Kills(tmp_path, 6, 1),
            executor=executor,
        )  # fmt: skip
    assert without_seconds(result) == without_seconds(expected)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_that_is_shut_down_is_not_replaced(kind):
    executor = kind(1)
    executor.shutdown()
    with pytest.raises(WorkerFailed, match="takes no training.*not shut down"):
        trainer_of().fit(X, Y, 1, restarts=2, executor=executor)


class Here(Executor):
    """Trains in `submit`; some calls raise an error, the futures of some have it."""

    def __init__(self, error, submits=(), answers=()):
        self.error, self.submits, self.answers, self.calls = error, submits, answers, 0

    def submit(self, function, *arguments):
        """Return a future that is done."""
        call, self.calls = self.calls, self.calls + 1
        if call in self.submits:
            raise self.error
        future = Future()
        if call in self.answers:
            future.set_exception(self.error)
        else:
            future.set_result(function(*arguments))
        return future


ERRORS = [OSError("no connection"), RuntimeError("shut down"), BrokenExecutor("a worker died")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_executor_that_fails_in_the_middle_costs_what_it_has_not_done(error):
    given = dict(grid={"learning_rate": [0.1, 0.2]}, seeds=3)
    expected = without_seconds(sweep(trainer_of(), X, Y, 2, **given))
    # One that loses a training is given it anew, and only twice.
    for lost in ((0,), (3,), (1, 4)):
        executor = Here(error, answers=lost)
        assert without_seconds(sweep(trainer_of(), X, Y, 2, **given, executor=executor)) == expected
        assert executor.calls == 6 + len(lost)
    result = sweep(trainer_of(), X, Y, 2, **given, executor=Here(error, answers=(2, 6)))
    assert [bool(run.failed) for run in result] == [False, False, True, False, False, False]
    # One that takes no more, where it has none, leaves rows that say so.
    result = sweep(trainer_of(), X, Y, 2, **given, executor=Here(error, range(4, 99)))
    assert without_seconds(result)[:4] == expected[:4]
    assert [run.failed for run in result[4:]] == [f"{type(error).__name__}: {error}"] * 2
    for executor in (Here(error, range(99)), Here(error, answers=range(99))):
        with pytest.raises(WorkerFailed, match=str(error)):
            sweep(trainer_of(), X, Y, 2, **given, executor=executor)


def test_an_executor_that_is_full_is_asked_again():
    class Full(ThreadPoolExecutor):
        last = None

        def submit(self, *arguments):
            """Take one at a time."""
            if self.last is not None and not self.last.done():
                raise RuntimeError("the queue is full")
            self.last = super().submit(*arguments)
            return self.last

    given = dict(grid={"learning_rate": [0.1, 0.2]}, seeds=3)
    with Full(1) as executor:
        result = sweep(trainer_of(), X, Y, 2, **given, executor=executor)
    assert without_seconds(result) == without_seconds(sweep(trainer_of(), X, Y, 2, **given))


def test_what_is_submitted_has_to_be_a_future():
    class Nothing(Here):
        def submit(self, *arguments):
            """Return nothing."""
            super().submit(*arguments)

    with pytest.raises(WorkerFailed, match="submit returned None, which is no Future"):
        trainer_of().fit(X, Y, 1, restarts=2, executor=Nothing(None))


def held_here(_=None):
    time.sleep(0.2)  # so that another worker does the other one
    return os.getpid(), [each.process for each in worker._SHARED.values()]


def test_workers_that_were_forked_let_go_of_what_they_were_forked_with():
    with pool("fork") as executor, worker.sharing("another", []):
        list(executor.map(held_here, range(4)))  # all are there, with that
        trainer_of().fit(X, Y, 60, restarts=6, executor=executor)
        for process, owners in executor.map(held_here, range(4)):
            assert owners == [process]


def see_no_files():
    worker._SHARED.clear()
    worker.from_folder = worker.epochs_of = lambda folder: None


def test_workers_that_share_no_files_are_sent_the_data_once_each(monkeypatch):
    sent, made, to_bytes = [], [], bundle.Bundle.to_bytes

    def counted(self):
        sent.append(to_bytes(self))
        return sent[-1]

    monkeypatch.setattr(bundle.Bundle, "to_bytes", counted)
    expected = trainer_of()
    expected.fit(X, Y, 40, restarts=24)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, context, initializer=see_no_files) as executor:
        trainer = trainer_of()
        trainer.fit(X, Y, 40, restarts=24, executor=executor)
        made += [owners for _, owners in executor.map(held_here, range(4))]
    assert 1 <= len(sent) <= 3, "once to each, and seldom to one that has them"
    assert all(each is sent[0] for each in sent)
    assert bits_of(trainer) == bits_of(expected) and all(len(owners) == 1 for owners in made)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_sweep_of_which_nothing_is_left_raises(tmp_path):
    with (
        pool("fork") as executor,
        pytest.raises(WorkerFailed, match="the workers of all 1 runs died: .*terminated"),
    ):
        sweep(
            trainer_of(), X, Y, 2, grid={}, callbacks=Kills(tmp_path, trainer_of().seed, 99),
            executor=executor,
        )  # fmt: skip


@pytest.mark.parametrize("error", [MemoryError("no room"), RecursionError("too deep")])
def test_what_a_process_runs_out_of_keeps_its_name(error, monkeypatch):
    def exhausted(*_):
        raise error

    monkeypatch.setattr(bundle._Pickler, "dump", exhausted)
    with pool("fork", 1) as executor:
        executor.submit(max, 1, 2).result()  # so that the worker is there before the data
        with pytest.raises(type(error), match=str(error)):
            sweep(trainer_of(), X, Y, 1, grid={}, executor=executor)
        with pytest.raises(type(error), match=str(error)):
            trainer_of().fit(
                X, Y, 1, (X, Y), metrics={"it": exhausted}, callbacks=[], progress=False
            )
