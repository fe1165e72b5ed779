"""What computes masks for a session: a network, loaded while people already look at their pictures."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isegm.annotate.cases import Pixels
from isegm.annotate.session import Start
from isegm.errors import InputError
from isegm.geometry import Click, input_size
from isegm.metrics.overlap import Mask
from isegm.volumes.volume import Volume, Voxels
from isegm.volumes.windows import WINDOWS, Window

if TYPE_CHECKING:  # torch takes seconds to import; pictures are shown meanwhile
    from isegm.inference.network import Network
    from isegm.inference.predictor import Predictor
    from isegm.inference.volume_predictor import VolumePredictor

# Slices whose features are kept for further clicks: some 10 MB each at the usual size.
_MOST_KEPT = 4
# Features that are kept for the next propagation, which begins near the slices that were clicked last.
_KEPT_BYTES = 2**25

_logger = logging.getLogger(__name__)
# A slice is doubtful if less than this Dice of its mask comes back from where propagation has ended.
_LEAST_DICE = 0.9


class NetworkComputing:
    """Computes by a network; its methods are called from one thread at a time.

    Args:
        checkpoint: The network's file, which is loaded in a thread of its own.
        size: Pixels of the shorter side of the network's input.
        threads: Most threads that a click, or a propagation, uses; by default torch's own.
    """

    def __init__(self, checkpoint: Path, *, size: int = 384, threads: int | None = None) -> None:
        self.checkpoint, self.size = checkpoint, size
        self.preset = ""
        self._kept: OrderedDict[object, Predictor] = OrderedDict()
        self._volume: _KeptVolume | None = None
        self._failure: Exception | None = None
        self._network: Network
        self._loaded = threading.Event()
        self._threads = threads
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._load, name="load the network")
        self._thread.start()

    @property
    def status(self) -> str:
        """``ready``, ``loading``, or the line that says why the network cannot be used."""
        if self._failure is not None:
            return str(self._failure)
        return "ready" if self._loaded.is_set() else "loading"

    def click(self, start: Start, clicks: Sequence[Click]) -> Mask:
        """The mask that clicks give (:meth:`isegm.annotate.session.Computing.click`).

        Raises:
            InputError: The checkpoint cannot be used, or the picture is too long and narrow.
        """
        predictor = self._predictor(start)
        done = list(predictor.clicks)
        same = 0
        while same < min(len(done), len(clicks)) and done[same] == clicks[same]:
            same += 1
        for _ in done[same:]:
            predictor.undo()
        for click in clicks[same:]:
            predictor.click(click.row, click.col, click.positive)
        mask = predictor.mask
        return self._as_on_slice(start, clicks, mask) if start.is_slice else mask

    def _as_on_slice(self, start: Start, clicks: Sequence[Click], mask: Mask) -> Mask:
        """A slice's mask as :meth:`VolumePredictor.click` makes it of the network's."""
        from isegm.inference.propagation import parts_clicked_on, stamped
        from isegm.model.click_maps import disk_radii
        from isegm.model.correction.templates import STRIDE

        if start.mask is None:
            mask = parts_clicked_on(mask, clicks)
        height, width = mask.shape
        radii = disk_radii((height, width), input_size(height, width, self.size, STRIDE))
        for click in clicks:
            if mask[round(click.row), round(click.col)] != click.positive:
                mask = stamped(mask, click, radii)
        return mask

    def prepare(self, start: Start) -> None:
        """Compute ahead of a first click what does not depend on it."""
        if self.status == "ready":
            self._predictor(start).prepare()

    def propagate(
        self,
        pixels: Pixels,
        number: int,
        window: Window | None,
        clicks: Mapping[int, Sequence[Click]],
        by_hand: Mapping[int, Mask],
        given: Mask | None,
        found: Callable[[int, Mask], None],
        progress: Callable[[int, int], None],
        cancel: Callable[[], bool],
    ) -> bool:
        """Find an object's masks (:meth:`isegm.annotate.session.Computing.propagate`).

        Raises:
            InputError: The checkpoint cannot be used, or the volume is of one grey everywhere.
        """
        kept = self._volume_predictor(pixels, number, window, is_given=given is not None)
        # Of what is as it was the last time nothing is computed again; nor is it of a given mask, for its
        # slices that are told as they are have no correction to be taken on.
        known = {z: (mask.tobytes(), tuple(clicks.get(z, ()))) for z, mask in by_hand.items()}
        if given is not None:
            kept.predictor.start_from(pixels.plan.array(given))
            kept.known = {}
        elif not kept.known.keys() <= known.keys():
            kept.predictor.reset()
            kept.known = {}
        for z, mask in by_hand.items():
            if kept.known.get(z) != known[z]:
                kept.predictor.set_mask(z, mask, clicks.get(z, ()))
        kept.known = known
        told: set[int] = set()

        def each(z: int, mask: Mask) -> None:
            told.add(z)
            found(z, mask)

        if cancel() or not kept.predictor.propagate(progress=progress, cancel=cancel, each=each):
            return False
        for z in range(pixels.shape[0]) if given is None else ():
            if z not in by_hand and z not in told:  # found earlier, or not the object's any more
                found(z, kept.predictor.slice_mask(z))
        return True

    def doubtful(self, cancel: Callable[[], bool]) -> set[int] | None:
        """Find slices to look at (:meth:`isegm.annotate.session.Computing.doubtful`)."""
        dices = None if self._volume is None else self._volume.predictor.consistency(cancel)
        return None if dices is None else {z for z, dice in dices.items() if dice < _LEAST_DICE}

    def close(self) -> None:
        """Wait for what still loads: a process must not end while torch is being imported."""
        self._closing.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait until the network is loaded.

        Raises:
            InputError: The checkpoint cannot be used.
        """
        self._loaded.wait()
        if self._failure is not None:
            raise self._failure

    def _predictor(self, start: Start) -> Predictor:
        self.wait()
        from isegm.inference.predictor import Predictor

        predictor = self._kept.pop(start.key, None)
        if predictor is None:
            # The mirrored image would double what people wait for.
            predictor = Predictor(self._network, size=self.size, flip=False)
            predictor.set_image(start.image(), start.mask)
        self._kept[start.key] = predictor
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return predictor

    def _volume_predictor(
        self, pixels: Pixels, number: int, window: Window | None, *, is_given: bool
    ) -> _KeptVolume:
        """The predictor of an object, kept until another one, or another window, is asked for."""
        self.wait()
        from isegm.inference.volume_predictor import VolumePredictor

        window = window or WINDOWS["abdomen"]  # grey values have none
        key = (id(pixels), number, window, is_given)
        if self._volume is None or self._volume.key != key:
            self._volume = None  # its memory goes before the next one's comes
            predictor = VolumePredictor(
                self._network,
                _StackVolume.of(pixels),
                window=window,
                size=self.size,
                kept_bytes=_KEPT_BYTES,
            )
            self._volume = _KeptVolume(key, predictor, {})
        return self._volume

    def _load(self) -> None:
        try:
            import torch

            from isegm.inference.load import load_network

            threads = min(self._threads or torch.get_num_threads(), torch.get_num_threads())
            torch.set_num_threads(threads)
            network = self._network = load_network(self.checkpoint)
            self.preset = network.name
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error
            return
        finally:
            self._loaded.set()
        if importlib.util.find_spec("openvino") is not None:
            self._quicken(network, threads)

    def _quicken(self, network: Network, threads: int) -> None:
        """Have OpenVINO run the correction head from now on, at the same masks in half the time."""
        from isegm.inference.onnx_pair import export_pair
        from isegm.inference.predictor import Predictor
        from isegm.inference.runtimes import OpenVinoNetwork
        from isegm.model.checkpoint import load_model

        try:
            pair = export_pair(load_model(self.checkpoint))
            if self._closing.is_set():  # who ends the server would wait for each step
                return
            quick = _WithHeadOf(network, OpenVinoNetwork(pair, threads=threads))
            if self._closing.is_set():
                return
            predictor = Predictor(quick, size=self.size, flip=False)
            predictor.set_image(np.zeros((self.size, self.size), np.uint8))
            predictor.click(0, 0)  # which compiles it for squares
        except (ImportError, OSError, RuntimeError, InputError) as error:
            # An installation or a processor that it cannot use must not end what torch can do as well.
            reason = " ".join(str(error).split())
            _logger.warning("OpenVINO cannot be used (%s); clicks take somewhat longer", reason)
        else:
            self._network = quick


