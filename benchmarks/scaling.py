"""How one model over several processes scales: a cost model, its constants, and runs beside it.

    python benchmarks/scaling.py [--quick] [--mpiexec PATH]

prints the tables of the guide's chapter "Scaling". Times of computing are the processor's, and of
the least of some epochs, so that other work on the machine counts little; those of a network that
is not here are injected: `Simulated` is a communicator whose sums take as long as its model says,
and the process that calls it is one of n that do the same. With mpi4py and mpiexec, two processes
train beside two threads of one, and beside PyTorch's DistributedDataParallel with gloo.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from fastnn import SGD, Dense, Network, Trainer
from fastnn.targets.cpu.sums import Sums
from fastnn.targets.fields import SIZE

IN_PLACE = object()
EPOCHS_SECONDS = 1.0
RANKS = 1, 2, 4, 8, 16, 32, 64, 256, 1024


@dataclass(frozen=True)
class Workload:
    """A network, its global batch, and rows of data enough for some steps."""

    widths: tuple[int, ...]
    batch: int
    steps: int

    @property
    def name(self) -> str:
        """Network and batch, in words."""
        return f"{'-'.join(map(str, self.widths))}, batch {self.batch}"

    @property
    def parameters(self) -> int:
        """How many numbers are added up."""
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        return sum((k + 1) * n for k, n in pairs)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random rows, and labels that can be learnt."""
        random = np.random.default_rng(0)
        rows = self.batch * self.steps
        X = random.normal(size=(rows, self.widths[0])).astype(np.float32)
        teacher = random.normal(size=(self.widths[0], self.widths[-1])).astype(np.float32)
        return X, (X @ teacher).argmax(axis=1)

    def trainer(self, communicator: Any = None, **settings: Any) -> Trainer:
        """Return a trainer of the network."""
        *hidden, outputs = self.widths[1:]
        layers = [*(Dense(units, "relu") for units in hidden), Dense(outputs)]
        settings = {"threads": 1, "optimizer": SGD(0.01)} | settings
        return Trainer(
            Network(self.widths[0], layers),
            batch_size=self.batch,
            communicator=communicator,
            **settings,
        )


SMALL = Workload((20, 32, 16, 2), 32, 100)
MIDDLE = Workload((784, 256, 256, 10), 512, 16)
LARGE = Workload((2048, 2048, 2048, 10), 4096, 2)


@dataclass(frozen=True)
class Link:
    """A network between processes: seconds of a message, and bytes a second."""

    latency: float
    bandwidth: float

    def ring(self, size: int, count: int) -> float:
        """Seconds of a sum of `count` bytes in a ring: 2 (n - 1) messages of 1/n each."""
        return 2 * (size - 1) * (self.latency + count / size / self.bandwidth)

    def tree(self, size: int, count: int) -> float:
        """Seconds by halving and doubling (Rabenseifner 2004): 2 log2 n messages."""
        messages = 2 * math.ceil(math.log2(size))
        return messages * self.latency + 2 * (size - 1) / size * count / self.bandwidth

    def doubling(self, size: int, count: int) -> float:
        """Seconds by recursive doubling, for what is short: log2 n messages of all of it."""
        return math.ceil(math.log2(size)) * (self.latency + count / self.bandwidth)

    def sum(self, size: int, count: int) -> float:
        """Seconds of the quickest of these."""
        if size == 1:
            return 0.0
        return min(each(size, count) for each in (self.ring, self.tree, self.doubling))


ETHERNET = Link(30e-6, 10e9 / 8)
AT_ONCE = Link(0.0, math.inf)
LOOK_SECONDS = (
    1e-3  # how often the thread that makes sums looks at the clock of the one that computes
)


class Simulated:
    """The communicator of the first of `size` processes that all do as it does.

    Its clock is that of the processor time of the thread that computes, plus what that has waited
    for sums, each of which takes as long as the link needs for it: so other work on the machine
    counts little. A sum that is begun and not yet waited for takes its time meanwhile; what is left
    of it then is added to the clock, and not slept.
    """

    def __init__(self, size: int, link: Link) -> None:
        self.size, self.link = size, link
        self.waited = 0.0  # seconds, by the thread that computes
        self.watching = 0.0  # seconds of the processor, that looking at the clock has taken
        self._clock, self._computing, self._waiting = 0, 0, False
        self._begun: deque[float] = deque()
        self._free = 0.0  # when the link is

    def enter(self, begins: int, needs: int) -> None:
        """See the thread that computes begin the sum of one of some parts, or wait for one."""
        self._computing = threading.get_ident()
        clock = time.pthread_getcpuclockid(self._computing)
        if clock != self._clock:
            self._clock, self._free = clock, 0.0
        if begins >= 0:
            self._begun.append(self._now())
        self._waiting = needs >= 0

    def leave(self) -> None:
        """See it go on."""
        self._waiting = False

    def _now(self) -> float:
        return time.clock_gettime(self._clock) + self.waited

    def Get_rank(self) -> int:
        """Return 0."""
        return 0

    def Get_size(self) -> int:
        """Return how many processes there are said to be."""
        return self.size

    def allgather(self, value: Any) -> list[Any]:
        """Return what all would say: the same."""
        return [value] * self.size

    def Allreduce(self, send: Any, buffer: np.ndarray) -> None:
        """Take the seconds of a sum."""
        seconds = self.link.sum(self.size, buffer.nbytes)
        if not self._begun or threading.get_ident() == self._computing:
            self._begun.clear()
            self.waited += seconds
            return
        watching = time.thread_time()
        self._free = max(self._free, self._begun.popleft()) + seconds
        while not self._waiting and self._now() < self._free:
            time.sleep(LOOK_SECONDS)
        self.waited += max(0.0, self._free - self._now())
        self.watching += time.thread_time() - watching


