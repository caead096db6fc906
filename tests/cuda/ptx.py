"""Run compiled kernels without a device: the PTX of blocks, instruction by instruction, in NumPy.

What Numba's simulator cannot show is shown here: the code that intrinsics write, what ldmatrix and
mma.sync give each lane, reads outside of arrays, races between threads that no barrier separates
(of a warp's lanes too), bank conflicts. One block runs after the other; of a block, those threads
go on that are furthest behind. Only what the kernels use is known; anything else is an error.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from banks import Shared, Wrong

Array = np.ndarray[Any, Any]
KINDS = {"s": np.int64, "u": np.uint64, "b": np.uint64}
COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
FIRST = 1 << 40  # where the first array of the device's memory lies
APART = 1 << 32  # and how far the next


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return the NumPy type of a PTX type such as ``s64``."""
    return np.dtype({"s": "i", "u": "u", "b": "u", "f": "f"}[kind[0]] + str(int(kind[1:]) // 8))


class Program:
    """The statements of the one kernel in a PTX text."""

    def __init__(self, ptx: str) -> None:
        ptx = re.sub(r"//[^\n]*", "", ptx)
        self.symbols: dict[str, int] = {}
        self.shared_bytes = self.asked = 0
        for align, name, size in re.findall(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]", ptx):
            self.shared_bytes += -self.shared_bytes % int(align)
            self.symbols[name] = self.shared_bytes
            self.shared_bytes += int(size)
        for name in re.findall(r"\.extern \.shared \.align 16 \.b8 (\w+)\[\]", ptx):
            self.shared_bytes += -self.shared_bytes % 16
            self.symbols[name] = self.shared_bytes
        _, _, rest = ptx.partition(".entry")
        body = rest[rest.index("\n{") + 2 : rest.rindex("}")]
        self.statements: list[tuple[str, str, list[str], str]] = []
        self.labels: dict[str, int] = {}
        for part in body.split(";"):
            text = " ".join(part.split())
            while found := re.match(r"(\$?\w+):\s*|[{}]\s*", text):
                if found[1]:
                    self.labels[found[1]] = len(self.statements)
                text = text[found.end() :]
            if text and not text.startswith("."):
                guard, name, operands = re.match(r"(?:@(!?[%\w]+) )?(\S+)\s*(.*)", text).groups()
                split = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", operands)
                self.statements.append((guard or "", name, [s.strip() for s in split], text))


def flatten(arguments: tuple[Any, ...]) -> tuple[list[int], list[Array]]:
    """Return what Numba passes for arrays and whole numbers, and the arrays as bytes."""
    numbers: list[int] = []
    buffers: list[Array] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            numbers += [0, 0, argument.size, argument.itemsize, FIRST + APART * len(buffers)]
            numbers += [*argument.shape, *argument.strides]
            buffers.append(argument.reshape(-1).view(np.uint8))
        else:
            numbers.append(int(argument))
    return numbers, buffers


def run(
    ptx: str, grid: int, threads: int, *arguments: Any, shared_bytes: int = 0
) -> dict[str, tuple[int, int]]:
    """Run `grid` blocks; return how often shared memory was asked, and how often at least.

    `shared_bytes` is what a launch asks for beside what the kernel itself has.
    """
    program = Program(ptx)
    program.asked = shared_bytes
    program.shared_bytes += shared_bytes
    numbers, buffers = flatten(arguments)
    total: dict[str, tuple[int, int]] = {}
    with np.errstate(all="ignore"):
        for index in range(grid):
            block = Block(program, numbers, buffers, index, grid, threads)
            block.run()
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
        buffers: list[Array],
        index: int,
        grid: int,
        threads: int,
    ) -> None:
        self.program, self.numbers, self.buffers, self.size = program, numbers, buffers, threads
        self.registers: dict[str, Array] = {}
        self.at = np.zeros(threads, np.int64)
        self.waiting = np.zeros(threads, bool)
        # What a block finds there is what the last one left: NaN shows its use.
        self.shared = Shared(np.full(program.shared_bytes, 0xFF, np.uint8))
        self.special = {
            "%tid.x": np.arange(threads),
            "%ctaid.x": np.full(threads, index),
            "%ntid.x": np.full(threads, threads),
            "%nctaid.x": np.full(threads, grid),
            "%dynamic_smem_size": np.full(threads, program.asked),
        }

    def run(self) -> None:
        """Run to the end of every thread."""
        end = len(self.program.statements)
        while True:
            ready = (self.at < end) & ~self.waiting
            if not ready.any():
                if not self.waiting.any():
                    return
                if (self.at >= end).any():
                    raise Wrong("a thread left while others wait at a barrier")
                self.waiting[:] = False
                self.shared.epoch += 1
                continue
            here = int(self.at[ready].min())
            active = np.flatnonzero(ready & (self.at == here))
            guard, name, operands, text = self.program.statements[here]
            if guard:
                held = self.registers[guard.lstrip("!")][active] != 0
                self.at[active[held == guard.startswith("!")]] += 1
                active = active[held != guard.startswith("!")]
                if not len(active):
                    continue
            self.at[active] += 1
            self.step(name.split("."), operands, active, text)

    def get(self, operand: str, kind: str, active: Array) -> Array:
        """Return an operand's values for the active threads, as a PTX type."""
        if kind == "pred":
            if operand not in self.registers:
                return np.full(len(active), self.constant(operand) != 0)
            return self.registers[operand][active] != 0
        dtype = dtype_of(kind)
        if operand in self.registers:
            whole = self.registers[operand][active]
        elif operand in self.special:
            whole = self.special[operand][active].astype(np.uint64)
        else:
            whole = np.full(len(active), self.constant(operand), np.uint64)
        return whole.astype(f"u{dtype.itemsize}").view(dtype)

    def constant(self, operand: str) -> int:
        """Return the bits of an immediate, or the place of a symbol."""
        if operand in self.program.symbols:
            return self.program.symbols[operand]
        if found := re.fullmatch(r"0[fd]([0-9A-Fa-f]+)", operand):
            return int(found[1], 16)
        return int(operand, 0) % (1 << 64)

    def set(self, operand: str, values: Array, active: Array) -> None:
        """Give the active threads values, kept as bits."""
        values = np.ascontiguousarray(values)
        if values.dtype == bool:
            values = values.astype(np.uint64)
        bits = values.view(f"u{values.dtype.itemsize}")
        if operand not in self.registers:
            self.registers[operand] = np.zeros(self.size, np.uint64)
        self.registers[operand][active] = bits

    def place(self, operand: str, active: Array, bits: str = "u64") -> Array:
        """Return the addresses that ``[register+offset]`` stands for."""
        base, _, offset = operand.strip("[] ").replace(" ", "").partition("+")
        return self.get(base, bits, active).astype(np.int64) + int(offset or 0)

    def step(self, name: list[str], operands: list[str], active: Array, text: str) -> None:
        """Run one statement for the active threads."""
        if name[0] in ("bra", "ret", "exit"):
            end = len(self.program.statements)
            self.at[active] = self.program.labels[operands[0]] if name[0] == "bra" else end
        elif name[0] in ("bar", "barrier"):
            self.waiting[active] = True
        elif name[0] in ("ld", "st"):
            self.move(name, operands, active, text)
        elif name[0] == "ldmatrix":
            self.ldmatrix(operands, active, text)
        elif name[0] == "mma":
            self.mma(name, operands, active)
        elif name[0] == "mov" and "{" in operands[0] + operands[1]:
            self.halves(operands, active)
        elif name[0] == "setp":
            left, right = (self.get(o, name[-1], active) for o in operands[1:3])
            self.set(operands[0], COMPARE[name[1].removesuffix("u")](left, right), active)
        elif name[0] == "cvt":
            self.set(operands[0], self.convert(name, operands[1:], active), active)
        else:
            self.set(operands[0], self.compute(name, operands[1:], active), active)

    def halves(self, operands: list[str], active: Array) -> None:
        """Take 64 bits apart, or put them together; the lower half comes first."""
        low, high = (
            o.strip() for o in max(operands, key=lambda o: "{" in o).strip("{}").split(",")
        )
        if "{" in operands[0]:
            whole = self.get(operands[1], "b64", active)
            for name, half in ((low, whole), (high, whole >> np.uint64(32))):
                if name != "_":
                    self.set(name, half.astype(np.uint32), active)
        else:
            upper = self.get(high, "b32", active).astype(np.uint64) << np.uint64(32)
            self.set(operands[0], self.get(low, "b32", active).astype(np.uint64) | upper, active)

    def compute(self, name: list[str], operands: list[str], active: Array) -> Array:
        """Return the result of an instruction of arithmetic."""
        kind, last = name[-1], operands[-1]
        if name[0] == "selp":
            chosen = self.get(last, "pred", active)
            first, second = (self.get(o, kind, active) for o in operands[:2])
            return np.where(chosen, first, second)
        if name[0] in ("shl", "shr"):
            values, by = self.get(operands[0], kind, active), self.get(last, "u32", active)
            shift = np.left_shift if name[0] == "shl" else np.right_shift
            return shift(values, np.minimum(by, 8 * values.itemsize - 1).astype(values.dtype))
        if name[0] == "bfi":
            source, target = (self.get(o, kind, active) for o in operands[:2])
            start, count = int(operands[2]), int(operands[3])
            mask = source.dtype.type(((1 << count) - 1) << start)
            return (target & ~mask) | (source << source.dtype.type(start) & mask)
        values = [self.get(o, kind, active) for o in operands]
        if "wide" in name:
            double = dtype_of(kind[0] + str(2 * int(kind[1:])))
            values = [v.astype(double) for v in values[:2]] + [
                self.get(o, f"{kind[0]}{8 * double.itemsize}", active) for o in operands[2:]
            ]
        a, b, c = (values + [None, None])[:3]
        match name[0]:
            case "mov" | "cvta":
                return a
            case "add":
                return a + b
            case "sub":
                return a - b
            case "mul":
                return a * b
            case "mad":
                return a * b + c
            case "fma":
                wide = [v.astype(np.longdouble) for v in values]
                return (wide[0] * wide[1] + wide[2]).astype(a.dtype)
            case "div":
                return a / b if kind[0] == "f" else a // b
            case "rem":
                return a % b
            case "min":
                return np.minimum(a, b)
            case "max":
                return np.maximum(a, b)
            case "neg":
                return -a
            case "abs":
                return np.abs(a)
            case "rcp":
                return (1 / a).astype(a.dtype)
            case "sqrt":
                return np.sqrt(a)
            case "ex2":
                return np.exp2(a)
            case "lg2":
                return np.log2(a)
            case "copysign":
                return np.copysign(b, a)
            case "not":
                return ~a
            case "and":
                return a & b
            case "or":
                return a | b
            case "xor":
                return a ^ b
        raise NotImplementedError(".".join(name))

    def convert(self, name: list[str], operands: list[str], active: Array) -> Array:
        """Return a number in another type; rounding to tensor cores' types is the simulator's."""
        from fastnn.cuda.rounding import words_of

        found = [self.get(o, name[-1], active) for o in operands]
        if "tf32" in name:
            return words_of("tf32", found[0][:, None])
        if "bf16x2" in name:  # the first operand is the upper half
            return words_of("bfloat16", np.stack(found[::-1], axis=1))
        return found[0].astype(dtype_of(name[-2]))

    def move(self, name: list[str], operands: list[str], active: Array, text: str) -> None:
        """Load or store, between registers and one of the memories."""
        kind, space = name[-1], name[1]
        memory, registers = operands if name[0] == "st" else operands[::-1]
        names = [r.strip() for r in registers.strip("{}").split(",")]
        dtype = dtype_of(kind)
        size = dtype.itemsize * len(names)
        if space == "param":
            index = int(re.search(r"param_(\d+)", memory)[1])
            self.set(names[0], np.full(len(active), self.numbers[index], np.int64), active)
            return
        places = self.place(memory, active)
        if space == "shared":
            self.shared.touch(text, places, active, size, name[0] == "st")
            data = self.shared.data
        else:
            data, places = self.memory(places, size, text)
            if np.any(places % size):
                raise Wrong(f"misaligned: {text}")
        index = places[:, None] + np.arange(size)
        if name[0] == "ld":
            for register, values in zip(names, data[index].view(dtype).T, strict=True):
                self.set(register, values, active)
        else:
            values = np.stack([self.get(register, kind, active) for register in names], axis=1)
            data[index] = values.view(np.uint8)

    def memory(self, places: Array, size: int, text: str) -> tuple[Array, Array]:
        """Return the array in the device's memory that addresses are in, and where in it."""
        number = int(places[0] - FIRST) // APART
        data, places = self.buffers[number], places - FIRST - APART * number
        if np.any(places < 0) or np.any(places + size > len(data)):
            raise Wrong(f"outside array {number}: {text}")
        return data, places

    def ldmatrix(self, operands: list[str], active: Array, text: str) -> None:
        """Load four matrices of 8 rows of 16 bytes: lanes 8 i and on point at those of the i-th."""
        places = self.place(operands[1], active, "u32")
        self.shared.touch(text, places, active, 16, False)
        rows = (
            self.shared.data[places[:, None] + np.arange(16)].view(np.uint32).reshape(-1, 4, 8, 4)
        )
        assert len(active) % 32 == 0, "lanes of a warp are elsewhere"
        for i, register in enumerate(operands[0].strip("{}").split(",")):
            self.set(register.strip(), rows[:, i].reshape(-1), active)

    def mma(self, name: list[str], operands: list[str], active: Array) -> None:
        """Multiply-add 16 x 8 sums a warp; each fragment as PTX describes it."""
        from fastnn.cuda.rounding import numbers_of

        assert len(active) % 32 == 0, "lanes of a warp are elsewhere"
        names = [[r.strip() for r in o.strip("{}").split(",")] for o in operands]
        a, b = (
            np.stack([self.get(r, "f32", active).reshape(-1, 8, 4) for r in names[i]])
            for i in (1, 2)
        )
        c = np.stack([self.get(r, "f32", active).reshape(-1, 8, 4) for r in names[3]])
        warps = a.shape[1]
        left = np.concatenate(
            [np.concatenate([a[0], a[1]], axis=1), np.concatenate([a[2], a[3]], axis=1)], axis=2
        )
        right = np.concatenate([b[0], b[1]], axis=2)  # columns, words
        precision = "tf32" if "tf32" in name else "bfloat16"

        def numbers(words: Array) -> Array:
            flat = np.ascontiguousarray(words).reshape(-1)
            starts = np.arange(0, len(flat), 8).reshape(warps, -1)
            return numbers_of(precision, flat, starts, 8)

        product = np.einsum("wrk,wck->wrc", numbers(left), numbers(right))
        for i, register in enumerate(names[0]):
            half = product[:, 8 * (i // 2) : 8 * (i // 2) + 8, i % 2 :: 2]
            self.set(register, (c[i] + half).astype(np.float32).reshape(-1), active)
