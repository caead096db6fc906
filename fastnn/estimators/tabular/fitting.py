"""A fit of a population: from checked rows to an ensemble and what it has to read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fastnn.errors import Diverged
from fastnn.estimators.base import LearningWarning
from fastnn.estimators.tabular.calibration import calibrated, cooled, sharpened
from fastnn.estimators.tabular.members import (
    SMOOTH,
    STEPS,
    Recipe,
    batch_size_of,
    draw,
    encoding_of,
    epochs_of,
    is_large,
    is_small,
    is_wide,
    patience_after,
    trainer_of,
)
from fastnn.rules.table import LossName
from fastnn.tabular.encodings import Coded, Cuts, Encoding
from fastnn.targets.selection import Target
from fastnn.threads.processors import available_threads
from fastnn.training.ensemble import Ensemble
from fastnn.training.learning_check import warn
from fastnn.training.population import trained_population
from fastnn.training.snapshot import Snapshot

SIZE = 32  # of an ensemble, a member that is chosen twice counted twice
MOST_SNAPSHOTS = 8
_OUTPUT_BYTES = 1 << 28  # for what snapshots give for the rows to validate on
_PROBES = 2  # members of each kind, before one of them gets the others; of few members one
_LEAST_TO_PROBE = 8  # members, fewer of which are few
_LEAST_MEMBERS = 2  # for which a time limit leaves epochs out
_LEAST_EPOCHS = 20  # for which a time limit leaves rows out
_SAMPLE = 2048  # rows by which time is measured, and that are always trained on
_SAMPLE_CELLS = 1 << 18  # of those by which time is measured, of which wide tables have fewer
_LEAST_SAMPLE = 256
_SAMPLE_COLUMNS = 128
_TICK = 1e-6  # seconds, the least that anything takes
_ENCODED = 0.25  # share of the time left that may go to making features
_VALIDATED = 1.3  # times as long an epoch takes with validation
_SLOWER = 1.3  # times as long as the last ones the next members may take
RESERVED = 0.1  # share of a time limit for what comes after the training
_FEW = 100  # rows to validate on, with fewer of which a choice would be one by luck
_ENOUGH = 1000  # such rows, of which one choice is about as good as the mean of many
_BAGS = 20  # choices, of which the mean is taken where there are fewer
_KEPT = 16  # snapshots of that mean, those that count most
_NOTHING_LEARNT = (
    "no member does better than one answer for all rows: look whether columns of X tell anything "
    "of y, and whether rows of the two belong together"
)


@dataclass(frozen=True, eq=False)
class Part:
    """Rows to train or to validate on.

    Attributes
    ----------
    coded
        Their features.
    targets
        (n,) places of classes, or numbers as the network learns them.
    weights
        (n,), or None.
    """

    coded: Coded
    targets: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: slice) -> Part:
        """Return some of them."""
        weights = None if self.weights is None else self.weights[rows]
        return Part(self.coded.take(rows), self.targets[rows], weights)


@dataclass(frozen=True)
class Plan:
    """How many members there are to be, and for which share of their epochs.

    Attributes
    ----------
    members, share
        These.
    views
        How many encodings there is time for.
    cuts
        How numbers are cut into bins: at quantiles where there is no time for trees.
    """

    members: int
    share: float
    views: int = 1 << 30
    cuts: Cuts = "tree"


@dataclass(frozen=True, eq=False)
class Settings:
    """What a fit is given, beside its rows.

    Attributes
    ----------
    members, epochs, patience
        The most members, the most epochs of each, and after how many without progress it ends.
    classes
        0 for a regression.
    counts
        Of categories, by column.
    scoring
        (y, outputs) -> score, larger is better; None: the loss.
    until
        `time.perf_counter` at which it has to end; None: never.
    """

    members: int
    epochs: int
    patience: int
    classes: int
    counts: np.ndarray
    scoring: Callable[..., Any] | None
    until: float | None
    seed: int
    target: Target
    workers: int | None
    verbose: int

    @property
    def outputs(self) -> int:
        """How many the networks have."""
        return self.classes if self.classes > 2 else 1

    @property
    def loss(self) -> LossName:
        """The engine's."""
        if not self.classes:
            return "mse"
        return "binary_cross_entropy" if self.classes == 2 else "softmax_cross_entropy"