def watch_sums() -> None:
    """Have each `Simulated` see what compiled code asks for."""
    make = Sums._sum

    def seen(sums: Sums, begins: int, needs: int) -> int:
        communicator: Any = sums.group.communicator
        if begins == needs or not isinstance(communicator, Simulated):  # of one part, or of MPI
            return make(sums, begins, needs)
        communicator.enter(begins, needs)
        try:
            return make(sums, begins, needs)
        finally:
            communicator.leave()

    Sums._sum = seen  # type: ignore[method-assign]


def step_seconds(work: Workload, communicator: Any, repeats: int = 3, **settings: Any) -> float:
    """Return seconds of a step: those of the least of some epochs, on the clock of `Simulated`."""
    X, y = work.data()
    trainer = work.trainer(communicator, **settings)
    times: list[float] = []

    def note(*_: Any) -> None:
        now = time.process_time()
        if communicator is not None:
            now += communicator.waited - communicator.watching
        times.append(now)

    trainer.fit(X, y, 2, callbacks=note, progress=False)
    more = max(repeats, round(EPOCHS_SECONDS / (times[-1] - times[-2])))
    times.clear()
    trainer.fit(X, y, more + 1, callbacks=note, progress=False)
    return float(np.diff(times).min()) / work.steps


def parts_of(work: Workload) -> list[tuple[int, float]]:
    """Return the parts of the gradient that are summed one after another.

    Of each, its bytes, and the share of the work on rows after which it is there: all layers
    forward, its gradient and those before, and the derivatives of its columns and of those before.
    """
    plan = work.trainer(Simulated(2, AT_ONCE))._open()._working.plan
    sizes = [k * n for k, n in zip(work.widths[:-1], work.widths[1:], strict=True)]
    total, done = 3 * sum(sizes) - sizes[0], sum(sizes)
    found, end = [], int(plan.head[SIZE])
    for part in plan.parts:
        for layer, p0, p1 in part.pieces:
            back = sizes[layer + 1] if layer + 1 < len(sizes) else 0
            done += (sizes[layer] + back) * (p1 - p0) / plan.layout.panels(work.widths[layer + 1])
        found.append((4 * (end - part.start), done / total))
        end = part.start
    return found


