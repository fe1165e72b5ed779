"""What generated slices are made of: outlines, the canvas, the scanner."""

import cv2
import numpy as np
import pytest

from isegm.phantom.anatomy import HIGHEST_MM, LOWEST_MM, PHASES, TISSUES, Body, draw_hu
from isegm.phantom.canvas import Canvas, tidy_labels
from isegm.phantom.shapes import (
    RadialShape,
    Tubes,
    VesselTree,
    Warp,
    bend,
    noise_field,
    normals,
    polyline,
    rotate,
    spline,
    superellipse,
    wander,
)
from isegm.phantom.textures import GRAIN_MM, Scanner, grains


def blank(size=64, hu=0.0):
    return Canvas.blank(size, size, hu, {})


def disc(radius, x, y):
    return superellipse(radius, radius, 2) + np.array((x, y))


def test_a_disc_has_its_area_and_its_middle():
    canvas = blank()
    canvas.paint(canvas.cover(disc(20, 31.5, 30)), 100, 1)
    assert canvas.labels.sum() == pytest.approx(np.pi * 20.6**2, rel=0.03)  # cv2 fills half a pixel more
    assert np.argwhere(canvas.labels).mean(axis=0) == pytest.approx((30, 31.5), abs=0.2)
    assert canvas.hu.sum() / 100 == pytest.approx(canvas.labels.sum(), rel=0.03)


@pytest.mark.parametrize("ramp", [1, 3, 8])
def test_partial_volume_falls_monotonously_through_half_at_the_label(ramp):
    canvas = blank(96, -100)
    canvas.paint(canvas.cover(disc(25, 48, 48), ramp), 100, 1)
    profile, labels = canvas.hu[48, 48:], canvas.labels[48, 48:]
    assert (np.diff(profile) <= 1e-3).all()
    assert ((profile >= -0.5) == (labels == 1)).all()
    between = ((profile > -99) & (profile < 99)).sum()
    assert between >= ramp - 1
    assert profile[0] == pytest.approx(100)
    assert profile[-1] == pytest.approx(-100)


def test_painting_a_strided_patch_reaches_the_canvas():
    canvas = Canvas.blank(40, 60, 0, {"fine": np.ones((40, 60), np.float32)})
    canvas.paint(canvas.cover(disc(6, 20, 20)), 50, 3, "fine", 7)
    assert canvas.hu[20, 20] == pytest.approx(57)
    assert canvas.labels[20, 20] == 3
    assert canvas.hu[0, 0] == canvas.labels[0, 0] == 0


def test_label_none_keeps_and_zero_takes_away():
    canvas = blank()
    canvas.paint(canvas.cover(disc(20, 32, 32)), 100, 1)
    canvas.paint(canvas.cover(disc(5, 32, 25)), 200, None)
    canvas.paint(canvas.cover(disc(5, 32, 40)), 0, 0)
    assert (canvas.labels[25, 32], canvas.hu[25, 32]) == (1, 200)
    assert canvas.labels[40, 32] == 0


def test_regions_confine():
    canvas = blank()
    canvas.add_region("left", canvas.cover(np.array(((0, 0), (30, 0), (30, 63), (0, 63.0)))))
    canvas.paint(canvas.cover(disc(20, 32, 32), within="left"), 100, 1)
    assert canvas.labels[:, :30].any()
    assert not canvas.labels[:, 33:].any()
    assert canvas.cover(disc(20, 32, 32), within="nowhere") is None


@pytest.mark.parametrize("centre", [(-200, 10), (10, 900), (1e9, 5)])
def test_outside_the_canvas_is_nothing(centre):
    canvas = blank()
    patch = canvas.cover(disc(20, *centre))
    assert patch is None or not patch.coverage.any()
    assert canvas.cover(Tubes(np.empty((0, 2, 2)), np.empty(0))) is None


def test_thin_tubes_are_faint():
    strengths = []
    for width in (0.3, 0.6, 1, 4):
        canvas = blank()
        canvas.paint(canvas.cover(polyline(np.array(((5.0, 32), (60, 32))), width)), 100)
        strengths.append(canvas.hu.sum())
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.7 * strengths[2]


