"""Write a checkpoint as float16: half the size, for passing on.

::

    isegm shrink experiments/ct/checkpoints/best.pth weights/mine.pth

Networks are loaded as float32 whatever they are stored as. Beside the weights the file keeps what training
wrote of their making.
"""

from collections.abc import Sequence
from pathlib import Path

from isegm.commands.command_line import Parser, command
from isegm.errors import InputError


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the file to read")
    parser.add_argument("output", type=Path, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace the output if it is there")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; the exit status is 0, or 2 if that cannot be done."""
    args = build_parser().parse_args(argv)
    import torch

    from isegm.model.checkpoint import load_model, read_metadata, save_checkpoint
    from isegm.storage import sha256

    if args.output.exists() and not args.force:
        raise InputError(f"{args.output}: exists already; name another file, or --force to replace it")
    model = load_model(args.checkpoint)
    save_checkpoint(args.output, model, read_metadata(args.checkpoint), torch.float16)
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {model.name}, {size:.1f} MB, SHA-256 {sha256(args.output)}")
    return 0
