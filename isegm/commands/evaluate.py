"""Evaluate click-segmentation networks by simulated clicks: NoC, IoU by click, masks.

One process, on whatever there is, with the weights that come with the project::

    isegm evaluate EMC-Click --datasets=lung,liver,spleen

With others, and beside them a segmentation that needs no weights::

    isegm evaluate EMC-Click --checkpoint=hr32.pth --datasets=liver --baseline

Many processes, one a GPU (on CPUs they share the cores)::

    torchrun --nproc_per_node=8 scripts/evaluate_model.py EMC-Click --checkpoint=hr32.pth --datasets=GrabCut

    python -m torch.distributed.launch --master_port=4321 --nproc_per_node=8 scripts/evaluate_model.py \
        EMC-Click --model_dir='./weights/' --checkpoint=hr32.pth --n-clicks=20 --gpus=0,1,2,3,4,5,6,7 \
        --target-iou=0.9 --thresh=0.5 --eval-mode='emc-click' --datasets=lung, liver, spleen

Several nodes: one such torchrun on each, with its --nnodes and --rdzv-endpoint, and a --logs-path that all of
them see. The results are the same on any number of processes.
"""

import argparse
import contextlib
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from isegm.commands.command_line import (
    EXIT_PARTIAL,
    EXIT_USAGE,
    Parser,
    command,
    numbers,
    print_line,
    report_problems,
)
from isegm.commands.places import DEFAULT_WEIGHTS, default_weights, find_config
from isegm.config import MODELS_KEY, Config
from isegm.datasets import Dataset
from isegm.distributed import TIMEOUT_SECONDS, choose_device, join_processes, launched_as
from isegm.errors import InputError
from isegm.evaluation.journal import Journal
from isegm.evaluation.output import Wanted
from isegm.evaluation.plan import (
    GPU_BATCH,
    Checkpoint,
    Evaluation,
    Plan,
    default_folder,
    find_checkpoints,
    find_experiment,
    open_datasets,
)
from isegm.evaluation.protocol import EVAL_MODES, INITIAL_MASKS, METRICS, Protocol
from isegm.inference import BACKENDS
from isegm.inference.precision import PRECISIONS, resolve_precision
from isegm.report import write_report
from isegm.simulation.click_model import CLICK_MODELS, parse_click_model
from isegm.wording import names

if TYPE_CHECKING:
    import torch

    from isegm.distributed import Processes
    from isegm.evaluation.run import Evaluated
    from isegm.evaluation.workers import Progress

Options: TypeAlias = "argparse._ArgumentGroup"

ALL_CLICKS = 1.01
"""A target IoU that is never reached."""


