"""What estimators refuse that NumPy would read as numbers, and in which words they refuse more."""

import inspect
from functools import partial

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

import scipy.sparse  # noqa: E402

import fastnn  # noqa: E402
from fastnn import InvalidInput  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")  # of two epochs

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 2))
WORDS, NUMBERS = np.array(["a", "b", "c"])[RANDOM.integers(0, 3, 30)], X @ [1.0, -1.0]
CLASSIFIERS = ("MLPClassifier", "SGDClassifier", "Perceptron")
REGRESSORS = ("MLPRegressor", "SGDRegressor")
DAYS = np.datetime64("2024-01-01") + np.arange(30)


def made(name, **settings):
    """Return an estimator that is fitted soon, and what it is fitted to."""
    estimator = getattr(fastnn, name)(max_iter=2, target="numpy", **settings)
    return estimator, NUMBERS if name in REGRESSORS else WORDS


def tables():
    """Return what a table of dates or durations is, and what is said of it."""
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    days, spans = DAYS.astype("M8[us]"), (DAYS - DAYS[0]).astype("m8[us]")
    return [
        (np.column_stack((DAYS, DAYS)), r"X has dtype datetime64\[D\]"),
        (np.column_stack((spans, spans)), r"X has dtype timedelta64\[us\]"),
        (pandas.DataFrame({"day": DAYS}), "X column 'day' has dtype datetime64"),
        (pandas.DataFrame({"day": DAYS, "b": 1.0}), "X column 'day' has dtype datetime64"),
        (
            pandas.DataFrame({"day": pandas.Series(DAYS).dt.tz_localize("UTC")}),
            r"X column 'day' has dtype datetime64\[.*, UTC\]",
        ),
        (pandas.DataFrame({"span": spans}), "X column 'span' has dtype timedelta64"),
        (polars.DataFrame({"a": NUMBERS, "day": days}), "X column 'day' has dtype Datetime"),
        (polars.DataFrame({"span": spans}), "X column 'span' has dtype Duration"),
        (arrow.table({"a": NUMBERS, "day": days}), r"X column 'day' has dtype timestamp\[us\]"),
    ]


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_dates_and_durations_are_no_numbers(name):
    estimator, y = made(name)
    for table, said in tables():
        with pytest.raises(InvalidInput, match=f"^{said}.*not real numbers; "):
            estimator.fit(table, y)
    assert not hasattr(estimator, "n_features_in_")
    estimator.fit(X, y)
    with pytest.raises(InvalidInput, match=r"^X has dtype datetime64\[D\]"):
        estimator.predict(np.column_stack((DAYS, DAYS)))
    with pytest.raises(InvalidInput, match=r"^sample_weight has dtype datetime64\[D\]"):
        estimator.fit(X, y, sample_weight=DAYS)
    if name in REGRESSORS:
        with pytest.raises(InvalidInput, match=r"^y has dtype datetime64\[D\]"):
            estimator.fit(X, DAYS)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_nothing_is_read_under_a_mask(name):
    estimator, y = made(name)
    hidden = np.arange(30) == 4
    classes = {"classes": np.unique(WORDS)} if name in CLASSIFIERS else {}
    for call in (estimator.fit, partial(estimator.partial_fit, **classes)):
        with pytest.raises(InvalidInput, match=r"^X has masked values; fill them.*X\.filled"):
            call(np.ma.MaskedArray(X, X > 1), y)
        with pytest.raises(InvalidInput, match=r"^y has masked values"):
            call(X, np.ma.MaskedArray(y, hidden))
        with pytest.raises(InvalidInput, match=r"^sample_weight has masked values"):
            call(X, y, sample_weight=np.ma.MaskedArray(np.ones(30), hidden))
    estimator.fit(np.ma.MaskedArray(X, False), y)
    with pytest.raises(InvalidInput, match=r"^X has masked values"):
        estimator.predict(np.ma.MaskedArray(X, X > 1))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_a_weight_of_a_class_that_cannot_be_is_named(name, weight):
    estimator, y = made(name, class_weight={"b": weight, "a": 2.0})
    with pytest.raises(InvalidInput, match=f"^class_weight has {weight} for class 'b'; weights"):
        estimator.fit(X, y)
    if name == "MLPClassifier":
        estimator.class_weight = [{0: 1.0}, {1: weight}]
        with pytest.raises(InvalidInput, match=rf"^class_weight\[1\] has {weight} for class 1"):
            estimator.fit(X, (X > 0).astype(int))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"0": 1, "1": 100.0}] * 2, r"class_weight\[0\] has '0', which is none of the label's"),
        ([{0: 1.0}, {1: 2.0, 2: 9.0}], r"class_weight\[1\] has 2, which is none of the label's"),
        ([{}, {None: 9.0}], r"class_weight\[1\] has None, which is none of the label's classes"),
        ([1.0, 2.0], r"class_weight\[0\] is 1.0, where a dict of weights by class is due"),
        ([{0: 1.0}, "balanced"], r"class_weight\[1\] is 'balanced', where a dict of weights"),
        ([None, None], r"class_weight\[0\] is None, where a dict of weights by class is due"),
        ([[1.0, 2.0]] * 2, r"class_weight\[0\] is \[1.0, 2.0\], where a dict of weights"),
        ([{1: "9"}, {}], r"class_weight\[0\] has '9' for class 1, which is no number"),
        ([{1: None}, {}], r"class_weight\[0\] has None for class 1, which is no number"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_weights_of_labels_that_name_no_class_are_refused(given, said, call):
    estimator, _ = made("MLPClassifier", class_weight=given)
    more = {} if call == "fit" else {"classes": [0, 1]}
    with pytest.raises(InvalidInput, match=rf"^{said}.*write \{{0: 1.0, 1: 4.0\}}"):
        getattr(estimator, call)(X, (X > 0).astype(int), **more)


def test_classes_of_labels_are_0_and_1_of_any_type():
    y = (X > 0).astype(int)
    fits = [
        made("MLPClassifier", class_weight=[given] * 2, random_state=0)[0].fit(X, y).coefs_[0]
        for given in ({1: 9}, {True: 9.0}, {np.int64(1): np.float32(9)}, {0: 1.0, 1.0: 9.0})
    ]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit, fits[0])


