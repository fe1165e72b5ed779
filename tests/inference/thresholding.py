"""A network without weights: the object is what is bright and hangs together with a positive click."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from isegm.inference.torch_network import Encoded


class Thresholding:
    """A ``Network`` whose logits have the input's resolution.

    Bright parts that hold a positive click are object, but for those that hold a negative one.

    Attributes:
        encoded: How often the first stage's image part has run.
        corrected: The previous logits of every correction, (1, 1, H, W).
        points: The points of every correction, (1, 2N, 3).
    """

    name = "thresholding"
    sees_logits = True
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self):
        self.encoded = 0
        self.corrected = []
        self.points = []

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        return self.click_part(self.image_part(image), points)

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        self.encoded += 1
        return (image[:, :1],)

    def click_part(self, maps: tuple[Tensor, ...], points: Tensor) -> Encoded:
        return Encoded(maps[0], maps[0], torch.full_like(maps[0], -2.0))

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        self.corrected.append(previous)
        self.points.append(points)
        parts, _ = ndimage.label(encoded.image[0, 0].numpy() > 0)  # normalised: brighter than the mean grey
        taken = {True: set(), False: set()}
        for number, (row, col, order) in enumerate(points[0].tolist()):
            if order >= 0:
                taken[number < points.shape[1] // 2].add(int(parts[round(row), round(col)]))
        kept = np.isin(parts, list(taken[True] - taken[False] - {0}))
        return torch.where(torch.from_numpy(kept), 8.0, -8.0)[None, None]
