"""Against MedPy, torchmetrics, MONAI and surface-distance on random masks; each difference has its test."""

import math
import warnings

import numpy as np
import pytest

from isegm.metrics.boundary import hd95, nsd, surface_distances
from isegm.metrics.overlap import count, dice, iou, precision, recall

# The libraries' own use of what NumPy, SciPy and they themselves have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RATIOS = (dice, iou, precision, recall)


def random_masks(seed):
    """Two masks that overlap: noise, or blobs, in a plane or a volume, with a spacing."""
    generator = np.random.default_rng(seed)
    shape = (30, 37) if seed % 2 else (9, 14, 11)
    noise = generator.random((2, *shape))
    if seed % 4 < 2:
        kernel = np.ones(7) / 7
        for axis in range(1, noise.ndim):
            noise = np.apply_along_axis(np.convolve, axis, noise, kernel, mode="same")
    noise[1] = 0.5 * noise[0] + 0.5 * noise[1]
    prediction, truth = noise > np.quantile(noise, generator.uniform(0.4, 0.9))
    return prediction, truth, tuple(generator.choice([0.5, 0.7, 1.0, 2.5], len(shape)).tolist())


SEEDS = range(24)
EMPTY, SQUARE = np.zeros((6, 6), bool), np.pad(np.ones((2, 2), bool), 2)
NAN = math.nan


@pytest.fixture(scope="module")
def medpy():
    return pytest.importorskip("medpy.metric.binary")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def torchmetrics():
    return pytest.importorskip("torchmetrics.functional.classification")


@pytest.fixture(scope="module")
def monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics")


@pytest.fixture
def deepmind(monkeypatch):
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # their release is older than NumPy 2
    return pytest.importorskip("surface_distance")


class TestMedPy:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_overlap_is_the_same(self, medpy, seed):
        prediction, truth, _ = random_masks(seed)
        expected = [f(prediction, truth) for f in (medpy.dc, medpy.jc, medpy.precision, medpy.recall)]
        assert [f(count(prediction, truth)) for f in RATIOS] == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_distances_are_the_same_but_medpy_pools_them(self, medpy, seed):
        prediction, truth, spacing = random_masks(seed)
        distances = surface_distances(prediction, truth, spacing)
        both = (distances.from_prediction, distances.from_truth)
        theirs = medpy.hd95(prediction, truth, voxelspacing=spacing)
        assert np.percentile(np.concatenate(both), 95) == pytest.approx(theirs, rel=1e-9)
        assert max(part.max() for part in both) == pytest.approx(
            medpy.hd(prediction, truth, spacing), rel=1e-9
        )

    def test_pooling_lets_the_longer_boundary_outvote_the_shorter(self, medpy):
        truth = np.zeros((60, 60), bool)
        truth[5:55, 5:35] = True
        prediction = truth.copy()
        prediction[30, 35:48] = (
            True  # a thin spike: 13 of its pixels, up to 13 px away, no pixel of the truth
        )
        distances = surface_distances(prediction, truth)
        assert hd95(distances) > 1.5 * medpy.hd95(prediction, truth)

    def test_empty_masks_raise_in_hd95_where_ours_is_undefined(self, medpy):
        for prediction, truth in ((EMPTY, SQUARE), (SQUARE, EMPTY), (EMPTY, EMPTY)):
            assert math.isnan(hd95(surface_distances(prediction, truth)))
            with pytest.raises(RuntimeError, match="does not contain"):
                medpy.hd95(prediction, truth)

    def test_iou_of_two_empty_masks_is_1_where_ours_is_undefined(self, medpy):
        assert medpy.jc(EMPTY, EMPTY) == 1
        assert math.isnan(iou(count(EMPTY, EMPTY)))


class TestTorchmetrics:
    @staticmethod
    def theirs(torchmetrics, torch, prediction, truth):
        tensors = torch.from_numpy(prediction), torch.from_numpy(truth).int()
        names = ("f1_score", "jaccard_index", "precision", "recall")
        return [float(getattr(torchmetrics, f"binary_{name}")(*tensors)) for name in names]

    @pytest.mark.parametrize("seed", SEEDS)
    def test_overlap_is_the_same(self, torchmetrics, torch, seed):
        prediction, truth, _ = random_masks(seed)
        expected = self.theirs(torchmetrics, torch, prediction, truth)
        assert [f(count(prediction, truth)) for f in RATIOS] == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(
        ("prediction", "truth", "ours"),
        [
            (EMPTY, EMPTY, [NAN, NAN, NAN, NAN]),
            (EMPTY, SQUARE, [0, 0, NAN, 0]),
            (SQUARE, EMPTY, [0, 0, 0, NAN]),
        ],
    )
    def test_what_is_undefined_is_0_there(self, torchmetrics, torch, prediction, truth, ours):
        np.testing.assert_equal([f(count(prediction, truth)) for f in RATIOS], ours)
        assert self.theirs(torchmetrics, torch, prediction, truth) == [0, 0, 0, 0]