def test_a_list_of_weights_is_for_several_labels_alone():
    estimator, y = made("MLPClassifier", class_weight=[1.0, 2.0, 3.0])
    with pytest.raises(InvalidInput, match=r"write a dict of .* such as \{'a': 1.0, 'b': 1.0\}"):
        estimator.fit(X, y)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("missing", [None, np.nan])
def test_targets_that_are_missing_among_objects_are_refused_as_among_numbers(name, missing):
    estimator, y = made(name)
    with pytest.raises(ValueError, match=r"^Input (y )?contains NaN"):
        estimator.fit(X, np.array([missing, *y[1:]], object))


@pytest.mark.parametrize("name", ["SGDClassifier", "Perceptron"])
def test_labels_that_were_not_announced_are_refused_in_scikit_learns_words(name):
    estimator, y = made(name)
    said = r"^classes should include all valid labels that can be in y; .*\['c'\].*\['a' 'b'\]"
    with pytest.raises(ValueError, match=said):
        estimator.partial_fit(X, y, classes=["a", "b"])


def test_a_warm_start_of_a_regression_compares_columns():
    estimator, y = made("SGDRegressor", warm_start=True, tol=None)
    table = pandas.DataFrame(X, columns=["a", "b"])
    estimator.fit(table, y)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        estimator.fit(table[["b", "a"]], y)
    with pytest.raises(ValueError, match=r"Feature names seen at fit time, yet now missing:\n- b"):
        estimator.fit(table[["a"]], y)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_what_is_wrong_with_validation_data_is_said_of_these(name):
    estimator, y = made(name)
    table = pandas.DataFrame(X, columns=["a", "b"])
    for wrong, said in [
        (dict(X_val=table.mask(table > 1), y_val=y), "Input X contains NaN"),
        (dict(X_val=table[["b", "a"]], y_val=y), "The feature names should match"),
        (dict(X_val=np.ma.MaskedArray(X, X > 1), y_val=y), "X has masked values"),
        (dict(X_val=table, y_val=y[:3]), "Found input variables with inconsistent numbers of"),
        (dict(X_val=table, y_val=y, sample_weight_val=-np.ones(30)), "Negative values in data"),
    ]:
        with pytest.raises(ValueError, match=f"^X_val and y_val: {said}"):
            estimator.fit(table, y, **wrong)
    with pytest.raises(ValueError, match="^X_val and y_val: X has 1 features, but"):
        estimator.fit(X, y, X_val=X[:, :1], y_val=y)
    with pytest.raises(InvalidInput, match="^X_val given without y_val"):
        estimator.fit(X, y, X_val=X)
    with pytest.raises(InvalidInput, match="^sample_weight_val given without X_val and y_val"):
        estimator.fit(X, y, sample_weight_val=np.ones(30))
    missing = np.array([None, *y[1:]], object)
    said = "Input (y )?contains NaN" if name in REGRESSORS else "y_val has labels .*: \\[None\\]"
    with pytest.raises(ValueError, match=f"^X_val and y_val: {said}"):
        estimator.fit(X, y, X_val=X, y_val=missing)


