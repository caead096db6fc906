"""Parameters and optimizer state: checked, at their start, and under their names in a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.initializers import INITIALISERS, LostInitialiser
from fastnn.inputs.arrays import has_masked, real_numbers
from fastnn.inputs.memory import check_memory
from fastnn.inputs.problem import Problem
from fastnn.network import Dense
from fastnn.rules.table import activation_row, update_row

if TYPE_CHECKING:
    from fastnn.layers import Layer, Parameter
    from fastnn.network import Network


Parameters = list[tuple[np.ndarray, ...]]  # of each layer's arrays: see `Network.parameters`


def check_size(problem: Problem) -> None:
    """Raise `InvalidInput` where parameters and optimizer state cannot fit into memory."""
    network = problem.network
    sizes = [
        k * n + 2 * n if isinstance(layer, Dense) else 5 * n
        for layer, (k, n) in zip(network.parametric, network.widths, strict=True)
    ]
    copies = 1 + update_row(problem.optimizer).slots
    # Initial weights are drawn in float64.
    needed = problem.dtype.itemsize * copies * sum(sizes) + 8 * max(sizes)
    inputs, widest = network.widths[0][0], max(dense.units for dense in network.dense)
    what, remedy = f"its widest layer of {widest} numbers", "make its layers narrower"
    if inputs > widest:
        what, remedy = f"{inputs} inputs", "give it fewer inputs, or a narrower first layer"
    check_memory(needed, f"a network of {sum(sizes)} parameters, {what},", remedy)


def start_slots(problem: Problem, parameters: Parameters) -> list[Parameters]:
    """Return the state that the optimizer starts from, one list like `parameters` a slot.

    It is zeros, but for the mean of the parameters, which starts as a copy of them.
    """
    rule = update_row(problem.optimizer)
    slots = [[tuple(map(np.zeros_like, each)) for each in parameters] for _ in range(rule.slots)]
    if rule.mean:
        slots[-1] = copy_of(parameters)
    return slots


def copy_of(parameters: Parameters) -> Parameters:
    """Return the same parameters in new arrays."""
    return [tuple(array.copy() for array in layer) for layer in parameters]


def as_dtype(parameters: Parameters, dtype: np.dtype[Any], what: str) -> Parameters:
    """Return the same numbers in arrays of `dtype`, or raise `InvalidInput` where one overflows.

    `what` is what the message calls them.
    """
    with np.errstate(over="ignore"):
        found = [tuple(array.astype(dtype, copy=False) for array in layer) for layer in parameters]
    if not all(np.isfinite(array).all() for layer in found for array in layer):
        raise InvalidInput(
            f"{what} cannot become {dtype}, in which one of the numbers is infinite; keep the "
            "dtype, or set other parameters first"
        )
    return found


def with_more_outputs(
    problem: Problem, parameters: Parameters, slots: list[Parameters]
) -> tuple[Parameters, list[Parameters]]:
    """Return parameters and state for a last layer that has more units than these are for.

    Parameters
    ----------
    problem
        Its last layer is the wider one, and says how new columns of W start; they are drawn as
        `initial_parameters` does, but from PCG64([seed, WIDER, l, units before]).
    parameters, slots
        Not overwritten; all numbers are kept.

    Raises
    ------
    InvalidInput
        As `initial_parameters` does.
    """
    network, old = problem.network, parameters[-1][0].shape[1]
    key = [problem.seed, WIDER, len(network.dense) - 1, old]
    start = _start_of(network, len(parameters) - 1, key, problem.dtype)
    added = tuple(array[..., old:] for array in start)
    zeros = tuple(map(np.zeros_like, added))
    rule = update_row(problem.optimizer)

    def wider(group: Parameters, more: tuple[np.ndarray, ...]) -> Parameters:
        joined = (np.concatenate(pair, axis=-1) for pair in zip(group[-1], more, strict=True))
        return [*group[:-1], tuple(joined)]

    means = [added] if rule.mean else []
    fresh = [zeros] * (len(slots) - len(means)) + means
    state = [wider(slot, more) for slot, more in zip(slots, fresh, strict=True)]
    return wider(parameters, added), state


def check_parameters(problem: Problem, values: Any) -> Parameters:
    """Return a caller's parameters as new C-ordered arrays of the problem's dtype.

    Parameters
    ----------
    problem
        Gives the shapes, which layers have a bias, and the dtype.
    values
        A list of the arrays of each layer that has parameters, as `Network.parameters` tells them:
        (W (n_in, n_out), b (n_out,)) of a Dense, with prelu (W, b, slopes); (gamma, beta) of a
        LayerNorm; (gamma, beta, mean, variance) of a BatchNorm; (c, b) of a Periodic, both
        (columns, frequencies).

    Raises
    ------
    InvalidInput
        Another number of layers, another shape, not finite numbers, a negative variance, or a bias
        where there is none.
    """
    network = problem.network
    layers = len(network.parametric)
    if not isinstance(values, (list, tuple)) or len(values) != layers:
        count = f" of {len(values)}" if isinstance(values, (list, tuple)) else ""
        each = f"{layers} pairs (W, b), one a Dense layer"
        if network.other_kinds:
            each = f"the arrays of {layers} layers: {', '.join(network.names)}"
        raise InvalidInput(
            f"parameters must be a list of {each}, as "
            f"trainer.parameters gives it, not a {type(values).__name__}{count}"
        )
    checked: Parameters = []
    for position, (dense, called, wanted) in enumerate(
        zip(network.parametric, network.names, network.parameters, strict=True)
    ):
        given = values[position]
        letters = [each.letter or each.name for each in wanted]
        if not isinstance(given, (list, tuple)) or len(given) != len(wanted):
            what = {2: "a pair", 3: "a triple"}.get(len(wanted), "a tuple")
            shapes = " and ".join(str(each.shape) for each in wanted)
            raise InvalidInput(
                f"parameters of {called} must be {what} ({', '.join(letters)}) of "
                f"arrays of shapes {shapes}, not {shown(given):.80}"
            )
        layer = tuple(
            _checked(array, each, problem.dtype, f"{letter} of {called}")
            for letter, array, each in zip(letters, given, wanted, strict=True)
        )
        if isinstance(dense, Dense) and not dense.bias and (b := layer[1]).any():
            raise InvalidInput(
                f"b of {called} must be zeros, since the layer has bias=False; "
                f"its value at {int(b.nonzero()[0][0])} is {b[b.nonzero()][0].item()!r}"
            )
        checked.append(layer)
    return checked


def _checked(value: Any, wanted: Parameter, dtype: np.dtype[Any], what: str) -> np.ndarray:
    """Return one array of parameters as `dtype`, or raise `InvalidInput`."""
    array = real_numbers(value, what)
    if array.shape != wanted.shape:
        name = what.partition(" ")[0]
        axes = ", which is (inputs, outputs)" if len(wanted.shape) == 2 else ""
        raise InvalidInput(
            f"{what} has shape {array.shape} but the network needs {wanted.shape}{axes}; "
            f"{_other_form(array.shape, wanted.shape, name)}"
        )
    _refuse_not_finite(array, dtype, what)
    if wanted.low > -math.inf and array.size and array.min() < wanted.low:
        raise InvalidInput(f"{what} must be at least {wanted.low:g}, not {array.min().item()!r}")
    return np.array(array, dtype, order="C")


def _refuse_not_finite(array: np.ndarray, dtype: np.dtype[Any], what: str) -> None:
    """Raise `InvalidInput` for a parameter that is not finite, or not in `dtype`."""
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        there = np.isfinite(array.astype(dtype, copy=False))
    if there.all():
        return
    place = tuple(int(each) for each in np.argwhere(~there)[0])
    at, value = ", ".join(map(str, place)), array[place].item()
    where = f"{what} has {value!r} at [{at}]"
    if math.isfinite(value):
        raise InvalidInput(
            f"{where}, which is too large for {dtype}; make the trainer with "
            'dtype="float64", or trainer.set(dtype="float64") first'
        )
    raise InvalidInput(
        f"{where}, but parameters must be finite: what a training that diverged has left cannot be "
        "gone on from; pass those of an earlier epoch, or others"
    )


def _other_form(found: tuple[int, ...], shape: tuple[int, ...], name: str) -> str:
    """Return what to do about an array of parameters that has another shape than it needs."""
    if len(found) == 2 and found == shape[::-1]:
        return (
            f"this is the transpose, (outputs, inputs), as PyTorch's Linear has it: pass {name}.T, "
            "of every layer, square ones too, or use Trainer.from_torch"
        )
    if [size for size in found if size != 1] == [size for size in shape if size != 1]:
        return f"these are its numbers in another form: pass numpy.reshape({name}, {shape})"
    if math.prod(found) == 1:
        return f"if all of them are that number, pass numpy.full({shape}, numpy.ravel({name}))"
    return "pass parameters of the same layers, as trainer.parameters gives them"


def to_tensors(
    problem: Problem, parameters: Parameters, slots: list[Parameters]
) -> dict[str, np.ndarray]:
    """Return every array under its name in a file, such as "layers.0.weights"."""
    return {
        name: array
        for group, layers in zip(_names(problem), [parameters, *slots], strict=True)
        for names, arrays in zip(group, layers, strict=True)
        for name, array in zip(names, arrays, strict=True)
    }


def from_tensors(
    problem: Problem, tensors: dict[str, np.ndarray], where: str
) -> tuple[Parameters, list[Parameters]]:
    """Return the parameters and slots that `to_tensors` named.

    Parameters
    ----------
    problem
        What the arrays must fit.
    tensors
        As read; not copied.
    where
        What messages call the file.

    Raises
    ------
    CorruptFile
        An array is missing or unknown, has another shape or dtype, or is not finite.
    """
    groups = _names(problem)
    wanted = {
        name: each
        for group in groups
        for names, layer in zip(group, problem.network.parameters, strict=True)
        for name, each in zip(names, layer, strict=True)
    }
    shapes = {name: each.shape for name, each in wanted.items()}
    for name in sorted(shapes.keys() ^ tensors.keys()):
        verb = "lacks" if name in shapes else "has no place for"
        raise CorruptFile(f"{where} is damaged: its network {verb} the array {name!r}")
    for name, shape in shapes.items():
        found = tensors[name]
        if found.shape != shape or found.dtype != problem.dtype:
            raise CorruptFile(
                f"{where} is damaged: {name!r} is {found.dtype} of shape {found.shape}, but its "
                f"network needs {problem.dtype} of shape {shape}"
            )
        if not np.isfinite(found).all():
            raise CorruptFile(f"{where} is damaged: {name!r} has a number that is not finite")
        if found.size and found.min() < wanted[name].low:
            raise CorruptFile(f"{where} is damaged: {name!r} has a number that is negative")
    read = [[tuple(tensors[name] for name in names) for names in group] for group in groups]
    return read[0], read[1:]


def _names(problem: Problem) -> list[list[list[str]]]:
    """Return the names of each layer's arrays: of the parameters, then of each state slot."""
    slots = range(update_row(problem.optimizer).slots)
    layers = list(enumerate(problem.network.parameter_shapes))
    return [
        [[f"{group}.{layer}.{name}" for name in shapes] for layer, shapes in layers]
        for group in ["layers", *(f"state.{slot}.layers" for slot in slots)]
    ]


