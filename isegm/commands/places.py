"""Where the commands find what comes with the project, in a checkout and where it is installed."""

from pathlib import Path

from isegm.config import EXPERIMENTS_KEY, MODELS_KEY, Config, read_config
from isegm.errors import InputError

DEFAULT_WEIGHTS = "emcclick_ct_lite0.pth"
"""The file of the weights that come with the project; weights/README.md is their model card."""

_PACKAGE = Path(__file__).resolve().parents[1]

CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "pyproject.toml").is_file() else None
"""The repository that this runs from; None where it is installed."""

_DATASETS = (
    "GrabCut",
    "Berkeley",
    "DAVIS",
    "SBD",
    "PascalVOC",
    "COCO_MVal",
    "DAVIS585",
    "lung",
    "liver",
    "spleen",
)


def default_weights() -> Path:
    """The file of the weights that come with the project.

    Raises:
        InputError: It is gone.
    """
    path = (CHECKOUT or _PACKAGE) / "weights" / DEFAULT_WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: the project's own weights are missing; restore them, or name others")
    return path


def find_config(path: Path | None) -> Config:
    """Read the config file that was named, else the current folder's, else the checkout's.

    Where it is installed and there is none, the places are a new config file's, in the current folder.
    """
    local = Path("config.yml")
    if path is None and not local.is_file():
        if CHECKOUT is None:
            rows = {f"{name.upper()}_PATH": Path("datasets") / name for name in _DATASETS}
            return Config(local, {MODELS_KEY: Path("weights"), EXPERIMENTS_KEY: Path("experiments"), **rows})
        path = CHECKOUT / local
    return read_config(path or local)
