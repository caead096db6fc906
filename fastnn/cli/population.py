"""``fastnn train --tabular``: a population of networks for a table, as one estimator in a file."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from fastnn.cli import screen
from fastnn.cli.data import say_all
from fastnn.cli.rows import Parts, file_row, prepare, scored
from fastnn.errors import FastnnError, InvalidInput, number, whole

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.model import PopulationModel

_OWN = ("members", "time_limit", "scoring")  # options that nothing else has
# What is drawn for each member, or has no meaning for several.
_OTHERS = (
    "hidden", "activation", "dropout", "loss", "optimizer", "rate", "schedule", "batch", "l1", "l2",
    "restarts", "dtype", "precision", "checkpoint", "resume",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are those of a population alone."""
    group = parser.add_argument_group("many networks in the place of one")
    group.add_argument(
        "--tabular",
        action="store_true",
        help="train a population of small networks whose settings are drawn, and average the best: "
        "more accurate than one network, and slower; needs scikit-learn. Of the options above and "
        "below it takes --validation, --test, --epochs, --patience, --seed, --target and --threads",
    )
    group.add_argument("--members", type=int, metavar="N", help="the most networks (default 16)")
    group.add_argument(
        "--time-limit", type=float, metavar="S", help="seconds that the training may take"
    )
    group.add_argument(
        "--scoring",
        metavar="NAME",
        help="what the networks are compared by: a scorer of scikit-learn's, such as roc_auc; "
        "default: the loss",
    )


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises
    ------
    InvalidInput
        Which, and what to do.
    """
    given = vars(options)
    if not options.tabular:
        wrong = next((name for name in _OWN if given[name] is not None), None)
        if wrong is not None:
            raise InvalidInput(f"{_spelt(wrong)} needs --tabular: add that, or leave it out")
        return
    wrong = next((name for name in _OTHERS if given[name] is not None), None)
    if wrong is not None:
        raise InvalidInput(
            f"{_spelt(wrong)} is of one network, and --tabular trains many; leave one of them out"
        )
    if options.mpi:
        raise InvalidInput(
            "--mpi trains one network with several processes, and --tabular trains many; leave one "
            "of them out"
        )
    if options.members is not None:
        whole(options.members, "--members", 1)
    if options.time_limit is not None:
        number(options.time_limit, "--time-limit", 0.0, open_low=True)
    for name, least in (("epochs", 1), ("patience", 1)):
        if given[name] is not None:
            whole(given[name], f"{_spelt(name)} of a population", least)
    if options.validation == 0:
        raise InvalidInput("--tabular chooses networks by rows left out; leave out --validation 0")
    _estimator(options, classes=True)  # for which a library may be missing
    if options.scoring is not None:
        import numpy as np

        from fastnn.estimators.scoring import check_name
        from fastnn.estimators.tabular.scorers import check_task

        check_name(options.scoring)
        if options.task in ("regression", "classification"):
            some = (None,) if options.task == "regression" else (np.arange(2), np.arange(3))
            check_task(options.scoring, some, "--scoring")


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run(options: argparse.Namespace, out: str, begun: float, said: list[str]) -> int:
    """Train, and print how good the ensemble is and where it is."""
    import numpy as np

    from fastnn.cli.model import PopulationModel
    from fastnn.tabular.table import counted

    prepared = prepare(options, said, tabular=True)
    estimator = _estimator(options, bool(prepared.label.classes))
    model = PopulationModel(estimator, prepared.preparation, prepared.label, prepared.plan)
    if options.scoring is not None:
        from fastnn.estimators.tabular.scorers import check_task

        places = np.arange(len(prepared.label.classes))
        classes = np.sort(model.outcomes(places)) if len(places) else None
        check_task(options.scoring, [classes], "--scoring")
    data = Parts(model, prepared.data, options, said)
    said.append(
        f"at most {counted(estimator.n_members, 'network')} of {counted(prepared.rows, 'row')}, "
        f"compared by {counted(len(data.validation), 'other')}"
    )
    say_all(said, options.quiet)
    _fit(estimator, data, options)
    model.keep()
    estimator.save(out)
    _report(model, data, out, time.perf_counter() - begun)
    return 0


def _estimator(options: argparse.Namespace, classes: bool) -> Any:
    """Return the estimator, whose settings are its own where none are given."""
    from fastnn.estimators import TabularClassifier, TabularRegressor

    given = {
        "n_members": options.members,
        "time_limit": options.time_limit,
        "max_iter": options.epochs,
        "n_iter_no_change": options.patience,
        "scoring": options.scoring,
        "target": options.target,
        "n_jobs": options.threads,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    kind: Any = TabularClassifier if classes else TabularRegressor
    return kind(random_state=options.seed or 0, verbose=int(not options.quiet), **settings)


def _fit(estimator: Any, data: Parts, options: argparse.Namespace) -> None:
    """Train, with a line for each member."""
    train, held = data.train, data.validation
    weights: Any = data.weights

    def weight(rows: np.ndarray) -> Any:
        return None if weights is None else weights[rows]

    # Lines of the training are no answers.
    aside = contextlib.nullcontext() if options.quiet else contextlib.redirect_stdout(sys.stderr)
    try:
        with aside:
            estimator.fit(
                data.X[train],
                data.y[train],
                weight(train),
                X_val=data.X[held],
                y_val=data.y[held],
                sample_weight_val=weight(held),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing saved; --time-limit S ends with a model") from None
    except FastnnError:
        raise
    except ValueError as error:
        # A scorer may not suit the label.
        where = "" if options.scoring is None else "--scoring: "
        raise InvalidInput(f"{where}{error}") from error


def _report(model: PopulationModel, data: Parts, out: str, seconds: float) -> None:
    """Print how good the model is, and where it is."""
    estimator = model.estimator
    counting = int((estimator.weights_ > 0).sum())
    rows = [
        ("task", model.label.task),
        ("members", f"{len(estimator.members_)} trained, {counting} of them in the ensemble"),
        *scored(model, data),
        file_row(out),
        ("time", f"{seconds:.1f} s on {estimator.target}"),
    ]
    for line in screen.rows_of(rows):
        screen.answer(line)
