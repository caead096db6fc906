"""Compiled functions with names that say all that they depend on.

Numba names compiled code after module, qualified name, argument types and a number that counts the
functions of the process that compiles. What a closure captures is in none of these, so two entry
points cached by two processes may hold different functions under one name, and a process that loads
both links the first one's code into both (numba issue 10486). Here a hash of everything captured
goes into the qualified name.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic


def _names(code: types.CodeType) -> set[str]:
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _captured(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return what a function reads that is not its own: free variables, and globals."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    used = _names(function.__code__)
    outer = [(name, function.__globals__[name]) for name in used if name in function.__globals__]
    return sorted([(name, cell.cell_contents) for name, cell in cells] + outer, key=lambda p: p[0])


def _describe(value: Any) -> str:
    if isinstance(value, Dispatcher):
        function = value.py_func
        return f"{function.__module__}.{function.__qualname__}"  # says it all already
    if isinstance(value, _Intrinsic):
        return _describe(value._defn)
    if isinstance(value, types.FunctionType):
        inside = [f"{name}={_describe(each)}" for name, each in _captured(value)]
        return f"{value.__module__}.{value.__qualname__}({', '.join(inside)})"
    if isinstance(value, types.SimpleNamespace):
        return str([(name, _describe(each)) for name, each in sorted(vars(value).items())])
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, (tuple, list)):
        return str([_describe(each) for each in value])
    if isinstance(value, dict):
        return str([(name, _describe(each)) for name, each in value.items()])
    return f"{type(value).__name__} {value!r}"


# Nothing but compiled code calls these functions.
INNER: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit(**options: Any) -> Callable[[Any], Any]:
    """Compile as `numba.njit` does, under a name that a hash of everything captured ends."""

    def decorate(function: Any) -> Any:
        if numba.config.DISABLE_JIT:
            return function
        digest = hashlib.sha256(_describe(function).encode()).hexdigest()[:12]
        function.__qualname__ += f"_{digest}"
        return numba.njit(**{**INNER, **options})(function)

    return decorate
