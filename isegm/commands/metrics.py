"""Measure predicted masks against their truth, a whole folder at once.

    isegm metrics data/liver/masks results/liver liver
    isegm metrics data/liver/masks results/liver liver --min-area 150 --tolerance 3
    isegm metrics labelsTr predictions liver --labels 1,2 --output reports

Masks are pictures (PNG, JPEG, BMP, TIFF) or NIfTI volumes, paired by exact stem. Writes a CSV with a row an
image, a JSON summary and two plots; prints the summary. docs/metrics.md defines every figure.
"""

import argparse
import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from isegm.commands.command_line import Parser, command, report_problems

_T = TypeVar("_T")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns 0, or 1 if a file was unmatched or unusable, or 2 if nothing could be done."""
    arguments = vars(build_parser().parse_args(argv))
    from isegm.compare.folders import Settings, compare, summary_text, write_reports

    comparison = compare(Settings(**arguments))
    write_reports(comparison)
    print(summary_text(comparison))
    print(f"Reports in {comparison.settings.folder}")
    return report_problems([*comparison.unmatched, *comparison.problems])


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("truth_path", type=Path, help="folder of true masks, or one mask")
    parser.add_argument("prediction_path", type=Path, help="folder of predicted masks, or one mask")
    parser.add_argument("organ", help="names the reports")
    parser.add_argument(
        "--output", type=Path, help="folder of the reports (default: <prediction_path>_metrics)"
    )
    parser.add_argument(
        "--min-area",
        type=_checked(int, lambda area: area >= 0, "a whole number from 0 up"),
        default=0,
        metavar="N",
        help="leave truths of fewer than N object pixels out of summary and plots (default: 0)",
    )
    parser.add_argument(
        "--tolerance",
        type=_checked(float, lambda value: 0 <= value < math.inf, "a number from 0 up"),
        default=2.0,
        metavar="T",
        help="of the surface Dice, in mm, or in pixels where the spacing is unknown (default: 2)",
    )
    parser.add_argument(
        "--spacing",
        type=_checked(_floats, _is_spacing, "two or three positive numbers"),
        metavar="ROW,COL",
        help="mm between pixels, three numbers for volumes (default: from manifest.csv or the affine)",
    )
    parser.add_argument(
        "--labels",
        type=_checked(_integers, all, "a list of labels other than 0"),
        metavar="L,L",
        help="label values of a NIfTI volume that are object (default: all but 0)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite earlier reports")
    return parser


def _checked(convert: Callable[[str], _T], allowed: Callable[[_T], bool], wanted: str) -> Callable[[str], _T]:
    """An argparse type that accepts what converts and is allowed, and otherwise names what is wanted."""

    def parse(text: str) -> _T:
        with contextlib.suppress(ValueError):
            value = convert(text)
            if allowed(value):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")

    return parse


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _is_spacing(values: tuple[float, ...]) -> bool:
    return len(values) in (2, 3) and all(0 < value < math.inf for value in values)
