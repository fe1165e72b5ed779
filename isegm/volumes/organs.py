"""What is known about an organ: its labels in the Medical Segmentation Decathlon, and its window."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isegm.errors import InputError, SettingError
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
"""Organs whose labels are known."""

_SEEN_IN = {
    "abdomen": "liver spleen kidney pancreas adrenal gallbladder stomach duodenum colon bladder urinary "
    "prostate uterus hepatic portal psoas iliopsoas",
    "mediastinum": "heart aorta esophagus oesophagus thyroid pulmonary",
    "bone": "vertebra vertebrae rib sternum hip femur sacrum skull clavicula scapula humerus",
}
_WINDOW_BY_WORD = {word: window for window, words in _SEEN_IN.items() for word in words.split()} | {
    name: name for name in WINDOWS
}


def window_of(name: str) -> Window:
    """The window an organ is seen in, by the first word of its name: ``kidney`` of ``kidney_left``.

    Raises:
        InputError: None is known for it; the message has the organ that may be meant.
    """
    word = re.split(r"[\W_]", name.lower())[0]
    if word not in _WINDOW_BY_WORD:
        raise InputError(
            f"organ {name!r}: {_meant(word, _WINDOW_BY_WORD)}its window is not known; give one of "
            f"{', '.join(WINDOWS)}, or level,width in HU"
        )
    return WINDOWS[_WINDOW_BY_WORD[word]]


def find_organ(name: str, labels: Sequence[int] = (), window: Window | None = None) -> Organ:
    """The organ of that name.

    Args:
        name: A known organ, or any folder name when ``labels`` are given.
        labels: Label values of the organ, instead of the known ones.
        window: The window it is seen in, instead of the known one.

    Raises:
        InputError: The organ is not known and labels or window are not given, the name cannot be a folder's,
            or a label is not above 0.
    """
    if not name.strip() or name.startswith((".", "-")) or set(name) & set('/\\:*?"<>|\0'):
        raise InputError(f"organ {name!r}: this cannot be the name of a folder; use letters and digits")
    if any(label <= 0 for label in labels):
        raise SettingError("labels", f"must be above 0 (the background), not {', '.join(map(str, labels))}")
    if not labels and name not in ORGANS:
        known = ", ".join(ORGANS)
        raise InputError(f"organ {name!r}: {_meant(name, ORGANS)}not one of {known}; give its `labels`")
    seen_in = window or window_of(name)
    if labels:
        return Organ(name, tuple(sorted(set(labels))), seen_in)
    return Organ(name, ORGANS[name].labels, seen_in, ORGANS[name].note)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), 1, 0.75)
    return f"is {close[0]} meant? " if close else ""