STREAM = 0x696E6974  # ASCII "init": keeps these draws apart from those of the epochs' orders
WIDER = 0x77696465  # ASCII "wide": and these from those
BIAS = 0x62696173  # ASCII "bias": and those of b from those of W
OTHERS = 0x6F746872  # ASCII "othr": and those of layers that are no Dense from all of these


def initial_parameters(
    network: Network, seed: int, dtype: np.dtype[Any]
) -> list[tuple[np.ndarray, ...]]:
    """Return the parameters that training starts from.

    W of the l-th Dense layer is drawn in float64 from PCG64([seed, STREAM, l]) and then rounded, b,
    where it is drawn at all, from PCG64([seed, STREAM, l, BIAS]), and what a Periodic has that is
    layer p from PCG64([seed, OTHERS, p]); all others start as their layer says: the slopes of prelu
    at alpha, gamma at one.

    Parameters
    ----------
    network
        The layers; `Dense.init` and `Dense.bias_init` say how each starts.
    seed
        Whole, at least 0.
    dtype
        float32 or float64.

    Returns
    -------
    list of tuples
        The arrays of each layer with parameters, new C-ordered arrays of `dtype`; see
        `check_parameters`.

    Raises
    ------
    InvalidInput
        A caller's initialiser gave something other than finite real numbers of the right shape, or
        alpha or a first bias is too large for float32.
    """
    parameters: list[tuple[np.ndarray, ...]] = []
    drawn = 0
    for position, layer in enumerate(network.parametric):
        linear = isinstance(layer, Dense)
        key = [seed, STREAM, drawn] if linear else [seed, OTHERS, position]
        parameters.append(_start_of(network, position, key, dtype))
        drawn += linear
    return parameters


