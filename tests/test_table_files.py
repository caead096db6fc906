"""Parquet and Arrow files that are trained on without being held in memory."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trainer_cases import state_of

from fastnn import (
    SGD,
    Adam,
    CorruptFile,
    Dense,
    Dropout,
    InvalidInput,
    MissingFile,
    Network,
    StepCallback,
    Trainer,
    UnusableFile,
    datasets,
    sweep,
)
from fastnn.inputs import table_files
from fastnn.inputs.table_files import TableRows, of_table
from fastnn.random.row_orders import shuffled
from fastnn.random.windows import GroupOrder

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

RANDOM = np.random.default_rng(7)
N, COLUMNS, GROUP, BATCH = 1003, 5, 40, 16
X = RANDOM.normal(size=(N, COLUMNS)).astype(np.float32)
X[:, 1] = RANDOM.integers(0, 9, N)  # which the file has as integers
Y = RANDOM.integers(0, 3, N)
WEIGHTS = RANDOM.uniform(0.5, 2.0, N)
TARGETS = ["numpy", "cpu"]


@pytest.fixture(autouse=True)
def streamed(monkeypatch):
    """Have no table read into memory for being small."""
    monkeypatch.setattr(table_files, "HELD_BYTES", 0)


def table_of(rows=slice(None), **columns):
    features = {f"c{place}": X[rows, place] for place in range(COLUMNS)}
    features["c1"] = X[rows, 1].astype(np.int64)
    return pa.table(features | {"label": Y[rows], "weight": WEIGHTS[rows]} | columns)


def written(folder, kind):
    """Return what a kind of file is trained on by."""
    if kind == "folder":
        (folder / "rows" / "part").mkdir(parents=True)
        half = GROUP * 12
        pq.write_table(table_of(slice(half)), folder / "rows/a.parquet", row_group_size=GROUP)
        with pa.ipc.new_file(folder / "rows/part/b.arrow", table_of().schema) as file:
            file.write_table(table_of(slice(half, None)), max_chunksize=GROUP)
        return folder / "rows"
    if kind == "feather":
        feather.write_feather(table_of(), folder / "rows.feather", chunksize=GROUP)
        return folder / "rows.feather"
    if kind == "lists":
        listed = pa.FixedSizeListArray.from_arrays(X.ravel(), COLUMNS)
        table = pa.table({"x": listed, "label": Y, "weight": WEIGHTS})
        pq.write_table(table, folder / "rows.parquet", row_group_size=GROUP)
        return folder / "rows.parquet"
    pq.write_table(table_of(), folder / "rows.parquet", row_group_size=GROUP)
    if kind == "dataset":
        import pyarrow.dataset

        return pyarrow.dataset.dataset(folder / "rows.parquet")
    return str(folder / "rows.parquet")


BOTH = {"y": "label", "sample_weight": "weight"}


def trainer_of(**settings):
    network = Network(COLUMNS, [Dense(6, "tanh"), Dropout(0.2), Dense(3)])
    return Trainer(network, optimizer=Adam(0.01), batch_size=BATCH, **settings)


def trained_in_memory(orders, target, X=X):
    """Return a trainer that has gone through rows in memory, an epoch in each of these orders."""
    trainer = trainer_of(shuffle=False, target=target)
    for order in orders:
        trainer.fit(X[order], Y[order], 1, sample_weight=WEIGHTS[order])
    return trainer


def edges_of():
    return np.array([*range(0, N, GROUP), N])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["parquet", "feather", "folder", "lists", "dataset"])
def test_rows_of_files_are_trained_on_as_rows_in_memory(kind, target, tmp_path):
    source = written(tmp_path, kind)
    window = 208  # of 200 rows, in whole steps
    orders = [GroupOrder(0, epoch, edges_of(), window, shuffled)[:] for epoch in range(3)]
    expected = trained_in_memory(orders, target)
    trainer = trainer_of(shuffle=200, target=target)
    trainer.fit(source, epochs=3, **BOTH)
    assert trainer.history.loss == expected.history.loss
    for layer, other in zip(trainer.parameters, expected.parameters, strict=True):
        for array, same in zip(layer, other, strict=True):
            np.testing.assert_array_equal(array, same)
    names = None if kind == "lists" else tuple(f"c{place}" for place in range(COLUMNS))
    assert trainer.feature_names == names


def test_an_order_of_groups_has_every_row_once_and_mixes_those_of_a_window():
    edges = np.array([0, 7, 8, 50, 60, 100])
    orders = [GroupOrder(3, epoch, edges, 32, shuffled)[:] for epoch in range(4)]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert len({tuple(order) for order in orders}) == 4
    order = GroupOrder(3, 0, edges, 32, shuffled)
    for window in range(order.windows):
        rows = order[window * 32 : window * 32 + 32]
        runs = order.runs(window, window + 1)
        assert sorted(rows) == sorted(np.concatenate([np.arange(*run) for run in runs]))
        assert all(len({*np.searchsorted(edges, [a, b - 1], "right")}) == 1 for a, b in runs)


def test_rows_in_order_and_resuming_at_any_epoch(tmp_path):
    path = written(tmp_path, "parquet")
    in_order = trainer_of(shuffle=False).fit(path, epochs=2, **BOTH)
    assert in_order.loss == trained_in_memory([slice(None)] * 2, "cpu").history.loss
    whole = trainer_of(shuffle=100)
    whole.fit(path, epochs=5, **BOTH)
    parts = trainer_of(shuffle=100)
    parts.fit(path, epochs=2, **BOTH)
    parts.save(tmp_path / "model")
    parts = Trainer.load(tmp_path / "model")
    parts.fit(path, epochs=3, **BOTH)
    assert parts.history.loss == whole.history.loss
    assert state_of(parts) == state_of(whole)


def test_looking_on_between_steps_changes_nothing(tmp_path):
    path, seen = written(tmp_path, "parquet"), []
    first, second = trainer_of(shuffle=100), trainer_of(shuffle=100)
    first.fit(path, epochs=2, **BOTH)
    look = StepCallback(lambda trainer, step, loss: seen.append(step), every=5)
    second.fit(path, epochs=2, callbacks=look, **BOTH)
    assert len(seen) > 20 and state_of(first) == state_of(second)


def test_a_window_follows_from_memory_and_all_windows_are_as_long(tmp_path, monkeypatch):
    path = written(tmp_path, "parquet")
    row = COLUMNS * 4
    monkeypatch.setattr(table_files, "WINDOW_BYTES", 400 * row)  # three of 335 rows, in whole steps
    default, named = trainer_of(), trainer_of(shuffle=335)
    assert default.fit(path, epochs=2, **BOTH).loss == named.fit(path, epochs=2, **BOTH).loss
    monkeypatch.setattr(table_files, "HELD_BYTES", 1 << 20)
    held = trainer_of().fit(path, epochs=2, **BOTH).loss
    in_memory = trainer_of().fit(X, Y, 2, sample_weight=WEIGHTS).loss
    assert held == in_memory, "a small table is held, and shuffled as a whole"


def test_restarts_and_sweeps_read_the_file_each(tmp_path):
    from concurrent.futures import ProcessPoolExecutor

    path = written(tmp_path, "parquet")
    trainer = trainer_of(shuffle=100)
    trainer.fit(path, epochs=2, restarts=3, **BOTH)
    best = trainer.history.restarts[trainer.history.restarts.best]
    alone = trainer_of(shuffle=100, seed=best.seed).fit(path, epochs=2, **BOTH)
    assert alone.loss == trainer.history.loss
    rows = sweep(trainer_of(shuffle=100), path, epochs=1, grid={"units": [2, 4]}, **BOTH)
    with ProcessPoolExecutor(1) as executor:
        there = sweep(
            trainer_of(shuffle=100), path, epochs=1, grid={"units": [2, 4]}, executor=executor,
            **BOTH,
        )  # fmt: skip
    assert [row.training_loss for row in rows] == [row.training_loss for row in there]


def test_a_table_travels_as_where_its_files_are(tmp_path):
    table, y, weight = of_table(written(tmp_path, "parquet"), "label", None)
    again = pickle.loads(pickle.dumps(table))
    assert len(pickle.dumps(table)) < 5_000 and again.shape == (N, COLUMNS + 1)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(again.whole()[:, :COLUMNS], X)


def test_validation_data_may_be_files_too(tmp_path):
    path = written(tmp_path, "parquet")
    validation = (path, "label", "weight")
    history = trainer_of().fit(path, epochs=2, validation_data=validation, **BOTH)
    validation = (X, Y, WEIGHTS)
    inside = trainer_of().fit(path, epochs=2, validation_data=validation, **BOTH)
    assert history.validation_loss == inside.validation_loss


def test_files_are_evaluated_on_and_predicted_in_memory(tmp_path):
    path = written(tmp_path, "lists")
    trainer = trainer_of()
    trainer.fit(X, Y, 1)
    assert trainer.evaluate(path, *BOTH.values()) == trainer.evaluate(X, Y, WEIGHTS)
    pq.write_table(pa.table({f"c{place}": X[:, place] for place in range(COLUMNS)}), path)
    np.testing.assert_array_equal(trainer.predict(path), trainer.predict(X))


@pytest.mark.parametrize(
    "change, text",
    [
        ({"c2": pa.array([None, *X[1:, 2].tolist()])}, "'c2' has missing values"),
        ({"c2": np.where(np.arange(N) == 702, np.nan, X[:, 2])}, "nan in row 702, column 'c2'"),
        ({"c3": np.where(np.arange(N) == 3, 1e300, 0.0)}, "inf in row 3, column 'c3', as float32"),
        ({"c4": ["text"] * N}, "'c4' of type string, which is no number"),
        ({"more": X[:, 0]}, "has 6 columns but the network has 5 inputs"),
        ({"label": Y + 1}, "has label 3 at row"),
    ],
)
def test_what_cannot_be_trained_on(change, text, tmp_path):
    pq.write_table(table_of(**change), tmp_path / "rows.parquet", row_group_size=GROUP)
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match=text):
        trainer.fit(tmp_path / "rows.parquet", "label", 1, sample_weight="weight")
    assert not trainer.epoch


@pytest.mark.parametrize("name", ["long" * 99, "long" * 99 + ".parquet", "nul\0.arrow"])
def test_a_path_that_no_file_can_have_is_an_error_of_the_family(name):
    trainer = trainer_of()
    for call in (lambda: trainer.fit(name, "label", 1), lambda: trainer.predict(name)):
        with pytest.raises(InvalidInput if "\0" in name else UnusableFile):
            call()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_the_place_of_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "rows.parquet")
    with pytest.raises(UnusableFile, match="a pipe, a device or a socket"):
        trainer_of().fit(tmp_path / "rows.parquet", "label", 1)


def test_files_that_cannot_be_read(tmp_path):
    path = Path(written(tmp_path, "parquet"))
    with pytest.raises(MissingFile):
        trainer_of().fit(tmp_path / "none.parquet", "label", 1)
    with pytest.raises(InvalidInput, match="has no column 'y', but 'c0'"):
        trainer_of().fit(path, "y", 1)
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(CorruptFile, match="damaged, or no parquet file"):
        trainer_of().fit(tmp_path / "bad.parquet", "label", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableFile):
        trainer_of().fit(tmp_path / "empty", Y, 1)
    other = pa.table({"c0": X[:, 0], "label": Y})
    pq.write_table(other, tmp_path / "other.parquet")
    (tmp_path / "bad.parquet").unlink()
    said = r"rows.parquet has other columns than .*other.parquet: there is no column 'c1' there"
    with pytest.raises(InvalidInput, match=said):
        trainer_of().fit(tmp_path, "label", 1)
    for change, said in (
        (lambda table: table.append_column("c9", table["c0"]), "it has no column 'c9'"),
        (lambda table: table.set_column(0, "c0", pa.array(["a"] * len(X))), "'c0' is .*there str"),
    ):
        pq.write_table(change(pq.read_table(path)), tmp_path / "other.parquet")
        with pytest.raises(InvalidInput, match=rf"rows.parquet has other columns .*: .*{said}"):
            trainer_of().fit(tmp_path, "label", 1)


def test_a_row_group_that_is_damaged_later_ends_the_epoch(tmp_path):
    path = Path(written(tmp_path, "parquet"))
    trainer = trainer_of(shuffle=100)
    trainer.fit(path, epochs=1, **BOTH)
    before, stat = state_of(trainer), path.stat()
    decode, calls = TableRows.decode, []

    def breaks(self, group, out, files):
        calls.append(group)
        if len(calls) == 9:
            raise CorruptFile("row group 9 cannot be read")
        decode(self, group, out, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableRows, "decode", breaks)
        with pytest.raises(CorruptFile, match="row group 9"):
            trainer.fit(path, epochs=1, **BOTH)
    assert state_of(trainer) == before and path.stat() == stat
    trainer.fit(path, epochs=1, **BOTH)
    again = trainer_of(shuffle=100)
    again.fit(path, epochs=2, **BOTH)
    assert state_of(trainer) == state_of(again)


def test_steps_that_overlap_cannot_be_read_for(tmp_path):
    line = Trainer(Network(COLUMNS, [Dense(1)]), "mse", SGD(0.01), batch_size=1)
    with pytest.raises(InvalidInput, match="cannot be read for a linear model"):
        line.fit(written(tmp_path, "parquet"), epochs=1, **BOTH)


MOST = 60 << 20
GROUPS = Path("/sys/fs/cgroup/memory")  # of version 1
IN_GROUP = """
import os, resource, sys
from pathlib import Path
import numpy as np
from fastnn import Dense, Network, Trainer
from fastnn.inputs import table_files

