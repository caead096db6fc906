"""What is called after each epoch: any function, and those that fastnn brings along."""

from fastnn.training.callbacks.bundled import Bundled, Callback
from fastnn.training.callbacks.calling import (
    call_all,
    check_callbacks,
    check_fit,
    own_callbacks,
    take_over,
    watched_metrics,
    watches_validation,
)
from fastnn.training.callbacks.checkpoint import Checkpoint
from fastnn.training.callbacks.csv_logger import CSVLogger
from fastnn.training.callbacks.early_stopping import EarlyStopping
from fastnn.training.callbacks.reduce_on_plateau import ReduceOnPlateau
from fastnn.training.callbacks.running import running
from fastnn.training.callbacks.step_callback import Looks, StepCallback
from fastnn.training.callbacks.tensorboard import TensorBoard

__all__ = [
    "Bundled",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Looks",
    "ReduceOnPlateau",
    "StepCallback",
    "TensorBoard",
    "call_all",
    "check_callbacks",
    "check_fit",
    "own_callbacks",
    "running",
    "take_over",
    "watched_metrics",
    "watches_validation",
]
