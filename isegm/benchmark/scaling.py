"""Simulate what many ranks make of the wall time, from the sample times of runs that were really made.

Samples are drawn with replacement from the runs' ``samples.jsonl``; a sample's time is that of all its
clicks. They are handed out one by one, as the evaluation does, or dealt out beforehand, in blocks or every
n-th. What a hand-out and a start cost is measured here, unless it is given.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.benchmark.hand_out import Costs, deal_out, hand_out_one_by_one, ideal_wall
from isegm.benchmark.networks import at_least
from isegm.benchmark.plots import plot_scaling
from isegm.benchmark.store import measure_rate, measure_round_trip
from isegm.benchmark.table import format_table
from isegm.cli import numbers
from isegm.errors import InputError
from isegm.inference.load import BACKENDS
from isegm.storage import read_grey

REQUESTS = 3
"""To the store, a sample: which one is next, which one is begun, and that it is done by how many clicks."""

WAYS = ("one by one", "in blocks", "every n-th")

_STARTS_TIMED = 3


@dataclass(frozen=True)
class Measured:
    """The samples of runs.

    Attributes:
        seconds: Of each sample, all clicks together, (samples,).
        clicks: Of each sample, (samples,).
        pixels: Of each sample's picture, (samples,).
    """

    seconds: npt.NDArray[np.float64]
    clicks: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's arguments."""
    add = parser.add_argument
    add(
        "--run",
        metavar="DIR",
        type=Path,
        action="append",
        required=True,
        help="an evaluation's folder; may be repeated",
    )
    add("--samples", type=int, default=100_000, help="to draw (default: %(default)s)")
    add("--ranks", metavar="A[,B...]", default="1,8,64,512", help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    add(
        "--faster",
        type=float,
        default=1.0,
        help="divide the samples' times, for other hardware (default: %(default)s)",
    )
    add("--start-up", type=float, metavar="SECONDS", help="of a rank (default: measured)")
    add(
        "--round-trip",
        type=float,
        metavar="SECONDS",
        help="of one request to an idle store (default: measured)",
    )
    add(
        "--store-rate",
        type=float,
        metavar="N",
        help="requests that the store serves a second (default: measured)",
    )
    add("--checkpoint", metavar="FILE", type=Path, help="whose loading belongs to the start-up")
    add("--backend", choices=BACKENDS, default="torch", help="what loads it (default: %(default)s)")
    add("--plot", metavar="FILE", type=Path, help="draw efficiency against ranks as a PNG")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, simulate, print the tables and return all figures.

    Raises:
        InputError: An argument or a run cannot be used.
    """
    at_least("--samples", args.samples, 1)
    at_least("--seed", args.seed, 0)
    ranks = sorted(numbers(args.ranks, "--ranks") or [])
    at_least("--ranks", ranks[0], 1)
    for option in ("faster", "start_up", "round_trip", "store_rate"):
        value = getattr(args, option)
        allowed = (
            value is None or (0 < value < math.inf) or (value == 0 and option in ("start_up", "round_trip"))
        )
        if not allowed:
            raise InputError(f"--{option.replace('_', '-')}: must be a number above 0, not {value}")
    if args.plot is not None and args.plot.suffix.lower() != ".png":
        raise InputError(f"--plot: must be a .png file, not {str(args.plot)!a}")
    measured = read_runs(args.run)
    start_up = measure_start_up(args.checkpoint, args.backend) if args.start_up is None else args.start_up
    round_trip = measure_round_trip() if args.round_trip is None else args.round_trip
    rate = measure_rate() if args.store_rate is None else args.store_rate
    costs = costs_of(start_up, round_trip, rate)
    rows = simulate(measured, ranks, costs, samples=args.samples, seed=args.seed, faster=args.faster)
    result = {
        "settings": {
            "runs": [str(path) for path in args.run],
            "samples": args.samples,
            "ranks": ranks,
            "seed": args.seed,
            "faster": args.faster,
        },
        "measured": {
            "samples": len(measured.seconds),
            "seconds": _spread(measured.seconds),
            "clicks": _spread(measured.clicks),
            "pixels": _spread(measured.pixels),
        },
        "store": {
            "round_trip_seconds": round_trip,
            "requests_per_second": rate,
            "requests_a_sample": REQUESTS,
        },
        "costs": asdict(costs),
        "rows": rows,
    }
    print(format_result(result), flush=True)  # noqa: T201 - the tables are what was asked for
    if args.plot is not None:
        plot_scaling(args.plot, result)
    return result


def costs_of(start_up: float, round_trip: float, rate: float) -> Costs:
    """What a run costs, from seconds and requests a second.

    A rank waits for one request after the other. For each the store is taken for its share of a second in
    which many processes ask as fast as they can; if an idle one takes longer to answer, the rest is the way.
    """
    service = 1 / rate
    latency = max(0.0, round_trip - service)
    return Costs(start_up=start_up, service=REQUESTS * service, latency=REQUESTS * latency)


def simulate(
    measured: Measured, ranks: Sequence[int], costs: Costs, *, samples: int, seed: int, faster: float = 1.0
) -> list[dict[str, Any]]:
    """Simulate every scenario, number of ranks and way of giving out samples.

    Args:
        measured: What samples are drawn from.
        ranks: How many there may be.
        costs: What a run costs beside its samples.
        samples: How many are drawn.
        seed: Of the draw; the same samples are used throughout.
        faster: By what samples' times are divided.

    Returns:
        A row for each: seconds of wall time, efficiency (the ideal wall time as a part of it), the largest
        share that a rank was idle, and the share of the time for which the store was taken.
    """
    drawn = np.random.default_rng(seed).integers(len(measured.seconds), size=samples)
    seconds = measured.seconds[drawn] / faster
    by_size = np.argsort(measured.pixels[drawn], kind="stable")
    by_clicks = np.argsort(measured.clicks[drawn], kind="stable")
    rows = []
    for count in ranks:
        alike = [1.0] * count
        scenarios = {
            "all alike": (seconds, alike),
            "one rank at half speed": (seconds, [0.5, *alike[1:]]),
            "sorted by size": (seconds[by_size], alike),
            "sorted by clicks": (seconds[by_clicks], alike),
        }
        for scenario, (work, speeds) in scenarios.items():
            outcomes = (
                hand_out_one_by_one(work, speeds, costs),
                deal_out(work, speeds, costs, in_blocks=True),
                deal_out(work, speeds, costs, in_blocks=False),
            )
            for way, outcome in zip(WAYS, outcomes, strict=True):
                asked = samples if way == WAYS[0] else 0
                row = {
                    "wall_seconds": outcome.wall,
                    "efficiency": ideal_wall(work, speeds) / outcome.wall,
                    "worst_idle": outcome.worst_idle,
                    "store_busy": asked * costs.service / outcome.wall,
                }
                rows.append({"scenario": scenario, "ranks": count, "way": way, **row})
    return rows


def read_runs(folders: Sequence[Path]) -> Measured:
    """Read the samples of runs: ``samples.jsonl``, and the sizes of the masks in ``predictions/``.

    Raises:
        InputError: A file is missing or damaged, or the runs together have taken no time.
    """
    lines = [line for folder in folders for line in _read_run(folder)]
    seconds, clicks, pixels = zip(*lines, strict=True) if lines else ((), (), ())
    if not sum(seconds) > 0:
        raise InputError(f"{folders[0] / 'samples.jsonl'}: has no sample that took time; give another --run")
    return Measured(np.array(seconds, np.float64), np.array(clicks, np.int64), np.array(pixels, np.int64))


def _read_run(folder: Path) -> list[tuple[float, int, int]]:
    """Seconds, clicks and pixels of a run's samples."""
    path = folder / "samples.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; --run takes the --logs-path of an evaluation") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text; is it the file that an evaluation wrote?") from None
    return [_read_line(f"{path}: line {number}", line, folder) for number, line in enumerate(lines, 1)]


