"""What PTX instructions compute, in NumPy; rounding modes and NaN as the PTX ISA has them.

Fused multiply-adds are rounded twice, from twice the digits; approximations are rounded results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from moves import decode_move
from ptx import Array, Program, Step, dtype_of

COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
JOIN = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
MOVES = ("ld", "st", "atom", "cp", "fence", "membar", "prefetch", "ldmatrix", "mma")


def decode(program: Program, name: list[str], operands: list[str], text: str) -> Step:
    """Return what an instruction does to the threads that run it."""
    if name[0] in MOVES:
        return decode_move(program, name, operands, text)
    if name[0] == "mov" and "{" in text:
        return _pack(program, name[-1], operands)
    if name[0] == "setp":
        return _compare(program, name, operands)
    if name[0] == "cvt":
        return _convert(program, name, operands)
    kind = result = name[-1]
    kinds = [kind] * (len(operands) - 1)
    if "wide" in name:
        result = kind[0] + str(2 * int(kind[1:]))
        kinds[2:] = [result] * len(kinds[2:])
    elif name[0] == "selp":
        kinds[2] = "pred"
    elif name[0] in ("shl", "shr"):
        kinds[1] = "u32"
    elif name[0] in ("bfi", "bfe"):
        kinds[-2:] = ["u32", "u32"]
    elif name[0] in ("clz", "popc"):
        result = "u32"
    function = _function(name, kind, dtype_of(result))
    read = [program.reader(o, k) for o, k in zip(operands[1:], kinds, strict=True)]
    write = program.writer(operands[0], result)
    if len(read) == 1:
        return lambda b, a: write(b, a, function(read[0](b, a)))
    if len(read) == 2:
        return lambda b, a: write(b, a, function(read[0](b, a), read[1](b, a)))
    return lambda b, a: write(b, a, function(*(each(b, a) for each in read)))


def _function(name: list[str], kind: str, result: np.dtype[Any]) -> Callable[..., Any]:
    """Return the function of an instruction, on numbers of its type."""
    op, floating = name[0], kind[0] == "f"
    if mode := {"rm", "rp", "rz"} & set(name):
        return _directed(op, *mode, kind)
    match op:
        case "mov" | "cvta":
            return lambda x: x
        case "add" | "sub":
            return np.add if op == "add" else np.subtract
        case "mul" if floating or "lo" in name:
            return np.multiply
        case "mul" if "wide" in name:
            return lambda x, y: x.astype(result) * y.astype(result)
        case "mul" if "hi" in name:
            return _upper_product
        case "mad" if "lo" in name:
            return lambda x, y, z: x * y + z
        case "mad" if "wide" in name:
            return lambda x, y, z: x.astype(result) * y.astype(result) + z
        case "fma":
            return _fma
        case "div" if floating:
            return np.divide
        case "div" | "rem":
            return _quotient if op == "div" else _remainder
        case "min" | "max" if floating:  # a number, where one of the two is
            return np.fmin if op == "min" else np.fmax
        case "min" | "max":
            return np.minimum if op == "min" else np.maximum
        case "neg" | "abs":
            return np.negative if op == "neg" else np.abs
        case "sqrt" | "rcp" if "rn" in name:
            return np.sqrt if op == "sqrt" else np.reciprocal
        case "copysign":
            return lambda sign, size: np.copysign(size, sign)
        case "not":
            return np.invert
        case "and" | "or" | "xor":
            return {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[op]
        case "selp":
            return lambda x, y, chosen: np.where(chosen, x, y)
        case "shl" | "shr":
            return _shift(op == "shl", kind)
        case "bfi":
            return _insert
        case "clz":
            bits = int(kind[1:])
            return lambda x: bits - sum((x >> x.dtype.type(i)) != 0 for i in range(bits))
        case "ex2" | "lg2" | "rcp" | "rsqrt" if "approx" in name:
            return _approximation(op, "ftz" in name, result)
    raise NotImplementedError(".".join(name))


def _fma(x: Any, y: Any, z: Any) -> Any:
    wide = np.longdouble if x.dtype.itemsize == 8 else np.float64
    return (x.astype(wide) * y.astype(wide) + z.astype(wide)).astype(x.dtype)


def _directed(op: str, mode: str, kind: str) -> Callable[..., Any]:
    """Return arithmetic in float32 that rounds down, up or towards zero."""
    exact: Callable[..., Any] = {
        "add": np.add,
        "mul": np.multiply,
        "fma": lambda x, y, z: x * y + z,
    }[op]
    assert kind == "f32", op

    def found(*operands: Any) -> Any:
        wide = exact(*(np.asarray(each, np.float64) for each in operands))
        near = wide.astype(np.float32)
        low = np.where(near > wide, np.nextafter(near, np.float32(-np.inf)), near)
        high = np.where(near < wide, np.nextafter(near, np.float32(np.inf)), near)
        return {"rm": low, "rp": high, "rz": np.where(wide > 0, low, high)}[mode]

    return found


def _remainder(x: Any, y: Any) -> Any:
    return np.fmod(x, y)  # of the sign of x, as in C


def _quotient(x: Any, y: Any) -> Any:
    # By zero it is anything, and no error: the compiler divides before it asks whether to.
    found = (x - _remainder(x, y)) // y
    return np.where(y == 0, ~x.dtype.type(0), found)


def _upper_product(x: Any, y: Any) -> Any:
    x, y = np.broadcast_arrays(x, y)
    bits = 8 * x.itemsize
    whole = [int(i) * int(j) >> bits for i, j in zip(x.ravel(), y.ravel(), strict=True)]
    return np.array(whole, x.dtype).reshape(x.shape)


def _shift(left: bool, kind: str) -> Callable[..., Any]:
    bits, signed = int(kind[1:]), kind[0] == "s"
    shift = np.left_shift if left else np.right_shift

    def shifted(x: Any, by: Any) -> Any:
        found = shift(x, np.minimum(by, bits - 1).astype(x.dtype))
        return found if signed and not left else np.where(by < bits, found, x.dtype.type(0))

    return shifted


def _insert(source: Any, target: Any, start: Any, count: Any) -> Any:
    bits, one = source.dtype.type, source.dtype.type(1)
    mask = (one << bits(count)) - one if count < 8 * source.itemsize else ~bits(0)
    mask = mask << bits(start)
    return (target & ~mask) | (source << bits(start) & mask)


def _approximation(op: str, flush: bool, dtype: np.dtype[Any]) -> Callable[..., Any]:
    exact = {
        "ex2": np.exp2,
        "lg2": np.log2,
        "rcp": np.reciprocal,
        "rsqrt": lambda x: 1 / np.sqrt(x),
    }[op]

    def flushed(x: Any) -> Any:
        small = np.abs(x) < np.finfo(dtype).tiny
        return np.where(small, np.copysign(dtype.type(0), x), x) if flush else x

    def found(x: Any) -> Any:
        if dtype.itemsize == 8:  # known to the upper half of the bits
            assert op == "rcp"
            near = np.ascontiguousarray(exact(flushed(x)))
            return flushed((near.view(np.uint64) & np.uint64(0xFFFFFFFF << 32)).view(dtype))
        return flushed(exact(flushed(x).astype(np.float64)).astype(dtype))

    return found


def _pack(program: Program, kind: str, operands: list[str]) -> Step:
    """Return a move of several registers into one, or of one into several."""
    bits = int(kind[1:])
    names = [[r.strip() for r in o.strip("{}").split(",")] for o in operands]
    each = bits // max(map(len, names))
    if len(names[1]) == 1:
        read = program.reader(names[1][0], f"u{bits}")
        parts = [program.writer(name, f"u{each}") for name in names[0]]

        def unpack(b: Any, a: Any) -> None:
            values = read(b, a).copy()
            for i, write in enumerate(parts):
                write(b, a, values >> values.dtype.type(i * each))

        return unpack
    readers = [program.reader(name, f"u{each}") for name in names[1]]
    write = program.writer(names[0][0], f"u{bits}")
    wide = np.dtype(f"u{bits // 8}").type

    def pack(b: Any, a: Any) -> None:
        parts = [r(b, a).astype(wide) << wide(i * each) for i, r in enumerate(readers)]
        write(b, a, sum(parts[1:], parts[0]))

    return pack


def _compare(program: Program, name: list[str], operands: list[str]) -> Step:
    kind, how = name[-1], name[1]
    left, right = (program.reader(o, kind) for o in operands[1:3])
    write, floating = program.writer(operands[0], "pred"), kind[0] == "f"
    # What ends with u holds where either is NaN; the others do not.
    unordered = floating and how not in COMPARE
    compare = COMPARE.get(how.removesuffix("u")) or {"num": np.equal, "nan": np.equal}[how]
    if how in ("num", "nan"):
        unordered = how == "nan"

    def found(b: Any, a: Any) -> Any:
        x, y = left(b, a), right(b, a)
        if not floating:
            return compare(x, y)
        nan = np.isnan(x) | np.isnan(y)
        if how in ("num", "nan"):
            return nan if unordered else ~nan
        return compare(x, y) | nan if unordered else compare(x, y) & ~nan

    if len(name) == 3:
        return lambda b, a: write(b, a, found(b, a))
    join, other = JOIN[name[2]], program.reader(operands[3], "pred")
    return lambda b, a: write(b, a, join(found(b, a), other(b, a)))


def _convert(program: Program, name: list[str], operands: list[str]) -> Step:
    """Return a conversion; rounding to tensor cores' types is the simulator's."""
    from fastnn.targets.cuda.tiled.rounding import words_of

    source, target = name[-1], name[-2]
    read = [program.reader(o, source) for o in operands[1:]]
    if target in ("tf32", "bf16x2"):  # the first operand is the upper half
        precision = "tf32" if target == "tf32" else "bfloat16"
        write = program.writer(operands[0], "f32")

        def words(b: Any, a: Any) -> None:
            numbers = np.stack([each(b, a) for each in read[::-1]], axis=1)
            write(b, a, words_of(precision, numbers))

        return words
    write, dtype = program.writer(operands[0], target), dtype_of(target)
    # Rounding of floats to whole numbers that nobody asked for is not known.
    whole = source[0] == "f" and target[0] != "f" and not {"rni", "rzi"} & set(name)
    if whole or {"rm", "rp", "rz", "rmi", "rpi"} & set(name) or ("sat" in name and target != "f32"):
        raise NotImplementedError(".".join(name))

    def convert(x: Array) -> Array:
        if "rni" in name or "rzi" in name:
            x = np.rint(x) if "rni" in name else np.trunc(x)
        if "sat" in name:
            return np.where(np.isnan(x), 0, np.clip(x, 0, 1)).astype(dtype)
        if source[0] == "f" and target[0] != "f":
            limits = np.iinfo(dtype)
            found = np.where(np.isnan(x), 0, x).astype(dtype)
            found = np.where(x >= limits.max, limits.max, found)
            return np.where(x <= limits.min, limits.min, found)
        return x.astype(dtype)

    return lambda b, a: write(b, a, convert(read[0](b, a)))
