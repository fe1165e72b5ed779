"""What every command line shares: errors in one line, problems listed at the end."""

import argparse
import contextlib
import functools
import io
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TextIO

from isegm.errors import InputError, InputWarning, SettingError, describe, is_out_of_memory
from isegm.wording import names, with_options

EXIT_PARTIAL = 1
EXIT_USAGE = 2
EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130

_OTHERS_WAIT_SECONDS = 20.0
_LONGEST_LINE = 4000
_DEBUG = "--debug"


class Main(Protocol):
    """A command line's ``main``."""

    __name__: str

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run with these arguments, or with the process's own, and return the exit status."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, as every other error's is.

    Flags are written out: an abbreviation would mean another one as soon as there is a new flag.
    ``--debug`` stands in its help; :func:`command` takes it out of the arguments before they are parsed.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(**{"prog": program(), "allow_abbrev": False, **settings})
        self.add_argument(
            _DEBUG, action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error, too"
        )

    def error(self, message: str) -> NoReturn:
        """Raise ``InputError`` with the complaint."""
        raise InputError(f"{message} (--help explains the arguments)")


def command(main: Main) -> Main:
    """Make ``main(argv) -> exit status`` end in one line on stderr for whatever the user can fix.

    ``InputError``, ``OSError`` (no permission, disk full) and too little memory become
    ``<program>: error: <line>`` and status 2; Ctrl-C becomes status 130. Anything else is a defect of ours:
    its traceback is shown, and the status is 70. With ``--debug`` every error shows its traceback. An
    ``InputWarning`` becomes ``<program>: warning: <line>``. Of a run's many processes the first speaks for
    all.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        given = list(sys.argv[1:] if argv is None else argv)
        debug = _DEBUG in given
        if debug:
            argv = [word for word in given if word != _DEBUG]
        _prepare_streams()
        try:
            with warnings.catch_warnings(), _logging() if debug else contextlib.nullcontext():
                warnings.simplefilter("always", InputWarning)
                warnings.showwarning = _show_warning
                status = main(argv)
            print(end="", flush=True)
            return status
        except KeyboardInterrupt:
            print_line(f"{program()}: interrupted")
            return EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - this is where every error ends
            lines = _what_to_fix(error)
            _let_the_first_speak()
            if debug or not lines:
                traceback.print_exc()
            if not lines:
                print_line(
                    f"{program()}: this is a defect of the program; please report it with the lines above"
                )
                return EXIT_DEFECT
            # Problems stand one a line, as they do at the end of a run; the first says whose they are.
            for number, line in enumerate(lines):
                print_line(line if number else f"{program()}: error: {line}")
            return EXIT_USAGE

    return guarded


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Show what the package logs, such as the traceback of one sample's failure."""
    logger, handler = logging.getLogger("isegm"), logging.StreamHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _what_to_fix(error: Exception) -> list[str]:
    """The lines for an error that the user can fix; none for a defect of ours."""
    if isinstance(error, SettingError):
        return [f"{error.option}: {error.said}"]
    if isinstance(error, InputError):
        return error.lines
    if isinstance(error, OSError):
        return [describe(error)]
    if is_out_of_memory(error):
        return [
            "not enough memory; use fewer processes or pictures at once (--workers, --batch-size), smaller "
            "files, or a larger machine"
        ]
    if isinstance(error, RecursionError):
        return ["a file or argument is nested too deeply to be read; --debug shows where"]
    if isinstance(error, UnicodeError):
        reason = getattr(error, "reason", error)
        return [f"a name or text cannot be read or written as UTF-8 ({reason}); rename the file"]
    return []


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - what Python gives
    line: str | None = None,
) -> None:
    if not issubclass(category, InputWarning):
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr, end="")
    elif os.environ.get("RANK", "0") == "0":
        print_line(f"{program()}: warning: {message}")


def program() -> str:
    """The name by which this was called: ``extraer_imagenes.py``, ``isegm extract``."""
    name = Path(sys.argv[0]).name
    return "isegm" if name == "__main__.py" else name  # of python -m isegm


class _Pipe(io.FileIO):
    """A stream's file. Once its reader (head, less) has left it takes no more notice of what is written."""

    def write(self, content: Any, /) -> int:  # noqa: ANN401 - any buffer
        try:
            return super().write(content)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of the user's
                os.dup2(nowhere.fileno(), self.fileno())
            return len(content)


def _prepare_streams() -> None:
    """Let a run go on whoever reads what it prints, in whatever encoding.

    A reader that leaves is no error of the run, and what its encoding cannot show is escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is not io.TextIOWrapper:  # closed, or a test's
            continue
        stream.flush()
        if isinstance(getattr(stream.buffer, "raw", stream.buffer), _Pipe):
            continue
        pipe = _Pipe(stream.fileno(), "wb", closefd=False)
        buffer: Any = pipe if stream.write_through else io.BufferedWriter(pipe)
        new = io.TextIOWrapper(
            buffer,
            stream.encoding,
            "backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, new)


def print_line(line: str) -> None:
    """Print one line on stderr, one line whatever is in it.

    A file's name may have line breaks and a terminal's control characters in it: these are escaped. What is
    too long for anybody to read is cut.
    """
    line = with_options(line)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(shown) > _LONGEST_LINE:
        shown = f"{shown[:_LONGEST_LINE]}..."
    print(shown, file=sys.stderr)


def _let_the_first_speak() -> None:
    """Hold a process that is not its run's first back from printing what the first prints too.

    As soon as one process leaves, its launcher ends the others: a later one that left sooner would take the
    message with it. Where the first has nothing to say, the others do after a while.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(_OTHERS_WAIT_SECONDS)


def add_dicom_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of tools that read DICOM series: which one, and what is done about a tilted gantry."""
    parser.add_argument(
        "--series",
        metavar="S",
        help="of DICOM with several series: number, description or UID of the one meant (default: the only "
        "CT volume; where there are several, they are listed)",
    )
    parser.add_argument(
        "--untilt",
        action="store_true",
        help="resample DICOM slices of a tilted gantry so that they lie straight above each other",
    )


def numbers(text: str | None, option: str) -> list[int] | None:
    """Split a comma-separated list of whole numbers.

    Raises:
        InputError: It is none, or a number comes twice.
    """
    if text is None:
        return None
    parts = names(text)
    if (
        not parts
        or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts)
        or len(set(parts)) < len(parts)
    ):
        raise InputError(f"{option}: must be different whole numbers like 0,1, not {text!a}")
    return [int(part) for part in parts]


def shield_negative_levels(argv: Sequence[str] | None) -> list[str]:
    """Let ``--window -500,1400`` through argparse, which takes a leading minus for an option.

    A space put before such an argument hides the minus; whoever parses windows drops it again.

    Args:
        argv: Command-line arguments without the program's name; None takes the process's own.
    """
    given = sys.argv[1:] if argv is None else argv
    return [f" {argument}" if re.match(r"-[\d.]+,", argument) else argument for argument in given]


def report_problems(problems: Sequence[str]) -> int:
    """Print one line a problem on stderr; return the exit status, 0 without any and 1 otherwise.

    Args:
        problems: Lines of the form ``file: what is wrong and how to fix it``.
    """
    for line in problems:
        print_line(line)
    return EXIT_PARTIAL if problems else 0
