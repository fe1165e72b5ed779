"""A network whose clicks are propagated through a volume, as the evaluation uses it."""

from isegm.geometry import VoxelClick
from isegm.inference.network import Network
from isegm.inference.volume_predictor import VolumePredictor
from isegm.inference.volume_segmenter import VolumeMask
from isegm.volumes.volume import Volume
from isegm.volumes.windows import Window


class PropagatingSegmenter:
    """Segment one object in a volume, each click propagated at once.

    Args:
        network: What segments slices.
        size: Pixels of the shorter side of its input.
        threshold: ``mask`` is where the probability is above this.
    """

    def __init__(self, network: Network, *, size: int, threshold: float) -> None:
        self._network = network
        self._size = size
        self._threshold = threshold

    def set_volume(self, volume: Volume, window: Window) -> None:
        """Start on a volume; all clicks on the last one are forgotten.

        Raises:
            InputError: The volume cannot be used.
        """
        self._predictor = VolumePredictor(
            self._network, volume, window=window, size=self._size, threshold=self._threshold
        )

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks so far."""
        return self._predictor.clicks

    @property
    def mask(self) -> VolumeMask:
        """The current mask, (X, Y, Z)."""
        return self._predictor.mask

    def click(self, voxel: tuple[int, int, int], positive: bool = True) -> None:
        """Place a click at a voxel (i, j, k), and propagate it."""
        self._predictor.click(voxel, positive)
        self._predictor.propagate()
