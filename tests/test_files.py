"""Rows in files: read in place, a window ahead, to the same bits as rows in memory."""

import mmap
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from simulator import SIMULATED
from trainer_cases import TARGETS, trainer_of
from trainer_cases import state_of as everything_of

from fastnn import (
    SGD,
    CorruptFile,
    Dense,
    FastnnError,
    InvalidInput,
    MissingFile,
    StepCallback,
    Trainer,
    UnusableFile,
    sweep,
)
from fastnn.inputs import pages
from fastnn.inputs.arrays import numbers_anywhere
from fastnn.inputs.pages import pages_of
from fastnn.training import reading

N = 211 if SIMULATED else 613
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(N, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, N)
REAL = RANDOM.normal(size=(N, 2)).astype(np.float32)
WEIGHTS = RANDOM.uniform(0.5, 2, N)
PIECE = 1024  # bytes: 64 rows of X
needs_advice = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no such advice here")


def state_of(trainer):
    """Return all that training changes but what depends on threads and clocks."""
    epoch, step, history, arrays = everything_of(trainer)
    return epoch, step, history["loss"], history["validation_loss"], arrays


class Map(mmap.mmap):
    """A map that writes down what it is advised."""

    def __init__(self, *arguments, **named):
        self.advice = []

    def madvise(self, option, *where):
        """Take a note, and do it."""
        self.advice.append((option, *where))
        super().madvise(option, *where)

    def advised(self, option):
        """Return which bytes were advised so, as booleans."""
        found = np.zeros(len(self), bool)
        for each, start, length in (each for each in self.advice if len(each) == 3):
            if each == option:
                found[start : start + length] = True
        return found


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Have small files read in pieces, and parts of orders be small where nothing is read."""
    monkeypatch.setattr(pages, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(reading, "ORDERED_ROWS", 150)


@pytest.fixture
def file(tmp_path):
    """Return the path of X in a file."""
    np.save(tmp_path / "X.npy", X)
    return tmp_path / "X.npy"


def raw_map(file, kind=Map, **named):
    """Return X as a view of a map of its own."""
    with open(file, "rb" if named.get("access") == mmap.ACCESS_READ else "r+b") as stream:
        found = kind(stream.fileno(), 0, **named)
    return found, np.frombuffer(found, np.float32, offset=128).reshape(X.shape)


WAYS = {
    "text": str,
    "path": Path,
    "map to read": lambda file: np.load(file, mmap_mode="r"),
    "map to write": lambda file: np.load(file, mmap_mode="r+"),
    "map to copy": lambda file: np.load(file, mmap_mode="c"),
    "array of a map": lambda file: np.asarray(np.load(file, mmap_mode="r")),
    "map of one's own": lambda file: raw_map(file, mmap.mmap, access=mmap.ACCESS_READ)[1],
}
SETTINGS = {
    "window": {"shuffle": 100},
    "large window": {"shuffle": 500},
    "smallest window": {"shuffle": 2},
    "window of all": {"shuffle": N},
    "in order": {"shuffle": False},
    "all rows": {"shuffle": True},
    "one row a step": {"shuffle": 90, "batch_size": 1},
    "steps longer than windows": {"shuffle": 90, "batch_size": 250},
    "one step": {"shuffle": 90, "batch_size": N},
    "momentum": {"shuffle": 64, "batch_size": 64, "optimizer": SGD(0.1, 0.9)},
}
KINDS = {
    "deep": {},
    "wide": {"layers": [Dense(64, "relu"), Dense(3)]},
    "narrow": {"layers": [Dense(3)]},
}
if SIMULATED:  # which takes seconds for each
    SETTINGS = {name: SETTINGS[name] for name in ("window", "in order")}
    KINDS = {"deep": {}}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_training_from_a_file_comes_to_the_bits_of_memory(
    settings, kind, target, file, monkeypatch
):
    settings = {"target": target} | KINDS[kind] | SETTINGS[settings]
    expected = trainer_of(**settings)
    expected.fit(X, LABELS, epochs=3, validation_data=(X[:50], LABELS[:50]))
    known = {
        1: [True] * 4,
        3: [False] * 4,
        None: [False, True, False, True],
    }  # in memory, by epochs
    for threads in (1, 3) if target == "cpu" else (None,):
        trainer = trainer_of(threads=threads, **settings)
        monkeypatch.setattr(
            pages.Pages, "resident", lambda _, to=trainer, by=known[threads]: by[to.epoch]
        )
        trainer.fit(file, LABELS, epochs=3, validation_data=(X[:50], LABELS[:50]))
        assert state_of(trainer) == state_of(expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_map_trains_and_predicts(way, target, file):
    expected, trainer = (trainer_of(target=target, shuffle=100) for _ in range(2))
    expected.fit(X, LABELS, epochs=2, validation_data=(X, LABELS, WEIGHTS))
    rows = WAYS[way](file)
    trainer.fit(rows, LABELS, epochs=2, validation_data=(rows, LABELS, WEIGHTS))
    for layer, wanted in zip(trainer.parameters, expected.parameters, strict=True):
        assert all(map(np.array_equal, layer, wanted))
    # Products of another number of rows round differently in NumPy.
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(trainer.forward(rows), expected.forward(X), **close)
    np.testing.assert_allclose(trainer.predict_proba(rows), expected.predict_proba(X), **close)
    assert np.array_equal(trainer.predict(rows), expected.predict(X))
    measured = trainer.evaluate(rows, LABELS, metrics="auc")
    assert measured == pytest.approx(expected.evaluate(X, LABELS, metrics="auc"), rel=1e-5)
    for name in ("validation_loss", "validation_accuracy"):
        assert trainer.history[name] == pytest.approx(expected.history[name], rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_one_linear_output_trains_from_files_too(target, file, tmp_path):
    np.save(tmp_path / "y.npy", REAL[:, 0])
    np.save(tmp_path / "weights.npy", WEIGHTS)
    for settings in ({"optimizer": SGD(0.01)}, {"optimizer": SGD(0.01), "batch_size": 1}):
        settings |= {"layers": [Dense(1)], "loss": "mse", "target": target, "shuffle": 80}
        for weights in (None, WEIGHTS):
            expected, trainer = trainer_of(**settings), trainer_of(**settings)
            expected.fit(X, REAL[:, 0], epochs=2, sample_weight=weights)
            path = None if weights is None else tmp_path / "weights.npy"
            trainer.fit(file, tmp_path / "y.npy", epochs=2, sample_weight=path)
            assert state_of(trainer) == state_of(expected)


def test_views_of_maps_are_where_they_say(file):
    mapped = np.load(file, mmap_mode="r")
    views = {
        "rows": (mapped[7:], X[7:]),
        "every other row": (mapped[::2], X[::2]),
        "columns": (mapped[:, 1:], X[:, 1:]),
        "columns from the last": (mapped[:, ::-1], X[:, ::-1]),
    }
    for name, (view, plain) in views.items():
        assert pages_of(view) is not None, name
        found = np.concatenate(list(pages.in_pieces(view)))
        assert np.array_equal(found, plain), name
        k = plain.shape[1]
        expected, trainer = (trainer_of([Dense(3)], k, target="cpu", shuffle=50) for _ in range(2))
        expected.fit(plain, LABELS[: len(plain)], epochs=2)
        trainer.fit(view, LABELS[: len(plain)], epochs=2)
        assert state_of(trainer) == state_of(expected), name


def test_what_is_scattered_or_in_memory_has_no_pages(file, tmp_path):
    np.save(tmp_path / "columns.npy", np.asfortranarray(X))
    columns = np.load(tmp_path / "columns.npy", mmap_mode="r")
    mapped = np.load(file, mmap_mode="r")
    for array in (X, X[::-1], columns, mapped[:, :1], mapped[::-1], mapped.copy(), mapped[:0], 3):
        assert pages_of(array) is None
    expected, trainer = (trainer_of(target="cpu", shuffle=100) for _ in range(2))
    expected.fit(X, LABELS, epochs=2)
    trainer.fit(tmp_path / "columns.npy", LABELS, epochs=2)
    assert state_of(trainer) == state_of(expected)


def test_small_files_are_as_good_as_memory(file, monkeypatch):
    monkeypatch.setattr(pages, "PIECE_BYTES", X.nbytes + 129)
    assert pages_of(np.load(file, mmap_mode="r")) is None


@needs_advice
@pytest.mark.parametrize("shuffle", [100, False])
def test_rows_are_asked_for_and_let_go_in_their_turn(shuffle, file, monkeypatch):
    monkeypatch.setattr(pages, "LARGE_PAGE", mmap.PAGESIZE)
    source, rows = raw_map(file, access=mmap.ACCESS_READ)
    trainer = trainer_of([Dense(3)], target="cpu", shuffle=shuffle)
    trainer.fit(rows[:10], LABELS[:10], epochs=0)
    begun = []
    train = reading.Reading.train

    def noted(*arguments):
        begun.append(len(source.advice))
        return train(*arguments)

    monkeypatch.setattr(reading.Reading, "train", noted)
    trainer.fit(rows, LABELS, epochs=1)
    assert source.advised(mmap.MADV_DONTNEED).all()  # by the look for NaN
    (first,) = begun
    source.advice[:first] = []
    asked = [each for each in source.advice if each[0] == mmap.MADV_WILLNEED]
    assert asked and source.advised(mmap.MADV_WILLNEED).all()
    assert source.advised(mmap.MADV_DONTNEED).all()
    scattered = [each for each in source.advice if each == (mmap.MADV_RANDOM,)]
    assert not scattered and source.advice[-1] == (
        (mmap.MADV_NORMAL,) if shuffle else source.advice[-1]
    )


def forgotten(file):
    """Have the system forget a file, of which no page may be mapped."""
    with open(file, "r+b") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def file_system(path):
    """Return the kind of the file system that a path is in; "" where Linux does not know it so."""
    device = os.stat(path).st_dev
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            mount, _, source = line.partition(" - ")
            if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                return source.split()[0]
    return ""


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return the path of rows in a file of some pages, of which what is in memory is known."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells what of a file is in memory")
    if file_system(tmp_path) not in ("ext4", "xfs"):
        pytest.skip("files may be in memory whether they have been read or not")
    monkeypatch.setattr(pages, "PIECE_BYTES", 64 << 10)
    monkeypatch.setattr(mmap, "mmap", Map)  # which numpy.memmap makes
    np.save(tmp_path / "rows.npy", np.resize(X, (20_000, 4)))
    return tmp_path / "rows.npy"


@pytest.mark.parametrize("shuffle", [2000, False])
def test_nothing_is_asked_for_or_let_go_of_what_is_in_memory(shuffle, cached):
    labels = np.resize(LABELS, 20_000)
    for in_memory in (False, True):
        forgotten(cached)
        if in_memory:
            cached.read_bytes()
        rows = np.load(cached, mmap_mode="r")
        trainer = trainer_of([Dense(3)], target="cpu", shuffle=shuffle)
        assert pages_of(rows).resident() == in_memory
        trainer.fit(rows, labels, epochs=1)
        trainer.predict(rows)
        seen = {each[0] for each in rows._mmap.advice}
        assert (mmap.MADV_DONTNEED in seen) == (not in_memory)
        # The look for NaN has read all that there is.
        assert mmap.MADV_WILLNEED not in seen and pages_of(rows).resident()
        del rows, trainer
    forgotten(cached)
    with open(cached, "rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # nothing around it
        os.pread(stream.fileno(), 4 * mmap.PAGESIZE, 0)
    rows = np.load(cached, mmap_mode="r")
    assert pages_of(rows[:900]).resident() and not pages_of(rows).resident()


def test_what_the_system_does_not_tell_is_not_taken_for_memory(cached, monkeypatch):
    cached.read_bytes()
    rows = np.load(cached, mmap_mode="r")
    with open(cached, "rb") as stream:
        source = Map(stream.fileno(), 0, access=mmap.ACCESS_READ)
    nameless = np.frombuffer(source, np.float32, offset=128).reshape(rows.shape)
    assert pages_of(rows).resident() and pages_of(rows[::2].view(np.ndarray)).resident()
    assert not pages_of(nameless).resident()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        assert pages_of(rows).resident()  # it is one's own
        patch.setattr(os, "geteuid", lambda: os.stat(cached).st_uid + 1)
        assert not pages_of(rows).resident()
    with monkeypatch.context() as patch:
        patch.setattr(pages, "_mincore", lambda: None)
        assert not pages_of(rows).resident()
    monkeypatch.setattr(pages, "LOOKED_AT_BYTES", 8 * mmap.PAGESIZE)
    assert pages_of(rows).resident()
    os.remove(cached)
    assert not pages_of(rows).resident()


@needs_advice
@pytest.mark.parametrize("access", [mmap.ACCESS_WRITE, mmap.ACCESS_COPY])
def test_no_change_of_a_map_is_let_go(access, file):
    source, rows = raw_map(file, access=access)
    rows[5] = 7.0
    trainer = trainer_of(target="cpu", shuffle=100)
    trainer.fit(rows, LABELS, epochs=2)
    trainer.predict(rows)
    assert mmap.MADV_DONTNEED not in {each[0] for each in source.advice}
    assert np.all(rows[5] == 7.0) and np.array_equal(rows[6:], X[6:])
    assert np.all(np.load(file)[5] == (7.0 if access == mmap.ACCESS_WRITE else X[5]))


def test_systems_without_advice_train_all_the_same(file, monkeypatch):
    for name in ("_WANTED", "_SCATTERED", "_USUAL", "_LET_GO"):
        monkeypatch.setattr(pages, name, None)
    expected, trainer = (trainer_of(target="cpu", shuffle=100) for _ in range(2))
    expected.fit(X, LABELS, epochs=2)
    trainer.fit(file, LABELS, epochs=2)
    assert state_of(trainer) == state_of(expected)


def test_functions_that_look_on_see_the_same_steps(file):
    seen = []
    for rows in (X, file):
        looks = []

        def look(trainer, step, loss, looks=looks):
            looks.append((step, loss, trainer.predict(X[:9]).tolist()))

        trainer = trainer_of(target="cpu", shuffle=100)
        trainer.fit(rows, LABELS, epochs=2, callbacks=StepCallback(look, every=7))
        seen.append((looks, state_of(trainer)))
    assert seen[0] == seen[1] and len(seen[0][0]) == 2 * 77 // 7


def test_restarts_and_sweeps_share_a_file(file):
    settings = {"target": "cpu", "shuffle": 100}
    expected, trainer = trainer_of(**settings), trainer_of(**settings)
    expected.fit(X, LABELS, epochs=3, restarts=4)
    trainer.fit(file, LABELS, epochs=3, restarts=4)
    assert state_of(trainer) == state_of(expected)
    grid = {"batch_size": [8, 100], "shuffle": [60, False]}
    losses = [
        [run.training_loss for run in sweep(trainer_of(target="cpu"), rows, LABELS, 2, grid=grid)]
        for rows in (X, file)
    ]
    assert losses[0] == losses[1]


def test_divergence_is_restored_from_files_as_from_memory(file):
    settings = {
        "layers": [Dense(2)], "loss": "mse", "optimizer": SGD(3.0), "target": "cpu",
        "shuffle": 100, "on_divergence": "restore", "max_restores": 20,
    }  # fmt: skip
    expected, trainer = trainer_of(**settings), trainer_of(**settings)
    expected.fit(X, REAL, epochs=9)
    trainer.fit(file, REAL, epochs=9)
    assert expected.history.restores and state_of(trainer) == state_of(expected)


def test_a_trainer_keeps_nothing_of_a_file(file, tmp_path):
    trainer = trainer_of(target="cpu", shuffle=100)
    trainer.fit(file, LABELS, epochs=1)
    trainer.save(tmp_path / "model")
    os.remove(file)
    later = pickle.loads(pickle.dumps(Trainer.load(tmp_path / "model")))
    later.fit(X, LABELS, epochs=1)
    trainer.fit(X, LABELS, epochs=1)
    assert state_of(later) == state_of(trainer)


def test_a_number_that_is_none_is_found_in_its_row(tmp_path):
    for row in (0, 300, N - 1):
        wrong = X.copy()
        wrong[row, 2] = np.nan
        np.save(tmp_path / "X.npy", wrong)
        with pytest.raises(InvalidInput, match=rf"X value nan at row {row}, column 2 is not a"):
            trainer_of().fit(tmp_path / "X.npy", LABELS)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i2", "u1", "?"])
def test_files_of_any_numbers_train_as_their_arrays(dtype, tmp_path):
    rows = np.abs(X * 10).astype(dtype) if dtype != "?" else X > 0
    np.save(tmp_path / "X.npy", rows)
    expected, trainer = (trainer_of(target="cpu", shuffle=100) for _ in range(2))
    expected.fit(rows, LABELS, epochs=1)
    trainer.fit(tmp_path / "X.npy", LABELS, epochs=1)
    assert state_of(trainer) == state_of(expected)


def test_a_file_too_large_to_be_converted_is_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X.astype(">f4"))
    monkeypatch.setattr("fastnn.inputs.memory.machine_bytes", lambda: 4000)
    with pytest.raises(InvalidInput, match="X, whose dtype >f4 is converted to float32, would"):
        trainer_of().fit(tmp_path / "X.npy", LABELS)


def save(path, array, **named):
    """Write an array, and return the path."""
    np.save(path, array, **named)
    return path


def archive(path):
    np.savez(path, rows=X)
    return path.with_suffix(".npy.npz") if not path.exists() else path


def cut(path, count):
    """Write X without its last bytes."""
    np.save(path, X)
    os.truncate(path, os.path.getsize(path) - count)
    return path


def written(path, content):
    path.write_bytes(content)
    return path


HEADER = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
REFUSED = {
    "missing": (lambda p: p, MissingFile, "X is taken for a path, and there is no such file"),
    "folder": (lambda p: p.parent, UnusableFile, "this is a folder"),
    "no name": (lambda p: "", InvalidInput, "X is '', which is no path of a .npy file"),
    "zero in the name": (lambda p: "a\0b", InvalidInput, "no path of a .npy file"),
    "archive": (archive, InvalidInput, r"X: .* is an archive of several arrays \(.npz\)"),
    "objects": (
        lambda p: save(p, np.array([{}, 1], object), allow_pickle=True),
        InvalidInput,
        r"X: .* has Python objects \(dtype object\), which are pickled and never read here",
    ),
    "columns with names": (
        lambda p: save(p, np.zeros(3, [("a", "f4"), ("b", "f4")])),
        InvalidInput,
        "X: .* has columns with names",
    ),
    "strings": (lambda p: save(p, np.array(["a", "b"])), InvalidInput, "X has dtype <U1, not"),
    "dates": (lambda p: save(p, np.zeros(3, "M8[s]")), InvalidInput, "turn dates into numbers"),
    "one dimension": (
        lambda p: save(p, X[:, 0]),
        InvalidInput,
        r"X has shape \(613,\) but must be",
    ),
    "wrong width": (lambda p: save(p, X[:, :3]), InvalidInput, "X has 3 columns but the network"),
    "no rows": (lambda p: save(p, X[:0]), InvalidInput, r"X has no rows \(shape \(0, 4\)\)"),
    "cut off by a byte": (
        lambda p: cut(p, 1),
        CorruptFile,
        r"X: .* is truncated: .*\(613, 4\).* takes 9936 bytes with its header.* has 9935",
    ),
    "cut off in the header": (lambda p: cut(p, X.nbytes + 60), CorruptFile, "the header of .* is"),
    "cut off in the magic": (lambda p: cut(p, X.nbytes + 123), CorruptFile, "is no .npy file"),
    "empty": (lambda p: written(p, b""), CorruptFile, "is no .npy file, for it begins with b''"),
    "text": (lambda p: written(p, b"a,b\n1,2\n"), CorruptFile, "is no .npy file.*b'a,b"),
    "later version": (
        lambda p: written(p, b"\x93NUMPY\x09\x00" + bytes(200)),
        CorruptFile,
        "the header of .* is damaged, or of a later version",
    ),
    "code in the header": (
        lambda p: written(p, (HEADER % b"__import__('os').abort()").ljust(128) + bytes(99)),
        CorruptFile,
        "the header of .* is damaged",
    ),
    "negative shape": (
        lambda p: written(p, (HEADER % b"-3").ljust(127) + b"\n" + bytes(99)),
        CorruptFile,
        r"its shape is \(-3,\)",
    ),
    "more than there are addresses": (
        lambda p: written(p, (HEADER % b"9" * 1).ljust(127) + b"\n" + bytes(4)),
        CorruptFile,
        "is truncated",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_array_of_numbers_is_refused(case, tmp_path):
    make, kind, complaint = REFUSED[case]
    trainer = trainer_of()
    path = make(tmp_path / "X.npy")
    with pytest.raises(kind, match=complaint) as found:
        trainer.fit(path, LABELS)
    assert isinstance(found.value, FastnnError) and trainer.epoch == 0
    with pytest.raises(kind):
        trainer.predict(path)
    if kind is not InvalidInput:  # of the system's errors, the file is an attribute
        assert str(tmp_path) in str(found.value)


def test_messages_name_what_the_file_was_given_as(file, tmp_path):
    trainer = trainer_of()
    with pytest.raises(MissingFile, match="y is taken for a path"):
        trainer.fit(file, tmp_path / "y.npy")
    with pytest.raises(MissingFile, match="sample_weight is taken for a path"):
        trainer.fit(file, LABELS, sample_weight=tmp_path / "w.npy")
    with pytest.raises(CorruptFile, match="y: .* is truncated"):
        trainer.fit(file, cut(tmp_path / "y.npy", 4))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableFile, match="a pipe, a device or a socket"):
        trainer_of().fit(tmp_path / "pipe", LABELS)


def test_a_file_in_either_order_is_its_array(tmp_path):
    for rows in (X, np.asfortranarray(X), X[:, 0], X[:0], np.float32(3.0)):
        np.save(tmp_path / "X.npy", rows)
        found = numbers_anywhere(str(tmp_path / "X.npy"), "X", None)
        assert np.array_equal(found, rows) and found.dtype == np.float32
        if rows.ndim == 2 and rows.size:
            assert found.flags.f_contiguous == rows.flags.f_contiguous
        assert not found.size or not found.flags.writeable
    with open(tmp_path / "X.npy", "wb") as stream:
        np.lib.format.write_array(stream, X, version=(2, 0))
        stream.write(b"what follows is nobody's")
    assert np.array_equal(numbers_anywhere(tmp_path / "X.npy", "X", None), X)