class _WithHeadOf:
    """A network whose correction head is another's; the rest is torch's, which computes it ahead in parts."""

    def __init__(self, network: Network, other: Network) -> None:
        self.name, self.sees_logits = network.name, network.sees_logits
        self.device, self.dtype = network.device, network.dtype
        self.encode, self.image_part, self.click_part = network.encode, network.image_part, network.click_part
        self.correct = other.correct


@dataclass
class _KeptVolume:
    """A volume's predictor, and the masks and clicks that it was given by slice."""

    key: object
    predictor: VolumePredictor
    known: dict[int, tuple[bytes, tuple[Click, ...]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _StackVolume(Volume):
    """A volume whose values are in memory."""

    values: npt.NDArray[Any]
    """(X, Y, Z)"""

    @classmethod
    def of(cls, pixels: Pixels) -> _StackVolume:
        volume = pixels.volume
        if volume is None:
            raise ValueError("a picture has no neighbouring slices")
        return cls(
            path=volume.path,
            shape=volume.shape,
            affine=volume.affine,
            has_orientation=True,  # the session has said so, if not
            is_8bit=volume.is_8bit,
            values=pixels.plan.array(pixels.values),
        )

    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """As :meth:`Volume.slabs`, a slice at a time."""
        for index in range(self.shape[2]) if wanted is None else sorted(wanted):
            yield index, Voxels(self.path, self.values[:, :, index : index + 1])