@dataclass(eq=False)
class Fitted:
    """What has come of a fit.

    Attributes
    ----------
    ensemble
        The snapshots chosen, with weights.
    recipes
        Of the members, those that diverged and those without a place in the ensemble included.
    encodings
        By name; those that the ensemble reads.
    weights
        What each of `recipes` counts in the ensemble, of sum 1.
    epochs
        The most that a member did.
    """

    ensemble: Ensemble
    recipes: list[Recipe]
    weights: np.ndarray
    epochs: int
    encodings: dict[str, Encoding]


@dataclass(eq=False)
class Fit:
    """A fit under way."""

    training: Part
    validation: Part
    settings: Settings
    encodings: dict[str, Encoding] = field(default_factory=dict)
    features: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    recipes: list[Recipe] = field(default_factory=list)
    found: list[list[Snapshot]] = field(default_factory=list)
    epochs: int = 0
    error: Diverged | None = None
    learnt: bool = False  # whether a member has, for all that is known

    def run(self) -> Fitted:
        """Train the members, some of each kind first, and choose among them.

        Raises
        ------
        Diverged
            All members did.
        """
        settings = self.settings
        generator = np.random.default_rng(settings.seed)
        rows, columns = self.training.coded.numbers.shape
        large = is_large(rows, columns, settings.counts)
        wide, small = is_wide(columns, settings.counts), is_small(rows)
        kinds = [SMOOTH, STEPS] if columns and not large else [STEPS]
        if settings.classes:
            kinds.reverse()
        plan = self._plan(kinds[0])
        left = plan.members
        if left == 1 and not len(settings.counts):  # of numbers alone one member mostly does better
            kinds.sort(key=SMOOTH.__ne__)
        few = left < _LEAST_TO_PROBE
        probes = kinds.copy() if len(kinds) > 1 and (not few or self._few_differ(left)) else []
        while left and (not self.recipes or self._seconds_left() != 0.0):
            count = (1 if few else _PROBES) if probes else left
            kind = probes.pop(0) if probes else self._best_kind(kinds)
            left -= count
            classes = settings.classes
            recipes = [draw(generator, kind, classes, large, wide, small) for _ in range(count)]
            recipes = self._with_views(recipes, plan.views)
            begun = time.perf_counter()
            self._train(recipes, plan)
            left = left or self._more(count, time.perf_counter() - begun)
        if not any(self.found) and self.error is not None:
            raise self.error
        if not self.learnt and _rows_differ(self.training.coded):  # else that is said already
            warn(_NOTHING_LEARNT, LearningWarning)
        ensemble = self._chosen()
        if settings.classes:
            validation = self.validation
            candidates = [snapshot for found in self.found for snapshot in found]
            ensemble = sharpened(ensemble, candidates, validation.targets, validation.weights)
        views = {member.view for member in ensemble.members}
        return Fitted(
            ensemble,
            self.recipes,
            self._weights(ensemble),
            self.epochs,
            {name: each for name, each in self.encodings.items() if name in views},
        )

    def _few_differ(self, members: int) -> bool:
        """Return whether so few members begin with one of each kind, one after the other.

        Not those of a regression, where cosines mostly do better, by much: two members, one of each
        kind, had an RMSE larger by 1 %, but of classes a log loss smaller by up to 16 %. And not
        where a time limit leaves no more than a few, which have it to themselves all at once.
        """
        return self.settings.classes > 0 and members > 1 and self.settings.until is None

    def _plan(self, kind: str) -> Plan:
        """Return for how much there is time, by how long a member takes for some rows.

        Where the time is short there are fewer members, but at least two, and then each has fewer
        epochs, at the end of which its learning rate is 0 all the same. Where it is short for some
        epochs of all rows, the rows become fewer.
        """
        settings = self.settings
        if self._seconds_left() is None:
            return Plan(settings.members, 1.0)
        rows = len(self.training.targets)
        pace, encoded = self._seconds_per_row(kind)
        seconds = self._seconds_left() or 0.0
        most = min(int(seconds / (_LEAST_EPOCHS * pace)), int(_ENCODED * seconds / encoded))
        if most < rows:
            rows = max(most, min(rows, _SAMPLE))
            self.training = self.training.take(slice(rows))
            self.validation = self.validation.take(slice(max(_FEW, rows // 4)))
        views = int(_ENCODED * seconds / (encoded * rows))
        cuts: Cuts = "tree" if views else "quantile"
        views = max(1, views)
        epochs = epochs_of(kind, rows, settings.epochs)
        workers = settings.workers or available_threads()
        room = max(1, workers) * seconds / (epochs * rows * pace)
        if room >= _LEAST_MEMBERS:
            return Plan(min(settings.members, int(room)), 1.0, views, cuts)
        return Plan(min(settings.members, _LEAST_MEMBERS), room / _LEAST_MEMBERS, views, cuts)

    def _with_views(self, recipes: list[Recipe], most: int) -> list[Recipe]:
        """Return recipes that read no more encodings than there is time to make.

        Trees of many columns may take longer than training.
        """
        made = {each.view: each for each in self.recipes}
        found = []
        for recipe in recipes:
            alike = [each for each in made.values() if each.kind == recipe.kind]
            if recipe.view not in made and len(made) >= most and alike:
                recipe = recipe.reading(alike[0])
            made.setdefault(recipe.view, recipe)
            found.append(recipe)
        return found

    def _more(self, count: int, seconds: float) -> int:
        """Return how many more members there is time for, where so many took so many seconds.

        The plan is a careful one, and many members end early.
        """
        settings, left = self.settings, self._seconds_left()
        if left is None:
            return 0
        workers = max(1, settings.workers or available_threads())
        rounds = int(left / (_SLOWER * max(seconds, _TICK) / -(-count // workers)))
        return max(0, min(settings.members - len(self.recipes), rounds * workers))

    def _seconds_per_row(self, kind: str) -> tuple[float, float]:
        """Return how long a member takes for a row, about: of an epoch, and to make its features.

        With an epoch goes its validation. Of many columns of numbers some stand for all.
        """
        settings = self.settings
        columns = max(1, self.training.coded.numbers.shape[1])
        some = min(columns, _SAMPLE_COLUMNS)
        count = max(_LEAST_SAMPLE, min(_SAMPLE, _SAMPLE_CELLS // some))
        sample = self.training.take(slice(count))
        coded = Coded(sample.coded.numbers[:, :some], sample.coded.codes)
        recipe = draw(np.random.default_rng(0), kind, settings.classes, True)
        begun = time.perf_counter()
        encoding = encoding_of(recipe, coded, self._indicators(sample), settings.counts)
        features = encoding.apply(coded)
        encoded = time.perf_counter() - begun
        batch = batch_size_of(len(self.training.targets))
        trainer = trainer_of(
            recipe, encoding, settings.outputs, settings.loss, batch, 1, settings.target
        )
        times = []
        for _ in range(2):  # the first compiles, or reads what has been compiled
            begun = time.perf_counter()
            trainer._fit_in_turn(
                _say_nothing, features, sample.targets, 1, sample_weight=sample.weights,
                progress=False,
            )  # fmt: skip
            times.append(time.perf_counter() - begun)
        rows = len(sample.targets)
        # A coarse clock may say that no time has passed.
        pace, encoded = max(times[-1], _TICK), max(encoded, _TICK)
        times_more = columns / some
        return times_more * _VALIDATED * pace / rows, times_more * encoded / rows

    def _seconds_left(self) -> float | None:
        """Return how many there are; None where there is no limit."""
        until = self.settings.until
        return None if until is None else max(0.0, until - time.perf_counter())

    def _best_kind(self, kinds: list[str]) -> str:
        """Return that of the members that have done best."""
        scores: dict[str, list[float]] = {kind: [] for kind in kinds}
        for recipe, found in zip(self.recipes, self.found, strict=True):
            if found and found[0].score is not None:
                scores[recipe.kind].append(found[0].score)
        return min(kinds, key=lambda kind: np.mean(scores[kind] or [np.inf]))

    def _train(self, recipes: list[Recipe], plan: Plan) -> None:
        """Train some members of one kind as planned; take what they leave."""
        settings, training, validation = self.settings, self.training, self.validation
        batch = batch_size_of(len(training.targets))
        epochs = epochs_of(recipes[0].kind, len(training.targets), settings.epochs)
        epochs = max(1, round(plan.share * epochs))
        for recipe in recipes:
            if recipe.view not in self.encodings:
                targets = self._indicators(training)
                encoding = encoding_of(recipe, training.coded, targets, settings.counts, plan.cuts)
                self.encodings[recipe.view] = encoding
                both = encoding.apply(training.coded), encoding.apply(validation.coded)
                self.features[recipe.view] = both
        steps = -(-len(training.targets) // batch)
        trainers = [
            trainer_of(
                recipe,
                self.encodings[recipe.view],
                settings.outputs,
                settings.loss,
                batch,
                epochs * steps,
                settings.target,
            )
            for recipe in recipes
        ]
        held = {name: pair[1] for name, pair in self.features.items()}
        weights = () if validation.weights is None else (validation.weights,)
        reasons: list[str] = []  # of what a caller cannot set: units and rates are the members' own
        try:
            population = trained_population(
                trainers,
                {name: pair[0] for name, pair in self.features.items()},
                training.targets,
                epochs,
                validation_data=(held, validation.targets, *weights),
                sample_weight=training.weights,
                views=[recipe.view for recipe in recipes],
                snapshots=self._snapshots(),
                patience=self._patience(),
                scoring=self._epoch_scoring(),
                metrics=(),
                callbacks=(),
                workers=settings.workers,
                time_limit=self._seconds_left(),
                progress=settings.verbose > 0,
                executor=None,
                on_error="raise",
                tell=reasons.append,
            )
        except Diverged as error:
            self.error = error
            self.recipes += recipes
            self.found += [[] for _ in recipes]
            return
        self.learnt |= not reasons
        self.recipes += recipes
        self.found += [self._calibrated(member.snapshots) for member in population]
        self.epochs = max(self.epochs, *(len(member.history) for member in population))
        if settings.verbose:
            what = "loss" if settings.scoring is None else "score"
            sign = -1 if settings.scoring is None and settings.classes else 1
            for recipe, member in zip(recipes, population, strict=True):
                print(
                    f"{recipe.view}: {len(member.history)} epochs, validation {what} "
                    f"{sign * population.value(member):.6g} ({member.ended})"
                )

    def _epoch_scoring(self) -> Callable[..., float] | None:
        """Return what epochs are compared by: of classes the log loss at the best temperature."""
        if self.settings.scoring is not None or not self.settings.classes:
            return self.settings.scoring
        targets = self.validation.targets

        def score(_: Any, outputs: np.ndarray, sample_weight: Any = None) -> float:
            return -calibrated(outputs, targets, sample_weight).loss

        return score

    def _calibrated(self, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
        """Return the snapshots of a member, of classes each divided by its best temperature."""
        if not self.settings.classes:
            return list(snapshots)
        return [
            cooled(each, self.validation.targets, self.validation.weights) for each in snapshots
        ]

    def _patience(self) -> int | Callable[[int], int]:
        """Return after how many epochs without progress a member ends.

        The loss of a member that was soon at its best seldom falls again. Other scores rise in
        jumps, and are waited for.
        """
        most = self.settings.patience
        return partial(patience_after, most) if self.settings.scoring is None else most

    def _indicators(self, rows: Part) -> np.ndarray:
        """Return what trees learn: numbers, or for each class whether it is that of a row."""
        classes, targets = self.settings.classes, rows.targets
        if classes <= 2:
            return targets
        return targets[:, None] == np.arange(classes)

    def _snapshots(self) -> int:
        """Return how many epochs of a member are kept."""
        rows = len(self.validation.targets)
        if rows < _FEW:
            return 1
        one = 4 * rows * self.settings.outputs * self.settings.members
        return max(1, min(MOST_SNAPSHOTS, _OUTPUT_BYTES // one))

    def _chosen(self) -> Ensemble:
        """Return the ensemble."""
        validation = self.validation
        snapshots = [snapshot for found in self.found for snapshot in found]
        if len(validation.targets) < _FEW:
            return Ensemble(snapshots)
        if len(validation.targets) < _ENOUGH:
            return self._bagged(snapshots)
        return Ensemble.select(
            snapshots, validation.targets, SIZE, self.settings.scoring, validation.weights
        )

    def _bagged(self, snapshots: list[Snapshot]) -> Ensemble:
        """Return the mean of choices among half of the members each, by rows weighed anew.

        By few rows the best choice is in part one by luck, of one or two members often; the mean of
        many such choices depends less on single rows. Halves are those of bagged ensemble selection
        (Caruana et al. 2004, "Ensemble selection from libraries of models"), exponential weights of
        rows those of the Bayesian bootstrap (Rubin 1981).
        """
        settings, validation = self.settings, self.validation
        weights = validation.weights
        drawn = np.ones(len(validation.targets)) if weights is None else np.array(weights, float)
        there = np.flatnonzero(drawn)
        members = [found for found in self.found if found]
        generator = np.random.default_rng([settings.seed, len(there)])
        counts: Counter[tuple[int, int]] = Counter()
        for _ in range(_BAGS):
            places = generator.permutation(len(members))[: max(1, len(members) // 2)]
            times = np.zeros(len(drawn))
            times[there] = generator.exponential(size=len(there))
            ensemble = Ensemble.select(
                [snapshot for place in np.sort(places) for snapshot in members[place]],
                validation.targets,
                SIZE,
                settings.scoring,
                drawn * times,
            )
            for snapshot, weight in zip(ensemble.members, ensemble.weights, strict=True):
                counts[snapshot.problem.seed, snapshot.epoch] += weight
        kept = dict(counts.most_common(_KEPT))
        chosen = [each for each in snapshots if (each.problem.seed, each.epoch) in kept]
        return Ensemble(chosen, [kept[each.problem.seed, each.epoch] for each in chosen])

    def _weights(self, ensemble: Ensemble) -> np.ndarray:
        """Return what each member counts in an ensemble of snapshots."""
        places = {recipe.seed: place for place, recipe in enumerate(self.recipes)}
        weights = np.zeros(len(self.recipes))
        for snapshot, weight in zip(ensemble.members, ensemble.weights, strict=True):
            weights[places[snapshot.problem.seed]] += weight
        return weights


def _rows_differ(coded: Coded) -> bool:
    """Return whether any two rows differ in anything."""
    both_missing = np.isnan(coded.numbers) & np.isnan(coded.numbers[:1])
    numbers = (coded.numbers != coded.numbers[:1]) & ~both_missing
    return bool(numbers.any() or (coded.codes != coded.codes[:1]).any())


def _say_nothing(text: str) -> None:
    """Keep a warning of a network to itself."""
