"""Pictures of what a network makes of some training samples."""

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import torch

from isegm.datasets.sample import Sample
from isegm.evaluation.click_loop import final_scores
from isegm.evaluation.drawing import Picture, draw_result
from isegm.evaluation.record import SampleResult
from isegm.model.emc_click import EMCClick, EMCClickState
from isegm.training.crops import TrainingSample
from isegm.training.step import THRESHOLD, Batch, simulate_clicks, stack_clicks

_EXTRA_CLICKS = 3
_COLUMNS = 2


@torch.no_grad()
def draw_training(model: EMCClick, samples: Sequence[TrainingSample], pool: Executor) -> Picture:
    """Draw training pictures side by side, as results of the evaluation are drawn.

    Four clicks are placed as in training; shown is the corrected mask after the last of them.

    Args:
        model: The network; it is left in evaluation mode.
        samples: One or more, of one size.
        pool: As for :func:`isegm.training.step.simulate_clicks`.

    Returns:
        (H, W, 3) RGB: two pictures a row, black where there is none.
    """
    model.eval()
    batch = Batch.of(samples, next(model.parameters()).device)
    rngs = [np.random.default_rng(number) for number in range(len(samples))]
    clicks, previous = simulate_clicks(model, batch, _EXTRA_CLICKS, rngs, pool)
    assert previous is not None  # noqa: S101 - there were extra clicks
    points = stack_clicks(clicks, batch.image.device)
    first = model.encode(model.normalise(batch.image), points)
    output = model(batch.image, points, EMCClickState(first.features, previous))
    masks = (output.corrected.sigmoid() > THRESHOLD)[:, 0].cpu().numpy()
    pictures = [
        draw_result(
            Sample("", sample.image, sample.label, None),
            mask,
            SampleResult("", tuple(placed), (), (), final_scores(mask, sample.label)),
        )
        for sample, mask, placed in zip(samples, masks, clicks, strict=True)
    ]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % _COLUMNS)
    rows = [np.concatenate(pictures[i : i + _COLUMNS], axis=1) for i in range(0, len(pictures), _COLUMNS)]
    return np.concatenate(rows)
