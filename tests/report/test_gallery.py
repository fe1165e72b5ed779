import base64
from dataclasses import replace

import cv2
import numpy as np
import pytest

from isegm.datasets import Sample
from isegm.errors import InputError
from isegm.evaluation.drawing import MASK_COLOUR, POSITIVE_COLOUR, TRUTH_COLOUR
from isegm.geometry import Click
from isegm.pictures import write_image
from isegm.report import gallery
from isegm.report.gallery import make_gallery, mask_path
from isegm.report.stored_run import read_run
from tests.evaluation.by_hand import result_of
from tests.report.by_hand import square, write_dataset, write_run

TRUTH = square(slice(20, 40), slice(30, 50))


def names(cards):
    return [card.line.name for card in cards]


@pytest.fixture
def made(tmp_path):
    """``made(results)``: the gallery of a run without pictures."""

    def made(results, models=1):
        groups = {(f"m{number}", "liver"): results for number in range(models)}
        run = read_run(write_run(tmp_path / "run", groups))
        return make_gallery(run, run.groups[0], None, 0.9)

    return made


def test_the_worst_come_first_and_of_equals_those_that_took_more_clicks(made):
    scores = {"good": [0.95], "late": [0.1, 0.2, 0.9], "early": [0.9], "bad": [0.9, 0.2], "worse": [0.1]}
    found = made([result_of(row, name=name) for name, row in scores.items()])
    assert names(found.worst) == ["worse", "bad", "late", "early", "good"]
    assert found.random == ()
    assert found.whole


def test_of_many_samples_the_worst_and_some_of_the_others_are_shown(made, monkeypatch):
    results = [result_of([number / 100], name=f"{number:02}") for number in range(60)]
    found = made(results)
    assert names(found.worst) == [f"{number:02}" for number in range(12)]
    chosen = names(found.random)
    assert len(set(chosen)) == 12
    assert min(chosen) >= "12"
    assert chosen == sorted(chosen)  # worst first
    assert not found.whole
    assert names(made(results).random) == chosen  # the same every time
    monkeypatch.setattr(gallery, "_SEED", 1)
    assert names(made(results).random) != chosen
    # They are no part of a list: from all that is left.
    assert max(int(name) for name in chosen) - min(int(name) for name in chosen) > 20


def test_many_networks_share_the_pictures_of_a_page(made):
    results = [result_of([number / 100], name=f"{number:02}") for number in range(60)]
    found = made(results, models=20)
    assert (len(found.worst), len(found.random)) == (4, 4)
    assert len(made(results, models=100).worst) == 3


def test_of_several_seeds_a_samples_worst_is_shown(tmp_path):
    first = [result_of([0.8], name="a"), result_of([0.3], name="b")]
    second = [result_of([0.2], name="a"), result_of([0.6], name="b")]
    run = read_run(write_run(tmp_path, {("m", "liver"): [first, second]}))
    found = make_gallery(run, run.groups[0], None, 0.9)
    assert [(card.line.name, card.line.seed) for card in found.worst] == [("a", 1), ("b", 0)]


# -- pictures


@pytest.fixture
def with_pictures(tmp_path):
    dataset = write_dataset(tmp_path, "liver", {"a": TRUTH, "b": TRUTH, "c": TRUTH})
    folder = write_run(
        tmp_path / "run",
        {("m", "liver"): [result_of([0.1 * n], name=name) for n, name in enumerate("abc", 1)]},
    )
    for name in "ab":
        mask = square(slice(20, 40), slice(30, 45)).astype(np.uint8) * 255
        write_image(folder / "predictions" / "liver" / f"{name}.png", mask)
    return folder, dataset


def decoded(uri):
    kind, content = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def close(pixels, colour):
    return (abs(pixels.astype(int) - colour) < 60).all(axis=2)


def test_pictures_show_both_outlines_and_the_clicks(with_pictures):
    folder, dataset = with_pictures
    run = read_run(folder)
    first, *_ = make_gallery(run, run.groups[0], dataset, 0.9).worst
    pixels = decoded(first.picture)
    assert max(pixels.shape[0] / 360, pixels.shape[1] / 480) == 1
    for colour in (TRUTH_COLOUR, MASK_COLOUR, POSITIVE_COLOUR):
        assert close(pixels, colour).sum() > 30


