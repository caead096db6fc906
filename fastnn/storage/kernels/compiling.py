"""Numba's compilation of one function, as the machine code of a C function.

The function takes integers and pointers. What Numba puts around it for Python is left away, and
names that count what a process has compiled are replaced, so that the same sources are the same
bytes.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, njit, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastnn.sanitizer import CHECKED
from fastnn.storage.kernels.machine import Processor, on_x86

if TYPE_CHECKING:
    from fastnn.storage.kernels.machine_code import Code

if CHECKED and not config.DISABLE_JIT:
    from fastnn.sanitizer.instrument import install

    install()

KINDS = {
    "int": types.int64,
    "words": types.CPointer(types.int64),
    "float32": types.float32,
    "float64": types.float64,
    "float32s": types.CPointer(types.float32),
    "float64s": types.CPointer(types.float64),
}
# What every C library has. All else that is needed has to be named, and found, when code is loaded.
_OF_C = ("memset", "memcpy", "memmove")
# What LLVM calls by names of its own becomes a call of the C library.
_OF_LIBM = re.compile(r"llvm\.(pow|exp|exp2|log|log2|log10|sin|cos)\.f(32|64)$")


def machine_code(
    function: Callable[..., Any],
    arguments: tuple[str, ...],
    name: str,
    identity: str,
    result: str | None = None,
) -> Code:
    """Return the code of ``name(*arguments)`` for the processor that Numba compiles for.

    Parameters
    ----------
    function
        Takes a pointer for each argument that is one; see `as_array`.
    arguments
        Keys of `KINDS`; "float32s" are a pointer to such.
    name
        Of the function in the object file.
    identity
        See `fastnn.storage.kernels.machine_code.Code`.
    result
        What it returns, a key of `KINDS`, or None.
    """
    with _own_settings():
        return code_of(compile_function(function, arguments), name, identity, result)


def compile_function(function: Callable[..., Any], arguments: tuple[str, ...]) -> Any:
    """Return Numba's compilation of a function of `arguments`, as `machine_code` takes them."""
    signature = tuple(KINDS[each] for each in arguments)
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    with _own_settings(), _unloaded():
        dispatcher = njit(error_model="numpy", _nrt=False, **options)(function)
        dispatcher.compile(signature)
    return dispatcher.overloads[signature]


class _Library(JITCodeLibrary):
    """What Numba has optimised of a function: to be linked into others, not to be run."""

    def _finalize_specific(self) -> None:
        """Leave away the machine code."""


class _Codegen(JITCPUCodegen):
    _library_class = _Library

    def _add_module(self, module: Any) -> None:
        """Leave a module out of what Numba runs."""


@contextmanager
def _unloaded() -> Iterator[None]:
    """Have Numba make no machine code of what it compiles: a quarter of the time, for nothing.

    It would of each inner function, all that this calls included.
    """
    context = cpu_target.target_context

    def get_executable(library: Any, fndesc: Any, env: Any) -> Any:
        library.finalize()
        return [].append  # a function of C's, as Numba wants one, that is this library's alone

    before, context._internal_codegen = context._internal_codegen, _Codegen("fastnn")
    context.get_executable = get_executable
    try:
        yield
    finally:
        context._internal_codegen = before
        del context.get_executable


def code_of(compiled: Any, name: str, identity: str, result: str | None = None) -> Code:
    """Return the code of what `compile_function` returned; see `machine_code`."""
    # Here, for an edit of what loads code does not change what is compiled.
    from fastnn.storage.kernels.machine_code import Code

    module = llvm.parse_assembly(compiled.library.get_llvm_str())
    module.link_in(llvm.parse_assembly(_entrance(compiled, name, result)))
    machine = _machine()
    _strip(module, machine, name)
    declared = [each.name for each in module.functions if each.is_declaration]
    needs = [name for name in declared if not name.startswith("llvm.") and name not in _OF_C]
    needs += [
        f"{each[1]}{'f' * (each[2] == '32')}" for each in map(_OF_LIBM.match, declared) if each
    ]
    return Code(name, identity, tuple(needs), machine.emit_object(module))


