import numpy as np
import pytest

from isegm.errors import InputError
from isegm.training.ct_appearance import WindowJitter, random_window, vary_tone
from isegm.volumes.windows import WINDOWS, Window


def test_no_jitter():
    assert WindowJitter(0, 1).draw(Window(40, 350), np.random.default_rng(0)) == Window(40, 350)


@pytest.mark.parametrize("wrong", [(-0.1, 1), (0, 0.9), (float("nan"), 1), (0, float("inf"))])
def test_jitter_is_checked(wrong):
    with pytest.raises(InputError, match="window jitter"):
        WindowJitter(*wrong)


def test_random_windows_are_named_ones_or_show_what_they_are_for():
    windows = [random_window(-80, WindowJitter(0, 1), np.random.default_rng(i)) for i in range(600)]
    named = [window for window in windows if window in WINDOWS.values()]
    assert set(named) == set(WINDOWS.values())
    assert 0.43 < len(named) / 600 < 0.57
    others = [window for window in windows if window not in WINDOWS.values()]
    assert all(abs(window.level + 80) <= 0.4 * window.width for window in others)
    assert all(150 <= window.width <= 3000 for window in others)
    assert 0.4 < np.mean([window.width < np.sqrt(150 * 3000) for window in others]) < 0.6


def test_tone_keeps_the_order_and_the_shape():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for i in range(50):
        varied = vary_tone(grey, np.random.default_rng(i))
        assert varied.shape == grey.shape
        assert (np.diff(varied.ravel().astype(int)) >= 0).all()
    assert np.abs(varied.astype(int) - grey).max() < 80