def build_parser() -> Parser:
    """The command line. Underscores in option names are read as hyphens."""
    parser = Parser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("mode", metavar="EMC-Click", help="the method; this is the only one here")

    group = parser.add_argument_group("what to evaluate")
    add_network_options(group)
    add = group.add_argument
    add(
        "--datasets", metavar="A[,B...]", default="", help="data sets of config.yml (default: all that exist)"
    )
    add("--baseline", action="store_true", help="evaluate a geodesic segmentation, too: no weights")

    add = parser.add_argument_group("how").add_argument
    add("--eval-mode", default=Protocol.eval_mode, help=f"{EVAL_MODES} (default: %(default)s)")
    add("--n-clicks", type=int, default=Protocol.n_clicks, help="most clicks (default: %(default)s)")
    add(
        "--min-n-clicks", type=int, default=Protocol.min_n_clicks, help="fewest clicks (default: %(default)s)"
    )
    add(
        "--target-iou",
        type=float,
        default=Protocol.target_iou,
        help="stop at this IoU (default: %(default)s)",
    )
    add(
        "--thresh",
        type=float,
        default=Protocol.thresh,
        help="the mask is where the probability is above this (default: %(default)s)",
    )
    add("--clicks-limit", type=int, help="only this many clicks of each polarity reach the network")
    add(
        "--click-model",
        metavar="MODEL",
        default=Protocol.click_model,
        help=f"how the simulated user clicks: {CLICK_MODELS} (default: %(default)s, as published)",
    )
    add(
        "--seeds",
        type=int,
        default=Protocol.seeds,
        help="number of such users, where clicks are left to chance (default: %(default)s)",
    )
    add("--metric", choices=list(METRICS), default=Protocol.metric, help="the score (default: %(default)s)")
    add(
        "--initial-masks",
        choices=INITIAL_MASKS,
        default=Protocol.initial_masks,
        help="merged as published, or corrected by a network that sees them (default: %(default)s)",
    )
    add("--perturbed", action="store_true", help="start from the truth with faults, not from nothing")
    add("--no-flip", action="store_true", help="do not average with the mirrored image")
    add(
        "--precision",
        choices=[*PRECISIONS, "auto"],
        default=Protocol.precision,
        help="auto: half precision on GPUs and on CPUs with AMX; tf32: on GPUs; float64: slow, and the same "
        "clicks on any machine (default: %(default)s)",
    )

    group = add_place_options(parser)
    group.add_argument(
        "--batch-size", type=int, help=f"samples computed on at once (default: 1; on a GPU {GPU_BATCH})"
    )
    add = add_output_options(parser).add_argument
    add("--iou-analysis", action="store_true", help="use all clicks; save and plot the mean IoU by click")
    add("--print-ious", action="store_true", help="use all clicks; print the mean IoU by click")
    add("--save-ious", action="store_true", help="save the IoU after every click as CSV")
    add("--vis", action="store_true", help="save pictures of masks and clicks, and probability maps")
    add("--vis-path", metavar="DIR", type=Path, help="where --vis saves them (default: vis/ in --logs-path)")
    return parser


def add_network_options(group: Options) -> None:
    """Add the options that say which networks are evaluated."""
    add = group.add_argument
    add(
        "--checkpoint",
        metavar="A[,B...]",
        help=f"files in --model-dir, or paths; .pth may be left out (default: our {DEFAULT_WEIGHTS})",
    )
    add("--model-dir", metavar="DIR", type=Path, help="folder of checkpoints (default: config.yml's)")
    add("--exp-path", metavar="DIR[:PREFIX]", help="a training run below config.yml's EXPS_PATH instead")
    add("--model-name", metavar="NAME", help="what to call the network in the results")
    add("--strict", action="store_true", help="refuse CT in a window that a network was not trained in")
    add("--config-path", metavar="FILE", type=Path, help="default: ./config.yml, else the repository's")


def add_place_options(parser: Parser) -> Options:
    """Add the options that say where an evaluation computes, and return their group."""
    group = parser.add_argument_group("where")
    add = group.add_argument
    add(
        "--backend",
        choices=BACKENDS,
        default=Protocol.backend,
        help="what runs the networks on CPUs; openvino is the fastest one (default: %(default)s)",
    )
    add("--compile", action="store_true", help="compile the networks' correction heads by torch.compile")
    add(
        "--gpus", metavar="0[,1...]", help="GPUs of this node to use, one a process (default: the first ones)"
    )
    add("--cpu", action="store_true", help="use the CPU even if there are GPUs")
    add(
        "--timeout",
        type=float,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="end if no sample is finished for this long (default: %(default)g)",
    )
    add("--local-rank", type=int, help="set by the launcher; LOCAL_RANK in the environment works as well")
    return group