def test_tidy_drops_strays_and_renumbers():
    labels = np.zeros((30, 30), np.int32)
    labels[2:12, 2:12] = 7
    labels[2:12, 12:22] = 4  # touches 7
    labels[20:22, 20:22] = 7  # a stray
    labels[25:28, 2:5] = 9  # too small an object
    tidy = tidy_labels(labels, 16, 80)
    assert np.unique(tidy).tolist() == [0, 1, 2]
    assert (tidy[2:12, 2:12] == 2).mean() >= 0.99
    assert (tidy[2:12, 12:22] == 1).mean() >= 0.99
    assert not tidy[15:].any()


def test_tidy_keeps_large_parts_together_or_splits_them():
    labels = np.zeros((30, 40), np.int32)
    labels[5:20, 2:14] = labels[5:20, 24:36] = 3
    assert tidy_labels(labels, 16, 80).max() == 1
    assert tidy_labels(labels, 16, 80, split=True).max() == 2


def test_tidy_of_nothing():
    assert not tidy_labels(np.zeros((8, 9), np.int32), 1, 1).any()


def test_shapes_do_what_they_say():
    square = np.array(((-1.0, -1), (1, -1), (1, 1), (-1, 1)))
    assert rotate(np.array(((1.0, 0),)), np.pi / 2)[0] == pytest.approx((0, 1))
    assert bend(square, 0.0) is square
    arch = bend(np.array(((-1.0, 0), (0, 0), (1, 0))), 0.5)
    assert arch[1] == pytest.approx((0, 0))
    assert arch[0, 1] == pytest.approx(arch[2, 1])
    assert arch[0, 1] > 0
    curve = spline(square)
    assert all(np.abs(curve - corner).sum(axis=1).min() < 1e-12 for corner in square)
    path = wander(np.random.default_rng(0), np.zeros(2), 2.0, 9, 0.1)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1) == pytest.approx(np.full(9, 2.0))


def test_radial_shapes_change_slowly_along_z():
    shape = RadialShape.draw(np.random.default_rng(3), 0.15)
    assert np.abs(shape.outline(0.01) - shape.outline(0.0)).max() < 0.02
    assert np.abs(shape.outline(0.9) - shape.outline(0.0)).max() > 0.02
    assert RadialShape.draw(np.random.default_rng(3), 0.0).outline() == pytest.approx(superellipse(1, 1, 2))


def test_warps_are_smooth_and_as_strong_as_asked():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 500, (4000, 2))
    moved = np.concatenate([Warp.draw(rng, 4, 60).apply(points) - points for _ in range(40)])
    assert moved.std() == pytest.approx(4, rel=0.25)
    warp = Warp.draw(rng, 4, 60)
    near = warp.apply(points + 0.5) - warp.apply(points)
    assert near.max() < 2.5


def test_a_tree_is_cut_where_it_is():
    tree = VesselTree(np.array([[0.0, 0, 0]]), np.array([[10.0, 0, 10]]), np.array([2.0]))
    cut = tree.cut(5.0, 2.0)
    assert cut.segments[0, :, 0] == pytest.approx((4, 6))
    assert cut.widths.tolist() == [4.0]
    assert len(tree.cut(12.0, 2.0).segments) == 0
    flat = VesselTree(np.array([[0.0, 0, 5]]), np.array([[10.0, 0, 5]]), np.array([1.0]))
    assert flat.cut(5.0, 2.0).segments[0, :, 0] == pytest.approx((0, 10))


@pytest.mark.parametrize("cell", [1.2, 3.0, 8.0, 25.0])
def test_noise_fields_are_standard_and_as_coarse_as_asked(cell):
    field = noise_field(np.random.default_rng(1), 300, 400, cell)
    assert field.shape == (300, 400)
    assert field.std() == pytest.approx(1, abs=0.35)
    step = max(1, round(cell / 4))
    assert np.corrcoef(field[:, step:].ravel(), field[:, :-step].ravel())[0, 1] > 0.5 * (cell > 2)
    far = round(3 * cell) + 1
    assert abs(np.corrcoef(field[:, far:].ravel(), field[:, :-far].ravel())[0, 1]) < 0.3


