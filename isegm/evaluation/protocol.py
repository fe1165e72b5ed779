"""The settings of an evaluation, apart from which network and which data."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from typing import Protocol as Interface

from isegm.errors import SettingError
from isegm.inference import BACKENDS
from isegm.inference.precision import PRECISIONS
from isegm.metrics.overlap import mask_dice, mask_iou
from isegm.simulation.click_model import CENTRE, ClickModel, parse_click_model

EVAL_MODES = "emc-click, cvpr or fixed<pixels> (fixed448, say)"

_SIZES = {"emc-click": (384, 576), "cvpr": (400, 600)}
"""Pixels of the network input's shorter side by mode: for most data sets, and for DAVIS."""

INITIAL_MASKS = ("merged", "corrected")
"""What can become of a sample's initial mask."""

MOST_CLICKS = 1000
"""The most clicks on a sample; more would only fill the memory."""

_LEAST_SIZE, _MOST_SIZE = 32, 9999
_LEAST_VOXELS = 1000

METRICS: dict[str, Callable[..., float]] = {"iou": mask_iou, "dice": mask_dice}


class Clicking(Interface):
    """What every evaluation by clicks decides, whether of pictures or of volumes; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def n_clicks(self) -> int:
        """The largest number of clicks on a sample."""

    @property
    def min_n_clicks(self) -> int:
        """Click at least this often, whatever the score."""

    @property
    def target(self) -> float:
        """Stop clicking once this score is reached; above 1, never."""

    @property
    def metric(self) -> str:
        """What is scored: ``iou`` or ``dice``."""

    @property
    def seeds(self) -> int:
        """How many users click on every sample."""

    @property
    def precision(self) -> str:
        """The networks' number format."""

    @property
    def backend(self) -> str:
        """The library that runs the networks."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The settings that decide an evaluation's figures. The defaults are the published ones."""

    eval_mode: str = "emc-click"
    """Which size images are resized to: ``emc-click``, ``cvpr`` or ``fixed<pixels>``."""
    n_clicks: int = 20
    """The largest number of clicks on a sample."""
    min_n_clicks: int = 1
    """Click at least this often, whatever the IoU."""
    target_iou: float = 0.9
    """Stop clicking once this is reached; above 1, never."""
    thresh: float = 0.49
    """The mask is where the probability is above this."""
    clicks_limit: int | None = None
    """Only the first so many clicks of each polarity reach the network."""
    flip: bool = True
    """Average with the mirrored image's logits."""
    metric: str = "iou"
    """``iou``, or ``dice`` in its place."""
    precision: str = "float32"
    """The networks' number format. ``float64`` is far slower, and places the same clicks on any machine."""
    backend: str = "torch"
    """The library that runs the networks."""
    click_model: str = CENTRE
    """How the simulated user clicks, as :func:`isegm.simulation.click_model.parse_click_model` reads it."""
    initial_masks: str = "merged"
    """What becomes of a sample's initial mask: each click's change is ``merged`` into it, as published, and
    the network does not see it; or it is ``corrected``: the correction head sees it, too."""
    perturbed: bool = False
    """Give every sample an initial mask made from its truth (:mod:`isegm.simulation.perturbed_mask`), in
    place of its own if it has one."""
    seeds: int = 1
    """How many users click on every sample, each with chances of its own: seeds 0 to ``seeds - 1``."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: A field is out of its range.
        """
        if self.n_clicks < 1:
            raise SettingError("n_clicks", f"must be at least 1, not {self.n_clicks}")
        if self.n_clicks > MOST_CLICKS:
            raise SettingError("n_clicks", f"must be at most {MOST_CLICKS}, not {self.n_clicks}")
        if not 1 <= self.min_n_clicks <= self.n_clicks:
            raise SettingError("min_n_clicks", f"must be 1 to n_clicks, not {self.min_n_clicks}")
        if not self.target_iou > 0:
            raise SettingError("target_iou", f"must be above 0, not {self.target_iou}")
        if not 0 <= self.thresh < 1:
            raise SettingError("thresh", f"must be at least 0 and below 1, not {self.thresh}")
        if self.clicks_limit is not None and self.clicks_limit < 1:
            raise SettingError("clicks_limit", f"must be at least 1, not {self.clicks_limit}")
        if self.metric not in METRICS:
            raise SettingError("metric", f"must be {' or '.join(METRICS)}, not {self.metric}")
        if self.precision not in PRECISIONS:
            raise SettingError("precision", f"must be {', '.join(PRECISIONS)}, not {self.precision}")
        if self.backend not in BACKENDS:
            raise SettingError("backend", f"must be {', '.join(BACKENDS)}, not {self.backend}")
        if self.initial_masks not in INITIAL_MASKS:
            names = " or ".join(INITIAL_MASKS)
            raise SettingError("initial_masks", f"must be {names}, not {self.initial_masks}")
        if self.seeds < 1:
            raise SettingError("seeds", f"must be at least 1, not {self.seeds}")
        if self.parsed_click_model.is_published and self.seeds > 1:
            raise SettingError(
                "seeds",
                f"with the click model {CENTRE} every seed places the same clicks; leave it out, or choose "
                "another click model",
            )
        self.size("")

    @property
    def target(self) -> float:
        """The IoU, or Dice, at which clicking stops."""
        return self.target_iou

    @functools.cached_property
    def parsed_click_model(self) -> ClickModel:
        """The click model that ``click_model`` describes.

        Raises:
            InputError: It is no click model.
        """
        return parse_click_model(self.click_model)

    def size(self, dataset: str) -> int:
        """Pixels of the network input's shorter side on a data set.

        Raises:
            SettingError: ``eval_mode`` is unknown.
        """
        if self.eval_mode in _SIZES:
            return _SIZES[self.eval_mode][dataset == "DAVIS"]
        fixed = re.fullmatch(r"fixed(\d{1,4})", self.eval_mode, re.ASCII)
        if not fixed or int(fixed[1]) < _LEAST_SIZE:
            raise SettingError("eval_mode", f"must be {EVAL_MODES}, not {self.eval_mode!r}")
        return int(fixed[1])


