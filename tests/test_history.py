"""The record of training: lists, a table, and plain values for a file."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import time
from typing import Any

import numpy as np
import pytest

from fastnn.errors import CorruptFile
from fastnn.storage import tensor_file
from fastnn.threads.atomic import at_once
from fastnn.training.history import _SERIES, History


def trained(epochs: int, validation: bool = True, **settings: Any) -> History:
    """Return a history of `epochs` epochs."""
    history = History(**settings)
    for epoch in range(epochs):
        extra = (0.5 / (epoch + 1), 0.9) if validation else ()
        history.append(1.0 / (epoch + 1), 0.25, 0.1, *extra)
    return history


def test_each_list_has_one_entry_an_epoch():
    history = trained(3)
    history.append(0.2, 0.3, 0.05)
    assert len(history) == 4
    assert history.loss == [1.0, 0.5, 1 / 3, 0.2]
    assert history.seconds == [0.25, 0.25, 0.25, 0.3]
    assert history.learning_rate == [0.1, 0.1, 0.1, 0.05]
    assert history.validation_loss == [0.5, 0.25, 0.5 / 3, None]
    assert history.validation_accuracy == [0.9, 0.9, 0.9, None]


def test_later_epochs_can_be_forgotten_even_if_entered_in_part():
    history, shorter = trained(3), trained(2)
    list.append(history.loss, 0.1)  # the rest of the row has not come
    history.truncate(2)
    assert history == shorter


def test_the_best_epoch_is_forgotten_with_its_entries():
    history = trained(4)
    history.best = 2
    history.truncate(3)
    assert history.best == 2
    history.truncate(2)
    assert history.best is None


def test_a_copy_is_equal_and_has_lists_of_its_own():
    history = trained(3, target="cpu", threads=2, reason="asked for")
    history.best = 1
    other = history.copy()
    assert other == history
    other.append(1.0, 1.0, 1.0)
    assert len(history) == 3 and len(history.validation_loss) == 3


def test_histories_agree_in_as_many_epochs_as_they_share():
    history = trained(3)
    longer = history.copy()
    longer.append(0.1, 0.3, 0.1)
    changed = history.copy()
    changed.truncate(2)
    changed.append(1 / 3, 0.26, 0.1, 0.5 / 3, 0.9)
    assert [history.agrees(longer, epochs) for epochs in range(5)] == [True] * 4 + [False]
    assert [history.agrees(changed, epochs) for epochs in (0, 2, 3)] == [True, True, False]


def test_histories_do_not_share_their_lists():
    trained(2)
    assert len(History()) == 0


def test_the_table_names_what_is_there_and_leaves_out_what_is_not():
    text = repr(trained(2, validation=False, target="cpu", threads=2, reason="2 cores"))
    lines = text.splitlines()
    assert lines[0] == "History of 2 epochs on cpu, 2 threads (2 cores)"
    assert lines[1].split() == ["epoch", "loss", "learning_rate", "seconds"]
    assert [line.split() for line in lines[2:]] == [
        ["1", "1", "0.1", "0.25"],
        ["2", "0.5", "0.1", "0.25"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


def test_an_epoch_without_validation_has_a_dash():
    history = trained(1)
    history.append(0.5, 0.25, 0.1)
    assert repr(history).splitlines()[-1].split() == ["2", "0.5", "-", "-", "0.1", "0.25"]


@pytest.mark.parametrize("epochs", [11, 12, 57, 1000])
def test_a_long_table_is_short_and_has_the_first_and_the_last_epoch(epochs):
    rows = repr(trained(epochs, first_epoch=5)).splitlines()[2:]
    numbers = [int(row.split()[0]) for row in rows]
    assert len(rows) == 10
    assert numbers[0] == 6 and numbers[-1] == epochs + 5
    assert numbers == sorted(set(numbers))


def test_the_table_says_which_epoch_is_the_best():
    history = trained(3, target="cpu", threads=2, first_epoch=4)
    history.best = 1
    head = "History of 3 epochs on cpu, 2 threads; the best is epoch 6"
    assert repr(history).splitlines()[0] == head


def test_a_history_without_epochs_is_one_line():
    assert repr(History()) == "History of 0 epochs"
    assert (
        repr(trained(1, target="numpy")).splitlines()[0] == "History of 1 epoch on numpy, 1 thread"
    )


def test_a_history_goes_through_json_unchanged():
    history = trained(3, target="cpu", threads=2, reason="asked for", first_epoch=4)
    float32: Any = np.float32
    history.append(float32(0.1), float32(0.2), 0.1)
    history.best = 1
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


def test_the_dict_is_a_copy():
    history = trained(1)
    history.to_dict()["loss"].append(3.0)
    values = history.to_dict()
    History.from_dict(values).append(1.0, 1.0, 1.0)
    assert len(history) == 1 and len(values["loss"]) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"loss": None},
        {"loss": [1.0, None]},
        {"loss": [1.0, "2"]},
        {"loss": [1.0, True]},
        {"loss": [1.0]},
        {"validation_loss": 0.5},
        {"seconds": []},
        {"target": 3},
        {"threads": "2"},
        {"threads": -1},
        {"first_epoch": 0.5},
        {"unknown": 1},
        {"best": 2},
        {"best": -1},
        {"best": True},
        {"best": 0.5},
        {"best": []},
    ],
)
def test_a_damaged_dict_is_refused(damage):
    with pytest.raises(CorruptFile, match="saved history is damaged"):
        History.from_dict(trained(2).to_dict() | damage)


@pytest.mark.parametrize("values", [None, [], "text", {}, {"loss": []}])
def test_what_is_no_history_is_refused(values):
    with pytest.raises(CorruptFile):
        History.from_dict(values)


def test_a_device_has_no_threads_to_tell_of():
    assert repr(History("cuda", 1, "chosen")) == "History of 0 epochs on cuda (chosen)"


def many(epochs: int) -> History:
    """Return a history of as many epochs, in one go."""
    history = History()
    rows = [(1.0 / (n + 1), None, None, 0.1, 1e-3 * n) for n in range(epochs)]
    at_once(history.entering(0, rows))
    return history


def lists_of(history: History) -> dict[str, list[Any]]:
    return {name: list(getattr(history, name)) for name in _SERIES}


def test_epochs_entered_or_forgotten_in_one_history_are_not_in_its_copies():
    history = trained(5)
    before, expected = history.copy(), lists_of(history)
    history.append(0.5, 0.5, 0.5)
    later, longer = history.copy(), lists_of(history)
    history.truncate(2)
    history.append(0.25, 0.25, 0.25, 0.25, 0.25)
    assert (len(before), len(later), len(history)) == (5, 6, 3)
    assert lists_of(before) == expected and lists_of(later) == longer
    assert history.loss == [*expected["loss"][:2], 0.25]
    assert history.agrees(before, 2) and not history.agrees(before, 3)
    before.append(0.1, 0.1, 0.1)
    assert len(before) == 6 and before.loss[:5] == expected["loss"]


def test_the_lists_are_lists_for_whoever_takes_them():
    history = trained(3)
    other = history.copy()
    for each in (history, other):
        assert (
            isinstance(each.loss, list)
            and json.dumps(each.loss) == "[1.0, 0.5, 0.3333333333333333]"
        )
        for again in (pickle.loads(pickle.dumps(each.loss)), copy.copy(each.loss), each.loss[:]):
            assert type(again) is list and again == each.loss
        assert type(each.to_dict()["loss"]) is list
        assert each.loss is each.loss


def seconds(call: Any, times: int = 200) -> float:
    """Return the least time of a call, without the garbage collector."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(times):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
    finally:
        gc.enable()
    return best


