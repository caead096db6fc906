"""JAX: the whole epoch, with its gathers, in one jitted lax.scan."""

from __future__ import annotations

from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from workloads import Data, Parameters, Workload

Tree = list[tuple[jax.Array, jax.Array]]
State = tuple[Tree, Tree | None]  # parameters, and velocities where there is momentum


def loss(parameters: Tree, X: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of the rows, binary where there is one output."""
    a = X
    for W, b in parameters[:-1]:
        a = jax.nn.relu(a @ W + b)
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
        parameters, velocities = state
        value, direction = jax.value_and_grad(loss)(parameters, X[rows], y[rows])
        if velocities is not None:
            direction = velocities = jax.tree.map(
                lambda v, g: workload.momentum * v + g, velocities, direction
            )
        parameters = jax.tree.map(
            lambda w, d: w - workload.learning_rate * d, parameters, direction
        )
        return (parameters, velocities), value * rows.size

    full = len(X) // workload.batch * workload.batch
    state, losses = lax.scan(step, state, order[:full].reshape(-1, workload.batch))
    total = losses.sum()
    if full < len(X):
        state, last = step(state, order[full:])
        total += last
    return state, total / len(X)


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
        velocities = jax.tree.map(jnp.zeros_like, parameters) if workload.momentum else None
        self.state: State = (parameters, velocities)
        self.generator = np.random.default_rng(0)
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
