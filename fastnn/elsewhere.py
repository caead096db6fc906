"""What is said of names that other libraries have, and fastnn has not: what to write here instead.

Whoever knows PyTorch, Keras or scikit-learn writes ``fastnn.Sequential`` or ``trainer.compile()``.
Such a name stays one that is not there, so that ``hasattr`` is False; only the message is longer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from fastnn.errors import InvalidInput, shown

_NETWORK = (
    'a network is Network(784, [Dense(128, "relu"), Dense(10)]), and Trainer(network) trains it'
)
_DENSE = "a layer of units is Dense(10)"
_ACTIVATION = 'an activation is a setting of its layer: Dense(10, "relu")'
_LOSS = 'a loss is known by its name: Trainer(network, loss="mse")'
_CONNECTED = "layers here are fully connected, or norms; a row of X is one vector of numbers"
_MODEL_FILE = 'trainer.save("model.safetensors") writes a model, and Trainer.load reads one'
_HERE = "it is called {} here"
_IN_SKLEARN = "it is scikit-learn's: from sklearn.model_selection import {}"

_IN_LINEAR = "{}; sklearn.linear_model.{{}} is what to use"

# Of the package.
PACKAGE: dict[str, str] = {
    **dict.fromkeys(("Sequential", "Model", "Module", "NeuralNetwork", "MLP", "nn"), _NETWORK),
    **dict.fromkeys(("Linear", "Layer", "FullyConnected", "LazyLinear"), _DENSE),
    **dict.fromkeys(("Input", "InputLayer"), "the inputs are a number: Network(784, [Dense(10)])"),
    **dict.fromkeys(
        ("Activation", "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "Softmax", "GELU", "ELU"),
        _ACTIVATION,
    ),
    **dict.fromkeys(
        ("CrossEntropyLoss", "MSELoss", "BCELoss", "BCEWithLogitsLoss", "L1Loss", "NLLLoss"), _LOSS
    ),
    **dict.fromkeys(
        ("Conv1d", "Conv2d", "Conv2D", "Flatten", "Embedding", "LSTM", "GRU", "RNN"), _CONNECTED
    ),
    **dict.fromkeys(("BatchNormalization", "BatchNorm1d"), _HERE.format("BatchNorm")),
    "LayerNormalization": _HERE.format("LayerNorm"),
    "ModelCheckpoint": _HERE.format("Checkpoint"),
    "ReduceLROnPlateau": _HERE.format("ReduceOnPlateau"),
    "ASGD": _HERE.format("AveragedSGD"),
    **dict.fromkeys(
        ("StandardScaler", "Normalizer"),
        "Scaling.fit(X) standardizes columns, and so does standardize=True of estimators",
    ),
    **dict.fromkeys(("optim", "Optimizer"), "optimizers are fastnn.SGD, fastnn.Adam and others"),
    **dict.fromkeys(
        ("DataLoader", "TensorDataset", "Dataset"),
        "fit takes arrays, and batch_size of a Trainer says how many rows a step has",
    ),
    **dict.fromkeys(
        ("LearningRateScheduler", "lr_scheduler", "LRScheduler"),
        "a schedule stands for the rate: SGD(schedules.Cosine(0.1, steps=1000))",
    ),
    **dict.fromkeys(("load", "load_model", "save", "save_model"), _MODEL_FILE),
    **dict.fromkeys(("train", "fit"), "a Trainer trains: Trainer(network).fit(X, y, epochs=5)"),
    **dict.fromkeys(("train_test_split", "GridSearchCV", "cross_val_score", "KFold"), _IN_SKLEARN),
    "LogisticRegression": 'it is SGDClassifier("log_loss")',
    "LinearRegression": "it is SGDRegressor(penalty=None)",
    **dict.fromkeys(("LinearSVC", "SVC"), 'a linear one is SGDClassifier("hinge")'),
    "SGDOneClassSVM": _IN_LINEAR.format("no loss here is one of a single class"),
    **dict.fromkeys(
        ("PassiveAggressiveClassifier", "PassiveAggressiveRegressor"),
        _IN_LINEAR.format("no optimizer here takes passive-aggressive steps"),
    ),
}

_SCORED = "trainer.evaluate(X, y) returns the loss, and for labels the accuracy"
_WEIGHTS = "trainer.parameters has W and b of each layer"
_ONE_EPOCH = "trainer.fit(X, y, epochs=1) does one epoch, and called again goes on"
_NO_MODE = "fit trains and predict predicts, and neither has to be told before; leave it out"

# Of a trainer.
TRAINER: dict[str, str] = {
    "compile": 'loss and optimizer are settings: Trainer(network, loss="mse", optimizer=Adam()); '
    "metrics are given to trainer.fit(X, y, metrics=...)",
    **dict.fromkeys(("score", "test", "accuracy"), _SCORED),
    **dict.fromkeys(("train", "eval", "zero_grad"), _NO_MODE),
    **dict.fromkeys(("train_on_batch", "partial_fit", "train_epoch", "train_step"), _ONE_EPOCH),
    **dict.fromkeys(
        ("predict_classes", "transform"), "trainer.predict(X) returns labels or numbers"
    ),
    **dict.fromkeys(
        ("get_weights", "weights", "coefs_", "state_dict", "trainable_variables"), _WEIGHTS
    ),
    "set_weights": "trainer.set_parameters takes others",
    **dict.fromkeys(("load_weights", "load_state_dict", "load_model"), _MODEL_FILE),
    **dict.fromkeys(("save_weights", "save_model", "export"), _MODEL_FILE),
    "layers": "they are trainer.network.layers",
    **dict.fromkeys(("backward", "grad"), "trainer.gradients(X, y) returns the gradients"),
    **dict.fromkeys(("to", "cuda", "cpu"), 'trainer.set(target="cuda") has it train on a GPU'),
    **dict.fromkeys(("history_", "loss_curve_"), "trainer.history.loss has the loss of each epoch"),
    "fit_transform": "fit and predict are two calls: trainer.fit(X, y), then trainer.predict(X)",
}

_SERIES = 'it is the history itself that has them: history.loss, history["validation_loss"]'

# Of a history.
HISTORY: dict[str, str] = {
    **dict.fromkeys(("history", "loss_curve_", "losses", "logs", "log"), _SERIES),
    **dict.fromkeys(("epoch", "epochs", "n_iter_"), "len(history) is how many epochs it has"),
    **dict.fromkeys(("params", "model"), "it is of a Trainer, which has network and optimizer"),
    **dict.fromkeys(("plot", "plot_loss"), "plots.loss_curves(history) draws it"),
    **dict.fromkeys(("best_epoch", "best_epoch_"), "history.best is the best epoch, if any"),
}

# Of a network, which has no parameters yet.
_TRAINS = "a network says what there is, and a Trainer does it: trainer = Trainer(network)"
_BUILT = 'layers are given at once: Network(784, [Dense(128, "relu"), Dense(10)])'
NETWORK: dict[str, str] = {
    **dict.fromkeys(
        ("fit", "predict", "predict_proba", "evaluate", "score", "save", "load"), _TRAINS
    ),
    **dict.fromkeys(("compile", "summary", "forward", "train", "eval", "to", "cuda"), _TRAINS),
    **dict.fromkeys(("state_dict", "get_weights", "weights", "zero_grad", "history"), _TRAINS),
    **dict.fromkeys(("add", "append", "add_module", "build"), _BUILT),
}


# Of what is measured: metrics and series here, and the scorers of scikit-learn's.
_MEASURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("acc", "binary_accuracy", "categorical_accuracy"), ("accuracy",)),
    "sparse_categorical_accuracy": ("accuracy",),
    **dict.fromkeys(("accuracy_score", "hits"), ("accuracy",)),
    **dict.fromkeys(("auc", "roc", "auroc", "roc_auc", "roc_auc_score"), ("auc", "roc_auc")),
    **dict.fromkeys(("f1_score", "f1score"), ("f1",)),
    **dict.fromkeys(("r2_score", "r_squared", "rsquared"), ("r2",)),
    **dict.fromkeys(("mean_absolute_error", "l1"), ("mae", "neg_mean_absolute_error")),
    "mae": ("neg_mean_absolute_error",),
    "mse": ("rmse", "neg_mean_squared_error"),
    **dict.fromkeys(("mean_squared_error", "l2"), ("rmse", "neg_mean_squared_error")),
    **dict.fromkeys(("root_mean_squared_error", "rmse"), ("rmse", "neg_root_mean_squared_error")),
    **dict.fromkeys(("logloss", "log_loss", "cross_entropy", "nll"), ("log_loss", "neg_log_loss")),
    **dict.fromkeys(("mape",), ("neg_mean_absolute_percentage_error",)),
    **dict.fromkeys(("precision_score", "recall_score"), ("f1",)),
    "lr": ("learning_rate",),
}
_VALIDATION = re.compile(r"(val|valid|validation|eval|test)_")
_TRAINING = re.compile(r"(train|training)_")


def meant(name: object, known: Iterable[str]) -> str:
    """Return what of the known names of measures another library's name means, or "".

    >>> meant("val_acc", ["loss", "validation_loss", "validation_accuracy"])
    'validation_accuracy'
    >>> meant("mse", ["r2", "neg_mean_squared_error"])
    'neg_mean_squared_error'
    """
    if not isinstance(name, str):
        return ""
    names = list(known)
    written = name.strip().lower().replace(" ", "_").replace("-", "_")
    bare = _TRAINING.sub("", _VALIDATION.sub("", written, count=1), count=1)
    measures = (bare, *_MEASURES.get(bare, ()))
    for prefix in ("",) if _TRAINING.match(written) else ("validation_", ""):
        for measure in measures:
            if f"{prefix}{measure}" in names and f"{prefix}{measure}" != name:
                return f"{prefix}{measure}"
    return ""


def unknown_measure(what: str, name: object, known: Iterable[str]) -> InvalidInput:
    """Return the error for a measure that is not known; what it seems to mean comes first."""
    names, written = list(known), name if isinstance(name, str) else ""
    near = list(filter(None, [meant(name, names)]))
    near += difflib.get_close_matches(written.lower(), names, n=len(names), cutoff=0.4)
    ordered = list(dict.fromkeys((*near, *names)))
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InvalidInput(f"unknown {what} {shown(name)}{hint} Known: {', '.join(ordered)}.")


def refused(value: object, name: str, table: Mapping[str, str]) -> object:
    """Return an attribute that was looked for in vain, as its error, or raise with what to write.

    For `__getattr__`: where a property raised, it is computed again, so that its own error comes.
    """
    if name in table and not hasattr(type(value), name):
        kind = type(value).__name__
        raise AttributeError(f"a {kind} has no {name}: {table[name].format(name)}")
    return object.__getattribute__(value, name)


def instead(table: Mapping[str, str], name: str, known: Iterable[str] = ()) -> str:
    """Return what to write in the place of a name that is not there, or "".

    >>> instead(PACKAGE, "ReduceLROnPlateau")
    'it is called ReduceOnPlateau here'
    >>> instead({}, "RMSprop", ["SGD", "RMSProp"])
    "did you mean 'RMSProp'?"
    """
    if name in table:
        return table[name].format(name)
    names = list(known)
    near = [other for other in names if other.lower() == name.lower()]
    near += difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f"did you mean {near[0]!r}?" if near else ""
