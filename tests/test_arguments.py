"""Settings that are misspelt, or belong elsewhere, are refused with what to write."""

import copy
import dataclasses
import inspect
import pickle
import re
from itertools import chain

import numpy as np
import pytest

import fastnn
from fastnn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    EarlyStopping,
    Ensemble,
    InvalidInput,
    LayerNorm,
    Network,
    Trainer,
    UnknownArgument,
    arguments,
    datasets,
    graph,
    plots,
    schedules,
)

NETWORK = Network(2, [Dense(3), Dense(2)])
X, Y = np.zeros((4, 2)), np.arange(4) % 2


def trainer():
    return Trainer(NETWORK, target="numpy")


CASES = {
    "SGD has no l2: penalties are .*: Dense(10, l2=...), Tr": lambda: SGD(0.1, l2=1),
    "SGD has no lr: it is called learning_rate here": lambda: SGD(lr=0.1),
    "SGD needs learning_rate; it takes learning_rate, momentum and nest": lambda: SGD(),
    "SGD takes 3 arguments by their places at most, not 4": lambda: SGD(0.1, 0.9, True, 0.1),
    "SGD has no weight_decay: AdamW(weight_decay=...)": lambda: SGD(0.1, weight_decay=1e-4),
    "Adam has no betas: it is called beta1 and beta2 here": lambda: Adam(betas=(0.9, 0.99)),
    "Adam has no eps: it is called epsilon here": lambda: Adam(1e-3, eps=1e-8),
    "AdamW has no amsgrad: no optimizer here has": lambda: AdamW(amsgrad=True),
    "Trainer has no weight_decay: .*Trainer(network, l2=...)": lambda: Trainer(
        NETWORK, weight_decay=1e-4
    ),
    "Trainer has no learning_rate: it is the optimizer's: Trainer(network, optimizer=SGD(lea": (
        lambda: Trainer(NETWORK, learning_rate=0.1)
    ),
    "Trainer has no lr: it is the optimizer's: Trainer(network, opt": lambda: Trainer(
        NETWORK, lr=0.1
    ),
    "Trainer has no momentum: it is a setting of SGD: Trainer(network, optimizer=SGD(0.1, mom": (
        lambda: Trainer(NETWORK, momentum=0.9)
    ),
    "Trainer has no epochs: it is an argument of fit": lambda: Trainer(NETWORK, epochs=5),
    "Trainer has no max_iter: it is an argument of fit: trainer.fit(X, y, epochs=...)": (
        lambda: Trainer(NETWORK, max_iter=5)
    ),
    "Trainer has no optimiser: did you mean optimizer?": lambda: Trainer(NETWORK, optimiser=1),
    "Trainer has no a: it takes network, loss, .*; Trainer has no lr: it is": lambda: Trainer(
        NETWORK, a=1, lr=2
    ),
    "Trainer has no device: it is called target here": lambda: Trainer(NETWORK, device="cuda"),
    "Trainer has no random_state: it is called seed here": lambda: Trainer(NETWORK, random_state=0),
    "Trainer needs network; it takes network, loss, optimizer": lambda: Trainer(),
    "Trainer.fit has no batch_size: it is a setting of the trainer: Trainer(network, batch_s": (
        lambda: trainer().fit(X, Y, batch_size=32)
    ),
    "Trainer.fit has no validation_split: .*validation_data=(X_new": lambda: trainer().fit(
        X, Y, validation_split=0.2
    ),
    "Trainer.fit needs y; it takes X, y, epochs": lambda: trainer().fit(X),
    "Network needs layers; .*as in Network(784, [Dense(128": lambda: Network([3, 4, 1]),
    "Network takes 2 arguments by their places at most, not 3": lambda: Network(3, 4, 1),
    "Network has no input_dim: it is called inputs here": lambda: Network(input_dim=3, layers=[]),
    "Dense has no activaton: did you mean activation?": lambda: Dense(3, activaton="relu"),
    "Dense has no input_shape: inputs are a network's": lambda: Dense(3, input_shape=(4,)),
    "Dense has no use_bias: it is called bias here": lambda: Dense(3, use_bias=False),
    "Dense has no dropout: it is a layer of its own": lambda: Dense(3, dropout=0.2),
    "Dropout has no p: it is called rate here": lambda: Dropout(p=0.2),
    "LayerNorm has no normalized_shape: it takes as many": lambda: LayerNorm(normalized_shape=3),
    "BatchNorm has no eps: it is called epsilon here": lambda: BatchNorm(eps=1e-3),
    "EarlyStopping is given patience twice, by": lambda: EarlyStopping("val_loss", patience=3),
    "EarlyStopping has no restore_best_weights: it is called restore_best": lambda: EarlyStopping(
        restore_best_weights=True
    ),
    "StepDecay has no step_size: every counts steps, .*every = step_size * steps of an epoch": (
        lambda: schedules.StepDecay(0.1, step_size=30)
    ),
    "Cosine has no T_max: steps counts updates, .*steps = T_max * steps": (
        lambda: schedules.Cosine(0.1, T_max=10)
    ),
    "Ensemble has no n_estimators: it takes members, weights": lambda: Ensemble(n_estimators=5),
    "sweep has no lr: it is the optimizer's": lambda: fastnn.sweep(trainer(), X, Y, lr=[0.1]),
    "train_population has no n_epochs: it is called epochs": lambda: fastnn.train_population(
        trainer(), X, Y, n_epochs=3
    ),
    "train_population needs validation_data; it takes trainers, X, y and epochs, in this order, "
    "and validation_data, .* and on_error by name": (
        lambda: fastnn.train_population(trainer(), X, Y)
    ),
    "sweep needs grid; it takes make, X, y and epochs, in this order, and grid, ": (
        lambda: fastnn.sweep(1, 2, 3, 4)
    ),
    "sweep needs X, y and grid; it takes": lambda: fastnn.sweep(1),
    "sweep takes 4 arguments by their places at most, not 5": lambda: fastnn.sweep(1, 2, 3, 4, 5),
    "SGD needs learning_rate; .*momentum and nesterov, in this order, and ema by name, as": SGD,
    "Dropout takes 1 argument by its place at most, not 2; it takes rate, as in": (
        lambda: Dropout(0.2, 3)
    ),
    "Trainer.fit is called on an object, not on its class, as in trainer.fit(X": (
        lambda: Trainer.fit(X=X, y=Y)
    ),
    "Trainer.fit has no self: it takes X, y, epochs": lambda: trainer().fit(X, Y, self=3),
    "Trainer.fit has no x: it is called X here; Trainer.fit has no Y: it is called y": (
        lambda: trainer().fit(x=X, Y=Y)
    ),
    "Dropout has no keep_prob: rate is the part that is dropped: Dropout(rate=1 - keep_prob)": (
        lambda: Dropout(keep_prob=0.8)
    ),
    "OneCycle has no initial_lr: maximum is the largest rate, .*begins with maximum / start": (
        lambda: schedules.OneCycle(initial_lr=0.1, steps=10)
    ),
    "OneCycle has no max_lr: it is called maximum here": lambda: schedules.OneCycle(max_lr=0.1),
    "OneCycle has no warmup_steps: .*pct_start = warmup_steps / steps": (
        lambda: schedules.OneCycle(0.1, 100, warmup_steps=10)
    ),
    "Cosine has no warmup_steps: a warm-up goes before it: WarmUp(100, then=Cosine(0.1, ste": (
        lambda: schedules.Cosine(0.1, 100, warmup_steps=10)
    ),
    "SGD has no warmup_steps: .*SGD(schedules.WarmUp(100": lambda: SGD(0.1, warmup_steps=10),
    "WarmUp has no lr: then is the rate that comes after": lambda: schedules.WarmUp(100, lr=0.1),
    "RMSProp has no alpha: it is called decay here": lambda: fastnn.RMSProp(alpha=0.9),
    "Exponential has no gamma: .*factor = gamma ** (1 / steps of an epoch)": (
        lambda: schedules.Exponential(0.1, gamma=0.9)
    ),
    "Exponential has no decay_rate: .*factor = decay_rate ** (1 / decay_steps)": (
        lambda: schedules.Exponential(0.1, decay_rate=0.9)
    ),
    "minimize has no max_iter: it is called steps here": (
        lambda: graph.minimize(abs, 1, max_iter=9)
    ),
    "minimize has no x0: it is called start here": lambda: graph.minimize(abs, x0=1),
    "moons has no n_samples: it is called n here": lambda: datasets.moons(n_samples=9),
    "loss_curves has no title: it takes history, label and ax": (
        lambda: plots.loss_curves(None, title="x")
    ),
    "InverseScaling has no decay_steps: .*decay = decay_rate / decay_steps": (
        lambda: schedules.InverseScaling(0.1, decay_steps=10)
    ),
    "Dense has no kernel_regularizer: it is l1 or l2 of the layer": (
        lambda: Dense(3, kernel_regularizer="l1")
    ),
    "Trainer has no regularizer: it is l1 or l2, a": lambda: Trainer(NETWORK, regularizer="l1"),
    "Adam has no momentum: it is a setting of SGD": lambda: Adam(0.1, momentum=0.9),
    "Trainer has no scheduler: a schedule stands for the rate": lambda: Trainer(
        NETWORK, scheduler=schedules.Constant(0.1)
    ),
    "Trainer has no threshold: it takes network, ": lambda: Trainer(NETWORK, threshold=0.5),
    "Trainer has no layers: layers are a network's: Trainer(Network(4, [": (
        lambda: Trainer(NETWORK, layers=[3])
    ),
    "EarlyStopping has no model: it belongs to the tr": lambda: EarlyStopping(model=NETWORK),
    "Dropout has no lr: it is the optimizer's": lambda: Dropout(lr=0.1),
    "Constant has no p: it is a layer of its own": lambda: schedules.Constant(p=0.1),
    "OneCycle has no period: it takes maximum, steps": lambda: schedules.OneCycle(period=3),
    "Cosine has no decay_steps: it is called steps here": lambda: schedules.Cosine(decay_steps=3),
    "LayerNorm has no negative_slope: it is called alpha": lambda: LayerNorm(negative_slope=0.1),
    "Trainer has no clipnorm: clip_norm is of all gradients together": (
        lambda: Trainer(NETWORK, clipnorm=1.0)
    ),
    "Trainer.fit has no iterations: epochs counts passes over all rows, not updates": (
        lambda: trainer().fit(X, Y, iterations=100)
    ),
    "sweep has no seed: it is called seeds here": lambda: fastnn.sweep(trainer(), seed=1),
    "sweep has no trainer: it is called make here": lambda: fastnn.sweep(trainer=trainer()),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_a_call_says_what_to_write(text):
    pattern = re.escape(text).replace(r"\.\*", ".*")
    with pytest.raises(UnknownArgument, match=pattern) as caught:
        CASES[text]()
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, InvalidInput)
    assert caught.value.__suppress_context__


