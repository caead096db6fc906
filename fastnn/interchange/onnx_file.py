"""A network and its parameters as a file of ONNX, for prediction elsewhere.

The graph takes "X" (batch, inputs) and gives "outputs", what `forward` gives. Where the loss
applies a function to them itself there is a second output: "probabilities", what `predict_proba`
gives, or of poisson "rates", what `predict` gives. Its operators are those of opset 13, and of
these the ones that onnxruntime has in float32 and in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import __version__
from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.interchange.formulas import formula_of, translated
from fastnn.interchange.libraries import import_onnx
from fastnn.layers import Layer
from fastnn.network import BatchNorm, Dense, LayerNorm, Periodic
from fastnn.rules.activations import RRELU_MEAN, SELU_ALPHA, SELU_SCALE
from fastnn.rules.table import loss_row
from fastnn.storage.tensor_file import write_file

_Linear = tuple[str, tuple[np.ndarray, ...]]  # z of a layer, and what is left for its activation

OPSET, IR_VERSION = 13, 7  # of 2020, so that older runtimes read it
_LARGEST = 2**31 - 2**20  # bytes in a message of protobuf, less some for all but arrays

# Operators for both dtypes, and further ones for float32 alone, since onnxruntime has no others.
_OPERATORS: dict[str, str] = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
_OPERATORS_32: dict[str, str] = {
    "leaky_relu": "LeakyRelu",
    "rrelu": "LeakyRelu",
    "elu": "Elu",
    "selu": "Selu",
}
# Operations of formulas with an operator of their own; `_Graph.operation` writes the others.
_SAME_NAMES = (
    "add", "sub", "mul", "div", "pow", "neg", "exp", "log", "sqrt", "abs", "sign", "tanh",
    "sigmoid", "sin", "cos", "where", "and", "or", "not",
)  # fmt: skip
_OPERATIONS = {name: name.capitalize() for name in _SAME_NAMES} | {
    "maximum": "Max",
    "minimum": "Min",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "eq": "Equal",
}


def write_onnx(
    path: str | bytes | os.PathLike[Any], problem: Problem, parameters: Parameters
) -> None:
    """Write the network to `path`: all of it, or nothing.

    Raises
    ------
    InvalidInput
        More than 2 GiB, or no path.
    MissingExtra
        The package onnx is not installed.
    MissingFile, UnusableFile
        As for `fastnn.storage.tensor_file.write`.
    """
    write_file(path, lambda: onnx_bytes(problem, parameters))


def onnx_bytes(problem: Problem, parameters: Parameters) -> bytes:
    """Return the content of the file; the same network gives the same bytes.

    Raises
    ------
    InvalidInput, MissingExtra
        As for `write_onnx`.
    """
    size = sum(array.nbytes for layer in parameters for array in layer)
    if size > _LARGEST:
        raise InvalidInput(
            f"the parameters have {size} bytes, but a file of ONNX has at most {_LARGEST}; make "
            "the layers narrower, or train in float32"
        )
    onnx = import_onnx()
    helper, dtype = onnx.helper, problem.dtype
    graph = _Graph(onnx, dtype)
    name = "X"
    network = problem.network
    for position, (layer, arrays) in enumerate(zip(network.parametric, parameters, strict=True)):
        graph.prefix = f"layers.{position}"  # as in a model file
        name = graph.layer(name, layer, arrays)
    graph.prefix = ""
    graph.add("Identity", name, result="outputs")
    columns = {"outputs": network.outputs}
    if loss_row(problem.loss).from_logits:
        columns |= graph.of_outputs(problem, name)
    element = helper.np_dtype_to_tensor_dtype(dtype)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "fastnn",
            [helper.make_tensor_value_info("X", element, ["batch", network.inputs])],
            [
                helper.make_tensor_value_info(output, element, ["batch", count])
                for output, count in columns.items()
            ],
            graph.arrays,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastnn",
        producer_version=__version__,
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Graph:
    """Operators and arrays of a graph, as they are added; values are known by their names.

    Attributes
    ----------
    prefix
        What the names of new values begin with.
    """

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.prefix = ""
        self._onnx, self._dtype = onnx, dtype
        self._known: set[str] = set()

    def add(self, operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        """Add an operator, and return the name of what it gives: `result`, if that is given."""
        name = result or f"{self.prefix}/{operator}.{len(self.nodes)}".lstrip("/")
        node = self._onnx.helper.make_node(operator, inputs, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def array(self, values: np.ndarray, name: str) -> str:
        """Add an array, and return its name."""
        self.arrays.append(self._onnx.numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def constant(self, value: float) -> str:
        """Return the name of a number of the graph's dtype."""
        with np.errstate(over="ignore"):
            number = self._dtype.type(value)
        return self._shared(f"number.{number!s}", np.array(number))

    def _shared(self, name: str, values: np.ndarray) -> str:
        """Return the name of an array that layers may share; it is added at first."""
        if name not in self._known:
            self._known.add(self.array(values, name))
        return name

    def layer(self, x: str, layer: Layer, parameters: tuple[np.ndarray, ...]) -> str:
        """Add a layer, and return its output after the activation."""
        z, slopes = _LAYERS[type(layer)](self, x, layer, *parameters)
        activation = layer.activation
        if activation == "identity":
            return z
        if activation == "softmax":
            return self.add("Softmax", z, axis=1)
        if activation == "hardmax":
            return self._hardmax(z, parameters[1].size)
        alpha = self.array(slopes[0], f"{self.prefix}.slopes") if slopes else ""
        return self._elementwise(z, layer, alpha)

    def dense(
        self, x: str, dense: Dense, W: np.ndarray, b: np.ndarray, *slopes: np.ndarray
    ) -> _Linear:
        """Add x W + b."""
        factors = [x, self.array(W, f"{self.prefix}.weights")]
        if dense.bias:
            factors.append(self.array(b, f"{self.prefix}.bias"))
        return self.add("Gemm", *factors), slopes

    def layer_norm(
        self, x: str, layer: LayerNorm, gamma: np.ndarray, beta: np.ndarray, *slopes: np.ndarray
    ) -> _Linear:
        """Add gamma (x - mean) / sqrt(variance + epsilon) + beta, with each row's own statistics.

        Opset 13 has no operator for it. As on the targets the mean is summed in float64, so that
        rows far from zero keep their digits.
        """
        difference = self.add("Sub", x, self._row_mean(x, np.float64))
        squares = self.add("Mul", difference, difference)
        variance = self._row_mean(squares, self._dtype)
        root = self.add("Sqrt", self.add("Add", variance, self.constant(layer.epsilon)))
        scaled = self.add("Div", difference, root)
        scaled = self.add("Mul", scaled, self.array(gamma, f"{self.prefix}.gamma"))
        return self.add("Add", scaled, self.array(beta, f"{self.prefix}.beta")), slopes

    def _row_mean(self, x: str, dtype: Any) -> str:
        """Add the mean of each row, summed in a dtype."""
        if dtype == self._dtype:
            return self.add("ReduceMean", x, axes=[1], keepdims=1)
        to, back = map(self._onnx.helper.np_dtype_to_tensor_dtype, (np.dtype(dtype), self._dtype))
        mean = self.add("ReduceMean", self.add("Cast", x, to=to), axes=[1], keepdims=1)
        return self.add("Cast", mean, to=back)

    def batch_norm(
        self,
        x: str,
        layer: BatchNorm,
        gamma: np.ndarray,
        beta: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        *slopes: np.ndarray,
    ) -> _Linear:
        """Add (x - mean) scale + beta, with scale = gamma / sqrt(variance + epsilon).

        The operator BatchNormalization has its epsilon in float32, whatever x is in.
        """
        scale = gamma / np.sqrt(variance.astype(np.float64) + layer.epsilon)
        difference = self.add("Sub", x, self.array(mean, f"{self.prefix}.mean"))
        factor = self.array(scale.astype(self._dtype), f"{self.prefix}.scale")
        scaled = self.add("Mul", difference, factor)
        return self.add("Add", scaled, self.array(beta, f"{self.prefix}.beta")), slopes

    def periodic(
        self, x: str, layer: Periodic, frequencies: np.ndarray, phases: np.ndarray
    ) -> _Linear:
        """Add x and A cos(2 pi (c x + b)) side by side; whole periods are left out first."""
        columns, count = frequencies.shape
        if columns == 0:
            return x, ()
        numbers = self.array(np.arange(columns).repeat(count), f"{self.prefix}.columns")
        c = self.array(frequencies.reshape(-1), f"{self.prefix}.frequencies")
        b = self.array(phases.reshape(-1), f"{self.prefix}.phases")
        turns = self.add("Mul", self.add("Gather", x, numbers, axis=1), c)
        periods = self.add("Add", turns, b)
        rest = self.add("Sub", periods, self.add("Round", periods))
        cosines = self.add("Cos", self.add("Mul", rest, self.constant(2 * np.pi)))
        scaled = self.add("Mul", cosines, self.constant(layer.amplitude))
        return self.add("Concat", x, scaled, axis=1), ()

    def _elementwise(self, z: str, layer: Layer, alpha: str) -> str:
        """Add an activation of each number alone, by one operator if there is one."""
        name = layer.activation
        single = self._dtype == np.float32
        if isinstance(name, str) and name in _OPERATORS:
            return self.add(_OPERATORS[name], z)
        if single and name == "prelu":
            return self.add("PRelu", z, alpha)
        if single and isinstance(name, str) and name in _OPERATORS_32:
            attributes: dict[str, Any] = {"alpha": layer.alpha}
            if name == "rrelu":
                attributes = {"alpha": RRELU_MEAN}
            elif name == "selu":
                attributes = {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}
            return self.add(_OPERATORS_32[name], z, **attributes)
        expression = formula_of(name)
        inputs = {expression.names[0]: z}
        if "alpha" in expression.names[1:]:
            assert layer.alpha is not None
            inputs["alpha"] = alpha or self.constant(layer.alpha)
        return translated(expression, inputs, self.constant, self.operation)

    def operation(self, name: str, arguments: list[str]) -> str:
        """Add an operation of a formula."""
        if name in _OPERATIONS:
            return self.add(_OPERATIONS[name], *arguments)
        written = getattr(self, f"_{name}")(*arguments)
        assert isinstance(written, str)
        return written

    def _ne(self, x: str, y: str) -> str:
        return self.add("Not", self.add("Equal", x, y))

    def _step(self, x: str) -> str:
        negative = self.add("Less", x, self.constant(0))
        return self.add("Where", negative, self.constant(0), self.constant(1))

    def _expm1(self, x: str) -> str:
        """Add tanh(x/2) (exp(x) + 1), which loses nothing near 0."""
        half = self.add("Tanh", self.add("Mul", x, self.constant(0.5)))
        return self.add("Mul", half, self.add("Add", self.add("Exp", x), self.constant(1)))

    def _log1p(self, x: str) -> str:
        """Add log(1 + x), between -1 and 1 times x / ((1 + x) - 1), which mends the rounding.

        Goldberg 1991, What every computer scientist should know about floating-point arithmetic,
        theorem 4.
        """
        one = self.constant(1)
        u = self.add("Add", one, x)
        log, rest = self.add("Log", u), self.add("Sub", u, one)
        mended = self.add("Div", self.add("Mul", log, x), rest)
        near = self.add("Where", self.add("Equal", u, one), x, mended)
        return self.add("Where", self.add("Greater", x, one), log, near)

    def _softplus(self, x: str) -> str:
        """Add max(x, 0) + log1p(exp(-|x|))."""
        small = self.add("Exp", self.add("Neg", self.add("Abs", x)))
        return self.add("Add", self.add("Max", x, self.constant(0)), self._log1p(small))

    def _erf(self, x: str) -> str:
        """Add Erf, or in float64, for which onnxruntime has none, the integral that it is.

        erf(x) = 2 x / sqrt(pi) times the integral of exp(-x^2 t^2) from 0 to 1, which Gauss's rule
        with 24 points gives to 2e-15 (of it, near 0 as well) up to 6, from where on erf is 1: that
        is put there, for gelu multiplies 1 + erf, which has to be 0, by any x.
        """
        if self._dtype == np.float32:
            return self.add("Erf", x)
        points, shares = np.polynomial.legendre.leggauss(24)  # of the interval from -1 to 1
        squares = self._shared("erf.squares", -(((points + 1) / 2) ** 2))
        weights = self._shared("erf.weights", shares[:, None] / np.sqrt(np.pi))
        last = self._shared("erf.axis", np.array([-1]))
        far = self.add("GreaterOrEqual", self.add("Abs", x), self.constant(6))
        sign = self.add("Sign", x)
        x = self.add("Max", self.add("Min", x, self.constant(6)), self.constant(-6))
        exponents = self.add("Mul", self.add("Unsqueeze", self.add("Mul", x, x), last), squares)
        integral = self.add("MatMul", self.add("Exp", exponents), weights)
        near = self.add("Mul", x, self.add("Squeeze", integral, last))
        return self.add("Where", far, sign, near)

    def _hardmax(self, z: str, units: int) -> str:
        """Add 1 for the first largest of each row, 0 for the others."""
        best = self.add("ArgMax", z, axis=1, keepdims=1)
        numbers = self.array(np.arange(units), f"{self.prefix}.numbers")
        return self.add(
            "Where", self.add("Equal", best, numbers), self.constant(1), self.constant(0)
        )

    def of_outputs(self, problem: Problem, outputs: str) -> dict[str, int]:
        """Add what the loss makes of raw outputs; return its name and how many columns it has."""
        targets, columns = loss_row(problem.loss).targets, problem.network.outputs
        if targets == "counts":
            self.add("Exp", outputs, result="rates")
            return {"rates": columns}
        if targets == "classes":
            self.add("Softmax", outputs, axis=1, result="probabilities")
            return {"probabilities": columns}
        if columns == 1:
            outputs, columns = self.add("Concat", self.add("Neg", outputs), outputs, axis=1), 2
        self.add("Sigmoid", outputs, result="probabilities")
        return {"probabilities": columns}


# (graph, x, a layer, its parameters) -> z and the slopes of prelu, one row a class of layers.
_LAYERS: dict[type, Callable[..., _Linear]] = {
    Dense: _Graph.dense,
    LayerNorm: _Graph.layer_norm,
    BatchNorm: _Graph.batch_norm,
    Periodic: _Graph.periodic,
}
