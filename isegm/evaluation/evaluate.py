"""A whole evaluation: some checkpoints on some data sets, by the run's processes together."""

from collections.abc import Callable

import torch

from isegm.datasets import Sample
from isegm.distributed import Processes
from isegm.evaluation.click_loop import SamplePictures, evaluate_sample
from isegm.evaluation.figures import format_mean_scores
from isegm.evaluation.output import PictureRunFolder
from isegm.evaluation.plan import BASELINE, GPU_BATCH, Evaluation
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.run import Evaluated, RunningEvaluation, check_plan
from isegm.evaluation.window_check import check_windows
from isegm.evaluation.workers import Method, Progress, method_of
from isegm.inference.geodesic import GeodesicSegmenter
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
    check_plan(evaluation, folder, processes)
    paths = {checkpoint.name: checkpoint.path for checkpoint in evaluation.checkpoints}
    windows = check_windows(paths, evaluation.datasets, strict=evaluation.strict)
    batch = evaluation.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    with RunningEvaluation(evaluation, folder, device, processes, windows, show, batch) as run:
        for checkpoint in evaluation.checkpoints:
            network = run.load(checkpoint)
            run.measure(checkpoint.name, network.name, method_of(network, protocol, device, batch))
        if evaluation.baseline:
            run.measure(BASELINE, BASELINE, baseline_of(protocol))
    rows = run.rows if evaluation.mean_scores else []
    scores = [format_mean_scores(row, protocol) for row in rows if row.samples]
    return run.ended([*scores, f"Table, figures, samples and masks are in {evaluation.folder}"])


def baseline_of(protocol: Protocol) -> Method[Segmenter, Sample, SamplePictures]:
    """The segmentation without weights, which computes on the CPU."""
    return Method(
        new_segmenter=lambda _: GeodesicSegmenter(threshold=protocol.thresh),
        evaluate=lambda segmenter, sample, seed: evaluate_sample(segmenter, sample, protocol, seed),
        device=torch.device("cpu"),
    )
