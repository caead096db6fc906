"""Labels of every kind: what they are told apart into, and by what, beside scikit-learn's own."""

import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.linear_model import Perceptron as TheirPerceptron  # noqa: E402
from sklearn.linear_model import SGDClassifier as TheirSGD  # noqa: E402
from sklearn.neural_network import MLPClassifier as TheirMLP  # noqa: E402
from sklearn.utils.multiclass import unique_labels  # noqa: E402

import fastnn  # noqa: E402
from fastnn.estimators.labels import (  # noqa: E402
    Labels,
    UnorderedLabels,
    classes_of,
    places_in,
)

RANDOM = np.random.default_rng(0)
PLACES = RANDOM.integers(0, 4, 90)
NUMBERS = np.array([-7, 0, 3, 120])[PLACES]
WORDS = np.array(["b", "a", "Zebra", "äther"])[PLACES]
KINDS = {
    "int64": NUMBERS,
    "int8 far apart": np.array([-128, 127], np.int8)[PLACES % 2],
    "uint8": PLACES.astype(np.uint8),
    "uint64 beyond int64": np.array([1, 2**63, 2**64 - 1], np.uint64)[PLACES % 3],
    "int64 far apart": np.array([-(2**63), 2**63 - 1, 5])[PLACES % 3],
    "big-endian": NUMBERS.astype(">i4"),
    "bool": PLACES > 1,
    "true alone": PLACES >= 0,
    "float64": NUMBERS.astype(float),
    "float16": NUMBERS.astype(np.float16),
    "float32 far apart": np.array([-3e9, 5.0, 1e12], np.float32)[PLACES % 3],
    "text": WORDS,
    "objects": WORDS.astype(object),
    "objects of two types": np.array(["a", np.str_("b"), "c", np.str_("a")], object)[PLACES],
    "one label": np.full(90, "only", object),
    "strided": np.repeat(WORDS.astype(object), 2)[::2],
}
# What is no labels, or not for every class.
REFUSED = {
    "numbers in objects": NUMBERS.astype(object),
    "truth values in objects": (PLACES > 1).astype(object),
    "mixed": np.array(["a", 1, "b", 2], object)[PLACES],
    "None among text": np.array(["a", "b", None, "c"], object)[PLACES],
    "NaN among text": np.array(["a", "b", np.nan, "c"], object)[PLACES],
    "NaN": np.array([0.0, np.nan])[PLACES % 2],
    "fractions": NUMBERS + 0.5,
    "bytes": np.array([b"a", b"b"])[PLACES % 2],
    "too large for int64": np.array([1.5e300, 1.0])[PLACES % 2],
    "one label": np.full(90, 3),
    "dates": np.array(["2020-01-01", "2021-01-01"], "M8[D]")[PLACES % 2],
}
PAIRS = [
    (fastnn.MLPClassifier, TheirMLP),
    (fastnn.SGDClassifier, TheirSGD),
    (fastnn.Perceptron, TheirPerceptron),
]
X = RANDOM.normal(size=(90, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_and_places_are_those_of_scikit_learn(kind):
    y = KINDS[kind]
    labels = Labels.of(y)
    theirs = unique_labels(y)
    assert labels.classes.tolist() == theirs.tolist() and labels.classes.dtype == theirs.dtype
    assert labels.kind == ("multiclass" if len(theirs) > 2 else "binary")
    places = labels.places(y)
    assert places.dtype == np.int64
    np.testing.assert_array_equal(places, np.searchsorted(theirs, y))
    np.testing.assert_array_equal(labels.classes[places], y)
    labels.check_again(y, warm_start=True)


def outcome(kind, y):
    """Return classes and dtypes of a fit and a prediction, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = kind(max_iter=2, random_state=0).fit(X, y)
        except Exception as error:
            return type(error), str(error)
    found = model.predict(X)
    return model.classes_.tolist(), model.classes_.dtype, found.dtype


@pytest.mark.parametrize("mine, theirs", PAIRS)
@pytest.mark.parametrize("kind", [*KINDS, *REFUSED])
def test_fits_take_and_refuse_labels_as_scikit_learn_does(mine, theirs, kind):
    y = KINDS.get(kind, REFUSED.get(kind))
    here, there = outcome(mine, y), outcome(theirs, y)
    if here[0] is UnorderedLabels:  # which says which ones, as an error of the same kind
        assert issubclass(here[0], there[0]) and there[0] in (TypeError, ValueError)
        assert kind in ("mixed", "None among text", "NaN among text")
        assert "y has values of several" in here[1] or "there is no value in row " in here[1]
        return
    if kind in REFUSED and mine is not fastnn.MLPClassifier and here != there:
        # The check that scikit-learn has for that, in the place of what comes of an odd label.
        assert here[0] is ValueError and here[1].startswith("Unknown label type: ")
        assert there[0] is TypeError or there[1].startswith("Unknown label type: ")
        return
    assert here == there


@pytest.mark.parametrize("mine, theirs", PAIRS)
@pytest.mark.parametrize("weights", ["balanced", {"a": 2.0, "Zebra": 0.5}, {"none": 1.0}])
def test_class_weights_are_scikit_learns(mine, theirs, weights):
    def of_labels(y):
        model = mine(max_iter=1, class_weight=weights, random_state=0, shuffle=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(X, y)
            except ValueError as error:
                return str(error)
        return [np.asarray(each).tolist() for each in (model.predict(X), model.loss_curve_)]

    words = np.where(PLACES == 0, "b", WORDS)
    assert of_labels(words.astype(object)) == of_labels(words)
    if weights == {"none": 1.0} and theirs is not TheirMLP:  # which has no class weights
        with pytest.raises(ValueError) as error:
            theirs(class_weight=weights).fit(X, words)
        assert of_labels(words) == str(error.value)


@pytest.mark.parametrize("mine, theirs", PAIRS)
@pytest.mark.parametrize("kind", ["objects", "text", "int64", "float64", "bool"])
def test_partial_fit_refuses_labels_that_are_no_class(mine, theirs, kind):
    y = KINDS[kind]
    classes = np.unique(y)[:-1]
    for each in (mine, theirs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if each is not mine and each is not TheirMLP:
                continue  # theirs train on what they do not know
            if len(classes) > 1 or each is mine is fastnn.MLPClassifier:
                with pytest.raises(ValueError, match="class"):
                    each().partial_fit(X, y, classes=classes)


@pytest.mark.parametrize("mine", [mine for mine, _ in PAIRS])
def test_text_in_objects_is_hashed_and_not_sorted(mine, monkeypatch):
    def refuse(function):
        def checked(array, *args, **settings):
            assert np.asarray(array).dtype != object or np.size(array) < 10, "sorts objects"
            return function(array, *args, **settings)

        return checked

    for name in ("unique", "searchsorted", "setdiff1d", "sort", "argsort", "unique_values"):
        monkeypatch.setattr(np, name, refuse(getattr(np, name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = KINDS["objects"]
        mine(max_iter=2, class_weight="balanced").fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("y", [["b", "a", "c"], [2, -1, 2], [2.0, 2.5, -1.0], [300, -1, 2]])
def test_a_label_that_is_no_class_has_no_place(y):
    for classes in (["a", "b"], [-1, 2], [-1.0, 2.0], [-(2**40), 2]):
        classes = np.array(classes)
        for values in (np.array(y), np.array(y, object)):
            if values.dtype != object and values.dtype.kind != classes.dtype.kind:
                continue
            places = places_in(classes, values)
            known = np.isin(values.tolist(), classes.tolist())
            assert (places is None) == (not known.all()), (classes, values)


def test_what_is_remembered_of_parameters_tells_types_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = PLACES > 1
        fastnn.MLPClassifier((4,), max_iter=1, early_stopping=True).fit(X, y)
        for wrong in (
            {"early_stopping": 1}, {"max_iter": True, "early_stopping": 1}, {"max_iter": 1.0},
            {"hidden_layer_sizes": (0,)}, {"alpha": -1.0}, {"dtype": 3},
        ):  # fmt: skip
            settings = {"hidden_layer_sizes": (4,), "max_iter": 1, "early_stopping": True, **wrong}
            with pytest.raises((ValueError, TypeError)):
                fastnn.MLPClassifier(**settings).fit(X, y)
    assert classes_of(np.zeros((2, 2))) is None


@pytest.mark.parametrize("kind", [fastnn.SGDClassifier, fastnn.Perceptron, fastnn.SGDRegressor])
@pytest.mark.parametrize("early", [False, True])
def test_scores_of_the_linear_models_are_those_of_their_score(kind, early):
    y = X @ [1.0, 2.0, 3.0] if kind is fastnn.SGDRegressor else KINDS["objects"]
    weights = RANDOM.uniform(size=30)
    model = kind(max_iter=4, tol=None, early_stopping=early, random_state=0)
    model.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:], sample_weight_val=weights)
    expected = model.score(X[60:], y[60:], weights)
    assert model.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        model.fit(X, y, X_val=X, y_val=y, sample_weight_val=np.zeros(90))
    assert model.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)
