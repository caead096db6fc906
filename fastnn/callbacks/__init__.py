"""What is called after each epoch: any function, and those that fastnn brings along."""

from fastnn.callbacks.bundled import Callback
from fastnn.callbacks.calling import call_all, check_callbacks, check_fit, own_callbacks, take_over
from fastnn.callbacks.checkpoint import Checkpoint
from fastnn.callbacks.csv_logger import CSVLogger
from fastnn.callbacks.early_stopping import EarlyStopping
from fastnn.callbacks.reduce_on_plateau import ReduceOnPlateau
from fastnn.callbacks.running import running
from fastnn.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "ReduceOnPlateau",
    "TensorBoard",
    "call_all",
    "check_callbacks",
    "check_fit",
    "own_callbacks",
    "running",
    "take_over",
]
