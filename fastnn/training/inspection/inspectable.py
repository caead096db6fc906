"""The methods of a trainer that look inside of it."""

from __future__ import annotations

from typing import Any

from fastnn.tables import html_text
from fastnn.training.inspection import passes
from fastnn.training.inspection.summary import Summary, summary_of
from fastnn.training.inspection.trace import trace
from fastnn.training.inspection.trace_result import Trace
from fastnn.training.inspection.values import Activations, Gradients
from fastnn.training.trainer_state import Stateful


class Inspectable(Stateful):
    """A trainer whose numbers can be looked at. Nothing here changes it.

    X, y and sample_weight are whatever `fit` takes. Hidden values and gradients are computed as
    `fastnn.targets.numpy` defines them, in the trainer's dtype: to the bit what training on that
    target computes, and what it does on others up to rounding.
    """

    def summary(self) -> Summary:
        """Return the layers with the shapes of their outputs and their numbers of parameters.

        >>> from fastnn import Dense, Dropout, Network, Trainer
        >>> print(Trainer(Network(2, [Dense(2, "sigmoid"), Dropout(0.2), Dense(3)])).summary())
        layer          activation  shapes            output  parameters  trainable
        inputs                                       (m, 2)           0          0
        Dense layer 0  sigmoid     W (2, 2), b (2,)  (m, 2)           6          6
        Dropout 0.2                                  (m, 2)           0          0
        Dense layer 1  identity    W (2, 3), b (3,)  (m, 3)           9          9
        total                                                        15         15
        """
        return summary_of(self._state.problem.network)

    def activations(self, X: Any) -> Activations:
        """Return z and a of every layer for X (m, inputs), as in prediction.

        A Dense has z = x W + b and a = activation(z); a norm z = gamma x_hat + beta, a `BatchNorm`
        by its running statistics; a `Dropout` leaves everything as it is; rrelu has its mean slope.
        The parameters are those of `Trainer.parameters`. The last a is what `forward` returns, up
        to rounding, before a sigmoid or softmax that the loss applies.

        >>> from fastnn import Dense, Network, Trainer
        >>> trainer = Trainer(Network(2, [Dense(2, "relu"), Dense(1)]), "mse", target="numpy")
        >>> trainer.set_parameters([([[1, -1], [0, 1]], [0, 0.5]), ([[2], [3]], [1])])
        >>> print(trainer.activations([[1, 2]]))
        layer          row  z        a
        Dense layer 0    0  [1 1.5]  [1 1.5]
        Dense layer 1    0  [7.5]    [7.5]

        Returns
        -------
        Activations
            A sequence with a `LayerValues` (name, z, a) for each layer, in the order of
            ``network.layers``; arrays are (m, units), of the trainer's dtype.

        Raises
        ------
        InvalidInput
            An X that `predict` refuses, or a network that does not know its inputs yet.
        """
        return passes.activations(self, X)

    def gradients(
        self, X: Any, y: Any, sample_weight: Any = None, inputs: bool = False
    ) -> Gradients:
        """Return the loss on all rows of X, and its gradient by every parameter.

        L = sum_r w_r l_r / sum_r w_r;  ``layers`` has dL/dW + l2 W, dL/db, ... of each layer.

        `loss` is L alone, as in the history and in `evaluate`. The gradient is that which a step on
        one batch of all these rows has, without dropout and before `clip_value` and `clip_norm`: it
        has the derivative of l2/2 sum W^2, but not that of l1, which is a soft threshold after the
        step; nor that of weight decay of `AdamW` and `Lion`, which is none of a loss. `penalty` has
        the value of both. Statistics of a `BatchNorm` are those of these rows, rrelu has its mean
        slope, and layers that are not trainable have their gradients too. The parameters are those
        of `Trainer.parameters`.

        >>> from fastnn import Dense, Network, Trainer
        >>> trainer = Trainer(Network(2, [Dense(1)]), "mse", target="numpy")
        >>> trainer.set_parameters([([[1], [2]], [0])])
        >>> found = trainer.gradients([[1, 1], [0, 1]], [2, 2], inputs=True)
        >>> found.loss, found.layers[0].dW.tolist(), found.inputs.tolist()
        (0.25, [[0.5], [0.5]], [[0.5, 1.0], [0.0, 0.0]])

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. Sparse features become dense here.
        inputs
            Whether to return dL/dX (m, inputs), too.

        Returns
        -------
        Gradients
            `loss`, `penalty`, `layers`, `dz` and `inputs`; arrays are of the trainer's dtype. Where
            L is not finite, neither are they.

        Raises
        ------
        InvalidInput
            Something that `fit` refuses, or a network that does not know its inputs yet.
        """
        return passes.gradients(self, X, y, sample_weight, inputs)

    def trace(self, X: Any, y: Any, steps: int = 10, sample_weight: Any = None) -> Trace:
        """Return the next updates that ``fit(X, y)`` would do, with all that goes into each.

        A copy of the trainer does them, on the trainer's target, and the trainer stays as it is:
        parameters before and after each update are, to the bit, those of `fit` from here on, with
        its order of rows, its schedule and its dropout. Of a linear model that plain SGD trains on
        one row at a time on the CPU, whose steps overlap, they are those of an epoch that ends
        there. Loss, z, a, dz and gradients are computed from the parameters before the update, as
        `Inspectable` says: on target "numpy", these are to the bit those of training as well.

        A loss that is not finite ends the trace, and its `diverged` is True; what `on_divergence`
        says of it is not done.

        >>> from fastnn import SGD, Dense, Network, Trainer
        >>> network = Network(1, [Dense(1)])
        >>> trainer = Trainer(network, "mse", SGD(0.5), batch_size=1, shuffle=False, target="numpy")
        >>> trainer.set_parameters([([[1]], [0])])
        >>> trace = trainer.trace([[1], [2]], [2, 2], steps=3)
        >>> [(each.epoch, each.rows.tolist(), each.loss, each.after[0].W.item()) for each in trace]
        [(1, [0], 0.5, 1.5), (1, [1], 1.125, 0.0), (2, [0], 2.53125, 1.125)]

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        steps
            How many updates, at least 1; they go on over epochs.

        Returns
        -------
        Trace
            A sequence of `Step`; printed, tables with a row an update, and `Trace.to_frame` is one
            of pandas.

        Raises
        ------
        InvalidInput
            Something that `fit` refuses, or more updates than there is memory for.
        """
        return trace(self, X, y, steps, sample_weight)

    def _repr_html_(self) -> str:
        """Show in a notebook what `repr` does, and the layers."""
        network = self._state.problem.network
        layers = "" if network.inputs is None else summary_of(network)._repr_html_()
        return html_text(repr(self)) + layers
