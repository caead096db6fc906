"""``fastnn train``: from a table to a model in a file."""

from __future__ import annotations

import argparse
import errno
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

from fastnn.cli import screen, settings
from fastnn.cli.data import (
    add_data,
    called,
    check_output,
    names_in,
    read_data,
    refuse_inputs,
    say_all,
)
from fastnn.cli.ranks import Processes
from fastnn.errors import InvalidInput, number, whole

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.model import TableModel
    from fastnn.tabular.table import Matrix, Table

OUT = "model.safetensors"
_VALIDATION = 0.1  # of the rows
# With fewer rows left out, their loss is too much of chance to choose an epoch by.
_LEAST_VALIDATION = 10


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a network on a table, and save it",
        description="Train a network to predict one column of a table from the others, and save "
        "it with all that `fastnn predict` needs. Numbers are scaled, words become one-hot "
        "categories, dates become numbers, missing values are filled and flagged, and what is "
        "done is said. What the label asks for is found out: numbers make a regression; words, "
        "true and false, and whole numbers of few different values make classes.",
        example="fastnn train adult.csv --label income --hidden 128,64 --epochs 20\n"
        "  fastnn train houses.csv.gz --label price --test 0.2 --out houses.safetensors\n"
        "  fastnn train adult.data --label -1          # no header: the last column",
    )
    add_data(parser)
    columns = parser.add_argument_group("columns, by name or number (last: -1)")
    columns.add_argument("--label", metavar="COLUMN", help="what to predict")
    columns.add_argument(
        "--task", metavar="TASK", help="auto (default), regression, classification"
    )
    columns.add_argument("--drop", metavar="A,B,...", help="not to learn from")
    columns.add_argument("--keep", metavar="A,B,...", help="to learn from, though they seem names")
    columns.add_argument("--category", metavar="A,B,...", help="whose numbers are categories")
    columns.add_argument("--number", metavar="A,B,...", help="in which text is an error")
    columns.add_argument(
        "--day-first",
        action="store_true",
        default=None,
        help="read 01/02/2024 as a day in February where all dates of a column could be either",
    )
    columns.add_argument("--weight", metavar="COLUMN", help="how much a row counts, at least 0")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--hidden",
        metavar="N,...",
        help=f"units of hidden layers (default {settings.HIDDEN}); 0: none",
    )
    network.add_argument("--activation", metavar="NAME", help=f"default {settings.ACTIVATION}")
    network.add_argument(
        "--dropout",
        type=float,
        metavar="P",
        help=f"after each hidden layer (default {settings.DROPOUT})",
    )
    how = parser.add_argument_group("training")
    how.add_argument("--loss", metavar="NAME", help="default auto: by the task")
    how.add_argument(
        "--optimizer",
        metavar="NAME",
        help=f"default {settings.OPTIMIZER}; {', '.join(settings.OPTIMIZERS)}",
    )
    how.add_argument("--rate", type=float, metavar="R", help="learning rate; default: by the task")
    how.add_argument(
        "--schedule",
        metavar="NAME",
        help=f"of the rate: {', '.join(settings.SCHEDULES)}; default cosine",
    )
    how.add_argument("--batch", type=int, metavar="N", help="rows a step; default: by the rows")
    how.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the rows; default: by both"
    )
    how.add_argument(
        "--l1", type=float, metavar="L", help="penalty on sizes of weights (default 0)"
    )
    how.add_argument("--l2", type=float, metavar="L", help="penalty on their squares (default 0)")
    how.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="of the rows, left out to score the model while it is trained, and for --patience "
        "(default 0.1, and none of fewer than some 100 rows)",
    )
    how.add_argument(
        "--test",
        type=float,
        metavar="SHARE",
        help="of the rows, to score the model in the end (default 0)",
    )
    how.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after so many epochs in which the validation loss got no smaller, and go back "
        "to the epoch where it was smallest (default: the last epoch is kept)",
    )
    how.add_argument(
        "--restarts", type=int, metavar="N", help="networks, of which the best is kept"
    )
    how.add_argument(
        "--seed", type=int, metavar="N", help="of weights, order and split (default 0)"
    )
    how.add_argument("--dtype", metavar="NAME", help="float32 (default) or float64")
    how.add_argument("--target", metavar="NAME", help="cpu (default), cuda, numpy or auto")
    how.add_argument("--threads", type=int, metavar="N", help="default: chosen from the work")
    how.add_argument(
        "--mpi",
        action="store_true",
        help="train one network with all processes that mpiexec has started: each reads DATA and "
        "takes its part of every batch",
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "--out", default=None, metavar="FILE", help=f"default {OUT}; replaced if there"
    )
    files.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a file after every epoch, in this folder, where the last three are kept, or with "
        "this name",
    )
    files.add_argument(
        "--resume",
        metavar="PATH",
        help="go on from a model or a checkpoint, on the same DATA; all but --epochs, --rate, "
        "--patience, --target and --threads stays as it was",
    )
    files.add_argument("--quiet", action="store_true", help="print errors and results only")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Train, and print how good the model is and where it is."""
    begun = time.perf_counter()
    out = OUT if options.out is None else options.out
    _check(options)
    check_output("--out", out, options.data)
    if options.checkpoint is not None:
        refuse_inputs("--checkpoint", options.checkpoint, options.data)
    said: list[str] = []
    processes = Processes(options.mpi)
    with processes.step():
        model, data = (_begin if options.resume is None else _go_on)(options, said)
        if processes.communicator is not None:
            model.trainer.communicator = processes.communicator
    options.quiet = options.quiet or not processes.first
    say_all(said, options.quiet)
    with processes.step():
        try:
            history = _fit(options, model, data)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(options, model)) from None
    with processes.step():
        if processes.first:
            model.trainer.save(out)
            _report(model, data, history, out, time.perf_counter() - begun)
            for line in _restarts(history) if options.resume is None else []:
                screen.answer(line)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse settings that cannot be, alone or together, before anything is read.

    Raises
    ------
    InvalidInput
        Which, and what to do.
    """
    from fastnn.training.saved_trainer import MOST_THREADS

    given = vars(options)
    for name, least in (("batch", 1), ("epochs", 0), ("patience", 0), ("restarts", 1), ("seed", 0)):
        if given[name] is not None:
            whole(given[name], f"--{name}", least)
    if options.threads is not None:
        whole(options.threads, "--threads", 1, MOST_THREADS)
    for name in ("l1", "l2"):
        if given[name] is not None:
            number(given[name], f"--{name}", 0.0)
    if options.rate is not None:
        number(options.rate, "--rate", 0.0, open_low=True)
    if options.dropout is not None:
        number(options.dropout, "--dropout", 0.0, 1.0, open_high=True)
    if (options.restarts or 1) > 1 and options.checkpoint is not None:
        raise InvalidInput(
            f"--restarts {options.restarts} trains several networks, and --checkpoint follows one; "
            "leave one of the two out"
        )
    settings.check_names(options)
    validation, test = _shares(options)
    if validation + test >= 1:
        raise InvalidInput(
            f"--validation {validation:g} and --test {test:g} leave no rows to train on"
        )
    if options.patience is not None and not validation and options.resume is None:
        raise InvalidInput("--patience needs rows to validate with; leave out --validation 0")