OF_ESTIMATORS = {
    "MLPClassifier has no validation_split: early_stopping=True sets rows aside, a share of vali": {
        "validation_split": 0.2
    },
    "TabularRegressor has no val_split: it is called validation_fraction here": {"val_split": 0.2},
    "SGDClassifier has no metrics: early stopping goes by one, which is scoring": {"metrics": "f1"},
    'MLPRegressor has no gpu: target="cuda" takes its place': {"gpu": True},
    "MLPClassifier has no units: it is called hidden_layer_sizes here": {"units": 8},
    "SGDClassifier has no units: a linear model has no hidden layers; MLPClassifier and MLPReg": {
        "units": 8
    },
    "SGDRegressor has no normalize: it is called standardize here": {"normalize": True},
    "Perceptron has no threads: it is called n_jobs here": {"threads": 2},
    "SGDRegressor has no threads: as in scikit-learn, a linear regressor has none": {"threads": 2},
    "TabularClassifier has no threads: it is called n_jobs here": {"threads": 2},
    "MLPClassifier has no clip_norm: a Trainer alone has it: Trainer(network, clip_norm=...)": {
        "clip_norm": 1.0
    },
    "MLPClassifier has no sample_weight: it is an argument of fit: model.fit(X, y, sample_weig": {
        "sample_weight": Y
    },
    'SGDClassifier has no l1: it is penalty="l1", and alpha its strength': {"l1": 0.1},
    "MLPClassifier has no lr: it is called learning_rate_init here": {"lr": 0.1},
    "MLPClassifier has no epochs: it is called max_iter here": {"epochs": 3},
    "MLPClassifier has no hidden_layers: did you mean hidden_layer_sizes?": {"hidden_layers": 3},
    "MLPRegressor has no weight_decay: alpha is the strength of the pen": {"weight_decay": 1.0},
    "SGDClassifier has no C: alpha takes its place": {"C": 1.0},
    "SGDRegressor has no lr: it is called eta0 here": {"lr": 0.1},
    "Perceptron has no seed: it is called random_state here": {"seed": 1},
    "TabularClassifier has no n_estimators: it is called n_members here": {"n_estimators": 3},
    "MLPClassifier has no layers: it is called hidden_layer_sizes here": {"layers": (3,)},
    "MLPClassifier has no negative_slope: it takes hidden_layer": {"negative_slope": 0.1},
    "SGDClassifier has no early_stopping_rounds: it is called n_iter_no_change here": {
        "early_stopping_rounds": 3
    },
    "Perceptron has no restarts: it is called n_restarts here": {"restarts": 3},
    "MLPClassifier has no keep_prob: dropout is the part that is dr": {"keep_prob": 0.8},
    "MLPClassifier has no scheduler: it is called schedule here": {"scheduler": 1},
    "TabularClassifier has no lr: members choose theirs; MLPClassifier and MLPRegressor have "
    "learning_rate_init": {"lr": 0.1},
    "TabularClassifier has no C: members choose theirs; MLPClassifier and MLPRegressor have al": {
        "C": 1.0
    },
    "TabularRegressor has no max_depth: it is a setting of trees": {"max_depth": 3},
}


