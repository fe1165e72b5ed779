"""Where the commands find what comes with the project."""

from pathlib import Path

from isegm.config import Config, read_config

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout."""

DEFAULT_CHECKPOINT = REPOSITORY / "weights" / "emcclick_ct_hr18s.pth"
"""The weights that come with the project; weights/README.md is their model card."""


def find_config(path: Path | None) -> Config:
    """Read the config file that was named, else the current folder's, else the repository's."""
    local = Path("config.yml")
    return read_config(path or (local if local.is_file() else REPOSITORY / local))
