"""PyTorch on a device: eager, with CUDA graphs, by torch.compile, and by both together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from contenders import torch_
from torch.nn import functional
from workloads import Data, Parameters, Workload, initial_parameters

Flat = list[torch.Tensor]  # W, b, W, b, ...; of several models, one below another


def wait(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def choose_precision(precision: str) -> None:
    """Let float32 products be what they are called, or TF32."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


class Eager(torch_.Contender):
    """The training loop of PyTorch's tutorials with data, order and a fused update on the device.

    bfloat16 is by autocast, with weights in float32.
    """

    def __init__(
        self,
        workload: Workload,
        data: Data,
        start: Parameters,
        device: str = "cuda",
        precision: str = "float32",
    ) -> None:
        super().__init__(workload, data, start, None)
        choose_precision(precision)
        self.device, self.half = device, precision == "bfloat16"
        self.X, self.y = self.X.to(device), self.y.to(device)
        self.model.to(device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), workload.learning_rate, workload.momentum, fused=True
        )

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        seconds = []
        for _ in range(epochs):
            start = perf_counter()
            for rows in torch.randperm(len(self.X), device=self.device).split(self.batch):
                self.optimizer.zero_grad()
                with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
                    outputs = self.model(self.X.index_select(0, rows))
                    loss = self.loss(outputs, self.y.index_select(0, rows))
                loss.backward()
                self.optimizer.step()
            wait(self.device)
            seconds.append(perf_counter() - start)
        return seconds

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        arrays = [each.detach().cpu().numpy() for each in self.model.parameters()]
        return [(W.T, b) for W, b in zip(arrays[::2], arrays[1::2], strict=True)]


class Functions:
    """A step as a function of what lies on the device, the place in the epoch's order included.

    So a step needs nothing from the host, and steps can be captured in a graph. Several models are
    trained as one, each with parameters and an order of its own, by batched products.
    """

    compiled = False  # whether a step goes through torch.compile
    together = 0  # steps in a graph; 0: no graphs

    def __init__(
        self,
        workload: Workload,
        data: Data,
        start: Parameters,
        device: str = "cuda",
        precision: str = "float32",
        models: int = 1,
    ) -> None:
        choose_precision(precision)
        self.workload, self.device, self.models = workload, device, models
        self.half = precision == "bfloat16"
        self.X = torch.from_numpy(data.X).to(device)
        self.y = torch.from_numpy(data.y).to(device)
        starts = [start, *(initial_parameters(workload, index) for index in range(1, models))]
        arrays = [[array for pair in parameters for array in pair] for parameters in starts]
        stacked = (np.stack(each) for each in zip(*arrays, strict=True))
        self.tensors = [
            torch.from_numpy(each if models > 1 else each[0]).to(device) for each in stacked
        ]
        self.velocities = list(map(torch.zeros_like, self.tensors)) if workload.momentum else None
        self.order = torch.zeros((models, len(self.X)), dtype=torch.int64, device=device)
        self.place = torch.zeros((), dtype=torch.int64, device=device)
        self.within = torch.arange(workload.batch, device=device)
        step: Callable[[int], None] = self.step
        if self.compiled:
            step = torch.compile(self.step, fullgraph=True, dynamic=False)
        self.sequence = self._sequence(step)

    def step(self, count: int) -> None:
        """Update the parameters in place with the next so many rows of the order."""
        rows = self.order.index_select(1, self.place + self.within[:count])
        if self.models == 1:
            rows = rows[0]
        X = self.X.index_select(0, rows.reshape(-1)).view(*rows.shape, -1)
        y = self.y.index_select(0, rows.reshape(-1)).view(rows.shape)
        gradients = torch.func.grad(self.loss)(self.tensors, X, y)
        for i, (tensor, gradient) in enumerate(zip(self.tensors, gradients, strict=True)):
            if self.velocities is not None:
                gradient = self.velocities[i].mul_(self.workload.momentum).add_(gradient)
            tensor.sub_(gradient, alpha=self.workload.learning_rate)
        self.place.add_(count)

    def loss(self, tensors: Flat, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the rows, summed over the models."""
        with torch.autocast(self.device, torch.bfloat16, self.half, cache_enabled=False):
            pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
            for index, (W, b) in enumerate(pairs):
                if index:
                    X = torch.relu(X)
                X = torch.addmm(b, X, W) if self.models == 1 else torch.baddbmm(b[:, None], X, W)
            z = X.reshape(-1, X.shape[-1])
            total = functional.cross_entropy(z, y.reshape(-1), reduction="sum")
        return total / y.shape[-1]

    def _sequence(self, step: Callable[[int], None]) -> list[Callable[[], object]]:
        """Return what makes an epoch, call after call; the short last batch is never compiled."""
        full, rest = divmod(len(self.X), self.workload.batch)
        calls: list[tuple[Callable[[int], None], int, int]] = []  # step, rows, times in a call
        while full:
            times = self.together if 0 < self.together <= full else 1
            calls.append((step, self.workload.batch, times))
            full -= times
        calls += [(self.step, rest, 1)] * bool(rest)
        if not self.together:
            return [partial(own, rows) for own, rows, _ in calls]
        captured = {call: self._capture(*call) for call in dict.fromkeys(calls)}
        return [captured[call].replay for call in calls]

    def _capture(self, step: Callable[[int], None], rows: int, times: int) -> Any:
        """Return a graph of so many steps; the parameters stay as they were."""
        if self.device != "cuda":  # to try the rest of the script
            return SimpleNamespace(replay=lambda: [step(rows) for _ in range(times)])
        state = [*self.tensors, *(self.velocities or [])]
        before = [each.clone() for each in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.place.zero_()
                step(rows)
        torch.cuda.current_stream().wait_stream(stream)
        self.place.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(times):
                step(rows)
        for each, own in zip(state, before, strict=True):
            each.copy_(own)
        return graph

    @torch.no_grad()
    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        seconds = []
        for _ in range(epochs):
            start = perf_counter()
            if self.models == 1:
                torch.randperm(len(self.X), out=self.order[0])
            else:
                self.order.copy_(torch.rand(self.order.shape, device=self.device).argsort(1))
            self.place.zero_()
            for call in self.sequence:
                call()
            wait(self.device)
            seconds.append(perf_counter() - start)
        return seconds

    def parameters(self) -> Parameters:
        """Return the parameters of the first model as they are now."""
        arrays = [each.cpu().numpy() for each in self.tensors]
        if self.models > 1:
            arrays = [each[0] for each in arrays]
        return list(zip(arrays[::2], arrays[1::2], strict=True))


class Graphs(Functions):
    """Every step is the replay of a graph."""

    together = 1


class LongGraphs(Functions):
    """Graphs of 32 steps, which leave less to the host."""

    together = 32


class Compiled(Functions):
    """Every step is what torch.compile made of it."""

    compiled = True


class CompiledGraphs(Functions):
    """What torch.compile made of a step, 32 times in a graph."""

    compiled = True
    together = 32
