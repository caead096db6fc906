"""A check before every load and store in what Numba and fastnn hand to LLVM.

Numba gives each module to `CPUCodeLibrary.add_ir_module` as a tree of instructions, before LLVM has
seen it. That is where the checks go in, so they cover hand-written kernels and compiled Python
alike, and every kernel that is yet to be written.
"""

from __future__ import annotations

import re
from typing import Any

from llvmlite import ir
from numba.core import codegen

from fastnn.sanitizer.table import CHECK, install_check

_LENGTH = re.compile(r"\d+")
_WORD = ir.IntType(64)
_LOADS = (ir.instructions.LoadInstr, ir.instructions.LoadAtomicInstr)
_STORES = (ir.instructions.StoreInstr, ir.instructions.StoreAtomicInstr)
_BOTH = (ir.instructions.AtomicRMW, ir.instructions.CmpXchg)
# How Python calls compiled code: Numba's own, and on Numba's own memory.
_WRAPPERS = ("_ZN7cpython", "cfunc.")
# Where a Numba function puts its result and its exception.
_RESULTS = (".ret", ".excinfo", "retptr", "excinfo")


def install() -> None:
    """Have everything that is compiled from now on checked."""
    install_check()
    original = codegen.CPUCodeLibrary.add_ir_module

    def add_ir_module(library: Any, module: ir.Module) -> Any:
        instrument(module)
        return original(library, module)

    codegen.CPUCodeLibrary.add_ir_module = add_ir_module


def instrument(module: ir.Module) -> int:
    """Put checks into fastnn's functions of a module, and return how many."""
    count = 0
    for function in list(module.functions):
        if not function.blocks or "fastnn" not in function.name:
            continue
        if function.name.startswith(_WRAPPERS):
            continue
        site: Any = None
        for block in function.blocks:
            if not any(_access(each) for each in block.instructions):
                continue
            instructions = list(block.instructions)
            block.instructions.clear()
            builder = ir.IRBuilder(block)
            for instruction in instructions:
                access = _access(instruction)
                if access is not None:
                    site = site or _site(module, function.name)
                    _insert(builder, module, site, *access)
                    count += 1
                block.instructions.append(instruction)
                builder.position_at_end(block)
    return count


def _access(instruction: Any) -> tuple[Any, int, int] | None:
    """Return pointer, bytes, and whether they are written, of an access to shared memory."""
    if isinstance(instruction, _LOADS):
        pointer, kind, write = instruction.operands[0], instruction.type, 0
    elif isinstance(instruction, _STORES):
        kind, pointer, write = instruction.operands[0].type, instruction.operands[1], 1
    elif isinstance(instruction, _BOTH):
        pointer, kind, write = instruction.operands[0], instruction.operands[1].type, 1
    else:
        return None
    return None if _is_local(pointer) else (pointer, _bytes(kind), write)


def _is_local(pointer: Any) -> bool:
    """Return whether a pointer is into the function's own stack, or at a constant."""
    while isinstance(pointer, (ir.instructions.GEPInstr, ir.instructions.CastInstr)):
        if isinstance(pointer, ir.instructions.CastInstr) and pointer.opname != "bitcast":
            return False
        pointer = pointer.operands[0]
    if isinstance(pointer, ir.Argument):
        return pointer.name.startswith(_RESULTS)
    return isinstance(pointer, (ir.instructions.AllocaInstr, ir.GlobalValue, ir.Constant))


def _bytes(kind: Any) -> int:
    """Return how many bytes a value of an LLVM type takes in memory."""
    if isinstance(kind, ir.IntType):
        return -(-kind.width // 8)
    if isinstance(kind, ir.FloatType):
        return 4
    if isinstance(kind, (ir.DoubleType, ir.PointerType)):
        return 8
    if isinstance(kind, (ir.VectorType, ir.ArrayType)):
        return int(kind.count) * _bytes(kind.element)
    raise NotImplementedError(f"an access to a {kind} is not checked")


def _insert(builder: Any, module: Any, site: Any, pointer: Any, size: int, write: int) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_WORD] * 4)
    check = module.globals.get(CHECK) or ir.Function(module, kind, CHECK)
    address = builder.ptrtoint(pointer, _WORD)
    where = builder.ptrtoint(site, _WORD)
    builder.call(check, [address, _WORD(size), where, _WORD(write)])


def _site(module: Any, name: str) -> Any:
    """Return the name of a function as a constant of the module."""
    text = bytearray(readable(name).encode() + b"\0")
    constant = ir.Constant(ir.ArrayType(ir.IntType(8), len(text)), text)
    site = ir.GlobalVariable(module, constant.type, f".site.{name}")
    site.linkage, site.global_constant, site.initializer = "internal", True, constant
    return site


def readable(name: str) -> str:
    """Return the dotted name of a function whose name in LLVM Numba has made."""
    if not name.startswith("_ZN"):
        return name
    parts, at = [], 3
    while match := _LENGTH.match(name, at):
        at = match.end() + int(match[0])
        parts.append(name[match.end() : at])
    return ".".join(parts).replace("_3clocals_3e", "<locals>")
