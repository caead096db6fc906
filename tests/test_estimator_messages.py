"""What estimators say of mistakes: in the words of an estimator, with what it has."""

import enum
import re
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", "1.6")

import fastnn  # noqa: E402
from fastnn import Checkpoint, EarlyStopping, InvalidInput, ReduceOnPlateau  # noqa: E402
from fastnn.training.metrics import PREFIX  # noqa: E402

X = np.random.default_rng(3).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
KINDS = "MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor", "Perceptron"
# What a Trainer calls what an estimator has under another name, or not at all.
OF_TRAINERS = re.compile(
    r"validation_data|metrics=|\bthreads\b|make the trainer|trainer\.\w+\(|epochs=|restarts="
)


def made(kind, **settings):
    return getattr(fastnn, kind)(target="numpy", random_state=0, **settings)


def mean_output(y, outputs, sample_weight=None):
    return float(np.mean(outputs))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("callback", "other"),
    [
        (EarlyStopping(), 'monitor="loss"'),
        (ReduceOnPlateau(patience=2), 'monitor="loss"'),
        (EarlyStopping(monitor=mean_output, mode="max"), 'monitor="loss"'),
        (Checkpoint("never", best="validation_loss"), 'best="loss"'),
    ],
)
def test_a_callback_without_rows_to_watch_names_what_an_estimator_has(kind, callback, other):
    with pytest.raises(InvalidInput, match="no validation data") as caught:
        made(kind, callbacks=callback).fit(X, Y)
    said = str(caught.value)
    assert not OF_TRAINERS.search(said)
    assert said.endswith(f"give fit X_val and y_val, or set early_stopping=True, or use {other}")
    classes = {"classes": [0, 1]} if "Regressor" not in kind else {}
    with pytest.raises(InvalidInput, match="no validation data") as caught:
        made(kind, callbacks=callback).partial_fit(X, Y, **classes)
    assert str(caught.value).endswith(f"there are no validation data; use {other}")


@pytest.mark.filterwarnings("ignore:.*reached")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error"])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_the_message_advises_is_followed(kind, scoring, weighted):
    weights = np.where(np.arange(60) % 3, 1.0, 2.0) if weighted else None
    for given, settings in (
        ({"X_val": X[40:], "y_val": Y[40:], "sample_weight_val": weights}, {}),
        ({"sample_weight": weights}, {"early_stopping": True}),
        ({"X_val": X[40:], "y_val": Y[40:]}, {"standardize": True}),
    ):
        if given.get("sample_weight_val") is not None:
            given["sample_weight_val"] = weights[40:]
        seen = []
        watched = [
            EarlyStopping(2, restore_best=False),
            EarlyStopping(monitor=mean_output, mode="max"),
            lambda trainer, history, seen=seen: seen.append(history[f"{PREFIX}loss"][-1]),
        ]
        model = made(kind, callbacks=watched, scoring=scoring, max_iter=5, tol=0.0, **settings)
        model.fit(X, Y, **given)
        assert len(seen) >= 3 and np.isfinite(seen).all()


def test_the_validation_loss_that_a_linear_model_is_stopped_by_is_that_of_its_trainer():
    rows = {"X_val": X[40:], "y_val": Y[40:]}
    found = []
    note = [EarlyStopping(), lambda trainer, history: found.append(history.validation_loss[-1])]
    model = made("SGDClassifier", loss="log_loss", callbacks=note, max_iter=3, tol=None)
    model.fit(X[:40], Y[:40], **rows)
    assert found[-1] == pytest.approx(model.to_trainer().evaluate(X[40:], Y[40:])["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_mistakes_are_not_said_in_the_words_of_a_trainer(kind):
    numbers = {"y_val": Y * 1e200} if "Regressor" in kind else {"y_val": Y}
    cases = [
        lambda: made(kind, dtype="float32").fit(X * 1e200, Y),
        lambda: made(kind, dtype="float32", callbacks=EarlyStopping()).fit(
            X, Y, X_val=X * 1e200, **numbers
        ),
        lambda: made(kind, callbacks=EarlyStopping(5, "validation_mine", mode="max")).fit(
            X, Y, X_val=X, y_val=Y
        ),
        lambda: made(kind, callbacks=EarlyStopping).fit(X, Y),
        lambda: made(kind, callbacks=[3]).fit(X, Y),
    ]
    if kind != "SGDRegressor":
        cases.append(lambda: made(kind, n_jobs=5000).fit(X, Y))
    for case in cases:
        with pytest.raises(InvalidInput) as caught:
            case()
        assert not OF_TRAINERS.search(str(caught.value)), caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        ("adamw", "not 'adamw'; write AdamW(0.001), whose rate may be another"),
        ("nesterov", "write SGD(0.1, momentum=0.9, nesterov=True), whose"),
        (fastnn.Lion, "give it its settings: Lion(0.0001)"),
        ("adam", "write Adam(0.001), whose rate may be another"),
    ],
)
def test_an_optimizer_by_its_name_or_its_class_is_said_as_it_is_written(kind, optimizer, text):
    with pytest.raises(InvalidInput, match=re.escape(text)) as caught:
        made(kind, optimizer=optimizer).fit(X, Y)
    has_solver = "MLP" in kind and optimizer == "adam"
    assert str(caught.value).endswith("solver='adam' has scikit-learn's settings of it") is (
        has_solver
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"standardize": True}])
@pytest.mark.parametrize("least", [1.0, 5e-324])
def test_rows_set_aside_that_have_all_the_weight_are_said(kind, settings, least):
    weights = np.zeros(60)
    weights[[7, 8]] = least
    said = set()
    for seed in range(40):
        model = made(kind, early_stopping=True, validation_fraction=0.5, max_iter=2, **settings)
        model.set_params(random_state=seed)
        try:
            fit_without_end(model, sample_weight=weights)
        except ValueError as error:
            said.add(str(error))
    assert said and any(each.startswith("no row to train on has a weight") for each in said)


