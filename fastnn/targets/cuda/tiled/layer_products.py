"""The matrix products of a step as kernels, each with what follows it done before it is stored.

They belong to `fastnn.targets.cuda.tiled.phases`, and take the same arguments.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastnn.targets.cuda.device.operations import make_operations
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.host.numba_cuda import U, inner, kernel
from fastnn.targets.cuda.host.plan import LDN, LDW, LDX
from fastnn.targets.cuda.tiled.gemm import make_gemm
from fastnn.targets.cuda.tiled.phases import make_place, make_work
from fastnn.targets.cuda.tiled.tiling import bounds_of
from fastnn.targets.fields import DELTA, INPUT, WEIGHTS, K, N


def by_four(precision: str) -> bool:
    """Return whether what follows a product is done four numbers at a time, not for float64.

    On tensor cores the sums are a smaller part of the work, and what follows them a larger one.
    Else threads have half as many registers: some rules would not leave enough for four numbers.
    """
    return precision != "float32"


@cache
def make_product(
    recipe: Recipe, precision: str, kind: str, tile: Any, training: bool, four: bool
) -> Any:
    """Return the kernel of one product of a step, which takes what `make_kernels` says.

    "forward" of a layer: Z = X W + b and the activation; "backward": the derivatives by z of the
    layer before it; "update": the gradient of W and the rule. `four`: see `by_four`.
    """
    o = make_operations(recipe)
    dtype = np.dtype(recipe.dtype)
    place, work_of = make_place(), make_work(training)
    ahead, finish_forward, finish_forward4 = o.ahead, o.finish_forward, o.finish_forward4
    back, finish_backward, finish_backward4 = o.back, o.finish_backward, o.finish_backward4
    learning, finish, finish4 = o.learning, o.finish, o.finish4
    vec4 = make_vec4(dtype)
    load, add4 = vec4.load, vec4.add4

    @inner
    def begin_forward(context, layer):
        job, clock = context
        work, at = work_of(job, clock, 0, 0), layer_of(job.words, layer)
        return ahead(work, layer), work, at.weights + at.k * at.ldw

    @inner
    def end_forward(begun, r, j, z):
        own, work, bias = begun
        finish_forward(own, work, r, j, z + work.par[U(bias + j)])

    @inner
    def end_forward4(begun, r, j, z, count):
        own, work, bias = begun
        finish_forward4(own, work, r, j, add4(z, load(work.par, bias + j)), count)

    @inner
    def begin_backward(context, layer):
        job, clock = context
        work = work_of(job, clock, 0, 0)
        return back(work, layer - 1), work

    @inner
    def end_backward(begun, r, i, da):
        own, work = begun
        finish_backward(own, work, r, i, da)

    @inner
    def end_backward4(begun, r, i, da, count):
        own, work = begun
        finish_backward4(own, work, r, i, da, count)

    @inner
    def begin_update(context, layer):
        job, clock = context
        work = work_of(job, clock, 0, 0)
        return learning(work, layer), work

    @inner
    def end_update(begun, i, j, g):
        own, work = begun
        finish(own, work, i, j, g)

    @inner
    def end_update4(begun, i, j, g, count):
        own, work = begun
        finish4(own, work, i, j, g, count)

    # C = A B of so many sums; of fields A, its rows' distance, B, and its rows' distance.
    form, begin, end, end4, sizes, fields = {
        "forward": (
            "nn", begin_forward, end_forward, end_forward4, lambda rows, k, n: (rows, n, k),
            (INPUT, LDX, WEIGHTS, LDW),
        ),
        "backward": (
            "nt", begin_backward, end_backward, end_backward4, lambda rows, k, n: (rows, k, n),
            (DELTA, LDN, WEIGHTS, LDW),
        ),
        "update": (
            "tn", begin_update, end_update, end_update4, lambda rows, k, n: (k, n, rows),
            (INPUT, LDX, DELTA, LDN),
        ),
    }[kind]  # fmt: skip
    gemm = make_gemm(form, dtype, precision, tile, begin, end, end4 if four else None)
    sizes, (a, lda, b, ldb), of_weights = inner(sizes), fields, kind != "update"

    def product(job, clock, parts, layer):
        if job.bad[0] < 0:
            _, _, rows = place(job.words, job.steps, clock)
            words, word = job.words, 1 + layer
            right = job.state[0] if of_weights else job.scratch[0]
            m, n, k = sizes(rows, words[word, K], words[word, N])
            gemm(
                job.scratch[0], right, (job, clock), layer, words[word, a], words[word, lda],
                words[word, b], words[word, ldb], m, n, k,
            )  # fmt: skip

    product.__name__ = kind
    bounds = bounds_of(dtype, tile)
    return kernel(product, kind, recipe, precision, tile, training, four, launch_bounds=bounds)
