"""TensorBoard shows each epoch of the history once; what writes for it need not be installed."""

import importlib.util
from copy import copy

import pytest
from trainer_cases import LABELS, X, trainer_of

from fastnn import Checkpoint, EarlyStopping, InvalidInput, MissingExtra, TensorBoard, Trainer
from fastnn.training.callbacks import tensorboard

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


class Recorded:
    """A writer that keeps what it is told."""

    made: list = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step = folder, purge_step
        self.points, self.flushed, self.open = [], 0, True
        self.made.append(self)

    def add_scalar(self, tag, value, step):
        """Keep a point."""
        assert self.open
        self.points.append((tag, value, step))

    def flush(self):
        """Take note that all points are in the file."""
        self.flushed = len(self.points)

    def close(self):
        """Take no more."""
        self.open = False


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(tensorboard, "_maker", lambda: Recorded)
    monkeypatch.setattr(Recorded, "made", [])
    return Recorded.made


def test_each_series_has_a_point_an_epoch_in_the_file(recorded, tmp_path):
    trainer = trainer_of()

    def look(trainer, history):
        writer = recorded[-1]
        assert writer.flushed == len(writer.points) == 5 * len(history)

    trainer.fit(X, LABELS, 3, callbacks=[TensorBoard(tmp_path), look], **VALIDATION)
    (writer,) = recorded
    assert writer.folder == str(tmp_path) and writer.purge_step == 1 and not writer.open
    for name, tag in (
        ("loss", "loss/train"),
        ("validation_loss", "loss/validation"),
        ("validation_accuracy", "accuracy/validation"),
        ("learning_rate", "learning_rate"),
        ("seconds", "seconds"),
    ):
        values = getattr(trainer.history, name)
        points = [(tag, value, step) for step, value in enumerate(values, start=1)]
        assert [point for point in writer.points if point[0] == tag] == points


def test_an_epoch_without_validation_has_fewer_points(recorded, tmp_path):
    trainer_of().fit(X, LABELS, 1, callbacks=TensorBoard(tmp_path))
    assert [tag for tag, *_ in recorded[0].points] == ["loss/train", "learning_rate", "seconds"]


def test_epochs_done_anew_drop_the_points_from_before(recorded, tmp_path):
    trainer, board = trainer_of(), TensorBoard(tmp_path)
    calls = [board, Checkpoint(tmp_path)]
    trainer.fit(X, LABELS, 9, callbacks=[*calls, EarlyStopping(2, "loss", 10.0)])
    trainer.fit(X, LABELS, 2, callbacks=calls)
    Trainer.resume(tmp_path).fit(X, LABELS, 1, callbacks=board)
    assert [writer.purge_step for writer in recorded] == [1, 2, 4]
    assert not any(writer.open for writer in recorded)


def test_it_is_closed_after_an_error(recorded, tmp_path):
    with pytest.raises(ZeroDivisionError):
        trainer_of().fit(X, LABELS, 2, callbacks=[TensorBoard(tmp_path), lambda *_: 1 / 0])
    assert not recorded[0].open


def test_without_a_writer_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[tensorboard\]"'):
        TensorBoard(tmp_path)


def test_no_path_is_refused():
    with pytest.raises(InvalidInput, match="folder must be a path, not 3"):
        TensorBoard(3)


@pytest.mark.parametrize("library", ["tensorboard", "tensorboardX"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_was_written(library, monkeypatch, tmp_path):
    for name in {"tensorboard", library}:  # which reads, and which writes
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    find = importlib.util.find_spec
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: name == library and find(name))
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=TensorBoard(tmp_path), **VALIDATION)
    earlier = copy(trainer)
    for epochs in (1, 3):  # the second time goes back by an epoch, as after a kill
        trainer.restore(earlier)
        trainer.fit(X, LABELS, epochs, callbacks=TensorBoard(tmp_path), **VALIDATION)
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert set(found.Tags()["scalars"]) == set(tensorboard.TAGS.values())
    for name, tag in tensorboard.TAGS.items():
        points = found.Scalars(tag)
        assert [point.step for point in points] == [1, 2, 3, 4, 5]
        expected = getattr(trainer.history, name)
        assert [point.value for point in points] == pytest.approx(expected, rel=1e-6)