def test_normals_are_normal():
    values = normals(np.random.default_rng(0), 200, 500)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert np.percentile(values, 84.13) == pytest.approx(1, abs=0.04)


def test_every_phase_names_known_tissues_and_grains():
    assert all(name in TISSUES for phase in PHASES.values() for name in phase)
    assert all(tissue.grain in GRAIN_MM and tissue.low <= tissue.high for tissue in TISSUES.values())


def test_hu_lie_in_the_table():
    for seed in range(40):
        hu = draw_hu(np.random.default_rng(seed))
        for name, value in hu.items():
            if name in ("liver", "liver tumour"):
                continue  # fatty livers, and tumours relative to them
            ranges = [(TISSUES[name].low, TISSUES[name].high)]
            ranges += [phase[name] for phase in PHASES.values() if name in phase]
            assert any(low <= value <= high for low, high in ranges), name
        assert hu["air"] < hu["lung"] < hu["fat"] < hu["muscle"] < hu["marrow"] < hu["cortical bone"]


def test_a_body_can_be_cut_anywhere_and_neighbouring_cuts_agree():
    body = Body.draw(np.random.default_rng(2), tumours=1)
    for z in np.linspace(LOWEST_MM - 40, HIGHEST_MM + 40, 25):
        parts = body.cut(float(z))
        assert {part.tissue for part in parts} <= set(TISSUES)
        assert "spine" in {part.label for part in parts}
    liver = [
        next(part.shape for part in body.cut(z) if part.label == "liver").mean(axis=0) for z in (20.0, 21.0)
    ]
    assert np.abs(liver[0] - liver[1]).max() < 3


def scanned(seed=0, hu=40.0, **settings):
    flat = np.full((160, 200), hu, np.float32)
    return Scanner(**settings).scan(np.random.default_rng(seed), flat)


def test_noise_has_the_strength_and_the_correlation_of_ct():
    noise = scanned(noise_hu=20) - 40
    assert noise.std() == pytest.approx(20, rel=0.1)
    beside = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    apart = np.corrcoef(noise[:, 4:].ravel(), noise[:, :-4].ravel())[0, 1]
    assert 0.3 < beside < 0.75
    assert abs(apart) < 0.12


def test_noise_of_an_enlargement_is_coarser():
    def beside(pixel):
        noise = scanned(noise_hu=20, pixel=pixel)
        return np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]

    assert beside(2.5) > beside(1.0) + 0.2


def test_air_is_less_noisy_than_the_body():
    assert scanned(noise_hu=20, hu=-995).std() < 0.6 * scanned(noise_hu=20, hu=40).std()


@pytest.mark.parametrize(
    "artefact", ["starvation_hu", "bias_hu", "ring_hu", "noise_hu", "streak_hu", "cupping_hu", "sharpening"]
)
def test_each_artefact_changes_the_slice_and_none_leaves_it(artefact):
    hu = np.full((160, 200), 40, np.float32)
    hu[:, :30] = -1000
    hu[60:80, 90:110] = 1500
    plain = Scanner().scan(np.random.default_rng(0), hu)
    changed = Scanner(**{artefact: 20.0 if artefact != "sharpening" else 0.5}).scan(
        np.random.default_rng(0), hu
    )
    assert np.abs(changed - plain).max() > 2
    assert np.abs(plain - cv2.GaussianBlur(hu, (5, 5), 0.6)).max() < 0.05


def test_streaks_need_something_dense():
    assert scanned(streak_hu=30).std() < 1e-3


def test_grains_are_named():
    fields = grains(np.random.default_rng(0), 50, 60, 1.0)
    assert set(fields) == set(GRAIN_MM)
    assert all(field.shape == (50, 60) and field.dtype == np.float32 for field in fields.values())
