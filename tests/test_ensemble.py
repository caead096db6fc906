"""Ensembles: means of predictions, greedy selection, and files."""

import copy
import json
import pickle
import struct
import threading

import numpy as np
import pytest
from scipy import sparse, special
from sklearn.metrics import f1_score
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, spread, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    CorruptFile,
    Dense,
    Ensemble,
    InvalidInput,
    LayerNorm,
    MissingFile,
    Network,
    Snapshot,
    Trainer,
    TrainerBusy,
    UnusableFile,
    train_population,
)
from fastnn.inputs.data import Data
from fastnn.storage import tensor_file
from fastnn.training.selection import candidates_of, greedy_counts

SEVERAL = np.stack([BINARY, 1 - BINARY], axis=1)
SOFT = special.softmax(np.stack([REAL, -REAL, 0 * REAL], axis=1), axis=1)
COUNTS = np.floor(np.abs(3 * REAL))
# Loss, targets, outputs, and what its members predict of raw outputs z.
KINDS = {
    "classes": ("softmax_cross_entropy", LABELS, 3, lambda z: special.softmax(z, axis=1)),
    "soft labels": ("softmax_cross_entropy", SOFT, 3, lambda z: special.softmax(z, axis=1)),
    "binary": ("binary_cross_entropy", BINARY, 1, special.expit),
    "several labels": ("binary_cross_entropy", SEVERAL, 2, special.expit),
    "numbers": ("mse", REAL, 1, lambda z: z),
    "several numbers": ("huber", np.stack([REAL, REAL**2], axis=1), 2, lambda z: z),
    "counts": ("poisson", COUNTS, 1, np.exp),
    "margins": ("hinge", BINARY, 1, lambda z: z),
}
WEIGHED = np.array([0.5, 0.3, 0.2])


def members_of(kind, target, **settings):
    loss, _, outputs, _ = KINDS[kind]
    last = Dense(outputs)
    settings |= {"target": target, "loss": loss}
    return [
        spread(trainer_of([Dense(6, "tanh"), last], **settings)),
        spread(trainer_of([last], optimizer=AveragedSGD(0.1), seed=2, **settings)),
        spread(trainer_of([Dense(9, "gelu"), LayerNorm(), Dense(5, "relu"), last], batch_size=1,
                          optimizer=Adam(ema=0.9), **settings)),
    ]  # fmt: skip


