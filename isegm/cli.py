"""What every command line shares: errors in one line, problems listed at the end."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from isegm.errors import InputError

EXIT_PARTIAL = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

Main = Callable[[Sequence[str] | None], int]


def command(main: Main) -> Main:
    """Make ``main(argv) -> exit status`` end in one line on stderr for whatever the user can mend.

    ``InputError`` and ``OSError`` (no permission, disk full) become ``<program>: error: <line>`` and status
    2; Ctrl-C becomes status 130. Anything else is a defect of ours and keeps its traceback.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        program = Path(sys.argv[0]).name
        try:
            return main(argv)
        except InputError as error:
            print(f"{program}: error: {error}", file=sys.stderr)  # noqa: T201 - this is the user's terminal
        except BrokenPipeError:  # the reader of our output (head, less) has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"{program}: error: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        except KeyboardInterrupt:
            print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201
            return EXIT_INTERRUPTED
        return EXIT_USAGE

    return guarded


def report_problems(problems: Sequence[str]) -> int:
    """Print one line a problem on stderr; return the exit status, 0 without any and 1 otherwise.

    Args:
        problems: Lines of the form ``file: what is wrong and what would mend it``.
    """
    for line in problems:
        print(line, file=sys.stderr)  # noqa: T201 - this is the user's terminal
    return EXIT_PARTIAL if problems else 0
