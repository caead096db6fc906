"""Census income: scikit-learn prepares words and numbers, and a network trains on sparse rows.

One-hot columns of words are sparse, and stay so: the first layer reads the rows as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import MLPClassifier, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.examples.tables import adult
from fastnn.typing import Target


def main(save: str | None = None, epochs: int = 100, target: Target = "cpu") -> None:
    """Train on the rows to train with, and compare with the majority on those to test with."""
    # Here, since not every example needs scikit-learn.
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X, y, X_test, y_test = adult()
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="unknown"),
        OneHotEncoder(handle_unknown="ignore", min_frequency=10),
    )
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (words, make_column_selector(dtype_exclude="number")),
        sparse_threshold=1.0,
    )
    network = MLPClassifier(
        (64,), dropout=0.2, early_stopping=True, max_iter=epochs, random_state=0, target=target
    )
    model: Any = make_pipeline(columns, network).fit(X, y)
    prepared = columns.transform(X_test)
    print(
        f"{len(X)} rows of {X.shape[1]} columns become {prepared.shape[1]}, "
        f"{prepared.nnz / np.prod(prepared.shape):.0%} of them not 0"
    )
    majority = y.mode()[0]
    print(f"accuracy of always saying {majority}: {np.mean(y_test == majority):.4f}")
    print(
        f"accuracy of the network after {network.n_iter_} epochs: {model.score(X_test, y_test):.4f}"
    )
    if save is not None:
        left, right = panels(1, 2)
        left.plot(network.loss_curve_, label="loss")
        left.plot(network.validation_scores_, label="accuracy on rows left out")
        left.set_xlabel("epoch")
        left.legend()
        plots.confusion_matrix(y_test, model.predict(X_test), ax=right)
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
