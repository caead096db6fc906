"""Model files: saved by processes that are killed, and read after any damage.

``python tests/faults/model_files.py [--long]`` prints a row for each part. A part is a function of
how many tries to make that returns what broke.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from fastnn import SGD, Adam, AveragedSGD, Dense, Dropout, FastnnError, Network, Trainer, schedules
from fastnn.graph import maximum, tanh, where
from fastnn.storage import tensor_file

MOST_SECONDS = 5.0  # for one file
MOST_BYTES = 500 << 20  # of memory that all files together may take


def trainers() -> list[Trainer]:
    """Return trainers whose files have everything that a file can have."""
    own = Dense(4, lambda z: where(z > 0, tanh(z), z * 0.1), l1=0.1, max_norm=2.0)
    deep = Network(5, [Dropout(0.1), own, Dense(3, "prelu", alpha=0.3), Dense(2)])
    rate = schedules.WarmUp(5, schedules.Cosine(0.1, 50))
    return [
        Trainer(deep, optimizer=Adam(rate), clip_norm=1.0, target="numpy"),
        Trainer(
            Network(3, [Dense(1)]),
            loss=lambda z, y: maximum(0, 1 - y * z) ** 2,
            optimizer=AveragedSGD(schedules.StepDecay(0.1, 10)),
            dtype="float64",
        ),
        Trainer(Network(4, [Dense(2, "leaky_relu")]), "mse", SGD(0.1, momentum=0.9), threads=2),
    ]


@contextmanager
def new_folder() -> Iterator[Path]:
    """Give a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def kills(tries: int) -> list[str]:
    """Kill a process at a random moment of saving: the old or the new file is there, whole."""
    broken = []
    with new_folder() as folder:
        path = folder / "model.safetensors"
        for attempt in range(tries):
            ready, told = os.pipe()
            child = os.fork()
            if child == 0:
                _save_on_and_on(path, attempt, told)
            os.close(told)
            os.read(ready, 1)
            os.close(ready)
            time.sleep(random.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            try:
                tensors, content = tensor_file.read(path)
                if (tensors["W"] != content["number"]).any():
                    broken.append(f"kill {attempt}: arrays and settings are of two saves")
                if content["attempt"] < attempt:
                    broken.append(f"kill {attempt}: a save that had ended is lost")
            except (FastnnError, OSError) as error:
                broken.append(f"kill {attempt}: {error!r}")
            others = [each.name for each in folder.iterdir() if each != path]
            if len(others) > 1:
                broken.append(f"kill {attempt}: {others} lie about")
    return broken


def _save_on_and_on(path: Path, attempt: int, told: int) -> None:
    """Save one file after another, and tell once the first one is there."""
    number = 0
    while True:
        number += 1
        content = {"number": number, "attempt": attempt}
        tensor_file.write(path, {"W": np.full(20_000, float(number))}, content)
        if number == 1:
            os.write(told, b"1")


# What is put in the place of a value of the settings.
NASTY: list[Any] = [
    None, True, 0, 1, -1, 2**31, 2**63 - 1, 2**64, 10**12, 10**30, -(10**30), 0.0, -0.0, 0.5,
    5e-324, 1e300, float("inf"), float("nan"), "", "x" * 1000, "\0", "relu", "Dense", "\ud800",
    [], [[]], {}, {"a": 1}, [0] * 1000, [[1, 2]], {"kind": "Dense"},
    {"variables": ["z"], "nodes": ["z"]},
]  # fmt: skip


# And of the same type: numbers at the edges of types, names that may not fit.
NUMBERS: dict[type, list[Any]] = {
    int: [0, 1, 2, 2**31, 2**32, 2**63 - 1, 2**64, 10**12, 10**30, 10**400],
    float: [0.0, 5e-324, 1e-300, 1e-40, 0.25, 0.999999999, 1.0, 1e30, 3e38, 1e39, 1e300],
    str: [
        "relu",
        "softmax",
        "prelu",
        "step",
        "float64",
        "mse",
        "hinge",
        "zeros",
        "cpu",
        "StepDecay",
    ],
}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return a file with one to three changes, of bits, of its length, or of what it says."""
    if chance.random() < 0.2:
        return _other_bytes(content, chance)
    header, arrays = _parts(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if chance.random() < 0.8:
            header["content"] = _other_value(header["content"], chance)
        elif arrays:
            _change_array(arrays, chance)
    # What is behind the checksum is tried, too.
    header["sha256"] = tensor_file._digest(arrays, header["content"])
    try:
        return save(arrays, {"fastnn": json.dumps(header)})
    except UnicodeEncodeError:
        return content


def _other_bytes(content: bytes, chance: random.Random) -> bytes:
    how, place = chance.randrange(5), chance.randrange(len(content))
    if how == 0:
        return content[:place]
    if how == 1:
        return content[:place] + chance.randbytes(chance.randint(1, 50)) + content[place:]
    if how == 2:  # the length of the header
        length = chance.choice([0, 1, 2**31, 2**63, 2**64 - 1, chance.randrange(len(content))])
        return length.to_bytes(8, "little") + content[8:]
    if how == 3:
        return content.replace(b'"fastnn"', chance.choice([b'"fastn"', b'"fastnn":"","a"']), 1)
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(min(len(content), 2000))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _parts(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with safe_open(file.name, framework="numpy") as stored:
            header = json.loads(stored.metadata()["fastnn"])
            return header, {key: stored.get_tensor(key).copy() for key in stored.keys()}


def _other_value(value: Any, chance: random.Random) -> Any:
    """Return plain values with one of them, at any depth, replaced, left out or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.97:
        key = chance.choice(list(value))
        changed = dict(value)
        if chance.random() < 0.02:
            del changed[key]
        elif chance.random() < 0.02:
            changed[chance.choice(["kind", "nodes", "a"])] = chance.choice(NASTY)
        else:
            changed[key] = _other_value(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        how = chance.random()
        middle = [_other_value(value[place], chance)]
        if how < 0.05:
            middle = []
        elif how < 0.1:
            middle = [value[place]] * chance.choice([2, 3, 2000])
        return [*value[:place], *middle, *value[place + 1 :]]
    if type(value) in NUMBERS and chance.random() < 0.7:
        return chance.choice(NUMBERS[type(value)])
    return chance.choice(NASTY)


def _change_array(arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    name = chance.choice(list(arrays))
    array = arrays[name]
    how = chance.randrange(6)
    if how == 0:
        del arrays[name]
    elif how == 1:
        arrays[name + chance.choice(["x", ".0", "\n"])] = array
    elif how == 2:
        other = chance.choice([np.float16, np.float64, np.int8, np.bool_, np.float32])
        arrays[name] = array.astype(other)
    elif how == 3:
        arrays[name] = array.reshape(-1)[: chance.randint(0, array.size)]
    elif how == 4:
        arrays[name] = array[None]
    else:
        array.reshape(-1)[...] = chance.choice([np.nan, np.inf, 5e-324, 3e38, 0.0])


class Hang(BaseException):
    """A file took too long."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `Hang` where something takes longer."""

    def raise_hang(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, raise_hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def use(trainer: Trainer) -> None:
    """Train and predict with what could be read."""
    network = trainer.problem.network
    X = np.linspace(-1, 1, 4 * network.inputs).reshape(4, -1)
    y = np.zeros((4, network.outputs)) if network.outputs > 1 else np.zeros(4)
    if trainer.problem.loss == "softmax_cross_entropy":
        y = np.arange(4) % network.outputs
    trainer.forward(X)
    trainer.fit(X, y, epochs=1)


def mutations(tries: int, seed: int = 0) -> list[str]:
    """Read mutated files: each is a trainer that saves and trains, or an error of the family."""
    broken = []
    chance = random.Random(seed)
    with new_folder() as folder:
        path, again = folder / "model", folder / "again"
        contents = []
        for trainer in trainers():
            trainer.save(path)
            contents.append(path.read_bytes())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for attempt in range(tries):
            content = mutated(chance.choice(contents), chance)
            path.write_bytes(content)
            try:
                with alarm(MOST_SECONDS):
                    trainer = Trainer.load(path)
                    repr(trainer)
                    trainer.save(again)
                    use(Trainer.load(again, target="numpy", threads=1))
            except FastnnError:
                continue
            except BaseException as error:
                digest = hashlib.sha256(content).hexdigest()[:8]
                broken.append(f"file {attempt} ({digest}): {type(error).__name__}: {error!s:.300}")
                if isinstance(error, KeyboardInterrupt):
                    raise
        taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if taken > MOST_BYTES:
            broken.append(f"reading took {taken >> 20} MiB")
    return broken


# name -> (part, tries of the short form, of the long form)
PARTS: dict[str, tuple[Callable[[int], list[str]], int, int]] = {
    "killed while saving": (kills, 60, 300),
    "mutated model files": (mutations, 600, 5000),
}


def main(parts: dict[str, tuple[Callable[[int], list[str]], int, int]]) -> int:
    """Print a row for each part; return how many tries broke something."""
    failures = 0
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    for name, (part, short, long) in parts.items():
        if wanted and not any(word in name for word in wanted):
            continue
        count = long if "--long" in sys.argv else short
        start = time.monotonic()
        broken = part(count)
        failures += len(broken)
        print(f"{name:<44}{count:>8}{len(broken):>8}{time.monotonic() - start:>9.1f} s", flush=True)
        for what in broken[:5]:
            print(f"    {what}")
    return failures


if __name__ == "__main__":
    sys.exit(main(PARTS) > 0)
