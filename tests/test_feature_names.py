"""The names of the columns that a trainer has learned from, and what is compared with them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas
import pytest
from frame_cases import (
    LABELS,
    NAMES,
    TABLE,
    arrow_table,
    bits,
    pandas_frame,
    polars_frame,
    trainer_of,
)

from fastnn import (
    SGD,
    Checkpoint,
    CorruptFile,
    Dense,
    Diverged,
    EarlyStopping,
    InvalidInput,
    Network,
    Trainer,
    sweep,
)
from fastnn.storage import tensor_file


def fitted(**settings):
    """Return a trainer that has seen the frame."""
    trainer = trainer_of(**settings)
    trainer.fit(pandas_frame(), LABELS, 1)
    return trainer


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrow_table])
def test_the_first_frame_gives_its_names(make):
    trainer = trainer_of()
    assert trainer.feature_names is None
    trainer.fit(TABLE, LABELS, 1)
    assert trainer.feature_names is None
    trainer.fit(make(), LABELS, 1)
    assert trainer.feature_names == NAMES
    trainer.fit(TABLE, LABELS, 1)
    assert trainer.feature_names == NAMES


def test_names_that_are_no_strings_are_no_names():
    trainer = trainer_of()
    trainer.fit(pandas.DataFrame(TABLE), LABELS, 1)
    assert trainer.feature_names is None
    trainer.fit(pandas_frame(), LABELS, 1)
    assert trainer.feature_names == NAMES
    trainer.predict(pandas.DataFrame(TABLE))


OTHERS = {
    "reordered": (["rooms", "member", "age"], "same names in another order, from column 0 on: 'ro"),
    "missing": (["age", "member"], "has seen and that are missing now: 'rooms'"),
    "one too many": (["age", "member", "rooms", "new"], "has not seen: 'new'"),
    "another": (["age", "member", "new"], "not seen: 'new'; .* missing now: 'rooms'"),
    "twice": (["age", "member", "rooms", "rooms"], "same names in another order, from column 3"),
    "all others": ([f"n{i}" for i in range(8)], "'n0', 'n1', 'n2', 'n3', 'n4' and 3 more; .*'age'"),
}


@pytest.mark.parametrize(("names", "said"), OTHERS.values(), ids=OTHERS)
def test_other_columns_are_refused_everywhere(names, said):
    frame = pandas_frame(new=1.0, **{f"n{i}": 0.0 for i in range(8)})[names]
    trainer = fitted()
    before = bits(trainer), trainer.epoch
    calls = {
        "predict": lambda: trainer.predict(frame),
        "predict_proba": lambda: trainer.predict_proba(frame),
        "forward": lambda: trainer.forward(frame),
        "evaluate": lambda: trainer.evaluate(frame, LABELS),
        "fit": lambda: trainer.fit(frame, LABELS, 1),
        "validation": lambda: trainer.fit(pandas_frame(), LABELS, 1, (frame, LABELS)),
        "a first validation": lambda: trainer_of().fit(pandas_frame(), LABELS, 1, (frame, LABELS)),
        "sweep": lambda: sweep(
            trainer_of(), pandas_frame(), LABELS, 1, grid={"l2": [0]},
            validation_data=(frame, LABELS),
        ),
    }  # fmt: skip
    for call in calls.values():
        with pytest.raises(InvalidInput, match=f"columns of X are not those .*{said}"):
            call()
    assert (bits(trainer), trainer.epoch) == before and trainer.feature_names == NAMES


def test_names_are_compared_before_widths():
    with pytest.raises(InvalidInput, match="not seen: 'new'"):
        fitted().predict(pandas_frame(new=1.0))


def test_names_of_other_libraries_are_the_same_names():
    trainer = fitted()
    expected = trainer.forward(pandas_frame())
    for make in (polars_frame, arrow_table):
        assert np.array_equal(trainer.forward(make()), expected)
    with pytest.raises(InvalidInput, match="another order"):
        trainer.predict(polars_frame().select("member", "age", "rooms"))


def test_what_copies_a_trainer_copies_its_names(tmp_path):
    trainer = fitted()
    trainer.save(tmp_path / "model")
    others = [
        Trainer.load(tmp_path / "model"),
        copy.copy(trainer),
        copy.deepcopy(trainer),
        pickle.loads(pickle.dumps(trainer)),
    ]
    trainer.fit(pandas_frame(), LABELS, 1, callbacks=Checkpoint(tmp_path / "checkpoints"))
    others.append(Trainer.resume(tmp_path / "checkpoints"))
    for other in others:
        assert other.feature_names == NAMES
        with pytest.raises(InvalidInput, match="another order"):
            other.predict(pandas_frame()[[*NAMES[::-1]]])


def test_the_best_of_several_restarts_has_names_and_so_has_each_meanwhile():
    seen = []
    trainer = trainer_of()
    trainer.fit(pandas_frame(), LABELS, 2, restarts=3, callbacks=lambda t, _: seen.append(t))
    assert trainer.feature_names == NAMES
    assert {each.feature_names for each in seen} == {NAMES}
    sweep(
        trainer_of(), pandas_frame(), LABELS, 1, grid={"l2": [0, 1]},
        callbacks=lambda t, _: seen.append(t.feature_names),
    )  # fmt: skip
    assert seen[-2:] == [NAMES, NAMES]


def test_names_go_with_what_was_learned_of_them():
    trainer = trainer_of()
    before = copy.copy(trainer)
    trainer.fit(pandas_frame(), LABELS, 2, (TABLE, LABELS), callbacks=EarlyStopping(patience=1))
    assert trainer.feature_names == NAMES
    trainer.restore(before)
    assert trainer.feature_names is None


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_fit_that_fails_leaves_no_names(restarts):
    trainer = Trainer(Network(3, [Dense(1)]), "mse", SGD(1e30), batch_size=8, target="numpy")
    frame = pandas_frame()
    with pytest.raises(Diverged):
        trainer.fit(frame, LABELS, 1, restarts=restarts)
    assert not trainer.epoch and trainer.feature_names is None

    def fails(trainer, history):
        raise ZeroDivisionError

    other = trainer_of()
    with pytest.raises(InvalidInput):
        other.fit(frame, LABELS + 5, 1)
    assert other.feature_names is None
    with pytest.raises(ZeroDivisionError):
        other.fit(frame, LABELS, 1, callbacks=fails)
    assert other.epoch == 1 and other.feature_names == NAMES


def test_names_cannot_be_assigned():
    with pytest.raises(AttributeError, match="feature_names cannot be assigned; fit takes them"):
        fitted().feature_names = ("a", "b", "c")


@pytest.mark.parametrize("value", [["a", "b"], ["a", "b", 3], "abc", {"a": 1}, [["a"], "b", "c"]])
def test_a_file_with_other_names_is_damaged(tmp_path, value):
    fitted().save(tmp_path / "model")
    tensors, content = tensor_file.read(tmp_path / "model")
    tensor_file.write(tmp_path / "model", tensors, content | {"feature_names": value})
    with pytest.raises(CorruptFile, match="feature_names must be 3 strings"):
        Trainer.load(tmp_path / "model")


def test_a_file_from_before_there_were_names_has_none(tmp_path):
    fitted().save(tmp_path / "model")
    tensors, content = tensor_file.read(tmp_path / "model")
    del content["feature_names"]
    tensor_file.write(tmp_path / "model", tensors, content)
    trainer = Trainer.load(tmp_path / "model")
    assert trainer.feature_names is None
    trainer.predict(pandas_frame()[[*NAMES[::-1]]])