@pytest.mark.parametrize("text", OF_ESTIMATORS)
def test_an_estimator_says_what_to_write(text):
    pytest.importorskip("sklearn", "1.6")
    with pytest.raises(UnknownArgument, match=re.escape(text)):
        getattr(fastnn, text.split()[0])(**OF_ESTIMATORS[text])


# Of methods: what is given to one, beside X and y, or X alone.
OF_METHODS = {
    "SGDClassifier.fit has no epochs: it is a parameter of the class: SGDClassifier(max_iter=...)":
        {"epochs": 3},
    "TabularClassifier.fit has no eval_set: it is two arguments here, X_val=... and y_val=...":
        {"eval_set": [(X, Y)]},
    "MLPRegressor.fit has no validation_data: it is two arguments here, X_val": {
        "validation_data": (X, Y)},
    "MLPClassifier.fit has no sample_weights: it is called sample_weight here": {
        "sample_weights": Y},
    "Perceptron.fit has no class_weight: it is a parameter of the class: Perceptron(class_w": {
        "class_weight": "balanced"},
    "SGDRegressor.fit has no class_weight: of a regression rows have weights": {
        "class_weight": "balanced"},
    "MLPClassifier.fit has no batch_size: it is a parameter of the class: MLPClassifier(batch_": {
        "batch_size": 8},
    "SGDRegressor.fit has no callbacks: it is a parameter of the class: SGDRegressor(callbacks": {
        "callbacks": []},
    "MLPClassifier.fit has no validation_split: it belongs to the class, MLPClassifier(...): ear": {
        "validation_split": 0.2},
    "MLPClassifier.fit has no X_valid: it is called X_val here": {"X_valid": X},
    "SGDClassifier.fit has no groups: rows that go together are kept apart by": {"groups": Y},
    "MLPClassifier.fit has no coef_init: linear models alone begin with": {"coef_init": X},
    "SGDClassifier.fit has no lr: it is a parameter of the class: SGDClassifier(eta0=...)": {
        "lr": 0.1},
    "MLPClassifier.fit has no lr: it is a parameter of the class: MLPClassifier(learning_rate_i": {
        "lr": 0.1},
    "TabularRegressor.fit has no batch_size: members choose theirs": {"batch_size": 8},
    "MLPRegressor.fit has no sample_wieght: did you mean sample_weight?": {"sample_wieght": Y},
    "MLPRegressor.fit has no no_such: it takes X, y, sample_weight, X_val, y": {"no_such": 1},
    "MLPClassifier.partial_fit has no epochs: each call does one epoch": {"epochs": 3},
    "SGDRegressor.partial_fit has no X_val: it is an argument of fit": {"X_val": X},
    "SGDRegressor.partial_fit has no validation_data: it is an argument of fit": {
        "validation_data": (X, Y)},
    "SGDClassifier.partial_fit has no verbose: it is a parameter of the class": {"verbose": 1},
    "SGDClassifier.predict has no batch_size: rows are answered in parts of a size that suits": {
        "batch_size": 8},
    "Perceptron.decision_function has no y: it takes X alone": {"y": Y},
    "MLPClassifier.predict_proba has no verbose: it shows nothing": {"verbose": 0},
    "TabularClassifier.predict has no threshold: compare probabilities": {"threshold": 0.3},
    "MLPRegressor.score has no scoring: it gives one score; sklearn.metrics has": {"scoring": "r2"},
    "TabularClassifier.score has no batch_size: rows are answered in parts": {"batch_size": 8},
    "SGDClassifier.score has no weights: it is called sample_weight here": {"weights": Y},
}  # fmt: skip