def test_a_copy_takes_as_long_for_a_hundred_thousand_epochs_as_for_ten():
    short, long = many(10), many(100_000)
    assert seconds(long.copy) < 5 * seconds(short.copy)
    assert seconds(long.copy().copy) < 5 * seconds(short.copy().copy)
    assert seconds(lambda: long.agrees(long.copy(), 99_999)) < 5 * seconds(
        lambda: short.agrees(short.copy(), 9)
    )


@pytest.mark.parametrize("epochs", [0, 1, 2, 57])
@pytest.mark.parametrize("validation", [False, True])
def test_a_history_goes_through_arrays_and_pickles_unchanged(epochs, validation):
    history = trained(epochs, validation, target="cpu", threads=2, reason="because")
    if epochs == 57:
        history.append(float("inf"), 0.1, 0.0)  # without validation data
        history.append(1e-300, 0.1, 0.0, float("nan"), 0.5)
    values, arrays = history.to_arrays()
    found = History.from_arrays(json.loads(json.dumps(values)), arrays)
    for other in (found, pickle.loads(pickle.dumps(history)), copy.deepcopy(history)):
        assert repr(other.to_dict()) == repr(history.to_dict())  # NaN is no NaN's equal
        other.append(1.0, 1.0, 1.0)
        assert len(other) == len(history) + 1
    assert len(arrays.get("learning_rate.numbers", "")) == {0: 0, 1: 1, 2: 1, 57: 59}[epochs]


