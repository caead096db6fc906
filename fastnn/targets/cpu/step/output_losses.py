"""From z = x . w + b of a batch to losses and dL/dz, of a model of one output and one layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.rules.table import ACTIVATION_CODES
from fastnn.targets.cpu.arguments import ADDRESS, ROW_STRIDE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import load_float32, load_float64
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import (
    ACTIVATION,
    DELTA,
    LOSS,
    NEEDS_Z,
    OUTPUT,
    OWN_DERIVATIVE,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_VALUE,
    ROW_SCALE,
    TARGETS,
    WEIGHTED,
    Z,
)
from fastnn.targets.cpu.scalars import INVERSE_WEIGHT
from fastnn.targets.cpu.step.between_steps import end_loss
from fastnn.targets.cpu.step.single_rows import LOSS_ALPHA
from fastnn.targets.cpu.views import (
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    row_loss_of,
    strided_of,
    weights_of,
)

IDENTITY = ACTIVATION_CODES["identity"]


def make_output_losses(dtype: np.dtype, rules: Any) -> Any:
    """Return ``output_losses(job, step, first, samples)`` for one dtype.

    It brings in targets and weights of a batch whose z are where its outputs will be, writes
    outputs, losses and derivatives by z, and returns whether all losses are finite.
    """
    real = dtype.type
    zero = real(0)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    activate, multiply_derivative = rules.activate, rules.multiply_derivative
    losses, loss_gradients = rules.losses, rules.loss_gradients
    own_load = load_float64 if dtype.itemsize == 8 else load_float32

    @njit(**EXACT)
    def bring_in(job, first, samples):
        """Bring in the target of each row, and its share in the mean."""
        memory, head, strided, order, weights = (
            memory_of(job),
            head_of(job),
            strided_of(job),
            order_of(job),
            weights_of(job),
        )
        inverse_weight = numbers_of(job)[U(INVERSE_WEIGHT)]
        for r in range(samples):
            row = order[U(first + r)]
            target = strided[1, ADDRESS] + row * strided[1, ROW_STRIDE]
            memory[U(head[TARGETS] + r)] = own_load(target)
            weight = weights[U(row)] if head[WEIGHTED] == 1 else 1.0
            memory[U(head[ROW_SCALE] + r)] = real(weight * inverse_weight)

    @njit(**EXACT)
    def leave_out(memory, scale, d, samples):
        """Give rows of weight 0 no derivative, whatever that of their loss is."""
        for r in range(samples):
            if memory[U(scale + r)] == zero:
                memory[U(d + r)] = zero

    @njit(**EXACT)
    def output_losses(job, step, first, samples):
        memory, alphas, head, layers, row_loss = (
            memory_of(job),
            alphas_of(job),
            head_of(job),
            layers_of(job),
            row_loss_of(job),
        )
        p, y, d, scale = layers[0, OUTPUT], head[TARGETS], layers[0, DELTA], head[ROW_SCALE]
        alpha, named = alphas[LOSS_ALPHA], layers[0, ACTIVATION]
        bring_in(job, first, samples)
        if named != IDENTITY:
            if layers[0, NEEDS_Z] == 1:
                for r in range(samples):
                    memory[U(layers[0, Z] + r)] = memory[U(p + r)]
            activate(named, layers[0, OWN_VALUE], memory, p, samples, alphas[0])
        losses(head[LOSS], head[OWN_LOSSES], memory, p, y, d, samples, alpha)
        for r in range(samples):
            row_loss[U(r)] = memory[U(d + r)]
        loss_gradients(head[LOSS], head[OWN_LOSS_GRADIENTS], memory, p, y, d, samples, alpha)
        for r in range(samples):
            memory[U(d + r)] *= memory[U(scale + r)]
        if head[WEIGHTED] == 1:
            leave_out(memory, scale, d, samples)
        if not end_loss(job, step, samples):
            return False
        if named != IDENTITY:
            multiply_derivative(
                named, layers[0, OWN_DERIVATIVE], memory, layers[0, Z], p, d, samples, alphas[0]
            )
        return True

    return output_losses
