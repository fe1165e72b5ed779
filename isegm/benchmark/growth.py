"""Time how cost grows: with clicks, sizes, pictures at once, threads and processes.

- Clicks: a further click, where so many clicks have been placed already.
- Sizes: a first and a further click by pixels of the network input's shorter side.
- Views: each stage on several pictures in one call, by time a picture. A click that is averaged with the
  mirrored picture's takes two. The backends only: the reference has no such call.
- Threads: a first and a further click by one process with so many threads.
- Processes: further clicks a second of so many processes together, each with one thread.

The reference and the backends are timed in turns, as by ``network``; times are medians over the repeats.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import torch
from tqdm import tqdm

from isegm.benchmark.timing import Recording, milliseconds, random_clicks, record
from isegm.benchmark.ways import Image, NetworkSettings, load_backend, load_segmenter
from isegm.geometry import Click
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import EMCClick
from isegm.tables import format_number, text_table

FURTHER_CLICKS = 5
"""Further clicks that are timed on an image where their number is not the question."""

START_SECONDS = 600
"""How long processes that start together wait for the slowest to be ready."""

_CLICK_TIMES = {"first_click_ms": "first click, ms", "further_click_ms": "further click, ms"}
_PARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("clicks", "clicks", {"further_click_ms": "further click, ms"}),
    ("sizes", "size", _CLICK_TIMES),
    ("views", "views", {"encode_ms": "first stage, ms a view", "correct_ms": "correction head, ms a view"}),
    ("threads", "threads", _CLICK_TIMES),
    ("processes", "processes", {"clicks_per_second": "further clicks/s, all together"}),
)
"""Of each part of a result: its name, what varies in it, and its columns with their headings."""

_Row = dict[str, Any]
_Step = Callable[[], object]
"""Called after each point of a curve."""


def measure_growth(
    name: str,
    settings: NetworkSettings,
    modes: Sequence[str],
    images: Sequence[Image],
    repeats: int,
    *,
    clicks: Sequence[int],
    sizes: Sequence[int],
    views: Sequence[int],
) -> dict[str, Any]:
    """Measure all of it of one network.

    Args:
        name: What it is called.
        settings: How it is run.
        modes: ``reference`` first, then backends.
        images: (H, W, 3) each.
        repeats: How often an image is set, for each point.
        clicks: Numbers of clicks that are placed before the one that is timed.
        sizes: Pixels of the input's shorter side.
        views: Numbers of pictures in one call.
    """
    counts = _up_to(settings.threads)
    steps = 1 + len(sizes) + len(views) + 2 * len(counts)
    with tqdm(total=steps, desc=name, unit="step", leave=False) as bar:
        step = bar.update
        parts = {
            "clicks": by_clicks(modes, settings, images, clicks, repeats, step),
            "sizes": by_size(modes, settings, images, sizes, repeats, step),
            "views": by_views(modes[1:], settings, views, repeats, step),
            "threads": by_threads(modes, settings, images, counts, repeats, step),
            "processes": by_processes(modes, settings, images[0], counts, repeats, step),
        }
    return {"settings": {**settings.shared(), "repeats": repeats}, "name": name, **parts}


def _up_to(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return sorted({*counts, most})


def by_clicks(
    modes: Sequence[str],
    settings: NetworkSettings,
    images: Sequence[Image],
    counts: Sequence[int],
    repeats: int,
    step: _Step,
) -> list[_Row]:
    """Time the further click that follows each number of clicks."""
    segmenters = {mode: load_segmenter(mode, settings) for mode in modes}
    recordings = record(segmenters, images, max(counts) + 1, repeats)
    step()
    return [
        {
            "mode": mode,
            "clicks": count,
            "further_click_ms": milliseconds([row[count] for row in recordings[mode].seconds]),
        }
        for count in counts
        for mode in modes
    ]


def by_size(
    modes: Sequence[str],
    settings: NetworkSettings,
    images: Sequence[Image],
    sizes: Sequence[int],
    repeats: int,
    step: _Step,
) -> list[_Row]:
    """Time clicks by pixels of the input's shorter side."""
    return [
        {"mode": mode, "size": size, **times}
        for size in sizes
        for mode, times in _click_times(modes, replace(settings, size=size), images, repeats, step).items()
    ]


def by_threads(
    modes: Sequence[str],
    settings: NetworkSettings,
    images: Sequence[Image],
    counts: Sequence[int],
    repeats: int,
    step: _Step,
) -> list[_Row]:
    """Time clicks by the threads that one may use."""
    rows = [
        {"mode": mode, "threads": count, **times}
        for count in counts
        for mode, times in _click_times(
            modes, replace(settings, threads=count), images, repeats, step
        ).items()
    ]
    torch.set_num_threads(settings.threads)
    return rows


