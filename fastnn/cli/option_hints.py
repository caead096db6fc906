"""What is said of options and commands that there are not: what they are called here.

Whoever knows other programs and libraries writes ``--lr`` or ``--test-size``. A name that merely
looks like one of these may mean something else, so what is known elsewhere is in tables, and only
what is nearly the same letters is taken for misspelt.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

# What options are called elsewhere, without "-" and "_", and here: the first that a command has.
# Those of no option here are none's misspelling.
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "eta", "eta0", "learningrate", "learningrateinit"), ("rate",)),
    **dict.fromkeys(("initiallr", "baselr", "maxlr", "steprate"), ("rate",)),
    **dict.fromkeys(("epoch", "nepochs", "numepochs", "maxepochs", "nbepoch", "e"), ("epochs",)),
    **dict.fromkeys(("iterations", "maxiter", "niter", "numiterations", "passes"), ("epochs",)),
    **dict.fromkeys(("batchsize", "batches", "bs", "b", "minibatch", "minibatchsize"), ("batch",)),
    **dict.fromkeys(("val", "valid", "dev", "valsize", "validsize", "valsplit"), ("validation",)),
    **dict.fromkeys(("validationsplit", "validationsize", "validationfraction"), ("validation",)),
    **dict.fromkeys(("valfraction", "valratio", "validationshare", "holdout"), ("validation",)),
    **dict.fromkeys(("testsize", "testsplit", "testfraction", "testratio", "testshare"), ("test",)),
    **dict.fromkeys(("randomstate", "randomseed", "rng", "rngseed"), ("seed",)),
    **dict.fromkeys(("jobs", "njobs", "j", "nthreads", "numthreads", "thread"), ("threads",)),
    **dict.fromkeys(("workers", "numworkers", "nproc", "cores", "ncores", "cpus"), ("threads",)),
    **dict.fromkeys(("output", "o", "outfile", "outputfile", "outputpath", "outpath"), ("out",)),
    **dict.fromkeys(("save", "saveto", "savepath", "savemodel", "modelout", "dest"), ("out",)),
    **dict.fromkeys(("modelpath", "modelfile", "predictions", "outputmodel"), ("out",)),
    **dict.fromkeys(("hiddenlayersizes", "hiddenlayers", "hiddenunits", "hiddensize"), ("hidden",)),
    **dict.fromkeys(("hiddensizes", "hiddendim", "hiddendims", "units", "neurons"), ("hidden",)),
    **dict.fromkeys(("architecture", "width", "nodes"), ("hidden",)),
    **dict.fromkeys(("droprate", "dropoutrate", "pdropout"), ("dropout",)),
    **dict.fromkeys(("act", "activationfunction", "nonlinearity"), ("activation",)),
    **dict.fromkeys(("optim", "solver", "opt", "algorithm"), ("optimizer",)),
    **dict.fromkeys(("criterion", "objective", "lossfunction", "lossfn", "cost"), ("loss",)),
    **dict.fromkeys(("scheduler", "lrschedule", "lrscheduler", "rateschedule"), ("schedule",)),
    **dict.fromkeys(("alpha", "reg", "regularization", "penalty", "l2reg", "ridge"), ("l2",)),
    **dict.fromkeys(("lambda", "l2penalty", "regl2", "l2regularization"), ("l2",)),
    **dict.fromkeys(("l1reg", "l1penalty", "regl1", "lasso", "l1regularization"), ("l1",)),
    **dict.fromkeys(("device", "backend", "accelerator", "hardware", "platform"), ("target",)),
    **dict.fromkeys(("y", "targetcolumn", "targetcol", "labelcolumn", "labelcol"), ("label",)),
    **dict.fromkeys(("response", "outcome", "predict", "class", "dependent", "ycol"), ("label",)),
    **dict.fromkeys(("sampleweight", "sampleweights", "weights", "weightcolumn"), ("weight",)),
    **dict.fromkeys(("ignore", "exclude", "dropcolumns", "dropcols", "skip", "omit"), ("drop",)),
    **dict.fromkeys(("categorical", "categories", "catfeatures", "categoricalfeatures"),
                    ("category",)),
    **dict.fromkeys(("catcols", "factor", "factors", "nominal"), ("category",)),
    **dict.fromkeys(("numeric", "numerical", "numericfeatures", "continuous"), ("number",)),
    **dict.fromkeys(("timedelta", "timedeltas"), ("duration",)),
    **dict.fromkeys(("sep", "separator", "delim", "fielddelimiter"), ("delimiter",)),
    **dict.fromkeys(("decimalmark", "decimalpoint", "decimalseparator"), ("decimal",)),
    **dict.fromkeys(("charset", "codec"), ("encoding",)),
    **dict.fromkeys(("headerless",), ("no-header",)),
    **dict.fromkeys(("colnames", "columnnames"), ("names",)),
    **dict.fromkeys(("filetype", "filetyp", "inputformat", "fmt"), ("format",)),
    **dict.fromkeys(("europeandates", "dmy"), ("day-first",)),
    **dict.fromkeys(("earlystoppingrounds", "niternochange", "earlystoppingpatience"),
                    ("patience",)),
    **dict.fromkeys(("nrestarts", "numrestarts", "tries", "trials", "runs"), ("restarts",)),
    **dict.fromkeys(("checkpoints", "checkpointdir", "checkpointpath", "savedir", "ckpt"),
                    ("checkpoint",)),
    **dict.fromkeys(("load", "continue", "resumefrom", "warmstart", "restore"), ("resume",)),
    **dict.fromkeys(("silent", "noprogress", "q"), ("quiet",)),
    **dict.fromkeys(("ensemble", "population", "automl"), ("tabular",)),
    **dict.fromkeys(("nmembers", "nmodels", "nestimators", "models", "estimators"), ("members",)),
    **dict.fromkeys(("timeout", "maxtime", "timebudget", "budget", "maxseconds"), ("time-limit",)),
    **dict.fromkeys(("probabilities", "probability", "predictproba", "probas", "scores"),
                    ("proba",)),
    **dict.fromkeys(("datatype", "floattype"), ("dtype",)),
    **dict.fromkeys(("tasktype", "problem", "problemtype"), ("task",)),
    **dict.fromkeys(("name", "num", "mode", "text", "tag", "project", "size", "date"), ()),
}  # fmt: skip

# What is no other name of an option: what to do, by the command, or "" for all that have the
# option in front.
_FILES = "files stand without an option: fastnn {} {}"
_DATA = {
    "train": ("", _FILES.format("train", "DATA --label COLUMN")),
    "predict": ("", _FILES.format("predict", "MODEL DATA")),
    "evaluate": ("", _FILES.format("evaluate", "MODEL DATA")),
    "show": ("", _FILES.format("show", "MODEL")),
}
_ADVICE: dict[str, dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("data", "input", "file", "csv", "inputfile", "dataset", "x", "path"), _DATA),
    **dict.fromkeys(("train", "traindata", "trainfile", "trainset"), _DATA),
    **dict.fromkeys(("testdata", "testfile", "testset"), {
        **_DATA,
        "train": ("", "fastnn evaluate MODEL DATA measures on another file; --test SHARE on rows "
                      "left out of this one"),
    }),
    **dict.fromkeys(("validationdata", "validationfile", "validationset", "valdata", "valset"), {
        "": ("validation", "--validation SHARE leaves rows of DATA out to validate on")
    }),
    "model": {
        **_DATA,
        "train": ("", "the file of the model is --out, and --resume goes on from one"),
    },
    **dict.fromkeys(("weightdecay", "wd", "decay"), {
        "": ("l2", "adamw has a weight decay of 0.01 here; --l2 is a penalty on squares of weights")
    }),
    **dict.fromkeys(("gpu", "cuda", "gpus", "usegpu", "usecuda"), {
        "": ("target", "--target cuda is a GPU")
    }),
    "cpu": {"": ("target", "that is --target cpu")},
    **dict.fromkeys(("layers", "nlayers", "numlayers", "depth", "layer"), {
        "": ("hidden", "--hidden 128,64 has the units of each hidden layer")
    }),
    "momentum": {"": ("optimizer", "--optimizer momentum has one of 0.9")},
    **dict.fromkeys(("earlystopping", "earlystop"), {
        "": ("patience", "--patience N stops early")
    }),
    **dict.fromkeys(("features", "columns", "usecols", "inputs", "predictors"), {
        "": ("drop", "all columns but the label are learnt from, and those of --drop")
    }),
    **dict.fromkeys(("id", "index", "idcolumn", "indexcol"), {
        "": ("drop", "--drop COLUMN leaves a column out")
    }),
    **dict.fromkeys(("verbose", "v", "verbosity", "debug"), {
        "": ("quiet", "what is done is said unless --quiet is there")
    }),
    **dict.fromkeys(("standardize", "normalize", "scale", "scaler", "scaling"), {
        "": ("hidden", "numbers are scaled as it is")
    }),
    "shuffle": {"": ("hidden", "rows are shuffled as it is")},
    **dict.fromkeys(("cv", "folds", "kfold", "kfolds", "crossvalidation"), {
        "": ("validation", "there is no cross-validation; --validation 0.2 leaves rows out")
    }),
    **dict.fromkeys(("metric", "metrics", "evalmetric"), {
        "": ("scoring", "--scoring NAME, with --tabular, is what networks are compared by")
    }),
    **dict.fromkeys(("regression", "regressor"), {"": ("task", "that is --task regression")}),
    **dict.fromkeys(("classification", "classifier"), {
        "": ("task", "that is --task classification")
    }),
    **dict.fromkeys(("fp16", "amp", "bf16", "mixedprecision", "half"), {
        "": ("precision", "--precision bfloat16 is there where the target has it")
    }),
    **dict.fromkeys(("float64", "double"), {"": ("dtype", "that is --dtype float64")}),
}  # fmt: skip
_COMMANDS = {
    **dict.fromkeys(("fit", "learn", "run", "build"), "train"),
    **dict.fromkeys(("infer", "inference", "apply", "classify"), "predict"),
    **dict.fromkeys(("test", "eval", "score", "validate", "measure"), "evaluate"),
    **dict.fromkeys(("inspect", "describe", "summary", "print", "view"), "show"),
    **dict.fromkeys(("benchmark", "speed", "time"), "bench"),
    **dict.fromkeys(("version", "env"), "info"),
    **dict.fromkeys(("compile", "precompile"), "warm"),
}  # fmt: skip
_ALIKE = 0.8  # from which on a name is one misspelt
_LEAST = 3  # letters with which one may begin


def of_options(rest: str, options: Iterable[str], command: str) -> str:
    """Return what to say of what a command has not understood, "" where nothing is known.

    >>> of_options("--lr 0.1", ["--rate", "--l2"], "train")
    'did you mean --rate?'
    >>> of_options("--lr 0.1 --epoch=3 -5", ["--rate", "--epochs"], "train")
    '--lr: did you mean --rate? --epoch: did you mean --epochs?'
    >>> of_options("--layers 3", ["--names", "--hidden"], "train")
    '--hidden 128,64 has the units of each hidden layer;'

    Parameters
    ----------
    rest
        The arguments that are left over, the first of them first.
    options
        All that the command has.
    """
    known = {_bare(option): option for option in options if option.startswith("--")}
    asked = [part.partition("=")[0] for part in rest.split()]
    asked = [part for part in asked if re.match(r"-+[a-zA-Z]", part)] or asked[:1]
    hints = {part: _of_option(part, known, command) for part in asked}
    if len(hints) == 1:
        return next(iter(hints.values()))
    return " ".join(f"{part}: {hint}" for part, hint in hints.items() if hint)


def _bare(option: str) -> str:
    return option.lower().replace("-", "").replace("_", "")


def _of_option(asked: str, known: dict[str, str], command: str) -> str:
    """Return what to say of one option, "" where nothing is known."""
    bare = _bare(asked)
    if bare in known:
        return f"did you mean {known[bare]}?"
    advice = _ADVICE.get(bare, {})
    for place in (command, ""):
        needed, text = advice.get(place, ("", ""))
        if text and (not needed or _bare(needed) in known):
            return f"{text};"
    for name in _NAMES.get(bare, ()):
        if _bare(name) in known:
            return f"did you mean --{name}?"
    if bare in _NAMES or advice or not asked.startswith("-"):
        return ""
    longer = [option for name, option in known.items() if name.startswith(bare)]
    if len(bare) >= _LEAST and len(longer) == 1:
        return f"did you mean {longer[0]}?"
    near = difflib.get_close_matches(bare, known, n=1, cutoff=_ALIKE)
    near = near or [name for name in known if len(bare) > 1 and sorted(name) == sorted(bare)]
    return f"did you mean {known[near[0]]}?" if near else ""


def of_choice(asked: str, choices: Sequence[str]) -> str:
    """Return the command, or another of some choices, that was meant; "" where nobody knows.

    >>> of_choice("fit", ["train", "info"]), of_choice("trian", ["train"]), of_choice("x", ["fit"])
    ('train', 'train', '')
    """
    other = _COMMANDS.get(asked.lower(), "")
    if other in choices:
        return other
    return next(iter(difflib.get_close_matches(asked, choices, n=1)), "")
