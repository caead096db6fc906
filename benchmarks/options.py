"""Options of the scripts, checked before anything is measured: types for argparse."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """Return the parser of an option that takes a number above 0, int or float."""

    def parse_number(text: str) -> Number:
        try:
            number = kind(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no number ({kind.__name__})") from None
        if not (number > 0 and isfinite(number)):
            raise ArgumentTypeError(f"{text} is not above 0")
        return number

    return parse_number


def listed(known: list[str]) -> Callable[[str], list[str]]:
    """Return the parser of an option that takes known names with commas between them."""

    def parse_names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if name not in known:
                raise ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return chosen

    return parse_names


def writable(text: str) -> Path:
    """Return the path of a file that can be written when all is measured."""
    file = Path(text)
    if not file.parent.is_dir():
        raise ArgumentTypeError(f"{text}: there is no folder {file.parent}")
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ArgumentTypeError(f"{text} cannot be written")
    return file


def check_data_folder(parser: ArgumentParser) -> None:
    """End the script if FASTNN_DATA names no folder: random data would take MNIST's place."""
    folder = os.environ.get("FASTNN_DATA")
    if folder and not Path(folder).is_dir():
        parser.error(f"FASTNN_DATA is {folder!r}, which is not a folder; unset or mend it")
