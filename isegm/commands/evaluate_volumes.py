"""Evaluate networks on whole volumes by simulated clicks, and what slices would cost.

Generated patients, which anyone can have::

    isegm phantoms phantoms
    isegm evaluate-volumes liver=phantoms/Task03_Liver spleen=phantoms/Task09_Spleen --baseline

Tasks of the Medical Segmentation Decathlon with other weights, and a DICOM series with a label volume::

    isegm evaluate-volumes liver=Task03_Liver spleen=Task09_Spleen --checkpoint=weights/mine.pth
    isegm evaluate-volumes liver=segmentation.nii.gz --images=series --labels 5

On several processes, with torchrun, the results are the same. docs/evaluate-volumes.md says what is measured.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import Parser, add_dicom_options, command, print_line, shield_negative_levels
from isegm.commands.evaluate import (
    add_network_options,
    add_output_options,
    add_place_options,
    check_run,
    checkpoints_of,
    device_of,
    run_together,
    tidy_arguments,
)
from isegm.commands.extract import parse_labels
from isegm.commands.places import find_config
from isegm.datasets.dataset import DatasetProblems
from isegm.distributed import join_processes, launched_as
from isegm.errors import InputError
from isegm.evaluation.plan import VolumeEvaluation, default_folder
from isegm.evaluation.protocol import VolumeProtocol
from isegm.inference.precision import PRECISIONS, resolve_precision
from isegm.volumes.organs import ORGANS, find_organ
from isegm.volumes.windows import WINDOWS, parse_window


def build_parser() -> Parser:
    """The command line. Underscores in option names are read as hyphens."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "sets",
        metavar="ORGAN=LABELS",
        nargs="+",
        help=f"an organ ({', '.join(ORGANS)}; any other name with --labels) and its label volumes: a "
        "Decathlon task, a labelsTr, one file, or a folder with one folder a patient",
    )
    group = parser.add_argument_group("what to evaluate")
    add = group.add_argument
    add("--images", type=Path, help="image volumes of the one set, a folder or one volume")
    add("--labels", nargs="+", default=[], metavar="VALUE", help="label values that are the one organ")
    add("--window", help=f"{', '.join(WINDOWS)}, or level,width in HU, of the one set (default: the organ's)")
    add_network_options(group)
    add("--baseline", action="store_true", help="evaluate a 3D geodesic segmentation, too: no weights")
    add("--no-slice-by-slice", action="store_true", help="leave out what clicking on every slice costs")

    usual = VolumeProtocol()
    add = parser.add_argument_group("how").add_argument
    add("--n-clicks", type=int, default=usual.n_clicks, help="most clicks (default: %(default)s)")
    add("--min-n-clicks", type=int, default=usual.min_n_clicks, help="fewest clicks (default: %(default)s)")
    add(
        "--target-dice",
        type=float,
        default=usual.target_dice,
        help="stop at this Dice (default: %(default)s)",
    )
    add(
        "--size",
        type=int,
        default=usual.size,
        help="shorter side of the network's input (default: %(default)s)",
    )
    add(
        "--thresh",
        type=float,
        default=usual.thresh,
        help="the mask is where the probability is above this (default: %(default)s)",
    )
    add(
        "--slice-n-clicks",
        type=int,
        default=usual.slice_n_clicks,
        help="slice by slice, most clicks on a slice (default: %(default)s)",
    )
    add(
        "--baseline-voxels",
        type=int,
        default=usual.baseline_voxels,
        metavar="N",
        help="the geodesic segmentation shrinks volumes to this many voxels (default: %(default)s)",
    )
    add(
        "--precision",
        choices=[*PRECISIONS, "auto"],
        default=usual.precision,
        help="auto: half precision on GPUs and on CPUs with AMX (default: %(default)s)",
    )
    add_dicom_options(parser)
    add_place_options(parser)
    add_output_options(parser)
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; the exit status is 0, 1 if volumes failed, or 2 if nothing could be done."""
    words = shield_negative_levels(argv)
    args = build_parser().parse_args(tidy_arguments(sys.argv[1:] if words is None else words))
    from isegm.datasets.labelled_volumes import VolumeDataset, find_volumes
    from isegm.evaluation.evaluate_volumes import evaluate_volumes
    from isegm.inference.load import check_settings

    device = device_of(args)
    protocol = VolumeProtocol(
        n_clicks=args.n_clicks,
        min_n_clicks=args.min_n_clicks,
        target_dice=args.target_dice,
        size=args.size,
        thresh=args.thresh,
        slice_n_clicks=args.slice_n_clicks,
        precision=resolve_precision(args.precision, device),
        backend=args.backend,
        baseline_voxels=args.baseline_voxels,
    )
    check_settings(protocol.backend, protocol.precision, device, compiled=args.compile)
    restarted = check_run(args)
    datasets: list[VolumeDataset] = []
    problems: list[str] = []
    window = None if args.window is None else parse_window(args.window)
    for organ_name, labels in sets_of(args):
        organ = find_organ(organ_name, parse_labels(args.labels), window)
        if organ.note and launched_as()[0] == 0:
            print_line(f"note: {organ.note}")
        try:
            datasets.append(find_volumes(labels, args.images, organ, args.series, untilt=args.untilt))
        except DatasetProblems as error:
            problems += error.problems
    if problems:
        raise DatasetProblems(problems)
    config = find_config(args.config_path)
    checkpoints = checkpoints_of(args, config)

    with join_processes(device, timeout=args.timeout) as processes:
        wanted = args.logs_path or default_folder(checkpoints, "volumes", config)
        evaluation = VolumeEvaluation(
            checkpoints=checkpoints,
            datasets=datasets,
            protocol=protocol,
            folder=Path(processes.from_first(str(wanted), "where to write")),
            baseline=args.baseline,
            slice_by_slice=not args.no_slice_by_slice,
            compiled=args.compile,
            replace=args.force,
            resume=args.resume or restarted,
            strict=args.strict,
        )
        return run_together(evaluation, evaluate_volumes, device, processes, [])


def sets_of(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """Read ``ORGAN=LABELS`` words.

    Raises:
        InputError: A word is none such, an organ comes twice, or an option for one set is given with several.
    """
    sets: list[tuple[str, Path]] = []
    for word in args.sets:
        organ, _, place = word.partition("=")
        if not organ or not place:
            raise InputError(f"{word}: give an organ and its label volumes, as in liver=Task03_Liver")
        if any(organ == other for other, _ in sets):
            raise InputError(f"{word}: {organ} is given twice; evaluate each in a run of its own")
        sets.append((organ, Path(place)))
    for option in ("images", "labels", "window", "series"):
        if getattr(args, option) and len(sets) > 1:
            raise InputError(
                f"--{option}: belongs to one set, but {len(sets)} are given; run them one by one"
            )
    return sets
