"""One model over several processes: here, over threads that make the calls of MPI."""

import copy
import pickle
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse
from threaded_ranks import Ranks, run_ranks

from fastnn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    LayerNorm,
    Network,
    ReduceOnPlateau,
    RMSProp,
    StepCallback,
    Trainer,
    sweep,
    train_population,
)
from fastnn.cli import main
from fastnn.errors import CorruptFile, Diverged, InvalidInput, RankFailed
from fastnn.inputs import table_files
from fastnn.inputs.data import check_data
from fastnn.random.row_orders import shuffled
from fastnn.random.windows import orders_of
from fastnn.ranks.shares import batches_of_own, parts_of_batches
from fastnn.storage import tensor_file
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets.cpu import checked

RNG = np.random.default_rng(5)
X = RNG.normal(size=(101, 20))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
WEIGHTS = RNG.uniform(0.1, 3.0, 101) * (np.arange(101) != 5)
SPARSE = scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))
TARGETS = "numpy", "cpu"

DROPPED = Network(20, [Dense(16, "relu"), Dropout(0.2), Dense(2)])
DRAWN = Network(20, [Dropout(0.1), Dense(40, "rrelu"), LayerNorm(), Dense(24, "prelu"), Dense(2)])
WIDE = Network(20, [Dense(300, "tanh", max_norm=1.0), Dense(20, "relu"), Dense(2)])
LINEAR = Network(20, [Dense(1)])
SETTINGS = {
    "momentum": (DROPPED, {"optimizer": SGD(0.1, momentum=0.9)}),
    "limits": (
        DRAWN,
        {"optimizer": RMSProp(0.01), "clip_norm": 0.1, "clip_value": 0.05, "l2": 0.01},
    ),
    "value": (WIDE, {"optimizer": Adam(0.01), "clip_value": 0.01, "l2": 0.1, "threads": 3}),
    "norm": (DROPPED, {"clip_norm": 0.3, "threads": 2, "batch_size": 101}),
    "l1": (DROPPED, {"optimizer": AdamW(0.01, ema=0.9), "l1": 0.001, "batch_size": 5}),
    "one output": (LINEAR, {"loss": "binary_cross_entropy", "l2": 0.1, "batch_size": 2}),
}


def numbers(trainer):
    return np.concatenate([array.ravel() for layer in trainer.parameters for array in layer])


def trained(size, make, fit):
    """Return the trainers of all ranks, whose fits have to succeed."""

    def work(ranks):
        trainer = make(ranks)
        fit(trainer, ranks)
        return trainer

    found = run_ranks(size, work)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def maker(network, target="numpy", **settings):
    settings = {"dtype": "float64", "batch_size": 32, "seed": 3, "target": target} | settings
    return lambda ranks=None: Trainer(network, communicator=ranks, **settings)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_with_all_rows_come_to_what_one_process_does(name, target):
    network, settings = SETTINGS[name]
    make = maker(network, target, **settings)
    alone = make()
    alone.fit(X, Y, 2, sample_weight=WEIGHTS)
    for size in (2, 3, 7):  # of the last batch, some of 7 ranks have no row
        ranks = trained(size, make, lambda t, _: t.fit(X, Y, 2, sample_weight=WEIGHTS))
        for each in ranks:
            assert np.abs(numbers(each) - numbers(alone)).max() < 1e-10
            assert np.allclose(each.history.loss, alone.history.loss, rtol=1e-12, atol=0)
            assert each.history.loss == ranks[0].history.loss
            assert each.step == alone.step


