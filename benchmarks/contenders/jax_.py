"""JAX: the whole epoch, with its gathers, in one jitted lax.scan."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from workloads import Data, Parameters, Workload

Tree = list[tuple[jax.Array, jax.Array]]
# Parameters; velocities where there is momentum; with Adam the means of gradients and of squares,
# and the number of steps.
State = tuple[Tree, Any]
ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def loss(parameters: Tree, X: jax.Array, y: jax.Array, activation: str) -> jax.Array:
    """Return the mean cross-entropy of the rows, binary where there is one output."""
    a = X
    for W, b in parameters[:-1]:
        a = ACTIVATIONS[activation](a @ W + b)
    W, b = parameters[-1]
    z = a @ W + b
    if z.shape[1] == 1:
        return jnp.mean(jax.nn.softplus(z[:, 0]) - y * z[:, 0])
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0])


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def run_epoch(
    workload: Workload, state: State, order: jax.Array, X: jax.Array, y: jax.Array
) -> tuple[State, jax.Array]:
    """Return the state after an epoch and its mean loss.

    The last short batch is a step of its own, after the scan.
    """

    def step(state: State, rows: jax.Array) -> tuple[State, jax.Array]:
        parameters, kept = state
        value, direction = jax.value_and_grad(loss)(
            parameters, X[rows], y[rows], workload.activation
        )
        if workload.adam:
            direction, kept = adam(direction, kept)
        elif kept is not None:
            direction = kept = jax.tree.map(lambda v, g: workload.momentum * v + g, kept, direction)
        parameters = jax.tree.map(
            lambda w, d: w - workload.learning_rate * d, parameters, direction
        )
        return (parameters, kept), value * rows.size

    full = len(X) // workload.batch * workload.batch
    state, losses = lax.scan(step, state, order[:full].reshape(-1, workload.batch))
    total = losses.sum()
    if full < len(X):
        state, last = step(state, order[full:])
        total += last
    return state, total / len(X)


def adam(gradients: Tree, kept: Any) -> tuple[Tree, Any]:
    """Return the direction of a step of Adam (Kingma & Ba 2015) and its means."""
    means, squares, steps = kept
    steps += 1
    means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
    squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, squares, gradients)
    one, two = 1 - 0.9**steps, 1 - 0.999**steps
    direction = jax.tree.map(lambda m, v: m / one / (jnp.sqrt(v / two) + 1e-8), means, squares)
    return direction, (means, squares, steps)


class Contender:
    """Resident data and donated state, with the settings that were fastest.

    The order comes from NumPy, within the clock: jax.random.permutation in the jit takes 20 ms for
    60,000 rows on a CPU. Unrolling the scan, gathering before it, one-hot labels and XLA's flags
    gained nothing or lost.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        self.X = jnp.asarray(data.X)
        self.y = jnp.asarray(data.y, jnp.float32 if workload.binary else jnp.int32)
        parameters = [(jnp.array(W), jnp.array(b)) for W, b in start]
        zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
        kept = (*zeros, jnp.zeros((), jnp.float32)) if workload.adam else zeros[0]
        self.state: State = (parameters, kept if workload.adam or workload.momentum else None)
        self.generator = np.random.default_rng(workload.seed)
        self.workload = workload

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        seconds = []
        rows = np.arange(len(self.X), dtype=np.int32)
        for _ in range(epochs):
            start = perf_counter()
            order = self.generator.permutation(rows)
            self.state, value = run_epoch(self.workload, self.state, order, self.X, self.y)
            jax.block_until_ready((self.state, value))
            seconds.append(perf_counter() - start)
        return seconds

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        return [(np.array(W), np.array(b)) for W, b in self.state[0]]