@pytest.mark.parametrize("target", [each for each in TARGETS if each != "cuda"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_the_weighted_mean_of_the_members(kind, target):
    loss, y, outputs, inside = KINDS[kind]
    members = members_of(kind, target)
    ensemble = Ensemble(members, WEIGHED * 4)
    mean = sum(
        w * inside(each.forward(X).astype(float)) for w, each in zip(WEIGHED, members, strict=True)
    )
    np.testing.assert_allclose(ensemble.weights, WEIGHED, rtol=1e-15)
    np.testing.assert_allclose(ensemble.forward(X), mean, rtol=2e-5, atol=2e-6)
    found = ensemble.predict(X)
    if kind in ("classes", "soft labels"):
        expected = mean.argmax(axis=1)
    elif kind in ("binary", "several labels", "margins"):
        expected = (mean >= (0.5 if "margin" not in kind else 0)).astype(int).reshape(found.shape)
    else:
        expected = mean.reshape(found.shape)
    assert found.dtype == members[0].predict(X).dtype
    assert found.shape == members[0].predict(X).shape
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    if kind in ("classes", "soft labels", "binary", "several labels"):
        rows = ensemble.predict_proba(X)
        table = np.hstack((1 - mean, mean)) if kind == "binary" else mean
        assert rows.shape == members[0].predict_proba(X).shape
        np.testing.assert_allclose(rows, table, rtol=2e-5, atol=2e-6)
        if kind in ("classes", "binary"):
            losses = -np.log(table[np.arange(37), y])
            found = ensemble.evaluate(X, y, WEIGHTS)["loss"]
            assert found == pytest.approx(np.average(losses, weights=WEIGHTS), rel=1e-5)
    else:
        with pytest.raises(InvalidInput, match="gives no probabilities"):
            ensemble.predict_proba(X)
    # One member alone is what its trainer is.
    alone, trainer = Ensemble(members[:1]), members[0]
    expected = trainer.evaluate(X, y, WEIGHTS, metrics=("mae",) if kind == "numbers" else ())
    found = alone.evaluate(X, y, WEIGHTS, metrics=("mae",) if kind == "numbers" else ())
    assert found == pytest.approx(expected, rel=1e-5)
    assert (alone.predict(X) == trainer.predict(X)).all() or loss == "poisson"


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_predictions_are_the_same_bits_for_any_number_of_threads_and_rows(threads):
    random = np.random.default_rng(3)
    rows = random.normal(size=(3001, 40)).astype(np.float32)
    members = [
        Trainer(Network(40, [Dense(units, "relu"), Dense(3)]), seed=units) for units in (64, 97)
    ]
    ensemble = Ensemble([*members, Trainer(Network(40, [Dense(3)]), dtype="float64")])
    expected = ensemble.predict_proba(rows)
    ensemble.threads = threads
    assert (ensemble.predict_proba(rows) == expected).all()
    for first, last in ((0, 1), (7, 70), (1000, 3001)):
        assert (ensemble.predict_proba(rows[first:last]) == expected[first:last]).all()
    for other in (np.asfortranarray(rows), rows.astype(np.float64), rows[:, ::-1][:, ::-1]):
        assert (ensemble.predict_proba(other) == expected).all()
    np.testing.assert_allclose(
        ensemble.predict_proba(sparse.csr_matrix(rows[:50])), expected[:50], rtol=1e-4
    )
    assert (ensemble.predict_proba(rows) == expected).all()  # after sparse ones, too


def test_one_output_of_linear_models_is_predicted_on_several_threads():
    members = [spread(trainer_of([Dense(1)], loss="mse", seed=s, target="cpu")) for s in range(40)]
    ensemble = Ensemble(members, threads=3)
    rows = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    expected = np.mean([each.predict(rows) for each in members], axis=0)
    np.testing.assert_allclose(ensemble.predict(rows), expected, rtol=1e-4, atol=1e-5)


def test_members_read_names_of_a_mapping_or_columns_of_an_array():
    members = [trainer_of(inputs=n, seed=n, target="cpu") for n in (4, 2)]
    parts = {"all": X, "two": X[:, [3, 0]]}
    expected = Ensemble(members, views=["all", "two"]).predict_proba(parts)
    mean = (members[0].predict_proba(X) + members[1].predict_proba(parts["two"])) / 2
    np.testing.assert_allclose(expected, mean, rtol=1e-6)
    by_column = Ensemble(members, views=[None, [3, 0]])
    assert (by_column.predict_proba(X) == expected).all()
    assert (by_column.predict_proba(X.tolist()) == by_column.predict_proba(X.astype(float))).all()
    by_name = Ensemble(members, views=["all", "two"])
    for given, message in (
        (X, "X must be a mapping, since a member reads its 'all', not ndarray"),
        ({"all": X}, "X has no 'two', which a member reads, but 'all'"),
        (
            {"all": X, "two": X[:5, :2]},
            "as many rows for each member, but 'two' has 5, and 'all' 3",
        ),
        ({"all": X, "two": X}, "X has 4 columns but the network has 2 inputs"),
    ):
        with pytest.raises(InvalidInput, match=message):
            by_name.predict(given)
    by_column = Ensemble(members[1:], views=[[3, 0]])
    with pytest.raises(InvalidInput, match=r"shape \(37, 2\), but a member reads its column 3"):
        by_column.predict(X[:, :2])


def greedy(parts, loss, size):
    """Return which parts are chosen: the textbook's loop, in float64."""
    chosen, least = [], np.inf
    while len(chosen) < size:
        tried = [
            loss(sum([parts[i] for i in [*chosen, j]]) / (len(chosen) + 1))
            for j in range(len(parts))
        ]
        if min(tried) >= least:
            break
        least = min(tried)
        chosen.append(int(np.argmin(tried)))
    return chosen


def area(y, p, w):
    """Return the share of pairs of a 1 and a 0 whose scores are in order."""
    pairs = np.outer(w[y == 1], w[y == 0])
    return (pairs * (p[y == 1][:, None] > p[y == 0])).sum() / pairs.sum()


def surprise(y, p, w):
    return np.average(-np.log(np.where(y, p, 1 - p)), weights=w)


# (targets, mean, weights of rows) -> loss.
LOSSES = {
    ("classes", None): lambda y, p, w: np.average(-np.log(p[np.arange(len(y)), y]), weights=w),
    ("classes", "f1"): lambda y, p, w: (
        -f1_score(y, p.argmax(axis=1), average="macro", sample_weight=w)
    ),
    ("classes", "accuracy"): lambda y, p, w: -np.average(p.argmax(axis=1) == y, weights=w),
    ("soft labels", None): lambda y, p, w: np.average(-(y * np.log(p)).sum(axis=1), weights=w),
    ("binary", None): lambda y, p, w: surprise(y, p[:, 0], w),
    ("binary", "log_loss"): lambda y, p, w: surprise(y, p[:, 0], w),
    ("binary", "accuracy"): lambda y, p, w: -np.average((p[:, 0] >= 0.5) == y, weights=w),
    ("binary", "auc"): lambda y, p, w: -area(y, p[:, 0], w),
    ("several labels", None): lambda y, p, w: surprise(y, p, np.stack([w, w], axis=1)),
    ("several labels", "accuracy"): lambda y, p, w: (
        -np.average(((p >= 0.5) == y).mean(axis=1), weights=w)
    ),
    ("numbers", None): lambda y, p, w: np.average((p[:, 0] - y) ** 2, weights=w),
    ("numbers", "rmse"): lambda y, p, w: np.average((p[:, 0] - y) ** 2, weights=w),
    ("numbers", "mae"): lambda y, p, w: np.average(abs(p[:, 0] - y), weights=w),
    ("numbers", "r2"): lambda y, p, w: np.average((p[:, 0] - y) ** 2, weights=w),
    ("several numbers", None): lambda y, p, w: np.average(
        np.where(abs(p - y) < 1, (p - y) ** 2 / 2, abs(p - y) - 0.5).mean(axis=1), weights=w
    ),
    ("counts", None): lambda y, p, w: np.average(p[:, 0] - y * np.log(p[:, 0]), weights=w),
}


@pytest.mark.parametrize("given", [{}, {"y_val": 1 - BINARY}, {"sample_weight": WEIGHTS[:9]}])
def test_targets_and_weights_that_are_not_given_are_those_of_the_population(given):
    members = [trainer_of([Dense(1)], loss="mse", target="numpy", seed=seed) for seed in range(3)]
    heavy = np.linspace(0.1, 10.0, 9)
    validation = X[:9], BINARY[:9], heavy
    population = train_population(members, X, BINARY, 3, validation_data=validation, snapshots=3)
    if "y_val" in given:
        given = {"y_val": given["y_val"][:9]}
    seen = []

    def scoring(y, outputs, sample_weight=None):
        seen.append((y.ravel().tolist(), sample_weight.tolist()))
        return -float(np.average((y.ravel() - outputs.ravel()) ** 2, weights=sample_weight))

    chosen = Ensemble.select(population, scoring=scoring, size=4, **given)
    wanted = {"y_val": BINARY[:9], "sample_weight": heavy} | given
    assert seen[0] == tuple(np.asarray(each, float).tolist() for each in wanted.values())
    expected = Ensemble.select(population.snapshots, scoring=scoring, size=4, **wanted)
    assert (chosen.forward(X) == expected.forward(X)).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "scoring"), LOSSES)
