"""Extract pictures and masks of an organ from CT volumes and their labels.

Volumes are NIfTI files, or DICOM series::
    isegm extract Task09_Spleen/labelsTr datasets spleen
    isegm extract Task03_Liver/labelsTr datasets liver --min-pixels 500 --every 3
    isegm extract my_labels datasets kidney --images my_volumes --labels 2 3 --window -20,400
    isegm extract Totalsegmentator_dataset datasets liver

Writes datasets/<organ>/images/*.png, masks/*.png and manifest.csv; see docs/ct.md.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import (
    Parser,
    add_dicom_options,
    command,
    print_line,
    report_problems,
    shield_negative_levels,
)
from isegm.errors import InputError
from isegm.volumes.organs import ORGANS, find_organ
from isegm.volumes.windows import WINDOWS, parse_window
from isegm.wording import counted


def parse_labels(texts: Sequence[str]) -> tuple[int, ...]:
    """Label values from ``1 2``, ``1,2`` or ``1+2``.

    Raises:
        InputError: One of them is no integer.
    """
    words = [word for text in texts for word in re.split(r"[,+]", text)]
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise InputError(
            f"--labels {' '.join(texts)}: give integers, after the three paths and names"
        ) from None


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "path_groundtruth",
        type=Path,
        help="label volumes: a folder, one file, or a folder with one folder a patient",
    )
    parser.add_argument("path_dataset", type=Path, help="where the folder <organ> is made")
    parser.add_argument("organ", help=f"{', '.join(ORGANS)}; any other name with --labels")
    parser.add_argument(
        "--images",
        type=Path,
        help="image volumes, a folder or one file (default: the imagesTr of a labelsTr, or the other volume "
        "in a patient's folder)",
    )
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="VALUE", help="label values that are the organ"
    )
    parser.add_argument(
        "--window",
        help=f"{', '.join(WINDOWS)}, or level,width in HU (default: the organ's, where that is known)",
    )
    parser.add_argument(
        "--min-pixels", type=int, metavar="N", help="take every slice with at least N organ pixels"
    )
    parser.add_argument(
        "--every",
        type=int,
        metavar="K",
        help="take every K-th of the slices that hold the organ (or N pixels)",
    )
    parser.add_argument(
        "--orientation",
        choices=("upright", "raw"),
        default="upright",
        help="upright: axial, anterior up, the patient's right on the left (default); raw: as stored",
    )
    add_dicom_options(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="volumes at once (default: one a core)")
    parser.add_argument(
        "--force", action="store_true", help="replace what was extracted from the same volumes before"
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit status."""
    arguments = build_parser().parse_args(shield_negative_levels(argv))
    from isegm.extract.slices import Extraction, extract

    window = None if arguments.window is None else parse_window(arguments.window)
    organ = find_organ(arguments.organ, parse_labels(arguments.labels), window)
    extraction = Extraction(
        organ=organ,
        folder=arguments.path_dataset / organ.name,
        min_pixels=arguments.min_pixels,
        every=arguments.every,
        raw=arguments.orientation == "raw",
        force=arguments.force,
        series=arguments.series,
        untilt=arguments.untilt,
    )
    if organ.note:
        print_line(f"note: {organ.note}")
    report = extract(arguments.path_groundtruth, arguments.images, extraction, arguments.workers)
    status = report_problems(report.problems)
    done = f"{counted(report.pictures, 'picture')} from {counted(report.volumes, 'volume')}"
    print(f"{done} in {extraction.folder}")
    return status
