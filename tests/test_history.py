"""The record of training: lists, a table, and plain values for a file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fastnn.errors import CorruptFile
from fastnn.training.history import History


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
    history.loss.append(0.1)
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
    changed.seconds[2] = 0.26
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
