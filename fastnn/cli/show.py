"""``fastnn show``: what is in a model file."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from fastnn.cli import screen

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="say what is in a model file",
        description="Say what a model predicts, from which columns, with which network, and how "
        "its training went.",
        example="fastnn show model.safetensors",
    )
    parser.add_argument("model", metavar="MODEL", help="a file of fastnn train or Trainer.save")
    parser.add_argument("--epochs", action="store_true", help="print a table of the epochs, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Print what is in a model file."""
    from fastnn.cli.model import PopulationModel, TableModel, opened
    from fastnn.errors import InvalidInput
    from fastnn.training.trainer import Trainer

    path = options.model
    if options.json and options.epochs:
        raise InvalidInput("--epochs prints a table, and --json none; leave one of the two out")
    model = opened(path, "numpy")
    if isinstance(model, Trainer):
        # Of one of a Python program there is less to say.
        known = model.preparation is not None
        found = (_of_table(TableModel.of(model, path)) if known else {}) | _facts(model, path)
    elif options.epochs:
        raise InvalidInput("--epochs: a population keeps no history of its networks; leave it out")
    else:
        known = model.table is not None
        found = _of_table(PopulationModel.of(model, path)) if known else {}
        found |= _of_population(model, path)
    _print(found, options.json)
    if options.epochs:
        screen.answer()
        screen.answer(repr(model.history))
    return 0


def _print(found: dict[str, Any], plain: bool) -> None:
    """Print what is known, as JSON or in rows."""
    if plain:
        screen.answer(json.dumps(found, indent=2))
        return
    rows = [(name.replace("_", " "), _text(value)) for name, value in found.items()]
    for line in screen.rows_of(rows):
        screen.answer(line)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {text}" for name, text in value.items()) or "none"
    if isinstance(value, list):
        # A class may have a comma in it.
        plain = all("," not in str(each) and str(each).strip() == str(each) != "" for each in value)
        shown = ", ".join(map(str if plain else repr, value[:30]))
        return f"{shown} and {len(value) - 30} more" if len(value) > 30 else shown
    return str(value)


def _of_table(model: Any) -> dict[str, Any]:
    """Return what is known of the table that a model was trained on."""
    from fastnn.cli.model import PopulationModel
    from fastnn.tabular.preparation import Columns

    preparation, label, plan = model.preparation, model.label, model.plan
    found: dict[str, Any] = {"predicts": label.name, "task": label.task}
    if label.classes:
        found["classes"] = list(label.classes)
    if isinstance(preparation, Columns):
        found["columns"] = {rule.name: rule.describe() for rule in preparation.rules}
        if preparation.dropped:
            found["not_used"] = preparation.dropped
    if not isinstance(model, PopulationModel):
        found["features"] = preparation.width
    found["rows"] = plan.rows
    if plan.weight:
        found["weights"] = plan.weight
    shares = {"validation": plan.validation, "test": plan.test}
    left_out = {name: f"{share:.0%}" for name, share in shares.items() if share}
    return found | ({"left_out": left_out} if left_out else {})


def _of_population(estimator: Any, path: str) -> dict[str, Any]:
    """Return what is known of an estimator and its networks."""
    members, counting = estimator.members_, estimator.weights_ > 0
    networks: dict[str, int] = {}
    for member, counts in zip(members, counting, strict=True):
        units = " -> ".join(map(str, member.widths))
        name = f"{member.view}, {units} units"
        networks[name] = networks.get(name, 0) + int(counts)
    score = estimator.scoring or ("log_loss" if hasattr(estimator, "classes_") else "rmse")
    return {
        "estimator": type(estimator).__name__,
        "members": f"{len(members)} trained, {int(counting.sum())} in the ensemble",
        "networks": {name: count for name, count in networks.items() if count},
        "epochs": f"at most {estimator.n_iter_}",
        "validation": f"{score} {abs(estimator.validation_score_):.6g}",
        "file": f"{path}, {screen.size(os.path.getsize(path))}",
    }


def _facts(trainer: Trainer, path: str) -> dict[str, Any]:
    """Return what is known of a network and its training."""
    from fastnn.network import Dense
    from fastnn.training.text_table import cell

    problem, history = trainer.problem, trainer.history
    layers = []
    for layer in problem.network.layers:
        if isinstance(layer, Dense):
            layers.append(f"{layer.units} {_name(layer.activation)}")
        else:
            rate = getattr(layer, "rate", None)
            layers.append(type(layer).__name__ + (f" {rate:g}" if rate is not None else ""))
    parameters = sum(array.size for layer in trainer.parameters for array in layer)
    found: dict[str, Any] = {
        "network": " -> ".join([f"{problem.network.inputs} inputs", *layers]),
        "parameters": parameters,
        "loss": _name(problem.loss),
        "optimizer": str(problem.optimizer),
        "batch": problem.batch_size,
        "dtype": problem.dtype.name,
        **({} if problem.precision == "float32" else {"precision": problem.precision}),
        "epochs": trainer.epoch,
        "updates": trainer.step,
    }
    if len(history):
        last = len(history) - 1 if history.best is None else history.best
        values = {name: history[name][last] for name in history.names}
        what = "last_epoch" if history.best is None else "best_epoch"
        found[what] = {
            "number": history.first_epoch + last + 1,
            **{
                name.replace("_", " "): cell(value)
                for name, value in values.items()
                if value is not None and name not in ("seconds", "learning_rate")
            },
        }
        found["trained_on"] = history.where
    return found | {"file": f"{path}, {screen.size(os.path.getsize(path))}"}


def _name(value: Any) -> str:
    return value if isinstance(value, str) else screen.one_line(value)[:60]
