import math

import cv2
import pytest
from matplotlib.figure import Figure

from isegm.compare.score_plots import plot_against_area
from isegm.compare.scores import Scores


def scores(area, recall=0.8, unit="px", axes=2, included=True):
    return Scores("a", 0.5, 0.4, 0.6, recall, 1.0, 0.8, unit, area, 12, area * 0.25, 3.0, axes, included)


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw recall for some rows; return the axes as they were saved."""
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **b: (drawn.append(figure), save(figure, *a, **b))
    )

    def draw(*rows):
        plot_against_area(tmp_path / "plot.png", rows, "recall", "liver")
        assert cv2.imread(str(tmp_path / "plot.png")).shape == (660, 960, 3)
        return drawn[0].axes[0]

    return draw


def test_included_and_defined_rows_are_points(draw):
    axes = draw(scores(100, 0.5), scores(200, 0.7), scores(0, math.nan), scores(50, 0.1, included=False))
    assert axes.collections[0].get_offsets().tolist() == [[100, 0.5], [200, 0.7]]
    assert axes.get_title(loc="left") == "n = 2, mean 0.600 (dashed), 1 undefined"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("True area (pixels)", "Recall")


@pytest.mark.parametrize(
    ("kinds", "unit", "first"),
    [
        ([("px", 2)], "pixels", 100),
        ([("px", 3)], "voxels", 100),
        ([("mm", 2)], "mm²", 25),
        ([("mm", 3)], "mm³", 25),
        ([("mm", 2), ("px", 2)], "pixels", 100),
        ([("mm", 2), ("mm", 3)], "pixels", 100),
    ],
)
def test_areas_are_in_mm_where_all_can_be(draw, kinds, unit, first):
    axes = draw(*(scores(100, unit=unit, axes=number) for unit, number in kinds))
    assert axes.get_xlabel() == f"True area ({unit})"
    assert axes.collections[0].get_offsets()[0][0] == first


@pytest.mark.parametrize(
    ("areas", "scale"),
    [
        ((10, 1000), "linear"),
        ((10, 1001), "log"),
        ((0, 10, 1001), "symlog"),
        ((0, 10), "linear"),
        ((), "linear"),
    ],
)
def test_areas_far_apart_are_drawn_on_a_logarithmic_axis(draw, areas, scale):
    assert draw(*map(scores, areas)).get_xscale() == scale