def test_what_has_no_picture_says_why_and_the_others_have_theirs(with_pictures):
    folder, dataset = with_pictures
    (folder / "predictions" / "liver" / "b.png").write_bytes(b"no picture")
    run = read_run(folder)
    good, broken, missing = make_gallery(run, run.groups[0], dataset, 0.9).worst
    assert good.picture
    assert (broken.picture, missing.picture) == (None, None)
    assert "b.png: not a readable picture" in broken.why
    assert missing.why == f"{folder / 'predictions' / 'liver' / 'c.png'}: there is no such mask"
    write_image(folder / "predictions" / "liver" / "b.png", np.zeros((5, 5), np.uint8))
    assert (
        make_gallery(run, run.groups[0], dataset, 0.9)
        .worst[1]
        .why.endswith("b.png: is not of its image's size")
    )
    only = make_gallery(run, run.groups[0], dataset.part(0, 1), 0.9).worst
    assert [bool(card.picture) for card in only] == [True, False, False]
    assert only[1].why == "liver: has no sample 'b' any more"


@pytest.mark.parametrize(
    ("seeds", "place"),
    [(1, "liver"), (1, "m/liver"), (2, "liver/seed_1"), (2, "m/liver/seed_1"), (2, "liver")],
)
def test_masks_are_found_wherever_an_evaluation_puts_them(tmp_path, seeds, place):
    folder = write_run(tmp_path, {("m", "liver"): [[result_of([0.9])]] * seeds})
    run = read_run(folder)
    line = list(run.groups[0].lines())[-1]
    with pytest.raises(InputError, match="there is no such mask"):
        mask_path(run, run.groups[0], line)
    write_image(folder / "predictions" / place / "a.png", np.zeros((5, 5), np.uint8))
    assert mask_path(run, run.groups[0], line) == folder / "predictions" / place / "a.png"


@pytest.mark.parametrize("name", ["../../secret", "..", ".", "", "a\0b"])
def test_a_name_that_is_no_files_name_leads_nowhere(tmp_path, name):
    folder = write_run(tmp_path / "run", {("m", "liver"): [result_of([0.9], name=name)]})
    (folder / "predictions" / "liver").mkdir(parents=True)
    write_image(tmp_path / "secret.png", np.zeros((5, 5), np.uint8))
    run = read_run(folder)
    with pytest.raises(InputError, match="cannot be the name of a file"):
        mask_path(run, run.groups[0], next(run.groups[0].lines()))


def test_a_tiny_object_is_shown_with_its_surroundings_and_a_large_one_whole(with_pictures):
    folder, _ = with_pictures
    line = next(read_run(folder).groups[0].lines())

    def drawn(truth, clicks):
        sample = Sample("a", np.full((*truth.shape, 3), 90, np.uint8), truth.astype(np.int8), None)
        return gallery.draw(sample, truth, replace(line, clicks=clicks))

    tiny = square(slice(200, 202), slice(300, 302), (400, 400))
    picture = drawn(tiny, ())
    yellow = close(picture, TRUTH_COLOUR) | close(picture, MASK_COLOUR)
    assert np.ptp(np.nonzero(yellow)[0]) < 360 / 20  # 2 of the 130 rows that are shown, and an outline
    whole = square(slice(0, 400), slice(0, 400), (400, 400))
    assert drawn(whole, ()).shape == (360, 360, 3)
    far = drawn(tiny, (Click(1.0, 1.0, True), Click(399.4, 399.4, True)))
    for corner in (far[:12, :12], far[-12:, -12:]):  # both clicks are in view, whatever the object's size
        assert close(corner, POSITIVE_COLOUR).sum() > 10
    assert drawn(tiny, (Click(9e5, 9e5, True),)).shape == picture.shape  # one that lies beyond is not


def test_a_mask_that_may_not_be_read_costs_no_report(with_pictures, monkeypatch):
    folder, dataset = with_pictures

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gallery, "read_grey", refuse)
    run = read_run(folder)
    first = make_gallery(run, run.groups[0], dataset, 0.9).worst[0]
    assert first.picture is None
    assert "Permission denied" in first.why
