"""Measure speed, cost and agreement; the last line printed is everything measured, as JSON.

Clicks, as published and by each installed backend, on the same pictures::

    isegm benchmark network --presets=hr18s,hr32
    isegm benchmark network --checkpoint=weights/emcclick_ct_lite0.pth --images slices/images

The evaluation of a data set of config.yml, as published and as it is done here::

    isegm benchmark evaluation --datasets=GrabCut --limit=20

How cost grows with clicks, sizes, batches, threads and processes::

    isegm benchmark growth --presets=hr32 --plot=growth.png

The simulated click, and the CT tools against reading and writing alone::

    isegm benchmark clicks
    isegm benchmark ct Task09_Spleen/labelsTr spleen

A volume of 512 x 512 x 100 voxels by clicks, until it is done, and in how much memory::

    isegm benchmark volume

Annotation in headless Chromium, on a volume of 512 x 512 x 400 voxels::

    isegm benchmark annotate

Every way to compute on a GPU, compared with the CPU (``make gpu-check``)::

    isegm benchmark gpu
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isegm.commands.command_line import EXIT_PARTIAL, Parser, command, numbers
from isegm.commands.places import default_weights, find_config
from isegm.distributed import cores_for
from isegm.errors import InputError
from isegm.evaluation.plan import open_datasets
from isegm.evaluation.protocol import EVAL_MODES, Protocol
from isegm.inference import BACKENDS
from isegm.wording import names

if TYPE_CHECKING:
    from isegm.benchmark.ways import NetworkSettings

_SMALLEST_SIZE = 32


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    subparsers = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, (about, add_arguments, _) in BENCHMARKS.items():
        add_arguments(subparsers.add_parser(name, help=about, description=about))
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark; the exit status is 0, 1 if a check failed, or 2 if it cannot be done."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, next(iter(BENCHMARKS)))
    args = build_parser().parse_args(words)
    from isegm.benchmark.hardware import describe_hardware, describe_versions, format_hardware

    hardware, versions = describe_hardware(), describe_versions()
    print(format_hardware(hardware, versions), flush=True)
    *_, run = BENCHMARKS[args.what]
    result = run(args)
    print(json.dumps({"benchmark": args.what, "hardware": hardware, "versions": versions, **result}))
    return 0 if all(row["passed"] for row in result.get("checks", ())) else EXIT_PARTIAL


# -- each benchmark: it prints its tables, and returns all figures for the last line


def _run_network(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import click_speed
    from isegm.benchmark.timing import REFERENCE
    from isegm.benchmark.ways import load_images

    backends, images = _backends(args), load_images(args.images, args.repeats)
    results = []
    with _networks(args) as networks:
        for name, settings in networks.items():
            modes = [REFERENCE, *backends]
            result = click_speed.measure_clicks(name, settings, modes, images, args.clicks, args.repeats)
            print(click_speed.format_clicks(result), flush=True)
            results.append(result)
    shared = {**settings.shared(), "clicks": args.clicks, "repeats": args.repeats}
    return {"settings": shared, "networks": results}


def _run_evaluation(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import evaluation_speed

    protocol = Protocol(eval_mode=args.eval_mode, n_clicks=args.n_clicks)
    benchmark = evaluation_speed.EvaluationBenchmark(
        args.checkpoint or default_weights(), protocol, _backends(args), args.precision, args.device
    )
    results = []
    for dataset in open_datasets(names(args.datasets), find_config(args.config_path)):
        result = benchmark.measure(dataset.part(0, args.limit))
        print(evaluation_speed.format_evaluation(result), flush=True)
        results.append(result)
    return {"settings": benchmark.settings, "datasets": results}


def _run_growth(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import growth
    from isegm.benchmark.growth_plots import plot_growth
    from isegm.benchmark.timing import REFERENCE
    from isegm.benchmark.ways import load_images

    if args.plot is not None and args.plot.suffix.lower() != ".png":
        raise InputError(f"--plot: must be a .png file, not {str(args.plot)!a}")
    modes, images = [REFERENCE, *_backends(args)], load_images(args.images, args.repeats)
    with _networks(args) as networks:
        if len(networks) > 1:
            raise InputError("--presets: name one network; growth is measured of one at a time")
        ((name, settings),) = networks.items()
        result = growth.measure_growth(
            name,
            settings,
            modes,
            images,
            args.repeats,
            clicks=_numbers(args, "clicks", 1),
            sizes=_numbers(args, "sizes", _SMALLEST_SIZE),
            views=_numbers(args, "views", 1),
        )
    print(growth.format_growth(result), flush=True)
    if args.plot is not None:
        plot_growth(args.plot, result)
    return result


def _run_clicks(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import simulator_speed

    spreads = simulator_speed.measure_simulator(args.repeats)
    print(simulator_speed.format_simulator(spreads))
    return {"settings": {"repeats": args.repeats, "side": simulator_speed.SIDE}, "clicks": spreads}


def _run_volume(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import volume_speed

    checkpoint, threads = args.checkpoint or default_weights(), args.threads or cores_for(1)
    result = volume_speed.measure_volumes(checkpoint, args.slices, args.repeats, threads)
    print(volume_speed.format_volumes_speed(result))
    settings = {"slices": args.slices, "repeats": args.repeats, "threads": threads}
    return {"settings": {"checkpoint": checkpoint.name, **settings}, "volume": result}


def _run_annotate(args: argparse.Namespace) -> dict[str, Any]:
    from isegm.benchmark import annotation_speed

    result = annotation_speed.measure_annotation(args.checkpoint, args.slices, args.repeats)
    print(annotation_speed.format_annotation(result))
    return {"settings": {"slices": args.slices, "repeats": args.repeats}, "annotation": result}


def _run_ct(args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from isegm.benchmark import ct_speed
    from isegm.extract.volume_pairs import pair_volumes

    pairs = tqdm(pair_volumes(args.labels, None, args.organ)[0], unit="volume", leave=False)
    volumes = [ct_speed.measure_volume(pair, args.organ, args.repeats) for pair in pairs]
    print(ct_speed.format_volumes(volumes))
    return {"settings": {"organ": args.organ, "repeats": args.repeats}, "volumes": volumes}


def _backends(args: argparse.Namespace) -> list[str]:
    import torch

    from isegm.benchmark.ways import usable_backends

    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: no GPU is usable here; give --device=cpu")
    if args.backends is None:
        return usable_backends(args.precision, args.device)
    return _choose("--backends", args.backends, BACKENDS)


@contextlib.contextmanager
def _networks(args: argparse.Namespace) -> "Iterator[dict[str, NetworkSettings]]":
    """The networks that were asked for, by the name for tables."""
    from isegm.benchmark.ways import NetworkSettings, untrained_checkpoints
    from isegm.model.build import PRESETS

    if args.checkpoint is not None and args.presets is not None:
        raise InputError("--presets: cannot go with --checkpoint; give one of them")
    with contextlib.ExitStack() as stack:
        if args.checkpoint is not None:
            files = {args.checkpoint.stem: args.checkpoint}
        else:
            presets = _choose("--presets", args.presets or "hr32", list(PRESETS))
            files = stack.enter_context(untrained_checkpoints(presets))
        yield {
            name: NetworkSettings(
                checkpoint=str(path),
                size=args.size,
                flip=not args.no_flip,
                precision=args.precision,
                threads=args.threads or cores_for(1),
                device=args.device,
            )
            for name, path in files.items()
        }


def _choose(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Split a comma-separated list of known names."""
    chosen = names(text)
    for name in chosen:
        if name not in known:
            raise InputError(f"{option}: must be among {', '.join(known)}, not {name!a}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{option}: must be different names like {','.join(known[:2])}, not {text!a}")
    return chosen