def corrupted(kind, part):
    """Return a CSR or CSC of 30 x 30 one of whose arrays contradicts the others."""
    matrix = kind(np.eye(30) + np.eye(30, k=1))
    changed = {
        "indices": (5, 99),
        "indices far away": (5, 2**31 - 1),
        "negative indices": (5, -3),
        "indptr": (3, 10**6),
        "the end of indptr": (-1, 10**6),
        "indptr that falls": (3, 0),
    }
    if part == "data":
        matrix.data = matrix.data[:3]
    else:
        place, value = changed[part]
        getattr(matrix, "indptr" if "indptr" in part else "indices")[place] = value
    return matrix


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize(
    "part",
    [
        "indices", "indices far away", "negative indices", "indptr", "the end of indptr",
        "indptr that falls", "data",
    ],
)  # fmt: skip
def test_sparse_matrices_that_contradict_themselves_are_refused_before_scipy_follows_them(
    name, kind, part
):
    estimator, y = made(name)
    wrong, right = corrupted(kind, part), kind(np.eye(30))
    said = r"X\.(indptr|indices) .*make X anew, and see X\.check_format\(\)$"
    for settings in (dict(early_stopping=True), dict(early_stopping=False, standardize=True)):
        with pytest.raises(InvalidInput, match=said):
            estimator.set_params(**settings).fit(wrong, y)
    with pytest.raises(InvalidInput, match=f"^X_val and y_val: {said}"):
        estimator.fit(right, y, X_val=wrong, y_val=y)
    estimator.fit(right, y)
    with pytest.raises(InvalidInput, match=f"^{said}"):
        estimator.predict(wrong)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "MLPRegressor"])
def test_no_threads_are_refused_by_the_name_of_the_parameter(name):
    estimator, y = made(name, n_jobs=0)
    with pytest.raises(InvalidInput, match="n_jobs must be a number of threads.*, not 0"):
        estimator.fit(X, y)


@pytest.mark.parametrize("inputs", [None, 4])
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2)])
def test_sparse_arrays_of_another_rank_are_refused_by_their_shape(inputs, shape):
    trainer = fastnn.Trainer(fastnn.Network(inputs, [fastnn.Dense(2)]), target="numpy")
    with pytest.raises(InvalidInput, match="X has shape .* but must be two-dimensional"):
        trainer.fit(scipy.sparse.coo_array(np.ones(shape)), [0, 1])


def test_a_series_without_a_name_is_filled_by_its_own_library():
    trainer = fastnn.Trainer(fastnn.Network(2, [fastnn.Dense(2)]), target="numpy")
    missing = pandas.Series([1, None, 0] * 10, dtype="Int64")
    said = r"^y value nan at row 1 is not a finite number; .*y\.fillna"
    with pytest.raises(InvalidInput, match=said):
        trainer.fit(X, missing)
    with pytest.raises(InvalidInput, match="^sample_weight value nan at row 1 is.*fillna"):
        trainer.fit(X, [0, 1, 1] * 10, sample_weight=missing)


@pytest.mark.parametrize("kind", ["MLPClassifier", "SGDClassifier", "SGDRegressor", "MLPRegressor"])
def test_masked_cells_among_objects_are_refused_as_such_and_nothing_warns(kind):
    cells = np.ones((4, 2), object)
    cells[1, 0] = np.ma.masked
    y = np.array([0, 1, 0, 1])
    masked = np.array([0, np.ma.masked, 0, 1], object)
    estimator = getattr(fastnn, kind)()
    for X in (cells, cells.tolist(), pandas.DataFrame(cells), pandas.DataFrame(cells)[[0]]):
        with pytest.raises(InvalidInput, match="X has masked values; fill them first"):
            estimator.fit(X, y)
    for labels in (masked, masked.tolist(), pandas.Series(masked)):
        with pytest.raises(InvalidInput, match="y has masked values; fill them first"):
            estimator.fit(np.ones((4, 2)), labels)
    if "sample_weight" in inspect.signature(estimator.fit).parameters:
        with pytest.raises(InvalidInput, match="sample_weight has masked values"):
            estimator.fit(np.ones((4, 2)), y, sample_weight=masked)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_dtype_is_taken_in_any_way_it_can_be_written(name, standardize, early_stopping):
    settings = {"standardize": standardize, "early_stopping": early_stopping, "random_state": 0}
    for ways in (("float32", "f4", np.float32, np.dtype("f4")), ("float64", float, np.float64)):
        found = []
        for dtype in ways:
            model, y = made(name, dtype=dtype, warm_start=True, **settings)
            model.fit(X, y).fit(X, y)
            assert model.to_trainer().dtype == np.dtype(dtype)
            if not early_stopping:
                model.partial_fit(X, y)
            found.append(model.predict(X).tolist())
        assert all(each == found[0] for each in found)
    for dtype in ("float16", "foo", np.int8, 3, [1]):
        model, y = made(name, dtype=dtype, **settings)
        with pytest.raises(InvalidInput, match="dtype must be 'float32' or 'float64', not"):
            model.fit(X, y)