def _kept(options: argparse.Namespace, model: TableModel) -> str:
    """Return what there is after Ctrl-C."""
    from fastnn.errors import FastnnError
    from fastnn.storage.checkpoint_files import checkpoints_at
    from fastnn.tabular.table import counted

    if options.checkpoint is None:
        done = counted(model.trainer.epoch, "epoch")
        return f"{done} done and nothing saved; --checkpoint PATH saves each epoch"
    try:
        newest = checkpoints_at(options.checkpoint)[0]
    except FastnnError:
        return "no epoch was done"
    return f"{newest} has the last epoch saved; go on with --resume {options.checkpoint}"


class _Parts:
    """The rows of a training: which ones it sees, and which it is measured on."""

    def __init__(self, model: TableModel, data: Table | Matrix, options: Any, said: list[str]):
        import numpy as np

        self.weights: np.ndarray | None = None
        plan = model.plan
        if plan.weight:
            self.weights = _weights(data, plan.weight, options.decimal)
        values = model.labels(data)
        assert values is not None
        targets, new = model.targets(values, options.decimal, said)
        if new:
            raise InvalidInput(
                f"the label has {len(new)} classes that the model does not know, such as "
                f"{next(iter(new))!r}; train a new model for them"
            )
        self.targets = targets
        self.X = model.features(data, options.decimal, said)
        classes = bool(model.label.classes)
        y = targets if classes or model.counts else model.label.standard(targets)
        self.y = y.astype(np.int64) if classes else y.astype(model.trainer.problem.dtype)
        groups = targets if classes else np.zeros(len(targets), np.int64)
        self.train, self.validation, self.test = split(
            groups, plan.validation, plan.test, plan.seed
        )


