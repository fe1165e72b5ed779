"""Computing without a network, for tests that are about the rest: pixels that look like the clicked ones.

``python -m tests.annotate.flooding PATH ...`` is ``isegm annotate`` with it.
"""

import sys
import time

import numpy as np
from scipy import ndimage


class Flooding:
    """A click adds (or takes away) the connected pixels whose value is near the clicked one's."""

    preset = "flooding"

    def __init__(self, checkpoint, *, near=25, slice_seconds=0.0, threads=None):
        self.checkpoint, self.near, self.slice_seconds = checkpoint, near, slice_seconds
        self.status = "ready"
        self.prepared = []
        self.small = set()

    def close(self):
        pass

    def prepare(self, start):
        self.prepared.append(start.key)

    def click(self, start, clicks):
        image = start.image()
        grey = image.mean(axis=2) if image.ndim == 3 else image.astype(float)
        mask = np.zeros(grey.shape, bool) if start.mask is None else start.mask.copy()
        for click in clicks:
            row, col = int(click.row), int(click.col)
            parts, _ = ndimage.label(np.abs(grey - grey[row, col]) <= self.near)
            part = parts == parts[row, col]
            mask = mask | part if click.positive else mask & ~part
        return mask

    def propagate(self, pixels, number, window, clicks, by_hand, given, found, progress, cancel):
        """From each slice of a person's outwards, as long as something is left of the mask."""
        done, total = 0, pixels.shape[0]
        for step in (1, -1):
            z = max(by_hand) if step == 1 else min(by_hand)
            mask = by_hand[z]
            while 0 <= z + step < total and mask.any():
                z += step
                if cancel():
                    return False
                mask = ndimage.binary_erosion(mask)
                time.sleep(self.slice_seconds)
                done += 1
                self.small = {*self.small, z} if 0 < mask.sum() < 40 else self.small - {z}
                found(z, mask)
                progress(done, total)
        return True

    def doubtful(self, cancel):
        """Those whose mask was small when it was last found."""
        return None if cancel() else self.small


def main():
    import isegm.annotate.computing
    from isegm.commands.annotate import main as annotate

    isegm.annotate.computing.NetworkComputing = Flooding
    sys.exit(annotate())


if __name__ == "__main__":
    main()
