"""What a history has is read as lists are, and changed by nobody but the trainer."""

from __future__ import annotations

import bisect
import copy
import json
import operator
import pickle
import random
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
from trainer_cases import LABELS, X, state_of, trainer_of

from fastnn import Checkpoint, EarlyStopping, Trainer
from fastnn.errors import InvalidInput, NotAssignable
from fastnn.threads.atomic import at_once
from fastnn.training.history import _SERIES, History, Restore
from fastnn.training.restart_results import Restart, Restarts

CHANGES = {
    "item": lambda series: series.__setitem__(1, 9.0),
    "slice": lambda series: series.__setitem__(slice(0, 2), [9.0]),
    "del": lambda series: series.__delitem__(0),
    "*=": lambda series: operator.imul(series, 0),
    "+=": lambda series: operator.iadd(series, [9.0]),
    "insert": lambda series: series.insert(0, 9.0),
    "pop": lambda series: series.pop(),
    "remove": lambda series: series.remove(series[1]),
    "clear": lambda series: series.clear(),
    "sort": lambda series: series.sort(key=str),
    "reverse": lambda series: series.reverse(),
    "append": lambda series: series.append(9.0),
    "extend": lambda series: series.extend([9.0]),
    "insort": lambda series: bisect.insort(series, 9.0, key=lambda _: 0),
    "shuffle": lambda series: np.random.default_rng(0).shuffle(series),
    "random.shuffle": lambda series: random.shuffle(series),
}
CHANGES_BY_NAME = {
    "item": lambda metrics: metrics.__setitem__("validation_auc", []),
    "del": lambda metrics: metrics.__delitem__("validation_auc"),
    "|=": lambda metrics: operator.ior(metrics, {"loss": []}),
    "pop": lambda metrics: metrics.pop("validation_auc"),
    "popitem": lambda metrics: metrics.popitem(),
    "clear": lambda metrics: metrics.clear(),
    "update": lambda metrics: metrics.update(loss=[]),
    "setdefault": lambda metrics: metrics.setdefault("loss", []),
}


def through_arrays(history: History) -> History:
    values, arrays = history.to_arrays()
    return History.from_arrays(json.loads(json.dumps(values)), arrays)


WAYS = {
    "itself": lambda history: history,
    "copy": History.copy,
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda history: pickle.loads(pickle.dumps(history)),
    "arrays": through_arrays,
    "dict": lambda history: History.from_dict(history.to_dict()),
    "shortened": lambda history: history.truncate(3) or history,
}


def full() -> History:
    """Return a history of four epochs that has something of every kind."""
    restores = [Restore(2, 0, 1, 0.1, 0.05), Restore(1, 3, 1, 0.05, 0.025)]
    ends = (Restart(seed, 4, 0.2, 0.2, 0.9, 0.1, False, {"validation_auc": 0.6}) for seed in (1, 2))
    history = History("numpy", restores=restores)
    rows = [(number, number, number, number, number) for number in (0.3, 0.1, 0.4, 0.2)]
    at_once(history.entering(0, rows, {"validation_auc": [0.5, 0.7, 0.6, None]}))
    history.restarts = Restarts(ends)
    return history


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*_SERIES, "validation_auc", "restores"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_list_of_a_history_is_only_read(change, name, way):
    history = WAYS[way](full())
    before = history.to_dict()
    series = history.restores if name == "restores" else history[name]
    with pytest.raises(NotAssignable, match=r"only read: .* list\(history.loss\),? is a copy"):
        CHANGES[change](series)
    assert history.to_dict() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES_BY_NAME)
def test_metrics_by_their_names_are_only_read(change, way):
    history = WAYS[way](full())
    before = history.to_dict()
    for metrics in (history.metrics, history.restarts[1].metrics):
        with pytest.raises(NotAssignable, match=r"dict\(history.metrics\), is a copy"):
            CHANGES_BY_NAME[change](metrics)
        for copied in (dict(metrics), metrics.copy(), copy.copy(metrics), metrics | {}):
            assert type(copied) is dict and copied == metrics
    assert history.to_dict() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*_SERIES, "metrics", "restores"])
def test_no_other_list_can_be_assigned_or_the_list_be_deleted(name, way):
    history = WAYS[way](full())
    before = history.to_dict()
    with pytest.raises(NotAssignable, match=rf"history.{name} cannot be assigned"):
        setattr(history, name, getattr(history, name))
    with pytest.raises(AttributeError):
        delattr(history, name)
    assert history.to_dict() == before


def test_a_list_of_a_history_is_read_as_any_other():
    history = full()
    loss = history.loss
    assert isinstance(loss, list) and loss == [0.3, 0.1, 0.4, 0.2] and [0.3] != loss
    assert (loss[-1], loss[1:3], min(loss), loss.index(0.4), 0.1 in loss) == (
        0.2, [0.1, 0.4], 0.1, 2, True
    )  # fmt: skip
    assert sorted(loss) == [0.1, 0.2, 0.3, 0.4] and list(reversed(loss))[0] == 0.2
    assert np.array(loss).tolist() == loss and repr(loss) == repr(list(loss))
    assert json.dumps(history.metrics) == '{"validation_auc": [0.5, 0.7, 0.6, null]}'
    for copied in (list(loss), loss[:], loss.copy(), copy.copy(loss), loss + [], loss * 1):
        assert type(copied) is list and copied == loss
        for change in ("append", "sort", "pop", "+="):
            CHANGES[change](copied)
    history.append(0.1, 0.1, 0.1)
    assert loss is history.loss and len(loss) == 5


