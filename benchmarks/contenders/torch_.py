"""PyTorch on resident tensors: eager, by nn.Sequential and autograd, and by torch.compile."""

from __future__ import annotations

import os
import shutil
import sys
from time import perf_counter

import torch
from workloads import Data, Parameters, Workload

Flat = list[torch.Tensor]  # W, b, W, b, ...
ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}


class Contender:
    """The training loop of PyTorch's tutorials, with the faster ones of its own choices.

    Rows are gathered by index_select, which was 0 to 10 % faster than indexing; shuffling all of X
    at the start of the epoch was slower. The fused update was as fast as any.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        torch.manual_seed(workload.seed)
        self.batch = workload.batch
        self.X = torch.from_numpy(data.X)
        self.y = torch.from_numpy(data.y)
        self.loss: torch.nn.Module = torch.nn.CrossEntropyLoss()
        if workload.binary:
            self.loss = torch.nn.BCEWithLogitsLoss()
            self.y = self.y.to(torch.float32)[:, None]
        layers: list[torch.nn.Module] = []
        for W, b in start:
            linear = torch.nn.Linear(*W.shape)
            linear.weight.data.copy_(torch.from_numpy(W.T))
            linear.bias.data.copy_(torch.from_numpy(b))
            layers += [linear, ACTIVATIONS[workload.activation]()]
        self.model = torch.nn.Sequential(*layers[:-1])
        rate, parameters = workload.learning_rate, self.model.parameters()
        self.optimizer: torch.optim.Optimizer
        if workload.adam:
            self.optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(
                parameters, lr=rate, momentum=workload.momentum, fused=True
            )

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        seconds = []
        for _ in range(epochs):
            start = perf_counter()
            for rows in torch.randperm(len(self.X)).split(self.batch):
                self.optimizer.zero_grad()
                outputs = self.model(self.X.index_select(0, rows))
                self.loss(outputs, self.y.index_select(0, rows)).backward()
                self.optimizer.step()
            seconds.append(perf_counter() - start)
        return seconds

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        arrays = [parameter.detach().numpy() for parameter in self.model.parameters()]
        return [(W.T, b) for W, b in zip(arrays[::2], arrays[1::2], strict=True)]


class Compiled:
    """The whole step compiled as one graph, for full batches and for the last short one.

    Compiling the model and the loss alone, with autograd and the optimizer outside, was slower. The
    C++ wrapper took up to 30 % off an epoch where steps are small.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        if not any(map(shutil.which, filter(None, [os.environ.get("CXX"), "g++", "clang++"]))):
            sys.exit("torch.compile needs a C++ compiler, and there is no g++ or clang++")
        torch.manual_seed(workload.seed)
        self.workload = workload
        self.X = torch.from_numpy(data.X)
        self.y = torch.from_numpy(data.y)
        if workload.binary:
            self.y = self.y.to(torch.float32)[:, None]
        self.tensors = [torch.from_numpy(array.copy()) for pair in start for array in pair]
        self.velocities = list(map(torch.zeros_like, self.tensors)) if workload.momentum else None
        if workload.adam:
            self.means, self.squares = (list(map(torch.zeros_like, self.tensors)) for _ in range(2))
            # Tensors, for every new number would be compiled anew.
            self.decays, self.powers = torch.tensor([0.9, 0.999]), torch.ones(2)
        self.step = torch.compile(
            self.step_on, fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
        )

    def step_on(self, rows: torch.Tensor) -> None:
        """Update parameters and velocities in place with one batch."""
        X, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        gradients = torch.func.grad(mean_loss)(self.tensors, X, y, self.workload.activation)
        if self.workload.adam:
            self.update_by_adam(gradients)
            return
        for i, (tensor, gradient) in enumerate(zip(self.tensors, gradients, strict=True)):
            if self.velocities is not None:
                gradient = self.velocities[i].mul_(self.workload.momentum).add_(gradient)
            tensor.sub_(gradient, alpha=self.workload.learning_rate)

    def update_by_adam(self, gradients: Flat) -> None:
        """Do what Adam (Kingma & Ba 2015) does with the gradients of a step."""
        self.powers.mul_(self.decays)
        one, two = 1 - self.powers[0], 1 - self.powers[1]
        for tensor, mean, square, gradient in zip(
            self.tensors, self.means, self.squares, gradients, strict=True
        ):
            mean.mul_(0.9).add_(gradient, alpha=0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            direction = mean / one / ((square / two).sqrt() + 1e-8)
            tensor.sub_(direction, alpha=self.workload.learning_rate)

    @torch.no_grad()
    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        seconds = []
        for _ in range(epochs):
            start = perf_counter()
            for rows in torch.randperm(len(self.X)).split(self.workload.batch):
                self.step(rows)
            seconds.append(perf_counter() - start)
        return seconds

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        arrays = [tensor.numpy() for tensor in self.tensors]
        return list(zip(arrays[::2], arrays[1::2], strict=True))


def mean_loss(tensors: Flat, X: torch.Tensor, y: torch.Tensor, activation: str) -> torch.Tensor:
    """Return the mean cross-entropy of the rows, binary where there is one output."""
    *hidden, (W_last, b_last) = zip(tensors[::2], tensors[1::2], strict=True)
    for W, b in hidden:
        X = getattr(torch, activation)(torch.addmm(b, X, W))
    z = torch.addmm(b_last, X, W_last)
    if z.shape[1] == 1:
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    return torch.nn.functional.cross_entropy(z, y)
