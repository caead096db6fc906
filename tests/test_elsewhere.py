"""Names of other libraries: what is said of them, and that they stay names that are not there."""

import copy
import inspect
import pickle
import pkgutil
import re

import numpy as np
import pytest

import fastnn
from fastnn import (
    Checkpoint,
    Dense,
    EarlyStopping,
    InvalidInput,
    Network,
    ReduceOnPlateau,
    Trainer,
    elsewhere,
    schedules,
)

NETWORK = Network(2, [Dense(3), Dense(2)])


def trainer():
    return Trainer(NETWORK, target="numpy")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Sequential", "a network is Network(784, ["),
        ("Linear", "a layer of units is Dense(10)"),
        ("BCELoss", "a loss is known by its name"),
        ("ModelCheckpoint", "it is called Checkpoint here"),
        ("train_test_split", "from sklearn.model_selection import train_test_split"),
        ("RMSprop", "did you mean 'RMSProp'?"),
        ("Netwrok", "did you mean 'Network'?"),
        ("MLPClasifier", "did you mean 'MLPClassifier'?"),
        ("SGDOneClassSVM", "sklearn.linear_model.SGDOneClassSVM is what to use"),
    ],
)
def test_the_package_says_what_to_write_for_a_name_that_it_has_not(name, text):
    assert not hasattr(fastnn, name) and getattr(fastnn, name, None) is None
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': .*{re.escape(text)}"):
        getattr(fastnn, name)
    with pytest.raises(ImportError, match=f"fastnn has no {name}: .*{re.escape(text)}"):
        exec(f"from fastnn import {name}")


def test_modules_of_the_package_are_imported_though_names_are_like_theirs():
    for module in pkgutil.iter_modules(fastnn.__path__):
        if not module.name.startswith("_"):
            exec(f"from fastnn import {module.name}")
    with pytest.raises(ImportError, match="cannot import name 'no_such'"):
        exec("from fastnn import no_such")
    with pytest.raises(AttributeError, match="has no attribute '_no_such'$"):
        _ = fastnn._no_such


@pytest.mark.parametrize(
    ("what", "name", "text"),
    [
        (
            "Trainer",
            "compile",
            "a Trainer has no compile: loss and optimizer are set",
        ),
        ("Trainer", "score", "a Trainer has no score: trainer.evaluate(X, y)"),
        ("Trainer", "train", "a Trainer has no train: fit trains"),
        ("Trainer", "partial_fit", "trainer.fit(X, y, epochs=1) does one epoch"),
        ("Trainer", "state_dict", "trainer.parameters has W and b"),
        ("Network", "fit", "a Network has no fit: .*a Trainer does it"),
        ("Network", "summary", "trainer = Trainer(network)"),
        ("Network", "add", "layers are given at once"),
    ],
)
def test_an_attribute_that_is_not_there_says_what_to_write(what, name, text):
    value = trainer() if what == "Trainer" else NETWORK
    assert not hasattr(value, name) and getattr(value, name, 3) == 3
    with pytest.raises(AttributeError, match=re.escape(text).replace(r"\.\*", ".*")):
        getattr(value, name)
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert not hasattr(other, name) and not hasattr(other, "no_such")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("val_loss", "a History has no val_loss: history['validation_loss'] has that of each"),
        ("val_acc", "history['validation_accuracy'] has"),
        ("lr", "history['learning_rate'] has"),
        ("validation_f1", "history['validation_f1'] has"),
        ("val_f1", "history['validation_f1'] has"),
        ("train_loss", "history['loss'] has"),
        ("history", "it is the history itself that has them"),
    ],
)
def test_a_history_says_where_its_series_are(name, text):
    X, y = np.eye(8, 2), np.arange(8) % 2
    history = trainer().fit(X, y, epochs=1, validation_data=(X, y), metrics=["f1"])
    for value in (history, copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert not hasattr(value, name)
        with pytest.raises(AttributeError, match=re.escape(text)):
            getattr(value, name)
    with pytest.raises(AttributeError, match="object has no attribute 'no_such'$"):
        _ = history.no_such


def test_other_attributes_fail_as_they_do_in_python():
    class Mine(Trainer):
        @property
        def score(self):
            return self.no_such

        @property
        def wrong(self):
            raise AttributeError("from within")

    mine = Mine(NETWORK, target="numpy")
    for value, name in ((trainer(), "no_such"), (NETWORK, "no_such"), (mine, "no_such")):
        with pytest.raises(AttributeError, match=f"object has no attribute '{name}'$"):
            getattr(value, name)
    with pytest.raises(AttributeError, match="^from within$"):
        _ = mine.wrong
    with pytest.raises(AttributeError, match="object has no attribute 'no_such'$"):
        _ = mine.score


def test_names_that_are_not_there_are_not_there_and_their_advice_is_true():
    places = (
        (fastnn, elsewhere.PACKAGE), (trainer(), elsewhere.TRAINER), (NETWORK, elsewhere.NETWORK),
        (trainer().history, elsewhere.HISTORY),
    )  # fmt: skip
    for value, table in places:
        for name in table:
            assert not hasattr(value, name), name
    said = {text for _, table in places for text in table.values()}
    for text in said:
        for name in re.findall(r"(?:called|fastnn\.|did you mean) ?([A-Z]\w+)", text):
            assert hasattr(fastnn, name), text
        for name in re.findall(r"\btrainer\.(\w+)", text):
            assert hasattr(Trainer, name), text
        for kind, setting in re.findall(r"\b([A-Z]\w+|fit)\([^()]*?(\w+)=", text):
            call = Trainer.fit if kind == "fit" else getattr(fastnn, kind, None)
            call = call or getattr(schedules, kind)
            assert setting in inspect.signature(call).parameters, text


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("val_loss", "validation_loss"),
        ("val_accuracy", "validation_accuracy"),
        ("val_acc", "validation_accuracy"),
        ("acc", "validation_accuracy"),
        ("accuracy", "validation_accuracy"),
        ("valid_auc", "validation_auc"),
        ("Val Loss", "validation_loss"),
        ("validation_acc", "validation_accuracy"),
        ("val_mse", "validation_rmse"),
        ("train_loss", "loss"),
    ],
)
def test_a_monitor_by_the_name_of_another_library_is_said_by_its_name_here(name, known):
    for make in (
        lambda: EarlyStopping(monitor=name),
        lambda: ReduceOnPlateau(monitor=name),
        lambda: Checkpoint("models", best=name),
    ):
        with pytest.raises(InvalidInput, match=f"did you mean '{known}'"):
            make()