@intrinsic
def _as_array(typingctx, pointer):
    """Return the numbers at a pointer as an array, whose length nobody asks for."""
    array_type = types.Array(pointer.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        array = context.make_array(array_type)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(pointer.dtype))
        length, itemsize = ir.Constant(ir.IntType(64), 1), ir.Constant(ir.IntType(64), size)
        populate_array(
            array, data=args[0], shape=[length], strides=[itemsize], itemsize=itemsize, meminfo=None
        )
        return array._getvalue()

    return array_type(pointer), codegen


def _python_as_array(array: Any) -> Any:
    return array  # of one dimension


as_array = _python_as_array if config.DISABLE_JIT else _as_array


@contextmanager
def numba_for(made_for: Processor) -> Iterator[None]:
    """Have Numba compile for a processor, if it has not compiled anything in this process yet."""
    before = config.CPU_NAME, config.CPU_FEATURES
    config.CPU_NAME, config.CPU_FEATURES = made_for.cpu, made_for.features
    try:
        yield
    finally:
        config.CPU_NAME, config.CPU_FEATURES = before


# Indices would be checked of arrays whose length nobody knows; code for debuggers is other code.
_SETTINGS = {"BOUNDSCHECK": 0, "DEBUGINFO_DEFAULT": 0, "ENABLE_PROFILING": 0}


@contextmanager
def _own_settings() -> Iterator[None]:
    """Compile alike whatever the user has set for Numba, and leave garbage alone meanwhile.

    It would be looked for during a third of the time. No other thread compiles meanwhile.
    """
    with global_compiler_lock:
        collecting = gc.isenabled()
        before = {name: getattr(config, name) for name in _SETTINGS}
        gc.disable()
        vars(config).update(_SETTINGS)
        try:
            yield
        finally:
            vars(config).update(before)
            if collecting:
                gc.enable()


def _machine() -> Any:
    """Return the machine that Numba compiles for, with the options that Numba has for it.

    Code of x86 is of LLVM's large model: its sections may lie anywhere when it is loaded.
    """
    features = config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=config.CPU_NAME or llvm.get_host_cpu_name(),
        features=features,
        opt=3 if str(config.OPT) in ("", "max") else int(config.OPT),
        reloc="static" if on_x86() else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _entrance(compiled: Any, name: str, result: str | None) -> str:
    """Return LLVM code of the C function that calls what Numba compiled."""
    context, fndesc = compiled.target_context, compiled.fndesc
    kinds = [context.get_value_type(each) for each in fndesc.argtypes]
    module = ir.Module(name)
    module.triple = llvm.get_process_triple()
    inner = context.call_conv.get_function_type(fndesc.restype, fndesc.argtypes)
    callee = ir.Function(module, inner, fndesc.llvm_func_name)
    returned = ir.VoidType() if result is None else context.get_value_type(KINDS[result])
    outer = ir.Function(module, ir.FunctionType(returned, kinds), name)
    builder = ir.IRBuilder(outer.append_basic_block())
    _, value = context.call_conv.call_function(
        builder, callee, fndesc.restype, fndesc.argtypes, outer.args
    )
    if result is None:
        builder.ret_void()
    else:
        builder.ret(value)
    return str(module)


def _strip(module: Any, machine: Any, name: str) -> None:
    """Leave `name` and what it calls, under names that say nothing of the process."""
    for each in [*module.functions, *module.global_variables]:
        if not each.is_declaration and each.name != name:
            each.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes.run(module, llvm.create_pass_builder(machine, options))
    module.name = "fastnn"
    inner = [
        each
        for each in [*module.functions, *module.global_variables]
        if not each.is_declaration and each.name != name
    ]
    for number, each in enumerate(inner):
        each.name = f"fastnn.{number}"
