"""Show the whole job on this machine, from CT volumes to masks, figures and pictures.

On generated patients, with no data, no network and no GPU, in a few minutes::

    python scripts/demo.py

On one's own volumes with labels, as one of the Decathlon's tasks holds them (imagesTr/ and labelsTr/)::

    python scripts/demo.py --data=Task09_Spleen --organ=spleen --folder=demo_spleen

Every step is a command that a user would give, and is printed before it runs. All that is made lies in one
folder; the next demo replaces it.
"""

import json
import math
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that it runs without being installed

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import yaml  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from isegm.cli import Parser, command, counted  # noqa: E402
from isegm.config import MODELS_KEY, read_config  # noqa: E402
from isegm.data import Sample, open_dataset  # noqa: E402
from isegm.errors import InputError  # noqa: E402
from isegm.evaluation.pictures import (  # noqa: E402
    MASK_COLOUR,
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    TRUTH_COLOUR,
    Picture,
    draw_result,
    enlargement,
)
from isegm.evaluation.protocol import Protocol  # noqa: E402
from isegm.evaluation.sample import SampleResult  # noqa: E402
from isegm.geometry import Click  # noqa: E402
from isegm.inference.segmenter import Mask, Segmenter  # noqa: E402
from isegm.storage import write_image, write_text  # noqa: E402

TASKS = {"liver": "Task03_Liver", "lung": "Task06_Lung", "spleen": "Task09_Spleen"}
VOLUMES, LABELS = "imagesTr", "labelsTr"
SEED = 2
"""Of patients the first of whom had contrast medium: in the overview organs can be told apart by eye."""
MARKER = ".made_by_demo"
"""A file in the demo's folder: only what the demo made is replaced by the next."""


# -- the command


@dataclass(frozen=True)
class Demo:
    """What the demo works on.

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
    add("--folder", type=Path, default=Path("demo"), help="where all is made (default: %(default)s)")
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
    prepare_folder(demo.folder, args.data)
    write_config(demo)

    for words in steps(demo):
        print(f"\n$ {shlex.join(['python', *words])}", flush=True)
        status = subprocess.run([sys.executable, *words], check=False).returncode  # noqa: S603 - our own tools
        if status:
            print(f"demo.py: stopped: {words[0]} ended with exit status {status}", file=sys.stderr)
            return status if status > 0 else 128 - status  # killed by a signal: as a shell puts it
    results = read_results(demo)
    write_image(demo.folder / "overview.png", draw_overview(demo, results))
    print(f"\n{summary(demo, results)}")
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


def prepare_folder(folder: Path, data: Path | None) -> None:
    """Make the folder anew, marked as the demo's.

    Args:
        folder: The demo's.
        data: The user's, which must not be in it.

    Raises:
        InputError: There is something at its place that the demo did not make, or the user's data.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give another --folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise InputError(f"{folder}: not empty, and not made by the demo; give another --folder")
        if data is not None and data.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{data}: lies in {folder}, which the demo replaces; give another --folder")
        shutil.rmtree(folder)
    write_text(folder / MARKER, "Made by scripts/demo.py. The next demo replaces this folder.\n")


def write_config(demo: Demo) -> None:
    """Say where the evaluation finds the slices; checkpoints lie where they do without a demo."""
    rows = {f"{organ.upper()}_PATH": f"./datasets/{organ}" for organ in demo.volumes}
    rows[MODELS_KEY] = str(REPOSITORY / "weights")
    write_text(demo.folder / "config.yml", yaml.safe_dump(rows, allow_unicode=True, width=math.inf))


# -- the steps