@pytest.mark.parametrize(
    "kind", ["MLPClassifier", "SGDClassifier", "Perceptron", "TabularClassifier"]
)
def test_classes_without_weight_are_said(kind):
    for given, weights in (({0: 0, 1: 0}, None), ({0: 0.0, 1: 0}, np.arange(60.0))):
        model = made(kind, class_weight=given)
        with pytest.raises(InvalidInput, match="class_weight times sample_weight is 0 for all"):
            model.fit(X, Y, sample_weight=weights)
    if kind == "TabularClassifier":  # which has no partial_fit
        return
    with pytest.raises(InvalidInput, match="no row to train on has a weight above 0"):
        made(kind, class_weight={1: 0.0}).partial_fit(X[Y == 1], Y[Y == 1], classes=[0, 1])


def fit_without_end(model, **given):
    """Fit a model for as many epochs as it may."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, Y, **given)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((8.5,), "has 8.5 at place 0; such as (100,) for one layer"),
        ((16, 4.25, 2), "has 4.25 at place 1; such as"),
        (np.logspace(0, 1, 2), "has 1.0 at place 0; write 1"),
        ([8, 4.0], "has 4.0 at place 1; write 4"),
        ((8, None), "has None at place 1"),
        ([8, "a"], "has 'a' at place 1"),
        (("8",), "has '8' at place 0"),
        ([[8, 4]], "has [8, 4] at place 0"),
        ((True,), "has True at place 0"),
        ((np.nan,), "has nan at place 0; such as"),
        ((-np.inf,), "has -inf at place 0; such as"),
        ((8 + 0j,), "has (8+0j) at place 0"),
        ([np.array([8])], "has array([8]) at place 0"),
    ],
    ids=str,
)
def test_sizes_of_layers_that_are_no_whole_numbers_are_named(kind, sizes, text):
    classes = {"classes": [0, 1]} if kind == "MLPClassifier" else {}
    for call, given in (("fit", {}), ("partial_fit", classes)):
        with pytest.raises(InvalidInput, match=re.escape(f"one for each hidden layer, and {text}")):
            getattr(made(kind, hidden_layer_sizes=sizes), call)(X, Y, **given)


@pytest.mark.filterwarnings("ignore:.*reached")
@pytest.mark.parametrize("sizes", [np.array(4), np.int8(4), [np.array(4)], range(4, 5)])
def test_whole_numbers_of_any_kind_are_sizes_of_layers(sizes):
    assert made("MLPRegressor", hidden_layer_sizes=sizes, max_iter=1).fit(X, Y).n_layers_ == 3
    for none in ((0,), [3, -1]):
        with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0, got"):
            made("MLPRegressor", hidden_layer_sizes=none).fit(X, Y)


CLASSIFIERS = "MLPClassifier", "SGDClassifier", "Perceptron", "TabularClassifier"
MISSING = {
    "None": ["a", "b", None] * 20,
    "None among numbers": np.array([1, 2, None] * 20, object),
    "NaN among text": np.array(["a", "b", np.nan] * 20, object),
    "NA": lambda pd: pd.Series(["a", "b", None] * 20, dtype="string"),
    "NA among numbers": lambda pd: pd.Series([1, 2, None] * 20, dtype="Int64"),
    "category": lambda pd: pd.Series(["a", "b", None] * 20, dtype="category"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # scikit-learn's
@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("labels", MISSING)
def test_a_missing_label_is_named_with_its_row(kind, labels):
    y = MISSING[labels]
    y = y(pytest.importorskip("pandas")) if callable(y) else y
    with pytest.raises(InvalidInput, match=r"y contains (None|NaN): there is no value in row 2;"):
        made(kind).fit(X, y)
    if kind != "TabularClassifier":
        fitted = made(kind, **{"loss": "log_loss"} if kind == "SGDClassifier" else {})
        names = ["a", "b"] if "among numbers" not in labels else [1, 2]
        fitted.partial_fit(X, np.array(names * 30), classes=names)
        with pytest.raises((ValueError, TypeError)) as caught:
            fitted.score(X, y)
        assert "not supported between" not in str(caught.value)
        with pytest.raises(ValueError, match=r"None|NaN|NA|nan"):
            fitted.partial_fit(X, y)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_of_several_types_are_named(kind):
    for several, text in (
        ([1, "a"], r"1 \(int\) and 'a' \(str\)"),
        (["a", b"x", 2.5], r"'a' \(str\) and b'x' \(bytes\) and 2.5 \(float\)"),
    ):
        y = np.array(several * (60 // len(several)), object)
        with pytest.raises(InvalidInput, match=f"y has values of several types, {text}; make them"):
            made(kind).fit(X, y)
        if kind != "TabularClassifier":
            model = made(kind).partial_fit(X, ["a", "b"] * 30, classes=["a", "b"])
            with pytest.raises(InvalidInput, match="several types"):
                model.score(X, y)
            with pytest.raises(InvalidInput, match="classes has values of several types"):
                made(kind).partial_fit(X, y, classes=np.array(several, object))


class Colour(enum.Enum):
    """What has no order."""

    RED, BLUE = 1, 2


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_of_one_type_without_an_order_are_named(kind):
    for y in ([*Colour] * 30, np.array([*Colour] * 30, object)):
        text = r"y has values of the type Colour, .*, which have no order; .*each.name for each in"
        with pytest.raises(InvalidInput, match=text):
            made(kind).fit(X, y)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_in_a_frame_of_words_warn_of_their_shape_alone(kind):
    pandas = pytest.importorskip("pandas")
    settings = {"n_members": 1} if kind == "TabularClassifier" else {}
    model = made(kind, max_iter=2, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, pandas.DataFrame({"y": ["a", "b"] * 30}))
    assert any("column-vector" in str(each.message) for each in caught)
    assert not any("pandas" in each.category.__name__.lower() for each in caught)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_objects_that_have_an_order_are_labels(kind):
    for y in (np.array([np.str_("c"), "a", "b"] * 20, object), np.array(["a", "b"] * 30, object)):
        settings = {"max_iter": 2}
        settings |= {"n_members": 1} if kind == "TabularClassifier" else {"tol": 1e-3}
        model = fit_labels(made(kind, **settings), y)
        assert len(model.classes_) == len(set(y.tolist()))


def fit_labels(model, y):
    """Fit a model for as many epochs as it may."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


