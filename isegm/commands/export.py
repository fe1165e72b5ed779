"""Export a network to ONNX.

::

    isegm export weights/emcclick_ct_lite0.pth --output=weights

writes the first stage, run once an image, as ``weights/emcclick_ct_lite0_first_stage.onnx`` and the
correction head, run every click, as ``weights/emcclick_ct_lite0_correction_head.onnx``, each with its preset,
picture size, CT windows and the checkpoint's SHA-256 in its metadata. Both take any batch, size and number of
clicks. Before they are written they are run, by ONNX Runtime or else OpenVINO, and must agree with torch. The
evaluation runs them, too::

    isegm evaluate EMC-Click --backend=openvino \
        --checkpoint=weights/emcclick_ct_lite0_first_stage.onnx
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isegm.commands.command_line import Parser, command
from isegm.errors import InputError

DEFAULT_SIZE = 384
"""Pixels of the network input's shorter side in the published evaluation."""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the .pth file to export")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: the checkpoint's folder")
    parser.add_argument(
        "--size",
        type=int,
        default=DEFAULT_SIZE,
        help="shorter side of the pictures it is meant for, for the record (default: %(default)s)",
    )
    parser.add_argument("--half", action="store_true", help="store weights as float16: half the size")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write both files; the exit status is 0, or 2 if that cannot be done."""
    args = build_parser().parse_args(argv)
    from isegm.inference.load import check_pair, installed_runtime
    from isegm.inference.onnx_pair import export_pair, paths_of_pair, write_pair
    from isegm.model.checkpoint import load_model, read_metadata
    from isegm.storage import sha256

    if args.size < 1:
        raise InputError(f"--size: must be at least 1, not {args.size}")
    folder = args.output or args.checkpoint.parent
    paths = paths_of_pair(folder / f"{args.checkpoint.stem}_first_stage.onnx")
    for path in paths:
        if path.exists() and not args.force:
            raise InputError(f"{path}: exists already; name another folder, or --force to replace it")
    runtime = installed_runtime()
    model = load_model(args.checkpoint)
    pair = export_pair(
        model,
        sha256=sha256(args.checkpoint),
        size=args.size,
        windows=windows_of(read_metadata(args.checkpoint)),
        half=args.half,
    )
    difference = check_pair(pair, model, runtime)
    write_pair(pair, *paths)
    for path in paths:
        print(f"{path}: {model.name}, {path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256(path)}")
    print(f"Probabilities by {runtime} differ from torch's by {difference:.1e} at most")
    return 0


def windows_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The windows that a checkpoint's metadata name, or else those that its recipe tells of."""
    if metadata.get("windows"):
        return dict(metadata["windows"])
    from isegm.evaluation.window_check import windows_in_metadata

    told = [window.as_json() for window in windows_in_metadata(metadata)]
    return {"recipe": told} if told else {}