def _numbers(args: argparse.Namespace, option: str, smallest: int) -> list[int]:
    found = sorted(numbers(getattr(args, option), f"--{option}") or [])
    if found[0] < smallest:
        raise InputError(f"--{option}: must be at least {smallest}, not {found[0]}")
    return found


def _at_least(smallest: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers from ``smallest`` on."""

    def whole_number(text: str) -> int:
        if not text.removeprefix("-").isdecimal():
            raise argparse.ArgumentTypeError(f"must be a whole number, not {text!a}")
        if int(text) < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}, not {text}")
        return int(text)

    return whole_number


def _run_gpu(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from isegm.benchmark import gpu_check

    if not torch.cuda.is_available():
        print("no GPU is usable here: nothing was checked")
        return {"checks": []}
    checkpoint = args.checkpoint or default_weights()
    rows = gpu_check.run_checks(gpu_check.checks_of(gpu_check.GpuCheck(checkpoint, torch.device("cuda"))))
    print(gpu_check.format_checks(rows), flush=True)
    return {"checkpoint": checkpoint.name, "checks": rows}


# -- the arguments of each benchmark


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    _add_click_arguments(parser, repeats=5)
    parser.add_argument(
        "--clicks", type=_at_least(1), default=20, help="on each image (default: %(default)s)"
    )


def _add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--datasets", metavar="A[,B...]", required=True, help="data sets of config.yml")
    add("--checkpoint", metavar="FILE", type=Path, help="a trained network (default: the project's own)")
    _add_backend_arguments(parser)
    add("--limit", type=_at_least(1), metavar="N", help="the first N images of each data set (default: all)")
    add("--eval-mode", default=Protocol.eval_mode, help=f"{EVAL_MODES} (default: %(default)s)")
    add("--n-clicks", type=int, default=Protocol.n_clicks, help="at most (default: %(default)s)")
    add("--config-path", metavar="FILE", type=Path, help="default: ./config.yml, else the repository's")


def _add_growth_arguments(parser: argparse.ArgumentParser) -> None:
    _add_click_arguments(parser, repeats=3)
    add = parser.add_argument
    add("--clicks", metavar="A[,B...]", default="1,2,5,10,20,50", help="placed before (default: %(default)s)")
    add("--sizes", metavar="A[,B...]", default="256,384,512,768,1024", help="default: %(default)s")
    add("--views", metavar="A[,B...]", default="1,2,4,8,16,32", help="in one call (default: %(default)s)")
    add("--plot", metavar="FILE", type=Path, help="draw all of it as a PNG")


def _add_clicks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repeats", type=_at_least(1), default=200, help="of each mask (default: %(default)s)"
    )


def _add_ct_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="a folder labelsTr, with imagesTr beside it; .nii.gz")
    parser.add_argument("organ", help="whose slice is extracted, and whose window is applied")
    parser.add_argument("--repeats", type=_at_least(1), default=9, help="turns (default: %(default)s)")


def _add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, help="other weights than those that come with the project")
    add("--slices", type=_at_least(24), default=100, help="of 512 x 512 pixels (default: %(default)s)")
    add("--threads", type=_at_least(1), help="that one click may use (default: this process's cores)")
    add("--repeats", type=_at_least(1), default=3, help="volumes clicked on (default: %(default)s)")


def _add_annotate_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, help="other weights than those that come with the project")
    add("--slices", type=_at_least(100), default=400, help="of 512 x 512 pixels (default: %(default)s)")
    add("--repeats", type=_at_least(1), default=20, help="of each action (default: %(default)s)")


def _add_gpu_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=Path, help="a trained network (default: the project's own)"
    )


def _add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """What is compared with the reference."""
    add = parser.add_argument
    add(
        "--backends",
        metavar="A[,B...]",
        help=f"what runs the network: {', '.join(BACKENDS)} (default: all that are installed and can do it)",
    )
    add("--precision", default="float32", help="what the backends compute in (default: %(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")


def _add_click_arguments(parser: argparse.ArgumentParser, *, repeats: int) -> None:
    """Which network, on which pictures, and how often."""
    add = parser.add_argument
    add(
        "--presets", metavar="A[,B...]", help="networks such as hr18s, with untrained weights (default: hr32)"
    )
    add("--checkpoint", metavar="FILE", type=Path, help="a network with its weights, instead")
    _add_backend_arguments(parser)
    add(
        "--size",
        type=_at_least(_SMALLEST_SIZE),
        default=384,
        help="pixels of the input's shorter side (default: %(default)s)",
    )
    add("--no-flip", action="store_true", help="do not average with the mirrored image")
    add("--threads", type=_at_least(1), help="that one click may use (default: this process's cores)")
    add(
        "--repeats",
        type=_at_least(1),
        default=repeats,
        help="images that are clicked on (default: %(default)s)",
    )
    add(
        "--images",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="pictures, or a folder of them, taken in turn (default: generated CT slices, 512 x 512)",
    )


_Run = Callable[[argparse.Namespace], dict[str, Any]]
_AddArguments = Callable[[argparse.ArgumentParser], None]
BENCHMARKS: dict[str, tuple[str, _AddArguments, _Run]] = {
    "network": ("Time clicks, as published and by each backend.", _add_network_arguments, _run_network),
    "evaluation": ("Time the evaluation of data sets.", _add_evaluation_arguments, _run_evaluation),
    "growth": ("Time how cost grows with clicks, sizes, threads.", _add_growth_arguments, _run_growth),
    "clicks": ("Time the simulated click.", _add_clicks_arguments, _run_clicks),
    "ct": ("Time the CT tools.", _add_ct_arguments, _run_ct),
    "volume": ("Time a volume by clicks.", _add_volume_arguments, _run_volume),
    "annotate": ("Time annotation in a browser.", _add_annotate_arguments, _run_annotate),
    "gpu": ("Compare every way to compute on a GPU with the CPU.", _add_gpu_arguments, _run_gpu),
}
"""By subcommand what it is for, its arguments, and how it is run. The first is the default."""
