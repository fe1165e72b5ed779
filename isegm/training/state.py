"""The files of a training run, each written whole or not at all.

``state.pt`` holds all that continuing needs. Random numbers are not part of it: they follow from the seed and
the number of the step or sample. ``best.pth`` and ``last.pth`` are checkpoints in the released form, with our
metadata in them.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isegm.errors import InputError, is_out_of_memory
from isegm.model.checkpoint import check_container, write_container
from isegm.training.recipe import Recipe

STATE_FILE = "state.pt"

_MAY_CHANGE = frozenset({"epochs", "sources"})
"""Fields that a resumed run may have otherwise: a longer run, the same sources moved elsewhere."""


@dataclasses.dataclass
class TrainingState:
    """All that a run needs to go on as if it had not been interrupted.

    Attributes:
        step: Optimiser steps done.
        model: The network's tensors.
        optimiser: The optimiser's state.
        average: The averaged network's tensors; None without averaging.
        best_noc: The best validation's mean NoC so far; None before the first.
        recipe: The recipe's fields.
    """

    step: int
    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Any]
    average: Mapping[str, Tensor] | None
    best_noc: float | None
    recipe: Mapping[str, Any]


def save_state(folder: Path, state: TrainingState) -> None:
    """Write ``state.pt``.

    Raises:
        OSError: It cannot be written.
    """
    content = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    write_container(folder / STATE_FILE, content)


def clear_remains(folder: Path) -> None:
    """Remove files that a killed run left half-written under temporary names."""
    for place in (folder, folder / "checkpoints", folder / "pictures"):
        for remains in place.glob(".tmp-*"):
            remains.unlink(missing_ok=True)


def load_state(folder: Path, recipe: Recipe) -> TrainingState:
    """Read ``state.pt``.

    Args:
        folder: The run's folder.
        recipe: The recipe of the run that is to go on with it.

    Raises:
        InputError: It is missing or unreadable, or belongs to a run with another recipe.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise InputError(f"{path}: there is no run here to resume; begin one")
    try:
        check_container(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = TrainingState(**content)
        if not isinstance(state.recipe, Mapping):
            raise TypeError
    except Exception as error:  # whatever torch says of it, it cannot be resumed from
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path}: unreadable ({type(error).__name__}); start again without it") from None
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    for name, value in plain_recipe(recipe).items():
        before = state.recipe.get(
            name, defaults[name]
        )  # a run from before there was the setting had its default
        if before != value and name not in _MAY_CHANGE:
            raise InputError(f"{path}: was trained with {name} {before}, not {value}; resume with the same")
    return state


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields as plain values (tuples become lists)."""
    fields = dataclasses.asdict(recipe)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