def test_selection_is_that_of_the_textbook(kind, scoring, weighted):
    loss, y, outputs, inside = KINDS[kind]
    random = np.random.default_rng(7)
    trainer = trainer_of([Dense(outputs)], loss=loss)
    y = np.tile(y, (4, 1)) if y.ndim > 1 else np.tile(y, 4)
    weights = random.uniform(0.2, 2, len(y)) if weighted else None
    spread_out = random.normal(size=(20, len(y), outputs)).astype(np.float32)
    if kind in ("classes", "binary", "numbers"):  # so that means are better
        spread_out += np.eye(3)[y] if kind == "classes" else y[:, None] - 0.5 * (kind == "binary")
    candidates = [Snapshot.of(trainer, outputs=each) for each in spread_out]
    ensemble = Ensemble.select(candidates, y, 10, scoring, weights)
    parts = [inside(each.astype(np.float64)) for each in spread_out]
    by_rows = np.ones(len(y)) if weights is None else weights
    chosen = greedy(parts, lambda mean: LOSSES[kind, scoring](y, mean, by_rows), 10)
    assert len(chosen) > 2
    order = list(dict.fromkeys(chosen))
    expected = [chosen.count(index) / len(chosen) for index in order]
    np.testing.assert_allclose(ensemble.weights, expected, rtol=1e-12)
    numbers = {id(each._parameters): index for index, each in enumerate(candidates)}
    assert [numbers[id(each._parameters)] for each in ensemble.members] == order


