"""Measure speed, cost and agreement; the last line printed is everything measured, as JSON.

Clicks, as published and by each installed backend, on the same pictures::

    python scripts/benchmark.py network --presets=hr18s,hr32
    python scripts/benchmark.py network --checkpoint=weights/emcclick_ct_hr18s.pth --images slices/images

The evaluation of a data set of config.yml, as published and as it is done here::

    python scripts/benchmark.py evaluation --datasets=GrabCut --limit=20

How cost grows with clicks, sizes, batches, threads and processes::

    python scripts/benchmark.py growth --presets=hr32 --plot=growth.png

The simulated click, and the CT tools against reading and writing alone::

    python scripts/benchmark.py clicks
    python scripts/benchmark.py ct Task09_Spleen/labelsTr spleen
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from isegm.benchmark import click_speed, ct_speed, evaluation_speed, growth, simulator_speed
from isegm.benchmark.hardware import describe_hardware, describe_versions, format_hardware
from isegm.commands.command_line import Parser, command, numbers
from isegm.evaluation.protocol import EVAL_MODES, Protocol
from isegm.inference.load import BACKENDS
from isegm.model.build import PRESETS

BENCHMARKS = {
    "network": click_speed,
    "evaluation": evaluation_speed,
    "growth": growth,
    "clicks": simulator_speed,
    "ct": ct_speed,
}
"""What is measured, by subcommand. The first is the default."""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    arguments = (
        _add_network_arguments,
        _add_evaluation_arguments,
        _add_growth_arguments,
        _add_clicks_arguments,
        _add_ct_arguments,
    )
    for (name, module), add_arguments in zip(BENCHMARKS.items(), arguments, strict=True):
        about = (module.__doc__ or "").partition("\n")[0]
        add_arguments(subparsers.add_parser(name, help=about, description=about, allow_abbrev=False))
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark; the exit status is 0, or 2 if it cannot be done."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, next(iter(BENCHMARKS)))
    args = build_parser().parse_args(words)
    if args.what == "growth":
        for option in ("clicks", "sizes", "views"):
            setattr(args, option, sorted(numbers(getattr(args, option), f"--{option}") or []))
    hardware, versions = describe_hardware(), describe_versions()
    print(format_hardware(hardware, versions), flush=True)
    result = BENCHMARKS[args.what].run(args)
    print(json.dumps({"benchmark": args.what, "hardware": hardware, "versions": versions, **result}))
    return 0


# -- the arguments of each benchmark


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    _add_click_arguments(parser, repeats=5)
    parser.add_argument("--clicks", type=int, default=20, help="on each image (default: %(default)s)")


def _add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--datasets", metavar="A[,B...]", required=True, help="data sets of config.yml")
    add(
        "--checkpoint",
        metavar="FILE",
        type=Path,
        default=Path("weights/emcclick_ct_hr18s.pth"),
        help="default: %(default)s",
    )
    _add_backend_arguments(parser)
    add("--limit", type=int, metavar="N", help="the first N images of each data set (default: all)")
    add("--eval-mode", default=Protocol.eval_mode, help=f"{EVAL_MODES} (default: %(default)s)")
    add("--n-clicks", type=int, default=Protocol.n_clicks, help="at most (default: %(default)s)")
    add("--config-path", metavar="FILE", type=Path, default=Path("config.yml"), help="default: ./%(default)s")


def _add_growth_arguments(parser: argparse.ArgumentParser) -> None:
    _add_click_arguments(parser, repeats=3)
    add = parser.add_argument
    add("--clicks", metavar="A[,B...]", default="1,2,5,10,20,50", help="placed before (default: %(default)s)")
    add("--sizes", metavar="A[,B...]", default="256,384,512,768,1024", help="default: %(default)s")
    add("--views", metavar="A[,B...]", default="1,2,4,8,16,32", help="in one call (default: %(default)s)")
    add("--plot", metavar="FILE", type=Path, help="draw all of it as a PNG")


def _add_clicks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=200, help="of each mask (default: %(default)s)")


def _add_ct_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="a folder labelsTr, with imagesTr beside it; .nii.gz")
    parser.add_argument("organ", help="whose slice is extracted, and whose window is applied")
    parser.add_argument("--repeats", type=int, default=9, help="turns (default: %(default)s)")


def _add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """What is compared with the reference."""
    add = parser.add_argument
    add(
        "--backends",
        metavar="A[,B...]",
        help=f"what runs the network: {', '.join(BACKENDS)} (default: torch, and on CPUs what is installed)",
    )
    add("--precision", default="float32", help="what the backends compute in (default: %(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")


def _add_click_arguments(parser: argparse.ArgumentParser, *, repeats: int) -> None:
    """Which network, on which pictures, and how often."""
    add = parser.add_argument
    add(
        "--presets",
        metavar="A[,B...]",
        help=f"networks, with untrained weights: {', '.join(PRESETS)} (default: hr32)",
    )
    add("--checkpoint", metavar="FILE", type=Path, help="a network with its weights, instead")
    _add_backend_arguments(parser)
    add("--size", type=int, default=384, help="pixels of the input's shorter side (default: %(default)s)")
    add("--no-flip", action="store_true", help="do not average with the mirrored image")
    add("--threads", type=int, help="that one click may use (default: this process's cores)")
    add("--repeats", type=int, default=repeats, help="images that are clicked on (default: %(default)s)")
    add(
        "--images",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="pictures, or a folder of them, taken in turn (default: generated CT slices, 512 x 512)",
    )
