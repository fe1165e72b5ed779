"""Sources of training pictures, as a user writes them, and their mixture.

A source is written ``KIND:PATH:option=value:...@WEIGHT``; options and weight may be left out:

    folder:datasets/liver                                    images/ and masks/, binary or label maps
    folder:datasets/cells:images=img:masks=gt:read=binary
    nifti:Task03_Liver:organ=liver                           imagesTr/ and labelsTr/
    nifti:Task01:labels=1+2,3:window=brain:jitter=0.1,1.3@2
    nifti:labels:images=dicom:series=3:labels=1              one folder of DICOM files a patient
    coco:annotations/instances_train2017.json:images=train2017
    lvis:lvis_v1_train.json:images=coco@3
    sbd:datasets/SBD
    voc:datasets/PascalVOC:split=trainval:shrink=320
    data:liver                                               a data set of config.yml
    phantom                                                  generated CT slices, no files at all

The weight (1 if not given) is the source's share of the pictures, relative to the others'. The kind ends at
the first colon, an option begins at a colon that is followed by ``name=``, and the weight is what stands
after the last ``@``; a path may otherwise hold colons. ``docs/training.md`` explains each option.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from isegm.config import Config, read_config
from isegm.datasets import open_dataset
from isegm.datasets.coco import find_coco
from isegm.datasets.instances import PASCAL_VOC, SBD
from isegm.datasets.picture_pairs import find_folder
from isegm.datasets.volume_slices import find_slices
from isegm.errors import InputError
from isegm.masks import MaskReading
from isegm.training.ct_appearance import WindowJitter
from isegm.training.picture_source import CONTENTS, Content, PictureSource
from isegm.training.scenes import Altered, Scene, Source
from isegm.volumes.organs import ORGANS, window_of
from isegm.volumes.windows import WINDOWS, Window, parse_window

RANDOM_WINDOW = "random"
"""What is written in place of a window for another one in each picture."""

_OPTION = re.compile(r":(?=[a-z]+=)")
_WEIGHT = re.compile(r"@([-+.\w]*)$", re.ASCII)


@dataclass(frozen=True)
class SourceSpec:
    """A source as the user wrote it; nothing has been looked at yet.

    Attributes:
        text: The source without its weight, for messages.
        kind: One of ``KINDS``.
        path: Its path; empty for a kind without.
        options: Value by option, as written.
        weight: Its share of the pictures, relative to the others'; above 0.
    """

    text: str
    kind: str
    path: str
    options: Mapping[str, str]
    weight: float

    def complain(self, problem: str) -> InputError:
        """An error about this source."""
        return InputError(f"source {self.text}: {problem}")


@dataclass(frozen=True)
class _Kind:
    """A kind of source: its options, and how it is opened, from what was written and the cache's folder."""

    options: frozenset[str]
    open: Callable[[SourceSpec, Path], Source]
    path: str = ""


