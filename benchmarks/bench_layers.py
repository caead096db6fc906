"""Layers in training: forward, backward and the update, each alone.

Every figure is of 100 batches of 64 rows, float32, relu, plain SGD, one thread.
"""

from __future__ import annotations

BATCH, BATCHES = 64, 100
# inputs x units -> the layer's place in the widths of a network
HIDDEN = {"128 x 128": (1, (16, 128, 128, 10)), "512 x 512": (1, (16, 512, 512, 10))}
LAYERS = {"784 x 128, first": (0, (784, 128, 10)), **HIDDEN}


class _Layer:
    """A phase of a step that the engine repeats."""

    kind = ""
    param_names = ["layer"]

    def setup(self, name: str) -> None:
        """Train an epoch, and keep the phase alone; see phases.py."""
        from phases import repeated_phase

        self.run = repeated_phase(self.kind, *LAYERS[name], BATCH, BATCHES)


class Forward(_Layer):
    """X W + b and its relu; a first layer reads the caller's rows, shuffled, in place."""

    kind = "forward"
    params = list(LAYERS)

    def time_batches(self, name: str) -> None:
        """Seconds of 100 batches."""
        self.run()


class Backward(_Layer):
    """The derivative of the loss by a layer's inputs, times the derivative of the layer before."""

    kind = "backward"
    params = list(HIDDEN)

    def time_batches(self, name: str) -> None:
        """Seconds of 100 batches."""
        self.run()


class Update(_Layer):
    """W -= rate X^T delta, and the bias; with the transposed copy of W where one is kept."""

    kind = "update"
    params = list(LAYERS)

    def time_batches(self, name: str) -> None:
        """Seconds of 100 batches."""
        self.run()
