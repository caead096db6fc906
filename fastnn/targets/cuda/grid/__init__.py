"""The family of a persistent grid, which keeps the first layer's weights in place."""
