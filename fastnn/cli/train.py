"""``fastnn train``: from a table to a model in a file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from fastnn.cli import population, screen, settings
from fastnn.cli.data import add_data, called, check_output, read_data, refuse_inputs, say_all
from fastnn.cli.ranks import Processes, check_alone
from fastnn.cli.rows import Parts, check_counts, extent, file_row, prepare, scored, shares
from fastnn.cli.streamed import Source, StreamedParts, source_of
from fastnn.cli.streamed import prepare as prepare_streamed
from fastnn.errors import InvalidInput, number, whole

if TYPE_CHECKING:
    from fastnn.cli.model import TableModel
    from fastnn.tabular.table import Matrix, Table

OUT = "model.safetensors"


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
        "  fastnn train houses.csv.gz --label price --tabular --time-limit 60\n"
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
        "--duration", metavar="A,B,...", help="of durations, though they could be times of day"
    )
    columns.add_argument(
        "--day-first",
        action="store_true",
        default=None,
        help="read 01/02/2024 as a day in February where all dates of a column could be either",
    )
    columns.add_argument(
        "--weight",
        metavar="COLUMN",
        help="how much a row counts, at least 0: in the training, and in all scores",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--hidden",
        metavar="N,...",
        help=f"units of hidden layers (default {settings.HIDDEN}); none: a linear model",
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
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the rows; default: by both. With --resume: so many more, unless it is "
        "all that an interrupted training had to do, which is then ended; default: its rest",
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
    population.add_options(parser)
    how.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="read the rows of Parquet and Arrow files from the files while the network trains, "
        "and hold none but some (default: where they take more memory than there is)",
    )
    how.add_argument("--dtype", metavar="NAME", help="float32 (default) or float64")
    how.add_argument(
        "--precision",
        metavar="NAME",
        help="of products of matrices: float32 (default), or bfloat16 and tf32, where the target "
        "has them",
    )
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
        help="go on from a model or a checkpoint, on the same DATA in the same order; all but "
        "--epochs, --rate, --patience, --target and --threads stays as it was",
    )
    files.add_argument("--quiet", action="store_true", help="print errors and results only")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Train, and print how good the model is and where it is."""
    begun = time.perf_counter()
    out = OUT if options.out is None else options.out
    said: list[str] = []
    if options.tabular:
        _check(options, out)
        source_of(options)  # which refuses
        return population.run(options, out, begun, said)
    processes = Processes(options.mpi)
    with processes.step():
        _check(options, out)
        source = source_of(options)
        begin = _begin if options.resume is None else _go_on
        model, data = begin(options, source, said)
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
            _report(model, data, history, source, out, time.perf_counter() - begun)
            for line in _restarts(history) if options.resume is None else []:
                screen.answer(line)
    return 0


def _check(options: argparse.Namespace, out: str) -> None:
    """Refuse settings and files that cannot be, alone or together, before anything is read.

    Raises
    ------
    InvalidInput
        Which, and what to do.
    """
    from fastnn.targets.selection import choose
    from fastnn.training.saved_trainer import MOST_THREADS

    check_alone(options.mpi, options.tabular, out)
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
    if options.target is not None:
        choose(options.target)
    validation, test = shares(options)
    if validation + test >= 1:
        raise InvalidInput(
            f"--validation {validation:g} and --test {test:g} leave no rows to train on"
        )
    if options.patience is not None and not validation and options.resume is None:
        raise InvalidInput("--patience needs rows to validate with; leave out --validation 0")
    population.check(options)
    check_output("--out", out, options.data)
    if options.checkpoint is not None:
        refuse_inputs("--checkpoint", options.checkpoint, options.data)
    if options.mpi and (options.data == "-" or _is_read_once(options.data)):
        raise InvalidInput(
            f"--mpi has each process read DATA, and {called(options.data)} can be read once; write "
            "the table to a file first"
        )