def _read_line(where: str, line: str, folder: Path) -> tuple[float, int, int]:
    try:
        entry = json.loads(line)
        seconds = math.fsum(float(part) for part in entry["seconds"])
        clicks = len(entry["clicks"])
        seed = [f"seed_{entry['seed']}"] if "seed" in entry else []
        places = [Path(*parts, *seed) for parts in ([entry["dataset"]], [entry["model"], entry["dataset"]])]
        name = f"{entry['name']}.png"
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise InputError(f"{where}: not a sample's line; is it the file that an evaluation wrote?") from None
    if not 0 <= seconds < math.inf:
        raise InputError(f"{where}: {seconds} is no number of seconds; evaluate anew")
    masks = [folder / "predictions" / place / name for place in places]
    mask = next((mask for mask in masks if mask.is_file()), masks[0])
    return seconds, clicks, read_grey(mask).size


def measure_start_up(checkpoint: Path | None, backend: str) -> float:
    """Seconds that a new process takes to import the evaluation and to load a network: the median of three.

    Raises:
        InputError: The network cannot be loaded.
    """
    code = (
        "import sys; from pathlib import Path; import isegm.evaluation.evaluate; "
        "from isegm.inference.load import load_network"
    )
    if checkpoint is not None:
        code += "; load_network(Path(sys.argv[1]), backend=sys.argv[2], threads=1)"
    folder = Path(__file__).resolve().parents[2]
    seconds = []
    for _ in range(_STARTS_TIMED):
        started = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - this Python
            [sys.executable, "-c", code, str(checkpoint and checkpoint.resolve()), backend],
            cwd=folder, check=False, capture_output=True, text=True,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(f"--checkpoint: {checkpoint} could not be loaded to time it: {reason}")
    return float(np.median(seconds))


def _spread(values: npt.NDArray[Any]) -> dict[str, float]:
    least, median, most = np.percentile(values, (0, 50, 100)).tolist()
    return {"mean": float(values.mean()), "min": least, "median": median, "max": most}


def format_result(result: Mapping[str, Any]) -> str:
    """What was measured, and a table a scenario."""
    measured, costs, store = result["measured"], result["costs"], result["store"]
    seconds, clicks = measured["seconds"], measured["clicks"]
    texts = [
        f"{measured['samples']} measured samples: {seconds['mean']:.2f} s on average (median "
        f"{seconds['median']:.2f}, at most {seconds['max']:.2f}), {clicks['mean']:.1f} clicks\n"
        f"start-up {costs['start_up']:.1f} s; store: {store['round_trip_seconds'] * 1e6:.0f} us a request, "
        f"{store['requests_per_second']:.0f} requests/s, {REQUESTS} a sample"
    ]
    header = ["ranks", "given out", "wall, s", "efficiency", "worst idle", "store busy"]
    for scenario in dict.fromkeys(row["scenario"] for row in result["rows"]):
        rows = [
            [
                str(row["ranks"]),
                row["way"],
                f"{row['wall_seconds']:.1f}",
                f"{row['efficiency']:.1%}",
                f"{row['worst_idle']:.1%}",
                f"{row['store_busy']:.2%}" if row["way"] == WAYS[0] else "-",
            ]
            for row in result["rows"]
            if row["scenario"] == scenario
        ]
        texts.append(f"{scenario}\n{format_table(header, rows)}")
    return "\n" + "\n\n".join(texts)
