"""A whole evaluation of volumes: some checkpoints on some data sets, by the run's processes together."""

from collections.abc import Callable
from typing import Any

import torch

from isegm.datasets.labelled_volumes import VolumeSample
from isegm.distributed import Processes
from isegm.errors import SettingError
from isegm.evaluation.figures import format_volume_table
from isegm.evaluation.journal import Digests, digest_samples
from isegm.evaluation.plan import BASELINE, VolumeEvaluation
from isegm.evaluation.protocol import VolumeProtocol
from isegm.evaluation.provenance import describe_run
from isegm.evaluation.run import Evaluated, RunningEvaluation, check_unused
from isegm.evaluation.volume_loop import VolumeMasks, evaluate_slice_by_slice, evaluate_volume
from isegm.evaluation.volume_output import VolumeRunFolder
from isegm.evaluation.window_check import WindowReport, report_windows, trained_windows
from isegm.evaluation.workers import Method, Progress, samples_at_once
from isegm.inference.load import check_file, load_network
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
    names = evaluation.names
    for name in names:
        if names.count(name) > 1:
            raise SettingError("checkpoint", f"two results would be called {name}; give other names")
    folder = VolumeRunFolder(evaluation.folder, by_checkpoint=len(names) > 1)
    if processes.rank == 0:  # when the others look, it may have begun to write
        check_unused(folder, evaluation)
    for checkpoint in evaluation.checkpoints[1:]:
        check_file(checkpoint.path)
    windows = _check_windows(evaluation)
    digests: Digests = {}
    about: dict[str, Any] = {}
    if processes.rank == 0:
        digests = digest_samples(evaluation.datasets)
        about = windows.added_to(describe_run(evaluation, device, processes, 1, digests))
        described = zip(about["datasets"], evaluation.datasets, strict=True)
        about["datasets"] = [row | dataset.settings for row, dataset in described]
    with RunningEvaluation(evaluation, folder, processes, about, digests, show) as run:
        for checkpoint in evaluation.checkpoints:
            network = load_network(
                checkpoint.path,
                device=device,
                backend=protocol.backend,
                precision=protocol.precision,
                threads=1,
                at_once=samples_at_once(device, processes),
                compiled=evaluation.compiled,
            )
            methods: list[Method[Any, Any, Any]] = []
            if evaluation.propagates:
                methods.append(propagating_method(network, protocol, device))
            if evaluation.slice_by_slice:
                methods.append(slice_by_slice_method(network, protocol, device))
            for name, method in zip(evaluation.names_of(checkpoint), methods, strict=True):
                run.measure(name, network.name, method)
        if evaluation.baseline:
            run.measure(BASELINE, BASELINE, baseline_method(protocol))
    lines = [format_volume_table(run.rows), *windows.lines()]
    lines.append(f"Table, figures, masks and pictures are in {evaluation.folder}")
    text = "\n".join(lines) if processes.rank == 0 else ""
    samples = processes.from_first(sum(row.samples for row in run.rows), "how it ended")
    problems = processes.from_first([line for row in run.rows for line in row.problems], "how it ended")
    return Evaluated(text, samples, problems)


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
