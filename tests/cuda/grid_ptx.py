"""Run the compiled code of a persistent grid without a device: all blocks in turns, copies late.

Beside what `ptx` knows: the barrier of the grid, and asynchronous copies, which arrive either when
they are begun or only when they are waited for. A block goes on until it would wait for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from ptx import COMPARE, Array, Block, Program, dtype_of, flatten


class GridBlock(Block):
    """A block that others run beside."""

    late = False

    def turns(self) -> Iterator[None]:
        """Run to the end, but stop whenever the counter of the grid's barrier is looked at."""
        end, self.copies = len(self.program.statements), {}
        while True:
            ready = (self.at < end) & ~self.waiting
            if not ready.any():
                if not self.waiting.any():
                    return
                assert not (self.at >= end).any(), "a thread left while others wait at a barrier"
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
            if name.startswith("ld.acquire"):
                yield
            self.at[active] += 1
            self.step(name.split("."), operands, active, text)

    def step(self, name: list[str], operands: list[str], active: Array, text: str) -> None:
        """Run one statement for the active threads."""
        if name[0] == "fence":
            return
        if name[0] == "setp" and name[-1][0] == "f":
            left, right = (self.get(o, name[-1], active) for o in operands[1:3])
            unordered = np.isnan(left) | np.isnan(right)
            if name[1] == "nan":
                self.set(operands[0], unordered, active)
            elif name[1].endswith("u"):
                found = COMPARE[name[1][:-1]](left, right) | unordered
                self.set(operands[0], found, active)
            else:
                super().step(name, operands, active, text)
        elif name[0] == "atom":
            kind = dtype_of(name[-1])
            data, places = self._global(operands[1], active, kind.itemsize, text)
            added = self.get(operands[2], name[-1], active)
            combine = {"add": np.add, "min": np.minimum}[
                next(part for part in name if part in ("add", "min"))
            ]
            for place, own, thread in zip(places, added, active, strict=True):
                before = data[place : place + kind.itemsize].view(kind)
                self.set(operands[0], before.copy(), np.array([thread]))
                before[:] = combine(before, own)
        elif name[:2] == ["ld", "acquire"]:
            data, at = self._global(operands[1], active, 4, text)
            self.set(operands[0], data[at[0] : at[0] + 4].view(np.uint32).copy(), active)
        elif name[:3] == ["cp", "async", "wait_all"]:
            for thread in active:
                for copy in self.copies.pop(int(thread), []):
                    self._write(*copy)
        elif name[:2] == ["cp", "async"]:
            size = int(operands[2])
            data, places = self._global(operands[1], active, size, text)
            assert not np.any(places % size), text
            targets = self.place(operands[0], active, "u32")
            for thread, target, place in zip(active, targets, places, strict=True):
                there = data[place : place + size]
                self.copies.setdefault(int(thread), []).append((text, target, thread, there))
                self._write(text, target, thread, np.full_like(there, 0xFF) if self.late else there)
        else:
            super().step(name, operands, active, text)

    def compute(self, name: list[str], operands: list[str], active: Array) -> Array:
        """Return the result of an instruction of arithmetic."""
        if name[0] == "clz":
            found = self.get(operands[0], "b32", active)
            return np.array([32 - int(each).bit_length() for each in found], np.uint32)
        if name[0] in ("abs", "ex2"):
            function = np.abs if name[0] == "abs" else np.exp2
            return function(self.get(operands[0], name[-1], active))
        return super().compute(name, operands, active)

    def _global(self, operand: str, active: Array, size: int, text: str) -> tuple[Array, Array]:
        """Return the array that addresses are in, and where."""
        return self.memory(self.place(operand, active), size, text)

    def _write(self, text: str, target: int, thread: int, values: Array) -> None:
        self.shared.touch(text, np.array([target]), np.array([thread]), len(values), True)
        self.shared.data[target : target + len(values)] = values


def run_grid(
    ptx: str, grid: int, threads: int, *arguments: Any, shared_bytes: int, late: bool
) -> dict[str, tuple[int, int]]:
    """Run all blocks of a grid in turns; return of the first what `ptx.run` does of all."""
    numbers, buffers = flatten(arguments)
    program = program_of(ptx, shared_bytes)
    return run_blocks(GridBlock, program, numbers, buffers, grid, threads, late)


def program_of(ptx: str, shared_bytes: int) -> Program:
    """Return the statements of a kernel whose launch asks for some shared memory."""
    program = Program(ptx)
    if shared_bytes:
        assert program.shared_bytes % 16 == 0, "vectors in dynamic shared memory are not aligned"
    for name in re.findall(r"\.extern \.shared \.align \d+ \.b8 (\w+)\[\]", ptx):
        program.symbols[name] = program.shared_bytes
    program.asked = shared_bytes
    program.shared_bytes += shared_bytes
    return program


def run_blocks(
    kind: type[GridBlock],
    program: Program,
    numbers: list[int],
    buffers: list[Array],
    grid: int,
    threads: int,
    late: bool = False,
) -> dict[str, tuple[int, int]]:
    """Run all blocks of a program in turns; `kind` says where the device's memory is."""
    with np.errstate(all="ignore"):
        blocks = [kind(program, numbers, buffers, b, grid, threads) for b in range(grid)]
        running = [block.turns() for block in blocks]
        for block in blocks:
            block.late = late
        while running:
            running = [one for one in running if next(one, running) is not running]
    return blocks[0].shared.conflicts