LINEAR = "SGDClassifier", "SGDRegressor", "Perceptron"


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"coef_init": [[0.0, np.nan, 0.0]]}, r"coef_init must be finite numbers, but is nan at"),
        ({"coef_init": [0.0, np.inf, 0.0]}, r"coef_init must be finite numbers, but is inf at 1;"),
        ({"intercept_init": [np.nan]}, r"intercept_init must be finite numbers, but is nan at 0;"),
        ({"intercept_init": np.nan}, r"intercept_init must be finite numbers, but is nan; begin"),
        ({"coef_init": np.ones(3) + 1j}, "coef_init must be real numbers, not of dtype complex128"),
        ({"intercept_init": 1j}, "intercept_init must be real numbers, not of dtype complex128"),
    ],
)
def test_weights_to_begin_with_are_refused_under_their_names(kind, start, said):
    with pytest.raises(InvalidInput, match=f"^{said}"):
        made(kind).fit(X, Y, **start)


@pytest.mark.filterwarnings("ignore:.*reached")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("standardize", [False, True])
def test_weights_that_were_set_to_nan_are_told_by_name(kind, value, standardize):
    model = made(kind, max_iter=3, standardize=standardize).fit(X, Y)
    if "MLP" in kind:
        model.coefs_[1][2, 0] = value
        said = rf"coefs_\[1\] has {value} at \[2, 0\], but weights must be finite numbers"
    else:
        model.coef_[..., 1] = value
        said = rf"weights must be finite numbers, but coef_ is {value} at .*1.*; set it to another"
    uses = [
        lambda: model.predict(X),
        lambda: model.score(X, Y),
        lambda: model.partial_fit(X, Y),
        lambda: model.to_trainer(),
        lambda: model.set_params(warm_start=True).fit(X, Y),
    ]
    for use in uses:
        with pytest.raises(InvalidInput, match=f"^{said}"):
            use()


@pytest.mark.filterwarnings("ignore:.*reached")
@pytest.mark.parametrize("kind", KINDS)
def test_an_intercept_that_was_set_to_nan_is_told_by_name(kind):
    model = made(kind, max_iter=3).fit(X, Y)
    (model.intercepts_[0] if "MLP" in kind else model.intercept_)[0] = np.nan
    said = "weights must be finite numbers, but intercept_ is nan"
    if "MLP" in kind:
        said = r"intercepts_\[0\] has nan at \[0\], but weights must be finite numbers"
    with pytest.raises(InvalidInput, match=f"^{said}"):
        model.predict(X)
