"""The recipes: each a function that returns its settings, any of which a flag can override."""

import dataclasses
from collections.abc import Callable
from functools import partial

from isegm.model import PUBLISHED
from isegm.training.recipe import Recipe

COCO_LVIS = (
    "coco:datasets/COCO/annotations/instances_train2017.json:images=datasets/COCO/train2017",
    "lvis:datasets/LVIS/lvis_v1_train.json:images=datasets/COCO",
)


def published(preset: str) -> Recipe:
    """EMC-Click as published: COCO and LVIS, 230 epochs of 30,000 pictures, Adam at 8e-4.

    It starts from ImageNet weights of the backbone, which ``--pretrained`` names.
    """
    return Recipe(preset=preset, sources=COCO_LVIS)


def ct() -> Recipe:
    """Generated CT slices, trained from nothing: no files are needed. Real data join by ``--sources``.

    Against the published recipe: square crops as large as the evaluation's input, small objects too and a
    wider range of sizes, at most 20 clicks as in the evaluation and a loss after each of them, the whole
    network at one learning rate (there is nothing pretrained to spare), a cosine schedule with warm-up,
    clipped gradients, averaged weights.
    """
    return Recipe(
        preset="hr18s",
        sources=("phantom",),
        crop_height=384,
        crop_width=384,
        min_scale=0.6,
        max_scale=2.0,
        min_object_pixels=100,
        max_extra_clicks=19,
        click_decay=0.85,
        loss_after="every",
        epochs=40,
        learning_rate=5e-4,
        backbone_multiplier=1.0,
        schedule="cosine",
        warmup_steps=500,
        clip_norm=1.0,
        ema_decay=0.999,
    )


def lite0() -> Recipe:
    """The light network from its ImageNet weights, on few CPU cores: it may be stopped at any time.

    The learning rate is constant and the weights are averaged, so that nobody has to know beforehand for how
    long; ``cool-down`` makes a release of what came of it. Crops begin at half of the evaluation's size. Of
    the clicks three are graded, whatever their number, so that there can be many; half of them are the
    evaluation's. A part of the pictures begins with a faulty mask, as volumes do with a neighbouring slice's,
    and a part is blurred, noisy, coarse or compressed; in a fifth the object hardly shows, so that clicks
    alone have to tell what it is. Into a third an object of another picture is pasted, and in an eighth the
    object is a region that nobody labelled. Real CT and photographs join by ``--sources``.
    """
    return Recipe(
        preset="lite0",
        sources=("phantom",),
        crop_height=384,
        crop_width=384,
        first_crops=("0.5:30000", "0.667:80000"),
        shorter_side=384,
        min_scale=0.75,
        max_scale=1.35,
        min_object_pixels=25,
        merge_probability=0.03,
        off_centre_probability=0.3,
        previous_mask_share=0.25,
        pasted_share=0.35,
        region_share=0.12,
        degraded_share=0.25,
        faint_share=0.2,
        max_extra_clicks=19,
        click_decay=0.82,
        deepest_share=0.5,
        loss_after="some",
        soft_iou_weight=1.0,
        clicked_weight=0.3,
        worse_weight=1.0,
        batch_size=16,
        epochs=1000,
        epoch_samples=4000,
        learning_rate=8e-4,
        backbone_multiplier=0.1,
        schedule="constant",
        warmup_steps=100,
        clip_norm=2.0,
        ema_decay=0.999,
        precision="bfloat16",
    )


def cool_down() -> Recipe:
    """The end of ``lite0``: from its checkpoint (``--pretrained``) to weights to release, cosine to 0."""
    return dataclasses.replace(
        lite0(), first_crops=(), epochs=5, learning_rate=4e-4, schedule="cosine", warmup_steps=50
    )


def fine_tune() -> Recipe:
    """A few epochs on a folder of yours, from a checkpoint (``--pretrained``): ``ct``, but gently.

    Its network is that of the weights that come with the project.
    """
    return dataclasses.replace(
        ct(),
        preset="lite0",
        sources=("folder:datasets/liver",),
        shorter_side=384,
        min_scale=0.75,
        max_scale=1.5,
        batch_size=8,
        epochs=10,
        epoch_samples=400,
        learning_rate=1e-4,
        warmup_steps=20,
        ema_decay=0.98,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    **{name: partial(published, name) for name in PUBLISHED},
    "ct": ct,
    "lite0": lite0,
    "cool-down": cool_down,
    "fine-tune": fine_tune,
}
