"""The options that say how to read a file, and the table in it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from fastnn.cli import screen
from fastnn.errors import InvalidInput

if TYPE_CHECKING:
    from fastnn.cli.model import Described
    from fastnn.tabular.files import Reading
    from fastnn.tabular.table import Matrix, Table

FILES = (
    "CSV, TSV, Parquet, Arrow, .npz, .npy or svmlight, plain or in gzip; a folder of Parquet and "
    "Arrow files; - is the standard input. What a file is its content tells"
)


def add_data(parser: argparse.ArgumentParser, what: str = "the table") -> None:
    """Give a command its DATA and the options of how to read it."""
    parser.add_argument("data", metavar="DATA", help=f"{what}: {FILES}")
    group = parser.add_argument_group("how to read DATA, if not found out")
    group.add_argument(
        "--format",
        choices=("csv", "parquet", "arrow", "npz", "npy", "svmlight"),
        metavar="KIND",
        help="csv, parquet, arrow, npz, npy or svmlight",
    )
    group.add_argument("--delimiter", metavar="D", help="between values of text; 'tab' is a tab")
    group.add_argument("--decimal", metavar="D", default=".", help="decimal mark (default .)")
    group.add_argument("--encoding", metavar="E", default="utf-8", help="of text (default utf-8)")
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line has names; without, columns are called 1, 2, ... "
        "(default: it has unless it has numbers, or values that other lines have as well)",
    )
    group.add_argument("--names", metavar="A,B,...", help="names of all columns")


def names_in(text: str | None) -> tuple[str, ...]:
    """Return the names in an option, separated by commas; as in a CSV, quotes keep a name whole.

    >>> names_in("age, my pay,,"), names_in('"a,b", " c"')
    (('age', 'my pay'), ('a,b', ' c'))
    """
    if not text:
        return ()
    if '"' not in text:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    names = re.findall(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)', text)
    read = (quoted.replace('""', '"') or bare.strip() for quoted, bare in names)
    return tuple(filter(None, read))


def called(path: str) -> str:
    """Return what DATA is called in what is printed."""
    return "standard input" if path == "-" else path


def read_data(
    options: argparse.Namespace, model: Described | None = None
) -> tuple[Table | Matrix, list[str]]:
    """Return what DATA has, for a model or for one to be, and what there is to say of reading."""
    from fastnn.tabular.files import read

    return read(options.data, _reading(options, model, "train"))


def read_blocks(
    options: argparse.Namespace, model: Described, said: list[str]
) -> Iterator[Table | Matrix]:
    """Yield what DATA has, some thousand rows after another; as `fastnn.tabular.read_in_blocks`."""
    from fastnn.tabular.files import read_in_blocks

    return read_in_blocks(options.data, _reading(options, model, "test"), said)


def _reading(options: argparse.Namespace, model: Described | None, part: str) -> Reading:
    """Return how to read DATA."""
    from fastnn.tabular.files import Reading

    delimiter = {"tab": "\t", "\\t": "\t"}.get(options.delimiter, options.delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise InvalidInput(f"--delimiter must be one character or 'tab', not {options.delimiter!r}")
    if options.decimal not in (".", ","):
        raise InvalidInput(f"--decimal must be . or , and not {options.decimal!r}")
    names = names_in(options.names)
    if len(set(names)) < len(names):
        raise InvalidInput("--names has a name twice")
    option = getattr(options, "label", None) or ""  # which only training has
    label = option if model is None else model.label.name
    reading = Reading(
        options.format, delimiter, options.encoding, options.header, names or None, None, part,
        label, label == option,
    )  # fmt: skip
    if model is None:
        return reading
    if model.plan.numbered:
        return replace(reading, fits=lambda cells: model.fits(cells, options.decimal))
    return replace(reading, expected=model.plan.columns)


def say_all(lines: list[str], quiet: bool) -> None:
    """Print remarks, unless nobody wants them."""
    if not quiet:
        for line in lines:
            screen.say(screen.wrapped(line))


def check_output(option: str, path: str, *inputs: str) -> None:
    """Raise what writing a file would, before there is anything to write.

    Parameters
    ----------
    option
        Which has the path.
    inputs
        Files that are read, under whatever name; "-" is the standard input.

    Raises
    ------
    InvalidInput
        The file is one of the inputs, which would be lost.
    MissingFile, UnusableFile
        As `fastnn.storage.tensor_file.check_writable`.
    """
    from fastnn.errors import MissingFile
    from fastnn.storage.tensor_file import check_writable

    try:
        check_writable(path)
    except MissingFile as error:
        folder = os.path.dirname(path)
        what = (
            f"there is no such folder to save into; make it first: mkdir -p {shlex.quote(folder)}"
        )
        raise MissingFile(error.errno, what, folder) from error
    refuse_inputs(option, path, *inputs)


def refuse_inputs(option: str, path: str, *inputs: str) -> None:
    """Raise `InvalidInput` where the file at a path, if there is one, is one of the inputs."""
    for each in inputs:
        try:
            read = os.fstat(sys.stdin.fileno()) if each == "-" else os.stat(each)
            same = os.path.samestat(os.stat(path), read)
        except (OSError, ValueError, AttributeError):  # one of the two is not there or no file
            continue
        if same:
            name = f"the {called(each)}" if each == "-" else each
            raise InvalidInput(
                f"{option} {path} is the same file as {name}, which is read and would be lost; "
                "choose another name"
            )