@pytest.mark.parametrize("target", TARGETS)
def test_ranks_with_sparse_rows_come_to_what_one_process_does(target):
    make = maker(DRAWN, target)
    alone = make()
    alone.fit(SPARSE, Y, 2)
    ranks = trained(2, make, lambda t, _: t.fit(SPARSE, Y, 2))
    assert np.abs(numbers(ranks[1]) - numbers(alone)).max() < 1e-12


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weighted", [False, True])
def test_ranks_with_own_rows_make_the_steps_of_one_process_that_has_them_all(target, weighted):
    """The order of all rows is that in which the shares say that they come."""
    sizes = [50, 30, 21]
    edges = np.cumsum([0, *sizes])
    weights = WEIGHTS if weighted else None
    make = maker(DRAWN, target, optimizer=SGD(0.1, momentum=0.9))

    def fit(trainer, ranks):
        part = slice(*edges[ranks.Get_rank() :][:2])
        own = None if weights is None else weights[part]
        trainer.fit(X[part], Y[part], 2, sample_weight=own, rows="own")

    ranks = trained(3, make, fit)
    alone = make()
    engine = maker(DRAWN, "numpy", optimizer=SGD(0.1, momentum=0.9))()._open()
    data = check_data(alone.problem, X, Y, weights)
    shares = [batches_of_own(sizes, rank, 32) for rank in range(3)]
    for epoch in range(2):
        orders = [
            orders_of(each.seed(3), range(epoch, epoch + 1), size, None, shuffled)[0] + edge
            for each, size, edge in zip(shares, sizes, edges, strict=False)
        ]
        rows = [
            order[each.starts[step] :][: each.counts[step]]
            for step in range(4)
            for each, order in zip(shares, orders, strict=True)
        ]
        order = np.concatenate(rows)
        assert sorted(order) == list(range(101))
        engine.train_epoch(data, order, np.full(4, 0.1), epoch, 4 * epoch)
    expected = np.concatenate([a.ravel() for layer in engine.parameters() for a in layer])
    assert max(np.abs(numbers(each) - expected).max() for each in ranks) < 1e-12


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize(
    "sizes", [[1], [1, 1, 1], [100, 1], [1, 100], [33, 34, 33], [5, 90, 17, 3]]
)
def test_shares_of_own_rows_are_whole_batches_and_each_row_once(sizes, batch):
    shares = [batches_of_own(sizes, rank, batch) for rank in range(len(sizes))]
    n, counts = sum(sizes), np.array([each.counts for each in shares])
    assert (counts >= 0).all() and counts.sum(axis=1).tolist() == sizes
    assert (counts.sum(axis=0) == shares[0].in_all).all()
    assert (shares[0].in_all[:-1] == batch).all() and shares[0].in_all.sum() == n
    for rank, each in enumerate(shares):
        assert (each.starts == np.cumsum(each.counts) - each.counts).all()
        before = np.arange(len(each.counts)) * batch + counts[:rank].sum(axis=0)
        assert (each.places == before).all()
        # As nearly in proportion as whole rows allow, but for what rounding passes on.
        ideal = each.in_all * sizes[rank] / n
        assert (np.abs(each.counts - ideal) < 2 + np.log(len(sizes))).all()


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_parts_of_batches_are_the_order_of_one_process(size, batch):
    order = RNG.permutation(101)
    shares = [parts_of_batches(101, size, rank, batch) for rank in range(size)]
    for step, first in enumerate(range(0, 101, batch)):
        parts = [each.spread(order)[step * each.capacity :][: each.counts[step]] for each in shares]
        assert np.concatenate(parts).tolist() == order[first : first + batch].tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_is_the_same_bits_again_and_with_any_threads(target):
    runs = []
    for threads in (1, 1, 3):
        make = maker(WIDE, target, dtype="float32", clip_norm=0.5, threads=threads)
        runs += trained(2, make, lambda t, _: t.fit(X, Y, 2, validation_data=(X, Y)))
    assert len({numbers(each).tobytes() for each in runs}) == 1
    assert len({each.history.validation_loss[-1] for each in runs}) == 1
    assert runs[0].history.seconds == runs[1].history.seconds


def test_a_communicator_of_one_process_changes_no_bit():
    make = maker(DROPPED, "cpu", dtype="float32")
    alone = make()
    alone.fit(X, Y, 3)
    (one,) = trained(1, make, lambda t, _: t.fit(X, Y, 3, rows="own"))
    assert (numbers(one) == numbers(alone)).all()


