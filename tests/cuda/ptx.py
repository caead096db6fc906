"""Run compiled kernels without a device: the PTX of blocks, instruction by instruction, in NumPy.

What Numba's simulator cannot show is shown here: the types that the compiler finds, the code that
intrinsics write, what ldmatrix and mma.sync give each lane, accesses outside of arrays or where no
vector starts, races between threads that no barrier separates (of a warp's lanes too) and between
blocks, bank conflicts. Blocks run one after the other, or in turns where they wait for each other;
of a block, those threads go on that are furthest behind. Only what the kernels use is known;
anything else is an error. `arithmetic` and `moves` have the instructions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from banks import Memory, Wrong

Array = np.ndarray[Any, Any]
# What an instruction does to the threads of a block: a slice for all of them, or their numbers.
Step = Callable[["Block", Any], None]
TYPES = [np.dtype(t) for t in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "f4", "i8", "u8", "f8")]
SPECIAL = ("%tid.x", "%ctaid.x", "%ntid.x", "%nctaid.x", "%laneid", "%dynamic_smem_size")
BITS = {"%p": 8, "%rs": 16, "%r": 32, "%rd": 64, "%f": 32, "%fd": 64}  # of registers
FIRST = 1 << 40  # where the first array of the device's memory lies
APART = 1 << 32  # and how far the next
PLAIN, BRANCH, BARRIER, SPIN, LEAVE = range(5)
MOST_TURNS = 1000  # that all blocks wait in vain


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return the NumPy type of a PTX type such as ``s64``, or ``pred``."""
    if kind == "pred":
        return np.dtype("?")
    return np.dtype({"s": "i", "u": "u", "b": "u", "f": "f"}[kind[0]] + str(int(kind[1:]) // 8))


@dataclass
class Statement:
    """One instruction: what it does to control, its guard's register, where it goes."""

    does: int
    step: Step | None
    guard: int | None
    negated: bool
    target: int
    text: str


class Program:
    """The statements of the one kernel in a PTX text."""

    def __init__(self, ptx: str) -> None:
        from arithmetic import decode

        ptx = re.sub(r"//[^\n]*", "", ptx)
        self.shared_bytes, self.symbols = 0, {}
        for align, name, size in re.findall(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]", ptx):
            self.shared_bytes += -self.shared_bytes % int(align)
            self.symbols[name] = self.shared_bytes
            self.shared_bytes += int(size)
        # What a launch asks for has one start, under as many names as there are types.
        dynamic = re.findall(r"\.extern \.shared \.align (\d+) \.b8 (\w+)\[\]", ptx)
        self.shared_bytes += -self.shared_bytes % max(
            (int(align) for align, _ in dynamic), default=1
        )
        self.symbols |= {name: self.shared_bytes for _, name in dynamic}
        head, _, rest = ptx.partition(".entry")[2].partition("\n{")
        self.parameters = [int(size) // 8 for size in re.findall(r"\.param \.[usbf](\d+)", head)]
        body = rest[: rest.rindex("}")]
        self._slots = {name: slot for slot, name in enumerate(SPECIAL)}
        self._declared = set(SPECIAL)
        for names in re.findall(r"\.reg \.\w+ ([^;]*);", body):
            self._declared |= {name.strip() for name in names.split(",")}
        found: list[tuple[str, str, list[str], str]] = []
        labels: dict[str, int] = {}
        for part in body.split(";"):
            text = " ".join(part.split())
            while start := re.match(r"(\$?\w+):\s*|[{}]\s*", text):
                if start[1]:
                    labels[start[1]] = len(found)
                text = text[start.end() :]
            if text and not text.startswith("."):
                guard, name, operands = re.match(r"(?:@(!?[%\w]+) )?(\S+)\s*(.*)", text).groups()
                split = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", operands)
                found.append((guard or "", name, [s.strip() for s in split], text))
        self.statements: list[Statement] = []
        for guard, name, operands, text in found:
            does, step, target = PLAIN, None, len(found)
            if name.startswith("bra") and not name.startswith("barrier"):
                does, target = BRANCH, labels[operands[0]]
            elif name in ("ret", "exit"):
                does = LEAVE
            elif name in ("bar.sync", "barrier.sync"):
                assert operands == ["0"], text
                does = BARRIER
            else:
                does = SPIN if name.startswith("ld.relaxed") else PLAIN
                step = decode(self, name.split("."), operands, text)
            slot = self.slot(guard.lstrip("!")) if guard else None
            self.statements.append(Statement(does, step, slot, guard.startswith("!"), target, text))

    @property
    def slots(self) -> int:
        """How many registers there are."""
        return len(self._slots)

    def slot(self, name: str) -> int:
        """Return the number of a register."""
        return self._slots.setdefault(name, len(self._slots))

    def is_register(self, operand: str) -> bool:
        """Return whether an operand is a register, and not an immediate or a symbol."""
        return operand.startswith("%") or operand in self._declared

    def reader(self, operand: str, kind: str) -> Callable[[Block, Any], Any]:
        """Return what gives an operand's values for some threads, as a PTX type."""
        dtype = dtype_of(kind)
        if self.is_register(operand):
            assert operand in self._declared or re.fullmatch(r"%[a-z]+\d+", operand), operand
            code, slot = TYPES.index(dtype), self.slot(operand)
            return lambda block, active: block.views[code][slot][active]
        bits = np.array([self.constant(operand)], np.uint64)
        value = bits.view(np.uint8)[: dtype.itemsize].view(dtype)[0]
        return lambda block, active: value

    def writer(self, operand: str, kind: str) -> Callable[[Block, Any, Any], None]:
        """Return what gives a register values of a PTX type, for some threads."""
        bits = BITS.get(re.sub(r"\d+$", "", operand))
        assert bits in (None, 8 * dtype_of(kind).itemsize), f"{operand} is wider than {kind}"
        code, slot = TYPES.index(dtype_of(kind)), self.slot(operand)

        def write(block: Block, active: Any, values: Any) -> None:
            block.views[code][slot][active] = values

        return write

    def constant(self, operand: str) -> int:
        """Return the bits of an immediate, or the place of a symbol in shared memory."""
        if operand in self.symbols:
            return self.symbols[operand]
        if found := re.fullmatch(r"0[fd]([0-9A-Fa-f]+)", operand):
            return int(found[1], 16)
        return int(operand.rstrip("U"), 0) % (1 << 64)


program_of = lru_cache(maxsize=64)(Program)


def flatten(arguments: Any, roots: list[Array]) -> Iterator[int]:
    """Yield the bits of what Numba passes for arrays, numbers and tuples of them.

    `roots` are the memories that the arrays lie in, as bytes; unknown ones are added.
    """
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            root: Any = argument
            while isinstance(root.base, np.ndarray):
                root = root.base
            memory = np.asarray(root).reshape(-1).view(np.uint8)
            number = next(
                (i for i, other in enumerate(roots) if other.ctypes.data == memory.ctypes.data),
                len(roots),
            )
            if number == len(roots):
                roots.append(memory)
            start = FIRST + APART * number + argument.ctypes.data - memory.ctypes.data
            yield from (0, 0, argument.size, argument.itemsize, start)
            yield from (*argument.shape, *argument.strides)
        elif isinstance(argument, tuple):
            yield from flatten(argument, roots)
        elif isinstance(argument, (float, np.floating)):
            yield int(np.float64(argument).view(np.uint64))
        else:
            yield int(argument) % (1 << 64)


def run(
    ptx: str, grid: int, threads: int, *arguments: Any, shared_bytes: int = 0, count: bool = True
) -> dict[str, tuple[int, int]]:
    """Run `grid` blocks; return how often shared memory was asked, and how often at least.

    `shared_bytes` is what a launch asks for beside what the kernel itself has. Without `count`,
    nothing is returned, sooner.
    """
    program = program_of(ptx)
    roots: list[Array] = []
    numbers = list(flatten(arguments, roots))
    assert len(numbers) == len(program.parameters), "arguments are not what was compiled for"
    return execute(program, numbers, Arrays(roots), grid, threads, shared_bytes, count)


class Arrays:
    """The device's memory: arrays that lie far apart."""

    def __init__(self, roots: list[Array]) -> None:
        self._memories = [Memory(root, f"array {number}") for number, root in enumerate(roots)]

    def find(self, places: Array) -> tuple[Memory, Array]:
        """Return the array that addresses lie in, and where there."""
        number = int(places[0] - FIRST) // APART
        if not 0 <= number < len(self._memories):
            raise Wrong(f"no array lies at {places[0]:#x}")
        return self._memories[number], places - (FIRST + APART * number)


def execute(
    program: Program,
    numbers: list[int],
    memories: Any,
    grid: int,
    threads: int,
    shared_bytes: int,
    count: bool,
) -> dict[str, tuple[int, int]]:
    """Run a program as `run` does, with the bits of its parameters, and what finds memory."""
    epochs = itertools.count()
    total: dict[str, tuple[int, int]] = {}
    with np.errstate(all="ignore"):
        running = [
            Block(program, numbers, memories, index, grid, threads, shared_bytes, epochs, count)
            for index in range(grid)
        ]
        turns = [(block, block.run()) for block in running]
        for turn in itertools.count():
            turns = [(block, each) for block, each in turns if next(each, None) is not None]
            if not turns:
                break
            if turn > MOST_TURNS:
                raise Wrong("blocks wait for one that never comes")
        for block in running:
            for text, found in block.shared.conflicts.items():
                before = total.get(text, (0, 0))
                total[text] = before[0] + found[0], before[1] + found[1]
    return total


class Block:
    """The threads of one block: registers as arrays over the threads, and where each thread is."""

    def __init__(
        self,
        program: Program,
        numbers: list[int],
        memories: Any,
        index: int,
        grid: int,
        threads: int,
        asked: int,
        epochs: Iterator[int],
        count: bool,
    ) -> None:
        self.program, self.numbers, self.memories = program, numbers, memories
        self.index, self.size, self.several, self.count = index, threads, grid > 1, count
        self.arrivals = self.waits = 0
        self._epochs, self.epoch = epochs, next(epochs)
        self.threads = np.arange(threads)
        self.coming: list[tuple[Array, Array, Array]] = []  # copies that nobody waited for yet
        # What a block finds there is what the last one left: NaN shows its use.
        self.shared = Memory(np.full(program.shared_bytes + asked, 0xFF, np.uint8))
        self._values = (
            np.arange(threads), index, threads, grid, np.arange(threads) % 32, asked
        )  # fmt: skip
        self.views: list[Array] = []

    def _begin(self) -> None:
        """Make the registers, which only a block that runs has."""
        registers = np.zeros((self.program.slots, self.size), np.uint64)
        for slot, values in enumerate(self._values):
            registers[slot] = values
        for dtype in TYPES:
            each = 8 // dtype.itemsize
            self.views.append(registers.view(dtype).reshape(*registers.shape, each)[:, :, 0])

    def run(self) -> Iterator[bool]:
        """Run to the end of every thread; stops where a thread waits for another block."""
        self._begin()
        statements, end = self.program.statements, len(self.program.statements)
        self._ready: dict[int, Array] = {0: self.threads}
        self._waiting: dict[int, Array] = {}
        left = False
        while self._ready or self._waiting:
            if not self._ready:
                if left:
                    raise Wrong("a thread left while others wait at a barrier")
                self._ready, self._waiting = self._waiting, {}
                self.epoch = next(self._epochs)
                self.waits = self.arrivals
            at = min(self._ready)
            active = self._ready.pop(at)
            stop = min(self._ready, default=end)
            while at < stop and len(active):
                statement = statements[at]
                rest = None
                if statement.guard is not None:
                    held = self.views[0][statement.guard][active] != statement.negated
                    if not held.all():
                        rest, active = active[~held], active[held]
                if statement.does == PLAIN:
                    if len(active):
                        everyone = len(active) == self.size
                        statement.step(self, slice(None) if everyone else active)
                    if rest is not None:
                        active = np.sort(np.concatenate([active, rest]))
                    at += 1
                    continue
                if rest is not None:
                    self._join(self._ready, at + 1, rest)
                    stop = min(stop, at + 1)
                if statement.does == BRANCH:
                    at = statement.target
                elif statement.does == BARRIER:
                    self._join(self._waiting, at + 1, active)
                    active = active[:0]
                elif statement.does == SPIN:
                    if len(active):
                        statement.step(self, active)
                        yield True
                    at += 1
                else:
                    left, active = left or len(active) > 0, active[:0]
            if at >= end:
                left = left or len(active) > 0
            elif len(active):
                self._join(self._ready, at, active)
        assert not self.coming, "nobody waited for a copy"
        self.views.clear()

    @staticmethod
    def _join(groups: dict[int, Array], at: int, threads: Array) -> None:
        if len(threads):
            if at in groups:
                threads = np.sort(np.concatenate([groups[at], threads]))
            groups[at] = threads