@pytest.mark.parametrize("text", OF_METHODS)
def test_a_method_of_an_estimator_names_the_class_and_says_what_to_write(text):
    pytest.importorskip("sklearn", "1.6")
    kind, method = text.split()[0].split(".")
    data = (X, Y) if method in ("fit", "partial_fit", "score") else (X,)
    model = getattr(fastnn, kind)()
    before = dict(vars(model))
    with pytest.raises(UnknownArgument, match=re.escape(text)):
        getattr(model, method)(*data, **OF_METHODS[text])
    assert vars(model) == before
    derived = type("Mine", (type(model),), {"__init__": type(model).__init__})()
    with pytest.raises(UnknownArgument, match=f"Mine.{method} has no no_such: it takes X"):
        getattr(derived, method)(*data, no_such=1)


def test_scikit_learn_still_reads_the_signatures_of_what_fits():
    pytest.importorskip("sklearn", "1.6")
    from sklearn import config_context
    from sklearn.base import clone

    with config_context(enable_metadata_routing=True):
        for kind in fastnn._ESTIMATORS:
            model = getattr(fastnn, kind)(random_state=0).set_fit_request(sample_weight=True)
            model.set_score_request(sample_weight=True)
            asked = clone(model).get_metadata_routing()
            assert asked.fit.requests["sample_weight"] and asked.score.requests["sample_weight"]
            assert {"X_val", "y_val"} <= {*asked.fit.requests}


