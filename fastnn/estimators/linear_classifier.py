"""What linear classifiers have in common: labels, one class against the rest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, shown
from fastnn.estimators.base import Rows, fitting, float_of, seeds_of
from fastnn.estimators.label_losses import check_compared, is_user_defined, thresholds
from fastnn.estimators.labels import ScoredLabels, first_call, places_in, sorted_classes
from fastnn.estimators.linear import LinearModel
from fastnn.estimators.linear_outputs import largest
from fastnn.estimators.linear_start import checked_start
from fastnn.estimators.one_by_one import fit_each, go_on_from, mean_losses
from fastnn.estimators.scoring import accuracy
from fastnn.estimators.weights import given_weights, refuse_balanced
from fastnn.rules.table import loss_row


class LinearClassifier(ScoredLabels, LinearClassifierMixin, LinearModel):
    """What `SGDClassifier` and `Perceptron` have in common: labels, one class against the rest."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LinearModel._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    classes_: np.ndarray
    class_weight: Any
    _threshold = 0.0  # above which the output of two classes is the second

    @fitting
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model, from zeros or from what is given.

        Parameters
        ----------
        X
            Features (n, features); arrays, frames, sparse.
        y
            Labels (n,) of any kind.
        coef_init, intercept_init
            To start from, as `coef_` and `intercept_`.
        sample_weight
            Weights of the rows (n,), by which each step is multiplied, beside `class_weight`.
        X_val, y_val, sample_weight_val
            Rows to score after each epoch: for `validation_scores_`, and for `early_stopping`,
            which then takes none of the rows to train on.
            With them, or with callbacks, several classes that would be fitted one after another
            (as with learning_rate="adaptive") are trained, and end, together.

        Returns
        -------
        self
        """
        with self._draft() as fitted:
            fitted._fit(
                X, y, coef_init, intercept_init, sample_weight, (X_val, y_val, sample_weight_val)
            )
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any,
        intercept_init: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
    ) -> None:
        self._more_validate_params()
        X, y = self._check_rows(X, y, reset=True)
        classes = sorted_classes(y)
        if len(classes) < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(classes)} class"
            )
        weights = self._checked_weights(sample_weight, X)
        if self.warm_start and getattr(self, "coef_", None) is not None:
            if coef_init is None or intercept_init is None:
                self._check_targets_before()
                self._columns()  # which refuses weights that are not finite
            coef_init = self.coef_ if coef_init is None else coef_init
            intercept_init = self.intercept_ if intercept_init is None else intercept_init
        self.classes_ = classes
        self._check_loss()
        start = checked_start(coef_init, intercept_init, X.shape[1], self._outputs(), float_of(X))
        self._fit_model(X, y, weights, start, validation)

    @fitting
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train one epoch on some rows; called again, go on from there.

        After a `fit` in which some classes ended sooner than others, all of them go on as if they
        had done as many updates as `t_` says: by their learning rates, in the weight of what is new
        in a mean of weights, and in Adam's correction of its bias.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes
            All classes that there will be; needed in the first call.

        Returns
        -------
        self
        """
        with self._draft(going_on=True) as fitted:
            fitted._fit_more(X, y, classes, sample_weight)
        return self

    def _fit_more(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> None:
        first = not hasattr(self, "classes_")
        self._check_targets_before()
        self._more_validate_params(first_partial=first)
        if first:
            refuse_balanced(self.class_weight)
        X, y = self._check_rows(X, y, reset=first)
        first_call(self, classes)
        if len(self.classes_) < 2:
            raise ValueError("The number of classes has to be greater than one; got 1 class")
        self._check_loss()
        weights = self._checked_weights(sample_weight, X)
        begun = getattr(self, "coef_", None) is not None
        self._fit_model(X, y, weights, self._columns() if begun else None, incremental=True)

    @explained
    def decision_function(self, X: Any) -> np.ndarray:
        """Return x . coef + intercept for each row of X: (m,) for two classes, else (m, classes).

        Of two classes it is above 0 for the second; of more the largest is that of the prediction.
        Of two classes 1/2 is subtracted where a user-defined loss is least near the targets 0 and
        1, as (z - y)^2 is.
        """
        found = self._outputs_for(X)
        return found - self._threshold if self._threshold else found

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row of X (m, features), as `fit` was given it: (m,)."""
        places = largest(self.decision_function(X))
        return np.asarray(self.classes_[places])

    def _outputs(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _engine_loss(self, epsilon: float) -> Any:
        if self.loss == "softmax_cross_entropy" and self._outputs() == 1:
            return "binary_cross_entropy"  # the same model of two classes
        return super()._engine_loss(epsilon)

    def _coded(self, y: Any) -> np.ndarray:
        try:
            places = places_in(self.classes_, y)
        except TypeError:  # labels of different kinds have no order
            places = None
        if places is None:
            known = set(self.classes_.tolist())
            wrong = [each for each in dict.fromkeys(y.tolist()) if each not in known]
            raise ValueError(
                "classes should include all valid labels that can be in y; y has the labels "
                f"{shown(wrong[:5])}, which are not in classes_ {self.classes_}"
            )
        return places

    def _indicator(self, places: np.ndarray) -> np.ndarray:
        """Return whether each row has the label of each output, bool (n, outputs)."""
        if self._outputs() == 1:
            return (places == 1)[:, None]
        return places[:, None] == np.arange(len(self.classes_))

    def _encode(self, coded: np.ndarray) -> np.ndarray:
        loss = self._engine_row()
        kind = loss_row(loss).targets
        if kind == "classes":
            return coded
        there = self._indicator(coded)
        if kind == "binary" or is_user_defined(loss):
            return there.astype(np.float64)
        return np.where(there, 1.0, -1.0)

    def _check_targets_before(self) -> None:
        """Raise where weights to go on with are for the targets that functions had before 0.2.

        Raises
        ------
        InvalidInput
            They were -1 and 1, and are 0 and 1 now.
        """
        trainer = self._trainer
        if trainer is None or "_threshold" in vars(self) or not is_user_defined(trainer.loss):
            return
        if not isinstance(self.loss, str) and is_user_defined(self._engine_row()):
            raise InvalidInput(
                f"this {type(self).__name__} was fitted before version 0.2 by a user-defined loss "
                "of targets -1 and 1, which are 0 and 1 now: its weights predict, but cannot be "
                "gone on with; fit anew, by fit with warm_start=False, with 2*y - 1 for y in the "
                "loss where it is of targets -1 and 1"
            )

    def _check_loss(self) -> None:
        """Take over from which output on the second of two classes is there.

        Raises
        ------
        InvalidInput
            A user-defined loss whose outputs do not tell the classes.
        """
        loss = self._engine_row()
        self._threshold = 0.0
        if is_user_defined(loss) and self._outputs() > 1:
            check_compared(loss)
        elif is_user_defined(loss):
            self._threshold = float(thresholds(loss))

    def _engine_row(self) -> Any:
        """Return the loss, whose row says what it reads."""
        return self._engine_loss(0.0)

    def _outputs_end_alone(self) -> bool:
        return super()._outputs_end_alone() and not loss_row(self._engine_row()).rowwise

    def _fit_parts(
        self, rows: Rows, start: tuple[np.ndarray, np.ndarray] | None, held_out: Rows | None
    ) -> bool:
        followed = held_out is not None or bool(self._callbacks()) or self.n_restarts > 1
        followed = followed or bool(getattr(self, "_skl_callbacks", None))
        if (
            self._outputs() == 1
            or followed
            or is_user_defined(self._engine_row())
            or hasattr(self, "_parent_callback_ctx")
        ):
            return False  # what follows a fit of all of them needs all at once
        coded, seeds = self._coded(rows.y), seeds_of(self.random_state)
        of_classes = None if self.class_weight is None else self._weight_of_classes(coded)
        inside = None if start is None else self._inside(*start)
        parts = fit_each(self, rows, inside, of_classes, seeds, self._dtype_for(rows.X))
        parameters = (
            np.hstack([part._trainer.parameters[0][0] for part in parts]),
            np.concatenate([part._trainer.parameters[0][1] for part in parts]),
        )
        weights = self._weights(coded, rows.sample_weight)
        trainer, mean = self._ready_trainer(rows.X, weights, None, seeds, False, parameters)
        means = mean if weights is None or weights.ndim == 1 else weights.mean(axis=0)
        go_on_from(trainer, parts, np.broadcast_to(means / mean / len(parts), len(parts)))
        self._show(trainer)
        self.n_iter_ = max(part.n_iter_ for part in parts)
        self.t_ = 1.0 + self.n_iter_ * float(-(-len(rows) // int(self.batch_size)))
        self.loss_curve_, self.validation_scores_ = mean_losses(parts), None
        return True

    def _weight_of_classes(self, coded: np.ndarray) -> np.ndarray:
        given, classes = self.class_weight, self.classes_
        if isinstance(given, str):  # which goes by how many rows there are of each
            return compute_class_weight(given, classes=np.arange(len(classes)), y=coded)
        return given_weights(given, classes)

    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        of_classes = self._weight_of_classes(coded)
        rowwise = loss_row(self._engine_row()).rowwise
        if self._outputs() == 1 or rowwise:
            weights = of_classes[coded]
            return weights if sample_weight is None else weights * sample_weight
        weights = np.where(self._indicator(coded), of_classes, 1.0)
        return weights if sample_weight is None else weights * sample_weight[:, None]

    def _score_of(
        self, outputs: np.ndarray, coded: np.ndarray, weights: np.ndarray | None
    ) -> float:
        return accuracy(largest(outputs - self._threshold) == coded, weights)

    def _splitter(self, test_size: float, random_state: Any) -> Any:
        return StratifiedShuffleSplit(test_size=test_size, random_state=random_state)