@pytest.mark.parametrize("target", TARGETS)
def test_averaging_after_every_step_of_plain_sgd_is_adding_up_gradients(target):
    """The mean of w - r g_i over equal parts is w - r times the mean of g_i."""
    rows, labels = X[:96], Y[:96]
    make = maker(DROPPED, target, l2=0.1)
    each_step = trained(2, make, lambda t, _: t.fit(rows, labels, 2))
    averaged = trained(
        2,
        lambda ranks: maker(DROPPED, target, l2=0.1, synchronise=1)(ranks),
        lambda t, _: t.fit(rows, labels, 2),
    )
    assert np.abs(numbers(averaged[0]) - numbers(each_step[0])).max() < 1e-12
    assert (numbers(averaged[0]) == numbers(averaged[1])).all()


@pytest.mark.parametrize("target", TARGETS)
def test_local_steps_come_to_the_mean_of_trainings_that_know_nothing_of_each_other(target):
    network = Network(20, [Dense(8, "tanh"), Dense(2)])
    settings = {"shuffle": False, "optimizer": SGD(0.1, momentum=0.9)}
    parts = [(X[:60], Y[:60]), (X[60:90], Y[60:90])]
    averaged = trained(
        2,
        maker(network, target, batch_size=30, synchronise=100, **settings),
        lambda t, ranks: t.fit(*parts[ranks.Get_rank()], 1, rows="own"),
    )
    alone = [maker(network, batch_size=size, **settings)() for size in (20, 10)]
    for trainer, part in zip(alone, parts, strict=True):
        trainer.fit(*part, 1)
    expected = 2 / 3 * numbers(alone[0]) + 1 / 3 * numbers(alone[1])
    assert np.abs(numbers(averaged[1]) - expected).max() < 1e-12


@pytest.mark.skipif(DISABLE_JIT, reason="of compiled code")
@pytest.mark.parametrize("rows", ["all", "own"])
def test_under_fastnn_check_code_may_read_the_rows_that_are_there(rows, monkeypatch):
    """Of shared batches there are more places than rows, or fewer."""
    allowed = []

    @contextmanager
    def allowing(ranges):
        allowed.extend((each.start, each.end) for each in ranges)
        yield

    monkeypatch.setattr(checked, "CHECKED", True)
    monkeypatch.setattr(checked, "allowing", allowing)
    monkeypatch.setattr(checked, "take_stray", lambda: None)
    parts = [X[:70], X[70:]] if rows == "own" else [X, X]

    def fit(trainer, ranks):
        part = parts[ranks.Get_rank()]
        trainer.fit(part, Y[: len(part)], 1, rows=rows)

    trained(2, maker(DROPPED, "cpu"), fit)
    for part in parts:
        start, column = part.ctypes.data, part.nbytes - part[0, 1:].nbytes  # one stands for y
        assert {end - start for first, end in allowed if first == start} == {part.nbytes, column}


# What goes wrong on one rank ends all.


def errors(size, make, fit):
    def work(ranks):
        fit(make(ranks), ranks)

    return run_ranks(size, work)


def nan_in_x(trainer, ranks):
    bad = X.copy()
    bad[3, 4] = np.nan if ranks.Get_rank() == 1 else 0.0
    trainer.fit(bad, Y)


def other_batch_size(trainer, ranks):
    trainer.set(batch_size=32 + ranks.Get_rank())
    trainer.fit(X, Y)


def other_columns(trainer, ranks):
    unknown = Trainer(Network(None, [Dense(2)]), target="numpy", communicator=ranks)
    unknown.fit(X[:, ranks.Get_rank() :], Y)


def other_names(trainer, ranks):
    frame = pytest.importorskip("pandas").DataFrame(X[:, :2], columns=["a", "b"])
    unknown = Trainer(Network(None, [Dense(2)]), target="numpy", communicator=ranks)
    unknown.fit(frame[["b", "a"]] if ranks.Get_rank() else frame, Y, rows="own")


