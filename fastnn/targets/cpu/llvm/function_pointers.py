"""Calls of compiled code by its address: how kernels reach a user-defined rule.

The kernels are compiled once for all networks; a user-defined rule is compiled by itself
(see `fastnn.targets.cpu.user_rules`), and the plan has its address. One call a tile costs nothing.
Where Numba is switched off an address is the number under which `registered` keeps a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

registered: dict[int, Callable[..., Any]] = {}


def _call(context: Any, builder: Any, result: Any, kinds: Any, args: Any) -> Any:
    """Call the function at the address args[0]; of an array it gets a pointer to its numbers."""
    values = [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(kinds[1:], args[1:], strict=True)
    ]
    function = ir.FunctionType(result, [value.type for value in values])
    return builder.call(builder.inttoptr(args[0], function.as_pointer()), values)


def _procedure(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    _call(context, builder, ir.VoidType(), signature.args, args)
    return context.get_dummy_value()


def _number(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    result = context.get_value_type(signature.return_type)
    return _call(context, builder, result, signature.args, args)


_INT = types.int64


@intrinsic
def _call_activate(typingctx, address, memory, at, count, alpha):
    return types.void(_INT, memory, _INT, _INT, memory.dtype), _procedure


@intrinsic
def _call_multiply_derivative(typingctx, address, memory, z_at, a_at, d_at, count, alpha):
    return types.void(_INT, memory, *[_INT] * 4, memory.dtype), _procedure


@intrinsic
def _call_loss(typingctx, address, memory, p_at, y_at, to, count):
    return types.void(_INT, memory, *[_INT] * 4), _procedure


@intrinsic
def _call_gradient(typingctx, address, p, y):
    return p(_INT, p, p), _number


def _python_call(address: Any, *arguments: Any) -> Any:
    return registered[int(address)](*arguments)


if config.DISABLE_JIT:
    call_activate = call_multiply_derivative = call_loss = call_gradient = _python_call
else:
    call_activate, call_multiply_derivative = _call_activate, _call_multiply_derivative
    call_loss, call_gradient = _call_loss, _call_gradient
