"""The settings of a training run, in one typed place."""

import math
from dataclasses import dataclass, fields

from isegm.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run. The defaults are the published ones; each is also a flag."""

    preset: str
    """Which network: hr18s, hr18, hr32, segb0, segb3 or lite0."""
    sources: tuple[str, ...]
    """Where training pictures come from, mixed by weight (docs/training.md has the grammar)."""
    seed: int = 0
    """Everything random follows from it and from the number of the sample or step."""

    crop_height: int = 320
    """Pixels of a training picture; a multiple of 4."""
    crop_width: int = 480
    """Pixels of a training picture; a multiple of 4."""
    first_crops: tuple[str, ...] = ()
    """Smaller ones to begin with, ``PART:PICTURES``: that part of each side until so many were seen."""
    shorter_side: int = 0
    """Pixels to which a picture's shorter side is resized first, as the evaluation does; 0 leaves it."""
    min_scale: float = 0.75
    """Pictures are then resized by a random factor from this ..."""
    max_scale: float = 1.40
    """... to this, before they are cropped."""
    min_object_pixels: int = 1000
    """Smaller objects (after the crop) are not trained on."""
    merge_probability: float = 0.15
    """How often two objects of a picture are taken as one."""
    off_centre_probability: float = 0.0
    """How often the first click may be anywhere in the object, not in its inner part only."""
    previous_mask_share: float = 0.0
    """Part of the pictures that begin with a faulty mask; not with ``loss_after`` the last click alone."""
    pasted_share: float = 0.0
    """Part of the pictures into which an object of another one is pasted, before they are cropped."""
    region_share: float = 0.0
    """Part of the pictures whose object is a region that nobody labelled: its edges bound it."""
    degraded_share: float = 0.0
    """Part of the pictures that are blurred, made noisy or coarse, or compressed as a JPEG."""
    faint_share: float = 0.0
    """Part of the pictures in which the object hardly shows: flat, all black or white, or without an edge."""

    max_extra_clicks: int = 23
    """The number of clicks after the first is drawn from 0 to this ..."""
    click_decay: float = 0.8
    """... with a probability proportional to this to its power."""
    deepest_share: float = 0.0
    """Part of the further clicks that lie in the middle of the largest error, as the evaluation's do; not
    with ``loss_after`` the last click alone."""
    loss_after: str = "last"
    """After which clicks the corrected mask's loss is taken: the ``last`` (published), ``every`` one, or
    ``some``: the first, the last and one between."""
    soft_iou_weight: float = 0.0
    """Weight of the masks' soft IoU loss beside the focal loss."""
    clicked_weight: float = 0.0
    """What cross-entropy around the clicks counts."""
    worse_weight: float = 0.0
    """What it counts if a mask's soft IoU is worse than that of the best mask before."""

    batch_size: int = 32
    """Pictures an optimiser step, over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts in which a process works through its share of a batch."""
    epochs: int = 230
    """Epochs in all."""
    epoch_samples: int = 30_000
    """Pictures an epoch."""
    learning_rate: float = 8e-4
    """Adam's, after the warm-up."""
    backbone_multiplier: float = 0.1
    """Learning rate of the first stage (its OCR layers excepted) as a part of the whole."""
    schedule: str = "milestones"
    """``milestones`` (x 0.1 at each), ``cosine`` (down to 0), or ``constant``."""
    milestones: tuple[int, ...] = (200, 220)
    """Epochs after which the learning rate is divided by 10."""
    warmup_steps: int = 0
    """Optimiser steps over which the learning rate rises linearly from 0."""
    clip_norm: float = 0.0
    """The gradient's norm is cut down to this; 0 leaves it."""
    ema_decay: float = 0.0
    """Decay of the averaged weights that are validated and saved; 0 takes the weights themselves."""
    precision: str = "float32"
    """``float32``; ``tf32`` on GPUs that can; ``bfloat16`` for autocast."""
    pretrained: str = ""
    """ImageNet weights of the backbone (its released file), or a checkpoint to fine-tune."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: A field is out of its range.
        """
        from isegm.model.build import PRESETS  # here, because a command line's help is not to wait for torch

        for field in fields(self):
            if isinstance(value := getattr(self, field.name), float):
                _require(math.isfinite(value), field.name, value, "finite")
        _require(self.preset in PRESETS, "preset", self.preset, f"one of {', '.join(PRESETS)}")
        _require(bool(self.sources), "sources", "none", "at least one source")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        for name in ("crop_height", "crop_width"):
            side = getattr(self, name)
            _require(side >= 32 and side % 4 == 0, name, side, "a multiple of 4, at least 32")
        scales = f"{self.min_scale} to {self.max_scale}"
        _require(0 < self.min_scale <= self.max_scale, "min_scale", scales, "above 0 and at most max_scale")
        for name in ("min_object_pixels", "batch_size", "accumulate", "epochs", "epoch_samples"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        area, least = self.crop_height * self.crop_width, self.min_object_pixels
        _require(least <= area, "min_object_pixels", least, f"at most {area}, the crop's pixels")
        weights = ("soft_iou_weight", "clicked_weight", "worse_weight")
        for name in ("shorter_side", "max_extra_clicks", "warmup_steps", "clip_norm", *weights):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _require(self.max_extra_clicks <= 23, "max_extra_clicks", self.max_extra_clicks, "at most 23")
        shares = (
            "previous_mask_share",
            "pasted_share",
            "region_share",
            "degraded_share",
            "faint_share",
            "deepest_share",
        )
        for name in ("merge_probability", "off_centre_probability", *shares):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        _require(0 < self.click_decay <= 1, "click_decay", self.click_decay, "above 0 and at most 1")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _require(self.backbone_multiplier >= 0, "backbone_multiplier", self.backbone_multiplier, "at least 0")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "0 or more and below 1")
        schedules, precisions = ("milestones", "cosine", "constant"), ("float32", "tf32", "bfloat16")
        _require(self.schedule in schedules, "schedule", self.schedule, " or ".join(schedules))
        graded = ("last", "every", "some")
        _require(self.loss_after in graded, "loss_after", self.loss_after, " or ".join(graded))
        for name in ("previous_mask_share", "deepest_share"):
            share = getattr(self, name)
            _require(self.loss_after != "last" or not share, name, share, "0 where loss_after is last")
        _ = self.crop_stages
        _require(self.precision in precisions, "precision", self.precision, " or ".join(precisions))

    @property
    def crop_stages(self) -> tuple[tuple[float, int], ...]:
        """Parts of the crop's sides, each with the number of pictures before which it is used.

        They grow, and end before the whole crop.

        Raises:
            InputError: ``first_crops`` is not written so.
        """
        stages: list[tuple[float, int]] = []
        for text in self.first_crops:
            part, _, pictures = text.partition(":")
            try:
                stage = (float(part), int(pictures))
            except ValueError:
                stage = (0.0, 0)
            before = stages[-1] if stages else (0.0, 0)
            _require(
                before[0] < stage[0] < 1 and before[1] < stage[1],
                "first_crops",
                text,
                "PART:PICTURES, a part of the crop below 1 and a number of pictures that grow: 0.5:30000",
            )
            stages.append(stage)
        return tuple(stages)

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps an epoch: its whole batches, at least one."""
        return max(1, self.epoch_samples // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.epoch_steps


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise SettingError(name, f"must be {wanted}, not {value}")
