"""A fitted estimator of tables in one file: plain values and arrays, no pickle and no rows."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from fastnn.errors import CorruptFile, FastnnError, InvalidInput
from fastnn.estimators.tabular.members import Recipe
from fastnn.storage import tensor_file
from fastnn.storage.model_kinds import check_kind
from fastnn.tabular.encodings import Coded, Encoding, Ragged
from fastnn.tabular.fields import Fields
from fastnn.targets.selection import Target, choose
from fastnn.training.ensemble import Ensemble

Estimator = TypeVar("Estimator")

_PAIRS = "pairs"  # of a dict, whose keys may be numbers
_STATE = "state"  # of a RandomState
_MERSENNE, _WORDS = "MT19937", 624  # the generator of a usual RandomState, and the words of its key
_ENSEMBLE, _ENCODING = "ensemble.", "encoding."


def save(estimator: Any, path: str | bytes | os.PathLike[Any]) -> None:
    """Write a fitted estimator to `path`; see `TabularEstimator.save`."""
    tensors, ensemble = estimator.ensemble_.to_content()
    tensors = {f"{_ENSEMBLE}{name}": array for name, array in tensors.items()}
    encodings = []
    for number, (name, encoding) in enumerate(estimator._encodings.items()):
        plain, arrays = encoding.to_arrays()
        encodings.append({"name": name, **plain})
        tensors |= {f"{_ENCODING}{number}.{own}": array for own, array in arrays.items()}
    own = vars(estimator)
    content = {
        "kind": type(estimator).__name__,
        "parameters": _plain_parameters(estimator),
        "columns": int(estimator.n_features_in_),
        "names": [*own["feature_names_in_"].tolist()] if "feature_names_in_" in own else None,
        "fields": estimator._fields.to_plain(),
        "encodings": encodings,
        "ensemble": ensemble,
        "members": [asdict(each) for each in estimator.members_],
        "weights": estimator.weights_.tolist(),
        "epochs": int(estimator.n_iter_),
        "score": float(estimator.validation_score_),
        "importances": [*own["_importances"].tolist()] if "_importances" in own else None,
        "targets": estimator._targets_to_plain(),
        "table": estimator.table,
    }
    tensor_file.write(path, tensors, content)


def load(
    kind: type[Estimator], path: str | bytes | os.PathLike[Any], target: Target | None = None
) -> Estimator:
    """Return the estimator of a class that `save` wrote to `path`; see `TabularEstimator.load`."""
    tensors, content = tensor_file.read(path, f"{kind.__name__}.save")
    where = os.fsdecode(path)
    check_kind(content, kind.__name__, where)
    if not isinstance(content, dict) or content.get("kind") != kind.__name__:
        raise CorruptFile(f"{where} is not a file that {kind.__name__}.save wrote")
    if target is not None:
        choose(target)
    try:
        made: Any = kind(**{name: _given(each) for name, each in content["parameters"].items()})
        if target is not None:
            made.target = target
        ensemble = tensor_file.taken(tensors, _ENSEMBLE)
        made.ensemble_ = Ensemble.from_content(ensemble, content["ensemble"], where, target)
        made._fields = Fields.from_plain(content["fields"])
        made._encodings = {
            each["name"]: Encoding.from_arrays(
                each, tensor_file.taken(tensors, f"{_ENCODING}{number}.")
            )
            for number, each in enumerate(content["encodings"])
        }
        made.members_ = tuple(
            Recipe(**{**each, "widths": tuple(each["widths"])}) for each in content["members"]
        )
        made.weights_ = np.array(content["weights"], np.float64)
        made.n_features_in_, made.n_iter_ = content["columns"], content["epochs"]
        made.validation_score_ = content["score"]
        if content["names"] is not None:
            made.feature_names_in_ = np.array(content["names"], object)
        if content["importances"] is not None:
            made._importances = np.array(content["importances"], np.float64)
        made._kept = None
        made.table = content.get("table")  # which files of before there was one do not have
        made._targets_from_plain(content["targets"])
        _check(made, tensors)
    except FastnnError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile(
            f"{where} is damaged: it does not hold what {kind.__name__}.save writes ({error!r:.80})"
        ) from error
    return made


def _check(made: Any, left: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` where parts of a file do not fit together."""
    if left:
        raise ValueError(f"unknown arrays: {sorted(left)[:3]}")
    fields, columns = made._fields, made.n_features_in_
    if len(fields.fields) != columns:
        raise ValueError("as many fields as columns are due")
    wanted = {
        "feature_names_in_": columns,
        "_importances": columns,
        "weights_": len(made.members_),
    }
    for name, length in wanted.items():
        if len(vars(made).get(name, range(length))) != length:
            raise ValueError(f"{name} must have {length} entries")
    outputs = {member.problem.network.outputs for member in made.ensemble_.members}
    classes = vars(made).get("classes_", np.zeros(0))
    due = len(classes) if len(classes) > 2 else 1
    if outputs != {due} or not (classes[:-1] < classes[1:]).all():
        raise ValueError("classes must be sorted, and as many as the networks tell apart")
    if not np.isfinite([made.validation_score_, *made.weights_]).all():
        raise ValueError("the score and the weights must be finite")
    numbers, counts = sum(each.width for each in fields.fields), fields.counts
    for encoding in made._encodings.values():
        if encoding.scale is not None and not (
            encoding.scale.shape == (encoding.width,) and np.isfinite(encoding.scale).all()
        ):
            raise ValueError("features are multiplied with numbers that do not fit")
        for part in (*encoding.filling, *encoding.choosing):
            _check_part(part, numbers, counts)
    for member in made.ensemble_.members:
        if made._encodings[member.view].width != member.problem.network.inputs:
            raise ValueError("a network reads other features than there are")
    # What else does not fit fails here, instead of at a first prediction.
    blank = Coded(np.full((2, numbers), np.nan), np.full((2, len(counts)), -1))
    last = Coded(np.zeros((2, numbers)), np.tile(counts - 1, (2, 1)))
    for coded in (blank, last):
        if not np.isfinite(made._mean(coded)).all():
            raise ValueError("a prediction is not finite")