table_files.HELD_BYTES, table_files.WINDOW_BYTES = 0, 8 << 20
path, limit, groups = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
def trainer():
    return Trainer(Network(128, [Dense(4, "relu"), Dense(3)]), batch_size=512, threads=1)
trainer().fit(path + "/small.parquet", "label", 1)  # all libraries are there from here on
group = groups / f"fastnn-{os.getpid()}"
group.mkdir()
try:
    (group / "memory.limit_in_bytes").write_text(str(limit))
    (group / "cgroup.procs").write_text("0")
    model = trainer()
    model.fit(path + "/large.parquet", "label", 1)
    print(int((group / "memory.max_usage_in_bytes").read_text()), model.step)
finally:
    (groups / "cgroup.procs").write_text("0")
    group.rmdir()
"""


@pytest.mark.skipif(
    not os.access(GROUPS / "cgroup.procs", os.W_OK), reason="nobody may make control groups here"
)
def test_a_control_group_of_a_third_of_the_rows_is_enough(tmp_path):
    rows, group = 360_000, 4_000
    part = np.random.default_rng(0).random((group, 128), np.float32)
    listed = pa.FixedSizeListArray.from_arrays(part.ravel(), 128)
    table = pa.table({"x": listed, "label": np.arange(group) % 3})
    assert rows * 128 * 4 > 2.9 * MOST
    for name, count in (("small", 1), ("large", rows // group)):
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", table.schema) as writer:
            for _ in range(count):
                writer.write_table(table)
    arguments = [str(tmp_path), str(MOST), str(GROUPS)]
    command = [sys.executable, "-W", "ignore", "-c", IN_GROUP, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    most, steps = map(int, done.stdout.split())
    assert most <= MOST and steps == -(-rows // 512)


def test_digits_in_the_order_of_their_labels_are_learnt(tmp_path):
    digits, labels = datasets.digits()
    order = np.argsort(labels, kind="stable")
    digits, labels = digits[order].astype(np.float32), labels[order]
    listed = pa.FixedSizeListArray.from_arrays(digits.ravel(), 64)
    path = tmp_path / "sorted.parquet"
    pq.write_table(pa.table({"x": listed, "label": labels}), path, row_group_size=10)
    found = []
    for window in (600, False):
        network = Network(64, [Dense(32, "relu"), Dense(10)])
        trainer = Trainer(network, optimizer=SGD(0.2), batch_size=32, shuffle=window)
        trainer.fit(path, "label", 12)
        found.append(trainer.evaluate(digits, labels)["accuracy"])
    assert found[0] > 0.97 and found[1] < 0.9, "rows in order are a bias"


def test_a_dataset_or_folder_that_is_not_what_its_files_are_is_refused(tmp_path):
    import pyarrow.csv
    import pyarrow.dataset as datasets_of
    import pyarrow.fs

    path = written(tmp_path, "parquet")
    dataset, schema = datasets_of.dataset(path), table_of().schema
    column = datasets_of.field("label")
    hive, table = tmp_path / "hive", table_of()
    parts = {"partitioning": ["label"], "partitioning_flavor": "hive"}
    datasets_of.write_dataset(table, hive, format="parquet", **parts)
    pyarrow.csv.write_csv(table, tmp_path / "rows.csv")
    double = schema.set(0, pa.field("c0", pa.float64()))
    beside = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    for source, text in (
        (dataset.filter(column == 0), f"with {(Y == 0).sum()} rows, where its files have {N}"),
        (dataset.replace_schema(schema.remove(0)), "no column 'c0', where .* 'c0' of type float"),
        (
            datasets_of.dataset(path, schema=double),
            "'c0' of type double, where its files have 'c0' of type",
        ),
        (dataset.replace_schema(pa.schema(list(schema)[::-1])), "in another order"),
        (datasets_of.dataset(hive, partitioning="hive"), "'label' of type int32, where .* have no"),
        (hive, r"parts, as label=0, have a column 'label'"),
        (datasets_of.dataset(tmp_path / "rows.csv", format="csv"), "of csv files that has no"),
        (datasets_of.dataset("rows.parquet", filesystem=beside), "no Parquet or Arrow files on"),
    ):
        with pytest.raises(InvalidInput, match=text):
            of_table(source, "weight", None)
    for source in (datasets_of.dataset(hive), dataset.filter(column < 3)):
        assert len(of_table(source, "weight", None)[0]) == N


@pytest.mark.parametrize("held", [0, 1 << 30])
def test_columns_of_several_files_go_by_name_in_the_order_of_the_first(held, tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "HELD_BYTES", held)
    first, later = table_of(slice(500)), table_of(slice(500, None))
    pq.write_table(first, tmp_path / "a.parquet", row_group_size=GROUP)
    pq.write_table(later.select(later.column_names[::-1]), tmp_path / "b.parquet")
    rows, _, _ = of_table(tmp_path, "label", "weight")
    assert rows.names == ("c0", "c1", "c2", "c3", "c4")
    assert (rows.whole() == X).all()


def test_parts_of_a_folder_that_are_hidden_are_left_out(tmp_path):
    rows = written(tmp_path, "folder")
    for name in (".ipynb_checkpoints", "_temporary", "part/.hidden"):
        (rows / name).mkdir()
        pq.write_table(table_of(), rows / name / "a.parquet")
    pq.write_table(table_of(), rows / "_common.parquet")
    assert len(of_table(rows, "label", None)[0]) == N
    hidden = rows / ".ipynb_checkpoints"
    assert len(of_table(hidden, "label", None)[0]) == N, "which is named"


CHANGES = [
    (change, during, False)
    for change in ("other", "nan", "groups", "shorter", "columns", "gone")
    for during in ("epochs", "steps")
]


@pytest.mark.parametrize(
    "change, during, same_time",
    [*CHANGES, ("groups", "epochs", True), ("shorter", "epochs", True)],
)
def test_a_file_that_is_written_while_it_is_trained_on(change, during, same_time, tmp_path):
    path = Path(written(tmp_path, "parquet"))
    before, stamp = path.stat(), table_files._stamp(path)
    shape = {
        "other": {"c0": -X[:, 0]},
        "nan": {"c0": np.full(N, np.nan)},
        "columns": {"c9": X[:, 0]},
    }.get(change, {})

    def write(trainer, *_):
        if trainer.step < 63 or not path.exists():
            return
        if change == "gone":
            path.unlink()
            return
        rows = slice(0, 700 if change == "shorter" else N)
        table = table_of(rows, **shape) if not shape else table_of(**shape)
        pq.write_table(table, path, row_group_size=GROUP + 7 * (change == "groups"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (not same_time)))

    calls = write if during == "epochs" else StepCallback(write, every=70)
    trainer, expected = trainer_of(shuffle=100), trainer_of(shuffle=100)
    expected.fit(path, epochs=1, **BOTH)
    with pytest.MonkeyPatch.context() as patch:
        if same_time:
            patch.setattr(table_files, "_stamp", lambda path: stamp)
        error, text = InvalidInput, "rows.parquet has been changed while it was read"
        if change == "gone":
            error, text = MissingFile, "no such file any more"
        with pytest.raises(error, match=text):
            trainer.fit(path, epochs=3, callbacks=calls, **BOTH)
    assert trainer.epoch == 1 and state_of(trainer) == state_of(expected)


def test_a_missing_value_of_y_is_nan(tmp_path, monkeypatch):
    targets, path = np.where(np.arange(N) % 5, X[:, 0], np.nan), tmp_path / "rows.parquet"
    nulls = [None if np.isnan(value) else value for value in targets.tolist()]
    flags = [None if value is None else value > 0 for value in nulls]
    pairs = pa.array([None if value is None else [value, None] for value in nulls])
    pairs = pairs.cast(pa.list_(pa.float64(), 2))
    table = table_of(target=pa.array(nulls), flag=pa.array(flags), pair=pairs)
    pq.write_table(table, path, row_group_size=GROUP)
    found = of_table(path, ["target", "flag"], None)[1]
    expected = np.column_stack((targets, np.where(np.isnan(targets), np.nan, targets > 0)))
    np.testing.assert_array_equal(found, expected)
    pair = of_table(path, "pair", None)[1]
    np.testing.assert_array_equal(pair, np.column_stack((targets, np.full(N, np.nan))))
    features = table.drop_columns(["flag", "pair", "label", "weight"])
    pq.write_table(features, path, row_group_size=GROUP)
    losses = []
    for source, y in ((path, "target"), (X, targets)):
        monkeypatch.setattr(table_files, "HELD_BYTES", 1 << 20)
        trainer = Trainer(Network(None, [Dense(1)]), "mse", SGD(0.01), ignore_nan=True)
        losses.append(trainer.fit(source, y, 2).loss)
    assert losses[0] == losses[1]
    with pytest.raises(InvalidInput, match="y value nan at row 0"):
        Trainer(Network(None, [Dense(1)]), "mse").fit(path, "target", 1)
    with pytest.raises(InvalidInput, match="'target' has missing values"):
        Trainer(Network(None, [Dense(1)]), "mse").fit(path, "c0", 1, sample_weight="target")


def test_a_path_holds_in_other_folders(tmp_path, monkeypatch):
    written(tmp_path, "parquet")
    monkeypatch.chdir(tmp_path)
    table, _, _ = of_table("rows.parquet", "label", None)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(table)).whole().shape == (N, COLUMNS + 1)


@pytest.mark.parametrize("loss, outputs", [("mse", 3), ("mse", 10), ("softmax_cross_entropy", 10)])
def test_single_rows_of_a_table_come_to_the_bits_of_rows_in_memory(
    loss, outputs, tmp_path, monkeypatch
):
    columns, rows = 64, 4000
    monkeypatch.setattr(table_files, "WINDOW_BYTES", 1000 * columns * 8)
    random = np.random.default_rng(0)
    numbers, y = random.normal(size=(rows, columns)), random.normal(size=(rows, outputs))
    table = pa.table({f"c{place}": numbers[:, place] for place in range(columns)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=500)
    found = []
    for given in (numbers, tmp_path / "x.parquet"):
        trainer = Trainer(
            Network(columns, [Dense(outputs)]), loss, SGD(1e-3), 1, l2=1e-3, target="cpu",
            dtype="float64", shuffle=False,
        )  # fmt: skip
        trainer.fit(given, y.argmax(axis=1) if loss.startswith("softmax") else y, epochs=2)
        found.append(np.vstack([*trainer.parameters[0]]))
    np.testing.assert_array_equal(*found)
