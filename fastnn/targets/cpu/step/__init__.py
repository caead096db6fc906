"""A training step: gather, layers, update, and the epoch that repeats it."""
