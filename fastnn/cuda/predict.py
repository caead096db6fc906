"""The forward pass alone: blocks of threads that each take some rows at a time."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastnn.cuda.block import make_operations
from fastnn.cuda.device import U, cuda, kernel
from fastnn.cuda.plan import BATCH, LAYERS, LDN, OUTPUT, OUTPUTS, ROWWISE
from fastnn.cuda.rules import Recipe


@cache
def make_kernel(recipe: Recipe) -> Any:
    """Return the kernel ``predict`` for a recipe.

    It takes parameters (size,), scratch (blocks, scratch size), words and numbers of a plan whose
    batch is what a block takes at a time, keys and order of any content, X (m, inputs) and outputs
    (m, outputs), which it fills. Block b does rows b batch, (b + blocks) batch, ...
    """
    o = make_operations(recipe)
    gather, forward, forward_rows, fill_ones = o.gather, o.forward, o.forward_rows, o.fill_ones

    def predict(parameters, scratch, words, numbers, keys, order, X, outputs):
        me, team, act = cuda.threadIdx.x, cuda.blockDim.x, scratch[U(cuda.blockIdx.x)]
        last, n, batch = words[0, LAYERS], words[0, OUTPUTS], words[0, BATCH]
        fill_ones(act, words, me, team)
        for first in range(cuda.blockIdx.x * batch, len(X), cuda.gridDim.x * batch):
            rows = min(batch, len(X) - first)
            cuda.syncthreads()
            gather(act, words, numbers, keys, X, order, rows, first, False, me, team)
            cuda.syncthreads()
            for layer in range(last):
                forward(parameters, act, words, numbers, keys, layer, rows, first, False, me, team)
                cuda.syncthreads()
                if words[1 + layer, ROWWISE] > 0:
                    forward_rows(act, words, numbers, keys, layer, rows, first, False, me, team)
                    cuda.syncthreads()
            for e in range(me, rows * n, team):
                r = e // n
                j = e - r * n
                outputs[U(first + r), U(j)] = act[U(words[last, OUTPUT] + r * words[last, LDN] + j)]

    return kernel(predict)
