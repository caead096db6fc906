"""The command ``fastnn``: train a small network on real digits, or say what fastnn runs on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fastnn import __version__
from fastnn.errors import FastnnError

TEST_ROWS = 360  # of the 1797 digits, a fifth
NEEDED_ACCURACY = 0.95


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        What stands after ``fastnn``; None for the arguments of this process.

    Returns
    -------
    int
        0 if all went well, 1 if the demo missed its accuracy, 2 for an error that fastnn reports
        and where no command was given.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        code: int = options.run(options)
    except FastnnError as error:
        print("fastnn:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastnn", description="Train fully connected networks.")
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="command")

    demo = commands.add_parser("demo", help="train a small network on the digits that come along")
    demo.add_argument("--target", default="cpu", help="cpu (default), cuda, numpy or auto")
    demo.add_argument("--epochs", type=int, default=20, help="passes over the data (default 20)")
    demo.add_argument("--threads", type=int, default=None, help="default: chosen from the work")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="print versions, processor, devices and cache folder")
    info.set_defaults(run=_info)
    return parser


def _demo(options: argparse.Namespace) -> int:
    """Train 64-64-10 on four fifths of the digits and test it on the rest."""
    import time

    import numpy as np

    from fastnn.datasets import digits
    from fastnn.network import SGD, Dense, Network
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
    print(f"Data: {len(X)} handwritten digits of 8 x 8 pixels, {TEST_ROWS} of them for the test.")
    print("Network: 64 pixels, 64 relu units, 10 classes; SGD with momentum, batches of 32.")
    sys.stdout.flush()  # the first training may compile for a while
    history = trainer.fit(X[train], y[train], options.epochs, validation_data=(X[test], y[test]))
    for epoch, loss in enumerate(history.loss):
        accuracy = history.validation_accuracy[epoch]
        print(f"epoch {epoch + 1:2d}  loss {loss:.4f}  test accuracy {accuracy:.4f}")
    accuracy = trainer.evaluate(X[test], y[test])["accuracy"]
    print(f"Test accuracy {accuracy:.4f} after {len(history.loss)} epochs on {history.where}.")
    print(
        f"The epochs took {sum(history.seconds):.3f} s,"
        f" everything {time.perf_counter() - start:.1f} s."
    )
    if accuracy < NEEDED_ACCURACY:
        print(f"fastnn: expected a test accuracy of at least {NEEDED_ACCURACY}", file=sys.stderr)
        return 1
    return 0


def _info(options: argparse.Namespace) -> int:
    """Print what a report about speed or about a fault has to name."""
    import platform
    from importlib.metadata import version

    from fastnn.storage.kernels.kernel_cache import folder
    from fastnn.storage.kernels.machine import vector_bytes
    from fastnn.targets.cuda.host import availability
    from fastnn.threads.processors import available_threads

    del options
    rows = {"fastnn": __version__, "python": platform.python_version()}
    rows.update((name, version(name)) for name in ("numba", "numpy", "scipy"))
    rows["numba-cuda"] = availability.package() or "not installed"
    rows["processor"] = f"{_processor()} ({platform.machine()})"
    try:
        rows["vectors"] = f"{8 * vector_bytes()} bits"
        rows["kernels"] = _kernels()
    except ImportError as error:  # llvmlite's, of which processors and code are asked
        rows["kernels"] = f"cannot run: {error}"
    rows["threads"] = str(available_threads())
    said = availability.driver()
    if said.loaded:
        rows["driver"] = f"{said.version or said.library}, for CUDA up to {said.cuda_text}"
    for index, device in enumerate(said.devices):
        rows[f"device{index}"] = str(device)
    for name, number in availability.compilers().items():
        rows[name] = number or "not found"
    rows["cuda"] = _cuda()
    rows["cache"] = str(folder())
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}s} {value}")
    return 0


def _kernels() -> str:
    """Say what the CPU target's kernels are made for, and whether a first fit compiles them."""
    from fastnn.storage.kernels.entries import ENTRIES
    from fastnn.storage.kernels.loading import is_ready
    from fastnn.storage.kernels.machine import DISABLE_JIT, processor

    if DISABLE_JIT:
        return "plain Python (NUMBA_DISABLE_JIT)"
    made_for = processor()
    missing = [name for name in ENTRIES if not is_ready(name, made_for)]
    ready = f"compiled on first use: {', '.join(missing)}" if missing else "ready"
    return f"for {made_for.name or made_for.cpu}, {ready}"


def _cuda() -> str:
    """Return whether target="cuda" can run here, or why not."""
    from fastnn.targets.cuda.host import availability

    missing = availability.unavailable()
    if missing:
        return f"cannot run: {missing}"
    return "runs in Numba's simulator" if availability.simulated() else "runs on device 0"


def _processor() -> str:
    """Return the processor's name as the system gives it."""
    import platform
    from pathlib import Path

    table = Path("/proc/cpuinfo")  # Linux, where platform.processor() knows only the kind
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