def other_rows(trainer, ranks):
    trainer.fit(X[::-1] if ranks.Get_rank() else X, Y)


def other_parameters(trainer, ranks):
    if ranks.Get_rank():
        trainer.set_parameters([tuple(a + 1 for a in layer) for layer in trainer.parameters])
    trainer.fit(X, Y)


def other_dtype(trainer, ranks):
    trainer.set(dtype="float32" if ranks.Get_rank() else "float64")
    trainer.fit(X, Y)


def other_rows_dtype(trainer, ranks):
    trainer.fit(X.astype(np.float32) if ranks.Get_rank() else X, Y)


def one_setting_of_a_long_network(trainer, ranks):
    limit = 2.0 if ranks.Get_rank() else 1.0
    trainer.set(network=Network(20, [*DROPPED.layers[:2], Dense(2, max_norm=limit)]))
    trainer.fit(X, Y)


def weights_here_alone(trainer, ranks):
    trainer.fit(X, Y, sample_weight=WEIGHTS if ranks.Get_rank() else None)


def no_such_metric(trainer, ranks):
    trainer.fit(X, Y, validation_data=(X, Y), metrics="aucc")


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (nan_in_x, "value nan at row 3, column 4"),
        (other_batch_size, "batch_size: rank 0 has 32, rank 1 has 33"),
        (other_columns, "columns of X: rank 0 has 20, rank 1 has 19"),
        (
            other_names,
            r"names of the columns of X: rank 0 has \('a', 'b'\), rank 1 has \('b', 'a'\)",
        ),
        (other_rows, 'the rows of X and y.*rows="own"'),
        (other_parameters, "parameters and optimizer state"),
        (other_dtype, "dtype: rank 0 has dtype.'float64'.*, rank 1 has dtype.'float32'"),
        (other_rows_dtype, "dtype of X: rank 0 has float64, rank 1 has float32"),
        (
            one_setting_of_a_long_network,
            r"network: rank 0 has \.\.\..*max_norm=1.0,.*, rank 1 has \.\.\..*max_norm=2.0,",
        ),
        (weights_here_alone, "sample_weight: rank 0 has none, rank 1 has one a row"),
        (no_such_metric, "aucc"),
    ],
)
def test_what_one_rank_cannot_train_on_is_said_on_all(fit, words):
    for error in errors(3, maker(DROPPED), fit):
        assert type(error) is InvalidInput
        with pytest.raises(InvalidInput, match=words):
            raise error


def fails(error):
    def callback(trainer, history):
        if len(history) == 2:
            raise error

    return callback


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("oh"), RankFailed), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_an_error_in_a_callback_of_the_first_ends_all_with_its_message(target, error, kind):
    make, trainers = maker(DROPPED, target), [None] * 3

    def fit(trainer, ranks):
        trainers[ranks.Get_rank()] = trainer
        trainer.fit(X, Y, 5, callbacks=fails(error))

    first, *others = errors(3, make, fit)
    assert first is error
    assert [type(each) for each in others] == [kind] * 2
    assert all("oh" in str(each) or "on rank 0" in str(each) for each in others)
    assert [each.epoch for each in trainers] == [2, 2, 2]
    assert len({numbers(each).tobytes() for each in trainers}) == 1


@pytest.mark.parametrize("every", ["step", 2])
@pytest.mark.parametrize("target", TARGETS)
def test_a_rank_that_is_stopped_in_an_epoch_stops_all(target, every):
    """In the middle of a step's sum, or of the first mean of two steps."""
    make = maker(DROPPED, target, synchronise=every)

    def fit(trainer, ranks):
        group = trainer._group
        if group.rank == 1:
            add_up, calls = group.add_up, []

            def interrupted(*given):
                calls.append(given)
                if len(calls) == 3:
                    raise MemoryError("no more")
                return add_up(*given)

            group.add_up = interrupted
            trainer.fit(X, Y, 5)
        else:
            trainer.fit(X, Y, 5)

    first, second, third = errors(3, make, fit)
    assert type(second) is MemoryError
    assert [type(each) for each in (first, third)] == [RankFailed] * 2
    assert "MemoryError: no more" in str(first) and first.rank == 1


