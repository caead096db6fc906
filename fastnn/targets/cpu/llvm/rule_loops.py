"""The scalar rules compiled into loops, and the switch that picks a loop once a tile.

A rule becomes a loop over a contiguous run of numbers (a tile of a panel is one), which LLVM
vectorises. The switches compare codes outside of the loops, so they cost a few nanoseconds a tile.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules import activations, losses, updates
from fastnn.rules.table import (
    ACTIVATION_CODES,
    ACTIVATIONS,
    CUSTOM,
    LOSS_CODES,
    LOSSES,
    UPDATE_CODES,
    UPDATES,
)
from fastnn.targets.cpu.llvm.function_pointers import (
    call_activate,
    call_loss,
    call_multiply_derivative,
)
from fastnn.targets.cpu.llvm.inner import njit

# Numba lets a signed index count from the end, a test at each access; an unsigned one cannot.
U = np.uint64
# Products may be fused into sums, but no sum may be reordered ("reassoc"): its bits would depend on
# what LLVM inlines it into, and on how wide a vector LLVM chooses there.
EXACT: Any = {"fastmath": {"contract"}, "error_model": "numpy", "_nrt": False}
# For functions called from one place: Numba would compile each by itself, and all that it calls
# again with it, once for every level of calls.
MERGED: Any = {**EXACT, "inline": "always"}
# A rule that is called from several loops would become a function, and no loop would be vectorised.
INLINE: Any = {**EXACT, "forceinline": True}


@njit(**{**INLINE, "fastmath": False})
def rounded_product(one, other):
    """Return a product that is rounded, whatever it is added to: no fused multiply-add."""
    return one * other


def switch(loops: list[tuple[int, Any]], arguments: str, call: Any = None) -> Any:
    """Return ``pick(code, *arguments)`` that calls the loop of that code.

    The chain of comparisons is generated, for Numba has no tables of functions that it can inline.
    A loop of several codes is called from one place, so that it is compiled once. With `call`
    it is ``pick(code, own, *arguments)``: for a user-defined rule it does
    ``call(own, *arguments)``, where `own` says where its loop is (see `function_pointers`).
    """
    lines = [f"def pick(code, {arguments}):"]
    namespace: dict[str, Any] = {}
    for loop in dict.fromkeys(loop for _, loop in loops):
        codes = [code for code, other in loops if other is loop]
        test = " or ".join(f"code == {code}" for code in codes)
        name = f"loop{len(namespace)}"
        lines.append(f"    if {test}: {name}({arguments})")
        namespace[name] = loop
    if call is not None:
        lines[0] = f"def pick(code, own, {arguments}):"
        lines.append(f"    if code == {CUSTOM}: call(own, {arguments})")
        namespace["call"] = call
    exec("\n".join(lines), namespace)
    return njit(**EXACT)(namespace["pick"])


def _activate_loop(rule: Any, real: Any, elementary: Any) -> Any:
    value, zero = njit(**INLINE)(rule(real, elementary)[0]), real(0)

    @njit(**EXACT)
    def activate(memory, at, count, alpha):
        for i in range(at, at + count):
            # Without the sum, LLVM would store only where a is not z, by masked stores, which are
            # slow on AMD's processors: they took 9 % of a small step with relu.
            memory[U(i)] = value(memory[U(i)], alpha) + zero

    return activate


def _derivative_loop(rule: Any, real: Any, elementary: Any) -> Any:
    derivative = njit(**INLINE)(rule(real, elementary)[1])

    @njit(**EXACT)
    def multiply_derivative(memory, z_at, a_at, d_at, count, alpha):
        for i in range(count):
            memory[U(d_at + i)] *= derivative(memory[U(z_at + i)], memory[U(a_at + i)], alpha)

    return multiply_derivative


def _loss_loop(function: Any) -> Any:
    """Return loop(memory, p_at, y_at, to, count, alpha): function(p, y, alpha) of each output."""

    @njit(**EXACT)
    def loop(memory, p_at, y_at, to, count, alpha):
        # In place is a loop of its own: of one for both LLVM would vectorise what is not in place.
        if to == p_at:
            for i in range(count):
                memory[U(p_at + i)] = function(memory[U(p_at + i)], memory[U(y_at + i)], alpha)
            return
        for i in range(count):
            memory[U(to + i)] = function(memory[U(p_at + i)], memory[U(y_at + i)], alpha)

    return loop


def losses_loop(rule: Any, real: Any, elementary: Any) -> Any:
    """Return losses(memory, p_at, y_at, to, count, alpha): the loss of each output."""
    return _loss_loop(njit(**INLINE)(rule(real, elementary)[0]))


def _loss_gradients_loop(rule: Any, real: Any, elementary: Any) -> Any:
    gradient = loss_gradient(rule, real, elementary)

    @njit(**EXACT)
    def loop(memory, p_at, y_at, to, count, alpha):
        for i in range(count):
            memory[U(to + i)] = gradient(memory[U(p_at + i)], memory[U(y_at + i)], alpha)

    return loop


def loss_gradient(rule: Any, real: Any, elementary: Any) -> Any:
    """Return gradient(p, y, alpha), of one number."""
    return njit(**INLINE)(rule(real, elementary)[1])


_ACTIVATION_LOOPS = _activate_loop, _derivative_loop
# Whose compiled loops are those of another: rrelu predicts as leaky_relu does that has the mean of
# its slopes for alpha, and hardmax has the derivative of step.
ALIKE = {"rrelu": "leaky_relu", "hardmax": "step"}

# What is made of a rule, as (rule, real, elementary) -> function. What built-in rules have for
# `alpha`, user-defined ones have for all numbers of their formula, as a tuple.
LOOPS: dict[str, Any] = {
    "activate": _activate_loop,
    "multiply_derivative": _derivative_loop,
    "losses": losses_loop,
    "loss_gradients": _loss_gradients_loop,
    "gradient": loss_gradient,
}


def _update_loop(rule: Any, real: Any, elementary: Any, slots: int) -> Any:
    step, zero = njit(**INLINE)(rule(real, elementary)), real(0)
    shrunk = njit(**INLINE)(updates.soft_threshold(real))

    @njit(**EXACT)
    def update(
        memory, w_at, g_at, s_at, t_at, count, threshold, l2, lr, b1, r1, b2, r2, eps, shrink,
        c1, c2, c3,
    ):  # fmt: skip
        for i in range(count):
            w = memory[U(w_at + i)]
            g = memory[U(g_at + i)] + l2 * w
            s = memory[U(s_at + i)] if slots > 0 else zero
            t = memory[U(t_at + i)] if slots > 1 else zero
            w, s, t = step(w, g, s, t, lr, b1, r1, b2, r2, eps, shrink, c1, c2, c3)
            memory[U(w_at + i)] = shrunk(w, threshold)
            if slots > 0:
                memory[U(s_at + i)] = s
            if slots > 1:
                memory[U(t_at + i)] = t

    return update


def make_average(dtype: np.dtype) -> Any:
    """Return ``average(memory, at, mean, count, share)``: take weights at `at` into their mean."""
    averaged = njit(**INLINE)(updates.mean_of_weights(dtype.type))

    @njit(**EXACT)
    def average(memory, at, mean, count, share):
        for i in range(count):
            memory[U(mean + i)] = averaged(memory[U(mean + i)], memory[U(at + i)], share)

    return average


def make_clip(dtype: np.dtype) -> Any:
    """Return ``clip(memory, at, gradient, to, count, l2, limit)``.

    It writes the gradient with that of the l2 penalty to `to`, each number between -limit and
    limit. NaN stays NaN.
    """

    @njit(**EXACT)
    def clip(memory, at, gradient, to, count, l2, limit):
        for i in range(count):
            g = memory[U(gradient + i)] + l2 * memory[U(at + i)]
            g = limit if g > limit else g
            memory[U(to + i)] = -limit if g < -limit else g

    return clip


def make_rules(dtype: np.dtype, elementary: SimpleNamespace) -> SimpleNamespace:
    """Return the switches for one dtype.

    activate(code, own, memory, at, count, alpha): a = value(z) in place.
    multiply_derivative(code, own, memory, z_at, a_at, d_at, count, alpha): d *= da/dz, in place.
    losses, loss_gradients(code, own, memory, p_at, y_at, to, count): write the loss of each output,
    or its derivative.
    update(code, memory, w_at, g_at, s_at, t_at, count, threshold, l2, hyperparameters...).
    """
    real = dtype.type
    names = [
        n for n, row in ACTIVATIONS.items() if not (row.rowwise or row.trainable or n == "identity")
    ]
    pairs = {
        n: tuple(make(getattr(activations, n), real, elementary) for make in _ACTIVATION_LOOPS)
        for n in names
        if n not in ALIKE
    }
    elementwise = [name for name, row in LOSSES.items() if not row.rowwise]
    rules_of_losses = [getattr(losses, name) for name in elementwise]

    def of_losses(make: Any) -> Any:
        of_rule = {rule: make(rule, real, elementary) for rule in dict.fromkeys(rules_of_losses)}
        loops = [
            (LOSS_CODES[n], of_rule[rule])
            for n, rule in zip(elementwise, rules_of_losses, strict=True)
        ]
        return switch(loops, "memory, p_at, y_at, to, count, alpha", call_loss)

    # The mean of the weights is taken after the loop: see `make_average`.
    kinds = {n: (getattr(updates, n), row.slots - row.mean) for n, row in UPDATES.items()}
    update_loops = {
        kind: _update_loop(kind[0], real, elementary, kind[1])
        for kind in dict.fromkeys(kinds.values())
    }
    return SimpleNamespace(
        activate=switch(
            [(ACTIVATION_CODES[n], pairs[ALIKE.get(n, n)][0]) for n in names],
            "memory, at, count, alpha",
            call_activate,
        ),
        multiply_derivative=switch(
            [(ACTIVATION_CODES[n], pairs[ALIKE.get(n, n)][1]) for n in [*names, "hardmax"]],
            "memory, z_at, a_at, d_at, count, alpha",
            call_multiply_derivative,
        ),
        losses=of_losses(losses_loop),
        loss_gradients=of_losses(_loss_gradients_loop),
        update=switch(
            [(code, update_loops[kinds[n]]) for n, code in UPDATE_CODES.items()],
            "memory, w_at, g_at, s_at, t_at, count, threshold, l2, "
            "lr, b1, r1, b2, r2, eps, shrink, c1, c2, c3",
        ),
    )
