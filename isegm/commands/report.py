"""Show what an evaluation found as one page, or compare several.

The page of a run again, with pictures from the data sets of config.yml::

    isegm report results

Several runs against the first of them::

    isegm report results_hr18s results_hr32 --output=comparison

``isegm evaluate`` writes the page of a run by itself. Pages are single files that need no network.
"""

from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import Parser, command, print_line
from isegm.commands.places import find_config
from isegm.datasets import Dataset, open_dataset
from isegm.errors import InputError


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", type=Path, help="folders of evaluations; several are compared")
    add("--output", metavar="DIR", type=Path, help="where the comparison of several runs goes")
    add("--force", action="store_true", help="replace a comparison that is in --output")
    add(
        "--config-path",
        metavar="FILE",
        type=Path,
        help="where the data sets are, for pictures (default: ./config.yml, else the repository's)",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; the exit status is 0, or 2 if it could not be made."""
    args = build_parser().parse_args(argv)
    from isegm.report import write_comparison, write_report
    from isegm.report.write import COMPARISON, PAGE

    if len(args.runs) == 1:
        (run,) = args.runs
        if args.output is not None:
            raise InputError("--output: the report of one run lies in it; give several runs, or leave it out")
        write_report(run, datasets_of(run, args.config_path))
        print(f"Report: {run / PAGE}")
        return 0
    if args.output is None:
        raise InputError("--output: say where the comparison goes, such as --output=comparison")
    if (args.output / COMPARISON).exists() and not args.force:
        raise InputError(f"{args.output}: already holds a comparison; choose another --output, or --force")
    write_comparison(args.runs, args.output)
    print(f"Comparison: {args.output / COMPARISON}")
    return 0


def datasets_of(run: Path, config_path: Path | None) -> list[Dataset]:
    """The run's data sets that are where a config file says; the page tells of which there are no pictures.

    Raises:
        InputError: The run or the config file cannot be read.
    """
    from isegm.report.stored_run import read_run

    config = find_config(config_path)
    found_run = read_run(run)
    if found_run.is_of_volumes:  # their pictures lie in the run itself
        return []
    found = []
    for name in found_run.datasets:
        try:
            found.append(open_dataset(name, config))
        except InputError as error:
            print_line(f"no pictures: {error.lines[0]}")
    return found