def test_soft_labels_are_judged_without_smoothing_as_labels_are():
    trainer = trainer_of([Dense(3)], label_smoothing=0.2)
    soft = np.eye(3)[LABELS]
    candidates = [Snapshot.of(trainer, outputs=(size * soft).astype("f4")) for size in (9, 3)]
    for y in (LABELS, soft):
        chosen = Ensemble.select(candidates, y, size=1)
        assert chosen.members[0]._parameters is candidates[0]._parameters


def test_weights_of_rows_decide_and_the_first_of_equals_is_taken():
    trainer = trainer_of([Dense(3)])
    good, bad = np.zeros((37, 3), np.float32), np.zeros((37, 3), np.float32)
    good[np.arange(37), LABELS] = 3
    bad[:, 0] = 3
    candidates = [Snapshot.of(trainer, outputs=each) for each in (bad, good, good, bad)]
    best = Ensemble.select(candidates, LABELS)
    assert len(best) == 1 and best.weights.tolist() == [1.0]
    # What makes the mean no better is not added, even where it makes it no worse.
    weak = Snapshot.of(trainer, outputs=-good / 9)
    best = Ensemble.select([weak, candidates[1]], LABELS, scoring="accuracy")
    assert best.weights.tolist() == [1.0] and len(best) == 1
    only = (LABELS == 0).astype(float)
    assert Ensemble.select(candidates, LABELS, sample_weight=only).weights.tolist() == [1.0]
    mixed = Ensemble.select(candidates, LABELS, scoring=lambda y, outputs: -outputs[0, 0])
    assert len(mixed) == 1
    nan = np.full((37, 3), np.nan, np.float32)
    assert len(Ensemble.select([Snapshot.of(trainer, outputs=nan), *candidates], LABELS)) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_an_ensemble_of_a_population_is_better_than_its_best_member(target):
    y = (X[:, :2] > 0).sum(axis=1)
    trainers = [
        trainer_of([Dense(5, "tanh"), Dense(3)], seed=seed, optimizer=Adam(0.03), target=target)
        for seed in range(2 if target == "cuda" else 5)
    ]
    validation = X[:20], y[:20]
    population = train_population(
        trainers, X[20:], y[20:], 3 if target == "cuda" else 30, validation_data=validation,
        snapshots=3,
    )  # fmt: skip
    ensemble = Ensemble.select(population, size=10)
    assert ensemble.evaluate(*validation)["loss"] <= population.best.score + 1e-6
    named = {id(each.problem) for each in population.snapshots}
    assert {id(each.problem) for each in ensemble.members} <= named  # networks are shared
    assert all(each.outputs is None for each in ensemble.members)
    assert f"Ensemble({len(ensemble)} member" in repr(ensemble)


def same(one, other, given=X):
    return (one.forward(given) == other.forward(given)).all()