def check_drawn(network: Network) -> None:
    """Raise `InvalidInput` where parameters cannot be drawn, since a file had not the function."""
    for layer, called in zip(network.parametric, network.names, strict=True):
        _refuse_lost(layer, called)


def _refuse_lost(layer: Layer, called: str) -> None:
    for name in ("init", "bias_init"):
        if isinstance(init := getattr(layer, name, None), LostInitialiser):
            raise init.refusal(f"{name} of {called}")


def _start_of(
    network: Network, position: int, key: list[int], dtype: np.dtype
) -> tuple[np.ndarray, ...]:
    """Return what one layer starts with, what is drawn of it from PCG64(key)."""
    layer, (k, n) = network.parametric[position], network.widths[position]
    called, wanted = network.names[position], network.parameters[position]
    _refuse_lost(layer, called)
    generator = np.random.Generator(np.random.PCG64(key))
    if not isinstance(layer, Dense):
        return tuple(
            _initial(layer.draw(generator, each), each.shape, dtype, f"scale of {called}")
            if each.start is None
            else _filled(each, layer.alpha, dtype, called)
            for each in wanted
        )
    init = activation_row(layer.activation).initialiser if layer.init is None else layer.init
    draw = INITIALISERS[init] if isinstance(init, str) else init
    W = _initial(draw(generator, k, n), (k, n), dtype, f"init of {called}")
    others = [
        _filled(each, layer.alpha, dtype, called) for each in wanted[1:] if each.start is not None
    ]
    if layer.bias_init is not None:
        others.insert(0, _initial_bias(layer, (k, n), [*key, BIAS], dtype, called))
    return W, *others


