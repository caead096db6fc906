"""What is said of arguments that a call does not take: where they belong, or their names here.

Whoever knows PyTorch, Keras or scikit-learn writes ``Adam(lr=0.1)`` or ``Trainer(network,
epochs=5)``. `explained` turns Python's TypeError for that into one that says what to write. Where
all is well it costs the call of a function; signatures stay what they are.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastnn.errors import UnknownArgument

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# What settings are called elsewhere, and here: the first that a call takes, or several together.
_RATE = "learning_rate_init", "eta0", "learning_rate"
_EPOCHS = "max_iter", "epochs"
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "eta", "eta0", "learning_rate", "step_rate", "initial_lr"), _RATE),
    **dict.fromkeys(("base_lr", "max_lr", "initial_learning_rate", "learning_rate_init"), _RATE),
    **dict.fromkeys(("epoch", "n_epochs", "num_epochs", "max_epochs", "nb_epoch"), _EPOCHS),
    **dict.fromkeys(("n_iter", "max_iter", "iterations", "num_iterations", "epochs"), _EPOCHS),
    **dict.fromkeys(("kernel_regularizer", "regularizer", "regularization"), ("l2",)),
    **dict.fromkeys(("reg", "reg_lambda", "lambda_l2"), ("l2",)),
    **dict.fromkeys(("batchsize", "batch", "minibatch_size", "mini_batch_size"), ("batch_size",)),
    **dict.fromkeys(("betas",), ("beta1 beta2", "beta_1 beta_2")),
    **dict.fromkeys(("beta_1", "b1"), ("beta1",)),
    **dict.fromkeys(("beta_2", "b2"), ("beta2",)),
    **dict.fromkeys(("beta1",), ("beta_1",)),
    **dict.fromkeys(("beta2",), ("beta_2",)),
    **dict.fromkeys(("eps",), ("epsilon",)),
    **dict.fromkeys(
        ("seed", "random_state", "random_seed", "rng"), ("random_state", "seed", "seeds")
    ),
    **dict.fromkeys(("device", "backend", "target"), ("target",)),
    **dict.fromkeys(("num_threads", "n_threads"), ("threads", "n_jobs", "workers")),
    **dict.fromkeys(("n_jobs", "workers"), ("threads", "n_jobs", "workers")),
    **dict.fromkeys(("threads",), ("n_jobs", "workers")),
    **dict.fromkeys(("solver", "optim"), ("optimizer",)),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function", "objective", "cost"), ("loss",)),
    **dict.fromkeys(("model", "net"), ("network",)),
    **dict.fromkeys(("layers", "units", "n_hidden"), ("hidden_layer_sizes",)),
    **dict.fromkeys(("hidden", "hidden_units", "architecture"), ("hidden_layer_sizes", "layers")),
    **dict.fromkeys(("input_dim", "input_shape", "input_size", "in_features"), ("inputs",)),
    **dict.fromkeys(("n_inputs", "n_features", "in_dim", "input"), ("inputs",)),
    **dict.fromkeys(("out_features", "output_dim", "outputs"), ("units",)),
    **dict.fromkeys(("neurons", "nodes", "n_units", "num_units"), ("units", "hidden_layer_sizes")),
    **dict.fromkeys(("size", "dim", "width"), ("units",)),
    **dict.fromkeys(("normalize", "normalise", "normalization", "standardise"), ("standardize",)),
    **dict.fromkeys(("use_bias", "fit_intercept"), ("bias",)),
    **dict.fromkeys(("bias",), ("fit_intercept",)),
    **dict.fromkeys(("kernel_initializer", "initializer", "initialiser"), ("init",)),
    **dict.fromkeys(("weight_init", "kernel_init", "weights_init"), ("init",)),
    **dict.fromkeys(("bias_initializer", "bias_initialiser"), ("bias_init",)),
    **dict.fromkeys(("kernel_constraint", "maxnorm"), ("max_norm",)),
    **dict.fromkeys(("act", "activation_fn", "activation_function"), ("activation",)),
    **dict.fromkeys(("nonlinearity", "func"), ("activation",)),
    **dict.fromkeys(("p", "dropout", "dropout_rate", "prob", "keep_prob"), ("dropout",)),
    **dict.fromkeys(("restore_best_weights",), ("restore_best",)),
    **dict.fromkeys(("save_best_only",), ("best",)),
    **dict.fromkeys(("filepath", "filename", "file", "save_path"), ("path",)),
    **dict.fromkeys(("log_dir", "logdir", "folder", "directory"), ("folder", "path")),
    **dict.fromkeys(("min_delta", "tol", "threshold"), ("min_delta", "threshold")),
    **dict.fromkeys(("patience",), ("n_iter_no_change",)),
    **dict.fromkeys(("n_iter_no_change",), ("patience",)),
    **dict.fromkeys(("early_stopping_rounds",), ("n_iter_no_change", "patience")),
    **dict.fromkeys(("restarts",), ("n_restarts",)),
    **dict.fromkeys(("n_restarts",), ("restarts",)),
    **dict.fromkeys(("period", "freq"), ("every",)),
    **dict.fromkeys(("total_steps", "num_steps", "n_steps"), ("steps",)),
    **dict.fromkeys(("gamma", "decay_rate"), ("factor",)),
    **dict.fromkeys(("eta_min", "end_lr", "minimum_lr"), ("min_lr",)),
    **dict.fromkeys(("power_t",), ("power",)),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), ("schedule",)),
    **dict.fromkeys(("n_estimators", "n_models"), ("n_members",)),
    **dict.fromkeys(("trainer",), ("trainers", "make")),
    **dict.fromkeys(
        ("estimators", "models", "trainers", "networks"), ("members", "trainers", "network")
    ),
    **dict.fromkeys(("clipnorm", "global_clipnorm", "max_grad_norm", "grad_clip"), ("clip_norm",)),
    **dict.fromkeys(("clipvalue", "clip"), ("clip_value",)),
    **dict.fromkeys(
        ("eval_set", "valid_set", "validation", "val_data", "valid_data"),
        ("validation_data", "X_val y_val"),
    ),
    **dict.fromkeys(("x0", "initial", "init_guess"), ("start",)),
    **dict.fromkeys(("n_samples", "num_samples", "samples", "rows"), ("n",)),
    **dict.fromkeys(("validation_data",), ("X_val y_val",)),
    **dict.fromkeys(("X_valid", "x_val", "X_validation", "X_eval"), ("X_val",)),
    **dict.fromkeys(("y_valid", "Y_val", "y_validation", "y_eval"), ("y_val",)),
    **dict.fromkeys(("X_train", "X_test", "data", "features", "samples"), ("X",)),
    **dict.fromkeys(("y_train", "y_test", "y_true", "labels", "targets"), ("y",)),
    **dict.fromkeys(("metric", "eval_metric"), ("metrics", "scoring")),
    **dict.fromkeys(("metrics",), ("scoring",)),
    **dict.fromkeys(("weights", "sample_weights", "weight"), ("sample_weight", "weights")),
    **dict.fromkeys(("categorical", "cat_features"), ("categorical_features",)),
    **dict.fromkeys(("categorical_feature", "cat_cols"), ("categorical_features",)),
    **dict.fromkeys(("nesterovs_momentum",), ("nesterov",)),
    **dict.fromkeys(("nesterov",), ("nesterovs_momentum",)),
}

# What is not the same number here: what to write, by the call, or by a setting that it takes.
_SCHEDULES = "Constant", "StepDecay", "Exponential", "InverseScaling", "Cosine"
_EACH_PASS = "{} counts passes over all rows, not updates"
_HERE = "it is called {} here"
_WARM_UP = "a warm-up goes before it: WarmUp(100, then=Cosine(0.1, steps=1000))"
_SHARE = "early_stopping=True sets rows aside, a share of validation_fraction"
_SHARES = {"early_stopping": _SHARE, "validation_fraction": _HERE.format("validation_fraction")}
_PER_STEP = "factor is for each step: factor = decay_rate ** (1 / decay_steps)"
_FALLING = "with power=1, decay is for each step: decay = decay_rate / decay_steps"
_RATES: dict[str, str] = {
    **dict.fromkeys(_SCHEDULES, _HERE.format("rate")),
    "OneCycle": "maximum is the largest rate, and training begins with maximum / start_divisor: "
                "OneCycle(maximum=0.1, steps=1000)",
    "WarmUp": "then is the rate that comes after, or its schedule: WarmUp(100, then=0.1)",
}  # fmt: skip
_REGULARIZERS: dict[str, str] = {
    "Dense": "it is l1 or l2 of the layer, a number each: Dense(10, l2=0.001)",
    "Trainer": "it is l1 or l2, a number each: Trainer(network, l2=0.001)",
}
_CONVERTED: dict[str, dict[str, str]] = {
    **dict.fromkeys(("validation_split", "val_split", "validation_size"), _SHARES),
    **dict.fromkeys(("validation_data", "eval_set", "valid_set", "validation"), {
        "X_val": "it is two arguments here, X_val=... and y_val=...",
    }),
    **dict.fromkeys(("gpu", "use_gpu", "gpus", "cuda", "use_cuda", "accelerator"), {
        "target": 'target="cuda" takes its place',
    }),
    **dict.fromkeys(("metrics", "metric", "eval_metric"), {
        "scoring": "early stopping goes by one, which is scoring; sklearn.metrics has others for "
                   "what is predicted",
    }),
    "l1": {"penalty": 'it is penalty="l1", and alpha its strength'},
    "keep_prob": {
        "Dropout": "rate is the part that is dropped: Dropout(rate=1 - keep_prob)",
        "dropout": "dropout is the part that is dropped, 1 - keep_prob",
    },
    **dict.fromkeys(("lr", "eta", "eta0", "rate", "learning_rate", "step_rate", "base_lr"), _RATES),
    **dict.fromkeys(("initial_lr", "initial_learning_rate", "learning_rate_init"), _RATES),
    "max_lr": {**_RATES, "OneCycle": _HERE.format("maximum")},
    **dict.fromkeys(("p", "dropout", "dropout_rate", "prob"), {"Dropout": _HERE.format("rate")}),
    **dict.fromkeys(("negative_slope", "slope"), dict.fromkeys(
        ("Dense", "LayerNorm", "BatchNorm"), _HERE.format("alpha"))),
    **dict.fromkeys(("iterations", "num_iterations"), {
        "minimize": _HERE.format("steps"), **{name: _EACH_PASS.format(name) for name in _EPOCHS}
    }),
    **dict.fromkeys(("epochs", "max_iter", "n_iter", "maxiter"), {
        "minimize": _HERE.format("steps"),
    }),
    **dict.fromkeys(("optimizer", "method", "solver"), {
        "minimize": "it is gradient descent, with momentum=0.9 if you like",
    }),
    "clipnorm": {"clip_norm": "clip_norm is of all gradients together, as global_clipnorm in "
                              "Keras"},
    "warmup_steps": {
        **dict.fromkeys(_SCHEDULES, _WARM_UP),
        "OneCycle": "pct_start takes its place: pct_start = warmup_steps / steps",
        "WarmUp": _HERE.format("steps"),
    },
    **dict.fromkeys(("alpha", "rho"), {"RMSProp": _HERE.format("decay")}),
    **dict.fromkeys(("kernel_regularizer", "regularizer", "regularization"), _REGULARIZERS),
    "gamma": {
        "Exponential": "factor is for each step, and gamma in PyTorch for each epoch: factor = "
                       "gamma ** (1 / steps of an epoch)",
    },
    "decay_rate": {"Exponential": _PER_STEP, "InverseScaling": _FALLING},
    "decay_steps": {
        "Exponential": _PER_STEP,
        "InverseScaling": _FALLING,
        "StepDecay": _HERE.format("every"),
        "Cosine": _HERE.format("steps"),
    },
    "total_steps": {"WarmUp": "steps are those of the warm-up alone"},
    "step_size": {
        "StepDecay": "every counts steps, and step_size in PyTorch epochs: every = step_size * "
                     "steps of an epoch",
    },
    "T_max": {
        "Cosine": "steps counts updates, and T_max in PyTorch mostly epochs: steps = T_max * "
                  "steps of an epoch",
    },
}  # fmt: skip

# Where settings belong that a call does not have; {} stands for the name.
_OPTIMIZER = "it is the optimizer's: Trainer(network, optimizer=SGD({}=...))"
_SGD = "it is a setting of SGD: Trainer(network, optimizer=SGD(0.1, {}=...))"
_SCHEDULE = "a schedule stands for the rate: SGD(schedules.Cosine(0.1, steps=1000))"
_LAYERS = "layers are a network's: Trainer(Network(4, [Dense(10)]))"
_ADAM = "it is a setting of Adam: Trainer(network, optimizer=Adam({}=...))"
_TRAINER = "it is a setting of the trainer: Trainer(network, {}=...)"
_FIT = "it is an argument of fit: trainer.fit(X, y, {}=...)"
_LAYER = "it is a setting of a layer: Dense(10, {}=...)"
_INPUTS = (
    "inputs are a network's, Network(4, [...]), and each layer takes what the one before gives"
)
_NO_FEATURES = "it takes as many numbers as come in; leave it out"
_PLACES: dict[str, str] = {
    **dict.fromkeys(("learning_rate", "ema"), _OPTIMIZER),
    **dict.fromkeys(("momentum", "nesterov"), _SGD),
    **dict.fromkeys(("beta1", "beta2", "epsilon"), _ADAM),
    **dict.fromkeys(("l1", "l2"), "penalties are set for a layer or for all: Dense(10, {0}=...), "
                    "Trainer(network, {0}=...)"),
    "weight_decay": "AdamW(weight_decay=...) and Lion(weight_decay=...) have it; the penalty "
                    "l2/2 sum W^2, which PyTorch's SGD and Adam call weight_decay, is "
                    "Dense(10, l2=...) or Trainer(network, l2=...)",
    "amsgrad": "no optimizer here has that variant; leave it out",
    "dampening": "no optimizer here has it; leave it out",
    "schedule": _SCHEDULE,
    "warmup_steps": "a schedule stands for the rate: SGD(schedules.WarmUp(100, then=0.1))",
    **dict.fromkeys(("layers", "hidden_layer_sizes"), _LAYERS),
    **dict.fromkeys(("batch_size", "loss", "optimizer", "shuffle", "seed", "threads"), _TRAINER),
    **dict.fromkeys(("clip_norm", "clip_value", "dtype", "precision", "target"), _TRAINER),
    **dict.fromkeys(("label_smoothing", "ignore_nan", "on_divergence"), _TRAINER),
    **dict.fromkeys(("epochs", "validation_data", "sample_weight", "callbacks", "restarts"), _FIT),
    **dict.fromkeys(("metrics", "verbose", "progress", "executor"), _FIT),
    **dict.fromkeys(("validation_split", "validation_fraction", "val_split"), "no rows are set "
                    "aside; give some apart: trainer.fit(X, y, validation_data=(X_new, y_new))"),
    "class_weight": "weights are those of rows: trainer.fit(X, y, sample_weight=...)",
    **dict.fromkeys(("early_stopping", "patience", "monitor"), "it is that of a callback: "
                    "trainer.fit(X, y, callbacks=EarlyStopping(patience=...))"),
    **dict.fromkeys(("activation", "units", "init", "bias", "alpha", "max_norm"), _LAYER),
    **dict.fromkeys(("trainable", "bias_init", "rate_factor"), _LAYER),
    "dropout": "it is a layer of its own, behind another one: [Dense(10), Dropout(0.2), ...]",
    **dict.fromkeys(("batch_norm", "batchnorm", "normalize"), "norms are layers of their own: "
                    "[Dense(10, bias=False), BatchNorm(activation=\"relu\"), ...]"),
    "inputs": _INPUTS,
    **dict.fromkeys(("normalized_shape", "num_features"), _NO_FEATURES),
    **dict.fromkeys(("affine", "elementwise_affine", "center", "scale"), "gamma and beta are "
                    "always there; leave it out"),
    "network": "it belongs to the trainer: Trainer(network)",
}  # fmt: skip

# Of estimators, whose settings are all in one place.
_PENALTY = "alpha is the strength of the penalty"
_OF_FIT = "it is an argument of fit: model.fit(X, y, {}=...)"
_PLAIN_PENALTY = {
    "C": "alpha takes its place, in linear models 1 / (C * len(X))",
    **dict.fromkeys(("l2", "weight_decay", "reg_lambda", "regularization"), _PENALTY),
}
_ALONE = "a Trainer alone has it: Trainer(network, {}=...)"
_OF_TRAINERS = {
    **dict.fromkeys(("clip_norm", "clip_value", "label_smoothing", "ignore_nan", "l1"), _ALONE),
    **dict.fromkeys(("on_divergence", "max_restores", "communicator"), _ALONE),
    **dict.fromkeys(
        ("init", "bias_init", "bias", "max_norm", "trainable", "rate_factor"),
        "it is a setting of layers, which a Trainer's network has: Dense(10, {}=...)",
    ),
}
_OF_ESTIMATORS: dict[str, str] = {
    **_PLAIN_PENALTY,
    **dict.fromkeys(("sample_weight", "X_val", "y_val", "sample_weight_val"), _OF_FIT),
    "X_val y_val": "they are arguments of fit: model.fit(X, y, X_val=..., y_val=...)",
    **dict.fromkeys(("X", "y"), "data are arguments of fit: model.fit(X, y)"),
    "classes": "fit takes those that y has, and partial_fit an argument of this name",
    **dict.fromkeys(
        ("coef_init", "intercept_init"),
        "linear models alone begin with given weights; with warm_start=True a fit goes on from "
        "those of the last one",
    ),
    **dict.fromkeys(
        ("hidden_layer_sizes", "activation", "dropout"),
        "a linear model has no hidden layers; MLPClassifier and MLPRegressor have {}",
    ),
    **_OF_TRAINERS,
    **dict.fromkeys(
        ("categorical_features", "numeric_features", "n_members", "time_limit"),
        "TabularClassifier and TabularRegressor have it, for tables",
    ),
    "groups": "rows that go together are kept apart by scikit-learn's GroupShuffleSplit, for X_val "
    "and y_val",
    "class_weight": "of a regression rows have weights: model.fit(X, y, sample_weight=...)",
    "loss": "a Perceptron has one loss; SGDClassifier has others",
    "n_jobs": "as in scikit-learn, a linear regressor has none; leave it out",
    "precision": "MLPClassifier and MLPRegressor have {}",
    "restore_best": "with early_stopping=True the weights of the best score are kept; leave it out",
}
# Of methods that do one epoch, and of those that answer.
_OF_EPOCHS: dict[str, str] = {
    **dict.fromkeys(("max_iter", "epochs"), "each call does one epoch; make one for each"),
    **dict.fromkeys(
        ("X_val y_val", "X_val", "y_val", "sample_weight_val"),
        "it is an argument of fit; after partial_fit, score scores such rows",
    ),
    **dict.fromkeys(
        ("early_stopping", "validation_fraction"),
        "no rows are set aside from a part of the data; score scores others",
    ),
}
_AT_ONCE = "rows are answered in parts of a size that suits; leave it out"
_OF_ANSWERS: dict[str, str] = {
    **dict.fromkeys(("batch_size", "steps", "threads", "n_jobs", "workers"), _AT_ONCE),
    **dict.fromkeys(
        ("verbose", "progress", "callbacks", "epochs"),
        "it shows nothing and calls nothing meanwhile; leave it out",
    ),
    **dict.fromkeys(
        ("scoring", "metrics"),
        "it gives one score; sklearn.metrics has others for what is predicted",
    ),
    **dict.fromkeys(
        ("threshold", "prob", "probability"),
        "compare probabilities, which predict_proba returns, with one",
    ),
    "y": "it takes X alone",
}
_MEMBERS = "members choose theirs; MLPClassifier and MLPRegressor have "
_OF_TABLES: dict[str, str] = {
    **dict.fromkeys(("batch_size", "hidden_layer_sizes", "optimizer", "schedule", "alpha",
                     "activation", "dropout", "momentum"), _MEMBERS + "{}"),
    **dict.fromkeys(("learning_rate", "learning_rate_init"), _MEMBERS + "learning_rate_init"),
    **dict.fromkeys((*_PLAIN_PENALTY,), _MEMBERS + "alpha"),
    **_OF_TRAINERS,
    **{name: _OF_ESTIMATORS[name] for name in ("sample_weight", "X_val", "y_val", "X", "y",
                                               "sample_weight_val", "X_val y_val")},
    "groups": _OF_FIT,
    "class_weight": _OF_ESTIMATORS["class_weight"],
    "standardize": "members scale columns by themselves; leave it out",
    **dict.fromkeys(("max_depth", "min_samples_leaf", "num_leaves", "max_features", "criterion"),
                    "it is a setting of trees, and members are networks; leave it out"),
    "early_stopping": "members always stop early; n_iter_no_change says when",
}  # fmt: skip

_METHODS: dict[str, dict[str, str]] = {
    "partial_fit": _OF_EPOCHS,
    **dict.fromkeys(("predict", "predict_proba", "predict_log_proba", "decision_function",
                     "forward", "evaluate", "score"), _OF_ANSWERS),
}  # fmt: skip

# How it is called, where something is missing or at another's place.
_EXAMPLES = {
    "Network": 'Network(784, [Dense(128, "relu"), Dense(10)])',
    "Trainer": "Trainer(Network(784, [Dense(10)]), optimizer=SGD(0.1), batch_size=32)",
    "Trainer.fit": "trainer.fit(X, y, epochs=5)",
    "Dense": 'Dense(10, "relu")',
    "Dropout": "Dropout(0.2)",
    "SGD": "SGD(0.1, momentum=0.9)",
    "AveragedSGD": "AveragedSGD(0.1)",
    "StepDecay": "StepDecay(0.1, every=1000)",
    "Exponential": "Exponential(0.1, factor=0.999)",
    "Cosine": "Cosine(0.1, steps=1000)",
    "OneCycle": "OneCycle(0.1, steps=1000)",
    "WarmUp": "WarmUp(100, then=0.1)",
    "EarlyStopping": 'EarlyStopping(5, "validation_loss")',
    "Checkpoint": 'Checkpoint("checkpoints")',
    "CSVLogger": 'CSVLogger("history.csv")',
    "TensorBoard": 'TensorBoard("runs")',
    "StepCallback": "StepCallback(function, every=100)",
    "Ensemble": "Ensemble([trainer, another])",
}


def explained(what: Decorated) -> Decorated:
    """Have a class, or a function, say of arguments that it does not take where they belong.

    `what` is a class with an `__init__` of its own, such as a dataclass, or a function.

    >>> @explained
    ... def train(X, epochs=5):
    ...     return epochs
    >>> train(0, n_epochs=3)
    Traceback (most recent call last):
        ...
    fastnn.errors.UnknownArgument: train has no n_epochs: it is called epochs here
    """
    kind: Any = what
    if isinstance(what, type):
        kind.__init__ = _explaining(kind.__init__, what.__name__)
        return what
    return _explaining(kind, kind.__qualname__)


def _explaining(plain: Any, owner: str) -> Any:
    @functools.wraps(plain)
    def call(*args: Any, **settings: Any) -> Any:
        try:
            return plain(*args, **settings)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # not of the call, but from within
                raise
            raise UnknownArgument(_advice(_called(owner, args), plain, args, settings)) from None

    return call


def _called(owner: str, args: tuple[Any, ...]) -> str:
    """Return what a call is known by: of a method, by the class that the user has an object of."""
    kind, dot, method = owner.rpartition(".")
    return f"{type(args[0]).__name__}.{method}" if dot and args and kind.isidentifier() else owner


def _advice(owner: str, plain: Any, args: tuple[Any, ...], settings: Mapping[str, Any]) -> str:
    """Return what is said of a call whose arguments are not those of the signature."""
    made_with: list[str] = []  # by the class of an estimator, where the call is of its method
    if args and "." in owner and hasattr(args[0], "get_params"):
        made_with = [*inspect.signature(type(args[0])).parameters]
    parameters = {
        name: each for name, each in inspect.signature(plain).parameters.items() if name != "self"
    }
    known = [*parameters]
    unknown = [name for name in settings if name not in parameters]
    if unknown:
        return "; ".join(
            f"{owner} has no {name}: {_where(owner, name, known, made_with)}" for name in unknown
        )
    places = [name for name in known if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    given = len(args) - ("self" in inspect.signature(plain).parameters)
    if given < 0:  # a method of a class, as in Trainer.fit(X=X, y=y)
        return f"{owner} is called on an object, not on its class{_example(owner)}"
    twice = [name for name in places[:given] if name in settings]
    due = [
        name
        for name in known
        if name not in settings
        and name not in places[:given]
        and parameters[name].default is inspect.Parameter.empty
    ]
    if twice:
        said = f"{owner} is given {_listed(twice)} twice, by its place and by its name"
    elif given > len(places):
        one = len(places) == 1
        most = "1 argument by its place" if one else f"{len(places)} arguments by their places"
        said = f"{owner} takes {most} at most, not {given}"
    else:
        said = f"{owner} needs {_listed(due)}"
    by_name = [name for name in known if name not in places]
    takes = [f"{_listed(places)}{', in this order' if len(places) > 1 else ''}"] if places else []
    takes += [f"{_listed(by_name)} by name"] if by_name else []
    return f"{said}; it takes {', and '.join(takes)}{_example(owner)}"


def _example(owner: str) -> str:
    """Return how it is called, behind what is said, where that is known."""
    return f", as in {_EXAMPLES[owner]}" if owner in _EXAMPLES else ""


def _where(owner: str, name: str, known: list[str], made_with: Sequence[str] = ()) -> str:
    """Return what to do about an argument that is unknown: its name here, or where it belongs.

    `made_with` is what the class takes whose method it was given to.
    """
    converted = _CONVERTED.get(name, {})
    for here in (owner, *known):
        if here in converted:
            return converted[here]
    names = _NAMES.get(name, ())
    for here in names:
        if set(here.split()) <= set(known):
            return f"it is called {_listed(here.split())} here"
    for here in known:
        if here.lower() == name.lower():
            return f"it is called {here} here"
    kind, _, method = owner.rpartition(".")
    for each in (name, *names) if method in _METHODS else ():
        if each in _METHODS[method]:
            return _METHODS[method][each].format(each)
    if made_with and (found := _of_class(kind, name, made_with)):
        return found
    said = names or name in _PLACES  # a name of something else, and not a misspelt one
    if not said and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
        return f"did you mean {near[0]}?"
    places = _places_for(made_with or known)
    for each in (name, *names):
        if each in places:
            return places[each].format(each)
    return f"it takes {_listed(known)}"


def _of_class(kind: str, name: str, made_with: Sequence[str]) -> str:
    """Return where an argument belongs that the class of an estimator takes, or ""."""
    converted = _CONVERTED.get(name, {})
    for here in made_with:
        if here in converted and converted[here] != _HERE.format(here):
            return f"it belongs to the class, {kind}(...): {converted[here]}"
    for here in (name, *_NAMES.get(name, ()), *converted):
        if here in made_with:
            return f"it is a parameter of the class: {kind}({here}=...)"
    return ""


def _places_for(known: Sequence[str]) -> Mapping[str, str]:
    """Return the table of places that holds for a call."""
    if "n_members" in known:
        return _OF_TABLES
    return _OF_ESTIMATORS if "random_state" in known else _PLACES


def _listed(names: list[str]) -> str:
    """Return names as a sentence has them."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
