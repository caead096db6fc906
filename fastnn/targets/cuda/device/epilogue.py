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
from fastnn.targets.cuda.device.work import Layer, layer_of
from fastnn.targets.cuda.host.formulas import ALPHA, KEPT_FACTOR
from fastnn.targets.cuda.host.numba_cuda import U, inner, named
from fastnn.targets.fields import LAYERS


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
    of
        The layer.
    z
        Where z goes, or -1 where nobody needs it.
    next, ldx
        Where the next layer has its inputs if dropout makes others of them, or -1.
    """

    of: Layer
    z: Any
    next: Any
    ldx: Any
    slopes: Slopes
    drops: Drops


class Back(NamedTuple):
    """What follows the derivative by an output of a layer; see `Ahead`."""

    of: Layer
    slopes: Slopes
    drops: Drops


def make_epilogue(recipe: Recipe, rules: SimpleNamespace) -> SimpleNamespace:
    """Return what follows a product, for the rules of a recipe; `work` is a `Work`.

    drops_behind(work, layer) -> Drops; layer -1 is the data.
    dropped(drops, a, position) -> a, kept or not.
    ahead(work, layer) -> Ahead.
    finish_forward(own, work, r, j, z): what follows z = (x W + b)[r, j].
    pass_on(own, work, r, j, a): the dropout before the next layer alone.
    back(work, layer) -> Back.
    finish_backward(own, work, r, j, da): what follows da = dL/da[r, j], before the dropout behind
    the layer; dL/dz[r, j] goes to DELTA.
    finish_forward4(own, work, r, j, z, count), finish_backward4(...): likewise from column j, a
    multiple of 4, on; `count` of four numbers are there, and zeros are written behind.
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
    def drops_behind(work, layer):
        active, key, threshold, factor = False, no_key, 0, zero
        if work.training and layer + 1 < work.words[0, LAYERS]:
            behind = layer_of(work.words, layer + 1)
            if behind.drops == 1:
                active, key, threshold = True, work.keys[U(layer + 1)], behind.threshold
                factor = number_of(work.numbers, layer + 1, KEPT_FACTOR)
        return Drops(active, key, threshold, factor)

    @inner
    def slopes_in(work, layer):
        at, trainable, key = layer_of(work.words, layer), -1, no_key
        if at.learns_slopes == 1:
            trainable = at.weights + (at.k + 1) * at.ldw
        drawn = work.training and at.drawn == 1
        if drawn:
            key = work.keys[U(work.words[0, LAYERS] + layer)]
        constants = layer_constants(work.numbers, layer)
        return Slopes(number_of(work.numbers, layer, ALPHA), trainable, drawn, key, constants)

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
    def ahead(work, layer):
        at, following, ldx = layer_of(work.words, layer), -1, 0
        if layer + 1 < work.words[0, LAYERS]:
            behind = layer_of(work.words, layer + 1)
            if behind.drops == 1:
                following, ldx = behind.input, behind.ldx
        z = at.z if at.needs_z == 1 else -1
        return Ahead(at, z, following, ldx, slopes_in(work, layer), drops_behind(work, layer))

    @inner
    def pass_on(own, work, r, j, a):
        if own.next >= 0:
            a = dropped(own.drops, a, (work.first + r) * own.of.n + j)
            work.act[U(own.next + r * own.ldx + j)] = a

    @inner
    def activated(own, par, j, position, z):
        slope = slope_at(own.slopes, par, j, position)
        return activate(own.of.code, z, slope, own.slopes.constants)

    @inner
    def finish_forward(own, work, r, j, z):
        at, act = r * own.of.ldn + j, work.act
        if own.z >= 0:
            act[U(own.z + at)] = z
        a = z
        if own.of.code >= 0:
            a = activated(own, work.par, j, (work.first + r) * own.of.n + j, z)
        act[U(own.of.output + at)] = a
        if not own.of.rowwise > 0:
            pass_on(own, work, r, j, a)

    @inner
    def dropped4(drops, a, position):
        if drops.active:
            a0, a1 = dropped(drops, a[0], position), dropped(drops, a[1], position + 1)
            a2, a3 = dropped(drops, a[2], position + 2), dropped(drops, a[3], position + 3)
            a = a0, a1, a2, a3
        return a

    @inner
    def finish_forward4(own, work, r, j, z, count):
        at, position, a = r * own.of.ldn + j, (work.first + r) * own.of.n + j, only(z, count)
        if own.z >= 0:
            store(work.act, own.z + at, a)
        if own.of.code >= 0:
            a0 = activated(own, work.par, j, position, z[0])
            a1 = activated(own, work.par, j + 1, position + 1, z[1])
            a2 = activated(own, work.par, j + 2, position + 2, z[2])
            a3 = activated(own, work.par, j + 3, position + 3, z[3])
            a = only((a0, a1, a2, a3), count)
        store(work.act, own.of.output + at, a)
        if own.next >= 0 and not own.of.rowwise > 0:
            store(work.act, own.next + r * own.ldx + j, dropped4(own.drops, a, position))

    @inner
    def back(work, layer):
        at = layer_of(work.words, layer)
        return Back(at, slopes_in(work, layer), drops_behind(work, layer))

    @inner
    def by_slope(da, z):
        """Return what the derivative by a trainable slope is, of which z then is no more needed."""
        return da * (z if z < zero else z * zero)

    @inner
    def times_derivative(own, par, j, position, da, z, a):
        slope = slope_at(own.slopes, par, j, position)
        return da * derivative_of(own.of.code, z, a, slope, own.slopes.constants)

    @inner
    def finish_backward(own, work, r, j, da):
        at, position, act = r * own.of.ldn + j, (work.first + r) * own.of.n + j, work.act
        da = dropped(own.drops, da, position)
        if own.of.code >= 0:
            a, z = act[U(own.of.output + at)], act[U(own.of.z + at)]
            if own.slopes.trainable >= 0:
                a = z  # a slope may be negative, so the sign of a says nothing
                act[U(own.of.z + at)] = by_slope(da, z)
            da = times_derivative(own, work.par, j, position, da, z, a)
        act[U(own.of.delta + at)] = da

    @inner
    def finish_backward4(own, work, r, j, da, count):
        at, position, act = r * own.of.ldn + j, (work.first + r) * own.of.n + j, work.act
        da = dropped4(own.drops, da, position)
        if own.of.code >= 0:
            a, z = load(act, own.of.output + at), load(act, own.of.z + at)
            if own.slopes.trainable >= 0:
                a = z
                d0, d1 = by_slope(da[0], z[0]), by_slope(da[1], z[1])
                d2, d3 = by_slope(da[2], z[2]), by_slope(da[3], z[3])
                store(act, own.of.z + at, only((d0, d1, d2, d3), count))
            d0 = times_derivative(own, work.par, j, position, da[0], z[0], a[0])
            d1 = times_derivative(own, work.par, j + 1, position + 1, da[1], z[1], a[1])
            d2 = times_derivative(own, work.par, j + 2, position + 2, da[2], z[2], a[2])
            d3 = times_derivative(own, work.par, j + 3, position + 3, da[3], z[3], a[3])
            da = d0, d1, d2, d3
        store(act, own.of.delta + at, only(da, count))

    return named(
        drops_behind, dropped, ahead, finish_forward, finish_forward4, pass_on, back,
        finish_backward, finish_backward4,
    )  # fmt: skip
