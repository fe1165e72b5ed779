"""Time clicks: the published computation beside each backend, on the same pictures with the same clicks.

All ways are timed in one process, one click of each in turn, so that slow moments hit all alike. What is
reported of each:

- first click: median over the images of ``set_image`` and the first ``click`` together;
- further click: median over clicks 2 to N of all images; clicks/s is 1 over it;
- ratio: the reference's median over this one's; IQR: first to third quartile;
- GMACs: counted multiply-accumulates of a first click (both stages) and of a further one, of one square
  picture without its mirrored one (``isegm.benchmark.macs``);
- peak memory: of a fresh process that loads the network and clicks twice (``isegm.benchmark.memory``);
- largest difference of a probability from the reference's, and mean IoU of the masks with the reference's,
  over all clicks. The masks of untrained networks hardly change with clicks: agreement means something for
  trained ones only.

The reference is ``ReferencePredictor``: float32, eager.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from isegm.benchmark.macs import Macs, network_macs, reference_macs
from isegm.benchmark.memory import peak_megabytes
from isegm.benchmark.timing import REFERENCE, Recording, milliseconds, quartiles, ratio, record
from isegm.benchmark.ways import Image, NetworkSettings, load_segmenter
from isegm.inference.torch_network import InferenceModel
from isegm.model.checkpoint import load_model
from isegm.tables import format_number, text_table

_HEADER = (
    "mode", "first, ms", "IQR", "ratio", "further, ms", "IQR", "ratio", "clicks/s", "GMACs first", "further",
    "peak, MB", "largest difference", "mask IoU",
)  # fmt: skip


def measure_clicks(
    name: str,
    settings: NetworkSettings,
    modes: Sequence[str],
    images: Sequence[Image],
    clicks: int,
    repeats: int,
) -> dict[str, Any]:
    """Measure one network.

    Args:
        name: What it is called.
        settings: How it is run.
        modes: ``reference`` first, then backends.
        images: (H, W, 3) each.
        clicks: On each image.
        repeats: How often an image is set.
    """
    segmenters = {mode: load_segmenter(mode, settings) for mode in modes}
    with tqdm(total=repeats, desc=name, unit="image", leave=False) as bar:
        recordings = record(segmenters, images, clicks, repeats, bar.update)
    del segmenters  # the processes whose memory is measured need the room
    model = load_model(Path(settings.checkpoint), settings.device)
    published, optimised = (
        reference_macs(model, settings.size),
        network_macs(InferenceModel(model), settings.size),
    )
    rows = [
        {
            **click_figures(mode, recordings),
            "gmacs": _gmacs(published if mode == REFERENCE else optimised),
            "peak_mb": peak_megabytes(mode, settings, images[0]),
        }
        for mode in modes
    ]
    return {"name": name, "preset": model.name, "modes": rows}


def click_figures(mode: str, recordings: Mapping[str, Recording]) -> dict[str, Any]:
    """Sum up a mode's recordings, compared with the reference's."""
    own, reference = (
        {"first": milliseconds(r.first), "further": milliseconds(r.further)}
        for r in (recordings[mode], recordings[REFERENCE])
    )
    further = own["further"]["median"]
    return {
        "mode": mode,
        "first_click_ms": own["first"],
        "first_click_ratio": ratio(reference["first"], own["first"]),
        "further_click_ms": own["further"],
        "further_click_ratio": ratio(reference["further"], own["further"]),
        "clicks_per_second": None if further is None else 1000 / further,
        "largest_difference": float(np.max(recordings[mode].differences)),  # NaN if one is
        "mask_iou": sum(recordings[mode].mask_ious) / len(recordings[mode].mask_ious),
    }


def _gmacs(macs: Macs) -> dict[str, float]:
    return {
        "encode": macs.encode / 1e9,
        "correct": macs.correct / 1e9,
        "first_click": (macs.encode + macs.correct) / 1e9,
        "further_click": macs.correct / 1e9,
    }


def format_clicks(result: Mapping[str, Any]) -> str:
    """Lay the figures of one network out as a table."""
    title = result["name"]
    if result["preset"] != title:
        title += f" ({result['preset']})"
    return f"\n{title}\n{text_table(_HEADER, [_row(row) for row in result['modes']])}"


def _row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["mode"],
        f"{row['first_click_ms']['median']:.1f}",
        quartiles(row["first_click_ms"]),
        format_number(row["first_click_ratio"], ".2f", "x"),
        format_number(row["further_click_ms"]["median"], ".1f"),
        quartiles(row["further_click_ms"]),
        format_number(row["further_click_ratio"], ".2f", "x"),
        format_number(row["clicks_per_second"], ".2f"),
        f"{row['gmacs']['first_click']:.2f}",
        f"{row['gmacs']['further_click']:.2f}",
        f"{row['peak_mb']:.0f}",
        f"{row['largest_difference']:.1e}",
        f"{row['mask_iou']:.4f}",
    ]
