"""What PTX instructions move between registers and memories, and what tensor cores multiply."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from banks import Memory
from ptx import Array, Program, Step, dtype_of


def decode_move(program: Program, name: list[str], operands: list[str], text: str) -> Step:
    """Return what an instruction does that is about memory or tensor cores."""
    if name[0] == "ldmatrix":
        return _ldmatrix(program, operands, text)
    if name[0] == "mma":
        return _mma(program, name, operands)
    if name[0] == "cp":
        return _copy(program, name, operands, text)
    if name[0] == "atom":
        return _atomic(program, name, operands, text)
    if name[0] in ("fence", "membar", "prefetch"):
        return lambda b, a: None
    if name[1] == "param":
        index = int(re.search(r"param_(\d+)", operands[1])[1])
        bits = 8 * dtype_of(name[-1]).itemsize
        write, mask = program.writer(operands[0], f"u{bits}"), (1 << bits) - 1
        return lambda b, a: write(b, a, np.uint64(b.numbers[index] & mask))
    return _move(program, name, operands, text)


def _address(program: Program, operand: str, kind: str) -> Any:
    """Return what gives the addresses that ``[register+offset]`` stands for, int64."""
    base, _, offset = operand.strip("[] ").replace(" ", "").partition("+")
    bits = "u32" if re.fullmatch(r"%r\d+", base) else kind
    read, add = program.reader(base, bits), int(offset or 0)

    def places(b: Any, a: Any) -> Array:
        found = np.asarray(read(b, a)).astype(np.int64) + add
        return found if found.ndim else np.full(len(b.threads[a]), found)

    return places


def _located(b: Any, places: Array) -> tuple[Memory, Array]:
    """Return the array that addresses lie in, and where there."""
    return b.memories.find(places)


def _widened(kind: str, register: str) -> str:
    """Return the whole number that a load makes of a narrower one for its register."""
    bits = 64 if register.startswith("%rd") else 32 if re.match(r"%r\d", register) else 0
    wider = bits > 8 * dtype_of(kind).itemsize
    return f"{'s' if kind[0] == 's' else 'u'}{bits}" if wider else kind


def _move(program: Program, name: list[str], operands: list[str], text: str) -> Step:
    """Return a load or a store, of one number or of a vector."""
    stores, shared = name[0] == "st", "shared" in name
    if {"local", "const"} & set(name):  # without a space, an address is one of the device's memory
        raise NotImplementedError(text)
    kind = name[-1]
    memory, registers = operands if stores else operands[::-1]
    names = [r.strip() for r in registers.strip("{}").split(",")]
    dtype = dtype_of(kind)
    size, steps = dtype.itemsize * len(names), np.arange(len(names))
    address = _address(program, memory, "s64")
    sources = [program.reader(each, kind) for each in names] if stores else []
    # A wider register takes a number with its sign.
    widths = [_widened(kind, each) for each in names]
    targets = [] if stores else [program.writer(*each) for each in zip(names, widths, strict=True)]
    checked = not {"acquire", "relaxed"} & set(name)

    def move(b: Any, a: Any) -> None:
        places = address(b, a)
        where, places = (b.shared, places) if shared else _located(b, places)
        threads = b.threads[a]
        if checked:
            where.touch(text, places, b, threads, size, stores)
        if shared and b.count:
            where.count(text, places, threads, size)
        at, numbers = places // dtype.itemsize, where.view(dtype)
        if stores:
            for i, read in enumerate(sources):
                numbers[at + steps[i]] = read(b, a)
        else:
            for i, write in enumerate(targets):
                write(b, a, numbers[at + steps[i]])

    return move


def _copy(program: Program, name: list[str], operands: list[str], text: str) -> Step:
    """Return a copy to shared memory that arrives when its thread waits for it."""
    if "wait_all" in name:

        def arrive(b: Any, a: Any) -> None:
            later = []
            for threads, places, data in b.coming:
                here = np.isin(threads, b.threads[a])
                b.shared.touch(text, places[here], b, threads[here], 4, True) if here.any() else 0
                b.shared.data[places[here][:, None] + np.arange(data.shape[1])] = data[here]
                if not here.all():
                    later.append((threads[~here], places[~here], data[~here]))
            b.coming = later

        return arrive
    assert name[:2] == ["cp", "async"], text
    size = int(operands[2])
    to, origin = (_address(program, operand, "s64") for operand in operands[:2])

    def start(b: Any, a: Any) -> None:
        places, threads = to(b, a), b.threads[a]
        source, found = _located(b, origin(b, a))
        source.touch(text, found, b, threads, size, False)
        b.shared.touch(text, places, b, threads, size, True)
        if b.count:
            b.shared.count(text, places, threads, size)
        data = source.data[found[:, None] + np.arange(size)]
        b.shared.data[places[:, None] + np.arange(size)] = 0xFF
        b.coming.append((threads.copy(), places, data))

    return start


def _atomic(program: Program, name: list[str], operands: list[str], text: str) -> Step:
    """Return an operation that threads do one after another; with release it announces a block."""
    function = {"add": np.add, "min": np.minimum, "max": np.maximum}.get(
        next(each for each in name[1:] if each in ("add", "min", "max", "cas", "exch"))
    )
    if function is None or "global" not in name or len(operands) != 3:
        raise NotImplementedError(text)
    kind = name[-1]
    address, amount = _address(program, operands[1], "s64"), program.reader(operands[2], kind)
    write, dtype, announces = program.writer(operands[0], kind), dtype_of(kind), "release" in name

    def change(b: Any, a: Any) -> None:
        where, places = _located(b, address(b, a))
        where.check(text, places, dtype.itemsize)
        numbers, before = where.view(dtype), np.empty(len(places), dtype)
        amounts = np.broadcast_to(amount(b, a), len(places))
        for lane, at in enumerate(places // dtype.itemsize):
            before[lane] = numbers[at]
            numbers[at] = function(numbers[at], amounts[lane])
        write(b, a, before)
        if announces:
            assert len(places) == 1, "one thread speaks for its block"
            b.arrivals += 1

    return change


def _ldmatrix(program: Program, operands: list[str], text: str) -> Step:
    """Return a load of four matrices of 8 rows of 16 bytes.

    Lanes 8 i and on point at the rows of the i-th.
    """
    address = _address(program, operands[1], "u32")
    writers = [program.writer(r.strip(), "u32") for r in operands[0].strip("{}").split(",")]

    def load(b: Any, a: Any) -> None:
        places, threads = address(b, a), b.threads[a]
        assert len(threads) % 32 == 0, "lanes of a warp are elsewhere"
        b.shared.touch(text, places, b, threads, 16, False)
        if b.count:
            b.shared.count(text, places, threads, 16)
        rows = b.shared.data[places[:, None] + np.arange(16)].view(np.uint32).reshape(-1, 4, 8, 4)
        for i, write in enumerate(writers):
            write(b, a, rows[:, i].reshape(-1))

    return load


def _mma(program: Program, name: list[str], operands: list[str]) -> Step:
    """Return a multiply-add of 16 x 8 sums a warp; each fragment as PTX describes it."""
    from fastnn.targets.cuda.tiled.rounding import numbers_of

    names = [[r.strip() for r in o.strip("{}").split(",")] for o in operands]
    readers = [[program.reader(r, "f32") for r in each] for each in names[1:]]
    writers = [program.writer(r, "f32") for r in names[0]]
    precision = "tf32" if "tf32" in name else "bfloat16"

    def multiply(block: Any, active: Any) -> None:
        assert len(block.threads[active]) % 32 == 0, "lanes of a warp are elsewhere"
        a, b, c = (
            np.stack([read(block, active).reshape(-1, 8, 4) for read in each]) for each in readers
        )
        warps = a.shape[1]
        left = np.concatenate(
            [np.concatenate([a[0], a[1]], axis=1), np.concatenate([a[2], a[3]], axis=1)], axis=2
        )
        right = np.concatenate([b[0], b[1]], axis=2)  # columns, words

        def numbers(words: Array) -> Array:
            flat = np.ascontiguousarray(words).reshape(-1)
            starts = np.arange(0, len(flat), 8).reshape(warps, -1)
            return numbers_of(precision, flat, starts, 8)

        product = np.einsum("wrk,wck->wrc", numbers(left), numbers(right))
        for i, write in enumerate(writers):
            half = product[:, 8 * (i // 2) : 8 * (i // 2) + 8, i % 2 :: 2]
            write(block, active, (c[i] + half).astype(np.float32).reshape(-1))

    return multiply
