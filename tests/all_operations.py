"""Activations as formulas that together have every operation on numbers of `fastnn.graph`."""

from fastnn import graph
from fastnn.graph.nodes import topological
from fastnn.graph.operations import OPERATIONS, VECTOR_OPERATIONS

FORMULAS = [
    lambda z: 0.5 * graph.tanh(z) + graph.sin(z) * graph.cos(2 * z),
    lambda z: graph.sqrt(1 + z**2) - graph.exp(-graph.abs(z)),
    lambda z: graph.sign(z) * graph.log1p(graph.abs(z)) + graph.step(z - 0.5),
    lambda z: graph.where(~((z > 1) | (z <= -1)), graph.erf(z), graph.expm1(-(z**2))),
    lambda z: graph.where((z < 1) & (z >= -1), -z / 3, graph.minimum(graph.log(2 + z * z), 5)),
    lambda z: graph.maximum(graph.sigmoid(z), graph.softplus(z - 1) * 0.1),
    lambda z: graph.where((z == 0) | (z != z), 1, (z + 1 - 3 * z) / (2 + graph.abs(z)) ** 1.5),
]

_NODES = [node for each in FORMULAS for node in topological([graph.trace(each).node])]
_NUMBERS = OPERATIONS.keys() - VECTOR_OPERATIONS.keys()  # vectors are for losses alone
assert {each.operation for each in _NODES} == {"constant", "variable", *_NUMBERS}
