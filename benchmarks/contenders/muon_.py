"""Members of a population in PyTorch, the square layer of which Muon may update: see muon.py."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace

import numpy as np
import torch
from markdown_tables import heading, row
from options import check_data_folder, listed, positive
from tabular_data import TABLES, Split, load
from torch import nn

from fastnn.estimators.tabular.members import (
    SMOOTH,
    Recipe,
    batch_size_of,
    draw,
    encoding_of,
    epochs_of,
    is_small,
)
from fastnn.tabular.cells import cells_of
from fastnn.tabular.fields import Fields

WAYS = "AdamW", "Muon", "Muon, rate x 3"
WIDTH = 128  # of both hidden layers: the matrix between them is square
AMPLITUDE, AVERAGED = 0.1, 8.0  # of cosines; the part of a training that the mean looks back on
ITERATIONS = 5  # of Newton and Schulz


class Member(nn.Module):
    """Learned cosines of the first columns beside all columns, and two hidden layers."""

    def __init__(self, inputs: int, numbers: int, outputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.numbers = numbers
        size = numbers, recipe.frequencies
        self.c = nn.Parameter(recipe.scale * torch.randn(size).clamp(-3, 3))
        self.b = nn.Parameter(torch.rand(size))
        widths = inputs + self.c.numel(), WIDTH, WIDTH, outputs
        self.layers = nn.ModuleList(nn.Linear(k, n) for k, n in zip(widths, widths[1:]))  # noqa: B905
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        turns = X[:, : self.numbers, None] * self.c + self.b
        cosines = AMPLITUDE * torch.cos(2 * math.pi * turns)
        found = torch.cat([X, cosines.flatten(1)], dim=1)
        for layer in self.layers[:-1]:
            found = self.dropout(torch.relu(layer(found)))
        return self.layers[-1](found)


def optimizers_of(member: Member, recipe: Recipe, way: str) -> list[torch.optim.Optimizer]:
    """Return what updates a member."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    square = [member.layers[1].weight] if way != WAYS[0] else []
    chosen = {id(each) for each in (member.c, member.b, *square)}
    others = [each for each in member.parameters() if id(each) not in chosen]
    groups = [
        {"params": others, "weight_decay": decay},
        {"params": [member.c, member.b], "lr": rate * recipe.haste, "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate)]
    if square:
        times = 3.0 if way == WAYS[2] else 1.0
        found.append(
            torch.optim.Muon(
                square, lr=times * rate, weight_decay=decay / times, ns_steps=ITERATIONS,
                adjust_lr_fn="match_rms_adamw",
            )
        )  # fmt: skip
    return found


class Table:
    """The rows of a table as members with cosines read them."""

    def __init__(self, data: Split) -> None:
        classes = 0 if data.task == "regression" else int(data.train.y.max()) + 1
        self.classes, self.outputs = classes, classes if classes > 2 else 1
        cells, held = cells_of(data.train.X), cells_of(data.validation.X)
        fields = Fields.learn(cells)
        training, validation = fields.code(cells), fields.code(held)
        self.small = is_small(len(data.train.y))
        recipe = draw(np.random.default_rng(0), SMOOTH, classes, False, small=self.small)
        encoding = encoding_of(recipe, training, data.train.y, fields.counts)
        self.numbers = encoding.filling[0].width
        self.X, self.X_val = (torch.tensor(np.asarray(encoding.apply(each), np.float32))
                              for each in (training, validation))  # fmt: skip
        kind = torch.int64 if classes > 2 else torch.float32
        y, y_val = np.asarray(data.train.y), np.asarray(data.validation.y)
        if not classes:
            y, y_val = ((each - y.mean()) / y.std() for each in (y, y_val))
        self.y, self.y_val = torch.tensor(y, dtype=kind), torch.tensor(y_val, dtype=kind)
        loss = nn.MSELoss() if not classes else nn.BCEWithLogitsLoss()
        self.loss = nn.CrossEntropyLoss() if classes > 2 else loss

    def loss_of(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of some rows."""
        return self.loss(outputs if self.classes > 2 else outputs[:, 0], y)


def train(table: Table, recipe: Recipe, way: str) -> tuple[float, int, torch.Tensor, float]:
    """Return the best validation loss, its epoch, outputs then, and CPU seconds of a step."""
    torch.manual_seed(recipe.seed % 2**31)
    member = Member(table.X.shape[1], table.numbers, table.outputs, recipe)
    rows = len(table.y)
    batch, epochs = batch_size_of(rows), epochs_of(SMOOTH, rows, 200)
    steps = -(-rows // batch) * epochs
    decay = max(0.0, 1.0 - AVERAGED / steps)
    mean = torch.optim.swa_utils.AveragedModel(
        member, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    )
    optimizers = optimizers_of(member, recipe, way)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, steps) for each in optimizers]
    best, at, outputs, seconds = math.inf, 0, torch.empty(0), 0.0
    for epoch in range(1, epochs + 1):
        begun = time.process_time()
        member.train()
        for some in torch.randperm(rows).split(batch):
            loss = table.loss_of(member(table.X[some]), table.y[some])
            for each in optimizers:
                each.zero_grad()
            loss.backward()
            for each in (*optimizers, *schedules):
                each.step()
            mean.update_parameters(member)
        seconds += time.process_time() - begun
        mean.eval()
        with torch.no_grad():
            found = mean(table.X_val)
            value = float(table.loss_of(found, table.y_val))
        if value < best:
            best, at, outputs = value, epoch, found
    return best, at, outputs, seconds / steps


def mean_loss(table: Table, outputs: list[torch.Tensor]) -> float:
    """Return the validation loss of the mean of what members predict."""
    if not table.classes:
        return float(table.loss_of(torch.stack(outputs).mean(0), table.y_val))
    if table.classes > 2:
        return float(nn.functional.nll_loss(
            torch.stack([each.softmax(1) for each in outputs]).mean(0).log(), table.y_val
        ))  # fmt: skip
    shares = torch.stack([each[:, 0].sigmoid() for each in outputs]).mean(0)
    return float(nn.functional.binary_cross_entropy(shares, table.y_val))


def share_of_products(table: Table, recipe: Recipe) -> float:
    """Return the operations of Muon's products, as a part of those of a step's products."""
    first = table.X.shape[1] + table.numbers * recipe.frequencies
    forward = first * WIDTH + WIDTH * WIDTH + WIDTH * table.outputs
    return ITERATIONS * 3 * WIDTH**3 / (3 * batch_size_of(len(table.y)) * forward)


def main(description: str) -> None:
    """Print a row for each table and way."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=listed([*TABLES]), default=["computers", "phoneme"],
                        metavar="NAME,...", help="default: computers,phoneme")  # fmt: skip
    parser.add_argument("--members", type=positive(int), default=4, help="default: %(default)s")
    chosen = parser.parse_args()
    check_data_folder(parser)
    torch.set_num_threads(1)
    print("\n".join(heading(
        "table, square layer by", "validation loss", "of the mean", "best epoch", "ms a step",
        "products beside a step's",
    )))  # fmt: skip
    for name in chosen.data:
        table, generator = Table(load(name)), np.random.default_rng(0)
        recipes = [
            replace(
                draw(generator, SMOOTH, table.classes, False, small=table.small), frequencies=24
            )
            for _ in range(chosen.members)
        ]
        for way in WAYS:
            found = [train(table, recipe, way) for recipe in recipes]
            losses, epochs, outputs, seconds = map(list, zip(*found, strict=True))
            share = share_of_products(table, recipes[0]) if way != WAYS[0] else 0.0
            print(row(
                f"{name}, {way}", f"{np.mean(losses):.4f} ± {np.std(losses):.4f}",
                f"{mean_loss(table, outputs):.4f}", f"{np.mean(epochs):.0f}",
                f"{1e3 * np.mean(seconds):.2f}", f"{share:.2f}",
            ), flush=True)  # fmt: skip