@dataclass(frozen=True)
class Model:
    """Seconds of a step: alone, and of a process that has some of its rows, before any message."""

    alone: float
    fixed: float
    row: float
    parts: list[tuple[int, float]]

    @classmethod
    def measure(cls, work: Workload, repeats: int) -> Model:
        """Fit a line through what 2 and 16 processes take of the batch."""
        alone = step_seconds(work, None, repeats)
        few, many = 16, 2
        seconds = [step_seconds(work, Simulated(n, AT_ONCE), repeats) for n in (many, few)]
        rows = [work.batch / n for n in (many, few)]
        row = (seconds[0] - seconds[1]) / (rows[0] - rows[1])
        return cls(alone, max(0.0, seconds[1] - row * rows[1]), row, parts_of(work))

    def sums(self, size: int, link: Link) -> float:
        """Seconds of all sums of a step."""
        return sum(link.sum(size, count) for count, _ in self.parts)

    def step(self, work: Workload, size: int, link: Link) -> float:
        """Seconds of a step of `size` processes.

        A part is sent when it and the one before are ready, and the update waits for each.
        """
        if size == 1:
            return self.alone
        computing = self.row * math.ceil(work.batch / size)
        total, sent, now = sum(count for count, _ in self.parts), 0.0, computing
        for count, share in self.parts:
            sent = max(sent, computing * share) + link.sum(size, count)
            now = max(now, sent) + self.fixed * count / total
        return now


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def simulated(works: list[Workload]) -> None:
    """Print what the model says for many processes, and what runs with injected delays come to."""
    watch_sums()
    print("### Processes over 10 Gbit/s and 30 us\n")
    constants, rows = [], []
    for work in works:
        repeats = 8
        model = Model.measure(work, repeats)
        constants.append(
            [work.name, f"{work.parameters:,}", f"{len(model.parts)}", f"{1e3 * model.alone:.3g}",
             f"{1e3 * model.fixed:.3g}", f"{1e6 * model.row:.3g}"]
        )  # fmt: skip
        for size in RANKS:
            if size > work.batch:
                continue
            step = model.step(work, size, ETHERNET)
            sums = model.sums(size, ETHERNET)
            computing = model.fixed + model.row * math.ceil(work.batch / size)
            waiting = max(0.0, round(step - computing, 9)) if size > 1 else 0.0
            measured = ""
            if size in (4, 8, 32):
                seconds = step_seconds(work, Simulated(size, ETHERNET), repeats)
                measured = f"{1e3 * seconds:.3g} ({(step / seconds - 1) * 100:+.0f} %)"
            rows.append(
                [work.name if size == 1 else "", str(size), f"{1e3 * step:.3g}",
                 f"{1e3 * sums:.3g}", f"{1e3 * waiting:.3g}", f"{model.alone / step:.3g}",
                 f"{model.alone / step / size:.2f}", measured]
            )  # fmt: skip
    header = ["workload", "parameters", "parts", "alone, ms a step", "shared, fixed ms",
              "us a row"]  # fmt: skip
    print(table(header, constants))
    header = ["workload", "ranks", "model, ms a step", "sum, ms", "waited for", "speed",
              "efficiency", "measured with delays, ms (model)"]  # fmt: skip
    print(table(header, rows))


# What runs with mpiexec: each worker prints one line of JSON on rank 0.


def worker(case: str, quick: bool) -> None:
    """Do one case in one of two processes."""
    if case.startswith("gloo"):
        found = _gloo(MIDDLE, quick)
    elif case == "progress":
        found = _progress()
    else:
        found = _ours(case, quick)
    if found is not None:
        print(json.dumps(found), flush=True)


def _ours(case: str, quick: bool) -> dict[str, float] | None:
    communicator = None
    if case != "threads":
        from mpi4py import MPI

        communicator = MPI.COMM_WORLD
    work = SMALL if case.startswith("small") else MIDDLE
    every: Any = {"small 1": "step", "small 16": 16, "small 100": 100}.get(case, "step")
    threads = 2 if case == "threads" else 1
    if case == "small 0":
        communicator, threads = None, 1
    trainer = work.trainer(communicator, threads=threads, synchronise=every)
    X, y = work.data()
    trainer.fit(X, y, 1, progress=False)
    group, sums = trainer._group, []
    if group is not None:
        add_up = group.add_up

        def timed(*given: Any) -> int:
            start = time.perf_counter()
            code = add_up(*given)
            sums.append(time.perf_counter() - start)
            return code

        group.add_up = timed
    epochs = []
    cpu = time.process_time()
    for _ in range(4 if quick else 12):
        epochs += trainer.fit(X, y, 2, progress=False).seconds[-2:]
    cpu = time.process_time() - cpu
    if communicator is not None and communicator.Get_rank():
        return None
    steps = work.steps
    return {
        "step": min(epochs) / steps,
        "cpu": cpu / len(epochs) / steps,
        "sum": float(np.quantile(sums, 0.05)) if sums else 0.0,
        "loss": trainer.history.loss[-1],
    }


def _gloo(work: Workload, quick: bool) -> dict[str, float] | None:
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    X, y = (torch.from_numpy(each) for each in work.data())
    layers: list[Any] = []
    for k, n in zip(work.widths[:-1], work.widths[1:], strict=True):
        layers += [nn.Linear(k, n), nn.ReLU()]
    model = DistributedDataParallel(nn.Sequential(*layers[:-1]))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=True)
    epochs, count, own = [], 4 if quick else 24, work.batch // size
    cpu = time.process_time()
    for _ in range(count):
        start, order = time.perf_counter(), torch.randperm(len(X), generator=None)
        for first in range(0, len(X), work.batch):
            rows = order[first + rank * own :][:own]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
        epochs.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    torch.distributed.destroy_process_group()
    steps = work.steps
    result = {"step": min(epochs) / steps, "cpu": cpu / count / steps, "loss": float(loss.detach())}
    return None if rank else result


