"""Published data as it really is. It lies beside the checkout where there is any; nothing here needs it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from isegm.datasets import open_dataset

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ORGANS = ("heart", "kidney", "liver", "lung", "lungtumor", "pancreas", "spleen")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the published data beside the checkout")


def check(sample, image_path, truth):
    np.testing.assert_array_equal(sample.image, cv2.imread(str(image_path))[:, :, ::-1])
    np.testing.assert_array_equal(sample.truth, truth)
    assert sample.truth.shape == sample.image.shape[:2]
    assert set(np.unique(sample.truth)) <= {-1, 0, 1}


def test_grabcut(config_of):
    folder = DATA / "benchmarks" / "GrabCut"
    dataset = open_dataset("GrabCut", config_of(GRABCUT_PATH=folder))
    assert len(dataset) == 50
    assert dataset.names[:2] == ("106024", "124080")
    images = {path.stem: path for path in (folder / "data_GT").iterdir()}
    ignoring = 0
    for sample in dataset:
        levels = cv2.imread(str(folder / "boundary_GT" / f"{sample.name}.bmp"), cv2.IMREAD_GRAYSCALE)
        check(sample, images[sample.name], np.choose(levels // 64, [0, 0, -1, 1]))
        ignoring += (sample.truth == -1).any()
    assert ignoring == 42


def test_coco_mval(config_of):
    folder = DATA / "benchmarks" / "COCO_MVal"
    dataset = open_dataset("COCO_MVal", config_of(COCO_MVAL_PATH=folder))
    assert len(dataset) == 800
    for index in range(0, 800, 40):
        name = dataset.names[index]
        levels = cv2.imread(str(folder / "gt" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        check(dataset[index], folder / "img" / f"{name}.jpg", levels // 255)


@pytest.mark.parametrize("organ", ORGANS)
def test_ct_slices(config_of, organ):
    folder = DATA / "ct_slices" / organ
    dataset = open_dataset(organ, config_of(**{f"{organ.upper()}_PATH": folder}))
    assert len(dataset) == len(list((folder / "masks").iterdir()))
    for sample in dataset:
        levels = cv2.imread(str(folder / "masks" / f"{sample.name}.png"), cv2.IMREAD_GRAYSCALE)
        check(sample, folder / "images" / f"{sample.name}.png", levels // 255)
