"""How near training comes to the FMA peak, and what keeps two threads from twice one.

    python benchmarks/limits.py [--rounds N] [--rows N] [--tables shares] [--only deep]

prints Markdown tables. For dense workloads, the share of the peak that the fastest epochs reach: of
one thread; of two processes that train at the same time on a thread each, which have nothing to do
with each other; and of a team of two. Processes show what two processors do at all; what the team
does less is the price of working on one network, and the second table says what that is: how often
threads wait for each other, and how much one reads that the other has just written, by what both
cost alone. Then come the same shares in float64, what an epoch by Adam and AdamW takes beside one
by plain SGD, and how much of that Adam's formula takes alone, the cost of a hidden unit, by how
many fill a vector, the check of X for NaN and infinity, and predictions.
Nothing else should run meanwhile. Where other work on the machine cannot be kept away, more rounds
of shorter epochs (`--rows`) find moments without it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any, Literal

import numba
import numpy as np
from kept_code import compiled
from markdown_tables import heading, row
from products import FLOAT32, FLOAT64, peak
from timing import best_seconds, of_calls, of_team

from fastnn import SGD, Adam, AdamW, Dense, Network, Trainer
from fastnn.inputs.arrays import check_finite
from fastnn.rules.updates import adam
from fastnn.storage.kernels.compiling import as_array
from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu.llvm.intrinsics import atomic_load, atomic_store, pause
from fastnn.targets.cpu.llvm.rule_loops import INLINE, U
from fastnn.targets.cpu.plan import MIDDLE, make_plan
from fastnn.targets.cpu.tiling import IN_PLACE_UNITS, SHARED_BYTES
from fastnn.targets.layout import Layout

ROWS, EPOCHS = 60_000, 3
HANDED_BYTES = 32 << 10
UPDATED = 1024  # weights whose gradients an update has at hand: 4 KB
WIDTHS = 64, 80, 96, 100, 112, 128


@dataclass(frozen=True)
class Workload:
    """A network, and how it is trained.

    Attributes
    ----------
    widths
        From the inputs to the outputs.
    batch
        Rows of a step.
    momentum
        Of plain SGD.
    rows
        Of an epoch.
    """

    widths: tuple[int, ...]
    batch: int
    activation: str = "relu"
    momentum: float = 0.0
    rows: int = ROWS

    @property
    def name(self) -> str:
        """What it is called in the tables."""
        momentum = f", momentum {self.momentum}" * (self.momentum > 0)
        widths = "-".join(map(str, self.widths))
        return f"{widths} {self.activation}, batch {self.batch}{momentum}"

    @property
    def flops(self) -> float:
        """Operations of an epoch's products: forward, by weights, and by all inputs but X."""
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        return self.rows * (sum(4 * k * n for k, n in pairs) + sum(2 * k * n for k, n in pairs[1:]))

    @property
    def phases(self) -> int:
        """Times that all threads wait for the last in a step: large layers are apart.

        Two threads do not wait before the first layer, if it is one of these and read in place.
        """
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))[:-1]
        alone = [4 * k * n > SHARED_BYTES for k, n in pairs]
        early = alone[0] and self.widths[1] <= IN_PLACE_UNITS
        return 2 + sum(alone) + max(0, sum(alone) - 1) - early

    @property
    def handed_bytes(self) -> int:
        """Bytes of a step that one of two threads reads and the other has written.

        A thread has half the units of a layer that is apart, and half the rows of what follows. So
        of the last layer that is apart a quarter of the outputs, and of their derivatives. Where
        another layer follows one, all that the other thread has of its outputs; and for the way
        back all that it has of the derivatives of that layer, and of the weights a quarter. Of the
        last layer each updates half of the weights and of their transpose, from the derivatives in
        all rows. And of a first layer whose columns are more on one thread, the weights that the
        other updates. X is not among them: nobody writes it.
        """
        hidden, lanes = self.widths[1:-1], register_shape(FLOAT32).lanes
        outputs = -(-self.widths[-1] // lanes) * lanes
        back = sum(hidden[1:]) / 2 if len(hidden) > 1 else hidden[0] / 4
        rows = sum(hidden[:-1]) / 2 + hidden[-1] / 4 + back + outputs / 2
        weights = sum(k * n / 4 for k, n in zip(hidden[:-1], hidden[1:], strict=True))
        weights += hidden[-1] * outputs
        return round(4 * (self.batch * rows + weights + self.given_weights))

    @property
    def given_weights(self) -> int:
        """How many weights of the first layer one of two threads updates that the other reads."""
        shape, n = register_shape(FLOAT32), self.widths[1]
        layout = Layout(shape.lanes, shape.panel)
        plan = make_plan(self.trainer(2).problem, self.rows, layout, 2)
        middle, given = plan.head[MIDDLE], 0
        for number, (layer, k0, k1, p0, p1) in enumerate(plan.tiles.tolist()):
            if middle and layer == 0 and (p0 >= middle) != (number >= plan.owners[1]):
                columns = min(p1 * shape.panel, layout.padded(n)) - p0 * shape.panel
                given += (k1 - k0) * columns
        return given

    def trainer(
        self, threads: int, dtype: Literal["float32", "float64"] = "float32", rule: Any = None
    ) -> Trainer:
        """Return a trainer on so many threads, by SGD unless another rule is given."""
        inputs, *hidden, outputs = self.widths
        activation: Any = self.activation
        layers = [*(Dense(units, activation) for units in hidden), Dense(outputs)]
        return Trainer(
            Network(inputs, layers),
            optimizer=rule or SGD(0.01, momentum=self.momentum),
            batch_size=self.batch,
            dtype=dtype,
            threads=threads,
        )


WORKLOADS = {
    "b64": Workload((784, 128, 10), 64),
    "b512": Workload((784, 128, 10), 512),
    "deep": Workload((784, 256, 256, 10), 128, momentum=0.9),
    "hundred": Workload((784, 100, 10), 100, "sigmoid"),
    "wide": Workload((2048, 2048, 2048, 10), 512, rows=4096),
}


def seconds_of(trainer: Trainer, X: np.ndarray, y: np.ndarray) -> float:
    """Return the seconds of the fastest of some epochs."""
    trainer.fit(X, y, epochs=EPOCHS)
    return min(trainer.history.seconds[-EPOCHS:])


def fastest(trainers: dict[Any, Trainer], data: tuple[np.ndarray, np.ndarray], rounds: int) -> Any:
    """Return the seconds of the fastest epoch of each; they train in turns."""
    best = dict.fromkeys(trainers, float("inf"))
    for _ in range(rounds):
        for name, trainer in trainers.items():
            best[name] = min(best[name], seconds_of(trainer, *data))
    return best


def data_of(load: Workload, dtype: np.dtype = FLOAT32) -> tuple[np.ndarray, np.ndarray]:
    """Return dense rows, without a zero, and labels."""
    random = np.random.default_rng(0)
    X = random.standard_normal((load.rows, load.widths[0]), np.float32).astype(dtype, copy=False)
    return X, random.integers(0, load.widths[-1], load.rows)


def train_beside(load: Workload, rounds: int, both: Barrier, best: Any, me: int) -> None:
    """Be one of two processes: put the seconds of the fastest epoch into ``best[me]``."""
    trainer, (X, y) = load.trainer(1), data_of(load)
    seconds_of(trainer, X, y)
    for _ in range(rounds):
        both.wait()
        best[me] = min(best[me], seconds_of(trainer, X, y))


def processes(load: Workload, rounds: int) -> float:
    """Return FLOP/s of two processes together."""
    context = multiprocessing.get_context("spawn")
    both, best = context.Barrier(2), context.Array("d", [float("inf")] * 2, lock=False)
    members = [
        context.Process(target=train_beside, args=(load, rounds, both, best, me)) for me in (0, 1)
    ]
    for each in members:
        each.start()
    for each in members:
        each.join()
    return sum(load.flops / each for each in best)


def hand_over(words: Any, numbers: Any, me: int, repeats: int, count: int) -> None:
    """Write numbers, say so, wait for those of the other thread, and read them; some times."""
    words_, numbers_ = as_array(words), as_array(numbers)
    mine, its, total = me * count, (1 - me) * count, np.float32(0)
    for turn in range(repeats):
        for i in range(0, count, 16):
            numbers_[mine + i] = np.float32(turn)
        # Only now does the other begin to read, and both are done before either writes again.
        for side in range(2):
            atomic_store(words_, 16 * me, 2 * turn + side + 1)
            while atomic_load(words_, 16 * (1 - me)) < 2 * turn + side + 1:
                pause()
            if side == 0:
                for i in range(0, count, 16):
                    total += numbers_[its + i]
    numbers_[2 * count + 16 * me] = total


def between(size: int) -> float:
    """Return the seconds in which two threads hand `size` bytes each to the other, and wait."""
    run = compiled(hand_over, ("words", "float32s", "int", "int", "int"))
    count = size // 4
    words, numbers = np.zeros(32, np.int64), np.zeros(2 * count + 32, np.float32)

    def timed(repeats: int) -> float:
        words[:] = 0
        return of_team(lambda me, times: run(words, numbers, me, times, count), 2)(repeats)

    return best_seconds(timed)


def shares(asked: list[Workload], rounds: int) -> None:
    """Print what one thread, two processes and two threads reach, and what two threads lose."""
    peaks = [max(peak(FLOAT32, threads) for _ in range(3)) for threads in (1, 2)]
    print(f"FMA peak, GFLOP/s: {peaks[0]:.0f} on one thread, {peaks[1]:.0f} on two.")
    ways = "one thread", "two processes", "two threads", "two threads / two processes"
    print("\n".join(heading("of the peak", *ways)), flush=True)
    wait, handed = between(0) / 2, between(HANDED_BYTES) - between(0)
    lines = []
    for load in asked:
        best = fastest({each: load.trainer(each) for each in (1, 2)}, data_of(load), rounds)
        apart = processes(load, rounds)
        one, team = load.flops / best[1], load.flops / best[2]
        cells = [one / peaks[0], apart / peaks[1], team / peaks[1]]
        print(row(load.name, *(f"{each / 1e9:.0%}" for each in cells), f"{team / apart:.2f}"))
        steps = -(-load.rows // load.batch)
        step, ideal = best[2] / steps, load.flops / apart / steps
        moved = load.handed_bytes / HANDED_BYTES * handed
        lines.append(
            row(
                load.name,
                *(f"{1e6 * each:.1f}" for each in (step, ideal, step - ideal)),
                f"{load.phases}",
                f"{1e6 * load.phases * wait:.1f}",
                f"{load.handed_bytes / 1024:.0f}",
                f"{1e6 * moved:.1f}",
            )
        )
    titles = (
        "us a step, two threads",
        "two processes",
        "more",
        "waits",
        "of so many us",
        "KB handed over",
        "in us",
    )
    print("\n".join([*heading("one network", *titles), *lines]))
    print(
        f"\nA wait, until each thread has seen a word of the other, takes {1e9 * wait:.0f} ns, and "
        f"{HANDED_BYTES >> 10} KB each way take {1e6 * handed:.2f} us."
    )


def double(asked: list[Workload], rounds: int) -> None:
    """Print the shares of one thread and of two in float64."""
    peaks = {each: max(peak(FLOAT64, each) for _ in range(3)) for each in (1, 2)}
    print(f"FMA peak of float64, GFLOP/s: {peaks[1]:.0f} on one thread, {peaks[2]:.0f} on two.")
    print("\n".join(heading("of the peak, float64", "one thread", "two threads")), flush=True)
    for load in asked:
        trainers = {each: load.trainer(each, "float64") for each in peaks}
        best = fastest(trainers, data_of(load, FLOAT64), rounds)
        reached = (load.flops / best[each] / 1e9 / peaks[each] for each in peaks)
        print(row(load.name, *(f"{each:.0%}" for each in reached)), flush=True)


_adam = numba.njit(**INLINE)(adam(np.float32, math))


def update_alone(memory: Any, blocks: int, repeats: int) -> None:
    """Update blocks of weights by Adam, whose gradients are the same for each block.

    The weights, their two means and the gradients of a block follow one another in `memory`.
    """
    memory_, size = as_array(memory), blocks * UPDATED
    small, one = np.float32(1e-7), np.float32(1)
    for _ in range(repeats):
        for block in range(blocks):
            at = block * UPDATED
            for i in range(UPDATED):
                w, m, v = _adam(
                    memory_[U(at + i)], memory_[U(3 * size + i)], memory_[U(size + at + i)],
                    memory_[U(2 * size + at + i)], small, one - small, small, one - small, small,
                    small, one, one, one, one,
                )  # fmt: skip
                memory_[U(at + i)] = w
                memory_[U(size + at + i)] = m
                memory_[U(2 * size + at + i)] = v


def alone(weights: int) -> float:
    """Return the seconds in which Adam's formula updates so many weights, alone on one thread."""
    run = compiled(update_alone, ("float32s", "int", "int"))
    blocks = -(-weights // UPDATED)
    memory = np.full((3 * blocks + 1) * UPDATED, 0.1, np.float32)

    def timed(repeats: int) -> float:
        return of_team(lambda me, times: run(memory, blocks, times), 1)(repeats)

    return best_seconds(timed) * weights / (blocks * UPDATED)


def updates(asked: list[Workload], rounds: int) -> None:
    """Print how many times as long as by plain SGD an epoch takes by Adam and AdamW.

    And how much longer a step of one thread takes by Adam, beside what its formula takes alone for
    all weights: with the weights and their means where the network has them, and with all of them
    in the first-level cache, where nothing but its arithmetic takes time.
    """
    rules = {"SGD": None, "Adam": Adam(1e-4), "AdamW": AdamW(1e-4)}
    counts = {1: "one thread", 2: "two threads"}
    titles = [f"{name} / SGD, {count}" for count in counts.values() for name in [*rules][1:]]
    print("\n".join(heading("time of an epoch", *titles)), flush=True)
    near, lines = alone(UPDATED) / UPDATED, []
    for load in (replace(each, momentum=0.0) for each in asked):
        trainers = {
            (count, name): load.trainer(count, rule=rule)
            for count in counts
            for name, rule in rules.items()
        }
        best = fastest(trainers, data_of(load), rounds)
        ratios = (best[at] / best[at[0], "SGD"] for at in best if at[1] != "SGD")
        print(row(load.name, *(f"{each:.2f}" for each in ratios)), flush=True)
        weights = sum(k * n for k, n in zip(load.widths[:-1], load.widths[1:], strict=True))
        more = (best[1, "Adam"] - best[1, "SGD"]) / -(-load.rows // load.batch)
        found = more, alone(weights), near * weights
        lines.append(row(load.name, *(f"{1e6 * each:.1f}" for each in found)))
    titles = ["Adam takes more", "its formula alone", "all in the first-level cache"]
    print("\n".join([*heading("us a step, one thread", *titles), *lines]), flush=True)


def units(rounds: int) -> None:
    """Print what an epoch costs by how many units fill the last vector."""
    lanes = register_shape(FLOAT32).lanes
    loads = [Workload((784, each, 10), 96) for each in WIDTHS]
    best = fastest(dict(enumerate(load.trainer(1) for load in loads)), data_of(loads[0]), rounds)
    print(
        "\n".join(heading("784-n-10, batch 96, one thread", "vectors", "ms an epoch", "a vector"))
    )
    for width, found in zip(WIDTHS, best.values(), strict=True):
        vectors = -(-width // lanes)
        print(
            row(f"n = {width}", f"{vectors}", f"{1e3 * found:.1f}", f"{1e3 * found / vectors:.2f}")
        )


def predictions(rounds: int) -> None:
    """Print what `Trainer.predict` reaches, all that it does counted."""
    load = WORKLOADS["b64"]
    X, y = data_of(load)
    flops = 2.0 * sum(k * n for k, n in zip(load.widths[:-1], load.widths[1:], strict=True))
    print(
        "\n".join(heading("784-128-10 relu, Trainer.predict", "rows", "us a call", "of the peak"))
    )
    for threads in (1, 2):
        trainer, most = load.trainer(threads), peak(FLOAT32, threads)
        trainer.fit(X[:640], y[:640], epochs=1)
        for rows in (1, ROWS):
            call = partial(trainer.predict, X[:rows])
            seconds = min(best_seconds(of_calls(call)) for _ in range(rounds))
            name = "one thread" if threads == 1 else "two threads"
            reached = f"{flops * rows / seconds / 1e9 / most:.0%}" if rows > 1 else ""
            print(row(name, f"{rows}", f"{1e6 * seconds:.1f}", reached), flush=True)


def checks(rounds: int) -> None:
    """Print what the look for NaN and infinity takes, before the first epoch of a fit."""
    X, _ = data_of(WORKLOADS["b64"])
    call = partial(check_finite, X, FLOAT32, "X")
    found = min(best_seconds(of_calls(call)) for _ in range(rounds))
    print("\n".join(heading("NaN and infinity in X, all threads", "MB", "ms")))
    print(row("60,000 rows of 784", f"{X.nbytes / 1e6:.0f}", f"{1e3 * found:.1f}"), flush=True)


OF_WORKLOADS = {"shares": shares, "float64": double, "updates": updates}
OTHERS = {"units": units, "checks": checks, "predictions": predictions}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    tables = [*OF_WORKLOADS, *OTHERS]
    parser.add_argument("--tables", choices=tables, nargs="+", default=tables)
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=list(WORKLOADS))
    parser.add_argument("--rows", type=int, default=ROWS, help="of an epoch, at most")
    options = parser.parse_args()
    loads = [
        replace(load, rows=min(load.rows, options.rows))
        for name, load in WORKLOADS.items()
        if name in options.only
    ]
    for name, print_table in OF_WORKLOADS.items():
        if name in options.tables:
            print_table(loads, options.rounds)
    for name, print_other in OTHERS.items():
        if name in options.tables:
            print_other(options.rounds)


if __name__ == "__main__":
    main()
