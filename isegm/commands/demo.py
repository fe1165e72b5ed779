"""Show the whole job on this machine, from CT volumes to masks, figures and pictures.

On generated patients, with no data, no network and no GPU, in a few minutes::

    isegm demo

On your own volumes with labels, as one of the Decathlon's tasks holds them (imagesTr/ and labelsTr/)::

    isegm demo --data=Task09_Spleen --organ=spleen --folder=demo_spleen

Every step is a command that a user would give, and is printed before it runs. All that is made lies in one
folder; the next demo replaces it.
"""

import json
import math
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isegm.commands import run
from isegm.commands.command_line import Parser, command, print_line, program
from isegm.commands.places import default_weights
from isegm.config import MODELS_KEY, read_config
from isegm.errors import InputError
from isegm.pictures import write_image
from isegm.storage import write_text
from isegm.tables import text_table

TASKS = {"liver": "Task03_Liver", "lung": "Task06_Lung", "spleen": "Task09_Spleen"}
VOLUMES, LABELS = "imagesTr", "labelsTr"
_SEED = 2
"""Of patients the first of whom had contrast medium: in the overview organs can be told apart by eye."""
MARKER = ".made_by_demo"
"""A file in the demo's folder: only what the demo made is replaced by the next."""


# -- the command


@dataclass(frozen=True)
class Demo:
    """The data that the demo works on.

    Attributes:
        folder: Where everything is made.
        volumes: By organ the folder that holds its ``imagesTr`` and ``labelsTr``.
        generated: Whether the volumes still have to be generated.
        checkpoint: What to pass on to the evaluation; None for the weights that come with the project.
    """

    folder: Path
    volumes: Mapping[str, Path]
    generated: bool
    checkpoint: str | None


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add(
        "--folder", type=Path, default=Path("demo"), help="where everything is written (default: %(default)s)"
    )
    add(
        "--data",
        type=Path,
        help=f"your own volumes: a folder with {VOLUMES}/ and {LABELS}/, or with {', '.join(TASKS.values())} "
        "(default: generated patients)",
    )
    add("--organ", choices=list(TASKS), help="whose labels they are; of several organs, only this one")
    add("--checkpoint", metavar="FILE", help="other weights than those that come with the project")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 0, 2 for bad input, or that of the step that failed."""
    args = build_parser().parse_args(argv)
    if args.data is None:
        volumes = tasks_in(args.folder / "volumes", args.organ)
    else:
        volumes = find_volumes(args.data, args.organ)
    demo = Demo(args.folder, volumes, args.data is None, args.checkpoint)
    prepare_folder(demo.folder, [args.data, args.checkpoint])
    write_config(demo)

    isegm = "isegm" if program() == "isegm demo" else "python -m isegm"  # the latter in a checkout
    for name, *words in steps(demo):
        print(f"\n$ {isegm} {shlex.join([name, *words])}", flush=True)
        status = run(name, words)
        if status:
            print_line(f"{program()}: stopped: {name} ended with exit status {status}")
            return status

    from isegm.evaluation.overview import draw_overview  # torch takes seconds to import; not needed before

    overview = draw_overview(demo.folder / "results", read_config(demo.folder / "config.yml"))
    write_image(demo.folder / "overview.png", overview)
    print(f"\n{summary(demo, read_results(demo))}")
    return 0


def tasks_in(folder: Path, organ: str | None) -> dict[str, Path]:
    """Where a folder's tasks are, or would be, by organ: all, or only that organ's."""
    return {name: folder / task for name, task in TASKS.items() if organ in (None, name)}


def find_volumes(data: Path, organ: str | None) -> dict[str, Path]:
    """The user's folders of volumes and labels, by organ.

    Args:
        data: One folder with ``imagesTr`` and ``labelsTr``, or one with the Decathlon's tasks in it.
        organ: Whose they are; of several tasks, the one to take.

    Raises:
        InputError: There are no volumes, or no labels for them, or it is not said which organ's they are.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; check --data")
    if any((data / part).is_dir() for part in (VOLUMES, LABELS)):
        if organ is None:
            raise InputError(f"{data}: whose labels are these? give --organ {', '.join(TASKS)}")
        found = {organ: data}
    else:
        tasks = tasks_in(data, organ)
        found = {name: task for name, task in tasks.items() if task.is_dir()}
        if not found:
            wanted = " or ".join(task.name for task in tasks.values())
            raise InputError(f"{data}: holds neither {VOLUMES} and {LABELS} nor {wanted}; check --data")
    for task in found.values():
        for part in (VOLUMES, LABELS):
            if not (task / part).is_dir():
                raise InputError(f"{task}: has no {part}; put volumes into {VOLUMES}, labels into {LABELS}")
    return found


