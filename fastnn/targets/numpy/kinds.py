"""The kinds of layers that have parameters, and what computes each."""

from __future__ import annotations

from fastnn.network import BatchNorm, Dense, LayerNorm
from fastnn.targets.numpy.layers import Kind, LinearKind
from fastnn.targets.numpy.normalization import BatchNormKind, LayerNormKind

KINDS: dict[type, Kind] = {
    Dense: LinearKind(),
    LayerNorm: LayerNormKind(),
    BatchNorm: BatchNormKind(),
}
