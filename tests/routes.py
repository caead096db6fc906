"""Code as files, against the same functions as Numba runs them itself: every bit the same.

``python tests/routes.py [--in-turns] [LEVEL ...]`` compiles the entries for the levels that this
processor has (all of them by default), trains a sweep of settings both ways, and prints a row for
each level and dtype. It fails on one differing bit, and if the code is not that which was shipped
or kept before. `--in-turns` takes networks in one dtype for the best level, and models of one
output in the other for the next, since all of a dtype is a minute and a half of compilation.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
from scipy import sparse

import fastnn
from fastnn import Dense, Dropout, Network, Periodic, Trainer, optimizers
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.storage.kernels import loading
from fastnn.storage.kernels.entries import ENTRIES, Entry
from fastnn.storage.kernels.machine import LEVELS, host_features, levels
from fastnn.storage.kernels.machine_code import function_at, link

DTYPES = ("float32", "float64")
# Entries are of networks, or "linear": of a layer of one output, on dense or sparse rows.
PARTS = (("float32", "network"), ("float64", "linear"))
ROWS = 150
OPTIMIZERS = (
    optimizers.SGD(0.01),
    optimizers.SGD(0.01, momentum=0.9),
    optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    optimizers.Adam(),
    optimizers.AdamW(),
    optimizers.Nadam(),
    optimizers.RMSProp(),
    optimizers.Adagrad(),
    optimizers.Lion(),
    optimizers.AveragedSGD(0.01, 3),
)
SPARSE = "sparse"  # a setting of the data
Setting = tuple[str, list[Any], str, np.ndarray, dict[str, Any]]


def settings() -> Iterator[Setting]:
    """Yield a name, layers, loss, targets and settings of the trainer."""
    rng = np.random.default_rng(0)
    labels, numbers = rng.integers(0, 3, ROWS), rng.normal(size=(ROWS, 3))
    softmax = "softmax_cross_entropy"
    for name in ACTIVATIONS:
        layers = [Dropout(0.2), Dense(37, name), Dense(9, "relu"), Dense(3)]
        yield f"activation {name}", layers, softmax, labels, {}
        yield f"last {name}", [Dense(5, "tanh"), Dense(3, name)], "mse", numbers, {}
    for loss in LOSSES:
        for units in (1, 3):
            y: np.ndarray = numbers[:, :units]
            if loss == softmax:
                y, units = labels, 3
            elif not np.issubdtype(y.dtype, np.integer) and loss not in (
                "mse",
                "mae",
                "huber",
                "quantile",
            ):
                y = (y > 0).astype(float)
            yield f"{loss}, {units} outputs", [Dense(units)], loss, y, {}
            yield f"{loss}, hidden, {units}", [Dense(20, "relu"), Dense(units)], loss, y, {}
    wide = [Dense(300, "relu"), Dense(130, "tanh"), Dense(3)]
    for optimizer in OPTIMIZERS:
        name = type(optimizer).__name__
        for threads in (1, 2):
            more = {"optimizer": optimizer, "threads": threads}
            yield f"{name}, {threads} threads", wide, softmax, labels, more
        yield f"{name}, one output", [Dense(1)], "mse", numbers[:, :1], {"optimizer": optimizer}
    for more in (
        {"clip_norm": 0.1},
        {"clip_value": 0.01},
        {"l1": 1e-3, "l2": 1e-2},
        {"l2": 150.0},
        {"batch_size": 1},
        {"batch_size": 7, "threads": 2},
    ):
        yield f"{more}", wide, softmax, labels, more
        yield f"one output, {more}", [Dense(1)], "mse", numbers[:, :1], more | {"threads": None}
    limited = [Dense(30, "relu", max_norm=0.5), Dense(3, max_norm=1.0)]
    yield "max_norm", limited, softmax, labels, {}
    apart = [Dense(30, "relu", trainable=False), Dense(20, "relu", rate_factor=0.5)]
    apart.append(Dense(3, bias_rate_factor=0.1))
    yield "layers trained apart", apart, softmax, labels, {}
    periods = [Periodic(5, columns=20), Dense(30, "relu"), Periodic(2), Dense(3)]
    averaged = {"optimizer": optimizers.AdamW(ema=0.9)}
    yield "periodic, averaged", periods, softmax, labels, averaged
    yield "one output, averaged", [Dense(1)], "mse", numbers[:, :1], averaged
    for optimizer in OPTIMIZERS:
        for penalties in ({}, {"l1": 1e-3, "l2": 1e-2}):
            name = f"sparse rows, {type(optimizer).__name__}, {penalties}"
            more = {"optimizer": optimizer, "batch_size": 2, SPARSE: True} | penalties
            yield name, wide, softmax, labels, more | {"threads": 2}
            yield f"{name}, one output", [Dense(1)], "mse", numbers[:, :1], more


def is_linear(setting: Setting) -> bool:
    """Return whether the entries called "linear" train a setting: one output.

    Sparse rows only by SGD, or by its mean.
    """
    _, layers, _, _, more = setting
    lazy = not more.get(SPARSE) or more["optimizer"].rule in ("sgd", "averaged_sgd")
    return len(layers) == 1 and layers[0].units == 1 and lazy


def numbers(setting: Setting, dtype: str, target: str = "cpu") -> list[np.ndarray] | str:
    """Return all that training with a setting comes to, or the error."""
    _, layers, loss, y, more = setting
    X: Any = np.random.default_rng(1).normal(size=(ROWS, 21))
    X[:, 5:9] *= X[:, 5:9] > 1  # columns of zeros are left out
    more = {"batch_size": 32} | more
    if more.pop(SPARSE, False):
        X = sparse.csr_array(X * (np.random.default_rng(2).random(X.shape) < 0.1))
    network = Network(21, layers)
    trainer = Trainer(network, loss, **more, dtype=dtype, target=target)
    try:
        history = trainer.fit(X, y, 2, sample_weight=np.linspace(0.5, 2, ROWS))
    except fastnn.FastnnError as error:  # diverged, or a pair that is refused
        return str(error)
    arrays = [np.array(history.loss), trainer.forward(X)]
    return arrays + [array for layer in trainer.parameters for array in layer]


def bits(setting: Setting, dtype: str) -> bytes | str:
    """Return `numbers` as one string of bytes."""
    found = numbers(setting, dtype)
    return found if isinstance(found, str) else b"".join(array.tobytes() for array in found)


def run_by_numba(compilation: Any, entry: Entry) -> Callable[..., None]:
    """Return the function as Numba would run it in this process, which takes what an entry does."""
    import llvmlite.binding as llvm
    from numba.core.registry import cpu_target

    engine = cpu_target.target_context.codegen()._engine
    engine.add_module(llvm.parse_assembly(compilation.library.get_llvm_str()))
    engine.finalize_object()
    address = engine.get_function_address(compilation.fndesc.llvm_func_name)
    inner = function_at(address, ("result", "exception", *entry.arguments))
    scratch = np.zeros(8, np.int64), np.zeros(8, np.int64)
    return lambda *arguments: inner(*scratch, *arguments)


def compare(level: str, dtype: str, part: str = "") -> int:
    """Compile and compare in this process, whose environment is that of the level."""
    from fastnn.storage.kernels.compiling import code_of, compile_function

    made_for = LEVELS[level]
    names = [name for name in ENTRIES if dtype in name]
    if part:
        names = [name for name in names if ("linear" in name) == (part == "linear")]
    names.append("shuffle")
    by_file: dict[str, Any] = {}
    by_numba: dict[str, Any] = {}
    wrong = []
    for name in names:
        entry = ENTRIES[name]
        function = getattr(import_module(entry.module), entry.function)
        compilation = compile_function(function, entry.arguments)
        code = code_of(compilation, f"fastnn_{name}", loading.identity_of(name, made_for))
        before = loading._shipped(name, made_for) or loading._kept(name, made_for)
        if before not in (None, code):
            wrong.append(f"the code of {name} is not that of an earlier compilation")
        by_file[name] = function_at(link(code), entry.arguments)
        by_numba[name] = run_by_numba(compilation, entry)
    count = refused = 0
    for setting in settings():
        if part and is_linear(setting) != (part == "linear"):
            continue
        loading._ready.update(by_file)
        one = bits(setting, dtype)
        loading._ready.update(by_numba)
        other = bits(setting, dtype)
        count += 1
        refused += isinstance(one, str)
        if one != other:
            wrong.append(f"{setting[0]}: not the same bits")
    wrong += [f"{name} was not compiled here" for name in loading._ready if name not in names]
    print(f"{level:10s} {dtype} {part}: {count} settings ({refused} refused), {len(wrong)} wrong")
    print("".join(f"    {line}\n" for line in wrong), end="")
    return len(wrong)


def main() -> int:
    """Compare in processes of their own, side by side; return the exit status."""
    if sys.argv[1:2] == ["--here"]:
        return int(compare(*sys.argv[2:]) > 0)
    in_turns = "--in-turns" in sys.argv[1:]
    named = [each for each in sys.argv[1:] if each != "--in-turns"]
    here = [level for level in levels() if all(map(host_features().get, level.needs))]
    wanted = named or [level.name for level in levels()]
    missing = set(wanted) - {level.name for level in here}
    for name in sorted(missing):
        print(f"{name}: this processor cannot run it")
    chosen = [level for level in here if level.name in wanted]
    work: list[Any] = [(level, dtype, "") for level in chosen for dtype in DTYPES]
    if in_turns and len(chosen) > 1:
        turns = zip(chosen, itertools.cycle(PARTS), strict=False)
        work = [(level, *part) for level, part in turns]
    if not work or (named and missing):
        return 1

    def run(job: Any) -> int:
        level, *part = job
        settings = level.environment() | {"NUMBA_DISABLE_INTEL_SVML": "1"}
        command = [sys.executable, __file__, "--here", level.name, *part]
        return subprocess.run(command, env=os.environ | settings).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return max(pool.map(run, work))


if __name__ == "__main__":
    sys.exit(main())
