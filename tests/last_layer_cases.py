"""Which activation of the last layer goes with which loss, as the tests expect it."""

from fastnn.rules.table import LOSSES

# Outputs of one sign, or such as turn back to 0 where they should fall.
NO_MARGIN = ("sigmoid", "relu", "softplus", "softmax", "step", "hardmax", "gelu", "silu", "mish")


def suits(loss: str, activation: str) -> bool:
    """Return whether a network with this last activation, its alpha the usual one, may be made."""
    row = LOSSES[loss]
    if row.from_logits:
        return activation == "identity"
    return row.targets != "binary" or activation not in NO_MARGIN