def add_output_options(parser: Parser) -> Options:
    """Add the options that say where results go, and return their group."""
    group = parser.add_argument_group("what to write")
    add = group.add_argument
    add(
        "--logs-path",
        metavar="DIR",
        type=Path,
        help="folder of the results (default: a new one below config.yml's EXPS_PATH)",
    )
    add("--resume", action="store_true", help="go on with what was begun in --logs-path, if anything was")
    add("--force", action="store_true", help="replace results that are in --logs-path")
    return group


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; the exit status is 0, 1 if samples failed, or 2 if nothing could be done."""
    args = build_parser().parse_args(tidy_arguments(sys.argv[1:] if argv is None else argv))
    from isegm.evaluation.evaluate import evaluate
    from isegm.inference.load import check_settings

    if args.mode.lower() != "emc-click":
        raise InputError(f"{args.mode}: only EMC-Click is evaluated here")
    device = device_of(args)

    # Clicks go on where a figure is wanted of every one of them.
    every_click = (args.iou_analysis or args.print_ious) and args.min_n_clicks <= 1
    protocol = Protocol(
        eval_mode=args.eval_mode,
        n_clicks=args.n_clicks,
        min_n_clicks=args.min_n_clicks,
        target_iou=ALL_CLICKS if every_click else args.target_iou,
        thresh=args.thresh,
        clicks_limit=args.clicks_limit,
        flip=not args.no_flip,
        initial_masks=args.initial_masks,
        perturbed=args.perturbed,
        metric=args.metric,
        precision=resolve_precision(args.precision, device),
        backend=args.backend,
        click_model=str(parse_click_model(args.click_model)),
        seeds=args.seeds,
    )
    check_settings(protocol.backend, protocol.precision, device, compiled=args.compile)
    if args.batch_size is not None and args.batch_size < 1:
        raise InputError(f"--batch-size: must be at least 1, not {args.batch_size}")
    restarted = check_run(args)
    config = find_config(args.config_path)
    checkpoints = checkpoints_of(args, config)
    datasets = open_datasets(names(args.datasets), config)

    def plan_in(folder: Path) -> Evaluation:
        return Evaluation(
            checkpoints=checkpoints,
            datasets=datasets,
            protocol=protocol,
            folder=folder,
            wanted=Wanted(
                vis=args.vis_path or (folder / "vis" if args.vis else None),
                ious=args.save_ious,
                iou_analysis=args.iou_analysis,
            ),
            baseline=args.baseline,
            mean_scores=args.print_ious,
            compiled=args.compile,
            batch_size=args.batch_size,
            replace=args.force,
            resume=args.resume or restarted,
            strict=args.strict,
        )

    with join_processes(device, timeout=args.timeout) as processes:
        wanted = args.logs_path or default_folder(checkpoints, protocol.eval_mode, config)
        folder = Path(processes.from_first(str(wanted), "where to write"))
        return run_together(plan_in(folder), evaluate, device, processes, datasets)


def device_of(args: argparse.Namespace) -> "torch.device":
    """The device that this process computes on; a warning of process 0 says if it is not what was wanted."""
    rank, _, local_rank, local_size = launched_as()
    if args.local_rank is not None:
        local_rank = args.local_rank
    device, warning = choose_device(
        numbers(args.gpus, "--gpus"), cpu=args.cpu, local_rank=local_rank, local_size=local_size
    )
    if warning and rank == 0:
        print_line(f"warning: {warning}")
    return device


def check_run(args: argparse.Namespace) -> bool:
    """Check the options that every run has; tell whether torchrun has started it again after a crash.

    Raises:
        InputError: One is out of range, or two do not go together.
    """
    if not args.timeout > 0:
        raise InputError(f"--timeout: must be above 0, not {args.timeout}")
    if args.resume and args.force:
        raise InputError("--resume: cannot go with --force; give one of them")
    if args.resume and args.logs_path is None:
        raise InputError("--resume: needs --logs-path, the folder of the run to go on with")
    return check_restarts(args.logs_path)


PlanT = TypeVar("PlanT", bound=Plan)


def run_together(
    plan: PlanT,
    evaluate: "Callable[[PlanT, torch.device, Processes, Callable[[Progress], None]], Evaluated]",
    device: "torch.device",
    processes: "Processes",
    datasets: Sequence[Dataset],
) -> int:
    """Evaluate, show the progress, and write and print what was found.

    Args:
        plan: The evaluation.
        evaluate: Makes it.
        device: The device that this process computes on.
        processes: The run's processes.
        datasets: For the report's pictures.

    Returns:
        The exit status.

    Raises:
        InputError: The folder is in use, or as ``evaluate``.
    """
    from isegm.evaluation.run import FolderInUse

    try:
        with interrupted_once(launched=processes.size > 1), contextlib.closing(ProgressBar()) as bar:
            found = evaluate(plan, device, processes, bar.show)
    except FolderInUse as error:
        resume = "--resume to go on with it, " if error.resumable else ""
        raise InputError(f"{error}; {resume}--force to replace it, or another --logs-path") from None
    except KeyboardInterrupt:
        if processes.rank == 0 and Journal(plan.folder).exists():
            place = shlex.quote(str(plan.folder))
            print_line(f"what is done is kept; resume by the same command with --logs-path={place} --resume")
        raise
    try:
        if processes.rank == 0:
            write_report(plan.folder, datasets)
    finally:
        if processes.rank == 0:
            print(found.text, flush=True)
            report_problems(found.problems)
        # A launcher ends all processes as soon as one has left with status 1.
        processes.from_first(None, "that the report is written")
    if found.exceeds_memory:
        return EXIT_USAGE
    return EXIT_PARTIAL if found.problems else 0


@contextlib.contextmanager
def interrupted_once(*, launched: bool) -> Iterator[None]:
    """Let SIGTERM, by which clusters and launchers end a process, stop as cleanly as Ctrl-C does.

    A launcher passes on the Ctrl-C that its processes have got already, and may send SIGTERM more than once:
    only the first signal counts, or the samples under way would be given up. Without a launcher a second
    Ctrl-C does that.
    """

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN if launched else signal.default_int_handler)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one may change handlers
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ProgressBar:
    """Shows how far the data set is that is being evaluated."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, progress: "Progress") -> None:
        """Bring the bar up to date; each data set has one of its own."""
        if progress.done == progress.total:
            self.close()
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                desc=progress.dataset,
                unit="sample",
                leave=False,
                mininterval=0.1 if sys.stderr.isatty() else 60,  # a job's log keeps every picture of the bar
            )
        self._bar.set_postfix_str(progress.figure, refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def check_restarts(logs_path: Path | None) -> bool:
    """Tell whether torchrun has started this run again after a crash: then it goes on.

    Raises:
        InputError: torchrun may start it again, but would not find what was done.
    """
    if logs_path is None and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        raise InputError(
            "--max-restarts of torchrun: needs a --logs-path, where a restart finds what is done"
        )
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def tidy_arguments(argv: Sequence[str]) -> list[str]:
    """Undo what a shell and habit do to the arguments.

    ``--datasets=lung, liver, spleen`` arrives as three words: words with a comma between them are joined.
    Underscores in option names become hyphens.
    """
    tidy: list[str] = []
    for word in argv:
        option = re.match(r"--[\w-]+", word)
        if tidy and not option and (tidy[-1].endswith(",") or word.startswith(",")):
            tidy[-1] += word
        else:
            tidy.append(option[0].replace("_", "-") + word[option.end() :] if option else word)
    return tidy


def checkpoints_of(args: argparse.Namespace, config: Config) -> list[Checkpoint]:
    """The checkpoints to evaluate, by name or by training run; else the project's own, as process 0 says.

    Raises:
        InputError: They were named both ways at once, or by an empty list, or a file is missing.
    """
    found = find_checkpoints(
        _checkpoint_names(args.checkpoint, args.exp_path, config),
        args.model_dir or config.places.get(MODELS_KEY, Path()),
        args.model_name,
    )
    if args.checkpoint is None and args.exp_path is None and launched_as()[0] == 0:
        print_line(f"no --checkpoint: using {found[0].path}")
    return found


def _checkpoint_names(checkpoint: str | None, exp_path: str | None, config: Config) -> list[str]:
    if exp_path is not None and checkpoint is not None:
        raise InputError("--exp-path: cannot go with --checkpoint; give one of them")
    if exp_path is not None:
        return find_experiment(exp_path, config)
    if checkpoint is None:
        return [str(default_weights())]
    found = names(checkpoint)
    if not found:
        raise InputError("--checkpoint: name at least one, such as --checkpoint=hr32.pth, or leave it out")
    return found
