"""Networks, data and executors of the tests on trainings elsewhere."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, datasets
from fastnn.training.executors import worker

X, Y = datasets.xor(300, seed=3)
X_VAL, Y_VAL = datasets.xor(100, seed=4)
METHODS = [each for each in ("fork", "forkserver", "spawn") if sys.platform == "linux"] or ["spawn"]


def trainer_of(**settings):
    network = Network(2, [Dense(8, "relu"), Dense(2)])
    defaults = {"optimizer": SGD(0.3), "batch_size": 16, "seed": 5}
    return Trainer(network, **(defaults | settings))


def margin(y, outputs):
    return float(np.mean(outputs[:, 1] - outputs[:, 0]))


def stop_soon(trainer, history):
    return trainer.seed == 6 and trainer.epoch == 2


def pool(method, workers=2):
    return ProcessPoolExecutor(workers, multiprocessing.get_context(method))


def without_seconds(rows):
    """Return all that is to be the same of rows, whoever trained them."""
    return [
        [
            (name, value)
            for name, value in vars(row).items()
            if "seconds" not in name and name != "trainer"
        ]
        for row in rows
    ]


def bits_of(trainer):
    return [array.tobytes() for layer in trainer.parameters for array in layer]


class Elsewhere(Executor):
    """Pickles what goes to its worker and what comes back, and shares no files with it.

    It is one thread, which has nothing in the place of what this process has.
    """

    def __init__(self, monkeypatch, blind=True):
        self._threads = ThreadPoolExecutor(1)
        self.sent, self.held = [], {}
        mine, here = threading.get_ident(), worker._SHARED

        class Apart(dict):
            def _now(self):
                return here if threading.get_ident() == mine else elsewhere

            def get(self, key, *default):
                return self._now().get(key, *default)

            def setdefault(self, key, value):
                return self._now().setdefault(key, value)

            def items(self):
                return self._now().items()

            def pop(self, key, *default):
                return self._now().pop(key, *default)

            def __setitem__(self, key, value):
                self._now()[key] = value

            def __delitem__(self, key):
                del self._now()[key]

        elsewhere = self.held
        monkeypatch.setattr(worker, "_SHARED", Apart())
        if blind:
            monkeypatch.setattr(worker, "from_folder", lambda folder: None)
            monkeypatch.setattr(worker, "epochs_of", lambda folder: None)

    def submit(self, function, *arguments, **more):
        """Have it done in the thread."""
        text = pickle.dumps((function, arguments))
        self.sent.append(len(text))

        def work():
            function, arguments = pickle.loads(text)
            return pickle.dumps(function(*arguments))

        outer = Future()
        inner = self._threads.submit(work)
        outer.set_running_or_notify_cancel()

        def over(future):
            error = future.exception()
            if error is not None:
                outer.set_exception(error)
            else:
                outer.set_result(pickle.loads(future.result()))

        inner.add_done_callback(over)
        return outer

    def shutdown(self, wait=True, *, cancel_futures=False):
        """End the thread."""
        self._threads.shutdown(wait)


class Kills:
    """A callback that kills its process where a seed is trained, as often as it may."""

    def __init__(self, folder, seed, times):
        self.folder, self.seed, self.times = folder, seed, times

    def __call__(self, trainer, history):
        """Kill, or take a while."""
        if trainer.seed != self.seed:
            time.sleep(0.02)
            return
        deaths = len(list(self.folder.iterdir()))
        if deaths < self.times:
            (self.folder / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