def split(
    groups: np.ndarray, validation: float, test: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows to train on, to validate and to test with, at random, of each group alike.

    Parameters
    ----------
    groups
        (rows,), such as classes; of each, at least one row is to train on.
    validation, test
        Shares of all rows; of groups too small for theirs, some give a row and others none.
    """
    import numpy as np

    random = np.random.default_rng([seed, 0x73706C69])  # ASCII "spli": apart from other draws
    order = random.permutation(len(groups))
    drawn = groups[order]
    names, sizes = np.unique(groups, return_counts=True)
    ties = random.random(len(names))
    tested = _quotas(sizes, sizes - 1, test, ties)
    validated = _quotas(sizes, sizes - 1 - tested, validation, 1 - ties)
    parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for name, of_test, of_validation in zip(names, tested, validated, strict=True):
        rows = np.split(order[drawn == name], (of_test, of_test + of_validation))
        for part, chosen in zip((2, 1, 0), rows, strict=True):
            parts[part].append(chosen)
    train, validated_rows, tested_rows = (np.sort(np.concatenate(part)) for part in parts)
    return train, validated_rows, tested_rows


def _quotas(sizes: np.ndarray, free: np.ndarray, share: float, ties: np.ndarray) -> np.ndarray:
    """Return how many rows of each group make a share of all, by the largest remainders.

    Parameters
    ----------
    sizes, free
        Rows of each group, and how many of these may be taken.
    ties
        The order among equal remainders.
    """
    import numpy as np

    exact = share * sizes
    quotas = np.minimum(np.floor(exact + 1e-9).astype(np.int64), free)  # 0.1 * 30 is less than 3
    lacking = round(share * int(sizes.sum())) - int(quotas.sum())
    while lacking > 0 and (quotas < free).any():
        order = np.lexsort((ties, -(exact - quotas).round(9)))
        order = order[(quotas < free)[order]][:lacking]
        quotas[order] += 1
        lacking -= len(order)
    return quotas


def _said_of_parts(parts: Any, validation: float, test: float) -> list[str]:
    """Return what there is to say where a part was asked for but has no row."""
    from fastnn.tabular.table import counted

    rows = counted(sum(map(len, parts)), "row")
    return [
        f"warning: no row is left out to {what}: --{option} {share:g} of {rows} is none"
        for what, option, share, part in (
            ("validate", "validation", validation, parts[1]),
            ("test", "test", test, parts[2]),
        )
        if share and not len(part)
    ]


def _begin(options: argparse.Namespace, said: list[str]) -> tuple[TableModel, _Parts]:
    """Return a new model, and the rows for it."""
    from dataclasses import replace

    import numpy as np

    from fastnn.cli.model import Plan, TableModel, without_label
    from fastnn.tabular import preparation
    from fastnn.tabular.label import Label
    from fastnn.tabular.table import Matrix, counted, in_file
    from fastnn.tabular.words import number_hint
    from fastnn.training.trainer import Trainer

    validation, test = _shares(options)
    seed = options.seed or 0
    task = settings.task_for(options.task, options.loss)
    data, remarks = read_data(options, label=options.label or "")
    said.append("; ".join([f"{called(options.data)}: {_extent(data)}", *remarks]))
    label, weight = _label(options, data), ""
    columns: tuple[str, ...] = ()
    numbered = False
    if not isinstance(data, Matrix):
        columns, numbered = tuple(data.columns), data.numbered
        if options.weight is not None:
            weight = data.name_of(options.weight, "--weight")
            if not weight:
                raise InvalidInput("--weight: that column has no name; give it one in the header")
    elif options.weight is not None:
        raise InvalidInput("--weight names a column, and a matrix has none")
    data, unlabelled = without_label(data, label)
    if unlabelled:
        said.append(f"{counted(unlabelled, 'row')} without a label left out")
    if not data.rows:
        raise InvalidInput(f"column {label!r}, the label, has no value in any row")
    inputs: Any = replace(data, y=None) if isinstance(data, Matrix) else data
    choices = preparation.Choices(decimal=options.decimal)
    if not isinstance(data, Matrix):
        given = {
            option: [data.name_of(name, f"--{option}") for name in names_in(value)]
            for option, value in vars(options).items()
            if option in ("drop", "keep", "category", "number")
        }
        _check_roles({"label": [label], "weight": [weight] if weight else [], **given})
        inputs = data.without([label, *([weight] if weight else []), *given["drop"]])
        if not inputs.columns:
            why = "--drop names all of them" if given["drop"] else "the label is the only one"
            raise InvalidInput(f"no column is left to learn from: {why}")
        choices = preparation.Choices(
            given["category"], given["number"], given["keep"], options.decimal,
            bool(options.day_first),
        )  # fmt: skip
    else:
        for option in ("drop", "keep", "category", "number"):
            if getattr(options, option) is not None:
                raise InvalidInput(f"--{option} names columns, and a matrix has none")
    values = data.y if isinstance(data, Matrix) else data.columns[label]
    assert values is not None
    with in_file(data.places):
        told = Label.learn(label, values, task, options.decimal)
        targets, _ = told.encode(values, options.decimal)
    if (
        round(validation * data.rows) < _LEAST_VALIDATION
        and validation
        and options.validation is None
    ):
        said.append(f"{counted(data.rows, 'row')} are too few to leave some out: no validation")
        validation = 0.0
    groups = targets if told.classes else np.zeros(data.rows, np.int64)
    parts = split(groups, validation, test, seed)
    rows = len(parts[0])
    if not told.classes:
        told = told.scaled_by(targets[parts[0]])
    features, more = preparation.learn(inputs, choices, None if rows == data.rows else parts[0])
    if told.classes and values.dtype == object:
        hint = number_hint(values, options.decimal)
        said += [f"warning: label {label!r} is read as classes: {hint}"] if hint else []
    said += [_said_of(told, values), *_said_of_parts(parts, validation, test)]
    said += features.describe() + more
    kind: Any = settings.loss_for(options.loss, told.task)
    regression = not told.classes
    if kind == "poisson":
        if (targets < 0).any():
            row = int((targets < 0).argmax())
            raise InvalidInput(
                f"row {row + 1 if data.places is None else data.places[row] + 1}, column "
                f"{label!r}, the label: {targets[row]:g}, but --loss poisson takes counts, which "
                "are at least 0; correct it, or choose another --loss"
            )
        told = Label(told.name)
    batch = min(settings.batch_for(rows) if options.batch is None else options.batch, rows)
    epochs = options.epochs
    if epochs is None:
        epochs = settings.epochs_for(rows, batch, regression)
    outputs = len(told.classes) if kind == "softmax_cross_entropy" else 1
    optimizer, rate = settings.optimizer_of(options, regression, epochs * -(-rows // batch))
    trainer = Trainer(
        settings.network_of(options, len(features.features), outputs),
        kind,
        optimizer,
        batch_size=batch,
        l1=options.l1 or 0.0,
        l2=options.l2 or 0.0,
        target=options.target or "cpu",
        threads=options.threads,
        dtype=options.dtype or "float32",
        seed=seed,
    )
    plan = Plan(columns, numbered, data.rows, validation, test, seed, weight)
    model = TableModel(trainer, features, told, plan)
    model.keep()
    found = _Parts(model, data, options, said)
    options.epochs = epochs
    sizes = "-".join(map(str, [trainer.network.inputs, *(d.units for d in trainer.network.dense)]))
    said.append(
        f"network {sizes}, {options.activation or settings.ACTIVATION}; loss {kind}; "
        f"{options.optimizer or settings.OPTIMIZER}, rate {rate:g}; {counted(epochs, 'epoch')} of "
        f"{counted(rows, 'row')} in batches of {batch}"
    )
    return model, found


def _go_on(options: argparse.Namespace, said: list[str]) -> tuple[TableModel, _Parts]:
    """Return the model of a file, and the same rows for it."""
    from fastnn.cli.model import TableModel, without_label
    from fastnn.cli.resume import check_same
    from fastnn.tabular.table import Matrix, counted
    from fastnn.training.trainer import Trainer

    trainer = Trainer.resume(options.resume, target=options.target, threads=options.threads)
    model = TableModel.of(trainer, options.resume)
    check_same(options, model)
    expected = None if model.plan.numbered else model.plan.columns
    data, remarks = read_data(options, expected, label=model.label.name)
    said.append("; ".join([f"{called(options.data)}: {_extent(data)}", *remarks]))
    data = model.aligned(data, said)
    if model.labels(data) is None:
        raise InvalidInput(f"the data have no column {model.label.name!r}, the label of the model")
    if not isinstance(data, Matrix) and model.plan.weight and model.plan.weight not in data.columns:
        raise InvalidInput(f"the data have no column {model.plan.weight!r}, the model's weights")
    data, _ = without_label(data, model.label.name)
    if data.rows != model.plan.rows:
        said.append(
            f"warning: the data have {data.rows} rows with a label, but those of the training had "
            f"{model.plan.rows}; other rows are left out to validate and test than before"
        )
    epochs = trainer.remaining if options.epochs is None else options.epochs
    if options.epochs is None and not epochs:
        raise InvalidInput(
            f"{options.resume} has done all of its {trainer.epoch} epochs; pass --epochs to do more"
        )
    if options.rate is not None:
        trainer.set(learning_rate=options.rate)
    elif options.epochs is not None and epochs > trainer.remaining:
        kind = (
            "adam" if "adam" in trainer.problem.optimizer.rule else trainer.problem.optimizer.rule
        )
        rate = settings.rate_for(kind, not model.label.classes) / 10
        trainer.set(learning_rate=rate)
        said.append(f"the rate of the model has come to its end: {rate:g} from now on, or --rate")
    parts = _Parts(model, data, options, said)
    options.epochs = epochs
    said.append(f"goes on after epoch {trainer.epoch}: {counted(epochs, 'more epoch')}")
    return model, parts


def _extent(data: Table | Matrix) -> str:
    from fastnn.tabular.table import Matrix, counted

    width = data.X.shape[1] if isinstance(data, Matrix) else len(data.columns)
    return f"{counted(data.rows, 'row')}, {counted(width, 'column')}"


def _said_of(label: Any, values: Any) -> str:
    """Return which task a label is, with its values."""
    from collections import Counter

    from fastnn.tabular.label import words_of

    if not label.classes:
        return (
            f"label {label.name!r}: regression, mean {label.mean:.6g}, deviation {label.scale:.6g}"
        )
    counts = Counter(words_of(values))
    shown = ", ".join(f"{word!r} {counts[word]}" for word in label.classes[:8])
    more = f" and {len(label.classes) - 8} more" if len(label.classes) > 8 else ""
    kind = "binary" if len(label.classes) == 2 else "multi-class"
    return f"label {label.name!r}: {kind} classification, rows by class: {shown}{more}"


def _label(options: argparse.Namespace, data: Table | Matrix) -> str:
    """Return the name of the label."""
    from fastnn.tabular.table import Matrix, listed

    if isinstance(data, Matrix) and data.y is None:
        raise InvalidInput(f"{called(options.data)} has features but no labels; add them as y")
    apart = data.label
    if apart is not None:
        if options.label not in (None, "y", "-1", apart):
            raise InvalidInput(
                f"--label {options.label}: {called(options.data)} is a matrix with labels of its "
                f"own, {apart}"
            )
        return apart
    assert not isinstance(data, Matrix)
    if options.label is None:
        raise InvalidInput(
            f"--label is missing; which column is to be predicted: {listed([*data.columns], 20)}?"
        )
    return data.name_of(options.label, "--label")


def _check_roles(given: dict[str, list[str]]) -> None:
    """Refuse columns that two options name for what cannot be both."""
    for one, another in itertools.combinations(given, 2):
        both = [name for name in given[one] if name in given[another]]
        if both and {one, another} not in ({"keep", "category"}, {"keep", "number"}):
            raise InvalidInput(
                f"--{one} and --{another} both name column {both[0]!r}; leave it out of one"
            )


def _weights(data: Any, name: str, decimal: str) -> Any:
    import numpy as np

    from fastnn.tabular.label import numbers_of

    weights, row = numbers_of(data.columns[name], decimal)
    wrong = ~(weights >= 0)
    if row is None and wrong.any():
        row = int(np.argmax(wrong))
    if row is not None:
        raise InvalidInput(
            f"row {row + 1}, column {name!r}: {data.columns[name][row]!r:.60} where a weight of at "
            "least 0 is due"
        )
    return weights


def _shares(options: argparse.Namespace) -> tuple[float, float]:
    """Return which shares of the rows are left out to validate and to test."""
    usual = {"validation": _VALIDATION, "test": 0.0}
    asked = {name: getattr(options, name) for name in usual}
    validation, test = (
        number(usual[name] if share is None else share, f"--{name}", 0.0, 1.0, open_high=True)
        for name, share in asked.items()
    )
    return validation, test


def _fit(options: argparse.Namespace, model: TableModel, data: _Parts) -> Any:
    """Train, with a bar or a line now and then, and return the history."""
    from fastnn.training.callbacks import Checkpoint, EarlyStopping

    trainer, rows = model.trainer, data.train
    weights = data.weights
    validation: Any = None
    callbacks: list[Any] = []
    if len(data.validation):
        validation = data.X[data.validation], data.y[data.validation]
        if weights is not None:
            validation = *validation, weights[data.validation]
        if options.patience is not None:
            callbacks.append(EarlyStopping(options.patience))
    elif options.patience is not None:
        raise InvalidInput(
            "--patience needs rows to validate with, and none are left out; leave --patience out"
            + ("" if options.resume else ", or pass a larger --validation")
        )
    if options.checkpoint is not None:
        callbacks.append(Checkpoint(options.checkpoint, keep=3))
    # A training that goes on is that of the network that was kept.
    restarts = 1 if options.restarts is None or options.resume is not None else options.restarts
    # A log has lines, a terminal has a bar.
    lines = not options.quiet and not (sys.stderr is not None and sys.stderr.isatty())
    history = trainer.fit(
        data.X[rows],
        data.y[rows],
        options.epochs,
        validation,
        None if weights is None else weights[rows],
        callbacks,
        restarts,
        progress=not options.quiet,
        verbose=max(1, options.epochs // 10) if lines and restarts == 1 else 0,
    )
    model.keep()
    return history


def _report(model: TableModel, data: _Parts, history: Any, out: str, seconds: float) -> None:
    """Print how good the model is, and where it is."""
    import os

    from fastnn.cli.scores import scores, short
    from fastnn.errors import UnusableFile

    rows = [("task", model.label.task)]
    if len(history):
        done, kept = history.first_epoch + len(history), model.trainer.epoch
        back = f", of which {kept} are kept: the validation loss got no smaller" * (kept < done)
        rows.append(("epochs", f"{done}{back}"))
    for name, part in (("validation", data.validation), ("test", data.test)):
        if len(part):
            found = scores(model, data.X[part], data.targets[part])
            rows.append((name, f"{len(part)} rows: {short(found)}"))
    if not len(data.validation) and not len(data.test):
        found = scores(model, data.X[data.train], data.targets[data.train])
        rows.append(("training", f"{len(data.train)} rows: {short(found)}"))
    try:
        rows.append(("model", f"{out} ({screen.size(os.path.getsize(out))})"))
    except OSError as error:
        raise UnusableFile(error.errno or errno.EIO, str(error.strerror), out) from error
    rows.append(("time", f"{seconds:.1f} s on {history.where}"))
    for line in screen.rows_of(rows):
        screen.answer(line)


def _restarts(history: Any) -> list[str]:
    """Return how each of several networks ended, as a table."""
    ends = history.restarts
    if len(ends) < 2:
        return []
    validated = any(each.validation_loss is not None for each in ends)
    rows = [["restart", "loss", *["validation"] * validated, "epochs"]]
    for index, each in enumerate(ends):
        losses = [each.loss, *[each.validation_loss] * validated]
        texts = ["-" if loss is None else f"{loss:.4g}" for loss in losses]
        if each.diverged:
            texts[-1] = "diverged"
        rows.append([f"{index} (kept)" if index == ends.best else str(index), *texts])
        rows[-1].append(str(each.epochs))
    return ["", *screen.table(rows)]
