"""From z = x . w + b of a batch to losses and dL/dz, of a model of one output and one layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import (
    ACTIVATION,
    IDENTITY,
    LOSS,
    OWN_DERIVATIVE,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_VALUE,
    ROW_SCALE,
    TARGETS,
)
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.scalars import INVERSE_WEIGHT
from fastnn.targets.cpu.step.between_steps import end_loss
from fastnn.targets.cpu.step.gather import make_scale_rows
from fastnn.targets.cpu.step.single_rows import LOSS_ALPHA, make_target_of
from fastnn.targets.cpu.views import (
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    row_loss_of,
)
from fastnn.targets.fields import DELTA, NEEDS_Z, OUTPUT, WEIGHTED, Z


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
    target_of, scale_rows = make_target_of(dtype), make_scale_rows(dtype)

    @njit(**EXACT)
    def leave_out(memory, scale, d, samples):
        """Give rows of weight 0 no derivative, whatever that of their loss is."""
        for r in range(samples):
            if memory[U(scale + r)] == zero:
                memory[U(d + r)] = zero

    @njit(**EXACT)
    def output_losses(job, step, first, samples):
        memory, alphas, head, layers, order, row_loss = (
            memory_of(job),
            alphas_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            row_loss_of(job),
        )
        p, y, d, scale = layers[0, OUTPUT], head[TARGETS], layers[0, DELTA], head[ROW_SCALE]
        alpha, named = alphas[LOSS_ALPHA], layers[0, ACTIVATION]
        for r in range(samples):
            memory[U(y + r)] = target_of(job, order[U(first + r)])
        scale_rows(job, first, ZERO, samples, numbers_of(job)[U(INVERSE_WEIGHT)])
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