@pytest.mark.parametrize(
    ("method", "given", "text"),
    [
        ("predict", {"batch_size": 64}, "Trainer.predict has no batch_size: rows are answered in"),
        ("predict", {"verbose": 0}, "Trainer.predict has no verbose: it shows nothing"),
        ("forward", {"training": True}, "Trainer.forward has no training: it takes X"),
        ("predict_proba", {"steps": 3}, "Trainer.predict_proba has no steps: rows are answered"),
        ("evaluate", {"batch_size": 8}, "Trainer.evaluate has no batch_size: rows are answered in"),
        ("evaluate", {"weights": Y}, "Trainer.evaluate has no weights: it is called sample_weight"),
        ("evaluate", {"metric": "f1"}, "Trainer.evaluate has no metric: it is called metrics here"),
        ("evaluate", {"callbacks": []}, "Trainer.evaluate has no callbacks: it shows nothing and"),
    ],
)
def test_what_a_trainer_answers_with_takes_no_other_arguments(method, given, text):
    for model, kind in ((trainer(), "Trainer"), (Ensemble([trainer()]), "Ensemble")):
        with pytest.raises(UnknownArgument, match=text.replace("Trainer", kind)):
            getattr(model, method)(*(X, Y)[: 1 + (method == "evaluate")], **given)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Dense("relu", 3), "units of a Dense layer come first, .*: Dense(10, 'relu')"),
        (lambda: Dense(3, 4), "Dense(10), and as inputs what the layer before it gives; 4 is no"),
        (lambda: Dense(3, None), "unknown activation None; did you mean 'identity'?"),
        (lambda: Network(Dense(4), Dense(1)), "; its layers follow as a list: Network(784, ["),
        (lambda: Network((3,), [Dense(1)]), "not (3,); its layers follow as a list: Network("),
        (lambda: Network(4, 3), "not 3; write a list: Network(784, [Dense("),
        (lambda: Network(4, Dense(3)), "bias_rate_factor=1.0); write a list: Network(784, ["),
        (lambda: Network(3, [4, 1]), "not 4; one of 4 units is Dense(4)"),
        (lambda: Network(3, [Dense(3), "relu"]), "a setting of its layer: Dense(10, 'relu')"),
        (lambda: Network(3, [Dense]), "write its settings: Dense(10)"),
        (lambda: LayerNorm(64), "write LayerNorm() without 64, which would be its epsilon"),
        (lambda: LayerNorm(1), "without 1, which would be its epsilon; where that is meant, give"),
        (lambda: BatchNorm(1), "write BatchNorm() without 1, which would be its momentum"),
        (lambda: BatchNorm(np.int64(64)), "write BatchNorm() without"),
        (lambda: BatchNorm(momentum=2), "momentum of BatchNorm must be .* 1], not 2"),
        (
            lambda: Trainer([2, 3, 1]),
            "not [2, 3, 1]; one has a number of inputs and",
        ),
        (lambda: Trainer(NETWORK, batch_size=None), "not None; for one update an epoch from all"),
        (lambda: Trainer(NETWORK, "adam"), "loss comes before the optimizer, and 'adam' is none"),
        (lambda: Trainer(NETWORK, SGD(0.1)), "loss comes before the optimizer, and SGD(learning_"),
        (lambda: Trainer(NETWORK, SGD), "loss comes before the optimizer, and <class"),
        (lambda: Trainer(NETWORK, fastnn.losses.Huber), "Huber is one; write Huber()"),
        (lambda: Trainer(NETWORK, loss=fastnn.losses.Margin), "Margin is one; write Margin()"),
        (
            lambda: Trainer(NETWORK, int),
            "loss must not be a class, and int is one; one is Quantile",
        ),
        (lambda: Trainer(NETWORK, optimizer="adam"), "or Adam(), not 'adam'; write Adam(0.001), "),
        (lambda: Trainer(NETWORK, optimizer="RMSprop"), "not 'RMSprop'; write RMSProp(0.01), whos"),
        (lambda: trainer().set(optimizer="averaged_sgd"), "'averaged_sgd'; write AveragedSGD(0.1)"),
        (lambda: Trainer(NETWORK, optimizer=AdamW), "; give it its settings: AdamW(0.001)"),
        (lambda: Trainer(NETWORK, optimizer=SGD), "; give it its settings: SGD(0.1)"),
        (lambda: Trainer(NETWORK, optimizer=0.1), "such as SGD(0.1) or Adam(), not 0.1"),
    ],
)
def test_a_value_at_the_place_of_another_says_what_belongs_there(make, text):
    with pytest.raises(InvalidInput, match=re.escape(text).replace(r"\.\*", ".*")):
        make()


