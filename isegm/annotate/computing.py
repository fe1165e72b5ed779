"""What computes masks for a session: a network, loaded while people already look at their pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isegm.annotate.packed_masks import Mask
from isegm.annotate.session import Start
from isegm.geometry import Click

if TYPE_CHECKING:  # torch takes seconds to import; pictures are shown meanwhile
    from isegm.inference.network import Network
    from isegm.inference.predictor import Predictor

# Slices whose features are kept: some 20 MB each at the usual size.
_MOST_KEPT = 8


class NetworkComputing:
    """Computes by a network; its methods are called from one thread at a time.

    Args:
        checkpoint: The network's file, which is loaded in a thread of its own.
        size: Pixels of the shorter side of the network's input.
        threads: Threads that a click uses.
    """

    def __init__(self, checkpoint: Path, *, size: int = 384, threads: int | None = None) -> None:
        self.checkpoint, self.size = checkpoint, size
        self.preset = ""
        self._kept: OrderedDict[object, Predictor] = OrderedDict()
        self._failure: Exception | None = None
        self._network: Network
        self._loaded = threading.Event()
        self._threads = threads
        self._thread = threading.Thread(target=self._load, name="load the network")
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the network is loaded."""
        return self._loaded.is_set() and self._failure is None

    @property
    def status(self) -> str:
        """``ready``, ``loading``, or the line that says why the network cannot be used."""
        if self._failure is not None:
            return str(self._failure)
        return "ready" if self.is_ready else "loading"

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
        return predictor.mask

    def prepare(self, start: Start) -> None:
        """Compute ahead of a first click what does not depend on it."""
        if self.is_ready:
            self._predictor(start)

    def close(self) -> None:
        """Wait for what still loads: a process must not end while torch is being imported."""
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

    def _load(self) -> None:
        try:
            import torch

            from isegm.inference.load import load_network

            if self._threads is not None:
                torch.set_num_threads(self._threads)
            self._network = load_network(self.checkpoint)
            self.preset = self._network.name
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error
        finally:
            self._loaded.set()