def fitted(epochs: int = 4, **settings: Any) -> Trainer:
    trainer = trainer_of(target="numpy")
    trainer.fit(X, LABELS, epochs, (X, LABELS), **settings)
    return trainer


def test_losses_of_a_fit_are_not_extended_by_themselves():
    trainer = trainer_of(target="numpy")
    losses = trainer.fit(X, LABELS, 2).loss
    with pytest.raises(NotAssignable):
        losses += trainer.fit(X, LABELS, 2).loss
    assert (trainer.epoch, len(trainer.history), len(losses)) == (4, 4, 4)
    assert len(repr(trainer.history).splitlines()) == 6


@pytest.mark.parametrize("change", ["pop", "clear", "append"])
def test_a_callback_that_would_change_the_history_ends_the_fit(change):
    with pytest.raises(NotAssignable):
        fitted(callbacks=lambda trainer, history: CHANGES[change](history.seconds))


@pytest.mark.parametrize("epochs", range(6))
def test_epochs_that_were_forgotten_in_a_history_leave_lists_of_one_length(epochs, tmp_path):
    """Also where a metric comes in the next fit, of which those before have nothing."""
    trainer = fitted()
    trainer.history.truncate(epochs)
    history = trainer.fit(X, LABELS, 2, (X, LABELS), metrics={"m": lambda y, z: 1.0})
    assert {len(history[name]) for name in history.names} == {min(epochs, 4) + 2}
    trainer.save(tmp_path / "model.safetensors")
    assert state_of(Trainer.load(tmp_path / "model.safetensors")) == state_of(trainer)


def _assign(name: str, value: Any, trainer: Trainer, history: History) -> None:
    setattr(history, name, value)


JUNK: dict[str, Any] = {
    "best": (9, -1, True, "3", 1.0, np.int64(2)),
    "target": (None, 3),
    "reason": (None,),
    "threads": (-1, None, "2"),
    "first_epoch": (-1, 0.5),
    "restarts": (None, [], "text"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in JUNK for value in JUNK[name]]
)
def test_no_file_is_written_that_could_not_be_read(name, value, tmp_path):
    trainer, path = fitted(), tmp_path / "model.safetensors"
    trainer.save(path)
    before = path.read_bytes()
    setattr(trainer.history, name, value)
    with pytest.raises(InvalidInput, match=rf"history\.{name} cannot be .* after 4 epochs"):
        trainer.save(path)
    assign = partial(_assign, name, value)
    error = ValueError if name == "first_epoch" else InvalidInput  # which the file's name has
    with pytest.raises(error):
        fitted(callbacks=[assign, Checkpoint(tmp_path / "others")])
    assert path.read_bytes() == before and not list((tmp_path / "others").glob("*"))


@pytest.mark.parametrize("row", [(None, 0.1, 0.1), (0.1, None, 0.1), (0.1, 0.1, None)])
def test_an_epoch_without_a_loss_is_no_file_either(row, tmp_path):
    trainer = fitted()
    trainer.history.append(*row)
    with pytest.raises(InvalidInput, match=r"history\.(loss|seconds|learning_rate) cannot be"):
        trainer.save(tmp_path / "model.safetensors")


def test_reading_every_epoch_costs_the_same_after_many():
    """No copy is made of a list that is only read."""
    history = History()
    at_once(history.entering(0, [(0.5, None, None, 0.1, 1e-3)] * 10))
    lists = [history[name] for name in history.names]
    at_once(history.entering(10, [(0.5, None, None, 0.1, 1e-3)] * 1000))
    assert all(history[name] is each for name, each in zip(history.names, lists, strict=True))


@pytest.mark.parametrize("metrics", [None, {"validation_auc": [0.5]}])
def test_entering_an_epoch_takes_no_memory_of_those_before(metrics):
    history, row = History(), (0.5, None, None, 0.1, 1e-3)
    before = None if metrics is None else {name: [0.5] * 50_000 for name in metrics}
    at_once(history.entering(0, [row] * 50_000, before))
    at_once(history.entering(50_000, [row], metrics))  # from here on lists have room
    tracemalloc.start()
    try:
        at_once(history.entering(50_001, [row], metrics))
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def test_early_stopping_goes_on_with_what_the_trainer_has():
    """What a caller does with a copy of the list is nothing to the next fit."""
    ends = []
    for changed in (False, True):
        trainer, stopping = trainer_of(target="numpy"), EarlyStopping(1, "loss", min_delta=0.5)
        losses = list(trainer.fit(X, LABELS, 2, callbacks=stopping).loss)
        if changed:
            losses.clear()
        trainer.fit(X, LABELS, 20, callbacks=stopping)
        ends.append((trainer.epoch, trainer.history.best))
    assert ends[0] == ends[1]
