"""scikit-learn's own checks and tests of estimators, on fastnn's classes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

sklearn = pytest.importorskip("sklearn", "1.6")
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

HERE = Path(__file__).parent
# As scikit-learn excuses its own of the same name: they have no decision function.
SKIPPED = {
    "MLPClassifier": {"check_classifiers_multilabel_output_format_decision_function"},
    "MLPRegressor": set(),
    "SGDClassifier": set(),
    "SGDRegressor": set(),
    "Perceptron": set(),
}
# Fewer members and epochs, for the time that it takes.
TABULAR = {
    name: {"n_members": 2, "max_iter": 30} for name in ("TabularClassifier", "TabularRegressor")
}
SKIPPED |= {name: set() for name in TABULAR}
# As scikit-learn excuses its own: on rows in another order, a fit by single rows is another one.
EXCUSED = {
    name: {
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    }
    for name in ("SGDClassifier", "SGDRegressor", "Perceptron", *TABULAR)
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SKIPPED)
def test_an_estimator_passes_the_checks_of_scikit_learn(name):
    results = check_estimator(
        getattr(fastnn, name)(**TABULAR.get(name, {})), on_fail=None, on_skip=None
    )
    failed = [
        each
        for each in results
        if each["status"] not in ("passed", "skipped")
        and each["check_name"] not in EXCUSED.get(name, ())
    ]
    assert not failed, [(each["check_name"], each["exception"]) for each in failed]
    skipped = {each["check_name"] for each in results if each["status"] == "skipped"}
    unavailable = {name for name in skipped if "array_api" in name}  # without SCIPY_ARRAY_API
    assert skipped - unavailable <= SKIPPED[name]
    assert len(results) > 50


@pytest.mark.parametrize(
    ("module", "names", "least"),
    [
        ("sklearn.neural_network.tests.test_mlp", ["MLPClassifier", "MLPRegressor"], 39),
        ("sklearn.linear_model.tests.test_sgd", ["SGDClassifier", "SGDRegressor"], 205),
        ("sklearn.linear_model.tests.test_perceptron", ["Perceptron"], 6),
        ("sklearn.linear_model.tests.test_common", ["SGDClassifier", "SGDRegressor"], 120),
        ("sklearn.feature_selection.tests.test_from_model", ["SGDClassifier"], 47),
        ("sklearn.tests.test_multiclass", ["Perceptron"], 59),
    ],
)
def test_the_tests_of_a_class_in_scikit_learn_pass_on_that_of_fastnn(module, names, least):
    command = [sys.executable, "-W", "ignore", str(HERE / "run_sklearn_tests.py"), module, *names]
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=HERE, env=os.environ | {"PYTHONPATH": path}
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failed"] == []
    assert found["passed"] >= least
    assert found["passed"] >= 0.9 * (found["passed"] + found["differences"])
