"""Settings that a training has to keep where it goes on: those of its file, by the same names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli import settings
from fastnn.cli.data import names_in
from fastnn.errors import InvalidInput
from fastnn.tabular.preparation import Columns
from fastnn.tabular.rules import CategoryRule, DateRule, DurationRule, NumberRule
from fastnn.tabular.table import Table, listed

if TYPE_CHECKING:
    from fastnn.cli.model import TableModel


def check_same(options: argparse.Namespace, model: TableModel) -> None:
    """Refuse settings that differ from those that a model was made with.

    Those that nobody gives are the model's, and those of a part that it has not, such as dropout
    without hidden layers, are as good as any.

    Raises
    ------
    InvalidInput
        All that differ, with both values.
    """
    wrong = list(_other(options, model))
    if wrong:
        raise InvalidInput(
            f"{', '.join(wrong)} cannot be changed where a training goes on: {options.resume} has "
            f"it so; leave {'it' if len(wrong) == 1 else 'them'} out, or train a new model"
        )


def _other(options: argparse.Namespace, model: TableModel) -> Iterator[str]:
    """Return each option that differs, with its value and that of the model."""
    given = {name.replace("_", "-"): value for name, value in vars(options).items()}
    for name, kept in _values(model).items():
        asked = given[name]
        if asked is None or kept is None or _plain(name, asked, model) == kept:
            continue
        if name == "batch" and asked > kept >= _rows_to_train_on(model):
            continue  # a minibatch has no more rows than there are
        yield f"--{name} {_text(asked)} (it is {_text(kept)})"
    columns = Table(dict.fromkeys(model.plan.columns, np.zeros(0)), 0)
    for name, kept in (("label", model.label.name), ("weight", model.plan.weight)):
        asked = given[name]
        if asked is not None and asked != kept and _column(columns, asked, name) != kept:
            yield f"--{name} {asked} (it is {repr(kept) if kept else 'none'})"
    for name, fits, others in _of_columns(model):
        asked = [_column(columns, each, name) for each in names_in(given[name])]
        wrong = [each for each in asked if each not in fits]
        if wrong:
            yield f"--{name} {given[name]} ({listed(wrong, 3)} {others})"
    if given["day-first"] and (month := _month_first(model)):
        yield f"--day-first ({month!r} has dates month first)"


def _values(model: TableModel) -> dict[str, Any]:
    """Return the settings of one value; None where there is no such part."""
    from fastnn.network import Dropout

    trainer, plan = model.trainer, model.plan
    problem = trainer.problem
    dense = trainer.network.dense
    rates = [layer.rate for layer in trainer.network.layers if isinstance(layer, Dropout)]
    hidden = len(dense) > 1
    optimizer = problem.optimizer
    schedule = type(optimizer.learning_rate).__name__.lower()
    return {
        "task": "classification" if model.label.classes else "regression",
        "hidden": [layer.units for layer in dense[:-1]],
        "activation": dense[0].activation if hidden else None,
        "dropout": (rates[0] if rates else 0.0) if hidden else None,
        "loss": problem.loss,
        "optimizer": optimizer.rule,
        "schedule": schedule if schedule in settings.SCHEDULES else "constant",
        "batch": problem.batch_size,
        "validation": plan.validation,
        "test": plan.test,
        "l1": problem.l1,
        "l2": problem.l2,
        "restarts": len(trainer.history.restarts) or 1,
        "seed": plan.seed,
        "dtype": problem.dtype.name,
        "precision": problem.precision,
    }


def _plain(name: str, asked: Any, model: TableModel) -> Any:
    """Return what was asked for as `_values` has it."""
    if name == "hidden":
        return settings.hidden_of(asked)
    if name == "task" and asked == "auto":
        return "classification" if model.label.classes else "regression"
    if name == "loss" and asked == "auto":
        return settings.loss_for(None, model.label.task)
    return asked


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "0"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows_to_train_on(model: TableModel) -> int:
    plan = model.plan
    return plan.rows - round(plan.validation * plan.rows) - round(plan.test * plan.rows)


def _column(columns: Table, asked: str, option: str) -> str:
    """Return a column of the model's data, by name or number, or the name itself without them."""
    return columns.name_of(asked, f"--{option}") if columns.columns else asked


def _of_columns(model: TableModel) -> Iterator[tuple[str, set[str], str]]:
    """Return which columns an option of several names may have, and what others are."""
    preparation = model.preparation
    rules = preparation.rules if isinstance(preparation, Columns) else ()
    learnt = {rule.name for rule in rules}
    category = {rule.name for rule in rules if isinstance(rule, CategoryRule)}
    number = {rule.name for rule in rules if isinstance(rule, NumberRule)}
    duration = {rule.name for rule in rules if isinstance(rule, DurationRule)}
    needed = {*learnt, model.label.name, model.plan.weight}
    yield "drop", set(model.plan.columns) - needed, "is needed"
    yield "keep", learnt, "is not learnt from"
    yield "category", category, "is no category"
    yield "number", number, "is no number"
    yield "duration", duration, "is no duration"


def _month_first(model: TableModel) -> str:
    from fastnn.tabular.dates import MONTH_FIRST

    preparation = model.preparation
    rules = preparation.rules if isinstance(preparation, Columns) else ()
    dates = (rule for rule in rules if isinstance(rule, DateRule))
    return next((rule.name for rule in dates if rule.form in MONTH_FIRST), "")
