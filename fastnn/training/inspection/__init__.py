"""A look inside: gradients, hidden values, sizes, and the path of updates, as tables."""