def _is_read_once(path: str) -> bool:
    """Return whether it is a pipe or a terminal, such as /dev/stdin."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


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


def _begin(
    options: argparse.Namespace, source: Source | None, said: list[str]
) -> tuple[TableModel, Parts | StreamedParts]:
    """Return a new model, and the rows for it."""
    from fastnn.cli.model import TableModel
    from fastnn.tabular.label import Label
    from fastnn.tabular.table import counted
    from fastnn.training.trainer import Trainer

    if source is None:
        prepared = prepare(options, said)
    else:
        prepared = prepare_streamed(source, options, said)
    data, told, features = prepared.data, prepared.label, prepared.preparation
    targets, rows, seed = prepared.targets, prepared.rows, prepared.plan.seed
    kind: Any = settings.loss_for(options.loss, told.task)
    regression = not told.classes
    if kind == "poisson":
        check_counts(told, targets, data.places)
        told = Label(told.name)
    batch = min(settings.batch_for(rows) if options.batch is None else options.batch, rows)
    epochs = options.epochs
    if epochs is None:
        epochs = settings.epochs_for(rows, batch, regression)
    outputs = len(told.classes) if kind == "softmax_cross_entropy" else 1
    optimizer, rate = settings.optimizer_of(options, regression, epochs * -(-rows // batch))
    trainer = Trainer(
        settings.network_of(options, features.width, outputs),
        kind,
        optimizer,
        batch_size=batch,
        l1=options.l1 or 0.0,
        l2=options.l2 or 0.0,
        target=options.target or "cpu",
        threads=options.threads,
        dtype=options.dtype or "float32",
        precision=options.precision or "float32",
        seed=seed,
    )
    model = TableModel(trainer, features, told, prepared.plan)
    model.keep()
    found = _parts(model, data, source, options, said)
    options.epochs = epochs
    sizes = "-".join(map(str, [trainer.network.inputs, *(d.units for d in trainer.network.dense)]))
    hidden = f", {trainer.network.dense[0].activation}" if len(trainer.network.dense) > 1 else ""
    said.append(
        f"network {sizes}{hidden}; loss {kind}; "
        f"{options.optimizer or settings.OPTIMIZER}, rate {rate:g}; {counted(epochs, 'epoch')} of "
        f"{counted(rows, 'row')} in batches of {batch}"
    )
    return model, found


def _parts(
    model: TableModel,
    data: Table | Matrix,
    source: Source | None,
    options: argparse.Namespace,
    said: list[str],
) -> Parts | StreamedParts:
    """Return the rows for a model: those read into memory, or those of files."""
    if source is None:
        return Parts(model, data, options, said)
    return StreamedParts(model, source, options, said)


def _go_on(
    options: argparse.Namespace, source: Source | None, said: list[str]
) -> tuple[TableModel, Parts | StreamedParts]:
    """Return the model of a file, and the same rows for it."""
    from fastnn.cli.model import TableModel, digest_of
    from fastnn.cli.resume import check_same
    from fastnn.tabular.table import counted
    from fastnn.training.trainer import Trainer

    trainer = Trainer.resume(options.resume, target=options.target, threads=options.threads)
    model = TableModel.of(trainer, options.resume)
    check_same(options, model)
    parts: Parts | StreamedParts
    if source is None:
        data = _read_again(model, options, said)
        rows = data.rows
        parts = Parts(model, data, options, said)
    else:
        said.append(f"{called(options.data)}: read from the files while training, {source.why}")
        parts = StreamedParts(model, source, options, said)
        rows = parts.rows
    if trainer.problem.loss == "poisson":
        check_counts(model.label, parts.targets, parts.places)
    if rows != model.plan.rows:
        said.append(
            f"warning: the data have {rows} rows with a label, but those of the training had "
            f"{model.plan.rows}; other rows are left out to validate and test than before"
        )
    elif model.plan.labels not in ("", digest_of(parts.targets)):
        said.append(
            "warning: the labels of the data are not those of the training, row by row: where rows "
            "are others, or in another order, some that were trained on are left out to validate "
            "and test"
        )
    epochs = trainer.remaining if options.epochs is None else options.epochs
    if options.epochs is None and not epochs:
        raise InvalidInput(
            f"{options.resume} has done all of its {trainer.epoch} epochs; pass --epochs to do more"
        )
    total = trainer.epoch + trainer.remaining
    same = bool(trainer.remaining) and options.epochs == total
    if same:  # as the training was begun, which is to be ended
        epochs = trainer.remaining
    rate = trainer.problem.optimizer.learning_rate
    highest = settings.highest_rate(rate)
    ends = epochs > trainer.remaining
    if options.rate is not None:
        if ends or options.rate != (rate if highest is None else highest):
            trainer.set(learning_rate=options.rate)
    elif ends and highest is not None:
        trainer.set(learning_rate=highest / 10)
        end = "has come to its end" if not trainer.remaining else "ends before these epochs"
        said.append(f"the rate of the model {end}: {highest / 10:g} from now on, or --rate")
    options.epochs = epochs
    of = f", {total} in all as before" if same else ""
    said.append(f"goes on after epoch {trainer.epoch}: {counted(epochs, 'more epoch')}{of}")
    return model, parts


def _read_again(model: TableModel, options: argparse.Namespace, said: list[str]) -> Table | Matrix:
    """Return the rows of DATA that have a label, for a model of a file."""
    from fastnn.cli.model import labelled
    from fastnn.tabular.table import Matrix

    data, remarks = read_data(options, model)
    said.append("; ".join([f"{called(options.data)}: {extent(data)}", *remarks]))
    data = model.aligned(data, said)
    if model.labels(data) is None:
        raise InvalidInput(f"the data have no column {model.label.name!r}, the label of the model")
    if not isinstance(data, Matrix) and model.plan.weight and model.plan.weight not in data.columns:
        raise InvalidInput(f"the data have no column {model.plan.weight!r}, the model's weights")
    return labelled(data, model.label.name)[0]


def _fit(options: argparse.Namespace, model: TableModel, data: Parts | StreamedParts) -> Any:
    """Train, with a bar or a line now and then, and return the history."""
    from fastnn.training.callbacks import Checkpoint, EarlyStopping

    trainer = model.trainer
    validation: Any = None
    callbacks: list[Any] = []
    if len(data.validation):
        validation = [each for each in data.of(data.validation) if each is not None]
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
    X, y, weights = data.of(data.train)
    history = trainer.fit(
        X,
        y,
        options.epochs,
        validation,
        weights,
        callbacks,
        restarts,
        progress=not options.quiet,
        verbose=max(1, options.epochs // 10) if lines and restarts == 1 else 0,
    )
    model.keep()
    return history


def _report(
    model: TableModel,
    data: Parts | StreamedParts,
    history: Any,
    source: Source | None,
    out: str,
    seconds: float,
) -> None:
    """Print how good the model is, and where it is."""
    rows = [("task", model.label.task)]
    if source is not None:  # of which other batches come than of rows in memory
        rows.append(("rows", f"read from the files while training, {source.why}"))
    if len(history):
        done, kept = history.first_epoch + len(history), model.trainer.epoch
        back = f", of which {kept} are kept: the validation loss got no smaller" * (kept < done)
        rows.append(("epochs", f"{done}{back}"))
    rows += scored(model, data) + [file_row(out)]
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
