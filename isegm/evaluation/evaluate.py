"""A whole evaluation: some checkpoints on some data sets, by the run's processes together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from isegm.datasets import Sample
from isegm.distributed import Processes
from isegm.errors import SettingError
from isegm.evaluation.click_loop import SamplePictures, evaluate_sample
from isegm.evaluation.figures import Figures, format_mean_scores, format_spreads, format_table
from isegm.evaluation.journal import Digests, digest_samples
from isegm.evaluation.output import PictureRunFolder
from isegm.evaluation.plan import BASELINE, GPU_BATCH, Evaluation
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.provenance import describe_run
from isegm.evaluation.run import Evaluated, RunningEvaluation, check_unused
from isegm.evaluation.window_check import WindowReport, check_windows
from isegm.evaluation.workers import Method, Progress, method_of, samples_at_once
from isegm.inference.geodesic import GeodesicSegmenter
from isegm.inference.load import check_file, load_network
from isegm.inference.segmenter import Segmenter


def evaluate(
    evaluation: Evaluation,
    device: torch.device,
    processes: Processes,
    show: Callable[[Progress], None] = lambda _: None,
) -> Evaluated:
    """Evaluate and write the files.

    Args:
        evaluation: The evaluation.
        device: The device that this process computes on.
        processes: The run's processes.
        show: Is given the progress several times a second, in process 0.

    Raises:
        FolderInUse: The folder holds an evaluation already.
        InputError: It holds another evaluation than the one to resume; a checkpoint cannot be used, or one
            has the baseline's name; another process hangs; if the evaluation is strict, a data set's CT
            window is new to a network.
        OSError: A file cannot be written.
        KeyboardInterrupt: Ctrl-C came. What is done is kept.
    """
    protocol = evaluation.protocol
    folder = PictureRunFolder(evaluation.folder, evaluation.wanted, by_checkpoint=len(evaluation.names) > 1)
    if evaluation.names.count(BASELINE) > 1:
        raise SettingError("baseline", f"a checkpoint is called {BASELINE}, too; give it another name")
    if processes.rank == 0:  # when the others look, it may have begun to write
        check_unused(folder, evaluation)
    for checkpoint in evaluation.checkpoints[1:]:
        check_file(checkpoint.path)  # a bad file is told now, not after hours of work on the first
    paths = {checkpoint.name: checkpoint.path for checkpoint in evaluation.checkpoints}
    windows = check_windows(paths, evaluation.datasets, strict=evaluation.strict)
    batch = evaluation.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    digests: Digests = {}
    about: dict[str, Any] = {}
    if processes.rank == 0:
        digests = digest_samples(evaluation.datasets)
        about = windows.added_to(describe_run(evaluation, device, processes, batch, digests))
    with RunningEvaluation(evaluation, folder, processes, about, digests, show) as run:
        for checkpoint in evaluation.checkpoints:
            network = load_network(
                checkpoint.path,
                device=device,
                backend=protocol.backend,
                precision=protocol.precision,
                threads=1 if batch == 1 else None,
                at_once=samples_at_once(device, processes),
                compiled=evaluation.compiled,
            )
            run.measure(checkpoint.name, network.name, method_of(network, protocol, device, batch))
        if evaluation.baseline:
            run.measure(BASELINE, BASELINE, baseline_of(protocol))
    text = _text(evaluation, run.rows, windows) if processes.rank == 0 else ""
    samples = processes.from_first(sum(row.samples for row in run.rows), "how it ended")
    problems = processes.from_first([line for row in run.rows for line in row.problems], "how it ended")
    return Evaluated(text, samples, problems)


def baseline_of(protocol: Protocol) -> Method[Segmenter, Sample, SamplePictures]:
    """The segmentation without weights, which computes on the CPU."""
    return Method(
        new_segmenter=lambda _: GeodesicSegmenter(threshold=protocol.thresh),
        evaluate=lambda segmenter, sample, seed: evaluate_sample(segmenter, sample, protocol, seed),
        device=torch.device("cpu"),
    )


def _text(evaluation: Evaluation, rows: Sequence[Figures], windows: WindowReport) -> str:
    lines = [format_table(rows, evaluation.protocol), *format_spreads(rows), *windows.lines()]
    if evaluation.mean_scores:
        lines += [format_mean_scores(row, evaluation.protocol) for row in rows if row.samples]
    lines.append(f"Table, figures, samples and masks are in {evaluation.folder}")
    return "\n".join(lines)