def _click_times(
    modes: Sequence[str], settings: NetworkSettings, images: Sequence[Image], repeats: int, step: _Step
) -> dict[str, _Row]:
    segmenters = {mode: load_segmenter(mode, settings) for mode in modes}
    recordings = record(segmenters, images, 1 + FURTHER_CLICKS, repeats)
    step()
    return {mode: _times(recording) for mode, recording in recordings.items()}


def _times(recording: Recording) -> _Row:
    return {
        "first_click_ms": milliseconds(recording.first),
        "further_click_ms": milliseconds(recording.further),
    }


@torch.inference_mode()
def by_views(
    backends: Sequence[str], settings: NetworkSettings, counts: Sequence[int], repeats: int, step: _Step
) -> list[_Row]:
    """Time each stage on so many square pictures in one call; the times are of one picture."""
    networks = {backend: load_backend(backend, settings) for backend in backends}
    rows = []
    for count in counts:
        seconds: dict[str, dict[str, list[float]]] = {b: {"encode": [], "correct": []} for b in backends}
        for repeat in range(1 + repeats):
            for backend, network in networks.items():
                generator = torch.Generator().manual_seed(0)
                image = torch.rand(1, 3, settings.size, settings.size, generator=generator)
                image = EMCClick.normalise(image).to(network.device, network.dtype).repeat(count, 1, 1, 1)
                click = Click(settings.size / 2, settings.size / 2, True)
                exact = torch.promote_types(network.dtype, torch.float32)
                points = encode_clicks([click]).to(network.device, exact).repeat(count, 1, 1)
                started = _now(network.device)
                encoded = network.encode(image, points)
                between = _now(network.device)
                network.correct(points, encoded, encoded.coarse)
                if repeat > 0:  # the first is to warm up
                    seconds[backend]["encode"].append((between - started) / count)
                    seconds[backend]["correct"].append((_now(network.device) - between) / count)
        rows += [
            {
                "mode": backend,
                "views": count,
                "encode_ms": milliseconds(seconds[backend]["encode"]),
                "correct_ms": milliseconds(seconds[backend]["correct"]),
            }
            for backend in backends
        ]
        step()
    return rows


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def by_processes(
    modes: Sequence[str],
    settings: NetworkSettings,
    image: Image,
    counts: Sequence[int],
    repeats: int,
    step: _Step,
) -> list[_Row]:
    """Count the further clicks a second of so many processes together, each with one thread."""
    rows = []
    for count in counts:
        for mode in modes:
            rate = _rate_together(mode, replace(settings, threads=1), image, count, FURTHER_CLICKS * repeats)
            rows.append({"mode": mode, "processes": count, "clicks_per_second": rate})
        step()
    return rows


def _rate_together(mode: str, settings: NetworkSettings, image: Image, count: int, clicks: int) -> float:
    context = multiprocessing.get_context("spawn")  # forked processes cannot use torch's threads, or a GPU
    start = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _wait_for, (start,)) as pool:
        jobs = [pool.submit(_rate, mode, settings, image, clicks) for _ in range(count)]
        return sum(job.result() for job in jobs)


_start: Barrier


def _wait_for(start: Barrier) -> None:
    """Keep, in a new process, what it waits for before it is timed."""
    global _start
    _start = start


def _rate(mode: str, settings: NetworkSettings, image: Image, count: int) -> float:
    """Clicks a second of this process, timed once all others are ready, too."""
    segmenter = load_segmenter(mode, settings)
    segmenter.set_image(image)
    clicks = random_clicks(image.shape[:2], 2 + count)
    for number, click in enumerate(clicks):
        if number == 2:
            _start.wait(START_SECONDS)
            started = time.perf_counter()
        segmenter.click(click.row, click.col, click.positive)
    return count / (time.perf_counter() - started)


def format_growth(result: Mapping[str, Any]) -> str:
    """Lay the figures of one network out as tables, one for each part."""
    texts = [result["name"]]
    for part, x, columns in _PARTS:
        rows = [
            [row["mode"], str(row[x]), *(_shown(row[column]) for column in columns)] for row in result[part]
        ]
        texts.append(text_table(["mode", x, *columns.values()], rows))
    return "\n" + "\n\n".join(texts)


def _shown(value: float | _Row) -> str:
    return format_number(value["median"] if isinstance(value, dict) else value, ".2f")