def test_whole_numbers_are_settings_of_norms_by_their_names():
    assert LayerNorm(epsilon=2) == LayerNorm(2.0) and LayerNorm(epsilon=1).epsilon == 1.0
    assert BatchNorm(momentum=1) == BatchNorm(1.0) == copy.copy(BatchNorm(momentum=1))
    assert dataclasses.replace(BatchNorm(), momentum=1).momentum == 1.0
    with pytest.raises(InvalidInput, match="epsilon of LayerNorm"):
        LayerNorm(True)


def public_calls():
    """Return all classes and functions that users call, by name, but errors and results."""
    results = {"History", "Snapshot", "Scaling"}
    names = {*fastnn.__all__, *fastnn._ESTIMATORS} - results
    found = {name: getattr(fastnn, name) for name in names}
    kinds = "Constant StepDecay Exponential InverseScaling Cosine OneCycle WarmUp"
    found |= {name: getattr(schedules, name) for name in kinds.split()}
    found["Trainer.fit"] = Trainer.fit
    return {
        name: what
        for name, what in found.items()
        if callable(what)
        and not inspect.isabstract(what)
        and not (isinstance(what, type) and issubclass(what, BaseException))
    }


def methods_of_estimators():
    """Return the methods that users call on estimators, by the names of class and method."""
    names = "fit partial_fit predict predict_proba predict_log_proba decision_function score"
    models = [
        getattr(fastnn, kind)(**{"loss": "log_loss"} if kind == "SGDClassifier" else {})
        for kind in fastnn._ESTIMATORS
    ]
    return {
        f"{type(model).__name__}.{name}": getattr(model, name)
        for model in models
        for name in names.split()
        if hasattr(model, name)
    }


