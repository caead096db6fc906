"""The other libraries, imported when something is handed to them."""

from __future__ import annotations

from typing import Any

from fastnn.errors import MissingExtra


def import_torch() -> Any:
    """Return the module `torch`.

    Raises
    ------
    MissingExtra
        PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(
            f"from_torch and to_torch need PyTorch, which cannot be imported here ({error}); "
            "install it with: pip install torch"
        ) from error
    return torch


def import_onnx() -> Any:
    """Return the module `onnx`.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra(
            f"to_onnx writes with the package onnx, which cannot be imported here ({error}); "
            'install it with: pip install "fastnn[onnx]"'
        ) from error
    return onnx
