"""scikit-learn's own tests of a class, run on fastnn's class of the same name.

Called as ``run_sklearn_tests.py MODULE NAME...``: the module's tests, with those names of
scikit-learn's packages fastnn's. What is left out, and why, is in `LEFT_OUT`. Prints one line, a
JSON object with the number of tests that passed, the names of those that failed and that were left
out, and the number of the latter that say that fastnn does something otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
from sklearn import linear_model, neural_network

import fastnn

LBFGS = "fits by L-BFGS, which fastnn refuses"
OPTIMIZER = "reads the private _optimizer"
PRIVATE = "calls private methods of a step"
INSIDE = "reads private attributes, or has private functions replaced"
PASSIVE = "has passive-aggressive steps, which fastnn refuses"
OTHER = "is of SGDOneClassSVM, or of scikit-learn's compiled losses, which fastnn has not"
ORDER = "hangs on the order of the rows, which scikit-learn draws otherwise"
TRUNCATED = (
    "wants the zeros of the truncated gradient after single rows; the threshold's come later"
)
NAMED = "wants 'True' for the label 1, which fastnn names itself"
# What fastnn does otherwise; the others read scikit-learn's insides, or are of what is refused.
DIFFERENCES = {ORDER, TRUNCATED, NAMED}
# Where a test's name begins so, or has in it what follows a star: why it cannot hold, or says
# nothing of fastnn.
LEFT_OUT = {
    "sklearn.neural_network.tests.test_mlp": {
        "test_fit": PRIVATE,
        "test_gradient": LBFGS,
        "test_lbfgs_": LBFGS,
        "test_learning_rate_warmstart": OPTIMIZER,
        "test_multilabel_classification": LBFGS,
        "test_multioutput_regression": LBFGS,
        "test_predict_proba_multilabel": LBFGS,
        "test_sparse_matrices": LBFGS,
        "test_adaptive_learning_rate": OPTIMIZER,
        "test_warm_start[": LBFGS,
        "test_mlp_warm_start_no_convergence[lbfgs": LBFGS,
        "test_mlp_vs_poisson_glm_equivalent": LBFGS,
        "test_early_stopping_stratified": NAMED,
    },
    "sklearn.linear_model.tests.test_sgd": {
        "*OneClassSVM": OTHER,
        "*ocsvm": OTHER,
        "test_loss_hinge": OTHER,
        "test_loss_modified_huber": OTHER,
        "test_loss_epsilon_insensitive": OTHER,
        "test_loss_squared_epsilon_insensitive": OTHER,
        "test_plain_has_no_average_attr": INSIDE,
        "test_validation_mask_correctly_subsets": INSIDE,
        "test_tol_parameter": ORDER,
        "test_sgd_proba[SparseSGDClassifier": ORDER,
        "test_sgd_l1[": TRUNCATED,
    },
    "sklearn.feature_selection.tests.test_from_model": {"test_partial_fit[": PASSIVE},
}


class Outcome:
    """A plugin that leaves tests out, and counts the others."""

    def __init__(self, left_out: dict[str, str]) -> None:
        self.left_out, self.passed = left_out, 0
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.differences = 0

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Leave out those that begin with one of the names."""
        # A name alone would be that of longer ones, too.
        kept = []
        for item in items:
            why = [self.left_out[name] for name in self.left_out if _is_of(f"{item.name}[", name)]
            if why:
                self.skipped.append(item.name)
                self.differences += why[0] in DIFFERENCES
            else:
                kept.append(item)
        items[:] = kept

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a test that has run."""
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext[-600:]}")
        elif report.when == "call" and report.passed:
            self.passed += 1


def _is_of(test: str, name: str) -> bool:
    """Return whether a test is of a name in `LEFT_OUT`."""
    return name[1:] in test if name.startswith("*") else test.startswith(name)


def main(module: str, names: list[str]) -> int:
    """Run the tests of a module on fastnn's classes."""
    for name in names:
        package = linear_model if hasattr(linear_model, name) else neural_network
        setattr(package, name, getattr(fastnn, name))
    outcome = Outcome(LEFT_OUT.get(module, {}))
    # Without this project's own settings, which know its own marks alone.
    settings = ["-c", os.devnull, "--rootdir", os.getcwd()]
    command = [*settings, "--pyargs", module, "-q", "-p", "no:cacheprovider"]
    pytest.main(command, plugins=[outcome])
    found = {
        "passed": outcome.passed,
        "failed": outcome.failed,
        "left_out": outcome.skipped,
        "differences": outcome.differences,
    }
    print(json.dumps(found))
    return len(outcome.failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