def prepare_folder(folder: Path, used: Iterable[Path | str | None]) -> None:
    """Make the folder again, marked as the demo's.

    Args:
        folder: The demo's.
        used: What the user gave, which must not be in it; None is nothing.

    Raises:
        InputError: There is something at its place that the demo did not make, or what the user gave.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give another --folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise InputError(f"{folder}: not empty, and not made by the demo; give another --folder")
        for path in used:
            if path is not None and Path(path).resolve().is_relative_to(folder.resolve()):
                raise InputError(f"{path}: lies in {folder}, which the demo replaces; give another --folder")
        shutil.rmtree(folder)
    write_text(folder / MARKER, "Made by isegm demo. The next demo replaces this folder.\n")


def write_config(demo: Demo) -> None:
    """Say where the evaluation finds the slices; checkpoints lie where they do without a demo."""
    rows = {f"{organ.upper()}_PATH": f"./datasets/{organ}" for organ in demo.volumes}
    rows[MODELS_KEY] = str(default_weights().parent)
    write_text(demo.folder / "config.yml", yaml.safe_dump(rows, allow_unicode=True, width=math.inf))


# -- the steps


def steps(demo: Demo) -> Iterator[list[str]]:
    """The subcommands, in words; each is asked for only when those before it are done."""
    folder = demo.folder
    if demo.generated:
        yield ["phantoms", f"{folder / 'volumes'}", f"--seed={_SEED}"]
    for organ, task in demo.volumes.items():
        yield ["window", f"{task / VOLUMES}", f"{folder / 'windowed' / organ}", organ]
    for organ, task in demo.volumes.items():
        yield ["extract", f"{task / LABELS}", f"{folder / 'datasets'}", organ]
    yield [
        "evaluate",
        "EMC-Click",
        *([] if demo.checkpoint is None else [f"--checkpoint={demo.checkpoint}"]),
        f"--config-path={folder / 'config.yml'}",
        f"--datasets={','.join(demo.volumes)}",
        "--n-clicks=20",
        "--thresh=0.5",
        "--vis",
        "--baseline",
        f"--logs-path={folder / 'results'}",
    ]
    masks = folder / "results" / "predictions" / network_of(read_results(demo))
    for organ in demo.volumes:
        truth = folder / "datasets" / organ / "masks"
        reports = f"--output={folder / 'metrics'}"
        yield ["metrics", f"{truth}", f"{masks / organ}", organ, reports]


def read_results(demo: Demo) -> dict[str, Any]:
    """Return the evaluation's ``results.json``."""
    return read_json(demo.folder / "results" / "results.json")


def network_of(results: Mapping[str, Any]) -> str:
    """The name of the network that was evaluated."""
    name: str = results["checkpoints"][0]["name"]
    return name


def read_json(path: Path) -> dict[str, Any]:
    """The object that one of the tools wrote."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def summary(demo: Demo, results: Mapping[str, Any]) -> str:
    """The figures of the network by organ, and where everything is."""
    folder, network = demo.folder, network_of(results)
    noc = {(row["model"], row["dataset"]): f"{row['noc'][-1]['mean']:.2f}" for row in results["results"]}
    rows = []
    for organ in demo.volumes:
        means = read_json(folder / "metrics" / f"metrics_{organ}.json")["metrics"]
        dice, iou = (f"{means[metric]['mean']:.3f}" for metric in ("dice", "iou"))
        rows.append([organ, dice, iou, noc[network, organ], noc["geodesic", organ]])
    table = text_table(["organ", "Dice", "IoU", "NoC@90%", "geodesic NoC@90%"], rows)
    places = {
        "overview": folder / "overview.png",
        "report": folder / "results" / "report.html",
        "NoC table": folder / "results" / "results.txt",
        "pictures": folder / "results" / "vis" / network,
        "masks": folder / "results" / "predictions" / network,
        "Dice, IoU, HD95": folder / "metrics",
        "slices": folder / "datasets",
        "windowed volumes": folder / "windowed",
    }
    found = [f"{what:17} {where}" for what, where in places.items()]
    yours = "With your own volumes: isegm demo --data=path/to/Task09_Spleen --organ=spleen"
    return "\n".join([table, "", *found, "", yours])