CHALLENGE_CLICKS = 5
"""Clicks on each object in the CVPR 2025 challenge on interactive 3D segmentation."""


SURFACE_TOLERANCE_MM = 2.0
"""Millimetres that surfaces may lie apart and still agree in the surface Dice, as in the challenge."""


@dataclass(frozen=True, kw_only=True)
class VolumeProtocol:
    """The settings that decide the figures of an evaluation of volumes.

    Clicks are those of the CVPR 2025 challenge, whose figures are taken after the first five; clicking goes
    on until a Dice is reached, for the number of clicks that it takes.
    """

    n_clicks: int = 20
    """The largest number of clicks on a volume."""
    min_n_clicks: int = CHALLENGE_CLICKS
    """Click at least this often, whatever the Dice."""
    target_dice: float = 0.9
    """Stop clicking once this is reached; above 1, never."""
    size: int = 384
    """Pixels of the shorter side of the network's input, a slice."""
    thresh: float = 0.5
    """The mask is where the probability is above this."""
    slice_n_clicks: int = 20
    """The largest number of clicks on a slice, where volumes are segmented slice by slice."""
    precision: str = "float32"
    """The networks' number format."""
    backend: str = "torch"
    """The library that runs the networks."""
    baseline_voxels: int = 400_000
    """Voxels that the geodesic segmentation shrinks a volume to."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: A field is out of its range.
        """
        if not CHALLENGE_CLICKS <= self.n_clicks <= MOST_CLICKS:
            raise SettingError(
                "n_clicks", f"must be {CHALLENGE_CLICKS} to {MOST_CLICKS}, not {self.n_clicks}"
            )
        if not CHALLENGE_CLICKS <= self.min_n_clicks <= self.n_clicks:
            raise SettingError(
                "min_n_clicks", f"must be {CHALLENGE_CLICKS} to n_clicks, not {self.min_n_clicks}"
            )
        if not self.target_dice > 0:
            raise SettingError("target_dice", f"must be above 0, not {self.target_dice}")
        if not _LEAST_SIZE <= self.size <= _MOST_SIZE:
            raise SettingError("size", f"must be {_LEAST_SIZE} to {_MOST_SIZE}, not {self.size}")
        if not 0 <= self.thresh < 1:
            raise SettingError("thresh", f"must be at least 0 and below 1, not {self.thresh}")
        if not 1 <= self.slice_n_clicks <= MOST_CLICKS:
            said = f"must be 1 to {MOST_CLICKS}, not {self.slice_n_clicks}"
            raise SettingError("slice_n_clicks", said)
        if self.precision not in PRECISIONS:
            raise SettingError("precision", f"must be {', '.join(PRECISIONS)}, not {self.precision}")
        if self.backend not in BACKENDS:
            raise SettingError("backend", f"must be {', '.join(BACKENDS)}, not {self.backend}")
        if self.baseline_voxels < _LEAST_VOXELS:
            raise SettingError(
                "baseline_voxels", f"must be at least {_LEAST_VOXELS}, not {self.baseline_voxels}"
            )

    @property
    def target(self) -> float:
        """The Dice at which clicking stops."""
        return self.target_dice

    @property
    def metric(self) -> str:
        """Volumes are scored by Dice."""
        return "dice"

    @property
    def seeds(self) -> int:
        """The challenge's simulator leaves nothing to chance: there is one user."""
        return 1
