"""What is saved of a session: masks where the evaluation and the training read them, and the clicks.

Of volumes ``imagesTr/`` and ``labelsTr/`` as the Decathlon has them, of DICOM a SEG as well, of pictures
``images/`` and ``masks/``. The images are links to the very files where the file system allows, copies
elsewhere; an untilted series, which is in no file, is written as it was seen. Each label's number is its
value; a picture's only label is 255.
"""

import contextlib
import json
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.annotate.action_log import entries_of
from isegm.annotate.cases import CaseFiles
from isegm.annotate.session import Case, Session
from isegm.errors import InputError, InputWarning
from isegm.pictures import write_image
from isegm.storage import whole_file, write_text
from isegm.volumes.mask_writing import write_mask
from isegm.volumes.nifti import nifti_files, write_nifti
from isegm.volumes.untilt import UntiltedVolume
from isegm.volumes.volume import Volume

CLICKS_FILE = "clicks.jsonl"


def label_stack(case: Case) -> npt.NDArray[np.uint8]:
    """The labels of a case, (slices, rows, columns): what the page draws, voxel by voxel."""
    labels = np.zeros(case.pixels.shape, np.uint8)
    with case.lock:
        for number in case.masks.objects():
            labels[case.masks.stack(number)] = number
    return labels


def check_output(session: Session) -> None:
    """Refuse an output folder where saving would replace masks that are none of this folder's sessions.

    Raises:
        InputError: There is a mask where that of a case goes on which nothing was done here yet: the output
            folder is the data set itself, say.
    """
    for index, case in enumerate(session.cases):
        mask = _mask_path(session, case)
        if mask.exists() and not session.journal(index).exists():
            raise InputError(f"{mask}: is there already, and saving would replace it; name another --output")


def save_case(session: Session, case: Case) -> list[Path]:
    """Save a case's masks, each file whole or not at all, and return what was written.

    Warns:
        InputWarning: A series lacks what a SEG needs: there is the NIfTI file alone.

    Raises:
        OSError: It cannot be written.
    """
    with case.lock:
        revision, labels = case.revision, label_stack(case)
    name, output, volume = case.files.name, session.output, case.pixels.volume
    written = [_mask_path(session, case.files)]
    if volume is None:
        picture = labels[0]
        only = np.unique(picture[picture > 0])
        if len(only) == 1 and len(session.labels) == 1:
            picture = (picture > 0).astype(np.uint8) * 255
        write_image(written[0], picture)
        _link(case.files.path, output / "images" / f"{name}{case.files.path.suffix}")
    else:
        array = case.pixels.plan.array(labels)
        write_mask(written[0], volume, array)
        if case.files.is_dicom and not isinstance(volume, UntiltedVolume):
            written += _save_seg(session, output / "dicom_seg" / f"{name}.dcm", volume, array)
        _link_volume(case, output / "imagesTr")
    case.set("saved", str(revision))
    return written


def _mask_path(session: Session, case: CaseFiles) -> Path:
    """Where a case's masks are saved."""
    place = f"masks/{case.name}.png" if case.is_picture else f"labelsTr/{case.name}.nii.gz"
    return session.output / place


def _save_seg(session: Session, path: Path, volume: Volume, labels: npt.NDArray[np.uint8]) -> list[Path]:
    """Save labels as a SEG, and return its path; nothing where there can be none, and none from before."""
    try:
        if labels.any():
            write_mask(path, volume, labels, {number: label.name for number, label in session.labels.items()})
            return [path]
    except InputError as error:
        warnings.warn(InputWarning(f"{error}; only that is saved"), stacklevel=2)
    path.unlink(missing_ok=True)
    return []


def save_clicks(session: Session) -> Path:
    """Write every click of the session's cases with its time, a line of JSON each, undone ones as well."""
    path = session.output / CLICKS_FILE
    lines = [
        json.dumps(click, ensure_ascii=False)
        for index, case in enumerate(session.cases)
        if session.journal(index).is_file()
        for click in _clicks(session, index, case)
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def training_command(session: Session, case: Case, checkpoint: Path, preset: str) -> str:
    """The command that fine-tunes a network on what was saved of cases like this one."""
    output = session.output
    if case.pixels.volume is None:
        source = f"folder:{output}"
    else:
        numbers = ",".join(str(number) for number in session.labels)
        window = next((click.window for click in case.clicks() if click.window), case.pixels.window)
        source = f"nifti:{output / 'labelsTr'}:images={output / 'imagesTr'}:labels={numbers}"
        source += f":window={window.level:g},{window.width:g}" if window else ""
    words = ["isegm", "train", "fine-tune", f"--pretrained={checkpoint}"]
    words += [f"--preset={preset}"] if preset else []
    return shlex.join([*words, f"--folder={output / 'fine_tuned'}", "--sources", source])


def _clicks(session: Session, index: int, case: CaseFiles) -> Iterator[dict[str, Any]]:
    """A case's clicks from its journal; each says whether it still stands."""
    done: list[dict[str, Any] | None] = []
    undone: list[dict[str, Any] | None] = []
    every: list[dict[str, Any]] = []
    for _, entry in entries_of(session.journal(index)):
        do = entry.text("do")
        if do == "undo" and done:
            undone.append(done.pop())
        elif do == "redo" and undone:
            done.append(undone.pop())
        elif do not in ("set", "undo", "redo") and "goes_on" not in entry.values:
            undone.clear()
            done.append(None)
            if "click" in entry.values:
                click = entry.object("click").values
                label = session.labels.get(click["object"])
                made = {
                    "case": case.name,
                    "time": entry.text("time"),
                    "label": click["object"],
                    "name": label.name if label else "",
                    "slice": click["z"],
                    "row": click["y"],
                    "col": click["x"],
                    "positive": click["positive"],
                    "window": click["window"],
                }
                done[-1] = made
                every.append(made)
    standing = {id(click) for click in done if click is not None}
    for click in every:
        yield {**click, "undone": id(click) not in standing}


def _link_volume(case: Case, folder: Path) -> None:
    name, volume = case.files.name, case.pixels.volume
    if isinstance(volume, UntiltedVolume):
        target, values = folder / f"{name}.nii", case.pixels.plan.array(case.pixels.values)
        if not target.exists():
            write_nifti(target, volume, np.split(values, values.shape[2], axis=2), dtype=values.dtype)
        return
    if not case.files.is_dicom:
        for file in dict.fromkeys(nifti_files(case.files.path)):
            suffix = "".join(file.suffixes[-2:]) if file.suffix.lower() == ".gz" else file.suffix
            _link(file, folder / f"{name}{suffix}")
        return
    from isegm.volumes.dicom import DicomVolume  # pydicom is an extra

    if isinstance(volume, DicomVolume):
        # The files of this series alone, whatever lies beside them.
        for number, file in enumerate(dict.fromkeys(frame.path for frame in volume.frames)):
            _link(file, folder / name / f"{number:04d}.dcm")


def _link(source: Path, target: Path) -> None:
    """Have a file under another name: linked, so that it takes no space, or else copied."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)
        return
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)
