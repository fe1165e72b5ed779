"""Train or fine-tune a click-segmentation network.

From generated CT slices alone, no files needed::

    isegm train ct --folder=experiments/ct --validate=liver

Fine-tuning on a folder with images/ and masks/, or on NIfTI volumes::

    isegm train fine-tune --pretrained=weights/emcclick_ct_lite0.pth --folder=experiments/mine \
        --sources folder:datasets/mine nifti:Task09_Spleen:organ=spleen@2 --validate=datasets/mine_held_out

As published, on eight GPUs::

    torchrun --nproc_per_node=8 scripts/train.py hr32 --folder=experiments/hr32 \
        --pretrained=hrnetv2_w32_imagenet_pretrained.pth --precision=bfloat16

Every setting of a recipe is a flag (--help). A run that was interrupted goes on with the same command and
--resume. docs/training.md explains recipes, sources and files.
"""

import argparse
import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from isegm._version import __version__
from isegm.commands.command_line import Parser, command, numbers, print_line
from isegm.commands.places import CHECKOUT, find_config
from isegm.datasets import Dataset, open_dataset, open_folder
from isegm.distributed import choose_device, join_processes, launched_as
from isegm.errors import InputError
from isegm.evaluation.protocol import EVAL_MODES, Protocol
from isegm.training.recipe import Recipe
from isegm.training.recipes import RECIPES
from isegm.wording import names

CACHE_SECONDS = 86400.0
"""How long the other processes wait for the first one to make the cache of volumes."""


def build_parser() -> Parser:
    """The command line: the recipe, where and how to run it, and every setting of a recipe."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", choices=list(RECIPES), help="the settings to begin with")

    add = parser.add_argument_group("the run").add_argument
    add("--folder", type=Path, required=True, help="checkpoints, logs and the state to resume from")
    add("--resume", action="store_true", help="go on with the run that is in --folder")
    add("--validate", metavar="A[,B...]", default="", help="held-out folders, or data sets of config.yml")
    add("--eval-mode", default=Protocol.eval_mode, help=f"of the validation: {EVAL_MODES}")
    add("--n-clicks", type=int, default=Protocol.n_clicks, help="of the validation, at most")
    add("--validate-every", type=int, default=1, metavar="N", help="in epochs (default: %(default)s)")
    add("--save-every", type=int, default=500, metavar="N", help="in steps (default: %(default)s)")
    add("--log-every", type=int, default=20, metavar="N", help="in steps (default: %(default)s)")
    add("--workers", type=int, help="processes that load pictures (default: by the cores given)")
    add("--tensorboard", action="store_true", help="log for TensorBoard as well")
    add("--cache", type=Path, help="where sources keep what takes long to make (default: cache/ in --folder)")
    add("--config-path", type=Path, help="where data sets are (default: ./config.yml, else the repository's)")
    add("--gpus", metavar="0[,1...]", help="GPUs of this node to use, one a process")
    add("--cpu", action="store_true", help="use the CPU even if there are GPUs")

    group = parser.add_argument_group("the recipe's settings (docs/training.md; defaults: the recipe's own)")
    types = get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        kind = types[field.name]
        many: dict[str, Any] = {}
        if get_origin(kind) is tuple:
            many, kind = {"nargs": "+"}, kind.__args__[0]
        group.add_argument(f"--{field.name.replace('_', '-')}", type=kind, metavar="X", **many)
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train; the exit status is 0, or 2 if training cannot start or go on."""
    args = build_parser().parse_args(argv)
    import torch

    from isegm.model.build import PRESETS, build_model
    from isegm.model.pretrained import load_pretrained
    from isegm.training.samples import samples_of
    from isegm.training.sources import open_mixture
    from isegm.training.state import STATE_FILE
    from isegm.training.trained_windows import windows_of_sources
    from isegm.training.trainer import Trainer, TrainingRun

    recipe = read_recipe(args)
    rank, _, local_rank, local_size = launched_as()
    device, warning = choose_device(
        numbers(args.gpus, "--gpus"), cpu=args.cpu, local_rank=local_rank, local_size=local_size
    )
    if warning and rank == 0:
        print_line(f"warning: {warning}")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not args.resume and (args.folder / STATE_FILE).exists():
        raise InputError(f"{args.folder}: holds a run already; --resume goes on with it, or name another")
    run = TrainingRun(
        folder=args.folder,
        validation=find_datasets(names(args.validate), args.config_path),
        protocol=Protocol(eval_mode=args.eval_mode, n_clicks=args.n_clicks, thresh=0.5),
        validate_every=args.validate_every,
        save_every=args.save_every,
        log_every=args.log_every,
        workers=args.workers,
        resume=args.resume,
        tensorboard=args.tensorboard,
        metadata={
            "isegm": __version__,
            "commit": commit(),
            "torch": torch.__version__,
            "device": device.type,
            "windows": windows_of_sources(recipe.sources),
        },
    )
    with join_processes(device, timeout=CACHE_SECONDS, collectives=True) as processes:
        cache = args.cache or args.folder / "cache"
        mixture = open_mixture(recipe.sources, cache) if processes.rank == 0 else None
        processes.from_first(None)  # the others find the cache made
        mixture = mixture or open_mixture(recipe.sources, cache)
        if processes.rank == 0:
            for note in mixture.notes:
                print_line(f"note: {note}")
        torch.manual_seed(recipe.seed)
        model = build_model(PRESETS[recipe.preset])
        if recipe.pretrained and not args.resume:
            load_pretrained(model, Path(recipe.pretrained))
        Trainer(model.to(device), recipe, samples_of(recipe, mixture), run, processes).train()
    return 0


def read_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that was named, with the settings that were given."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    return dataclasses.replace(RECIPES[args.recipe](), **given)


def find_datasets(wanted: Sequence[str], config_path: Path | None) -> list[Dataset]:
    """Open folders with images/ and masks/, or else data sets that the config file names.

    Raises:
        InputError: One cannot be opened, or two have the same name.
    """
    found: list[Dataset] = []
    for name in wanted:
        folder = Path(name)
        dataset = open_folder(folder) if folder.is_dir() else open_dataset(name, find_config(config_path))
        if any(other.name == dataset.name for other in found):
            raise InputError(f"--validate: there are two {dataset.name}; figures are kept by this name")
        found.append(dataset)
    return found


def commit() -> str:
    """The checkout's commit, to be kept in checkpoints; empty where there is none."""
    if CHECKOUT is None:
        return ""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
