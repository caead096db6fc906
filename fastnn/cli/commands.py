"""The commands, how they are called, and how they end."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from fastnn import __version__
from fastnn.cli import option_hints, screen
from fastnn.errors import FastnnError, InvalidInput

INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended
PIPE_CLOSED = 141  # and of one whose reader has gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments
        What stands after ``fastnn``; None for the arguments of this process.

    Returns
    -------
    int
        0 where all went well, 1 where the demo missed its accuracy, 2 for an error, which is one
        line on the standard error stream, 130 after Ctrl-C, and 141 where whoever read the output
        has gone.

    Raises
    ------
    SystemExit
        As `argparse` does: with 0 after ``--help`` and ``--version``, with 2 for arguments that
        cannot be.
    """
    try:
        with _warnings_in_one_line():
            options = _parser().parse_args(arguments)
            code: int = options.run(options)
            screen.flush()
    except KeyboardInterrupt as interrupt:
        screen.say(f"fastnn: interrupted{'; ' * bool(interrupt.args)}{''.join(interrupt.args)}")
        return INTERRUPTED
    except screen.OutputFailed as failed:
        return _unheard(failed.error)
    except FastnnError as error:
        return _failed(error)
    except BrokenPipeError as error:
        return _unheard(error)
    except MemoryError:
        return _failed("there is too little memory; pass fewer rows, or a smaller --batch")
    except SystemExit:  # after a text on the standard output, such as of --help
        try:
            screen.flush()
        except screen.OutputFailed as failed:
            return _unheard(failed.error)
        raise
    return code


def _unheard(error: OSError) -> int:
    """Return the status where the standard output cannot be written: quietly if nobody reads it."""
    screen.drop_output()
    if screen.is_closed_pipe(error):
        return PIPE_CLOSED
    return _failed(f"the standard output cannot be written: {error.strerror}")


def _failed(error: Any) -> int:
    text = screen.one_line(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {screen.one_line(error.strerror)}"
    screen.say(f"fastnn: {text}")
    return 2


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print each warning once, without the line of code that it came from."""
    seen = set()

    def show(message: Any, category: Any, *rest: Any) -> None:
        text = screen.one_line(message)
        if text not in seen:
            seen.add(text)
            screen.say(f"fastnn: warning: {text.removeprefix('fastnn: ')}")

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default")
            # Which are for whoever writes programs; an import that Ctrl-C ends leaves some.
            for quiet in (ResourceWarning, DeprecationWarning, ImportWarning):
                warnings.simplefilter("ignore", quiet)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


class _Help(argparse.HelpFormatter):
    """Help whose examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:"):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help shows an example."""

    def __init__(self, example: str = "", **settings: Any) -> None:
        if example:
            settings["epilog"] = f"example:\n  {example}"
        super().__init__(
            formatter_class=_Help,
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one line, with the option that may be meant, and end with 2."""
        text = screen.one_line(message)
        hint = ""
        if rest := text.partition("unrecognized arguments: ")[2]:
            command = self.prog.split()[-1]
            hint = option_hints.of_options(rest, self._option_string_actions, command)
        elif choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", text):
            near = option_hints.of_choice(choice[1], re.findall(r"[\w.-]+", choice[2]))
            hint = f"did you mean {near}?" if near else ""
        between = "" if text.endswith("?") else ";"
        hint += " " * bool(hint)
        screen.say(f"{self.prog}: {text}{between} {hint}see: {self.prog} --help")
        raise SystemExit(2)

    def format_help(self) -> str:
        """Return the help, whose first line has no list of all the options that follow."""
        given = [
            f"[{each.metavar}]" if each.nargs in ("?", "*") else str(each.metavar)
            for each in self._get_positional_actions()
        ]
        words = [self.prog, *given, *([] if "..." in given else ["[options]"])]
        begin = "usage: "
        line = textwrap.fill(begin + " ".join(words), screen.width(), subsequent_indent=7 * " ")
        self.usage = line.removeprefix(begin).replace("%", "%%")
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or a version, of which argparse would keep quiet where it cannot."""
        if file is None or file is sys.stderr:
            screen.say(message.rstrip("\n"))
        else:
            screen.write(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is left over is an error of the command that it was given to."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            getattr(options, "parser", self).error(f"unrecognized arguments: {' '.join(rest)}")
        parser: Parser = getattr(options, "parser", self)
        for option, action in parser._option_string_actions.items():
            if getattr(options, action.dest, None) == "":
                raise InvalidInput(
                    f"{option}: the value is empty, as that of a shell variable that is not set; "
                    "leave the option out, or give it one"
                )
        return options


def _parser() -> Parser:
    from fastnn.cli import bench, cache, demo, info, predict, show, train

    parser = Parser(
        prog="fastnn",
        description="Train neural networks on tables, and use them.",
        example="fastnn train houses.csv --label price --out houses.safetensors\n"
        "  fastnn predict houses.safetensors new.csv --out prices.csv",
    )
    parser.add_argument("-V", "--version", action="version", version=f"fastnn {__version__}")
    parser.set_defaults(run=lambda options: _help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for module in (train, predict, show, demo, bench, info, cache):
        module.add(commands)

    helper = commands.add_parser(
        "help", help="show this, or the help of a command", example="fastnn help train"
    )
    helper.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands")

    def show_help(options: argparse.Namespace) -> int:
        known: dict[str, Any] = commands.choices
        if options.command is None:
            return _help(parser)
        if options.command not in known:
            near = option_hints.of_choice(options.command, [*known])
            hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
            helper.error(f"there is no command {options.command!r}; {hint}")
        return _help(known[options.command])

    helper.set_defaults(run=show_help, parser=helper)
    return parser


def _help(parser: argparse.ArgumentParser) -> int:
    screen.write(parser.format_help())
    return 0
