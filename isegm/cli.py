"""What every command line shares: errors in one line, problems listed at the end."""

import argparse
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from isegm.errors import InputError

EXIT_PARTIAL = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_OTHERS_WAIT_SECONDS = 20.0


class Main(Protocol):
    """A command line's ``main``."""

    __name__: str

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run with these arguments, or with the process's own, and return the exit status."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, as every other error's is."""

    def error(self, message: str) -> NoReturn:
        """Raise ``InputError`` with the complaint."""
        raise InputError(f"{message} (--help explains the arguments)")


def command(main: Main) -> Main:
    """Make ``main(argv) -> exit status`` end in one line on stderr for whatever the user can mend.

    ``InputError`` and ``OSError`` (no permission, disk full) become ``<program>: error: <line>`` and status
    2; Ctrl-C becomes status 130. Anything else is a defect of ours and keeps its traceback. Of a run's many
    processes the first speaks for all.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        program = Path(sys.argv[0]).name
        try:
            return main(argv)
        except InputError as error:
            _let_the_first_speak()
            print(f"{program}: error: {error}", file=sys.stderr)  # noqa: T201 - this is the user's terminal
        except BrokenPipeError:  # the reader of our output (head, less) has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            _let_the_first_speak()
            name = error.filename2 or error.filename  # of two, the second is the final name
            where = f"{name}: " if name else ""
            print(f"{program}: error: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        except KeyboardInterrupt:
            print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201
            return EXIT_INTERRUPTED
        return EXIT_USAGE

    return guarded


def _let_the_first_speak() -> None:
    """Hold a process that is not its run's first back from printing what the first prints too.

    As soon as one process leaves, its launcher ends the others: a later one that left sooner would take the
    message with it. Where the first has nothing to say, the others do after a while.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(_OTHERS_WAIT_SECONDS)


def names(text: str) -> list[str]:
    """Split a comma-separated list; empty parts count for nothing."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str | None, option: str) -> list[int] | None:
    """Split a comma-separated list of whole numbers.

    Raises:
        InputError: It is none, or a number comes twice.
    """
    if text is None:
        return None
    parts = names(text)
    if not parts or not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"{option}: must be different whole numbers like 0,1, not {text!r}")
    return [int(part) for part in parts]


def counted(number: int, noun: str) -> str:
    """A number of things in words: ``1 volume``, ``3 volumes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def report_problems(problems: Sequence[str]) -> int:
    """Print one line a problem on stderr; return the exit status, 0 without any and 1 otherwise.

    Args:
        problems: Lines of the form ``file: what is wrong and what would mend it``.
    """
    for line in problems:
        print(line, file=sys.stderr)  # noqa: T201 - this is the user's terminal
    return EXIT_PARTIAL if problems else 0
