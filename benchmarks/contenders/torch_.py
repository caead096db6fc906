"""PyTorch, eager: nn.Sequential, autograd and torch.optim.SGD on resident tensors."""

from __future__ import annotations

from time import perf_counter

import torch
from workloads import Data, Parameters, Workload


class Contender:
    """The training loop of PyTorch's tutorials, with the faster ones of its own choices.

    Rows are gathered by index_select, which was 0 to 10 % faster than indexing; shuffling all of X
    at the start of the epoch was slower. The fused update was as fast as any.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        torch.manual_seed(0)
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
            layers += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=workload.learning_rate,
            momentum=workload.momentum,
            fused=True,
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
