"""The command ``isegm``, also as ``python -m isegm``.

Tab completion in bash and zsh, for a shell's start-up file::

    eval "$(register-python-argcomplete isegm)"
"""
# PYTHON_ARGCOMPLETE_OK

import os
import sys
from collections.abc import Sequence

from isegm._version import __version__
from isegm.commands import COMMANDS, module_of, run
from isegm.commands.command_line import Parser, command


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the first word asks for; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--debug"]:  # which every subcommand has, and reads itself
        words = [*words[1:], "--debug"]
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    return run(words[0], words[1:]) if words and words[0] in COMMANDS else _without_command(words)


def build_parser() -> Parser:
    """The command line without what belongs to the subcommands."""
    parser = Parser(
        prog="isegm",
        description="Click-based segmentation of CT slices and volumes, and the tools around it.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        subparsers.add_parser(name, help=about)
    return parser


@command
def _without_command(argv: Sequence[str] | None = None) -> int:
    build_parser().parse_args(argv)
    return 0


def _complete() -> None:
    """Answer a shell that asks how the line goes on, and end; its protocol is argcomplete's."""
    import argcomplete

    written = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    name = (*written.split(), "", "")[1]
    if name in COMMANDS and not written.endswith(name):
        os.environ["_ARGCOMPLETE"] = "2"  # the words of the subcommand's own line begin at the second
        argcomplete.autocomplete(module_of(name).build_parser())
    argcomplete.autocomplete(build_parser())


if __name__ == "__main__":
    sys.exit(main())
