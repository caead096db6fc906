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