def test_every_public_call_explains_and_every_advice_is_true():
    pytest.importorskip("sklearn", "1.6")
    calls = public_calls() | methods_of_estimators()
    signatures = {name: inspect.signature(what).parameters for name, what in calls.items()}
    tables = "_NAMES", "_CONVERTED", "_PLACES", "_OF_ESTIMATORS", "_OF_TABLES", "_OF_EPOCHS"
    tables += "_OF_ANSWERS", "_OF_TRAINERS"
    known = {*chain(*(getattr(arguments, each) for each in tables)), "no_such_setting"}
    advised = re.compile(r"(\w+)\((?:[^()]*, )?(\w+)=")
    for owner, what in calls.items():
        fits = f"{owner.partition('.')[0]}.fit"  # by which the advice is to be followed
        signatures["fit"] = signatures.get(fits, signatures["Trainer.fit"])
        for name in known - {*signatures[owner]}:
            with pytest.raises(UnknownArgument) as caught:
                what(**{name: 0})
            said = str(caught.value)
            assert said.startswith(f"{owner} has no {name}: "), said
            for kind, setting in advised.findall(said):
                assert setting in signatures[kind], said
            called = re.search(r"called (\w+)(?: and (\w+))? here", said)
            for setting in re.findall(r"MLPRegressor have (\w+)", said):
                assert setting in signatures["MLPRegressor"], said
            assert called is None or {*filter(None, called.groups())} <= {*signatures[owner]}
    assert set(arguments._EXAMPLES) <= {*calls}


def test_signatures_stay_what_they_are_and_so_does_what_is_made():
    clone = pytest.importorskip("sklearn.base").clone
    for what in public_calls().values():
        kinds = {each.kind for each in inspect.signature(what).parameters.values()}
        assert not any(name.startswith("_") for name in inspect.signature(what).parameters)
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    model = fastnn.MLPClassifier((3,), alpha=0.5)
    assert clone(model).get_params() == model.get_params() and len(model.get_params()) > 30
    for value in (Dense(3, "relu", l2=0.1), Adam(0.1, ema=0.5), NETWORK, schedules.Constant(0.1)):
        assert copy.copy(value) == value == pickle.loads(pickle.dumps(value))
        assert dataclasses.replace(value) == value and hash(value) == hash(copy.deepcopy(value))
        with pytest.raises(UnknownArgument, match="has no colour"):
            dataclasses.replace(value, colour=3)


def test_what_is_raised_within_a_call_comes_out_as_it_is():
    error = TypeError("within")

    @arguments.explained
    def within(a):
        raise error

    with pytest.raises(TypeError, match="within") as caught:
        within(1)
    assert caught.value is error
    with pytest.raises(UnknownArgument, match="within.* needs a; it takes a$"):
        within()

    class Mine(Trainer):
        def __init__(self, width, **settings):
            super().__init__(Network(2, [Dense(width), Dense(2)]), **settings)

    with pytest.raises(UnknownArgument, match="Trainer has no lr"):
        Mine(3, lr=0.1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Mine()
