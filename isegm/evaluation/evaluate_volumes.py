"""A whole evaluation of volumes: some checkpoints on some data sets, by the run's processes together."""

from collections.abc import Callable
from typing import Any

import torch

from isegm.datasets.labelled_volumes import VolumeSample
from isegm.distributed import Processes
from isegm.evaluation.plan import BASELINE, VolumeEvaluation
from isegm.evaluation.protocol import VolumeProtocol
from isegm.evaluation.run import Evaluated, RunningEvaluation, check_plan
from isegm.evaluation.volume_loop import VolumeMasks, evaluate_slice_by_slice, evaluate_volume
from isegm.evaluation.volume_output import VolumeRunFolder
from isegm.evaluation.window_check import WindowReport, report_windows, trained_windows
from isegm.evaluation.workers import Method, Progress
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.propagating import PropagatingSegmenter
from isegm.inference.segmenter import Segmenter
from isegm.inference.volume_geodesic import GeodesicVolumeSegmenter
from isegm.inference.volume_segmenter import VolumeSegmenter


def evaluate_volumes(
    evaluation: VolumeEvaluation,
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
        InputError: It holds another evaluation than the one to resume; a checkpoint cannot be used, or two
            results would have one name; another process hangs; if the evaluation is strict, the CT window of
            an organ is new to a network.
        OSError: A file cannot be written.
        KeyboardInterrupt: Ctrl-C came. What is done is kept.
    """
    protocol = evaluation.protocol
    folder = VolumeRunFolder(evaluation.folder, by_checkpoint=len(evaluation.names) > 1)
    check_plan(evaluation, folder, processes)
    windows = _check_windows(evaluation)
    with RunningEvaluation(evaluation, folder, device, processes, windows, show) as run:
        for checkpoint in evaluation.checkpoints:
            network = run.load(checkpoint)
            methods: list[Method[Any, Any, Any]] = []
            if evaluation.propagates:
                methods.append(propagating_method(network, protocol, device))
            if evaluation.slice_by_slice:
                methods.append(slice_by_slice_method(network, protocol, device))
            for name, method in zip(evaluation.names_of(checkpoint), methods, strict=True):
                run.measure(name, network.name, method)
        if evaluation.baseline:
            run.measure(BASELINE, BASELINE, baseline_method(protocol))
    return run.ended([f"Table, figures, masks and pictures are in {evaluation.folder}"])


def propagating_method(
    network: Network, protocol: VolumeProtocol, device: torch.device
) -> Method[VolumeSegmenter, VolumeSample, VolumeMasks]:
    """A network whose clicks are propagated through the volume."""
    return Method(
        new_segmenter=lambda _: PropagatingSegmenter(network, size=protocol.size, threshold=protocol.thresh),
        evaluate=lambda segmenter, sample, seed: evaluate_volume(segmenter, sample, protocol, seed),
        device=device,
    )


def slice_by_slice_method(
    network: Network, protocol: VolumeProtocol, device: torch.device
) -> Method[Segmenter, VolumeSample, VolumeMasks]:
    """A network that is clicked on in every slice."""
    return Method(
        new_segmenter=lambda _: Predictor(network, size=protocol.size, threshold=protocol.thresh),
        evaluate=lambda segmenter, sample, seed: evaluate_slice_by_slice(segmenter, sample, protocol, seed),
        device=device,
    )


def baseline_method(protocol: VolumeProtocol) -> Method[VolumeSegmenter, VolumeSample, VolumeMasks]:
    """The segmentation without weights, which computes on the CPU."""
    return Method(
        new_segmenter=lambda _: GeodesicVolumeSegmenter(
            threshold=protocol.thresh, voxels=protocol.baseline_voxels
        ),
        evaluate=lambda segmenter, sample, seed: evaluate_volume(segmenter, sample, protocol, seed),
        device=torch.device("cpu"),
    )


def _check_windows(evaluation: VolumeEvaluation) -> WindowReport:
    """Compare the organs' windows with those that networks were trained in."""
    data = {dataset.name: (dataset.organ.window,) for dataset in evaluation.datasets}
    trained = {checkpoint.name: trained_windows(checkpoint.path) for checkpoint in evaluation.checkpoints}
    return report_windows(data, trained, strict=evaluation.strict)
