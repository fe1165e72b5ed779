"""Figures of a training run: always as CSV, for TensorBoard if it is wanted and installed."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from isegm.errors import SettingError
from isegm.storage import write_text

TRAINING_COLUMNS = (
    "step",
    "epoch",
    "learning_rate",
    "total",
    "coarse",
    "auxiliary",
    "corrected",
    "iou",
    "extra_clicks",
    "gradient_norm",
    "images_per_second",
)


class TrainingLog:
    """Append figures to ``training.csv`` and ``validation.csv`` in a run's folder.

    Args:
        folder: The run's folder.
        step: Where the run begins. Later rows, of work that was lost in an interruption, are removed.
        active: Whether this process writes; the others' logs do nothing.
        tensorboard: Write for TensorBoard as well.

    Raises:
        InputError: TensorBoard is wanted and not installed.
        OSError: A file cannot be written.
    """

    def __init__(self, folder: Path, step: int, active: bool, tensorboard: bool) -> None:
        self._folder = folder
        self._active = active
        self._board: Any = None
        if not active:
            return
        for name in ("training.csv", "validation.csv"):
            _drop_rows_after(folder / name, step)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise SettingError("tensorboard", "needs a package; pip install tensorboard") from None
            writer: Any = SummaryWriter
            self._board = writer(folder / "tensorboard", purge_step=step + 1)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def training(self, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Log a step's figures; what a network does not have (``auxiliary``) stays empty."""
        if self._active:
            row = {"step": step, "epoch": round(epoch, 4), **figures}
            self._append("training.csv", TRAINING_COLUMNS, [[row.get(name, "") for name in TRAINING_COLUMNS]])
            self._to_board(step, "training", figures)

    def validation(self, step: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Log a validation's figures, a row each."""
        if self._active:
            rows = [[step, epoch, name, value] for name, value in figures.items()]
            self._append("validation.csv", ("step", "epoch", "figure", "value"), rows)
            self._to_board(step, "validation", figures)

    def _append(self, name: str, header: tuple[str, ...], rows: list[list[Any]]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(header)
            writer.writerows(rows)

    def _to_board(self, step: int, group: str, figures: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{group}/{name}", value, step)


def _drop_rows_after(path: Path, step: int) -> None:
    """Keep the header and the whole rows up to ``step``."""
    if not path.is_file():
        return
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    if not step or not header.endswith("\n"):  # nothing to keep, or cut before there was
        path.unlink()
        return
    rows = [(line.partition(",")[0], line) for line in lines if line.endswith("\n")]
    kept = [line for at, line in rows if at.isdecimal() and int(at) <= step]
    write_text(path, "".join([header, *kept]))