def test_a_pickle_of_an_earlier_version_is_read():
    state = {"target": "cpu", "threads": 1, "reason": "", "first_epoch": 0, "best": 1}
    state |= lists_of(trained(3)) | {"restarts": History().restarts, "restores": []}
    history = History.__new__(History)
    history.__setstate__(state)
    expected = trained(3, target="cpu")
    expected.best = 1
    assert history == expected and history.copy() == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda values, arrays: values.update(epochs=3),
        lambda values, arrays: arrays.update({"loss.numbers": np.zeros(4)}),
        lambda values, arrays: values.update(loss=[1.0, 0.5]),
        lambda values, arrays: values.pop("target"),
        lambda values, arrays: arrays.pop("loss.numbers"),
        lambda values, arrays: arrays.update({"loss.numbers": np.zeros(0)}),
        lambda values, arrays: arrays.update({"other.numbers": np.zeros(3)}),
        lambda values, arrays: arrays.update({"loss.other": np.zeros(3)}),
        lambda values, arrays: arrays.update({"loss.none": np.ones(3, bool)}),
        lambda values, arrays: arrays.update({"validation_loss.none": np.ones(2, bool)}),
        lambda values, arrays: arrays.update({"loss.numbers": np.zeros(2)}),
        lambda values, arrays: arrays.update({"loss.numbers": np.zeros(3, np.float32)}),
        lambda values, arrays: arrays.update({"loss.numbers": np.zeros((3, 1))}),
    ],
)
def test_damaged_arrays_are_refused(damage):
    values, arrays = trained(3).to_arrays()
    damage(values, arrays)
    with pytest.raises(CorruptFile, match="saved history is damaged"):
        History.from_arrays(values, arrays)


def test_a_trainer_of_many_epochs_is_copied_at_once_and_its_file_is_small(tmp_path):
    from trainer_cases import LABELS, X, trainer_of

    trainers = [trainer_of(), trainer_of()]
    for trainer, epochs in zip(trainers, (10, 100_000), strict=True):
        trainer.fit(X, LABELS, epochs=1)
        model = trainer.__getstate__()
        model.history, model.epoch = many(epochs), epochs
        trainer.__setstate__(model)
        trainer.fit(X, LABELS, epochs=1)
    short, long = (seconds(lambda trainer=trainer: copy.copy(trainer)) for trainer in trainers)
    assert long < 5 * short
    path = tmp_path / "model.safetensors"
    trainers[1].save(path)
    assert path.stat().st_size < 18 * 100_001  # eight bytes for a loss, eight for its seconds
    again = type(trainer).load(path)
    assert again.history == trainers[1].history and again.history.learning_rate[-1] == 0.1


def test_a_file_of_format_1_with_its_history_as_plain_values_is_read(tmp_path, monkeypatch):
    from trainer_cases import LABELS, X, state_of, trainer_of

    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=3)
    path = tmp_path / "model.safetensors"
    trainer.save(path)
    tensors, content = tensor_file.read(path)
    tensors = {name: array for name, array in tensors.items() if not name.startswith("history.")}
    monkeypatch.setattr(tensor_file, "FORMAT", 1)
    tensor_file.write(path, tensors, content | {"history": trainer.history.to_dict()})
    monkeypatch.undo()
    again = type(trainer).load(path)
    assert state_of(again) == state_of(trainer) and again.history == trainer.history


def test_early_stopping_takes_as_long_after_many_epochs_as_after_few():
    from trainer_cases import trainer_of

    from fastnn import EarlyStopping

    took = []
    for epochs in (10, 100_000):
        trainer, stopping = trainer_of(), EarlyStopping(10**9, "loss")
        model = trainer.__getstate__()
        model.history, model.epoch = many(epochs), epochs
        trainer.__setstate__(model)

        def better(trainer=trainer, stopping=stopping):
            """Enter a better epoch, which is copied, and one that is not, which is compared."""
            history = trainer.history
            least = min(history.loss[-2:])
            for loss in (0.5 * least, least):
                after = trainer._state._replace(epoch=trainer.epoch + 1)
                trainer._advance(after, [(loss, None, None, 0.1, time.perf_counter())])
                stopping(trainer, history)

        took.append(seconds(better))
        assert stopping.best.epoch == trainer.epoch - 1
    assert took[1] < 5 * took[0]
