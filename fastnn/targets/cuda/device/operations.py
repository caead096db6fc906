"""All device functions of one problem: rules, layers, loss, update."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from fastnn.targets.cuda.device.layers import make_layers
from fastnn.targets.cuda.device.loss import make_loss
from fastnn.targets.cuda.device.rules import Recipe, make_rules
from fastnn.targets.cuda.device.update import make_update


@cache
def make_operations(recipe: Recipe) -> SimpleNamespace:
    """Return all device functions for a recipe: `rules`, and those of layers, loss and update."""
    rules = make_rules(recipe)
    layers = make_layers(recipe, rules)
    update = make_update(recipe, rules)
    loss = make_loss(recipe, rules)
    return SimpleNamespace(**vars(layers), **vars(update), loss=loss, rules=rules)