@pytest.mark.parametrize("every", ["step", 3])
@pytest.mark.parametrize("target", TARGETS)
def test_divergence_on_one_rank_is_that_of_all_at_the_same_step(target, every):
    """Only the rows of one rank are too large; the trainers go on alike, where they may."""
    network = Network(3, [Dense(1)])
    rows = np.ones((60, 3))
    rows[40:] = 1e200

    def fit(trainer, ranks):
        trainer.fit(rows[20 * ranks.Get_rank() :][:20], np.ones(20), 3, rows="own")

    make = maker(network, target, loss="mse", batch_size=6, synchronise=every)
    found = errors(3, make, fit)
    assert {type(each) for each in found} <= {Diverged} | set(Diverged.__subclasses__())
    assert len({(each.epoch, each.step) for each in found}) == 1
    *others, last = map(str, found)
    assert "X is large" in last
    assert others == [f"on rank 2: {last}"] * 2


@pytest.mark.filterwarnings("ignore::fastnn.errors.TrainingWarning")
def test_going_back_after_divergence_is_the_same_on_all():
    make = maker(
        DROPPED,
        "cpu",
        optimizer=SGD(1e6),
        dtype="float32",
        on_divergence="restore",
        max_restores=50,
    )
    ranks = trained(2, make, lambda t, _: t.fit(X * 1e3, Y, 3))
    assert ranks[0].history.restores and ranks[0].rate_factor == ranks[1].rate_factor < 1
    assert (numbers(ranks[0]) == numbers(ranks[1])).all()


# The first rank decides.


@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping_and_a_plateau_are_the_same_on_all(target):
    settings = {"optimizer": SGD(1.0), "dtype": "float32"}
    calls = [0, 0]

    def fit(trainer, ranks):
        def seen(*_):
            calls[ranks.Get_rank()] += 1

        callbacks = [EarlyStopping(patience=4), ReduceOnPlateau(patience=1), seen]
        trainer.fit(X[:60], Y[:60], 40, (X[60:], Y[60:]), callbacks=callbacks, metrics="auc")

    ranks = trained(2, maker(DROPPED, target, **settings), fit)
    alone = maker(DROPPED, target, **settings)()
    alone.fit(
        X[:60], Y[:60], 40, (X[60:], Y[60:]), metrics="auc",
        callbacks=[EarlyStopping(patience=4), ReduceOnPlateau(patience=1)],
    )  # fmt: skip
    for each in ranks:
        assert len(each.history) == len(alone.history) < 40
        assert each.history.best == alone.history.best
        assert (each.epoch, each.step) == (alone.epoch, alone.step)
        assert each.rate_factor == alone.rate_factor
        assert np.abs(numbers(each) - numbers(alone)).max() < 1e-4
    first, second = (each.history.to_dict() for each in ranks)
    assert first == second and "validation_auc" in ranks[1].history
    assert calls[1] == 0 < calls[0]


@pytest.mark.parametrize("target", TARGETS)
def test_a_checkpoint_goes_on_with_another_number_of_ranks(target, tmp_path):
    settings = {"optimizer": Adam(0.01)}
    make = maker(DROPPED, target, **settings)
    alone = make()
    alone.fit(X, Y, 4)

    def resumed(ranks):
        trainer = Trainer.resume(tmp_path / "run")
        trainer.communicator = ranks
        return trainer

    checkpoint = Checkpoint(tmp_path / "run")
    trained(3, make, lambda t, _: t.fit(X, Y, 2, callbacks=checkpoint))
    ranks = trained(2, resumed, lambda t, _: t.fit(X, Y, 2))
    assert np.abs(numbers(ranks[1]) - numbers(alone)).max() < 1e-10
    assert len(ranks[1].history) == 4