class TestMonai:
    @staticmethod
    def batch(torch, mask):
        return torch.from_numpy(mask)[None, None].float()

    @pytest.mark.parametrize("seed", SEEDS)
    def test_overlap_hd95_and_nsd_are_the_same(self, monai, torch, seed):
        prediction, truth, spacing = random_masks(seed)
        batch = self.batch(torch, prediction), self.batch(torch, truth)
        counts, distances = count(prediction, truth), surface_distances(prediction, truth, spacing)
        assert dice(counts) == pytest.approx(float(monai.compute_dice(*batch)), rel=1e-6)
        assert iou(counts) == pytest.approx(float(monai.compute_iou(*batch)), rel=1e-6)
        theirs = monai.compute_hausdorff_distance(
            *batch, include_background=True, percentile=95, spacing=spacing
        )
        assert hd95(distances) == pytest.approx(float(theirs), rel=1e-5)
        # No distance equals these tolerances: at equality float32 rounding decides there.
        for tolerance in (0.31, 1.13, 2.77):
            theirs = monai.compute_surface_dice(*batch, [tolerance], include_background=True, spacing=spacing)
            assert nsd(distances, tolerance) == pytest.approx(float(theirs), rel=1e-6)

    @pytest.mark.filterwarnings("ignore:the (ground truth|prediction) of class")
    @pytest.mark.parametrize(
        ("prediction", "truth", "ours", "theirs"),
        [
            (EMPTY, EMPTY, [NAN, NAN, NAN], [NAN, NAN, NAN]),
            (EMPTY, SQUARE, [0, NAN, 0], [0, NAN, 0]),
            (SQUARE, EMPTY, [0, NAN, 0], [NAN, NAN, 0]),  # an empty truth is left out of Dice there
        ],
    )
    def test_empty_masks_differ_only_in_the_dice_of_an_empty_truth(
        self, monai, torch, prediction, truth, ours, theirs
    ):
        distances = surface_distances(prediction, truth)
        np.testing.assert_equal([dice(count(prediction, truth)), hd95(distances), nsd(distances, 1)], ours)
        batch = self.batch(torch, prediction), self.batch(torch, truth)
        got = [
            float(monai.compute_dice(*batch)),
            float(monai.compute_hausdorff_distance(*batch, include_background=True, percentile=95)),
            float(monai.compute_surface_dice(*batch, [1.0], include_background=True)),
        ]
        np.testing.assert_equal(got, theirs)


class TestSurfaceDistance:
    """DeepMind's boundary runs between pixels and is weighted by its length; ours is made of pixels."""

    @pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 4 < 2])
    def test_hd95_of_blobs_is_within_a_pixel(self, deepmind, seed):
        prediction, truth, spacing = random_masks(seed)
        theirs = deepmind.compute_robust_hausdorff(
            deepmind.compute_surface_distances(truth, prediction, spacing), 95
        )
        assert hd95(surface_distances(prediction, truth, spacing)) == pytest.approx(
            theirs, abs=math.hypot(*spacing)
        )

    def test_a_shift_of_a_square_is_measured_the_same(self, deepmind):
        truth, prediction = np.zeros((2, 60, 60), bool)
        truth[20:40, 20:40] = prediction[20:40, 23:43] = True
        theirs = deepmind.compute_surface_distances(truth, prediction, (1, 0.5))
        ours = surface_distances(prediction, truth, (1, 0.5))
        assert hd95(ours) == deepmind.compute_robust_hausdorff(theirs, 95) == 1.5

    def test_nsd_weighs_pixels_here_and_lengths_there(self, deepmind):
        truth, prediction = np.zeros((2, 60, 60), bool)
        truth[20:40, 20:40] = prediction[20:40, 20:43] = True
        theirs = deepmind.compute_surface_distances(truth, prediction, (1, 4))
        # Ours: 16 of the truth's 76 and 24 of the prediction's 82 boundary pixels are more than 1 mm away.
        # Theirs: some 20 of 200 mm and 44 of 224 mm, since a pixel is 4 mm wide but only 1 mm high.
        assert nsd(surface_distances(prediction, truth, (1, 4)), 1) == (60 + 58) / 158
        assert deepmind.compute_surface_dice_at_tolerance(theirs, 1) == pytest.approx(360 / 424, abs=0.02)

    def test_an_empty_mask_has_infinite_hd95_where_ours_is_undefined(self, deepmind):
        theirs = deepmind.compute_surface_distances(SQUARE, EMPTY, (1, 1))
        assert deepmind.compute_robust_hausdorff(theirs, 95) == math.inf
        assert math.isnan(hd95(surface_distances(EMPTY, SQUARE)))
        assert deepmind.compute_surface_dice_at_tolerance(theirs, 1) == 0
