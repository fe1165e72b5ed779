"""What is known about an organ: its labels in the Medical Segmentation Decathlon, and its window."""

from collections.abc import Sequence
from dataclasses import dataclass

from isegm.errors import InputError
from isegm.volumes.windows import WINDOWS, Window


@dataclass(frozen=True)
class Organ:
    """An organ that is to be extracted.

    Attributes:
        name: Also the name of its folder.
        labels: Values of a label volume that belong to it.
        window: The window it is seen in.
        note: What a user should know about the labels; empty when there is nothing to know.
    """

    name: str
    labels: tuple[int, ...]
    window: Window
    note: str = ""


ORGANS = {
    "liver": Organ("liver", (1, 2), WINDOWS["abdomen"]),
    "spleen": Organ("spleen", (1,), WINDOWS["abdomen"]),
    "lung": Organ(
        "lung",
        (1,),
        WINDOWS["lung"],
        "label 1 is taken for lung; in the Decathlon's Task06_Lung it is lung tumour, not lung tissue",
    ),
}


def window_of(name: str) -> Window:
    """The window an organ is seen in by default: the lung window for lung, abdomen for any other."""
    return ORGANS[name].window if name in ORGANS else WINDOWS["abdomen"]


def find_organ(name: str, labels: Sequence[int] = ()) -> Organ:
    """The organ of that name.

    Args:
        name: A known organ, or any folder name when ``labels`` are given.
        labels: Label values of the organ, instead of the known ones.

    Raises:
        InputError: The organ is not known and no labels are given, the name cannot be a folder's, or a
            label is not above 0.
    """
    if not name.strip() or name.startswith((".", "-")) or set(name) & set('/\\:*?"<>|\0'):
        raise InputError(f"organ {name!r}: this cannot be the name of a folder; use letters and digits")
    if any(label <= 0 for label in labels):
        raise InputError("--labels: label values are above 0; 0 is the background")
    if labels:
        return Organ(name, tuple(sorted(set(labels))), window_of(name))
    if name not in ORGANS:
        raise InputError(f"organ {name!r}: not one of {', '.join(ORGANS)}; give its label values by --labels")
    return ORGANS[name]
