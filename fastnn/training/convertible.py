"""A trainer made of a network of another library, and written for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Self

from fastnn.errors import true_or_false
from fastnn.rules.table import loss_row
from fastnn.training.scores import check_probabilistic
from fastnn.training.trainer_state import Stateful

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyLoss
    from fastnn.losses import ParametricLoss


class Convertible(Stateful):
    """What PyTorch and ONNX have to do with a trainer; both are imported when they are needed."""

    @classmethod
    def from_torch(
        cls, module: Any, loss: AnyLoss | ParametricLoss = "softmax_cross_entropy", **settings: Any
    ) -> Self:
        """Return a trainer of the network that a module of PyTorch is, with its parameters.

        With ``module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))``,
        ``Trainer.from_torch(module, optimizer=SGD(0.1)).fit(X, y)`` trains what PyTorch's SGD would
        with `CrossEntropyLoss` on the same batches. The module is not changed, and shares nothing
        with the trainer. A Linear's weight (outputs, inputs) becomes W (inputs, outputs).

        Modules that are known: Sequential, nested too, of Linear, LayerNorm, BatchNorm1d, Dropout,
        Flatten(), Identity and activations: CELU, ELU, GELU, Hardshrink, Hardsigmoid, Hardswish,
        Hardtanh, LeakyReLU, LogSigmoid, Mish, PReLU, ReLU, ReLU6, RReLU, SELU, SiLU, Sigmoid,
        Softmax, Softplus, Softshrink, Softsign, Tanh, Tanhshrink, Threshold. Those that fastnn has
        no name for become formulas. Everything else is refused, and so are a dropout or a norm
        after the last Linear, a second activation of a layer, and parameters that are shared or
        hooked.

        A LayerNorm over the last dimension and a BatchNorm1d become a `LayerNorm` and a `BatchNorm`
        with their epsilon, weight, bias, momentum and running statistics. fastnn trains every norm,
        so those that are frozen, or have no weight or bias, are refused; and so is a BatchNorm1d
        without running statistics, or with momentum=None. A Linear with requires_grad=False on all
        of its parameters, and on those of a PReLU behind it, becomes a Dense(trainable=False); one
        of which a part is frozen is refused.

        Losses with cross entropy take raw outputs, as PyTorch's `CrossEntropyLoss` and
        `BCEWithLogitsLoss` do. A module that ends in Softmax or LogSoftmax (with
        loss="softmax_cross_entropy"), or in Sigmoid (with loss="binary_cross_entropy"), becomes a
        network that ends before it, for the loss applies it: `predict_proba` then gives what
        Softmax and Sigmoid gave, and `forward` what went into them. With other losses they stay
        in the network, and `forward` gives what the module gives. Loss "poisson" takes logarithms
        of rates, as `PoissonNLLLoss` does.

        Predictions are those of ``module.eval()``; dropout acts in `fit` alone, in whichever mode
        the module is. A PReLU with one slope for all units becomes a slope for each unit, all of
        which start there and then learn apart.

        Parameters
        ----------
        module
            A `torch.nn.Module`, in float32 or float64, on any device.
        loss, settings
            As for `fastnn.training.trainer.Trainer`; dtype is the module's unless it is given.

        Raises
        ------
        InvalidInput
            A module that fastnn cannot have, which the message names with its place, or a setting
            that does not go with it.
        MissingExtra
            PyTorch is not installed.
        """
        from fastnn.interchange.from_torch import read_module

        network, parameters, dtype = read_module(module, loss)
        make: Any = cls  # a Trainer's class, whose arguments are not known here
        trainer: Self = make(network, loss=loss, **{"dtype": dtype, **settings})
        trainer.set_parameters(parameters)
        return trainer

    def to_torch(self, probabilities: bool = False) -> Any:
        """Return a `torch.nn.Sequential` that gives what `forward` gives; copies, on the CPU.

        It is in mode ``eval()``, in which dropout does nothing, of the trainer's dtype, and shares
        nothing with the trainer. A user-defined activation becomes the module of PyTorch that has
        its formula, or else a graph of PyTorch's operations (`torch.fx.GraphModule`), which can be
        pickled and differentiated without fastnn. Parameters of a Dense(trainable=False) have
        requires_grad=False. Penalties, limits of weights and rate_factor are settings of the
        training, and left out, as is the exponential that makes rates of outputs with loss
        "poisson". So is `precision`: products are those of float32, from which those of "bfloat16"
        and "tf32" differ by the rounding of their factors.

        Parameters
        ----------
        probabilities
            Whether a Softmax or a Sigmoid follows, so that the module gives probabilities: those of
            `predict_proba`, but for one binary output, of which it gives that of label 1, (m, 1).

        Raises
        ------
        InvalidInput
            The activation hardmax, which PyTorch does not have; or probabilities of a loss that
            makes none.
        MissingExtra
            PyTorch is not installed.
        """
        from fastnn.interchange.to_torch import make_module

        problem = self.problem
        last: Literal["softmax", "sigmoid", ""] = ""
        if true_or_false(probabilities, "probabilities"):
            check_probabilistic(problem)
            last = "softmax" if loss_row(problem.loss).targets == "classes" else "sigmoid"
        return make_module(problem.network, self.parameters, last)

    def to_onnx(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write the network for prediction to one file of ONNX, whole or not at all.

        Its input "X" is (batch, inputs) for any batch, in the trainer's dtype. Its output "outputs"
        is what `forward` gives; with loss="softmax_cross_entropy" or "binary_cross_entropy"
        there is another one, "probabilities", which is what `predict_proba` gives, and with
        loss="poisson" another one, "rates" (batch, outputs), which is what `predict` gives.
        ``onnxruntime.InferenceSession(path).run(["outputs"], {"X": X})`` computes only the first.
        User-defined activations are written as operators. `precision` is left out: products are
        those of float32, from which those of "bfloat16" and "tf32" differ by the rounding of their
        factors. It is opset 13, which onnxruntime has been reading since version 1.6.

        Raises
        ------
        InvalidInput
            More than 2 GiB, or no path.
        MissingExtra
            The package onnx is not installed.
        MissingFile, UnusableFile
            There is no such folder, or no file can be written.
        """
        from fastnn.interchange.onnx_file import write_onnx

        write_onnx(path, self.problem, self.parameters)