def _check_part(part: Any, numbers: int, counts: np.ndarray) -> None:
    """Raise `ValueError` where part of an encoding is not one of a table with these columns."""
    for name, value in vars(part).items():
        if name == "columns" and not (
            value.dtype.kind == "i" and ((value >= 0) & (value < numbers)).all()
        ):
            raise ValueError("a part of an encoding reads columns that there are not")
        if name == "counts" and not np.array_equal(value, counts):
            raise ValueError("categories are counted twice, with other results")
        if isinstance(value, Ragged):
            starts = value.starts
            if starts.dtype.kind != "i" or starts[0] != 0 or starts[-1] != len(value.values):
                raise ValueError(f"{name} of an encoding are cut in pieces that do not fit")
            if (np.diff(starts) < 0).any() or not all(
                (np.diff(value[place]) >= 0).all() for place in range(len(value))
            ):
                raise ValueError(f"{name} of an encoding are not in order")
        elif isinstance(value, np.ndarray) and np.isinf(value).any():
            raise ValueError(f"{name} of an encoding are infinite")


def _plain_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters as `json` can write them.

    Raises
    ------
    InvalidInput
        One that it cannot, such as a function.
    """
    plain = {}
    for name, value in estimator.get_params(deep=False).items():
        value = plain_value(value)
        if _is_usual(value):
            value = {_STATE: plain_value(value.get_state())}
        elif isinstance(value, dict):  # whose keys would become text
            value = {_PAIRS: [[plain_value(key), own] for key, own in value.items()]}
        try:
            kept = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            raise InvalidInput(
                f"{name}={value!r:.80} cannot be saved; set it to a value that is a number, a "
                "string or a list of such first"
            ) from None
        plain[name] = kept
    return plain


def _given(value: Any) -> Any:
    """Return a parameter as it was before `_plain_parameters`."""
    if isinstance(value, dict) and [*value] == [_STATE]:
        return _random_state(*value[_STATE])
    return dict(value[_PAIRS]) if isinstance(value, dict) and [*value] == [_PAIRS] else value


def _is_usual(value: Any) -> bool:
    """Return whether it is a RandomState whose state a file keeps."""
    if type(value) is not np.random.RandomState:
        return False
    return bool(value.get_state(legacy=False)["bit_generator"] == _MERSENNE)


def _random_state(
    name: str, key: list[int], place: int, has_gauss: int, gauss: float
) -> np.random.RandomState:
    """Return the RandomState of a state, or raise `ValueError` where there is none such."""
    made = np.random.RandomState()
    words = np.array(key, np.uint32)
    if name != _MERSENNE or words.shape != (_WORDS,) or not 0 <= place <= _WORDS:
        raise ValueError("a state of a RandomState is due")
    made.set_state((name, words, place, has_gauss, gauss))
    return made


def plain_value(value: Any) -> Any:
    """Return NumPy's numbers, arrays and tuples as Python's.

    >>> plain_value((np.int64(1), np.array(["a"])))
    [1, ['a']]
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return plain_value(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain_value(each) for each in value]
    return value
