"""``fastnn demo`` and ``fastnn examples``: training without data of one's own."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fastnn.cli import screen

TEST_ROWS = 360  # of the 1797 digits, a fifth
EPOCHS = 20
NEEDED_ACCURACY = 0.95  # after so many epochs


def add(commands: Any) -> None:
    """Add the two commands."""
    parser = commands.add_parser(
        "demo",
        help="train a small network on the digits that come along",
        description="Train 64-64-10 on four fifths of 1797 handwritten digits, and test it on the "
        "others.",
        example="fastnn demo --epochs 5",
    )
    parser.add_argument(
        "--target", default="cpu", help="cpu (default), cuda, cuda:1, numpy or auto"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    parser.add_argument("--threads", type=int, default=None, help="default: chosen from the work")
    parser.set_defaults(run=demo, parser=parser)

    parser = commands.add_parser(
        "examples",
        help="list the examples that come along, or run one",
        description="Without NAME, list the examples; with it, run that one, with its options.",
        example="fastnn examples xor --save xor.png",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the examples")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options")
    parser.set_defaults(run=examples, parser=parser)


def demo(options: argparse.Namespace) -> int:
    """Train on the digits; return 1 where the accuracy is not what it should be."""
    import time

    import numpy as np

    from fastnn.datasets import digits
    from fastnn.network import SGD, Dense, Network
    from fastnn.tabular.table import counted
    from fastnn.training.trainer import Trainer

    start = time.perf_counter()
    X, y = digits()
    rows = np.random.default_rng(0).permutation(len(X))
    test, train = rows[:TEST_ROWS], rows[TEST_ROWS:]
    trainer = Trainer(
        Network(64, [Dense(64, "relu"), Dense(10)]),
        optimizer=SGD(0.05, momentum=0.9),
        batch_size=32,
        target=options.target,
        threads=options.threads,
    )
    for line in (
        f"Data: {len(X)} handwritten digits of 8 x 8 pixels, {TEST_ROWS} of them for the test.",
        "Network: 64 pixels, 64 relu units, 10 classes; SGD with momentum, batches of 32.",
    ):
        _paragraph(line)
    screen.flush()  # the first training may compile for a while
    history = trainer.fit(X[train], y[train], options.epochs, validation_data=(X[test], y[test]))
    for epoch, loss in enumerate(history.loss):
        accuracy = history.validation_accuracy[epoch]
        screen.answer(f"epoch {epoch + 1:2d}  loss {loss:.4f}  test accuracy {accuracy:.4f}")
    accuracy = trainer.evaluate(X[test], y[test])["accuracy"]
    epochs = counted(len(history), "epoch")
    _paragraph(f"Test accuracy {accuracy:.4f} after {epochs} on {history.where}.")
    _paragraph(
        f"The epochs took {sum(history.seconds):.3f} s,"
        f" everything {time.perf_counter() - start:.1f} s."
    )
    if options.epochs >= EPOCHS and accuracy < NEEDED_ACCURACY:
        screen.say(f"fastnn: expected a test accuracy of at least {NEEDED_ACCURACY}")
        return 1
    return 0


def _paragraph(text: str) -> None:
    import textwrap

    for line in textwrap.wrap(text, screen.width()):
        screen.answer(line)


def examples(options: argparse.Namespace) -> int:
    """List the examples, or run one as ``python -m fastnn.examples.NAME`` does."""
    import importlib.util
    import runpy
    import textwrap

    from fastnn.errors import InvalidInput
    from fastnn.examples.running import examples as known_examples
    from fastnn.tabular.table import offered

    known = known_examples()
    if options.name is None:
        width = max(map(len, known)) + 2
        for name, line in known.items():
            lines = textwrap.wrap(line, max(20, screen.width() - width))
            screen.answer(f"{name:{width}s}{lines[0]}")
            for rest in lines[1:]:
                screen.answer(" " * width + rest)
        return 0
    if options.name not in known:
        raise InvalidInput(
            f"there is no example {options.name!r}{offered(options.name, list(known))}"
        )
    before = sys.argv
    sys.argv = [f"fastnn examples {options.name}", *options.options]
    try:
        spec = importlib.util.find_spec(f"fastnn.examples.{options.name}")
        # By its file: of a module that has been imported, too, runpy warns.
        runpy.run_path(str(spec and spec.origin), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except OSError as error:
        if error.filename is None:  # what an example prints
            raise screen.OutputFailed(error) from error
        raise
    finally:
        sys.argv = before
    return 0
