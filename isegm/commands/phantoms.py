"""Write generated patients as CT volumes with labels, in the Decathlon's layout.

Three patients, for every tool here to try on::

    isegm phantoms phantoms

More of them, others, and Task06_Lung with the Decathlon's meaning::

    isegm phantoms phantoms_2 --patients=20 --seed=2 --lung=tumour

The same arguments always give the same bytes. docs/phantom.md says what the patients are, and what not.
"""

from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import Parser, command
from isegm.wording import counted

SHAPE = (256, 256, 64)
SPACING_MM = (1.6, 1.6, 5.0)
"""The whole width of a body, at half a scanner's resolution: three patients take seconds."""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("folder", type=Path, help="where Task03_Liver, Task06_Lung and Task09_Spleen are made")
    add("--patients", type=int, default=3, metavar="N", help="how many (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="other patients for another (default: %(default)s)")
    add(
        "--lung",
        choices=("tissue", "tumour"),
        default="tissue",
        help="label 1 of Task06_Lung: all of the lung, or tumour as in the Decathlon (default: %(default)s)",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the patients; the exit status is 0, or 2 if they cannot be written."""
    args = build_parser().parse_args(argv)
    from isegm.phantom.patients import write_decathlon

    tasks = write_decathlon(
        args.folder, args.seed, args.patients, shape=SHAPE, spacing_mm=SPACING_MM, lung=args.lung
    )
    names = ", ".join(task.name for task in tasks.values())
    print(f"{counted(args.patients, 'generated patient')} in {args.folder}: {names}")
    print(f"{'x'.join(map(str, SHAPE))} voxels of {'x'.join(f'{side:g}' for side in SPACING_MM)} mm, in HU")
    return 0
