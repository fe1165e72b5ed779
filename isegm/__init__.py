"""Click-based segmentation of CT slices and volumes: EMC-Click, complete and fast.

What needs a network or torch is imported on first use, so that the other tools (``isegm.volumes``,
``isegm.metrics``) start without importing it.
"""

import os
from typing import TYPE_CHECKING, Any

from isegm._version import __version__
from isegm.limits import MOST_PIXELS

# OpenCV reads these when it is first imported. It is not to take memory for whatever a picture claims to be,
# and what it has to say of a bad one is said by us, in one line.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

if TYPE_CHECKING:
    from isegm.inference.load import load_network
    from isegm.inference.predictor import Predictor
    from isegm.inference.volume_predictor import VolumePredictor
    from isegm.model.checkpoint import load_model
    from isegm.volumes.files import open_volume

__all__ = ["Predictor", "VolumePredictor", "__version__", "load_model", "load_network", "open_volume"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute can be anything
    if name == "Predictor":
        from isegm.inference.predictor import Predictor

        return Predictor
    if name == "VolumePredictor":
        from isegm.inference.volume_predictor import VolumePredictor

        return VolumePredictor
    if name == "load_model":
        from isegm.model.checkpoint import load_model

        return load_model
    if name == "load_network":
        from isegm.inference.load import load_network

        return load_network
    if name == "open_volume":
        from isegm.volumes.files import open_volume

        return open_volume
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
