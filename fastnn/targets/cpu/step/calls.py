"""The functions that the engine calls, around what trains one job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastnn.storage.kernels.compiling import as_array
from fastnn.targets.cpu.team import ended_early
from fastnn.targets.cpu.views import job_at


def make_team_calls(step: SimpleNamespace) -> tuple[Any, Any]:
    """Return ``train_epochs(jobs, epochs, me, threads)`` and what `make_forward` does.

    The first trains one epoch a job, one after another, as thread `me` of `threads`. `step` has
    train_epoch(job, me, threads), end_epoch(job) and forward of one dtype.
    """
    train, finish = step.train_epoch, step.end_epoch

    def train_epochs(jobs, epochs, me, threads):
        for epoch in range(epochs):
            job = job_at(jobs, epoch)
            train(job, me, threads)
            if ended_early(job):
                return
            if me == 0:
                finish(job)

    return train_epochs, make_forward(step)


def make_calls(step: SimpleNamespace) -> tuple[Any, Any]:
    """Return the same, ``train_epochs(jobs, epochs)``, for a step that one thread does."""
    train, finish = step.train_epoch, step.end_epoch

    def train_epochs(jobs, epochs):
        for epoch in range(epochs):
            job = job_at(jobs, epoch)
            train(job)
            if ended_early(job):
                return
            finish(job)

    return train_epochs, make_forward(step)


def make_forward(step: SimpleNamespace) -> Any:
    """Return ``forward(job, start, end, outputs)``.

    It writes the outputs of rows start..end into those rows of `outputs`.
    """
    compute = step.forward

    def forward(job, start, end, outputs):
        compute(job_at(job, 0), start, end, as_array(outputs))

    return forward