def test_files_copies_and_pickles_predict_the_same_bits(tmp_path):
    own = trainer_of([Dense(4, lambda z: z * 0.5), Dense(3)], optimizer=SGD(lambda step: 0.1),
                     target="cpu", dtype="float64")  # fmt: skip
    ensemble = Ensemble([*members_of("classes", "cpu"), own], [0.1, 0.2, 0.3, 0.4])
    ensemble.save(tmp_path / "ensemble.safetensors")
    others = [
        Ensemble.load(tmp_path / "ensemble.safetensors"),
        Ensemble(ensemble.members, ensemble.weights),
        copy.copy(ensemble),
        copy.deepcopy(ensemble),
    ]
    for other in others:
        assert same(ensemble, other) and other.weights.tolist() == ensemble.weights.tolist()
    plain = Ensemble(members_of("classes", "cpu"))
    assert same(plain, pickle.loads(pickle.dumps(plain)))
    on_numpy = Ensemble.load(tmp_path / "ensemble.safetensors", target="numpy")
    np.testing.assert_allclose(on_numpy.forward(X), ensemble.forward(X), rtol=1e-5, atol=1e-6)
    two = Ensemble([trainer_of(inputs=2), trainer_of(inputs=3)], views=["a", "b"])
    two.save(tmp_path / "two")
    given = {"a": X[:, :2], "b": X[:, 1:]}
    assert same(two, Ensemble.load(tmp_path / "two"), given)
    columns = Ensemble([trainer_of(inputs=2), trainer_of(inputs=3)], views=[[3, 1], range(1, 4)])
    columns.save(tmp_path / "two")
    assert same(columns, Ensemble.load(tmp_path / "two"))


