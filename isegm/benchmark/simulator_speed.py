"""Time the simulated click on masks of 512 x 512, from what a good evaluation meets to what a bad one does.

On one thread, as the evaluation computes it. The first click on each mask is timed: later ones find it as it
was but for the pixels clicked on.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from isegm.benchmark.timing import in_turns, milliseconds
from isegm.simulation.next_click import NextClick
from isegm.tables import text_table

SIDE = 512


def measure_simulator(repeats: int) -> dict[str, dict[str, Any]]:
    """Time the first click on each mask; return the times by the masks' names."""
    cv2.setNumThreads(1)
    spreads = {}
    for name, truth, mask in click_cases():
        simulators = iter([NextClick(truth) for _ in range(repeats + 1)])
        (seconds,) = in_turns([lambda: next(simulators).click(mask)], repeats)  # noqa: B023 - used at once
        spreads[name] = milliseconds(seconds)
    return spreads


def format_simulator(spreads: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay the times out as a table."""
    rows = [
        [name, *(f"{spread[key]:.2f}" for key in ("median", "q1", "q3"))] for name, spread in spreads.items()
    ]
    return text_table(("mask", "median, ms", "quartile", "quartile"), rows)


def click_cases() -> Iterator[tuple[str, npt.NDArray[np.int8], npt.NDArray[np.bool_]]]:
    """Yield names, truths and masks of SIDE x SIDE pixels."""
    rows, cols = np.indices((SIDE, SIDE))
    noise = np.random.default_rng(0).standard_normal(rows.shape).astype(np.float32)
    large = (rows - 256) ** 2 + (cols - 256) ** 2 < 224**2
    small = (rows - 200) ** 2 + (cols - 300) ** 2 < 25**2
    organ = ((rows - 250) / 90) ** 2 + ((cols - 200) / 130) ** 2 < 1
    specks = cv2.GaussianBlur(noise, (0, 0), 1.5) > 0.25
    blobs = cv2.GaussianBlur(noise, (0, 0), 20) > 0
    cases = {
        "nothing yet, object of 60 %": (large, np.zeros_like(large)),
        "all true, small object": (small, np.ones_like(small)),
        "speckles": (organ, organ ^ specks),
        "noise": (organ, noise > 0),
        "organ, off by 3 pixels": (organ, np.roll(organ, (3, 3), (0, 1))),
        "object of 60 %, off by 3 pixels": (large, np.roll(large, (3, 3), (0, 1))),
        "blobs": (organ, blobs),
        "everything wrong": (large, ~large),
    }
    for name, (truth, mask) in cases.items():
        yield name, truth.astype(np.int8), mask