@pytest.mark.parametrize("name", ["train_acc", "no_such", 3, None, ["val_loss"]])
def test_a_monitor_that_means_nothing_here_has_no_hint(name):
    with pytest.raises(InvalidInput, match="monitor must be one of loss, .*validation_r2; or") as e:
        EarlyStopping(monitor=name)
    assert "did you mean" not in str(e.value)


def test_metrics_and_series_by_the_names_of_other_libraries_are_said_by_theirs_here():
    X, y = np.zeros((6, 2)), np.arange(6) % 2
    rows = {"validation_data": (X, y)}
    with pytest.raises(InvalidInput, match="unknown metric 'acc'; did you mean 'accuracy'"):
        trainer().fit(X, y, 1, metrics=["acc"], **rows)
    with pytest.raises(InvalidInput, match="unknown metric 'roc_auc'; did you mean 'auc'"):
        trainer().evaluate(X, y, metrics="roc_auc")
    with pytest.raises(InvalidInput, match="did you mean 'validation_accuracy'. Else watch one of"):
        watching = EarlyStopping(monitor="validation_acc", mode="max")
        trainer().fit(X, y, 1, callbacks=watching, **rows)
    history = trainer().fit(X, y, 1, **rows)
    with pytest.raises(InvalidInput, match="'val_acc'; did you mean 'validation_accuracy'"):
        history["val_acc"]
    with pytest.raises(InvalidInput, match="'lr'; did you mean 'learning_rate'"):
        history["lr"]
    with pytest.raises(InvalidInput, match="not 'acc'; did you mean 'accuracy'"):
        fastnn.train_population([trainer()], X, y, 1, validation_data=(X, y), scoring="acc")


@pytest.mark.parametrize(
    ("scoring", "known"),
    [
        ("acc", "accuracy"),
        ("auc", "roc_auc"),
        ("mse", "neg_mean_squared_error"),
        ("mae", "neg_mean_absolute_error"),
        ("rmse", "neg_root_mean_squared_error"),
        ("logloss", "neg_log_loss"),
        ("r2_score", "r2"),
        ("balanced_acuracy", "balanced_accuracy"),
    ],
)
def test_a_scorer_by_another_name_is_said_by_that_of_scikit_learn(scoring, known):
    pytest.importorskip("sklearn", "1.6")
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    for kind in fastnn._ESTIMATORS:
        with pytest.raises(InvalidInput, match=f"scoring '{scoring}'; did you mean '{known}'"):
            getattr(fastnn, kind)(scoring=scoring).fit(X, y)