def test_what_was_written_by_something_else_is_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(MissingFile):
        Ensemble.load(path)
    with pytest.raises(UnusableFile):
        Ensemble.load(tmp_path)
    trainer_of().save(path)
    with pytest.raises(CorruptFile, match=r"holds a Trainer; fastnn.Trainer.load reads it"):
        Ensemble.load(path)
    Ensemble(members_of("classes", "cpu"), WEIGHED).save(path)
    with pytest.raises(CorruptFile, match="holds an Ensemble; fastnn.Ensemble.load reads it"):
        Trainer.load(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CorruptFile):
            Ensemble.load(path)
    path.write_bytes(whole)
    tensors, content = tensor_file.read(path)
    member = content["members"][0]
    array = tensors["0.layers.0.weights"]
    for change in (
        {"weights": [0.5, 0.5]},
        {"weights": [0.5, 0.5, 0.5]},
        {"weights": [1.5, -0.3, -0.2]},
        {"weights": None},
        {"members": []},
        {"members": [member, member, {**member, "problem": 9}]},
        {"members": [{**member, "view": {"columns": [3]}}, *content["members"][1:]]},
        {"members": [{**member, "view": [-1]}, *content["members"][1:]]},
        {"members": [{**member, "target": "gpu"}, *content["members"][1:]]},
        {"members": [{**member, "score": "x"}, *content["members"][1:]]},
        {"members": [{**member, "feature_names": ["a"]}, *content["members"][1:]]},
        {"members": 3},
        {"problems": [{}, {}, {}]},
        {"kind": "other"},
        {"more": 1},
    ):
        tensor_file.write(path, tensors, content | change)
        with pytest.raises(CorruptFile):
            Ensemble.load(path)
    for changed in (
        {"0.layers.0.weights": array.astype(np.float64)},
        {"0.layers.0.weights": array[:-1]},
        {"0.layers.0.weights": array * np.nan},
        {"3.layers.0.weights": array},
    ):
        tensor_file.write(path, tensors | changed, content)
        with pytest.raises(CorruptFile):
            Ensemble.load(path)
    path.write_bytes(struct.pack("<Q", 2) + json.dumps({}).encode())
    with pytest.raises(CorruptFile):
        Ensemble.load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": []}, "at least one Trainer or Snapshot, not none"),
        ({"members": ["x"]}, r"members\[0\] must be a Trainer or a Snapshot, not 'x'"),
        ({"weights": [1]}, "weights must be 2, one a member, not 1"),
        ({"weights": [1, -1]}, r"weights\[1\] must be a finite number in \[0"),
        ({"weights": [0, 0]}, "weights must not all be 0"),
        ({"weights": {0: 1.0, 1: 3.0}}, "weights must be numbers in the order of the members"),
        ({"weights": {1.0, 3.0}}, "weights must be numbers in the order of the members"),
        ({"views": ["a"]}, "views must be 2, one a member, not 1"),
        ({"views": ["a", 2.5]}, r"views\[1\] must be None, the key"),
        ({"views": ["a", [1, [2]]]}, r"views\[1\] must be None, the key"),
        ({"views": [None, range(3)]}, r"views\[1\] has 3 columns, but the network has 4 inputs"),
        ({"threads": 0}, "threads must be a whole number"),
        ({"members": [trainer_of(), trainer_of(loss="mse")]}, "member 1 has loss 'mse' with 3"),
        ({"members": [trainer_of(), trainer_of([Dense(2)])]}, "with 2 outputs, and member 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Ensemble(**({"members": [trainer_of(), trainer_of()]} | arguments))


def test_candidates_that_make_no_sense_are_refused():
    trainer = trainer_of()
    good = Snapshot.of(trainer, outputs=trainer.forward(X))
    for given, y, message in (
        ([], LABELS, "candidates must be at least one with finite outputs, not none"),
        ([trainer], None, r"candidates\[0\] must be a Snapshot with outputs"),
        ([trainer], LABELS, r"candidates\[0\] must be a Snapshot with outputs"),
        ([good, Snapshot.of(trainer)], LABELS, r"candidates\[1\] must be a Snapshot with outputs"),
        ([good], LABELS[:5], "y_val has 5 rows but there are 37 samples"),
        ([good], None, "y_val must be the targets"),
        ([good, Snapshot.of(trainer, outputs=trainer.forward(X[:5]))], LABELS, "of the same rows"),
        ([Snapshot.of(trainer, outputs=np.full((37, 3), np.inf))], LABELS, "not 1 without"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Ensemble.select(given, y)
    for scoring in ("r2", "best", 3):
        with pytest.raises(InvalidInput, match="r2|best|scoring must be"):
            Ensemble.select([good], LABELS, scoring=scoring)


def test_several_threads_may_predict_at_once():
    ensemble = Ensemble(members_of("classes", "cpu"), threads=2)
    rows = np.random.default_rng(1).normal(size=(20_000, 4)).astype(np.float32)
    expected = ensemble.predict_proba(rows)
    found = []

    def predict():
        for _ in range(3):
            found.append((ensemble.predict_proba(rows) == expected).all())
            found.append((ensemble.predict_proba(rows[:3]) == expected[:3]).all())

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 24 and all(found)


def test_a_prediction_within_one_of_the_same_ensemble_is_refused():
    """As a signal's handler would make it, which Python calls between two networks."""
    ensemble = Ensemble(members_of("counts", "cpu"))
    expected = ensemble.predict(X)
    (together,) = ensemble._open().together
    finish, met = together.finish, []

    def handler(outputs, into):
        with pytest.raises(TrainerBusy, match="in the middle of a prediction of the same ensemble"):
            ensemble.predict(X[:3])
        met.append(1)
        finish(outputs, into)

    together.finish = handler
    assert (ensemble.predict(X) == expected).all() and len(met) == 3
    together.finish = finish
    assert (ensemble.predict(X) == expected).all()


@pytest.mark.parametrize("size", [1e9, 1e25])
def test_numbers_of_any_size_are_compared_by_what_is_left_of_them(size):
    y = size * (1 + 1e-6 * np.random.default_rng(0).normal(size=50))
    problem = trainer_of([Dense(1)], 4, loss="mse", dtype="float64", target="numpy").problem
    outputs = [(y + size * error)[:, None] for error in (2e-8, 0.0, -1e-7)]
    data = Data(np.zeros((50, 4)), y[:, None])
    assert greedy_counts(candidates_of([problem] * 3, outputs, data, None), 8) == [1]


@pytest.mark.parametrize("weights", [[0.1 + 0.7 * i for i in range(9)], [1 / 3] * 9, None, [3] * 9])
@pytest.mark.parametrize("count", [9, 7, 5])
def test_a_file_has_the_weights_to_their_bits(weights, count, tmp_path):
    members = [
        trainer_of([Dense(1)], loss="mse", dtype="float64", seed=seed, target="numpy")
        for seed in range(count)
    ]
    ensemble = Ensemble(members, None if weights is None else weights[:count])
    for _ in range(3):
        ensemble.save(tmp_path / "it.fastnn")
        loaded = Ensemble.load(tmp_path / "it.fastnn")
        assert np.array_equal(loaded.weights, ensemble.weights)
        assert np.array_equal(loaded.predict(X), ensemble.predict(X))
        ensemble = loaded


def of_outputs(loss, columns, dtype="float32"):
    """Return a network whose outputs are its features, or 0 beside one feature."""
    W = np.eye(columns, dtype=dtype)
    trainer = trainer_of([Dense(columns)], columns, loss=loss, dtype=dtype, target="numpy")
    trainer.set_parameters([(W, np.zeros(columns, dtype))])
    return trainer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 10, 18, 30, 100, 1000])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_mean_of_probabilities_close_to_1_is_scored_as_its_member(sign, size, dtype):
    random = np.random.default_rng(0)
    z = (sign * size + random.normal(size=(200, 1)) + np.arange(200)[:, None] % 2).astype(dtype)
    y = np.arange(200) % 2
    for loss, features, labels, metrics in (
        ("binary_cross_entropy", z, y, ["auc", "log_loss"]),
        ("binary_cross_entropy", np.hstack((z, -z)), np.stack((y, 1 - y), axis=1), ["auc"]),
        ("softmax_cross_entropy", np.hstack((0 * z, z)), y, ["auc", "log_loss"]),
        ("poisson", -abs(z), y, ["mae"]),
    ):
        trainer = of_outputs(loss, features.shape[1], dtype)
        expected = trainer.evaluate(features, labels, metrics=metrics)
        for members in ([trainer], [trainer, trainer]):
            found = Ensemble(members).evaluate(features, labels, metrics=metrics)
            assert found == pytest.approx(expected, rel=1e-5), loss
        ensemble = Ensemble([trainer, trainer], [1, 0])
        assert (ensemble.predict(features) == trainer.predict(features)).all() or loss == "poisson"
        if loss != "poisson":
            table = trainer.predict_proba(features)
            np.testing.assert_allclose(ensemble.predict_proba(features), table, rtol=1e-5)
            assert ensemble.forward(features).shape == features.shape


def test_a_mean_of_float32_and_float64_keeps_what_both_say():
    members = [of_outputs("binary_cross_entropy", 1, dtype) for dtype in ("float32", "float64")]
    rows, labels = np.array([[95.0], [-95.0]]), [0, 1]
    assert Ensemble(members).evaluate(rows, labels)["loss"] == pytest.approx(95, rel=1e-6)


@pytest.mark.parametrize("scoring", [None, "log_loss", "auc"])
@pytest.mark.parametrize("size", [0, 20, 30, 100, -100, 300])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "softmax_cross_entropy"])
def test_selection_tells_candidates_apart_whose_probabilities_round_to_1(loss, size, scoring):
    random = np.random.default_rng(0)
    y = np.arange(300) % 2
    candidates = []
    for gain in (0.0, 2.0):
        z = (size + gain * (y - 0.5) + random.normal(size=300)).astype(np.float32)[:, None]
        outputs = z if loss == "binary_cross_entropy" else np.hstack((0 * z, z))
        trainer = trainer_of([Dense(outputs.shape[1])], loss=loss, target="numpy")
        candidates.append(Snapshot.of(trainer, outputs=outputs))
    (chosen,) = Ensemble.select(candidates, y, 1, scoring).members
    assert chosen._parameters is candidates[1]._parameters


