"""Measure speed, cost and agreement; the last line printed is everything measured, as JSON.

Clicks, as published and by each installed backend, on the same pictures::

    python scripts/benchmark.py network --presets=hr18s,hr32
    python scripts/benchmark.py network --checkpoint=weights/emcclick_ct_hr18s.pth --images slices/images

The evaluation of a data set of config.yml, as published and as it is done here::

    python scripts/benchmark.py evaluation --datasets=GrabCut --limit=20

How cost grows with clicks, sizes, batches, threads and processes::

    python scripts/benchmark.py growth --presets=hr32 --plot=growth.png

The simulated click, and the CT tools against reading and writing alone::

    python scripts/benchmark.py clicks
    python scripts/benchmark.py ct Task09_Spleen/labelsTr spleen
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that it runs without being installed

from isegm.benchmark import click_speed, ct_speed, evaluation_speed, growth, simulator_speed  # noqa: E402
from isegm.benchmark.hardware import describe_hardware, describe_versions, format_hardware  # noqa: E402
from isegm.cli import Parser, command  # noqa: E402

BENCHMARKS = {
    "network": click_speed,
    "evaluation": evaluation_speed,
    "growth": growth,
    "clicks": simulator_speed,
    "ct": ct_speed,
}
"""Modules by subcommand; isegm/benchmark says what each has. The first is the default."""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, module in BENCHMARKS.items():
        about = (module.__doc__ or "").partition("\n")[0]
        module.add_arguments(subparsers.add_parser(name, help=about, description=about, allow_abbrev=False))
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark; the exit status is 0, or 2 if it cannot be done."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, next(iter(BENCHMARKS)))
    args = build_parser().parse_args(words)
    hardware, versions = describe_hardware(), describe_versions()
    print(format_hardware(hardware, versions), flush=True)
    result = BENCHMARKS[args.what].run(args)
    print(json.dumps({"benchmark": args.what, "hardware": hardware, "versions": versions, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
