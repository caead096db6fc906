"""An ensemble: networks whose predictions are averaged, chosen greedily, in one file."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import CorruptFile, InvalidInput, number, shown, whole
from fastnn.inputs.data import Data, check_features, check_outcomes
from fastnn.inputs.parameters import from_tensors, start_slots, to_tensors
from fastnn.inputs.problem import Precision, Problem, check_precision
from fastnn.inputs.table_files import TableRows
from fastnn.rules.table import loss_row
from fastnn.schedules import Schedule
from fastnn.storage import tensor_file
from fastnn.storage.model_kinds import ENSEMBLE, check_kind
from fastnn.targets.engine import SideBySide
from fastnn.targets.selection import (
    Target,
    choose,
    new_engine,
    parse,
    reader_of,
    side_by_side_class,
)
from fastnn.threads.atomic import new_lock
from fastnn.threads.processors import available_threads
from fastnn.training.combining import (
    as_outputs,
    as_outputs_by_logarithms,
    averaging_parameters,
    averaging_problem,
    check_alike,
    has_link,
    is_rounded_away,
    labels,
    logarithms,
    means_shown,
    table_of,
    without_state,
)
from fastnn.training.metrics import Metrics, check_measurable, check_metrics, measured
from fastnn.training.population_result import Population
from fastnn.training.reach import largest, reach_of
from fastnn.training.saved_trainer import (
    check_threads,
    names_from,
    problem_from_plain,
    problem_to_plain,
)
from fastnn.training.scores import Outputs, check_probabilistic, refuse_overflow
from fastnn.training.selection import Scoring, candidates_of, greedy_counts
from fastnn.training.snapshot import Snapshot
from fastnn.training.views import (
    View,
    check_seen,
    check_view,
    check_width,
    names_of,
    parts_of,
    view_from_plain,
    view_to_plain,
)

_KIND = "ensemble"
_MEMBER = {"problem", "target", "view", "feature_names", "epoch", "score"}
_ROOM = 1e-6  # by how much the weights in a file may sum to something else than 1


@explained
class Ensemble:
    """Networks whose predictions are averaged with weights.

    mean = sum_k weights_k p_k,  p_k being what member k predicts: probabilities with
    softmax_cross_entropy and binary_cross_entropy, rates with poisson, and otherwise outputs.

    >>> from fastnn import Dense, Ensemble, Network, Trainer, datasets
    >>> X, y = datasets.xor(400)
    >>> trainers = [
    ...     Trainer(Network(2, [Dense(8, "tanh"), Dense(2)]), batch_size=8, seed=seed,
    ...             target="numpy")
    ...     for seed in range(3)
    ... ]
    >>> for trainer in trainers:
    ...     _ = trainer.fit(X, y, 10)
    >>> ensemble = Ensemble(trainers)
    >>> len(ensemble), ensemble.predict_proba(X).shape
    (3, (400, 2))

    Parameters
    ----------
    members
        Trainers, as they are now, or `Snapshot` objects; all of them predict the same: losses of
        the same targets, as many outputs.
    weights
        One for each, at least 0 and not all 0; they are divided by their sum. None: all the same.
    views
        What each reads of X, as `views` of `fastnn.train_population`: the name of an array where X
        is a mapping, or columns of X. None: what a `Snapshot` has read, and of a trainer all of X.
        A member that was trained on a frame reads no columns of one that have other names.
    threads
        The most threads that predict; None: one on each processor. An attribute, too, which can be
        assigned; files do not have it. The predictions are the same bits for any number.

    Raises
    ------
    InvalidInput
        Members that do not predict the same, or something else in the place of one.
    """

    def __init__(
        self,
        members: Iterable[Any],
        weights: Iterable[float] | None = None,
        views: Iterable[Any] | None = None,
        threads: int | None = None,
    ) -> None:
        given = list(members) if isinstance(members, Iterable) else [members]
        if not given:
            raise InvalidInput("members must be at least one Trainer or Snapshot, not none")
        for index, each in enumerate(given):
            if not isinstance(each, Snapshot) and not hasattr(each, "parameters_later"):
                raise InvalidInput(
                    f"members[{index}] must be a Trainer or a Snapshot, not {shown(each):.80}"
                )
        chosen = [getattr(each, "view", None) for each in given] if views is None else list(views)
        if len(chosen) != len(given):
            raise InvalidInput(f"views must be {len(given)}, one a member, not {len(chosen)}")
        chosen = [check_view(each, f"views[{index}]") for index, each in enumerate(chosen)]
        for index, (each, view) in enumerate(zip(given, chosen, strict=True)):
            check_width(view, each.problem.network.inputs, f"views[{index}]")
        check_alike([each.problem for each in given])
        self._weights = _checked_weights(weights, len(given))
        self._members = tuple(map(Snapshot.of, given, chosen))
        self._threads = check_threads(threads)
        self._opened: _Opened | None = None
        self._using = new_lock()

    @classmethod
    def select(
        cls,
        candidates: Population | Iterable[Snapshot],
        y_val: Any = None,
        size: int = 32,
        scoring: Scoring = None,
        sample_weight: Any = None,
    ) -> Self:
        """Return the ensemble that greedy selection makes of candidates.

        It begins with the best one, and adds again and again the one with which the mean is best,
        as often as it is: a candidate that was chosen k times of n has the weight k / n. It ends
        with `size` of them, or when none makes the mean better. Of equals the first is taken, so
        that the same candidates give the same ensemble. Caruana, Niculescu-Mizil, Crew & Ksikes
        2004, "Ensemble selection from libraries of models".

        Parameters
        ----------
        candidates
            A `Population`, all of whose snapshots are candidates; or snapshots, of several
            populations say, whose `Snapshot.outputs` are of the same validation data.
        y_val, sample_weight
            Targets of these rows and weights. Each that is None is that of the population; pass
            ones for rows that are to count the same though the population's do not. Snapshots alone
            have no weights of their own.
        size
            How many to choose, at least 1, one that is chosen twice counted twice.
        scoring
            What a mean is better by. None: the loss of the first candidate, the smaller the better;
            for softmax and binary cross-entropy the log loss, without `label_smoothing`. Or a name
            as of `metrics` of `fastnn.Trainer.fit`, or a function (y, outputs) of which larger is
            better. Outputs are those that stand for the mean: log p with softmax, log p / (1 - p)
            with a sigmoid.

        Raises
        ------
        InvalidInput
            No candidates, or some without outputs, of other rows, or that do not predict the same.
        """
        if isinstance(candidates, Population):
            y_val = candidates.y_val if y_val is None else y_val
            sample_weight = candidates.sample_weight if sample_weight is None else sample_weight
            found = candidates.snapshots
        else:
            found = list(candidates)
        size = whole(size, "size", 1)
        outputs: list[np.ndarray] = []
        usable: list[Snapshot] = []
        for index, each in enumerate(found):
            if not isinstance(each, Snapshot) or each.outputs is None:
                raise InvalidInput(
                    f"candidates[{index}] must be a Snapshot with outputs, not {shown(each):.80}; "
                    "Snapshot.of(trainer, outputs=trainer.forward(X_val)) makes one"
                )
            if outputs and each.outputs.shape != outputs[0].shape:
                raise InvalidInput(
                    "outputs of candidates must be of the same rows, but there are shapes "
                    f"{outputs[0].shape} and {each.outputs.shape}"
                )
            if np.isfinite(each.outputs).all():
                usable.append(each)
                outputs.append(each.outputs)
        if y_val is None:
            raise InvalidInput("y_val must be the targets of the rows that outputs are of")
        if not usable:
            raise InvalidInput(
                "candidates must be at least one with finite outputs, not "
                f"{len(found) or 'none'}{' without' * bool(found)}"
            )
        problems = [each.problem for each in usable]
        check_alike(problems)
        data = _data(problems[0], len(outputs[0]), y_val, sample_weight, "y_val")
        chosen = Counter(greedy_counts(candidates_of(problems, outputs, data, scoring), size))
        if not chosen:
            raise InvalidInput(
                "no candidate has a finite loss on the validation data; look at their outputs, and "
                "standardize y where its numbers are huge"
            )
        return cls([usable[index] for index in chosen], list(chosen.values()))

    @property
    def members(self) -> tuple[Snapshot, ...]:
        """The networks."""
        return self._members

    @property
    def weights(self) -> np.ndarray:
        """What each member counts, float64 of sum 1; a copy."""
        return self._weights.copy()

    @property
    def threads(self) -> int | None:
        """The most threads that predict, or None."""
        return self._threads

    @threads.setter
    def threads(self, threads: int | None) -> None:
        threads = check_threads(threads)
        with self._using:
            self._threads, self._opened = threads, None

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._members)

    def __repr__(self) -> str:
        """Name the members, those of one network together."""
        kinds = Counter(repr(each.problem.network) for each in self._members)
        what = f"{len(self)} member{'s' * (len(self) != 1)}"
        of = f"{len(kinds)} network{'s' * (len(kinds) != 1)}"
        return f"Ensemble({what} of {of}, loss={self._problem.loss!r})"

    @property
    def _problem(self) -> Problem:
        return self._members[0].problem

    @explained
    def forward(self, X: Any) -> np.ndarray:
        """Return the mean of what the members predict, (m, outputs), for X.

        Probabilities: of each class, or of label 1 for each binary output. Rates with poisson, and
        else outputs.

        Parameters
        ----------
        X
            Features (m, inputs), or a mapping of names to such, as the views of the members say.
        """
        return means_shown(self._problem, self.mean(X))

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return what the mean predicts for X, in the form of `fastnn.Trainer.predict`.

        Classes: the most probable one. Binary: 1 where the probability is at least 1/2.

        Raises
        ------
        InvalidInput
            A mean, or an output of a member, that is infinite or NaN, since numbers overflow, by
            its row.
        """
        return labels(self._problem, self._finite_mean(X))

    @explained
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return mean probabilities for X, in the form of `fastnn.Trainer.predict_proba`.

        Raises
        ------
        InvalidInput
            Another loss, whose outputs are no probabilities; a mean, or an output of a member, that
            is not finite.
        """
        check_probabilistic(self._problem)
        return table_of(self._problem, self._finite_mean(X))

    @explained
    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None, metrics: Metrics = ()
    ) -> dict[str, float]:
        """Return loss, accuracy and metrics on data, as `fastnn.Trainer.evaluate` does.

        The loss is that of the first member, for the mean.
        """
        opened = self._open()
        views = [member.view for member in opened.readers]
        parts, y, sample_weight = parts_of(X, y, sample_weight, views)
        features = self._checked(parts, opened)
        mean = self._summed(features, opened)
        if not is_rounded_away([each.problem for each in self._members], mean):
            return self.measured(mean, y, sample_weight, metrics)
        outputs = self._outputs_by_logarithms(features, opened)
        return measured_of(self._problem, outputs, y, sample_weight, metrics)

    def mean(self, X: Any) -> np.ndarray:
        """Return for X what `measured` takes, which tells more than `forward` of binary outputs.

        (m, outputs), as `forward`, but of binary outputs with probabilities (m, 2 outputs): those
        of label 0 of each, then those of label 1. Where one is close to 1, 1 minus it is rounded.
        """
        opened = self._open()
        return self._summed(self._features(X, opened), opened)

    def measured(
        self, mean: np.ndarray, y: Any, sample_weight: Any = None, metrics: Metrics = ()
    ) -> dict[str, float]:
        """Return what `evaluate` does, for what `mean` gives, or `forward` (m, outputs)."""
        outputs = as_outputs(self._problem, mean)
        return measured_of(self._problem, outputs, y, sample_weight, metrics)

    def _finite_mean(self, X: Any) -> np.ndarray:
        """Return `mean`, or raise `InvalidInput` where that or an output of a member is infinite.

        Of an infinite output a probability is 1 or 0, and a rate may be 0, of which the mean tells
        nothing. So outputs are looked at themselves where features are so large that it may be.
        """
        opened = self._open()
        features = self._features(X, opened)
        mean = refuse_overflow(self._summed(features, opened))
        for group, (reach, members) in opened.reaches.items():
            if not largest(features[group]) < reach:
                for member in members:
                    refuse_overflow(member._outputs()(features[group]))
        return mean

    def _features(self, X: Any, opened: _Opened) -> list[Any]:
        """Return checked features, as each of the readers has them."""
        views = [member.view for member in opened.readers]
        if type(X) is np.ndarray and X.dtype.names is None and all(view is None for view in views):
            return self._checked({None: X}, opened)  # which is faster for a few rows
        return self._checked(parts_of(X, None, None, views)[0], opened)

    def _checked(self, parts: dict[View, Any], opened: _Opened) -> list[Any]:
        """Return the same of what each view has."""
        features: list[Any] = []
        for member in opened.readers:
            problem, own = member.problem, parts[member.view]
            # Rows in files are read into memory, which every target does.
            reader = None if isinstance(own, TableRows) else member._reader(own)
            if type(own) is not np.ndarray:  # which has no names
                check_seen(names_of(own), member.feature_names, member.view)
            features.append(
                check_features(
                    own, problem.network.inputs, problem.dtype, reader=reader,
                    names=member.feature_names,
                )
            )  # fmt: skip
            if len(features[-1]) != len(features[0]):
                raise InvalidInput(
                    f"X must have as many rows for each member, but {member.view!r} has "
                    f"{len(features[-1])}, and {opened.readers[0].view!r} {len(features[0])}"
                )
        return features

    def _summed(self, features: list[Any], opened: _Opened) -> np.ndarray:
        """Return the weighted mean for checked features."""
        sums = [each.add_up(features) for each in opened.together]
        return sum(sums[1:], sums[0])

    def _outputs_by_logarithms(self, features: list[Any], opened: _Opened) -> np.ndarray:
        """Return outputs that stand for the mean of numbers that are too small for their dtype.

        log sum_k weights_k p_k, of log p_k.
        """
        total: Any = -np.inf
        for member, group, weight in zip(self._members, opened.groups, self._weights, strict=True):
            if weight > 0.0:
                found = logarithms(self._problem, member._outputs()(features[group]))
                total = np.logaddexp(total, found + math.log(weight))
        return as_outputs_by_logarithms(self._problem, total)

    def _open(self) -> _Opened:
        """Return what computes, made at the first call."""
        with self._using:
            if self._opened is None:
                self._opened = _open(self._members, self._weights, self.threads)
            return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what computes."""
        return {k: v for k, v in vars(self).items() if k not in ("_opened", "_using")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become what another one was."""
        vars(self).update(state, _opened=None, _using=new_lock())

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write networks, settings, parameters and weights to one file, as `Trainer.save` does.

        The file is safetensors, without pickle, and is written whole or not at all.

        Raises
        ------
        MissingFile
            There is no such folder.
        UnusableFile
            No file can be written there.
        """
        tensor_file.write(path, *self.to_content())

    def to_content(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what `save` writes, arrays by name and plain values, for a file that has more."""
        problems: list[dict[str, Any]] = []
        members: list[dict[str, Any]] = []
        tensors: dict[str, np.ndarray] = {}
        for index, member in enumerate(self._members):
            plain = problem_to_plain(_storable(member.problem))
            if plain not in problems:
                problems.append(plain)
            arrays = to_tensors(without_state(member.problem), member._parameters, [])
            tensors |= {f"{index}.{name}": array for name, array in arrays.items()}
            names = member.feature_names
            members.append(
                {
                    "problem": problems.index(plain),
                    "target": member.target,
                    "view": view_to_plain(member.view),
                    "feature_names": None if names is None else list(names),
                    "epoch": member.epoch,
                    "score": member.score,
                }
            )
        return tensors, {
            "kind": _KIND,
            "problems": problems,
            "members": members,
            "weights": self._weights.tolist(),
        }

    @classmethod
    def load(
        cls,
        path: str | bytes | os.PathLike[Any],
        target: Target | None = None,
        precision: Precision | None = None,
    ) -> Self:
        """Return the ensemble that `save` wrote to `path`; it predicts to the same bits.

        Parameters
        ----------
        path
            The file.
        target, precision
            What to use instead of the members' own; None keeps those.

        Raises
        ------
        MissingFile
            There is no such file.
        UnusableFile
            A folder, a pipe or a device in its place, or a file that may not be read.
        CorruptFile
            A file that is damaged, or not one that `save` wrote.
        """
        if target is not None:
            choose(target)
        if precision is not None:
            check_precision(precision)
        tensors, content = tensor_file.read(path, f"{cls.__name__}.save")
        return cls.from_content(tensors, content, os.fsdecode(path), target, precision)

    @classmethod
    def from_content(
        cls,
        tensors: dict[str, np.ndarray],
        content: Any,
        where: str,
        target: Target | None = None,
        precision: Precision | None = None,
    ) -> Self:
        """Return the ensemble of which `to_content` gave this, or raise `CorruptFile`.

        Parameters
        ----------
        tensors, content
            As `to_content` gave them; arrays are taken out of `tensors`.
        where
            The file that they come from, for messages.
        target, precision
            As for `load`.
        """
        members, weights = _from_file(tensors, content, target, precision, where)
        found = cls(members, weights)
        # Divided by their sum once more, which rounding leaves beside 1, they would be others.
        found._weights = np.array(weights)
        return found


class _Opened(NamedTuple):
    """What computes an ensemble.

    Attributes
    ----------
    readers
        A member for each array of features that there are to be.
    groups
        Which of them each member reads.
    together
        Engines, those of one target together.
    reaches
        Of each of the arrays, the least `reach_of` members that read it, and these members; none
        where outputs are averaged themselves.
    """

    readers: list[Snapshot]
    groups: list[int]
    together: list[SideBySide]
    reaches: dict[int, tuple[float, list[Snapshot]]]


def _open(members: tuple[Snapshot, ...], weights: np.ndarray, threads: int | None) -> _Opened:
    """Return engines with the parameters of members; each is made once, and then predicts."""
    readers: dict[Any, tuple[int, Snapshot]] = {}
    by_target: dict[Target, list[tuple[Snapshot, int, float]]] = {}
    group_of: list[int] = []
    for member, weight in zip(members, weights.tolist(), strict=True):
        problem, target = member.problem, choose(member.target, member.problem)[0]
        names, inputs = member.feature_names, problem.network.inputs
        key = member.view, inputs, names, problem.dtype, reader_of(target)
        group, _ = readers.setdefault(key, (len(readers), member))
        group_of.append(group)
        by_target.setdefault(target, []).append((member, group, weight))
    threads = available_threads() if threads is None else threads
    counts = loss_row(members[0].problem.loss).targets == "counts"
    together = []
    for target, own in by_target.items():
        chosen, groups, shares = zip(*own, strict=True)
        problems = [averaging_problem(member.problem) for member in chosen]
        kind = side_by_side_class(target)
        seats = kind.seats(problems, threads)
        engines = [new_engine(target, problem, seats) for problem in problems]
        for engine, problem, member in zip(engines, problems, chosen, strict=True):
            parameters = averaging_parameters(member.problem, member._parameters)
            engine.load(parameters, start_slots(problem, parameters))
        together.append(kind(engines, groups, shares, seats, _rates if counts else None))
    reaches: dict[int, tuple[float, list[Snapshot]]] = {}
    for member, group, _ in (each for own in by_target.values() for each in own):
        if has_link(member.problem):
            least, reading = reaches.get(group, (math.inf, []))
            reach = reach_of(member.problem, member._parameters)
            reaches[group] = min(least, reach), [*reading, member]
    return _Opened([member for _, member in readers.values()], group_of, together, reaches)


def _rates(outputs: np.ndarray, into: np.ndarray) -> None:
    """Put exp of outputs into its place; infinity, beyond what there is a number for."""
    with np.errstate(over="ignore"):
        np.exp(outputs, out=into)


def _checked_weights(weights: Any, count: int) -> np.ndarray:
    """Return weights of sum 1, float64 (count,), or raise `InvalidInput`."""
    if weights is None:
        return np.full(count, 1.0 / count)
    if isinstance(weights, (Mapping, set, frozenset)):
        raise InvalidInput(
            f"weights must be numbers in the order of the members, not {shown(weights):.80}"
        )
    found = list(weights) if isinstance(weights, Iterable) else [weights]
    if len(found) != count:
        raise InvalidInput(f"weights must be {count}, one a member, not {len(found)}")
    values = [number(each, f"weights[{index}]", 0.0) for index, each in enumerate(found)]
    total = float(sum(values))
    if not 0.0 < total < np.inf:
        raise InvalidInput(f"weights must not all be 0, and their sum be finite, not {total:g}")
    array = np.array(values)
    return array if total == 1.0 else array / total


def measured_of(
    problem: Problem, outputs: np.ndarray, y: Any, sample_weight: Any = None, metrics: Metrics = ()
) -> dict[str, float]:
    """Return what `Trainer.evaluate` does, by the outputs (m, outputs) of all rows."""
    asked = check_metrics(problem, metrics)
    data = _data(problem, len(outputs), y, sample_weight)
    check_measurable(problem, asked, data)
    found, error = measured(problem, Outputs(outputs), data, asked)
    if error is not None:
        raise error
    return found


def _data(problem: Problem, n: int, y: Any, weights: Any, what: str = "y") -> Data:
    """Return targets and weights of rows whose features nobody reads."""
    features = np.broadcast_to(np.float32(0), (n, 1))
    return Data(features, *check_outcomes(problem, n, y, weights, what))


def _storable(problem: Problem) -> Problem:
    """Return a problem that a file can have: a learning rate that is a function is left out."""
    optimizer = problem.optimizer
    if callable(optimizer.learning_rate) and not isinstance(optimizer.learning_rate, Schedule):
        return problem.changed(optimizer=replace(optimizer, learning_rate=0.0))
    return problem


def _from_file(
    tensors: dict[str, np.ndarray],
    content: Any,
    target: Target | None,
    precision: Precision | None,
    where: str,
) -> tuple[list[Snapshot], list[float]]:
    """Return members and weights of a file.

    Raises
    ------
    CorruptFile
        Content that `Ensemble.save` cannot have written.
    """
    check_kind(content, ENSEMBLE, where)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise CorruptFile(f"{where} is not a file that Ensemble.save wrote")
    try:
        if content.keys() != {"kind", "problems", "members", "weights"}:
            raise ValueError("settings are missing or unknown")
        problems = [problem_from_plain(each, where) for each in content["problems"]]
        weights = [number(each, "a weight", 0.0, 1.0) for each in content["weights"]]
        if abs(sum(weights) - 1.0) > _ROOM:
            raise ValueError(f"weights sum to {sum(weights):g}, not 1")
        members = []
        for index, (plain, _) in enumerate(zip(content["members"], weights, strict=True)):
            if plain.keys() != _MEMBER:
                raise ValueError("settings of a member are missing or unknown")
            problem = problems[whole(plain["problem"], "problem", 0, len(problems) - 1)]
            arrays = tensor_file.taken(tensors, f"{index}.")
            parameters, _ = from_tensors(without_state(problem), arrays, where)
            parse(plain["target"])
            if target is None:
                choose(plain["target"])
            if precision is not None:
                problem = problem.changed(precision=precision)
            score, view = plain["score"], view_from_plain(plain["view"], where)
            check_width(view, problem.network.inputs, "a view")
            members.append(
                Snapshot(
                    problem,
                    plain["target"] if target is None else target,
                    parameters,
                    view,
                    names_from(plain["feature_names"], problem, where),
                    whole(plain["epoch"], "epoch", 0),
                    None if score is None else number(score, "score"),
                )
            )
        if tensors:
            raise ValueError(f"there is no place for the array {min(tensors)!r}")
        check_alike([each.problem for each in members])
        if not members:
            raise ValueError("there are no members")
    except CorruptFile:
        raise
    except (
        InvalidInput, ValueError, TypeError, AttributeError, KeyError, OverflowError,
    ) as error:  # fmt: skip
        raise CorruptFile(f"{where} is damaged: {error}") from error
    return members, weights
