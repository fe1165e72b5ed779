"""Networks that answer many predictors at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from isegm.inference.batching import BatchedNetwork
from isegm.inference.predictor import Predictor
from isegm.inference.torch_network import Encoded, InferenceModel

pytestmark = pytest.mark.slow  # together more than the fast tests have time for


@pytest.fixture(scope="module")
def network(untrained):
    return InferenceModel(untrained("hr18s"))


class Counting:
    """A network that notes the batches that it is given."""

    def __init__(self, network):
        self.network, self.name, self.calls = network, network.name, []
        self.sees_logits = network.sees_logits
        self.device, self.dtype = network.device, network.dtype

    def encode(self, image, points):
        self.calls.append(("encode", image.shape[0]))
        return self.network.encode(image, points)

    def correct(self, points, encoded, previous):
        self.calls.append(("correct", previous.shape[0]))
        return self.network.correct(points, encoded, previous)


def session(index):
    """An image and its clicks; their numbers, the polarities' too, differ by index, and so do some sizes."""
    random = np.random.default_rng(index)
    shape = (44, 40) if index % 4 == 3 else (40, 52)
    clicks = [
        (int(row), int(col), bool(number == 0 or random.random() < 0.4))
        for number, (row, col) in enumerate(random.integers(0, 40, (2 + index % 5, 2)))
    ]
    return random.integers(0, 256, (*shape, 3), dtype=np.uint8), clicks


def probabilities(network, index, member=None):
    predictor = Predictor(network, size=64)
    image, clicks = session(index)
    torch.set_num_threads(1)  # of this thread
    if member is None:
        predictor.set_image(image)
        return [predictor.click(*click) for click in clicks]
    with member():
        predictor.set_image(image)
        return [predictor.click(*click) for click in clicks]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_every_sample_gets_what_it_gets_alone(network, size):
    counting = Counting(network)
    batched = BatchedNetwork(counting, size)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda index: probabilities(batched, index, batched.member), range(9)))
    for index, ours in enumerate(together):
        for probability, alone in zip(ours, probabilities(network, index), strict=True):
            np.testing.assert_allclose(probability, alone, rtol=0, atol=1e-6)
    assert {count for _, count in counting.calls} == {2 * size}  # with the mirrored pictures
    assert len(counting.calls) >= sum(1 + len(session(index)[1]) for index in range(9)) / size


def test_what_a_sample_gets_does_not_depend_on_the_others(network):
    batched = BatchedNetwork(network, 4)
    alone = probabilities(batched, 0)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda index: probabilities(batched, index, batched.member), (0, 1, 2)))
    for ours, theirs in zip(together[0], alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Recording:
    """A network of tiny maps that notes each batch that it is asked for; it computes nothing."""

    name, sees_logits, device, dtype = "hr18s", True, torch.device("cpu"), torch.float32

    def __init__(self):
        self.calls = []

    def encode(self, image, points):
        self.calls.append((image.shape[0], *image.shape[2:], points.shape[1] // 2))
        maps = image[:, :1, ::4, ::4]
        return Encoded(maps, maps, maps)

    def correct(self, points, encoded, previous):
        self.calls.append(
            (previous.shape[0], 4 * previous.shape[2], 4 * previous.shape[3], points.shape[1] // 2)
        )
        return previous


def ask_at_once(sizes, clicks, size):
    """Let as many threads as there are sizes each click on a picture of its own; the batches."""
    recording = Recording()
    batched, ready = BatchedNetwork(recording, size), threading.Barrier(len(sizes))

    def ask(number):
        predictor = Predictor(batched, size=min(sizes[number]))
        with batched.member():
            ready.wait()
            predictor.set_image(np.zeros(sizes[number], np.uint8))
            for click in range(clicks[number]):
                predictor.click(click, click)

    with ThreadPoolExecutor(len(sizes)) as pool:
        list(pool.map(ask, range(len(sizes))))
    return recording.calls


def test_pictures_of_many_sizes_are_not_filled_up_to_many_times_what_is_needed():
    sizes = [(384, 480 + 16 * number) for number in range(16)]
    calls = ask_at_once(sizes, [2] * 16, 16)
    assert len(calls) == 16 * 3
    pixels = sum(views // 2 * height * width for views, height, width, _ in calls)
    needed = 3 * sum(height * width for height, width in sizes)
    assert pixels <= 3 * needed
    assert {width: views // 2 for views, _, width, _ in calls} == {
        width: 4 * 384 * 384 // (384 * width) for _, width in sizes
    }


def test_pictures_of_one_size_fill_their_batches():
    calls = ask_at_once([(384, 384)] * 16, [1] * 16, 16)
    assert calls == [(8, 384, 384, 8)] * 8  # four pictures and their mirrored ones, both stages


def test_a_picture_with_many_clicks_does_not_change_what_the_others_are_computed_with():
    calls = ask_at_once([(64, 64)] * 2, [2, 9], 2)
    assert calls.count((4, 64, 64, 8)) + calls.count((4, 64, 64, 16)) == len(calls)
    assert calls.count((4, 64, 64, 16)) == 1  # the ninth click alone


def test_threads_that_ask_together_share_a_batch(network):
    counting = Counting(network)
    batched = BatchedNetwork(counting, 4)
    ready = threading.Barrier(3)

    def ask(_):
        predictor = Predictor(batched, size=64)
        with batched.member():
            ready.wait()
            predictor.set_image(session(0)[0])
            predictor.click(3, 4)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, range(3)))
    assert counting.calls == [("encode", 8), ("correct", 8)]


def test_a_failure_reaches_all_who_asked_and_nobody_waits_for_ever(network):
    class Failing(Counting):
        def correct(self, points, encoded, previous):
            raise RuntimeError("out of memory")

    batched = BatchedNetwork(Failing(network), 2)

    def ask(index):
        with pytest.raises(RuntimeError, match="out of memory"):
            probabilities(batched, index, batched.member)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, (0, 1), timeout=60)) == [True, True]


def test_who_cannot_be_answered_fails_alone(network):
    class Poisoned(Counting):
        def encode(self, image, points):
            if (image.amin(dim=(1, 2, 3)) > 1).any():  # a white picture, normalised
                raise RuntimeError("poisoned")
            return super().encode(image, points)

    batched = BatchedNetwork(Poisoned(network), 4)
    ready = threading.Barrier(3)

    def ask(value):
        predictor = Predictor(batched, size=64)
        with batched.member():
            ready.wait()
            predictor.set_image(np.full((40, 52, 3), value, np.uint8))
            try:
                return predictor.click(3, 4)
            except RuntimeError as error:
                return str(error)

    with ThreadPoolExecutor(3) as pool:
        black, white, grey = pool.map(ask, (0, 255, 90), timeout=60)
    assert white == "poisoned"
    alone = Predictor(BatchedNetwork(network, 4), size=64)
    for value, probability in ((0, black), (90, grey)):
        alone.set_image(np.full((40, 52, 3), value, np.uint8))
        np.testing.assert_array_equal(probability, alone.click(3, 4))
