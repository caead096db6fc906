"""``fastnn predict`` and ``fastnn evaluate``: what a model says of other tables, and how well."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastnn.cli import screen
from fastnn.cli.data import add_data, called, check_output, say_all
from fastnn.errors import CorruptFile, InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.blocks import Blocks
    from fastnn.cli.model import Described

_GZIP = 31  # for zlib: the largest window, and the header and the end of gzip
_MOST_CONFUSED = 10  # pairs that are shown where there are too many classes for a table


def add(commands: Any) -> None:
    """Add the two commands."""
    parser = commands.add_parser(
        "predict",
        help="predict the label of the rows of a table",
        description="Predict the label of each row of a table, in the label's own words or units. "
        "The table needs the columns that the model was trained on, in any order; the label and "
        "others may be there or not.",
        example="fastnn predict model.safetensors new.csv --out predictions.csv --proba\n"
        "  cat new.csv | fastnn predict model.safetensors - | sort | uniq -c",
    )
    _add_model(parser, "the table to predict")
    parser.add_argument(
        "--out", default="-", metavar="FILE", help="CSV, .tsv or .gz; default: the standard output"
    )
    parser.add_argument(
        "--proba", action="store_true", help="add the probability of each class in columns"
    )
    parser.set_defaults(run=predict, parser=parser)

    parser = commands.add_parser(
        "evaluate",
        help="measure a model on a table with labels",
        description="Compare a model's predictions with the labels of a table: accuracy, AUC, log "
        "loss and the confusion of classes; or RMSE, MAE and R2 of numbers. Where the model was "
        "trained with --weight and the table has that column, rows count by it, but for the "
        "confusion, which counts rows.",
        example="fastnn evaluate model.safetensors test.csv",
    )
    _add_model(parser, "the table to measure on")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.set_defaults(run=evaluate, parser=parser)


def _add_model(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file of fastnn train")
    add_data(parser, what)
    parser.add_argument("--target", metavar="NAME", help="cpu, cuda, cuda:1, numpy or auto")
    parser.add_argument("--threads", type=int, metavar="N", help="default: chosen from the work")
    parser.add_argument("--quiet", action="store_true", help="print errors and results only")


# What a file of this name is taken for, and predictions are not written as.
_OTHERS = frozenset(
    (
        ".arrow", ".bz2", ".feather", ".html", ".json", ".jsonl", ".npy", ".npz", ".ods",
        ".parquet", ".pickle", ".pkl", ".safetensors", ".svm", ".xls", ".xlsx",
        ".xz", ".zip", ".zst",
    )
)  # fmt: skip


def _loaded(options: argparse.Namespace) -> tuple[Described, Blocks]:
    """Return the model, and the rows of DATA as it reads them."""
    from fastnn.cli.blocks import Blocks
    from fastnn.cli.model import load

    try:
        model = load(options.model, options.target, options.threads)
    except CorruptFile:
        if not options.data.endswith(".safetensors"):
            raise
        raise InvalidInput(
            f"{options.model} is no model, and {options.data} seems to be one: MODEL comes first, "
            "then DATA"
        ) from None
    if getattr(options, "proba", False) and model.unlikely:
        raise InvalidInput(f"--proba: there are no probabilities, since {model.unlikely}")
    return model, Blocks(model, options)


def predict(options: argparse.Namespace) -> int:
    """Write a prediction for each row, some thousand rows after another."""
    if options.out != "-":
        check_output("--out", options.out, options.model, options.data)
        ending = os.path.splitext(options.out)[1].lower()
        if ending in _OTHERS:
            raise InvalidInput(
                f"--out {options.out}: predictions are written as CSV, as TSV where the name ends "
                f"in .tsv, or as either in gzip, .gz; {ending} is none of them"
            )
    model, blocks = _loaded(options)
    header = [_heading(model.label.name)]
    if options.proba:
        header += [f"probability of {word}" for word in model.label.classes]
    with _writing(options.out) as write:
        for data in blocks:
            lines = _lines(model, blocks.outputs(data), options.proba)
            write([header, *lines] if header else lines)
            header = []
    say_all(blocks.remarks(), options.quiet)
    if options.out != "-" and not options.quiet:
        screen.say(f"{blocks.rows} predictions in {options.out}")
    return 0


def _lines(model: Described, outputs: np.ndarray, proba: bool) -> list[Any]:
    """Return the lines of a block: the prediction, and the probability of each class."""
    columns: list[list[str]]
    if model.label.classes:
        columns = [[model.label.classes[index] for index in model.places(outputs)]]
    else:
        columns = [_texts(model.numbers(outputs), model.digits)]
    if proba:
        columns += [_texts(share, model.digits) for share in model.probabilities(outputs).T]
    return list(zip(*columns, strict=True))


def _texts(values: np.ndarray, digits: int) -> list[str]:
    """Return numbers as text, in so many digits, or fewer that are read as the same float64."""
    from fastnn.cli.model import MOST_DIGITS

    if digits < MOST_DIGITS:
        return [f"{value:.{digits}g}" for value in values]
    return [*map(repr, values.tolist())]


@contextmanager
def _writing(out: str) -> Iterator[Callable[[list[Any]], object]]:
    """Give what writes the next lines of a table; a file is there when all have been written."""
    from fastnn.storage.tensor_file import writing

    plain = out.removesuffix(".gz")
    delimiter = "\t" if plain.endswith((".tsv", ".tab")) else ","

    def as_text(lines: list[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(lines)
        return text.getvalue()

    if out == "-":
        write = screen.file_writer()
        yield lambda lines: write(as_text(lines))
        return
    with writing(out) as write_bytes:
        if plain == out:
            yield lambda lines: write_bytes(as_text(lines).encode())
            return
        packing = zlib.compressobj(9, zlib.DEFLATED, _GZIP)  # without a name and a time
        yield lambda lines: write_bytes(packing.compress(as_text(lines).encode()))
        write_bytes(packing.flush())


def _heading(label: str) -> str:
    """Return what the column of predictions is called: as the label, unless that is a number."""
    return f"prediction of column {label}" if label.isdigit() else label


def evaluate(options: argparse.Namespace) -> int:
    """Print the scores."""
    from fastnn.cli.blocks import all_of
    from fastnn.cli.scores import NAMES, confusion, scores, value_text

    model, blocks = _loaded(options)
    from fastnn.cli.rows import weighted_by

    parts: tuple[list[Any], list[Any], list[Any]] = [], [], []
    for data in blocks:
        data, answers = blocks.labelled(data)
        if data.rows:
            parts[0].append(blocks.outputs(data))
            parts[1].append(answers)
            parts[2].append(blocks.weights(data))
    if not blocks.rows:
        raise InvalidInput(
            f"{called(options.data)}: the label {model.label.name!r} is missing in all rows"
        )
    outputs, targets = map(all_of, parts[:2])
    weights = all_of(parts[2]) if blocks.weighted else None
    say_all(blocks.remarks(), options.quiet)
    column = model.plan.weight if blocks.weighted else ""
    if weights is not None and not weights.any():
        raise InvalidInput(
            f"{called(options.data)}: column {column!r}, the weights, is 0 in all rows with a "
            "label, of which there is no mean; leave the column out to count rows alike"
        )
    found = scores(model, outputs, targets, weights)
    if options.json:
        report: dict[str, Any] = {"rows": blocks.rows, "task": model.label.task, **found}
        if column:
            report["weights"] = column
        if model.label.classes:
            table = confusion(model, model.places(outputs), targets)
            report |= {"classes": list(model.label.classes), "confusion": table.tolist()}
        screen.answer(json.dumps(report, indent=2))
        return 0
    rows = [("rows", str(blocks.rows)), *weighted_by(column)]
    rows += [(NAMES[each], value_text(each, value)) for each, value in found.items()]
    for line in screen.rows_of(rows):
        screen.answer(line)
    if model.label.classes:
        table = confusion(model, model.places(outputs), targets)
        for line in _confusion(model.label.classes, table):
            screen.answer(line)
    return 0


def _confusion(classes: tuple[str, ...], counts: np.ndarray) -> list[str]:
    """Return the confusion of classes as a table, or the pairs that are confused most."""
    import numpy as np

    words = [word if len(word) <= 20 else f"{word[:19]}…" for word in classes]
    if len(classes) <= 20:
        rows = [["actual \\ predicted", *words]]
        rows += [[word, *map(str, row)] for word, row in zip(words, counts, strict=True)]
        lines = screen.table(rows)
        if screen.cells(lines[0]) <= screen.width():
            return ["", *lines]
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
    pairs = [divmod(int(each), len(classes)) for each in order]
    lines = ["", "rows that are confused most"]
    for actual, predicted in pairs:
        if wrong[actual, predicted]:
            count = wrong[actual, predicted]
            lines.append(f"{count:6d}  {words[actual]} as {words[predicted]}")
    return lines if len(lines) > 2 else ["", "no row is confused"]