def _progress() -> dict[str, float] | None:
    """Return seconds of a sum beside others' work, which is slept here, in each way to begin it."""
    from mpi4py import MPI

    world, numbers, work = MPI.COMM_WORLD, np.ones(4 << 20, np.float32), 0.05
    begun: SimpleQueue[Any] = SimpleQueue()
    done: SimpleQueue[Any] = SimpleQueue()

    def make() -> None:
        while (buffer := begun.get()) is not None:
            done.put(world.Allreduce(MPI.IN_PLACE, buffer))

    def in_a_thread(buffer: np.ndarray = numbers, seconds: float = work) -> None:
        begun.put(buffer)
        time.sleep(seconds)
        done.get()

    def without_waiting(looks: int) -> None:
        request = world.Iallreduce(MPI.IN_PLACE, numbers)
        for _ in range(looks):
            time.sleep(work / looks)
            request.Test()
        request.Wait()

    def least(run: Callable[[], Any], times: int = 7) -> float:
        found = math.inf
        for _ in range(times):
            world.Barrier()
            start = time.perf_counter()
            run()
            found = min(found, time.perf_counter() - start)
        return found

    thread = threading.Thread(target=make)
    thread.start()
    found = {
        "the work": least(lambda: time.sleep(work)),
        "the sum": least(lambda: world.Allreduce(MPI.IN_PLACE, numbers)),
        "both, Allreduce in a thread": least(in_a_thread),
        "both, Iallreduce and Wait": least(lambda: without_waiting(1)),
        "both, Iallreduce and 50 times Test": least(lambda: without_waiting(50)),
        "two numbers": least(lambda: world.Allreduce(MPI.IN_PLACE, numbers[:2]), 100),
        "two numbers, in a thread": least(lambda: in_a_thread(numbers[:2], 0.0), 100),
    }
    begun.put(None)
    thread.join()
    return None if world.rank else found


def start(case: str, mpiexec: str, quick: bool) -> dict[str, float]:
    """Return what the first process of a case says."""
    command = [sys.executable, __file__, "--worker", case, *["--quick"] * quick]
    environments = [dict(os.environ)]
    if case == "gloo":
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "WORLD_SIZE": "2"}
        environments = [os.environ | shared | {"RANK": str(rank)} for rank in range(2)]
    elif case not in ("threads", "small 0"):
        command = [mpiexec, "-n", "2", *command]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=each)
        for each in environments
    ]
    outputs = [each.communicate()[0] for each in running]
    return json.loads(next(out for out in outputs if out.strip()).strip().splitlines()[-1])


def beside(mpiexec: str, quick: bool) -> None:
    """Print two processes beside two threads and beside PyTorch, a few times in turn."""
    print(f"### Two ranks on one machine: {MIDDLE.name}\n")
    cases = {"two threads": "threads", "two ranks": "ranks", "PyTorch DDP, gloo": "gloo"}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for _ in range(1 if quick else 3):
        for name, case in cases.items():
            try:
                found[name].append(start(case, mpiexec, quick))
            except (StopIteration, OSError) as error:
                print(f"{name}: not run ({error!r})\n")
    best = {
        name: {key: min(each[key] for each in runs) for key in ("step", "cpu", "sum")
               if all(key in each for each in runs)}
        for name, runs in found.items() if runs
    }  # fmt: skip
    both = {name: each["cpu"] * (1 if name == "two threads" else 2) for name, each in best.items()}
    rows = [
        [name, f"{1e3 * each['step']:.3g}", f"{1e3 * both[name]:.3g}",
         f"{1e3 * each['sum']:.3g}" if each.get("sum") else "",
         f"{best['two threads']['step'] / each['step']:.2f}"]
        for name, each in best.items()
    ]  # fmt: skip
    print(table(["", "ms a step", "processors, ms a step", "sum, ms", "speed"], rows))
    print("### A sum of 16 MiB beside work of 50 ms: who makes it go on\n")
    found_ms = {name: 1e3 * seconds for name, seconds in start("progress", mpiexec, quick).items()}
    print(table(["", "ms"], [[name, f"{value:.3g}"] for name, value in found_ms.items()]))
    print(f"### When steps are shorter than messages: {SMALL.name}\n")
    rows = []
    for name, case in (
        ("one process", "small 0"),
        ('two ranks, "step"', "small 1"),
        ("two ranks, every 16 steps", "small 16"),
        ("two ranks, once an epoch", "small 100"),
    ):
        each = start(case, mpiexec, quick)
        rows.append([name, f"{1e6 * each['step']:.3g}", f"{each['loss']:.4f}"])
    print(table(["", "us a step", "loss in the end"], rows))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and no large network")
    parser.add_argument("--mpiexec", default=None, help="default: beside this Python, or in PATH")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.quick)
        return
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = options.mpiexec or shutil.which("mpiexec", path=here)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores{load} at the start\n")
    simulated([SMALL, MIDDLE] if options.quick else [SMALL, MIDDLE, LARGE])
    if mpiexec is None:
        print("mpiexec is not installed: no runs of two processes")
        return
    beside(mpiexec, options.quick)


if __name__ == "__main__":
    main()
