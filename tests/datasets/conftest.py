from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from isegm.config import Config


@pytest.fixture
def config_of() -> Callable[..., Config]:
    """A config from rows: ``config_of(LIVER_PATH=folder)``."""
    return lambda **places: Config(Path("config.yml"), places)


@pytest.fixture
def colours() -> Callable[[int, int], npt.NDArray[np.uint8]]:
    """A picture of (height, width) in which no two neighbours or channels are alike."""

    def colours(height: int, width: int) -> npt.NDArray[np.uint8]:
        return (np.arange(height * width * 3).reshape(height, width, 3) * 7 % 251).astype(np.uint8)

    return colours
