import pytest
import torch


@pytest.fixture(autouse=True)
def _threads(one_thread):
    pass


@pytest.fixture
def picture():
    """``picture(batch, height, width)``: the same random images in [0, 1] every time, float64."""

    def make(batch, height, width, channels=3):
        generator = torch.Generator().manual_seed(height * 1000 + width)
        return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)

    return make
