"""Many images at once: what several predictors ask of one network, answered in batches.

Every predictor works in a thread of its own and knows nothing of the others. What a network gives for a
picture may depend in its last bits on the size of the batch and on the number of clicks that fit in. So both
follow from the picture and its clicks alone, never from who else is there: a batch holds as many pictures of
one size as have some number of pixels together, and is filled up with copies where too few of that size ask.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from isegm.inference.network import Network
from isegm.inference.torch_network import Encoded
from isegm.model.correction.templates import STRIDE

_CLICKS_STEP = 8
"""Points are padded to a multiple of so many clicks a polarity, so that there are few sizes of batches."""

_BATCH_PIXELS = 4 * 384 * 384
"""Pixels of the network inputs of a batch, mirrored ones not counted.

More would mean more copies for pictures whose size few others have.
"""


@dataclass(eq=False)
class _Request:
    """What one predictor asks for, and the answer."""

    kind: str
    inputs: tuple[Tensor, ...]
    answer: tuple[Tensor, ...] = ()
    error: BaseException | None = None
    done: bool = False
    key: tuple[object, ...] = field(init=False)
    pixels: int = field(init=False)

    def __post_init__(self) -> None:
        points, *maps = self.inputs
        clicks = torch.unflatten(points, 1, (2, -1))  # (V, 2, N, 3)
        unused = -clicks.shape[2] % _CLICKS_STEP
        self.inputs = (F.pad(clicks, (0, 0, 0, unused), value=-1.0).flatten(1, 2), *maps)
        self.key = (self.kind, tuple(tensor.shape for tensor in self.inputs))
        height, width = maps[0].shape[2:]
        self.pixels = height * width * (1 if self.kind == "encode" else STRIDE**2)


class BatchedNetwork:
    """A ``Network`` that gathers what the threads of :meth:`member` ask for before it computes.

    Args:
        network: What computes.
        size: Pictures that are worked on at once, and in a batch at most (each with its mirrored one, if the
            predictors have them).

    Attributes:
        size: The same.
    """

    def __init__(self, network: Network, size: int) -> None:
        self.name = network.name
        self.sees_logits = network.sees_logits
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
        """The type that the network computes in."""
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

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Nothing yet: both parts of the first stage are gathered as one."""
        return (image,)

    def click_part(self, maps: tuple[Tensor, ...], points: Tensor) -> Encoded:
        """Run the first stage."""
        return self.encode(maps[0], points)

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head; see :class:`isegm.inference.torch_network.InferenceModel`."""
        return self._ask(_Request("correct", (points, *encoded, previous)))[0]

    def _ask(self, request: _Request) -> tuple[Tensor, ...]:
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
            while not request.done:
                batch = [] if self._running else self._next_batch()
                if batch:
                    self._run(batch)
                else:
                    self._changed.wait()
        if request.error is not None:
            raise request.error
        return request.answer

    def _batch_of(self, request: _Request) -> int:
        """The pictures of a request's batch, a function of the request alone."""
        return max(1, min(self.size, _BATCH_PIXELS // request.pixels))

    def _next_batch(self) -> list[_Request]:
        """The requests to compute now: a full batch, or the fullest one when nobody else can still come."""
        if not self._waiting:
            return []
        groups: dict[tuple[object, ...], list[_Request]] = {}
        for request in self._waiting:
            groups.setdefault(request.key, []).append(request)
        fullest = max(groups.values(), key=lambda group: len(group) / self._batch_of(group[0]))
        size = self._batch_of(fullest[0])
        return fullest[:size] if len(fullest) >= size or len(self._waiting) >= self._members else []

    def _run(self, batch: list[_Request]) -> None:
        """Compute a batch, with the lock held but for the computing itself."""
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
        filled = [*batch, *[batch[0]] * (self._batch_of(batch[0]) - len(batch))]
        points, *maps = (torch.cat(same) for same in zip(*(each.inputs for each in filled), strict=True))
        if batch[0].kind == "encode":
            answers: tuple[Tensor, ...] = self._network.encode(maps[0], points)
        else:
            answers = (self._network.correct(points, Encoded(*maps[:3]), maps[3]),)
        views = batch[0].inputs[1].shape[0]
        # Copies: what one picture keeps must not keep the whole batch.
        parts = ([part.clone() for part in torch.split(tensor, views)] for tensor in answers)
        return list(zip(*parts, strict=True))
