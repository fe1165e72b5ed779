"""The plan of an evaluation: networks, data sets, settings, and where the results go."""

import datetime
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isegm.config import EXPERIMENTS_KEY, Config
from isegm.datasets import Dataset, DatasetProblems, SampleSet, available_datasets, open_dataset
from isegm.errors import InputError
from isegm.evaluation.output import Wanted
from isegm.evaluation.protocol import Clicking, Protocol, VolumeProtocol
from isegm.evaluation.record import Job

if TYPE_CHECKING:  # what reads volumes takes a while to import
    from isegm.datasets.labelled_volumes import VolumeDataset

BASELINE = "geodesic"
"""The name of the segmentation without weights in tables and files."""

MOST_SLICES = 100_000
"""Slices of a volume that are believed of a file."""

GPU_BATCH = 16
"""Samples in a batch on a GPU where nothing else is asked for."""


@dataclass(frozen=True)
class Checkpoint:
    """A network to evaluate.

    Attributes:
        name: Its name in tables and files.
        path: Its file.
    """

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Plan(ABC):
    """An evaluation to be made, of pictures or of volumes; the same in every process."""

    checkpoints: Sequence[Checkpoint]
    """The networks, each on every data set."""
    datasets: Sequence[SampleSet[Any]]
    """The data sets."""
    protocol: Clicking
    """The settings that decide the figures."""
    folder: Path
    """Where everything is written."""
    baseline: bool = False
    """Evaluate the geodesic segmentation beside the networks; it needs no weights."""
    compiled: bool = False
    """Let ``torch.compile`` compile the networks."""
    replace: bool = False
    """Replace an evaluation that ``folder`` holds already."""
    resume: bool = False
    """Resume the evaluation that ``folder`` holds, if it holds one."""
    strict: bool = False
    """Refuse data in a CT window that a network was not trained in, rather than warn of it."""

    @property
    def names(self) -> list[str]:
        """The names that results are kept by: the networks', and the baseline's."""
        return [checkpoint.name for checkpoint in self.checkpoints] + [BASELINE] * self.baseline

    @property
    @abstractmethod
    def draws(self) -> bool:
        """Whether pictures are drawn of every sample."""

    @property
    def dataset_settings(self) -> Mapping[str, Mapping[str, str]]:
        """What decides besides its files what a data set's samples are, by the data set's name."""
        return {}

    def most_clicks(self, model: str) -> int:  # noqa: ARG002 - of pictures it is the same for all
        """The largest number of clicks that a method places on a sample."""
        return self.protocol.n_clicks

    def jobs(self, model: str) -> list[tuple[Job, SampleSet[Any]]]:
        """The parts of the run that one network, or the baseline, has to do, in order."""
        seeds = [None] if self.protocol.seeds == 1 else range(self.protocol.seeds)
        return [(Job(model, dataset.name, seed), dataset) for dataset in self.datasets for seed in seeds]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Plan):
    """An evaluation of pictures."""

    datasets: Sequence[Dataset]
    protocol: Protocol
    wanted: Wanted
    """Which files are wanted besides the usual ones."""
    mean_scores: bool = False
    """Tell the mean IoU after 1, 2, 3, 5, 10 and 20 clicks below the table, too."""
    batch_size: int | None = None
    """Samples whose clicks are computed in one batch; None for 1 on CPUs and more on GPUs."""

    @property
    def draws(self) -> bool:
        """Whether overlays and probability maps are wanted."""
        return self.wanted.vis is not None


SLICE_BY_SLICE = "slice-by-slice"
"""Behind a network's name: what it needs without propagation."""