def steps(demo: Demo) -> Iterator[list[str]]:
    """The commands, as the words after ``python``; each is asked for only when those before it are done."""
    folder = demo.folder
    if demo.generated:
        yield [script("scripts/generate_phantoms.py"), f"{folder / 'volumes'}", f"--seed={SEED}"]
    for organ, task in demo.volumes.items():
        yield [script("normalize_ct_images.py"), f"{task / VOLUMES}", f"{folder / 'windowed' / organ}", organ]
    for organ, task in demo.volumes.items():
        yield [script("extraer_imagenes.py"), f"{task / LABELS}", f"{folder / 'datasets'}", organ]
    yield [
        script("scripts/evaluate_model.py"),
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
    masks = folder / "results" / "predictions" / network_of(read_results(demo))["name"]
    for organ in demo.volumes:
        truth = folder / "datasets" / organ / "masks"
        reports = f"--output={folder / 'metrics'}"
        yield [script("metricas.py"), f"{truth}", f"{masks / organ}", organ, reports]


def script(name: str) -> str:
    """A tool's path, short where the current folder allows it."""
    path, here = REPOSITORY / name, Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def read_results(demo: Demo) -> dict[str, Any]:
    """What the evaluation says in ``results.json``."""
    return read_json(demo.folder / "results" / "results.json")


def network_of(results: Mapping[str, Any]) -> dict[str, str]:
    """The ``name`` and the ``path`` of the network that was evaluated."""
    network: dict[str, str] = results["checkpoints"][0]
    return network


def read_json(path: Path) -> dict[str, Any]:
    """The object that one of the tools wrote."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def summary(demo: Demo, results: Mapping[str, Any]) -> str:
    """The figures of the network by organ, and where everything is."""
    folder, network = demo.folder, network_of(results)["name"]
    noc = {(row["model"], row["dataset"]): f"{row['noc'][-1]['mean']:.2f}" for row in results["results"]}
    lines = [("organ", "Dice", "IoU", "NoC@90%", "geodesic NoC@90%")]
    for organ in demo.volumes:
        means = read_json(folder / "metrics" / f"metrics_{organ}.json")["metrics"]
        dice, iou = (f"{means[metric]['mean']:.3f}" for metric in ("dice", "iou"))
        lines.append((organ, dice, iou, noc[network, organ], noc["geodesic", organ]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    places = {
        "overview": folder / "overview.png",
        "NoC table": folder / "results" / "results.txt",
        "pictures": folder / "results" / "vis" / network,
        "masks": folder / "results" / "predictions" / network,
        "Dice, IoU, HD95": folder / "metrics",
        "slices": folder / "datasets",
        "windowed volumes": folder / "windowed",
    }
    found = [f"{what:17} {where}" for what, where in places.items()]
    yours = "With your own volumes: make demo DATA=path/to/Task09_Spleen ORGAN=spleen"
    return "\n".join([*table, "", *found, "", yours])


# -- the overview


class Panel(NamedTuple):
    """One of the overview's pictures, (``PANEL_HEIGHT``, ``PANEL_WIDTH``, 3), and what stands below it."""

    picture: Picture
    caption: str


COLUMNS = 4
PANEL_WIDTH, PANEL_HEIGHT = 285, 214
GAP = 12
CAPTION_HEIGHT = 38
FONT_SIZE = 21
BACKGROUND = (16, 18, 22)
INK = (232, 234, 238)
WHITE = (255, 255, 255)
LEGEND = {
    "truth": TRUTH_COLOUR,
    "mask": MASK_COLOUR,
    "click on the object": POSITIVE_COLOUR,
    "click on the background": NEGATIVE_COLOUR,
}
SURROUNDINGS = 0.15
"""How far beyond what is marked a panel shows the slice, as a part of the marks' extent."""
DISK, LINE = 6.5, 1.5
"""Radius of a click's disk and width of an outline, in pixels of the overview."""


def draw_overview(demo: Demo, results: Mapping[str, Any]) -> Picture:
    """A row an organ, from its first sample: the slice, the masks after one and two clicks, the final one."""
    from isegm.evaluation.run import predictor_for  # torch takes seconds to import, and is not needed before
    from isegm.model.checkpoint import load_model

    network, protocol = network_of(results), Protocol(**results["settings"])
    model = load_model(network["path"])
    config = read_config(demo.folder / "config.yml")
    text = (demo.folder / "results" / "samples.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    rows = []
    for organ in demo.volumes:
        first = next(line for line in lines if (line["model"], line["dataset"]) == (network["name"], organ))
        dataset = open_dataset(organ, config)
        sample, clicks = dataset[first["index"]], [Click(*click) for click in first["clicks"]]
        masks = replay(predictor_for(model, dataset, protocol), sample, clicks)
        rows.append(panels(organ, sample, clicks, masks, first["ious"]))
    return arrange(rows)


def replay(predictor: Segmenter, sample: Sample, clicks: Iterable[Click]) -> list[Mask]:
    """The masks after each click."""
    import torch

    torch.set_num_threads(1)  # as in the evaluation: the last bits depend on it, and masks may on them
    predictor.set_image(sample.image)
    masks = []
    for click in clicks:
        predictor.click(click.row, click.col, click.positive)
        masks.append(predictor.mask)
    return masks


def panels(
    organ: str, sample: Sample, clicks: Sequence[Click], masks: Sequence[Mask], ious: Sequence[float]
) -> list[Panel]:
    """An organ's row: the slice, then the masks after one, two and all clicks; fewer if there are fewer."""
    stages = sorted({count for count in (1, 2, len(clicks)) if count <= len(clicks)})
    marked = np.logical_or.reduce([sample.truth == 1, *(masks[count - 1] for count in stages)])
    for click in clicks:
        marked[round(click.row), round(click.col)] = True
    rows, cols = view(marked)
    part = replace(sample, image=sample.image[rows, cols], truth=sample.truth[rows, cols])
    moved = [replace(click, row=click.row - rows.start, col=click.col - cols.start) for click in clicks]
    found = [Panel(fit(enlarge(part.image)), f"{organ}, CT slice")]
    for count in stages:
        picture = fit(draw_marks(part, masks[count - 1][rows, cols], moved[:count]))
        found.append(Panel(picture, f"{counted(count, 'click')}: IoU {ious[count - 1]:.2f}"))
    return found


def view(marked: Mask) -> tuple[slice, slice]:
    """The rows and columns to show: what is marked and its surroundings, in a panel's shape if possible."""
    extents = [np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0)]
    height, width = ((extent[-1] - extent[0] + 1) * (1 + 2 * SURROUNDINGS) for extent in extents)
    shape = PANEL_WIDTH / PANEL_HEIGHT
    wanted = max(height, width / shape), max(width, height * shape)
    rows, cols = map(interval, extents, wanted, marked.shape)
    return rows, cols


def interval(extent: npt.NDArray[np.intp], wanted: float, limit: int) -> slice:
    """So many pixels about an extent's middle, moved and cut to lie in ``range(limit)``."""
    length = min(math.ceil(wanted), limit)
    middle = (extent[0] + extent[-1] + 1) / 2
    start = int(np.clip(round(middle - length / 2), 0, limit - length))
    return slice(start, start + length)


def draw_marks(part: Sample, mask: Mask, clicks: Sequence[Click]) -> Picture:
    """A result as ``--vis`` draws it, with outlines and clicks that stay visible at a panel's size."""
    picture = draw_result(part, mask, SampleResult(part.name, (), (), ()))
    scale = max(picture.shape[0] / PANEL_HEIGHT, picture.shape[1] / PANEL_WIDTH)
    for area, colour in ((part.truth == 1, TRUTH_COLOUR), (mask, MASK_COLOUR)):
        contours, _ = cv2.findContours(enlarge(area.astype(np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, round(LINE * scale), cv2.LINE_AA)
    factor = enlargement(*mask.shape)
    for click in clicks:
        centre = round((click.col + 0.5) * factor), round((click.row + 0.5) * factor)
        draw_click(picture, centre, click.positive, scale)
    return picture


def draw_click(picture: Picture, centre: tuple[int, int], positive: bool, scale: float) -> None:
    """A disk with a plus or a minus, for those who do not tell red from green."""
    (x, y), arm = centre, round(0.55 * DISK * scale)
    cv2.circle(picture, centre, round((DISK + LINE) * scale), WHITE, -1, cv2.LINE_AA)
    cv2.circle(
        picture,
        centre,
        round(DISK * scale),
        POSITIVE_COLOUR if positive else NEGATIVE_COLOUR,
        -1,
        cv2.LINE_AA,
    )
    cv2.line(picture, (x - arm, y), (x + arm, y), WHITE, round(LINE * scale))
    if positive:
        cv2.line(picture, (x, y - arm), (x, y + arm), WHITE, round(LINE * scale))


def enlarge(pixels: Picture) -> Picture:
    """A small slice, or a mask of it, with pixels as large as :func:`draw_result` draws them."""
    factor = enlargement(*pixels.shape[:2])
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def fit(picture: Picture) -> Picture:
    """The picture as large as a panel holds it, in the middle, on black."""
    factor = min(PANEL_HEIGHT / picture.shape[0], PANEL_WIDTH / picture.shape[1])
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    top, left = (PANEL_HEIGHT - height) // 2, (PANEL_WIDTH - width) // 2
    panel = np.zeros((PANEL_HEIGHT, PANEL_WIDTH, 3), np.uint8)
    panel[top : top + height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA
    )
    return panel


def arrange(rows: Sequence[Sequence[Panel]]) -> Picture:
    """All panels in a grid with their captions, and what the colours mean at the foot."""
    from matplotlib import get_data_path  # slow to import, and not needed before

    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_SIZE)
    step_x, step_y = PANEL_WIDTH + GAP, PANEL_HEIGHT + CAPTION_HEIGHT + GAP
    size = GAP + COLUMNS * step_x, GAP + len(rows) * step_y + CAPTION_HEIGHT
    overview = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(overview)
    for row, found in enumerate(rows):
        for column, panel in enumerate(found):
            left, top = GAP + column * step_x, GAP + row * step_y
            overview.paste(Image.fromarray(panel.picture), (left, top))
            at = left + PANEL_WIDTH / 2, top + PANEL_HEIGHT + CAPTION_HEIGHT / 2
            pen.text(at, panel.caption, INK, font, anchor="mm")
    x, y = float(GAP), size[1] - GAP - CAPTION_HEIGHT / 2
    for meaning, colour in LEGEND.items():
        pen.ellipse((x, y - DISK, x + 2 * DISK, y + DISK), colour)
        x += 2 * DISK + 0.7 * GAP
        pen.text((x, y), meaning, INK, font, anchor="lm")
        x += font.getlength(meaning) + 3 * GAP
    return np.asarray(overview)


if __name__ == "__main__":
    sys.exit(main())