# What is refused.


@pytest.mark.parametrize("value", [1, "world", object(), Ranks, np.zeros(3)])
def test_what_is_no_communicator_is_refused(value):
    with pytest.raises(InvalidInput, match="communicator must be one of mpi4py"):
        Trainer(DROPPED, target="numpy", communicator=value)


@pytest.mark.parametrize("value", ["epoch", 0, 1.5, True])
def test_synchronise_is_a_step_or_a_number_of_them(value):
    with pytest.raises(InvalidInput, match="synchronise must be"):
        Trainer(DROPPED, target="numpy", synchronise=value)


def looking(trainer, ranks):
    trainer.fit(X, Y, callbacks=StepCallback(lambda *_: None, every=2))


class Watching(StepCallback):
    """One of a class of the caller's."""


def watching(trainer, ranks):
    trainer.fit(X, Y, callbacks=[Watching(lambda *_: None, every=2)])


def sweeping(trainer, ranks):
    sweep(trainer, X, Y, 1, grid={"batch_size": [8]})


def sweeping_over_made_ones(trainer, ranks):
    def make(units):
        network = Network(20, [Dense(units), Dense(2)])
        return Trainer(network, target="numpy", communicator=ranks)

    sweep(make, X, Y, 1, grid={"units": [8], "batch_size": [8]})


def training_a_population(trainer, ranks):
    train_population([copy.copy(trainer), trainer], X, Y, 1, validation_data=(X, Y))


def restarting(trainer, ranks):
    trainer.fit(X, Y, restarts=2)


def normalizing(trainer, ranks):
    trainer = Trainer(Network(20, [Dense(4), BatchNorm(), Dense(2)]), communicator=ranks)
    trainer.fit(X, Y)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (looking, "StepCallback.* looks on between steps"),
        (watching, "Watching.* looks on between steps"),
        (restarting, "restarts=2 are several models"),
        (sweeping, "^sweep trains several models, .* 2 processes"),
        (sweeping_over_made_ones, "with units=8, batch_size=8: sweep trains several models"),
        (training_a_population, "train_population trains several models"),
        (normalizing, "BatchNorm.*LayerNorm"),
    ],
)
def test_what_ranks_do_not_do_together_is_refused_on_all(fit, words):
    for error in errors(2, maker(DROPPED), fit):
        assert type(error) is InvalidInput
        with pytest.raises(InvalidInput, match=words):
            raise error


