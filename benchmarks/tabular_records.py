"""What tabular.py measured: scores, and the records of fits, in a file that a later run goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MEASURES = {
    "regression": ("RMSE",),
    "binary": ("accuracy", "AUC", "log loss"),
    "multiclass": ("accuracy", "log loss"),
}
"""The scores of a task; the first and the last give the ranks."""
HIGHER_IS_BETTER = {"accuracy", "AUC"}
SECONDS = "CPU s"

Key = tuple[str, str, int]


def scores(task: str, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the scores of predicted numbers (n,) or probabilities (n, classes).

    >>> y, p = np.array([0, 1, 1]), np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
    >>> {name: round(score, 3) for name, score in scores("binary", y, p).items()}
    {'accuracy': 0.667, 'AUC': 0.5, 'log loss': 0.789}
    """
    if task == "regression":
        return {"RMSE": float(np.sqrt(np.mean((predicted - y) ** 2)))}
    measured = {"accuracy": float(np.mean(predicted.argmax(axis=1) == y))}
    if task == "binary":
        from sklearn.metrics import roc_auc_score

        measured["AUC"] = float(roc_auc_score(y, predicted[:, 1]))
    right = predicted[np.arange(len(y)), y] / predicted.sum(axis=1)
    measured["log loss"] = float(-np.log(np.clip(right, 1e-7, 1)).mean())
    return measured


@dataclass
class Results:
    """What was measured, of each table, peer and seed, and the files that keep it.

    Attributes
    ----------
    folder
        Of predictions.
    file
        Of records, one a line; None: none is kept.
    records
        Scores, seconds, and what else is known of a fit, by table, peer and seed.
    """

    folder: Path
    file: Path | None = None
    records: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what the file has; a last line that was cut off is taken away."""
        if self.file is None or not self.file.exists():
            return
        text = self.file.read_text("utf-8")
        whole = self.read(text)
        if whole != text:
            self.file.write_text(whole, "utf-8")

    def read(self, text: str) -> str:
        """Take the records of the whole lines of a file; return these lines."""
        whole = text[: text.rfind("\n") + 1]
        for line in whole.splitlines():
            record = json.loads(line)
            self.records[record["data"], record["peer"], record["seed"]] = record
        return whole

    def predictions(self, name: str, peer: str, seed: int) -> Path:
        """Return the file of what a peer predicts."""
        return self.folder / f"{name}-{peer}-{seed}.npy"

    def add(
        self, key: Key, task: str, measured: dict[str, float], seconds: float, **known: str
    ) -> None:
        """Keep a fit, with what else is known of it: "table", "version", "date"."""
        name, peer, seed = key
        record = {"data": name, "peer": peer, "seed": seed, "task": task, "seconds": seconds}
        self.records[key] = {**record, "scores": measured, **known}
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.records[key]) + "\n")

    def of(self, name: str, peer: str, seeds: int) -> list[dict[str, Any]]:
        """Return the records of a table and a peer, of the first seeds."""
        keys = [(name, peer, seed) for seed in range(seeds)]
        return [self.records[key] for key in keys if key in self.records]

    def values(self, name: str, peer: str, seeds: int, measure: str) -> list[float]:
        """Return what those records have of a measure; none for one that the task has not."""
        return [
            record["seconds"] if measure == SECONDS else record["scores"][measure]
            for record in self.of(name, peer, seeds)
            if measure == SECONDS or measure in record["scores"]
        ]

    def tasks(self) -> dict[str, str]:
        """Return the task of each table of which there is a record."""
        return {name: record["task"] for (name, _, _), record in self.records.items()}

    def known(self, what: str) -> list[str]:
        """Return what records say of themselves, each thing once, in order."""
        return sorted({record[what] for record in self.records.values() if what in record})
