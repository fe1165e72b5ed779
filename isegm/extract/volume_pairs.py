"""Which image a label volume belongs to, and whether the two fit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.volumes.volume import Volume, list_volumes, stem

# Corresponding voxels of an image and its label may lie this far apart, in voxels: files hold their affine in
# single precision or as rounded text, while a true mismatch is off by half a voxel or more.
_AFFINE_TOLERANCE = 0.01


def list_images(labels: Path, images: Path | None) -> list[Path]:
    """The image volumes from which labels get theirs.

    Args:
        labels: The label volume, or the folder of them.
        images: The image volume or their folder; None takes the sibling ``imagesTr`` of a ``labelsTr``.

    Raises:
        InputError: No folder is given or known, or it is missing or holds no volume.
    """
    if images is not None:
        return list_volumes(images)
    folder = labels if labels.is_dir() else labels.parent
    name = folder.absolute().name
    if not name.startswith("labels"):
        raise InputError(f"{labels}: not in a labelsTr folder with an imagesTr beside it; give --images")
    return list_volumes(folder.absolute().parent / name.replace("labels", "images", 1))


def pair_image(label: Path, images: Sequence[Path]) -> Path:
    """The image with the label's stem, or with nnU-Net's ``_0000`` after it.

    Raises:
        InputError: There is none, or more than one.
    """
    for suffix in ("", "_0000"):
        found = [path for path in images if stem(path.name) == stem(label.name) + suffix]
        if len(found) > 1:
            raise InputError(
                f"{label}: {found[0].name} and {found[1].name} may both be its image; remove one"
            )
        if found:
            return found[0]
    raise InputError(f"{label}: no image {stem(label.name)}.nii.gz for it in {images[0].parent}; add it")


def check_match(label: Volume, image: Volume) -> list[str]:
    """Refuse a label that does not lie on its image; return what the user should know of the two.

    Raises:
        InputError: They are one file, their shapes or affines differ, or an affine is singular or NaN.
    """
    if label.path.resolve() == image.path.resolve():
        raise InputError(f"{label.path}: taken for its own image; give --images the CT volumes")
    if label.shape != image.shape:
        raise InputError(
            f"{label.path}: shape {label.shape}, but its image {image.path} has {image.shape}; give the "
            "image it was drawn on"
        )
    for volume in (label, image):
        if _is_singular(volume.affine):
            raise InputError(f"{volume.path}: its affine is singular or NaN; mend its sform or qform")
    nowhere = "the header gives no orientation (sform and qform code 0)"
    if not image.has_orientation:
        assumed = "its label's" if label.has_orientation else "LAS"
        return [f"{image.path}: {nowhere}; {assumed} is assumed"]
    if not label.has_orientation:
        return [f"{label.path}: {nowhere}; its image's is assumed"]
    apart = _furthest(label.affine - image.affine, image.shape)
    if apart > _AFFINE_TOLERANCE * np.linalg.norm(image.affine[:3, :3], axis=0).min():
        raise InputError(
            f"{label.path}: its affine differs from that of its image {image.path}, by up to {apart:.3g} "
            "in the header's unit; resample the label to the image"
        )
    return []


def _is_singular(affine: npt.NDArray[np.float64]) -> bool:
    """Whether a volume's axes are not finite or lie in one plane, whatever their spacing."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return True
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3)


def _furthest(difference: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    """How far apart two affines put a voxel at most: it is at one of the corners, the map being affine."""
    corners = np.indices((2, 2, 2)).reshape(3, 8) * (np.array(shape)[:, None] - 1)  # (3, 8) voxel indices
    apart = difference[:3, :3] @ corners + difference[:3, 3:]
    return float(np.linalg.norm(apart, axis=0).max())
