"""District prices: a regression in the units of the data, with what is missing filled in.

Prices are some 2e5 dollars and rooms some 2e3: `standardize` scales both inside the model, and
`predict` gives dollars.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import MLPRegressor
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.examples.tables import california_housing
from fastnn.graph.axes import colour
from fastnn.typing import Target


def main(save: str | None = None, epochs: int = 200, target: Target = "cpu") -> None:
    """Train on four fifths of the districts, and measure on the others."""
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import train_test_split

    X, y, names = california_housing()
    X_train, X_test, y_train, y_test = train_test_split(X, y * 100_000, random_state=0)
    print(f"{len(y)} districts, {len(names)} columns; prices in dollars")
    model: Any = MLPRegressor(
        hidden_layer_sizes=(64, 64),
        learning_rate_init=0.003,
        standardize=True,
        early_stopping=True,
        max_iter=epochs,
        random_state=0,
        target=target,
    )
    for each in (LinearRegression(), model):
        error = y_test - each.fit(X_train, y_train).predict(X_test)
        print(
            f"{type(each).__name__}: R2 {each.score(X_test, y_test):.3f}, "
            f"median error {np.median(np.abs(error)):.0f} dollars"
        )
    if save is not None:
        left, right = panels(1, 2)
        left.plot(model.loss_curve_)
        left.set(title="training", xlabel="epoch", ylabel="loss: mse of standardized prices")
        right.scatter(y_test, model.predict(X_test), s=4, alpha=0.3, color=colour(0))
        right.axline((0, 0), slope=1, color="black", linewidth=1)
        right.set(
            title="districts left out; on the line, the prediction is right",
            xlabel="price, dollars",
            ylabel="prediction, dollars",
        )
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
