"""The other libraries, imported when something is handed to them."""

from __future__ import annotations

from typing import Any

from fastnn.errors import importing


def import_torch() -> Any:
    """Return the module `torch`.

    Raises
    ------
    MissingExtra
        PyTorch is not installed.
    """
    with importing("from_torch and to_torch need PyTorch, which", "pip install torch"):
        import torch
    return torch


def import_onnx() -> Any:
    """Return the module `onnx`.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    with importing("to_onnx writes with the package onnx, which", 'pip install "fastnn[onnx]"'):
        import onnx
    return onnx
