"""Trainings on the workers of an executor: other threads, processes or machines.

`bundle` hands data to workers, `worker` is what runs there, and `running` submits and waits.
"""

from fastnn.training.executors.running import check_executor, train_elsewhere

__all__ = ["check_executor", "train_elsewhere"]
