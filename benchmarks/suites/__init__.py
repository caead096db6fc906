"""The asv suites; `asv run --quick --python=same` runs them on this checkout."""