@dataclass(frozen=True, kw_only=True)
class VolumeEvaluation(Plan):
    """An evaluation of volumes."""

    datasets: "Sequence[VolumeDataset]"
    protocol: VolumeProtocol
    propagates: bool = True
    """Evaluate each network by clicks that are propagated through the volume."""
    slice_by_slice: bool = True
    """Evaluate each network on every slice by itself, too."""

    @property
    def names(self) -> list[str]:
        """The names that results are kept by, in the order of the table."""
        networks = [name for checkpoint in self.checkpoints for name in self.names_of(checkpoint)]
        return networks + [BASELINE] * self.baseline

    @property
    def draws(self) -> bool:
        """Volumes are always drawn."""
        return True

    @property
    def dataset_settings(self) -> Mapping[str, Mapping[str, str]]:
        """Labels and window of each organ, and how its DICOM series are read."""
        return {dataset.name: dataset.settings for dataset in self.datasets}

    def names_of(self, checkpoint: Checkpoint) -> list[str]:
        """The names that a network's results are kept by: of propagated clicks, and slice by slice."""
        by_slice = f"{checkpoint.name}-{SLICE_BY_SLICE}"
        return [checkpoint.name] * self.propagates + [by_slice] * self.slice_by_slice

    def most_clicks(self, model: str) -> int:
        """The largest number of clicks that a method places on a volume: slice by slice it can be many."""
        if model.endswith(SLICE_BY_SLICE):
            return MOST_SLICES * self.protocol.slice_n_clicks
        return self.protocol.n_clicks


def find_checkpoints(names: Sequence[str], folder: Path, model_name: str | None) -> list[Checkpoint]:
    """Find checkpoint files by name.

    Args:
        names: Each the name of a file in ``folder`` or a path; ``.pth`` may be left out.
        folder: Where checkpoints are kept.
        model_name: A name for the network in place of its file's.

    Raises:
        InputError: A file is missing, two have the same name, or one name is given for several.
    """
    found = []
    for name in names:
        places = [folder / name, folder / f"{name}.pth", Path(name), Path(f"{name}.pth")]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(f"{folder / name}: no such checkpoint; check its name and folder")
        found.append(Checkpoint(path.stem, path))
    if model_name is not None:
        if len(found) > 1:
            raise InputError(f"{model_name}: one name for {len(found)} checkpoints; evaluate them one by one")
        if not model_name.strip() or not model_name.isprintable() or set(model_name) & set("/\\"):
            raise InputError(f"{model_name!a}: cannot be the name of a file; call the network otherwise")
        found = [Checkpoint(model_name, found[0].path)]
    stems = [checkpoint.name for checkpoint in found]
    for stem in stems:
        if stems.count(stem) > 1:
            raise InputError(f"{stem}: two checkpoints have this name, which results are kept by; name one")
    return found


def find_experiment(exp_path: str, config: Config) -> list[str]:
    """Find the checkpoints of a training run.

    Args:
        exp_path: A folder below the experiments' folder, with ``:prefix`` behind it for only those of its
            ``checkpoints/`` whose names start so.
        config: Where the experiments are.

    Returns:
        The files' paths, sorted.

    Raises:
        InputError: There is no such folder, or no such file in it.
    """
    folder, _, prefix = exp_path.partition(":")
    place = config.place(EXPERIMENTS_KEY) / folder / "checkpoints"
    found = sorted(str(path) for path in place.glob("*.pth") if path.name.startswith(prefix))
    if not found:
        raise InputError(f"{place}: no checkpoint here named {prefix}*.pth; check the experiment's path")
    return found


def open_datasets(names: Sequence[str], config: Config) -> list[Dataset]:
    """Open data sets; all problems with any of them are listed at once.

    Args:
        names: The data sets; none for all whose folder exists.
        config: Where they are.

    Raises:
        InputError: A data set is unknown, missing, named twice or not whole, or there is none at all. The
            message has a line for each problem.
    """
    wanted = list(names) or available_datasets(config)
    if not wanted:
        raise InputError(f"{config.path}: none of its data sets is there; prepare one, or change its rows")
    datasets: list[Dataset] = []
    problems: list[str] = []
    for name in wanted:
        try:
            dataset = open_dataset(name, config)
        except DatasetProblems as error:
            problems += error.problems
        except InputError as error:
            problems.append(str(error))
        else:
            if any(other.name == dataset.name for other in datasets):
                problems.append(f"{dataset.name}: the data set is named twice; name it once")
            datasets.append(dataset)
    if problems:
        raise DatasetProblems(problems)
    return datasets


def default_folder(checkpoints: Sequence[Checkpoint], mode: str, config: Config) -> Path:
    """Return a new folder for an evaluation, named after networks, mode (or ``volumes``) and time.

    A few random digits tell runs apart that start in the same second.
    """
    names = "+".join(checkpoint.name for checkpoint in checkpoints)[:80]
    now = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return config.place(EXPERIMENTS_KEY) / "evaluation_logs" / f"{names}_{mode}_{now}-{secrets.token_hex(2)}"
