"""Where checkpoints lie: their names, which of them there are, and the newest that is good."""

from __future__ import annotations

import errno
import os
import re
import string
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastnn.errors import CorruptFile, InvalidInput, MissingFile, UnusableFile, shown

_SUFFIX = ".safetensors"
_TEMPLATE = "model-{epoch:04d}.safetensors"
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Place:
    """The names of the checkpoints of one training.

    Attributes
    ----------
    folder
        Where they are.
    prefix, form, suffix
        What comes before and after the number of epochs in a name, and how that is written, as in
        a format string. Where `form` is None, there is one file, without a number.
    """

    folder: Path
    prefix: str
    form: str | None
    suffix: str

    def file(self, epochs: int) -> Path:
        """Return where the checkpoint after so many epochs lies."""
        number = "" if self.form is None else format(epochs, self.form)
        return self.folder / f"{self.prefix}{number}{self.suffix}"

    @property
    def best(self) -> Path:
        """Where the best one lies."""
        joined = f"{self.prefix}-" if self.form is None else self.prefix
        return self.folder / f"{joined}best{self.suffix}"

    def numbered(self) -> dict[int, Path]:
        """Return those that are there, by their epochs, the fewest first."""
        if self.form is None or not self.folder.is_dir():
            return {}
        pattern = re.compile(f"{re.escape(self.prefix)}([0-9]+){re.escape(self.suffix)}")
        found = {}
        for name in os.listdir(self.folder):
            match = pattern.fullmatch(name)
            if match and self.file(int(match[1])).name == name:
                found[int(match[1])] = self.folder / name
        return dict(sorted(found.items()))

    def newest_first(self) -> list[Path]:
        """Return all that are there, the best one last: it is as good as any, but may be old."""
        every = [*reversed(self.numbered().values()), self.best]
        if self.form is None:
            every.insert(0, self.file(0))
        return [file for file in every if file.is_file()]


def place_of(path: str | bytes | os.PathLike[Any], one: bool = False) -> Place:
    """Return the place that `path` names: a template, a folder, or a file to be numbered.

    Parameters
    ----------
    path
        As for `Checkpoint`.
    one
        Whether a path without ``{epoch}`` names the only file.

    Raises
    ------
    InvalidInput
        No path, or a template that cannot be one.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise InvalidInput(f"path must be a path, not {shown(path):.80}") from None
    if not text or "\0" in text:
        raise InvalidInput(f"path must be that of a file or a folder, not {shown(path):.80}")
    folder, name = os.path.split(text)
    if "{epoch" in folder:
        raise InvalidInput(
            f"{text!r} has {{epoch}} in the name of a folder; it must be in that of the file, as "
            f"in {_TEMPLATE!r}"
        )
    if "{" in name or "}" in name:
        return Place(Path(folder), *_parts(name))
    stem, suffix = os.path.splitext(name)
    if os.path.isdir(text) or not (suffix or os.path.isfile(text)):
        return Place(Path(text), "model-", "04d", _SUFFIX)
    if one:
        return Place(Path(folder), stem, None, suffix)
    return Place(Path(folder), f"{stem}-", "04d", suffix)


def _parts(template: str) -> tuple[str, str, str]:
    """Return what is before the number in a template, how it is written, and what is after."""
    try:
        parsed = list(string.Formatter().parse(template))
        # A doubled brace ends a literal, too, so that there may be several before the field.
        (at,) = (index for index, each in enumerate(parsed) if each[1] is not None)
        _, name, form, conversion = parsed[at]
        good = name == "epoch" and conversion is None
        # What is not the number itself, such as padded with spaces or octal, is not read back.
        tried = {n: format(n, form or "") for n in (1, 8, 23, 1234567)}
        good = good and all(text.isdecimal() and int(text) == n for n, text in tried.items())
    except ValueError:
        good = False
    if not good:
        raise InvalidInput(
            f"{template!r} is no template for checkpoints; it needs one field, epoch, which is "
            f"written as a whole number, as in {_TEMPLATE!r}"
        )
    literals = [literal for literal, *_ in parsed]
    return "".join(literals[: at + 1]), form or "", "".join(literals[at + 1 :])


def checkpoints_at(path: str | bytes | os.PathLike[Any]) -> list[Path]:
    """Return the checkpoints that `path` stands for, the newest first.

    Parameters
    ----------
    path
        A file, which is the only one; or what a `Checkpoint` was given, or the folder of its files.

    Raises
    ------
    InvalidInput
        A folder with files of several trainings.
    MissingFile
        There is none.
    """
    place = place_of(path)
    text = os.fsdecode(path)
    if os.path.isfile(text):
        return [Path(text)]
    try:
        found = _of_folder(Path(text)) if os.path.isdir(text) else place.newest_first()
    except OSError as error:
        raise UnusableFile(error.errno, f"cannot be read: {error.strerror}", text) from error
    if not found:
        what = (
            "there is no checkpoint; pass what fastnn.Checkpoint was given: a file, a template "
            f"such as {_TEMPLATE!r}, or a folder"
        )
        raise MissingFile(errno.ENOENT, what, text)
    return found


def _of_folder(folder: Path) -> list[Path]:
    """Return the checkpoints of the one training that has files in a folder."""
    names = [each for each in os.listdir(folder) if not each.startswith(".")]
    numbered = [re.fullmatch(r"(.*?)[0-9]+(\.[^.0-9][^.]*)", name) for name in names]
    models = [match for match in numbered if match and match[2] == _SUFFIX]
    kinds = sorted({match[1] for match in models})
    if not kinds:
        plain = sorted(name for name in names if name.endswith(_SUFFIX))
        kinds = [name.removesuffix(_SUFFIX) for name in plain]
        kinds = [kind for kind in kinds if kind.removesuffix("-best") not in {*kinds} - {kind}]
    if len(kinds) > 1:
        raise InvalidInput(
            f"{folder} has models of several trainings ({', '.join(kinds)}); pass the path that "
            f"the Checkpoint of one of them was given, such as {str(folder / kinds[0])!r}"
        )
    if not kinds:
        return []
    if not models:
        return Place(folder, kinds[0], None, _SUFFIX).newest_first()
    by_number = {
        int(match[0].removeprefix(kinds[0]).removesuffix(_SUFFIX)): match[0] for match in models
    }
    files = [folder / by_number[number] for number in sorted(by_number, reverse=True)]
    best = folder / f"{kinds[0]}best{_SUFFIX}"
    return [*files, *([best] if best.is_file() else [])]


def newest_good(path: str | bytes | os.PathLike[Any], load: Callable[[Path], Loaded]) -> Loaded:
    """Return what `load` makes of the newest checkpoint at `path` that it can read.

    Raises
    ------
    CorruptFile
        All are damaged.
    MissingFile
        There is none.
    """
    damaged: list[tuple[Path, CorruptFile]] = []
    found = checkpoints_at(path)
    for file in found:
        try:
            loaded = load(file)
        except CorruptFile as error:
            damaged.append((file, error))
            continue
        except MissingFile:  # whoever trains on has removed it since it was listed
            continue
        for passed, reason in damaged:
            text = f"{passed} is passed over and {file}, which is older, resumed: {reason}"
            warnings.warn(text, stacklevel=3)
        return loaded
    if not damaged:
        raise MissingFile(errno.ENOENT, "all checkpoints have been removed", os.fsdecode(path))
    if len(damaged) == 1:
        raise damaged[0][1]
    raise CorruptFile(
        f"all {len(damaged)} checkpoints at {os.fsdecode(path)} are damaged: "
        + "; ".join(str(error) for _, error in damaged)
    )
