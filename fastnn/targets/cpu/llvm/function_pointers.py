"""Calls of compiled code by its address: how kernels reach a user-defined rule.

The kernels are compiled once for all networks; a user-defined rule is compiled by itself
(see `fastnn.targets.cpu.user_rules`), and the plan has the address of two words: where its code is,
and where the numbers of its formula are. One call a tile costs nothing. Where Numba is switched off
`registered` keeps a function under that address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

registered: dict[int, Callable[..., Any]] = {}


def _call(context: Any, builder: Any, result: Any, kinds: Any, args: Any) -> Any:
    """Call the function of which args[0] is the address of the two words.

    It gets a pointer to the numbers of its formula, first, in place of the last argument, `alpha`,
    which is that of built-in rules. Of an array it gets a pointer to its numbers.
    """
    values = [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(kinds[1:-1], args[1:-1], strict=True)
    ]
    words = builder.inttoptr(args[0], _WORD.as_pointer())
    code, constants = (builder.load(builder.gep(words, [_WORD(place)])) for place in range(2))
    numbers = context.get_value_type(kinds[-1]).as_pointer()
    values.insert(0, builder.inttoptr(constants, numbers))
    function = ir.FunctionType(result, [value.type for value in values])
    return builder.call(builder.inttoptr(code, function.as_pointer()), values)


def _procedure(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    _call(context, builder, ir.VoidType(), signature.args, args)
    return context.get_dummy_value()


def _number(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    result = context.get_value_type(signature.return_type)
    return _call(context, builder, result, signature.args, args)


_INT, _WORD = types.int64, ir.IntType(64)


@intrinsic
def _call_activate(typingctx, address, memory, at, count, alpha):
    return types.void(_INT, memory, _INT, _INT, memory.dtype), _procedure


@intrinsic
def _call_multiply_derivative(typingctx, address, memory, z_at, a_at, d_at, count, alpha):
    return types.void(_INT, memory, *[_INT] * 4, memory.dtype), _procedure


@intrinsic
def _call_loss(typingctx, address, memory, p_at, y_at, to, count, alpha):
    return types.void(_INT, memory, *[_INT] * 4, memory.dtype), _procedure


@intrinsic
def _call_gradient(typingctx, address, p, y, alpha):
    return p(_INT, p, p, p), _number


@intrinsic
def _call_row_losses(
    typingctx, address, memory, p_at, y_at, d_at, to, scratch, rows, r0, r1, alpha
):
    return types.void(_INT, memory, *[_INT] * 8, memory.dtype), _procedure


@intrinsic
def _call_sum(typingctx, address, begins, needs):
    """Call a function of the host that takes two int64 and returns one."""

    def codegen(context, builder, signature, args):
        function = ir.FunctionType(_WORD, [_WORD, _WORD])
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return _INT(_INT, _INT, _INT), codegen


def _python_call(address: Any, *arguments: Any) -> Any:
    return registered[int(address)](*arguments)


if config.DISABLE_JIT:
    call_activate = call_multiply_derivative = call_loss = call_gradient = _python_call
    call_row_losses = call_sum = _python_call
else:
    call_activate, call_multiply_derivative = _call_activate, _call_multiply_derivative
    call_loss, call_gradient, call_row_losses = _call_loss, _call_gradient, _call_row_losses
    call_sum = _call_sum
