"""Many images at once: what several predictors ask of one network, answered in batches.

Every predictor works in a thread of its own and knows nothing of the others. Batches are always full, filled
up with copies if need be: what a network gives for a picture may depend in its last bits on the batch's size,
and so it does not depend on who else was there.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from isegm.inference.network import Network
from isegm.inference.torch_network import Encoded

_CLICKS_STEP = 8
"""Points are padded to a multiple of so many clicks a polarity, so that there are few sizes of batches."""


@dataclass(eq=False)
class _Request:
    """What one predictor asks for, and the answer."""

    kind: str
    inputs: tuple[Tensor, ...]
    answer: tuple[Tensor, ...] = ()
    error: BaseException | None = None
    done: bool = False
    key: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Numbers of clicks may differ within a batch, sizes of pictures may not.
        self.key = (self.kind, tuple(tensor.shape for tensor in self.inputs[1:]))


class BatchedNetwork:
    """A ``Network`` that gathers what the threads of :meth:`member` ask for before it computes.

    Args:
        network: What computes.
        size: Pictures in a batch (each with its mirrored one, if the predictors have them).

    Attributes:
        size: The same.
    """

    def __init__(self, network: Network, size: int) -> None:
        self.name = network.name
        self._network = network
        self.size = size
        self._members = 0
        self._waiting: list[_Request] = []
        self._running = False
        self._changed = threading.Condition()

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self._network.dtype

    @contextlib.contextmanager
    def member(self) -> Iterator[None]:
        """Count the calling thread among those that are waited for before a batch is computed."""
        with self._changed:
            self._members += 1
        try:
            yield
        finally:
            with self._changed:
                self._members -= 1
                self._changed.notify_all()  # the others may have waited for this one

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage; see :class:`isegm.inference.torch_network.InferenceModel`."""
        return Encoded(*self._ask(_Request("encode", (points, image))))

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head; see :class:`isegm.inference.torch_network.InferenceModel`."""
        return self._ask(_Request("correct", (points, *encoded, previous)))[0]

    def _ask(self, request: _Request) -> tuple[Tensor, ...]:
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
            while not request.done:
                if self._running or len(self._waiting) < self._members:
                    self._changed.wait()
                else:
                    self._run_a_batch()
        if request.error is not None:
            raise request.error
        return request.answer

    def _run_a_batch(self) -> None:
        """Compute the batch that most wait for, with the lock held but for the computing itself."""
        key, _ = Counter(request.key for request in self._waiting).most_common(1)[0]
        batch = [request for request in self._waiting if request.key == key][: self.size]
        self._waiting = [request for request in self._waiting if request not in batch]
        self._running = True
        self._changed.release()
        try:
            self._answer(batch)
        finally:
            self._changed.acquire()
            self._running = False
        for request in batch:
            request.done = True
        self._changed.notify_all()

    def _answer(self, batch: Sequence[_Request]) -> None:
        """Answer each request, by an error if need be; one that has none spoils no other's."""
        try:
            answers = self._compute(batch)  # and those of what the batch was filled up with
            for request, answer in zip(batch, answers, strict=False):
                request.answer = answer
        except BaseException as error:  # noqa: BLE001 - whoever asked shall have it
            if len(batch) == 1:
                batch[0].error = error
            else:
                for request in batch:
                    self._answer([request])

    def _compute(self, batch: Sequence[_Request]) -> list[tuple[Tensor, ...]]:
        """What each request asks for."""
        filled = [*batch, *[batch[0]] * (self.size - len(batch))]
        points = _stack_points([request.inputs[0] for request in filled])
        maps = [torch.cat(same) for same in zip(*(request.inputs[1:] for request in filled), strict=True)]
        if batch[0].kind == "encode":
            answers: tuple[Tensor, ...] = self._network.encode(maps[0], points)
        else:
            answers = (self._network.correct(points, Encoded(*maps[:3]), maps[3]),)
        views = batch[0].inputs[1].shape[0]
        return list(zip(*(torch.split(tensor, views) for tensor in answers), strict=True))


def _stack_points(points: Sequence[Tensor]) -> Tensor:
    """Points (V, 2N, 3) of pictures with different N as one batch, padded by unused rows."""
    most = max(each.shape[1] for each in points) // 2
    wanted = -(-most // _CLICKS_STEP) * _CLICKS_STEP
    padded = [
        F.pad(torch.unflatten(each, 1, (2, -1)), (0, 0, 0, wanted - each.shape[1] // 2), value=-1.0)
        for each in points
    ]
    return torch.cat(padded).flatten(1, 2)
