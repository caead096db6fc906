"""``fastnn cache`` and ``fastnn warm``: compiled kernels, removed or made ahead."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from fastnn.cli import screen
from fastnn.cli.kernels import caches, kernels
from fastnn.errors import InvalidInput

_OURS = (".code", ".kernel", ".part")


def add(commands: Any) -> None:
    """Add the two commands."""
    parser = commands.add_parser(
        "cache",
        help="print where compiled kernels are kept, or clear them",
        description="Print the folder in which compiled kernels are kept, with its size. "
        "FASTNN_CACHE_DIR names another one.",
        example="fastnn cache --clear",
    )
    parser.add_argument("--clear", action="store_true", help="remove what fastnn keeps there")
    parser.set_defaults(run=cache, parser=parser)

    parser = commands.add_parser(
        "warm",
        help="compile ahead what a first training would, such as for an image",
        description="Fill the kernel cache, so that no later process compiles: in the build of an "
        "image, or before the tests of a CI. With --dtype, --loss, --activation or --optimizer, a "
        "network of these is trained, which readies their kernels alone.",
        example="fastnn warm --dtype float32 --optimizer adam\n"
        "  RUN FASTNN_CACHE_DIR=/opt/fastnn fastnn warm      # in a Dockerfile",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        metavar="NAME",
        help="float32 or float64; default: both",
    )
    parser.add_argument("--target", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--optimizer", metavar="NAME", help="such as adam")
    parser.add_argument("--loss", metavar="NAME", help="such as mse")
    parser.add_argument("--activation", metavar="NAME", help="such as relu")
    parser.set_defaults(run=warm, parser=parser)


def cache(options: argparse.Namespace) -> int:
    """Print the folder and its size, or remove what is in it."""
    from fastnn.storage.kernels.kernel_cache import folder

    count = total = 0
    for place in caches():
        for file in place.iterdir():
            if file.suffix not in _OURS or not file.is_file():
                continue
            total += file.stat().st_size
            count += 1
            if options.clear:
                try:
                    file.unlink()
                except OSError as error:
                    raise InvalidInput(f"{file} cannot be removed: {error.strerror}") from error
        if options.clear:
            with contextlib.suppress(OSError):  # something of somebody else's is in it
                place.rmdir()
    what = f"{count} file{'s' * (count != 1)}, {screen.size(total)}"
    if options.clear:
        screen.answer(f"removed {what} from {folder().parent}")
    else:
        for line in screen.rows_of([("folder", str(folder())), ("kept", what)]):
            screen.answer(line)
    return 0


def warm(options: argparse.Namespace) -> int:
    """Compile, and print what is ready."""
    import time

    from fastnn.errors import TargetUnavailable
    from fastnn.rules.table import unknown_name
    from fastnn.storage.kernels.entries import ENTRIES
    from fastnn.storage.kernels.loading import prepare
    from fastnn.storage.kernels.machine import DISABLE_JIT
    from fastnn.targets.selection import parse

    if DISABLE_JIT:
        raise TargetUnavailable("NUMBA_DISABLE_JIT is set, so that nothing can be compiled ahead")
    begun = time.perf_counter()
    dtypes = [options.dtype] if options.dtype else ["float32", "float64"]
    if (kind := parse(options.target).kind) not in ("cpu", "cuda"):
        raise unknown_name("target to warm", options.target, ("cpu", "cuda"))
    for dtype in dtypes:
        _train(options, dtype)
    if kind == "cpu":
        prepare([name for name in ENTRIES if "_float" not in name or name.endswith(tuple(dtypes))])
        for name, state in kernels().items():
            if name == "made for" or name == "shuffle" or name.endswith(tuple(dtypes)):
                screen.answer(f"{name}: {state}")
    screen.answer(f"ready after {time.perf_counter() - begun:.1f} s")
    return 0


def _train(options: argparse.Namespace, dtype: Any) -> None:
    """Train a tiny network with the rules that were asked for."""
    import numpy as np

    from fastnn.cli.settings import optimizer_of
    from fastnn.network import Dense, Network
    from fastnn.rules.table import LOSSES, unknown_name
    from fastnn.training.trainer import Trainer

    loss: Any = options.loss or "softmax_cross_entropy"
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    settings = argparse.Namespace(optimizer=options.optimizer, rate=None, schedule="constant")
    optimizer, _ = optimizer_of(settings, False, 1)
    outputs = 2 if LOSSES[loss].targets == "classes" else 1
    network = Network(4, [Dense(8, options.activation or "relu"), Dense(outputs)])
    trainer = Trainer(network, loss, optimizer, 8, target=options.target, dtype=dtype)
    X, y = np.eye(16, 4), np.arange(16) % 2
    trainer.fit(X.astype(dtype), y, 1, progress=False)
    trainer.predict(X.astype(dtype))