class Mixture:
    """Several sources as one: each scene comes from one of them, drawn by weight.

    Args:
        sources: Each with its weight, above 0.

    Raises:
        InputError: There is no source.
    """

    def __init__(self, sources: Sequence[tuple[Source, float]]) -> None:
        if not sources:
            raise InputError("no source of training pictures; give one, phantom say")
        self.sources = tuple(source for source, _ in sources)
        weights = np.array([weight for _, weight in sources])
        self._shares = weights / weights.sum()

    @property
    def name(self) -> str:
        """All sources' names."""
        return ", ".join(source.name for source in self.sources)

    @property
    def notes(self) -> tuple[str, ...]:
        """All sources' notes."""
        return tuple(note for source in self.sources for note in source.notes)

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a source, then a scene from it (:meth:`isegm.training.scenes.Source.draw`)."""
        return self.sources[rng.choice(len(self.sources), p=self._shares)].draw(rng)


def _shrink(side: int, scene: Scene, rng: np.random.Generator) -> Scene:  # noqa: ARG001 - all are called alike
    """Resize a scene whose longer side is more than ``side`` pixels to it."""
    height, width = scene.labels.shape
    if max(height, width) <= side:
        return scene
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = np.asarray(cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    nearest = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_NEAREST_EXACT)
    return scene.moved(image, lambda labels: np.asarray(nearest(labels), np.int32))


def _turn(probability: float, scene: Scene, rng: np.random.Generator) -> Scene:
    """Turn a scene by 90, 180 or 270 degrees with a probability."""
    if rng.random() >= probability:
        return scene
    quarters = int(rng.integers(1, 4))
    image = np.ascontiguousarray(np.rot90(scene.image, quarters))
    return scene.moved(image, lambda labels: np.ascontiguousarray(np.rot90(labels, quarters)))


def open_mixture(texts: Sequence[str], cache: Path) -> Mixture:
    """Open sources as the user wrote them.

    Args:
        texts: The sources.
        cache: The folder in which sources may keep what takes long to make; it is made when needed.

    Raises:
        InputError: A source is written wrong or cannot be opened; the line, or lines, say why.
    """
    specs = [parse_source(text) for text in texts]  # all, before the first one takes its time
    return Mixture([(open_source(spec, cache), spec.weight) for spec in specs])


def parse_source(text: str) -> SourceSpec:
    """Take apart what the user wrote.

    Raises:
        InputError: The kind or an option is unknown, an option comes twice or is empty, the path is
            missing or not wanted, or the weight is not a number above 0.
    """
    weight = _WEIGHT.search(text)
    written = text[: weight.start()] if weight else text
    kind_name, _, rest = written.partition(":")
    if kind_name not in KINDS:
        raise InputError(f"source {text!r}: begins with none of {', '.join(KINDS)}; write folder:PATH, say")
    kind = KINDS[kind_name]
    path, *parts = _OPTION.split(f":{rest}")
    options: dict[str, str] = {}
    spec = SourceSpec(written, kind_name, path.removeprefix(":"), options, 1.0)
    for part in parts:
        option, _, value = part.partition("=")
        if option not in kind.options:
            known = ", ".join(sorted(kind.options)) or "none"
            raise spec.complain(f"{kind_name} has no option {option}=; it has {known}")
        if option in options or not value:
            raise spec.complain(f"{option}= {'comes twice; keep one' if value else 'has no value; give one'}")
        options[option] = value
    if spec.path and not kind.path:
        raise spec.complain(f"{kind_name} takes no path, but options: {', '.join(sorted(kind.options))}")
    if kind.path and not spec.path:
        raise spec.complain(f"has no path; write {kind_name}:{kind.path}")
    return SourceSpec(written, kind_name, spec.path, options, _weight(spec, weight[1]) if weight else 1.0)


def open_source(spec: SourceSpec, cache: Path) -> Source:
    """Open a source: find its files and check what can be checked without reading them all.

    Args:
        spec: The source.
        cache: As for :func:`open_mixture`.

    Raises:
        InputError: An option's value cannot be used, or the source cannot be opened.
    """
    source = KINDS[spec.kind].open(spec, cache)
    if (side := spec.options.get("shrink")) is not None:
        source = Altered(source, partial(_shrink, _integer(spec, "shrink", side, least=32)))
    if (probability := spec.options.get("turn")) is not None:
        source = Altered(source, partial(_turn, _probability(spec, "turn", probability)))
    return source


def nifti_window(spec: SourceSpec) -> Window | None:
    """The window of a source of volumes, before it is varied: the given one, or else the organ's.

    None if it is ``random``: any window in which the objects can be seen.

    Raises:
        InputError: What was given is not a window.
    """
    if spec.options.get("window") == RANDOM_WINDOW:
        return None
    if "window" in spec.options:
        return parse_window(spec.options["window"])
    organ = spec.options.get("organ")
    return window_of(organ) if organ else WINDOWS["abdomen"]


def window_jitter(spec: SourceSpec) -> WindowJitter:
    """How far the windows of a source of volumes, or of generated CT, are varied.

    Raises:
        InputError: What was given is not a jitter.
    """
    text = spec.options.get("jitter")
    if text is None:
        return WindowJitter()
    try:
        shift, stretch = (float(number) for number in text.split(","))
    except ValueError:
        raise spec.complain(
            f"jitter={text}: give by how many widths the level may move and by which factor the width may "
            "change: 0.2,1.5 say, or 0,1 for none"
        ) from None
    return WindowJitter(shift, stretch)


def config_of(spec: SourceSpec) -> Config:
    """The config file that a source of kind ``data`` is looked up in.

    Raises:
        InputError: It is missing or cannot be used.
    """
    return read_config(Path(spec.options.get("config", "config.yml")))


def _weight(spec: SourceSpec, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise spec.complain(
            f"@{text}: the weight must be a number above 0 (if this belongs to the path, add @1 to it)"
        )
    return weight


def _open_folder(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    content = _content(spec)
    kind = spec.options.get("read", "auto")
    if kind not in ("auto", "labels", "binary"):
        raise spec.complain(f"read={kind}: must be labels or binary")
    ignored: int | Literal["none"] | None = None
    if (ignore := spec.options.get("ignore")) is not None:
        ignored = "none" if ignore == "none" else _integer(spec, "ignore", ignore, least=1)
    pictures = find_folder(
        Path(spec.path),
        images=spec.options.get("images", "images"),
        masks=spec.options.get("masks", "masks"),
        known=MaskReading(cast("Literal['auto', 'labels', 'binary']", kind), ignored),
    )
    return PictureSource(spec.text, pictures, content)


def _open_data(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    dataset = open_dataset(spec.path, config_of(spec))
    pictures = list(dict.fromkeys(record.picture for record in dataset.records))
    return PictureSource(spec.text, pictures, _content(spec))


def _content(spec: SourceSpec) -> Content:
    content = spec.options.get("content", "auto")
    if content not in CONTENTS:
        raise spec.complain(f"content={content}: must be {' or '.join(CONTENTS)}")
    return content


def _open_nifti(spec: SourceSpec, cache: Path) -> Source:
    organ = spec.options.get("organ", "")
    objects: list[list[int]] | None = None
    if "labels" in spec.options:
        groups = spec.options["labels"].split(",")
        objects = [
            [_integer(spec, "labels", value, least=1) for value in group.split("+")] for group in groups
        ]
        values = [value for group in objects for value in group]
        if len(set(values)) < len(values):
            raise spec.complain(f"labels={spec.options['labels']}: a value comes twice; keep one")
    elif organ in ORGANS:
        objects = [list(ORGANS[organ].labels)]
    elif organ:
        known = ", ".join(ORGANS)
        raise spec.complain(f"organ={organ}: not one of {known}; give its label values by labels=1+2, say")
    images = spec.options.get("images")
    jitter, window = window_jitter(spec), nifti_window(spec)
    slices, notes = find_slices(
        Path(spec.path),
        Path(images) if images else None,
        organ=organ,
        cache=cache,
        objects=objects,
        window=window or WINDOWS["abdomen"],  # a picture with a window holds HU
        series=spec.options.get("series"),
    )
    if organ in ORGANS and ORGANS[organ].note:
        notes.insert(0, f"source {spec.text}: {ORGANS[organ].note}")
    return PictureSource(spec.text, slices, "ct", jitter, tuple(notes), any_window=window is None)


def _open_coco(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    if "images" not in spec.options:
        raise spec.complain("give the folder of the pictures: images=FOLDER")
    categories = [name for name in spec.options.get("categories", "").split(",") if name]
    pictures, notes = find_coco(Path(spec.path), Path(spec.options["images"]), categories)
    return PictureSource(spec.text, pictures, "photo", notes=tuple(notes))


def _open_sbd(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    pictures = SBD.find_pictures(Path(spec.path), spec.options.get("split", "train"))
    return PictureSource(spec.text, pictures, "photo")


def _open_voc(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    pictures = PASCAL_VOC.find_pictures(Path(spec.path), spec.options.get("split", "train"))
    return PictureSource(spec.text, pictures, "photo")


def _open_phantom(spec: SourceSpec, cache: Path) -> Source:  # noqa: ARG001 - all are opened alike
    from isegm.phantom.slices import FAMILIES
    from isegm.training.phantom_source import PhantomSource

    sides = spec.options.get("size", "512").split("x")
    if len(sides) > 2:
        raise spec.complain(f"size={spec.options['size']}: give a height and a width, 512x512 say")
    height, width = (_integer(spec, "size", side, least=32) for side in (sides * 2)[:2])
    family = spec.options.get("family")
    if family is not None and family not in FAMILIES:
        raise spec.complain(f"family={family}: must be {' or '.join(FAMILIES)}")
    return PhantomSource(spec.text, height, width, window_jitter(spec), family)


def _probability(spec: SourceSpec, option: str, text: str) -> float:
    try:
        probability = float(text)
    except ValueError:
        probability = math.nan
    if not 0 <= probability <= 1:
        raise spec.complain(f"{option}={text}: must be a number from 0 to 1")
    return probability


def _integer(spec: SourceSpec, option: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise spec.complain(
            f"{option}={spec.options[option]}: {text!r} is not a whole number from {least} on"
        )
    return int(text)


_COCO = _Kind(
    frozenset({"images", "categories", "shrink", "turn"}), _open_coco, "ANNOTATIONS.json:images=FOLDER"
)
_SPLIT = frozenset({"split", "shrink", "turn"})

KINDS: Mapping[str, _Kind] = {
    "folder": _Kind(
        frozenset({"images", "masks", "content", "read", "ignore", "shrink", "turn"}), _open_folder, "PATH"
    ),
    "nifti": _Kind(
        frozenset({"images", "organ", "labels", "window", "jitter", "series", "shrink", "turn"}),
        _open_nifti,
        "PATH:organ=NAME",
    ),
    "coco": _COCO,
    "lvis": _COCO,
    "sbd": _Kind(_SPLIT, _open_sbd, "PATH"),
    "voc": _Kind(_SPLIT, _open_voc, "PATH"),
    "data": _Kind(frozenset({"config", "content", "shrink", "turn"}), _open_data, "NAME"),
    "phantom": _Kind(frozenset({"size", "family", "jitter", "turn"}), _open_phantom),
}
"""What can be written before the first colon."""
