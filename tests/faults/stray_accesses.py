"""Kernels that are broken on purpose, each by one index, and whether ``FASTNN_CHECK=1`` says so.

Every fault is an edit of a copy of the package, which is compiled anew: half a minute each, and
more. Run by itself, ``python tests/faults/stray_accesses.py [--long] [word ...]``, it prints a row
a fault: what was broken, how many tries, how many were not found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "fastnn"
SHORT = 1  # faults


class Fault(NamedTuple):
    """An edit of one file that makes an index wrong.

    Attributes
    ----------
    what
        In words.
    file, old, new
        The text that is replaced, once, in a file of the package.
    function
        Part of the name of the function that the report must name.
    """

    what: str
    file: str
    old: str
    new: str
    function: str


FAULTS = [
    Fault(
        "product: a vector written one number on",
        "targets/cpu/products/kernels.py",
        "self.store(builder, value, self.at(builder, row, v))",
        "self.store(builder, value, builder.gep(self.at(builder, row, v), [INT64(1)]))",
        "fastnn_multiply",
    ),
    Fault(
        "product: a row too many read",
        "targets/cpu/products/kernels.py",
        "cells = loop(builder, samples, [zero]",
        "cells = loop(builder, builder.add(samples, INT64(1)), [zero]",
        "fastnn_accumulate",
    ),
    Fault(
        "layers: z written one number on",
        "targets/cpu/step/layers.py",
        "memory[U(layers[layer, Z] + i)] = memory[U(out + i)]",
        "memory[U(layers[layer, Z] + i + 1)] = memory[U(out + i)]",
        "activate_outputs",
    ),
    Fault(
        "layers: a mask read one number on",
        "targets/cpu/step/layers.py",
        "memory[U(out + at + i)] *= memory[U(layers[layer, MASK] + at + i)]",
        "memory[U(out + at + i)] *= memory[U(layers[layer, MASK] + at + i + 1)]",
        "linear_backward",
    ),
    Fault(
        "update: a gradient written one number on",
        "targets/cpu/step/update.py",
        """            for c in range(apart * (p1 - p0)):
                memory[U(gradient + c)] = zero""",
        """            for c in range(apart * (p1 - p0)):
                memory[U(gradient + c - 1)] = zero""",
        "do_tile",
    ),
    Fault(
        "gather: a vector written one number early",
        "targets/cpu/step/gather.py",
        "copy(memory, out, base + c * itemsize)",
        "copy(memory, out - 1, base + c * itemsize)",
        "gather_matrix",
    ),
    Fault(
        "gather: the caller's row read one number on",
        "targets/cpu/step/gather.py",
        "memory[U(out + c)] = own_load(base + c * itemsize)",
        "memory[U(out + c)] = own_load(base + (c + 1) * itemsize)",
        "gather_matrix",
    ),
    Fault(
        "softmax: a loss written one row on",
        "targets/cpu/step/softmax.py",
        "row_loss[U(r)] = memory[U(scratch + r)]",
        "row_loss[U(r + 1)] = memory[U(scratch + r)]",
        "cross_entropy",
    ),
    Fault(
        "sparse rows: the caller's numbers read one number on",
        "targets/cpu/step/sparse_rows.py",
        "memory[U(x + e)] = real(load_float32(at + 4 * e))",
        "memory[U(x + e)] = real(load_float32(at + 4 * e + 4))",
        "unpack",
    ),
    Fault(
        "lazy rows: a gradient written one number early",
        "targets/cpu/step/lazy_rows.py",
        """                for c in range(at, at + width):
                    memory[U(c)] = zero""",
        """                for c in range(at, at + width):
                    memory[U(c - 1)] = zero""",
        "make_good",
    ),
]

# Small shapes, odd on purpose: one panel and several, the last narrow, a batch of one row left.
TRAIN = """
import numpy as np
from scipy import sparse
from fastnn import SGD, Adam, Dense, Dropout, Network, Trainer
from fastnn.errors import StrayAccess

random = np.random.default_rng(0)
X = random.normal(size=(15, 37)).astype(np.float32)
y = random.integers(0, 3, 15)
few = sparse.csr_array(X * (random.random(X.shape) < 0.05))
few[0, 0] = few[-1, -1] = 1
layers = [Dense(41, "gelu"), Dropout(0.3), Dense(19, "silu"), Dense(3)]
momentum = SGD(0.01, momentum=0.9)
cases = (X, Adam(0.01), 7), (few, Adam(0.01), 7), (few, SGD(0.01), 7), (few, momentum, 2)
for threads, (rows, optimizer, size) in ((threads, case) for threads in (1, 2) for case in cases):
    trainer = Trainer(
        Network(37, layers), optimizer=optimizer, batch_size=size, threads=threads, l2=0.1
    )
    try:
        trainer.fit(rows, y, epochs=2)
        trainer.predict(rows)
    except StrayAccess as error:
        print("found:", error)
        break
else:
    print("nothing")
"""


def answer(package: Path) -> str:
    """Return what is found in the small trainings of a package, or how they failed."""
    environment = os.environ | {"FASTNN_CHECK": "1", "PYTHONPATH": str(package.parent)}
    environment["NUMBA_OPT"] = "0"  # it is compiled for one small training
    if package != PACKAGE:
        environment["FASTNN_CACHE_DIR"] = str(package.parent / "cache")
    done = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env=environment,
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return done.stdout.strip() or done.stderr.strip()


def with_fault(fault: Fault) -> str:
    """Return what is found in a copy of the package that has a fault."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "fastnn"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        file = package / fault.file
        text = file.read_text("utf-8")
        if text.count(fault.old) < 1:
            return f"there is no {fault.old!r} in {fault.file} to break"
        file.write_text(text.replace(fault.old, fault.new, 1), "utf-8")
        return answer(package)


def rows(long: bool = False, words: tuple[str, ...] = ()) -> Iterator[tuple[str, int, int]]:
    """Yield what was broken, how many tries, and how many were not found; first nothing at all."""
    found = answer(PACKAGE)
    print(found, file=sys.stderr)
    yield "nothing broken, nothing found", 1, int(found != "nothing")
    chosen = [each for each in FAULTS if not words or any(word in each.what for word in words)]
    for fault in chosen if long or words else chosen[:SHORT]:
        found = with_fault(fault)
        print(found, file=sys.stderr)
        missed = not found.startswith("found:") or fault.function not in found
        yield fault.what, 1, int(missed)


if __name__ == "__main__":
    failed = 0
    options = [each for each in sys.argv[1:] if each.startswith("--")]
    words = tuple(each for each in sys.argv[1:] if each not in options)
    for what, count, failures in rows("--long" in options, words):
        print(f"{what:48} {count:6} {failures:4}", flush=True)
        failed += failures
    sys.exit(failed > 0)