def _initial_bias(
    layer: Dense, shape: tuple[int, int], key: list[int], dtype: np.dtype[Any], called: str
) -> np.ndarray:
    """Return b (n,) of a Dense of shape (k, n), as its `bias_init` says."""
    init, (k, n) = layer.bias_init, shape
    generator = np.random.Generator(np.random.PCG64(key))
    if isinstance(init, str):
        # One row of the weights that it would draw: their distribution depends on k and n.
        values: Any = INITIALISERS[init](generator, k, n)[0]
    else:
        values = init(generator, k, n) if callable(init) else np.full(n, init)
    return _initial(values, (n,), dtype, f"bias_init of {called}")


def _filled(wanted: Parameter, alpha: Any, dtype: np.dtype[Any], called: str) -> np.ndarray:
    """Return an array that is not drawn as training starts with it, or raise `InvalidInput`."""
    with np.errstate(over="ignore"):
        found = np.full(wanted.shape, wanted.start, dtype)
    if not np.isfinite(found).all():
        raise InvalidInput(f"alpha of {called} must be finite in {dtype}, not {alpha!r}")
    return found


def _initial(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any], place: str) -> np.ndarray:
    """Return a caller's initial values as a new array of `dtype`, or raise `InvalidInput`."""
    if has_masked(values):
        raise InvalidInput(
            f"{place} must return a number for each weight, and some that it returned are masked; "
            "return an array without a mask, such as values.filled(0.0)"
        )
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise InvalidInput(f"{place} must return an array, not {type(values).__name__}") from error
    if found.dtype.kind not in "fiu":
        raise InvalidInput(f"{place} must return real numbers, not dtype {found.dtype}")
    if found.shape != shape:
        axes = "(inputs, outputs)" if len(shape) == 2 else "(outputs,)"
        raise InvalidInput(f"{place} must return shape {shape}, which is {axes}, not {found.shape}")
    with np.errstate(over="ignore"):
        start = np.array(found, dtype, order="C")
    bad = ~np.isfinite(start)
    if bad.any():
        where = tuple(int(index) for index in np.argwhere(bad)[0])
        raise InvalidInput(
            f"{place} must return numbers that are finite in {dtype};"
            f" at {where} it returned {found[where]!r}"
        )
    return start
