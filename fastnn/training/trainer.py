"""The Trainer: holds a network's parameters, trains them epoch by epoch, and predicts."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fastnn.arguments import explained
from fastnn.elsewhere import TRAINER, refused
from fastnn.errors import InvalidInput, TrainerBusy, whole
from fastnn.inputs.arrays import as_table
from fastnn.inputs.data import UnknownLabel, check_data, check_validation, width_of
from fastnn.inputs.device_arrays import on_device
from fastnn.inputs.problem import Dtype, Precision, Problem
from fastnn.inputs.table_files import of_table
from fastnn.network import SGD, Network, Optimizer
from fastnn.ranks.shares import Rows, check_rows
from fastnn.schedules import check_ahead
from fastnn.targets.engine import Engine
from fastnn.targets.selection import Target, check_reads, choose, describe, reader_of
from fastnn.threads.atomic import at_once
from fastnn.training import saved_trainer as models
from fastnn.training.callbacks import Callback, check_callbacks, check_fit, watched_metrics
from fastnn.training.convertible import Convertible
from fastnn.training.history import History
from fastnn.training.inspection.inspectable import Inspectable
from fastnn.training.learning_check import tell_reason, warn
from fastnn.training.loop import BLOCK_SECONDS, Training
from fastnn.training.metrics import Metrics, check_measurable, check_metrics
from fastnn.training.progress import Progress, check_progress, check_verbose
from fastnn.training.restarts import best_of, check_restarts
from fastnn.training.saved_trainer import OnDivergence
from fastnn.training.settings import Adjustable
from fastnn.training.together import (
    agree,
    all_or_none,
    check_first_validates,
    check_group,
    heeding_signals,
    rows_in_all,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastnn.graph.custom import AnyLoss
    from fastnn.inputs.device_arrays import Reader
    from fastnn.losses import ParametricLoss

_SGD = SGD(0.1)  # frozen, so every trainer may have it


@explained
class Trainer(Adjustable, Convertible, Inspectable):
    """Trains a network by minibatch SGD, and predicts with it.

    minimise  sum_r w_r loss(network(x_r), y_r) / sum_r w_r  +  l1 sum|W| + l2/2 sum W^2

    with w_r the `sample_weight` of row r, 1 without. The gradient of a batch of m rows is
    sum_r w_r dl_r / (m w), w being the mean weight of all rows: an unbiased estimate of that of the
    whole, at every batch size. `fastnn.inputs.problem.Problem` has more of that.

    Layer k computes ``Z = A W + b`` from the outputs A (m, inputs) of the one before, and
    ``activation(Z)``. Backwards, from dA of the last layer on, and then down with plain `SGD`::

        dZ = dA activation'(Z)    dW = A^T dZ + l2 W    db = sum of dZ over rows     dA = dZ W^T
        W = W - rate dW           b = b - rate db

    Losses of a row by name, of which a batch takes the mean, with p = outputs, or z where these
    are raw: "mse" (p - y)^2 / 2; "mae" abs(p - y); "binary_cross_entropy" log(1 + exp(z)) - y z,
    which is - y log a - (1 - y) log(1 - a) with a = sigmoid(z); "softmax_cross_entropy"
    log sum_j exp(z_j) - z_y; "perceptron" (step(p) - y) p; "hinge" max(0, 1 - (2 y - 1) p).
    `fastnn.losses` has all of them and their derivatives, and the guide's chapter
    "From the course to fastnn" the conventions of notes, such as sums in place of means.

    >>> from fastnn import Dense, Network, datasets
    >>> X, y = datasets.xor(400)
    >>> network = Network(2, [Dense(8, "tanh"), Dense(2)])
    >>> trainer = Trainer(network, optimizer=SGD(0.5), batch_size=16, target="numpy")
    >>> len(trainer.fit(X, y, epochs=30))
    30
    >>> trainer.evaluate(X, y)["accuracy"] > 0.95
    True

    Parameters
    ----------
    network, loss, optimizer, batch_size, l1, l2, dtype, seed, clip_value, clip_norm, precision,
    ignore_nan, label_smoothing
        As for `fastnn.inputs.problem.Problem`. Initial weights, order and dropout follow from
        `seed`. A ``Network(None, [...])`` takes its number of inputs from the first X that `fit`
        sees; before, the trainer has no parameters and can only be set, copied, pickled and fit.
    target
        "cpu", "cuda", "numpy", or "auto": CUDA where there is a device and the work is worth it,
        else the CPU; `history.reason` says which and why. "cuda" is the first device, and "cuda:1"
        the one of that number.
    threads
        The most threads of the processor that train, 1 to 1024; fewer do where the system starts no
        more. None chooses, whenever `fit` begins, from the work in a step and from what the process
        may use then: its processors, its control groups' quota, and the environment's
        OMP_NUM_THREADS, NUMBA_NUM_THREADS and LOKY_MAX_CPU_COUNT. The results are the same bits for
        any number. CUDA takes no notice of it.
    shuffle
        True: each epoch goes through all rows in an order of its own. False: as they lie. A whole
        number from 2 on is a window: so many rows are shuffled at a time, for data in files that
        are larger than memory, of which the rows of two windows are there at once. An epoch is
        blocks of window // 64 rows in random order, and the rows of each window of 64 blocks are
        shuffled (Xu et al. 2022, "In-Database Machine Learning with CorgiPile", SIGMOD). So steps
        have rows of 64 places that are drawn anew each epoch, which comes near to shuffling all,
        even where data are sorted by class. Rows of a block share a window: 64 blocks should be a
        fair sample of the data. A window of all rows or more is True. The order follows from seed,
        epoch, number of rows and window alone. Parquet and Arrow files below 256 MiB, as numbers of
        the network's dtype, are read into memory, and shuffled as any array. Blocks of larger ones
        are their row groups, and True is a window of 128 MiB.
    on_divergence
        What happens when a loss or a parameter becomes NaN or infinite. "raise": `fit` raises
        `Diverged`. "restore": training goes on from the last good epoch with half the rate, which
        `rate_factor` then has, and the history's `restores` tell where; an epoch from which none
        can be done even so was not good, and is taken back, too. Every one of several restarts, and
        every run of a sweep, does so for itself. Divergence before the first update is an error.
    max_restores
        How often in the whole history that may happen before `Diverged` is raised, at least 1.
    communicator
        A communicator of mpi4py, such as ``MPI.COMM_WORLD``: its processes train one model. All of
        them make the same trainer and the same calls of `fit`, whose `rows` says which rows each
        has. `batch_size` is that of all together; each computes the gradient of its rows, these are
        added up in every step, and all make the same update: the result is that of one process, to
        rounding, and the same bits whenever as many processes do it again. Validation, metrics,
        callbacks and progress are the first one's alone, and all return the same history. What is
        raised in one, Ctrl-C included, ends `fit` in all. `predict` and `evaluate` are each one's
        own. None: this process trains alone. The guide's chapter "Many machines" has more.
    synchronise
        "step": as above. A whole number k: each process makes steps of its own, on its part of each
        batch, and every k steps and after each epoch parameters and optimizer state become the mean
        of all, weighted by rows: local SGD (Stich 2019, "Local SGD Converges Fast and Communicates
        Little", ICLR), which is another method, and worth it where a step takes less time than a
        message. Limits such as `clip_norm` are for each process's own gradient then.

    Attributes
    ----------
    problem
        The settings that decide what is computed; each is an attribute, too. `set` changes them,
        and nothing can be assigned but what the next line names, `rate_factor`, and, in a class
        derived from this one, attributes of its own: under any name but that of a setting, or under
        one that the class has (``lr = None`` in its body). Copies and files do not have them.
    target, threads, shuffle, on_divergence, max_restores, communicator, synchronise
        As given.
    feature_names
        The names of the columns of the first frame that `fit` was given, if all are strings; else
        None. A frame with names has to have these, in this order, in every later call of `fit`,
        `predict` and others. Arrays have no names and are taken by position.
    preparation
        What makes the features of the columns of a table, where ``fastnn train`` made the model, as
        plain values; else None.
    epoch
        Epochs done.
    step
        Updates done since the optimizer's state was zero.
    history
        The `History` of all epochs done.

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, or a loss that cannot be traced.
    TargetUnavailable
        A target that cannot run here.
    """

    def __init__(
        self,
        network: Network,
        loss: AnyLoss | ParametricLoss = "softmax_cross_entropy",
        optimizer: Optimizer = _SGD,
        batch_size: int = 64,
        l1: float = 0.0,
        l2: float = 0.0,
        target: Target = "cpu",
        dtype: Dtype = "float32",
        threads: int | None = None,
        shuffle: bool | int = True,
        seed: int = 0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        precision: Precision = "float32",
        on_divergence: OnDivergence = "raise",
        max_restores: int = 5,
        ignore_nan: bool = False,
        label_smoothing: float = 0.0,
        communicator: Any = None,
        synchronise: str | int = "step",
    ) -> None:
        problem = Problem(
            network, loss, optimizer, batch_size, l1, l2, cast(Any, dtype), seed, clip_value,
            clip_norm, precision, ignore_nan, label_smoothing,
        )  # fmt: skip
        model = models.begin(problem, target, threads, shuffle)
        model = replace(model, on_divergence=on_divergence, max_restores=max_restores)
        self.__setstate__(replace(model, synchronise=synchronise))
        self._join(communicator, synchronise)

    @classmethod
    def _starting_from(
        cls,
        parameters: Any,
        target: Target,
        threads: int | None,
        shuffle: bool,
        l1: float = 0.0,
        l2: float = 0.0,
        **settings: Any,
    ) -> Trainer:
        """Return a new trainer with the given parameters, so that none are drawn in vain."""
        trainer, problem = cls.__new__(cls), Problem(l1=l1, l2=l2, **settings)
        trainer.__setstate__(models.begin(problem, target, threads, shuffle, parameters))
        return trainer

    def __init_subclass__(cls, **settings: Any) -> None:
        """Leave a user-defined class open for its own attributes."""
        super().__init_subclass__(**settings)
        cls._closed = False

    if not TYPE_CHECKING:  # to which a misspelt attribute would be one like any other

        def __getattr__(self, name: str) -> object:
            """Raise for an attribute that is not there, with what to write instead."""
            return refused(self, name, TRAINER)

    @explained
    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int = 10,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        callbacks: Callback | Iterable[Callback] = (),
        restarts: int = 1,
        metrics: Metrics = (),
        progress: bool = True,
        verbose: bool | int = False,
        keep_trainers: bool = False,
        executor: Executor | None = None,
        rows: Rows = "all",
    ) -> History:
        """Train; called again, go on where the last call stopped.

        ``fit(epochs=2); fit(epochs=3)`` gives the same bits as ``fit(epochs=5)``. Data that come in
        chunks take one call for each, with ``epochs=1``; orders and dropout differ from chunk to
        chunk, since epochs count on. Meanwhile other
        threads may predict, copy, pickle and save: that is the trainer after its last whole epoch;
        or, where epochs are short, and there are no callbacks other than `EarlyStopping` and
        `ReduceOnPlateau`, after some
        whole epochs a few hundredths of a second ago, since so many are then done in one call. They
        share its seconds evenly.

        With `restarts`, as many networks start apart, train side by side, each on one thread, and
        the trainer becomes the best of them. The first is the trainer as it is; each other one is
        what a new `Trainer` would be with another seed, which follows from `seed` and its number:
        initial weights, order and dropout are its own. The best has the smallest validation loss
        after its last epoch, without validation data the smallest loss, whatever metrics and
        monitors there are. The trainer then has its
        seed too, and goes on as if that network alone had been trained.

        Weights of targets make positive labels count more than negative ones, as PyTorch's
        BCEWithLogitsLoss(pos_weight=...) does, whose gradient is the one here times their mean:

        >>> import numpy as np
        >>> from fastnn import Dense, Network
        >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        >>> y = np.array([[0, 1], [1, 0], [0, 0], [0, 0]])
        >>> weights = np.where(y == 1, [3.0, 2.0], 1.0)  # [3, 2] is the pos_weight
        >>> trainer = Trainer(Network(2, [Dense(2)]), "binary_cross_entropy", target="numpy")
        >>> history = trainer.fit(X, y, epochs=5, sample_weight=weights)
        >>> trainer.evaluate(X, y, weights)["loss"] < history.loss[0]
        True

        Parameters
        ----------
        X
            Features (n, inputs): an array, a list of rows, a sparse matrix or array of SciPy, a
            frame of pandas or polars, a table of pyarrow, a `numpy.memmap` or the path of a .npy
            file, which may be larger than memory: `shuffle` says how many of its rows are together.
            So may the path of a Parquet, Feather or Arrow file, of a folder of them, or a dataset
            of pyarrow, all of whose columns but those of y and weights are features: row groups are
            decoded while the steps before are done, by targets "cpu" and "numpy".
            Booleans, integers of up to 32 bits and floats of up to 64 are read in place, whatever
            their strides, a batch at a time; 64-bit integers and frames whose columns lie apart are
            copied once. Objects have to be numbers; strings, dates and categories are refused, and
            so are missing values. The names of a frame's columns become `feature_names`. Rows of X,
            y and weights go together by their position, not by an index. What is sparse never
            becomes dense, and a CSR of floats is read in place, unless indices are out of order. A
            step then takes time for the numbers that are stored, and not for all inputs: with `SGD`
            and `AveragedSGD`, whatever momentum and penalties are, and with `RMSProp` and `Adagrad`
            without l2. But `Adam`, `AdamW`, `Nadam` and `Lion`, `clip_norm`, `clip_value` with l2,
            `max_norm`, and an `ema` but that of `SGD` without momentum change every weight in every
            step; so does what is quicker where a batch uses most inputs. Results are the same but
            for rounding. CUDA does not read sparse features, nor does a first layer that is a norm
            or `Periodic`. With target "cuda", X, y, sample_weight and validation_data may be on the
            device, as arrays of CuPy, PyTorch, Numba or whatever has ``__cuda_array_interface__``
            or DLPack; other targets refuse such arrays. Numbers must not change while `fit` runs;
            labels may. A file that is cut off meanwhile ends the process.
        y
            Labels 0..K-1 (n,), or rows of class probabilities (n, K), each at least 0 and of sum 1
            to within 1e-3; labels 0 and 1 (n,) or (n, outputs); numbers (n,) or (n, outputs).
            With `ignore_nan`, NaN among the last two is a missing target: one of weight 0. Where X
            is the files of a table, the name of a column, or a list of names; so is sample_weight.
        epochs
            How many more, at least 0.
        validation_data
            (X, y) or (X, y, sample_weight) to evaluate on after each epoch, or None.
        sample_weight
            Weight of each row, (n,) or (n, 1); or of each target, (n, outputs), where the loss of a
            row is a mean over its outputs; at least 0. None: all count 1. The loss is
            sum_r w_r l_r / sum_r w_r over all rows, or sum_rj w_rj l_rj / sum_rj w_rj over all
            targets, and the gradient of a batch of m rows sum_r w_r dl_r / (m w) or
            sum_rj w_rj dl_rj / (m outputs w), w being the mean of all weights. So only ratios of
            weights matter; a row weighs in a step as much as in the whole, and not less where those
            beside it are heavy; and what has weight 0 is as if it were not there, but that its row
            counts in m.
        callbacks
            One or several, called as ``callback(trainer, history)`` after each epoch, when all that
            belongs to the epoch is done; if one returns True, training stops there. An error in one
            comes out of `fit` and leaves the epoch done; with restarts, a note of it names the one
            in which it was raised. `trainer` is then the network that the epoch belongs to, and
            True stops that one; calls come from several threads but one at a time. Each network has
            an `EarlyStopping` and a `ReduceOnPlateau` of its own; `Checkpoint`, `CSVLogger`,
            `TensorBoard` and `StepCallback`, which follow one training, are refused. An epoch is
            one compiled call, so there are no callbacks once a minibatch, and objects with such
            methods are refused; `StepCallback` is called every n-th step.
        restarts
            How many networks to train. More than 1 needs a trainer that has done no epoch; an error
            or Ctrl-C then leaves the trainer as it was. As many train at a time as `threads` says,
            None for one on each processor; on the NumPy target, one. On CUDA they all do, each in
            a block of threads, or one after another where there are weights, or where that is
            quicker.
        metrics
            What else to measure on the validation data after each epoch, one or a list of: a name;
            a function; a pair (name, function). Or a dict of functions by name. The history has
            them as "validation_" and the name, such as ``history["validation_auc"]``, with None in
            epochs without. Names:

            - "auc": area under the ROC curve, equal scores counting half. For one binary output, or
              two classes, of label 1; for more, the mean over the outputs, or over the classes
              (each against the rest). Refused where a label or a class has no row.
            - "log_loss": mean of -log p of the labels; not for losses without probabilities.
            - "f1": 2 TP / (2 TP + FP + FN), 0 for 0 / 0. For one binary output, or two classes, of
              label 1; for more, the mean over the outputs, or over the classes that are there or
              predicted.
            - "rmse", "mae": root of the mean square, and mean size, of y - prediction.
            - "r2": 1 - sum (y - prediction)^2 / sum (y - mean y)^2; refused for targets that are
              all the same.
            - "accuracy" and "loss" are measured anyway.

            The three of numbers are for regressions, the others for labels. Of several outputs they
            are the mean of those of each. All are those of scikit-learn, and weighted if the
            validation data are; infinite or NaN outputs make them NaN.

            A function is called as ``f(y, outputs)``, or ``f(y, outputs, sample_weight=weights)``
            where there are weights, which needs that argument; it returns a number, and is known by
            its ``__name__``. `outputs` is what `forward` returns, and `y` the targets: labels of
            classes (m,) or binary ones, int64, or numbers. Both are (m,) for one output, not
            (m, 1), and read only. Restarts call it from several threads, but one at a time. If a
            function fails, or returns NaN, infinity or no number, the epoch is done, without that
            metric, and `fit` raises.
        progress
            Whether there is a progress bar, where the standard error stream is a terminal, or in a
            notebook.
        verbose
            For logs, instead of the bar: a line after every so many epochs, and after the last, on
            the standard error stream. True: after each. With restarts, which have no such lines,
            it is refused.
        keep_trainers
            Whether the `Restart` of each network in the history's `restarts` has it as `trainer`,
            for a mean of their predictions, say: one that may go on by itself. Copies and pickles
            of this trainer then have them too; files do not, so save them one by one.
        executor
            A `concurrent.futures.Executor` whose workers train the restarts, each on one thread, in
            the place of threads of this process; as for `fastnn.sweep`, which has more on it. One
            whose worker dies again and again says so in `failed`, and is not the best.
        rows
            With a communicator, which rows each process is given. "all": the same ones, of which
            each takes its part of every batch; order and dropout are those of one process. "own":
            rows that no other has, such as a slice or a file of its own, of any number from 1 on;
            each step takes from all of them in proportion. The order of each process is its own
            then, and follows from seed and rank.

        Returns
        -------
        History
            `history`: of all epochs so far, those of earlier calls included. With restarts, it is
            that of the best network, and its `restarts` says how each of them ended.

        Raises
        ------
        InvalidInput
            Something that cannot be trained on; nothing has changed. Learning rates are looked at
            a million steps ahead; one further on is found when its epoch comes, and the epochs
            before it stay done. Or a metric failed; its epoch is done.
        TrainerBusy
            The trainer is in `fit` already: in another thread, or in whose callback this is.
        Diverged
            A loss or a parameter became NaN or infinite, and `on_divergence` is "raise", or
            `max_restores` are used up; with restarts, in all of them. It says which of X and y is
            large, with column and row, where one is. As after any error, the
            trainer is as the last whole epoch left it. After Ctrl-C, too; but of short epochs that
            are done in one call, as above, all are taken back.
        WorkerFailed
            An executor ran no training, or its workers died in all that did not diverge.

        Warns
        -----
        TrainingWarning
            Once, at the end, where the network does no better than a constant (the mean of y, say)
            and the reason is known: a layer all of whose units have died, or columns of X or y that
            are beyond 100, below 0.01, or more than 100 times apart. It names them, and says what
            to do. A trainer that is trained on at the same line does not say the same again.
        """
        tell = partial(warn, told=self._told)
        return self._fit_in_turn(
            tell, X, y, epochs, validation_data, sample_weight, callbacks, restarts, metrics,
            progress, verbose, keep_trainers, executor, rows,
        )  # fmt: skip

    def _fit_in_turn(self, tell: Callable[[str], None], *arguments: Any, **more: Any) -> History:
        """Do what `fit` does, and `tell` what it warns of: why nothing has been learnt, if so.

        What is not given is as for `fit`.
        """
        this_call = object()
        if not self._fitting.take(this_call):
            raise TrainerBusy(
                "this trainer is in fit already, in another thread or in the call that this one "
                "is made from; wait until that returns, or train a copy.copy(trainer)"
            )
        before = self._state
        if before.problem.network.inputs is not None:
            before = before._replace(arrays=None)  # which the engine is about to take
        try:
            with all_or_none(self):
                asked = _FIT.bind(self, *arguments, **more)
                asked.apply_defaults()
                return self._fit(tell, *asked.args[1:])
        except BaseException as error:
            self._forget(before)
            if not isinstance(error, UnknownLabel):
                raise
            if not self.epoch or error.label < self.network.outputs:
                raise
            raise InvalidInput(
                f"{error}; if these are classes that are new to the trained network, "
                f"trainer.widen(outputs={error.label + 1}) gives it outputs for them"
            ) from error
        finally:
            self._fitting.give_back()

    def _fit(
        self,
        tell: Callable[[str], None],
        X: Any,
        y: Any,
        epochs: int,
        validation_data: tuple[Any, ...] | None,
        sample_weight: Any,
        callbacks: Callback | Iterable[Callback],
        restarts: int,
        metrics: Any,
        progress: bool,
        verbose: bool | int,
        keep_trainers: bool,
        executor: Executor | None,
        rows: Any,
    ) -> History:
        rows, first = check_rows(rows), self._group is None or self._group.rank == 0
        if rows == "own" and self._communicator is None:
            raise InvalidInput(
                "rows='own' is for a trainer with a communicator, whose processes have rows of "
                "their own; leave it out, or give Trainer(..., communicator=MPI.COMM_WORLD)"
            )
        check_first_validates(self, validation_data is not None)
        heeding: AbstractContextManager[Any] = nullcontext()
        if not first:  # which measures, calls and shows
            heeding = heeding_signals(callbacks)
            validation_data, callbacks, metrics, progress, verbose = None, (), (), False, False
        epochs = whole(epochs, "epochs", 0)
        X, y, sample_weight = of_table(X, y, sample_weight)
        validated = validation_data if isinstance(validation_data, (tuple, list)) else ()
        check_reads(self.target, self.problem, *validated[:1])
        reader = self._reader(X, y, sample_weight, *validated)
        X = as_table(X, "X")
        if self.network.inputs is None:
            self._begin(width_of(X, reader=reader), None)
        self.problem.check_learning()
        names = self.feature_names
        data = check_data(
            self.problem, X, y, sample_weight, reader=reader, names=names, streams=True
        )
        self._begin(None, data.names)
        if data.names is None:  # messages about an array's columns name them, too
            data = replace(data, names=names)
        self.problem.check_batches(len(data))
        validation = check_validation(self.problem, validation_data, reader, self.feature_names)
        restarts = check_restarts(
            restarts, self.epoch, epochs, keep_trainers, executor, self.problem.network
        )
        progress, verbose = check_progress(progress), check_verbose(verbose, restarts)
        check_reads(self.target, self.problem, X, *validated[:1], restarts=restarts)
        several = f"restarts={restarts} trains several networks" if restarts > 1 else ""
        calls = check_callbacks(callbacks, validation is not None, several)
        asked = check_metrics(self.problem, metrics, validation is not None)
        asked = watched_metrics(calls, self.problem, asked, validation is not None)
        if validation is not None:
            check_measurable(self.problem, asked, validation, "the validation data")
        data = agree(self, data, epochs, rows)
        total = rows_in_all(self, data)
        steps = -(-total // self.problem.batch_size)
        check_ahead(self.problem.optimizer.learning_rate, self.epoch, self.step, steps, epochs)
        check_fit(calls, self)
        check_group(self, restarts, calls)
        engine = self._open()
        if restarts == 1:  # what several train with depends on the target and on how many they are
            engine.prepare(data.form, len(data), validation is not None)
        validation = validation and engine.to_device(validation)
        if restarts > 1:
            best, ends = best_of(
                self, restarts, data, validation, epochs, calls, asked, progress, keep_trainers,
                executor,
            )  # fmt: skip
            state = copy.copy(best)._state  # with a history of its own, which alone has the ends
            state.history.restarts = ends
            with self._using:
                self._state = state._replace(preparation=self._state.preparation)
            tell_reason(self, data, tell)
            return self.history
        self._tell_history(engine)
        bar = Progress(epochs, steps, self.problem.batch_size, total, None, progress, verbose)
        try:
            with heeding:
                Training(self, data, validation, epochs, calls, bar, asked, BLOCK_SECONDS).run()
        finally:
            bar.close()
        if epochs and first:
            tell_reason(self, data, tell)
        return self.history

    def __repr__(self) -> str:
        """Name what is trained, with what, and how far it is."""
        problem = self.problem
        sizes = problem.network.inputs or "?", *(dense.units for dense in problem.network.dense)
        widths = "-".join(map(str, sizes))
        return (
            f"Trainer({widths}, loss={problem.loss!r}, optimizer={problem.optimizer}, "
            f"batch_size={problem.batch_size}, target={self.target!r}, epoch={self.epoch})"
        )

    def _reader(self, *values: Any) -> Reader | None:
        """Return what reads these values, if any of them is on a device and the target reads it.

        The first are features, which may be sparse where the target reads those.
        """
        check_reads(self.target, self.problem, values[0])
        if not any(map(on_device, values)):
            return None
        return reader_of(choose(self.target, self.problem)[0])

    def _tell_history(self, engine: Engine) -> None:
        """Enter in the history where the epochs run from now on, and why there."""
        target, reason = choose(self.target, self.problem)
        values = {"target": target, "reason": describe(reason, engine), "threads": engine.threads}
        at_once([partial(setattr, self.history, *each) for each in values.items()])


_FIT = inspect.signature(Trainer.fit)
