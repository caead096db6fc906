"""Whether Muon pays for the square layer of a population's members, as PyTorch has it.

    FASTNN_DATA=folder python benchmarks/muon.py [--data california,phoneme] [--members N]

trains members with learned cosines as `fastnn.TabularRegressor` and `TabularClassifier` draw them,
on the features that they read, in PyTorch: once all by AdamW, once with the matrix of the layer
between the two hidden ones by Muon (Jordan et al. 2024; five steps of Newton and Schulz an update,
rates matched to AdamW's as Liu et al. 2025, "Muon is scalable for LLM training", section 2.2) and
all else by AdamW. Starts, order of rows and dropout are the same, the rate falls to 0 by a cosine,
and weights are averaged as in fastnn. A row of a Markdown table has the best validation loss, mean
and standard deviation over the members, that of the mean of their predictions, the epoch of the
best, and CPU milliseconds of a step, on one thread. Beside it is the arithmetic of Muon's products
as a part of that of a step.
"""

from __future__ import annotations


def main() -> None:
    """Print a row for each table and way."""
    from contenders import muon_  # needs PyTorch, which asv does without as it looks through files

    muon_.main((__doc__ or "").partition("\n")[0])


if __name__ == "__main__":
    main()
