"""Window CT volumes to 8 bits, geometry kept.

Volumes are NIfTI files, or DICOM series::
    isegm window Task09_Spleen/imagesTr windowed/spleen spleen
    isegm window Task06_Lung/imagesTr windowed/lung lung
    isegm window Totalsegmentator_dataset windowed liver
    isegm window volumes windowed -500,1400
    isegm window volumes windowed windows_by_file.json

Writes a volume of the same name for each (a patient's folder before it), and windows.json; see docs/ct.md.
"""

from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import (
    Parser,
    add_dicom_options,
    command,
    report_problems,
    shield_negative_levels,
)
from isegm.volumes.windows import WINDOWS, Window
from isegm.wording import counted


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "path_nifti", type=Path, help="CT volumes: a folder, one file, or a folder with one folder a patient"
    )
    parser.add_argument(
        "path_to_save", type=Path, help="a folder; for one volume also a .nii or .nii.gz file"
    )
    parser.add_argument(
        "organ",
        help=f"a window ({', '.join(WINDOWS)}, or level,width in HU), an organ whose window is "
        "known, or a .json file that maps file names to windows",
    )
    add_dicom_options(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="volumes at once (default: one a core)")
    parser.add_argument("--force", action="store_true", help="replace volumes that are there already")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit status."""
    arguments = build_parser().parse_args(shield_negative_levels(argv))
    from isegm.extract.normalize import normalize, parse_windows

    windows = parse_windows(arguments.organ)
    report = normalize(
        arguments.path_nifti,
        arguments.path_to_save,
        windows,
        arguments.force,
        arguments.workers,
        arguments.series,
        arguments.untilt,
    )
    status = report_problems(report.problems)
    used = f"window {windows}" if isinstance(windows, Window) else f"windows by {arguments.organ}"
    print(f"{counted(report.volumes, 'volume')} in {report.folder}, {used}")
    return status
