"""What the examples share: their list, their command line, their figures, and scaled columns."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastnn.errors import FastnnError
from fastnn.graph.axes import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HELPERS = ("__init__", "__main__", "running", "tables")


def examples() -> dict[str, str]:
    """Return the first line of each example's docstring, by the example's name."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return {
        file.stem: (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0]
        for file in files
        if file.stem not in _HELPERS
    }


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and end with 2."""
        print(f"{self.prog}: {message}; see: {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def command_line(main: Callable[..., None]) -> None:
    """Run an example's `main` with the options of this process; each argument is an option.

    An error, of an option or of fastnn's family, is printed as one line and ends the process with
    code 2.
    """
    # Its own module may be "__main__", or be run by another that is.
    description = inspect.cleandoc(main.__globals__.get("__doc__") or "")
    parser = _Parser(description=description)
    for name, parameter in inspect.signature(main).parameters.items():
        option = "--" + name.replace("_", "-")
        if name == "save":
            parser.add_argument(option, metavar="FILE", help="where to save the picture")
        else:
            start = parameter.default
            parser.add_argument(option, type=type(start), default=start, help=f"default {start}")
    options = vars(parser.parse_args())
    save = options.get("save")
    try:
        if save is not None:  # say what is missing before anything takes time
            options["save"], wrong = _picture(save)
            if wrong:
                parser.error(f"--save: {wrong}")
        main(**options)
        if save is None and "save" in options:
            print("With --save FILE.png it draws a picture.")
    except (FastnnError, ValueError) as error:  # the second of scikit-learn's and NumPy's checks
        print("fastnn:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def _picture(path: str) -> tuple[str, str]:
    """Return the path of a picture, with .png where it ends in nothing, and what is wrong with it.

    Nothing that is wrong is "".
    """
    formats = pyplot().figure().canvas.get_supported_filetypes()
    pyplot().close()
    file = Path(path)
    if not path or file.is_dir():
        return path, f"{path!r} is no name of a picture, such as example.png"
    if not file.parent.is_dir():
        return path, f"there is no folder {str(file.parent)!r}"
    if not file.suffix:
        return f"{path}.png", ""
    wrong = "" if file.suffix[1:].lower() in formats else f"no picture ends in {file.suffix!r}"
    return path, f"{wrong}; known: {', '.join(sorted(formats))}" if wrong else ""


def panels(rows: int = 1, columns: int = 1) -> list[Axes]:
    """Return the axes of a new figure, row by row."""
    size = (5.2 * columns, 4.2 * rows)
    figure = pyplot().figure(figsize=size, layout="constrained")
    return list(figure.subplots(rows, columns, squeeze=False).flat)


def save_figure(ax: Axes, path: str) -> None:
    """Write the figure that `ax` belongs to, and let go of it."""
    figure: Any = ax.figure
    figure.savefig(path, dpi=120)
    pyplot().close(figure)
    print(f"The picture is in {path}.")


def standardised(X: np.ndarray, rows: int) -> np.ndarray:
    """Return X with columns of mean 0 and variance 1, so that one learning rate fits them all.

    Both are those of the first `rows`, the ones to train on: the others are to stay unknown.
    """
    return (X - X[:rows].mean(axis=0)) / X[:rows].std(axis=0)
