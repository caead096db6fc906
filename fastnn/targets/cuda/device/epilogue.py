"""What follows a product: activation and dropout ahead, dropout and derivative on the way back.

What a layer needs for it is read once, into `Ahead` or `Back`, and then used for each number: read
for each, it would be the most of the work, for a compiler cannot know that no store changes it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from fastnn.targets.cuda.device.random import make_random
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.host.formulas import ALPHA, KEPT_FACTOR
from fastnn.targets.cuda.host.numba_cuda import U, inner, named
from fastnn.targets.cuda.host.plan import (
    CODE,
    DELTA,
    DRAWN,
    DROPS,
    INPUT,
    LAYERS,
    LDN,
    LDW,
    LDX,
    NEEDS_Z,
    OUTPUT,
    ROWWISE,
    THRESHOLD,
    TRAINABLE,
    WEIGHTS,
    K,
    N,
    Z,
)


class Drops(NamedTuple):
    """The dropout behind a layer.

    Attributes
    ----------
    active
        Whether numbers are dropped.
    key, threshold
        Of the draws.
    factor
        By which those that are kept are multiplied.
    """

    active: Any
    key: Any
    threshold: Any
    factor: Any


class Slopes(NamedTuple):
    """The parameter of a layer's activation.

    Attributes
    ----------
    alpha
        If it is one number for all.
    trainable
        Where the trainable ones begin among the parameters, or -1.
    drawn, key
        Whether they are drawn, and the key of the draws.
    constants
        Those of a formula.
    """

    alpha: Any
    trainable: Any
    drawn: Any
    key: Any
    constants: Any


class Ahead(NamedTuple):
    """What follows z in a layer; places are those in the scratch.

    Attributes
    ----------
    n, ldn
        Outputs, and numbers from one row to the next.
    code
        Of the activation, or -1.
    rowwise
        Whether the activation takes whole rows, later.
    z, output
        Where they go; z is -1 where nobody needs it.
    next, ldx
        Where the next layer has its inputs if dropout makes others of them, or -1.
    """

    n: Any
    ldn: Any
    code: Any
    rowwise: Any
    z: Any
    output: Any
    next: Any
    ldx: Any
    slopes: Slopes
    drops: Drops


class Back(NamedTuple):
    """What follows the derivative by an output of a layer; see `Ahead`.

    Attributes
    ----------
    delta
        Where the derivative by z goes.
    """

    n: Any
    ldn: Any
    code: Any
    z: Any
    output: Any
    delta: Any
    slopes: Slopes
    drops: Drops


def make_epilogue(recipe: Recipe, rules: SimpleNamespace) -> SimpleNamespace:
    """Return what follows a product, for the rules of a recipe.

    drops_behind(words, numbers, keys, layer, training) -> Drops; layer -1 is the data.
    dropped(drops, a, position) -> a, kept or not.
    ahead(words, numbers, keys, layer, training) -> Ahead.
    finish_forward(own, act, par, r, j, z, first): what follows z = (x W + b)[r, j].
    pass_on(own, act, r, j, a, first): the dropout before the next layer alone.
    back(words, numbers, keys, layer) -> Back.
    finish_backward(own, act, par, r, j, da, first): what follows da = dL/da[r, j], before the
    dropout behind the layer; dL/dz[r, j] goes to DELTA.
    finish_forward4(own, act, par, r, j, z, count, first), finish_backward4(...): likewise from
    column j, a multiple of 4, on; `count` of four numbers are there, and zeros are written behind.
    """
    dtype = np.dtype(recipe.dtype)
    real, no_key = dtype.type, np.uint64(0)
    zero, places, layer_constants = real(0), recipe.places, rules.layer_constants
    activate, derivative_of, random = rules.activate, rules.derivative, make_random(dtype)
    keeps, draw, vec4 = random.keeps, random.slope, make_vec4(dtype)
    load, store, only = vec4.load, vec4.store, vec4.first

    @inner
    def number_of(numbers, layer, field):
        return real(numbers[U(places.layers + layer * places.each + field)])

    @inner
    def drops_behind(words, numbers, keys, layer, training):
        active, key, threshold, factor = False, no_key, 0, zero
        if training and layer + 1 < words[0, LAYERS] and words[2 + layer, DROPS] == 1:
            active, key, threshold = True, keys[U(layer + 1)], words[2 + layer, THRESHOLD]
            factor = number_of(numbers, layer + 1, KEPT_FACTOR)
        return Drops(active, key, threshold, factor)

    @inner
    def slopes_in(words, numbers, keys, layer, training):
        word, trainable, key = 1 + layer, -1, no_key
        if words[word, TRAINABLE] == 1:
            trainable = words[word, WEIGHTS] + (words[word, K] + 1) * words[word, LDW]
        drawn = training and words[word, DRAWN] == 1
        if drawn:
            key = keys[U(words[0, LAYERS] + layer)]
        constants = layer_constants(numbers, layer)
        return Slopes(number_of(numbers, layer, ALPHA), trainable, drawn, key, constants)

    @inner
    def dropped(drops, a, position):
        if drops.active:
            kept = keeps(drops.key, position, drops.threshold)
            a = a * drops.factor if kept else a * zero
        return a

    @inner
    def slope_at(slopes, par, j, position):
        """Return the parameter of the activation for one output."""
        alpha = slopes.alpha
        if slopes.trainable >= 0:
            alpha = par[U(slopes.trainable + j)]
        if slopes.drawn:
            alpha = draw(slopes.key, position)
        return alpha

    @inner
    def ahead(words, numbers, keys, layer, training):
        word, following, ldx = 1 + layer, -1, 0
        if layer + 1 < words[0, LAYERS] and words[2 + layer, DROPS] == 1:
            following, ldx = words[2 + layer, INPUT], words[2 + layer, LDX]
        z = words[word, Z] if words[word, NEEDS_Z] == 1 else -1
        return Ahead(
            words[word, N], words[word, LDN], words[word, CODE], words[word, ROWWISE] > 0, z,
            words[word, OUTPUT], following, ldx,
            slopes_in(words, numbers, keys, layer, training),
            drops_behind(words, numbers, keys, layer, training),
        )  # fmt: skip

    @inner
    def pass_on(own, act, r, j, a, first):
        if own.next >= 0:
            a = dropped(own.drops, a, (first + r) * own.n + j)
            act[U(own.next + r * own.ldx + j)] = a

    @inner
    def activated(own, par, j, position, z):
        slope = slope_at(own.slopes, par, j, position)
        return activate(own.code, z, slope, own.slopes.constants)

    @inner
    def finish_forward(own, act, par, r, j, z, first):
        at = r * own.ldn + j
        if own.z >= 0:
            act[U(own.z + at)] = z
        a = z
        if own.code >= 0:
            a = activated(own, par, j, (first + r) * own.n + j, z)
        act[U(own.output + at)] = a
        if not own.rowwise:
            pass_on(own, act, r, j, a, first)

    @inner
    def dropped4(drops, a, position):
        if drops.active:
            a0, a1 = dropped(drops, a[0], position), dropped(drops, a[1], position + 1)
            a2, a3 = dropped(drops, a[2], position + 2), dropped(drops, a[3], position + 3)
            a = a0, a1, a2, a3
        return a

    @inner
    def finish_forward4(own, act, par, r, j, z, count, first):
        at, position, a = r * own.ldn + j, (first + r) * own.n + j, only(z, count)
        if own.z >= 0:
            store(act, own.z + at, a)
        if own.code >= 0:
            a0 = activated(own, par, j, position, z[0])
            a1 = activated(own, par, j + 1, position + 1, z[1])
            a2 = activated(own, par, j + 2, position + 2, z[2])
            a3 = activated(own, par, j + 3, position + 3, z[3])
            a = only((a0, a1, a2, a3), count)
        store(act, own.output + at, a)
        if own.next >= 0 and not own.rowwise:
            store(act, own.next + r * own.ldx + j, dropped4(own.drops, a, position))

    @inner
    def back(words, numbers, keys, layer):
        word = 1 + layer
        return Back(
            words[word, N], words[word, LDN], words[word, CODE], words[word, Z],
            words[word, OUTPUT], words[word, DELTA],
            slopes_in(words, numbers, keys, layer, True),
            drops_behind(words, numbers, keys, layer, True),
        )  # fmt: skip

    @inner
    def by_slope(da, z):
        """Return what the derivative by a trainable slope is, of which z then is no more needed."""
        return da * (z if z < zero else z * zero)

    @inner
    def times_derivative(own, par, j, position, da, z, a):
        slope = slope_at(own.slopes, par, j, position)
        return da * derivative_of(own.code, z, a, slope, own.slopes.constants)

    @inner
    def finish_backward(own, act, par, r, j, da, first):
        at, position = r * own.ldn + j, (first + r) * own.n + j
        da = dropped(own.drops, da, position)
        if own.code >= 0:
            a, z = act[U(own.output + at)], act[U(own.z + at)]
            if own.slopes.trainable >= 0:
                a = z  # a slope may be negative, so the sign of a says nothing
                act[U(own.z + at)] = by_slope(da, z)
            da = times_derivative(own, par, j, position, da, z, a)
        act[U(own.delta + at)] = da

    @inner
    def finish_backward4(own, act, par, r, j, da, count, first):
        at, position = r * own.ldn + j, (first + r) * own.n + j
        da = dropped4(own.drops, da, position)
        if own.code >= 0:
            a, z = load(act, own.output + at), load(act, own.z + at)
            if own.slopes.trainable >= 0:
                a = z
                d0, d1 = by_slope(da[0], z[0]), by_slope(da[1], z[1])
                d2, d3 = by_slope(da[2], z[2]), by_slope(da[3], z[3])
                store(act, own.z + at, only((d0, d1, d2, d3), count))
            d0 = times_derivative(own, par, j, position, da[0], z[0], a[0])
            d1 = times_derivative(own, par, j + 1, position + 1, da[1], z[1], a[1])
            d2 = times_derivative(own, par, j + 2, position + 2, da[2], z[2], a[2])
            d3 = times_derivative(own, par, j + 3, position + 3, da[3], z[3], a[3])
            da = d0, d1, d2, d3
        store(act, own.delta + at, only(da, count))

    return named(
        drops_behind, dropped, ahead, finish_forward, finish_forward4, pass_on, back,
        finish_backward, finish_backward4,
    )  # fmt: skip
