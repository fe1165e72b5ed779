"""The training samples of a recipe; its crops may grow as pictures are seen."""

from functools import partial

from isegm.training.crops import SampleSettings, TrainingSample, TrainingSamples
from isegm.training.pasting import paste_another
from isegm.training.recipe import Recipe
from isegm.training.regions import take_region
from isegm.training.scenes import Altered, Source


class GrowingSamples:
    """Samples of several sizes: each stage's until so many pictures were seen, then the last one's.

    A step's pictures must be of one size, so a stage ends with a whole batch.

    Args:
        stages: Samples, each with the number of pictures before which it is used.
        last: The samples after all stages.
        batch_size: Pictures a step.
    """

    def __init__(
        self, stages: list[tuple[TrainingSamples, int]], last: TrainingSamples, batch_size: int
    ) -> None:
        self._stages = stages
        self._last = last
        self._batch_size = batch_size

    def __getitem__(self, index: int) -> TrainingSample:
        """Make a sample, as :class:`TrainingSamples` does."""
        first_of_step = index // self._batch_size * self._batch_size
        for samples, end in self._stages:
            if first_of_step < end:
                return samples[index]
        return self._last[index]


def samples_of(recipe: Recipe, source: Source) -> GrowingSamples:
    """The samples of a recipe.

    A part of the crop shows as much of a picture: scales and the least object become smaller with it.
    """

    def samples(part: float) -> TrainingSamples:
        settings = SampleSettings(
            crop=(_side(recipe.crop_height, part), _side(recipe.crop_width, part)),
            shorter_side=recipe.shorter_side,
            scale=(recipe.min_scale * part, recipe.max_scale * part),
            min_object_pixels=max(1, round(recipe.min_object_pixels * part**2)),
            merge_probability=recipe.merge_probability,
            off_centre_probability=recipe.off_centre_probability,
            degraded_share=recipe.degraded_share,
            faint_share=recipe.faint_share,
        )
        return TrainingSamples(scenes, settings, recipe.seed)

    scenes = source
    if recipe.pasted_share:
        scenes = Altered(scenes, partial(paste_another, source, recipe.pasted_share))
    if recipe.region_share:
        scenes = Altered(scenes, partial(take_region, recipe.region_share))
    stages = [(samples(part), end) for part, end in recipe.crop_stages]
    return GrowingSamples(stages, samples(1.0), recipe.batch_size)


def _side(side: int, part: float) -> int:
    """A part of a crop's side, a multiple of 4 as networks want it."""
    return max(32, round(side * part / 4) * 4)
