"""Whether probabilities of classes are calibrated, of the fits that tabular.py has kept.

    FASTNN_DATA=folder python benchmarks/tabular_reliability.py FILE [--data adult]

reads the records of ``tabular.py --json FILE`` and the predictions beside it, and prints two
Markdown tables. The first is a reliability curve of one table of two classes, for fastnn and
LightGBM: test rows in ten groups of equal size by predicted probability, and of each group the
mean probability and the share of rows that were of the class. The second has for every table with
classes the calibration error (Guo et al. 2017, "On calibration of modern neural networks", section
2, with groups of equal size), the mean difference of the two,

    sum_groups rows_group / rows |share - mean probability|,

of the second class of two, or of the most probable class of more, by the mean over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from markdown_tables import heading, row
from options import check_data_folder, listed
from tabular_data import TABLES, NotThere, load
from tabular_peers import AVERAGE, PAIR, PEERS, TITLES
from tabular_records import Results

GROUPS = 10


def groups(probability: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, mean probability and share of hits of groups of equal size by probability.

    >>> [found.tolist() for found in groups(np.array([0.1, 0.9, 0.5]), np.array([0, 1, 1]))]
    [[1, 1, 1], [0.1, 0.5, 0.9], [0.0, 1.0, 1.0]]
    """
    parts = np.array_split(np.argsort(probability, kind="stable"), min(GROUPS, len(hit)))
    means = [(len(part), probability[part].mean(), hit[part].mean()) for part in parts]
    rows, predicted, observed = map(np.array, zip(*means, strict=True))
    return rows, predicted, observed


def binary_view(predicted: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a probability of each row and whether it came true."""
    if predicted.shape[1] == 2:
        return predicted[:, 1], y == 1
    return predicted.max(axis=1), predicted.argmax(axis=1) == y


def error(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the calibration error of probabilities (n, classes)."""
    rows, expected, observed = groups(*binary_view(predicted, y))
    return float(np.average(np.abs(expected - observed), weights=rows))


def kept(results: Results, name: str, peer: str) -> list[np.ndarray]:
    """Return what a peer has predicted of a table, for each seed."""
    if peer == AVERAGE:
        return []
    files = [results.predictions(*key) for key in results.records if key[:2] == (name, peer)]
    return [np.load(file) for file in files if file.exists()]


def report(results: Results, curve_of: str) -> Iterator[str]:
    """Yield both tables."""
    names = [name for name, task in results.tasks().items() if task != "regression"]
    peers = [peer for peer in PEERS if any(kept(results, name, peer) for name in names)]
    y = load(curve_of).test.y
    titles = (f"{TITLES[peer]}, {what}" for peer in PAIR for what in ("mean", "share"))
    yield from heading(f"{curve_of}, group", *titles)
    curves = [
        np.mean([groups(*binary_view(each, y))[1:] for each in kept(results, curve_of, peer)], 0)
        for peer in PAIR
    ]
    for place in range(GROUPS):
        cells = (f"{value:.3f}" for curve in curves for value in curve[:, place])
        yield row(f"{place + 1}", *cells)
    yield from heading("calibration error", *(TITLES[peer] for peer in peers))
    for name in names:
        try:
            y = load(name).test.y
        except NotThere:
            continue
        found = [[error(each, y) for each in kept(results, name, peer)] for peer in peers]
        yield row(name, *(f"{np.mean(each):.4f}" if each else "–" for each in found))


def main() -> None:
    """Print what FILE has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="of tabular.py --json")
    parser.add_argument("--data", type=listed([*TABLES]), default=["adult"], metavar="NAME",
                        help="of the curve; default: adult")  # fmt: skip
    chosen = parser.parse_args()
    check_data_folder(parser)
    if not chosen.file.is_file():
        parser.error(f"there is no file {chosen.file}")
    results = Results(chosen.file.with_suffix(".predictions"))
    results.read(chosen.file.read_text("utf-8"))
    (curve_of,) = chosen.data
    for peer in PAIR:
        if not kept(results, curve_of, peer):
            parser.error(f"{chosen.file} has no predictions of {TITLES[peer]} for {curve_of}")
    print("\n".join(report(results, curve_of)))


if __name__ == "__main__":
    main()