@pytest.mark.parametrize("rows", ["all", "own"])
@pytest.mark.parametrize("target", TARGETS)
def test_rows_that_would_be_decoded_meanwhile_are_refused_on_all(
    target, rows, tmp_path, monkeypatch
):
    """With rows of its own, one process alone has too many to hold."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {f"x{place}": column for place, column in enumerate(X.T)} | {"y": Y}
    for name, count in (("few", 10), ("many", 101)):
        parquet.write_table(pyarrow.table(columns).slice(0, count), tmp_path / f"{name}.parquet")
    monkeypatch.setattr(table_files, "HELD_BYTES", 50 * 20 * 8)

    def fit(trainer, ranks):
        name = "few" if rows == "own" and ranks.Get_rank() else "many"
        trainer.fit(tmp_path / f"{name}.parquet", "y", 1, rows=rows)

    network = Network(None, [Dense(3, "relu"), Dense(2)])
    for error in errors(2, maker(network, target), fit):
        assert type(error) is InvalidInput
        with pytest.raises(InvalidInput, match=r"X has 101 rows in the files.* write them as a"):
            raise error


def test_rows_of_its_own_need_a_communicator():
    with pytest.raises(InvalidInput, match="rows='own' is for a trainer with a communicator"):
        maker(DROPPED)().fit(X, Y, rows="own")


def saved(trainer, path):
    trainer.save(path)
    return Trainer.load(path)


def resumed(trainer, path):
    trainer.fit(X, Y, 0, callbacks=Checkpoint(path))
    trainer.fit(X, Y, 1, callbacks=Checkpoint(path))
    return Trainer.resume(path)


def swept(trainer, path):
    found = sweep(trainer, X, Y, 1, grid={"batch_size": [8]}, workers=1, keep_trainers=True)
    return found[0].trainer


def restarted(trainer, path):
    trainer.fit(X, Y, 1, restarts=2)
    return trainer


def changed(trainer, path):
    trainer.set(batch_size=8, target="cpu")
    return trainer


@pytest.mark.parametrize(
    "other",
    [
        lambda trainer, _: copy.copy(trainer),
        lambda trainer, _: copy.deepcopy(trainer),
        lambda trainer, _: pickle.loads(pickle.dumps(trainer)),
        saved, resumed, swept, restarted, changed,
    ],
)  # fmt: skip
def test_synchronise_stays_with_the_settings(other, tmp_path):
    found = other(maker(DROPPED, synchronise=4)(), tmp_path / "model")
    assert found.synchronise == 4

    def work(ranks):
        mine = copy.copy(found)
        mine.communicator = ranks
        return mine.synchronise, mine._group.every

    assert run_ranks(2, work) == [(4, 4)] * 2


def test_files_and_pickles_from_before_synchronise_add_up_in_every_step(tmp_path):
    trainer = maker(DROPPED, synchronise=4)()
    trainer.save(tmp_path / "model")
    arrays, content = tensor_file.read(tmp_path / "model")
    del content["synchronise"]
    tensor_file.write(tmp_path / "model", arrays, content)
    assert Trainer.load(tmp_path / "model").synchronise == "step"
    tensor_file.write(tmp_path / "model", arrays, content | {"synchronise": 0})
    with pytest.raises(CorruptFile, match="synchronise must be"):
        Trainer.load(tmp_path / "model")
    model = trainer.__getstate__()
    del model.__dict__["synchronise"]
    trainer.__setstate__(pickle.loads(pickle.dumps(model)))
    assert trainer.synchronise == "step"


def test_a_copy_trains_alone_and_a_communicator_is_assigned():
    def work(ranks):
        trainer = maker(DROPPED)(ranks)
        trainer.fit(X, Y, 1)
        other = copy.copy(trainer)
        assert trainer.communicator is ranks and other.communicator is None
        if ranks.Get_rank() == 0:
            other.fit(X, Y, 1)  # nobody else has to
        trainer.communicator = None
        trainer.fit(X, Y, 1)
        return other, trainer

    (other, first), (_, second) = run_ranks(2, work)
    assert (numbers(first) == numbers(second)).all() and (numbers(first) == numbers(other)).all()


def test_the_command_line_names_what_is_missing_without_mpi(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    out = tmp_path / "model"
    assert main(["train", "x.csv", "--label", "y", "--mpi", "--out", str(out)]) == 2
    assert "--mpi needs mpi4py" in capsys.readouterr().err and not out.exists()


def test_the_first_alone_needs_rows_to_validate_on():
    """All make the same calls, early stopping and metrics among them."""

    def fit(trainer, ranks, of=0):
        given = (X[:40], Y[:40]) if ranks.Get_rank() == of else None
        stopping = EarlyStopping(patience=1)
        trainer.fit(X, Y, 30, given, callbacks=[stopping], metrics="auc")

    make = maker(DROPPED, optimizer=SGD(5.0))
    alone = make()
    alone.fit(X, Y, 30, (X[:40], Y[:40]), callbacks=[EarlyStopping(patience=1)], metrics="auc")
    for each in trained(3, make, fit):
        assert len(each.history) == len(alone.history) < 30
        assert np.allclose(each.history.validation_loss, alone.history.validation_loss)
    for error in errors(3, make, lambda *given: fit(*given, of=1)):
        assert type(error) is InvalidInput
        assert "rank 1 has validation_data and rank 0 has none" in str(error)
