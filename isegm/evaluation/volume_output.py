"""The files that an evaluation of volumes leaves; ``output.py`` lists them with the others."""

from collections.abc import Sequence

import numpy as np

from isegm.datasets.labelled_volumes import VolumeSample
from isegm.evaluation.figures import Figures, format_volume_table
from isegm.evaluation.output import RunFolder
from isegm.evaluation.protocol import Clicking
from isegm.evaluation.record import Job, SampleResult
from isegm.evaluation.volume_drawing import draw_volume
from isegm.evaluation.volume_loop import VolumeMasks
from isegm.pictures import write_image
from isegm.storage import sha256
from isegm.volumes.nifti import write_nifti


class VolumeRunFolder(RunFolder[VolumeSample, VolumeMasks]):
    """Where the files of an evaluation of volumes go.

    Args:
        folder: As for :class:`RunFolder`.
        by_checkpoint: As for :class:`RunFolder`.
    """

    suffix = ".nii.gz"

    def save_masks(self, job: Job, sample: VolumeSample, result: SampleResult, masks: VolumeMasks) -> str:
        """Write a volume's final mask in its own geometry, and a picture of it in three planes."""
        path = self.mask_path(job, sample.name)
        write_nifti(path, sample.volume, [masks.mask.view(np.uint8)])
        picture = self.folder / "pictures" / self._place(job) / f"{sample.name}.jpg"
        write_image(picture, draw_volume(sample, masks.mask, result.clicks))
        return sha256(path)

    def table(self, rows: Sequence[Figures], protocol: Clicking) -> str:  # noqa: ARG002 - rows say it all
        """The table of volumes."""
        return format_volume_table(rows)