@pytest.mark.parametrize("kind", ["classes", "binary", "several labels", "numbers", "counts"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float16", object, None])
def test_a_mean_of_whole_numbers_is_scored_as_the_same_in_float64(kind, dtype):
    members = members_of(kind, "numpy")
    y, width = KINDS[kind][1], KINDS[kind][2]
    votes = np.zeros((len(y), width))
    votes[np.arange(len(y)), np.arange(len(y)) % width] = 1.0
    votes[1::5] = 0.0
    given = votes.tolist() if dtype is None else votes.astype(dtype)
    expected = Ensemble(members).measured(votes, y)
    assert np.isfinite(expected["loss"])
    tolerance = 1.0 if dtype == "float16" else 1e-12  # its smallest number is another
    assert Ensemble(members).measured(given, y) == pytest.approx(expected, rel=tolerance)


def test_an_array_of_which_all_members_read_all_is_checked_once_alone(monkeypatch):
    members = members_of("numbers", "numpy")
    ensemble, expected = Ensemble(members), Ensemble(members).predict(np.asfortranarray(X)[:1])
    monkeypatch.setattr("fastnn.training.ensemble.parts_of", None)
    monkeypatch.setattr("fastnn.training.ensemble.check_seen", None)
    assert ensemble.predict(X[:1]).tolist() == expected.tolist()
