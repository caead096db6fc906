"""Settings under their names of version 0.1: accepted with a warning, and read from its files."""

import copy
import inspect
import pickle
import warnings
from dataclasses import FrozenInstanceError

import pytest
from trainer_cases import LABELS, X, trainer_of

from fastnn import SGD, CorruptFile, EarlyStopping, InvalidInput, ReduceOnPlateau
from fastnn.schedules import Cosine, OneCycle, WarmUp
from fastnn.training.plain_values import optimizer_from_dict, optimizer_to_dict

# Class, new name, old name, what else it needs, and an object as version 0.1 pickled it: the module
# and the class, then the fields by their old names.
RENAMED = {
    "EarlyStopping": (
        EarlyStopping,
        "min_delta",
        "minimum_change",
        {"patience": 3, "monitor": "loss"},
        b"fastnn.callbacks.early_stopping\nEarlyStopping\n",
        b"Vpatience\nI3\nsVmonitor\nVloss\nsVminimum_change\nF0.25\nsVrestore_best\nI01\nsb.",
    ),
    "ReduceOnPlateau": (
        ReduceOnPlateau,
        "min_lr",
        "minimum",
        {"factor": 0.5},
        b"fastnn.callbacks.reduce_on_plateau\nReduceOnPlateau\n",
        b"Vfactor\nF0.5\nsVpatience\nI10\nsVthreshold\nF0.0001\nsVminimum\nF0.25\nsVmonitor\n"
        b"Vvalidation_loss\nsb.",
    ),
    "Cosine": (
        Cosine,
        "min_lr",
        "minimum",
        {"rate": 0.5, "steps": 10},
        b"fastnn.schedules\nCosine\n",
        b"Vrate\nF0.5\nsVsteps\nI10\nsVminimum\nF0.25\nsb.",
    ),
    "OneCycle": (
        OneCycle,
        "pct_start",
        "rise",
        {"maximum": 0.5, "steps": 10},
        b"fastnn.schedules\nOneCycle\n",
        b"Vmaximum\nF0.5\nsVsteps\nI10\nsVrise\nF0.25\nsVstart_divisor\nF25.0\nsVend_divisor\n"
        b"F10000.0\nsb.",
    ),
}


def of_each(function):
    """Give a test the columns of the table that it names, a row at a time."""
    names = list(inspect.signature(function).parameters)
    columns = ("kind", "new", "old", "others", "module", "state")
    rows = [[row[columns.index(name)] for name in names] for row in RENAMED.values()]
    return pytest.mark.parametrize(names, rows, ids=RENAMED)(function)


@of_each
def test_an_old_keyword_is_accepted_with_a_warning_that_names_the_new_one(kind, new, old, others):
    with pytest.warns(DeprecationWarning, match=f"^{old} of .* is now called {new}") as warned:
        made = kind(**others, **{old: 0.25})
    assert made == kind(**others, **{new: 0.25})
    assert [each.filename for each in warned] == [__file__]  # where the caller finds the line


@of_each
def test_an_old_attribute_can_be_read_with_a_warning(kind, new, old, others):
    made = kind(**others, **{new: 0.25})
    with pytest.warns(DeprecationWarning, match=f"^{old} of .* is now called {new}") as warned:
        assert getattr(made, old) == 0.25
    assert [each.filename for each in warned] == [__file__]


def test_an_old_attribute_can_be_set_where_the_new_one_can():
    stopping, plateau = EarlyStopping(), ReduceOnPlateau()
    with pytest.warns(DeprecationWarning, match="min_delta"):
        stopping.minimum_change = 0.25
    assert stopping == EarlyStopping(min_delta=0.25)
    with pytest.raises(FrozenInstanceError):
        plateau.minimum = 0.25


@of_each
def test_a_setting_given_by_both_names_is_refused(kind, new, old, others):
    message = f"^{old} and {new} of {kind.__name__} are one setting; give {new} only"
    with pytest.raises(InvalidInput, match=message):
        kind(**others, **{old: 0.25, new: 0.25})
    order = list(inspect.signature(kind).parameters)
    values = {name: each.default for name, each in inspect.signature(kind).parameters.items()}
    values |= others
    with pytest.raises(InvalidInput, match=message):
        kind(*[values[name] for name in order[: order.index(new) + 1]], **{old: 0.25})


@of_each
def test_an_old_keyword_out_of_range_is_refused_by_its_new_name(kind, new, old, others):
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(InvalidInput, match=f"^{new} must be .* not -1"),
    ):
        kind(**others, **{old: -1})


@of_each
def test_only_the_new_name_is_shown(kind, new, old, others):
    assert f"{new}=0.25" in repr(kind(**others, **{new: 0.25}))
    assert new in inspect.signature(kind).parameters
    assert old not in {*inspect.signature(kind).parameters, *kind.__match_args__}


@of_each
def test_new_names_pickles_and_copies_warn_of_nothing(kind, new, others):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = kind(**others, **{new: 0.25})
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(made, protocol)) == made
        assert copy.deepcopy(made) == copy.copy(made) == made


@of_each
def test_a_pickle_of_version_0_1_has_the_setting_by_its_new_name(kind, new, others, module, state):
    pickled = b"ccopy_reg\n_reconstructor\n(c" + module + b"c__builtin__\nobject\nNtR(d" + state
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = pickle.loads(pickled)
        assert made == kind(**others, **{new: 0.25})
        assert vars(made) == vars(pickle.loads(pickle.dumps(made)))


@pytest.mark.parametrize("name", ["Cosine", "OneCycle"])
def test_a_saved_schedule_of_version_0_1_is_read(name):
    kind, new, old, others = RENAMED[name][:4]
    optimizer = SGD(WarmUp(5, kind(**others, **{new: 0.25})))
    values = optimizer_to_dict(optimizer)
    schedule = values["learning_rate"]["then"]
    schedule[old] = schedule.pop(new)
    assert optimizer_from_dict(values) == optimizer
    schedule[new] = schedule[old]
    with pytest.raises(CorruptFile, match=f"{name} cannot have the settings"):
        optimizer_from_dict(values)


def test_a_callback_of_old_names_does_what_one_of_new_names_does():
    with pytest.warns(DeprecationWarning):
        old = EarlyStopping(1, "loss", minimum_change=10.0)
    for stopping in (old, EarlyStopping(1, "loss", min_delta=10.0)):
        trainer = trainer_of()
        trainer.fit(X, LABELS, epochs=9, callbacks=stopping)
        assert trainer.history.best == 0 and len(trainer.history) == 3
