"""The kinds of layers that have parameters, and what computes each."""

from __future__ import annotations

from fastnn.targets.numpy.layers import Kind, LinearKind
from fastnn.targets.numpy.normalization import BatchNormKind, LayerNormKind
from fastnn.targets.numpy.periodic import PeriodicKind

KINDS: dict[str, Kind] = {
    "Dense": LinearKind(),
    "LayerNorm": LayerNormKind(),
    "BatchNorm": BatchNormKind(),
    "Periodic": PeriodicKind(),
}
_ROUNDED = {precision: LinearKind(precision) for precision in ("tf32", "bfloat16")}


def kind_of(kind: str, precision: str) -> Kind:
    """Return what computes a kind of layer; the precision is that of products of matrices."""
    return _ROUNDED.get(precision, KINDS[kind]) if kind == "Dense" else KINDS[kind]
