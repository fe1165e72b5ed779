"""A volume opened, three clicks, propagated, saved, with the network itself.

With ISEGM_PICTURES=docs the pictures of docs/annotate.md and of the README are made of it, by the weights in
ISEGM_WEIGHTS if they are named.
"""

import io
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from isegm.annotate.computing import NetworkComputing
from isegm.annotate.saving import label_stack
from isegm.annotate.session import COLOURS
from isegm.commands.places import default_weights
from isegm.metrics.overlap import count, dice
from isegm.phantom.patients import LABELS, random_patient
from isegm.simulation.next_click import NextClick
from tests.annotate.test_page import browser, click, served, settle, tab, until  # noqa: F401 - fixtures

PICTURES = os.environ.get("ISEGM_PICTURES")
SHAPE, SPACING = ((256, 256, 40), (1.6, 1.6, 6.0)) if PICTURES else ((96, 96, 10), (4.2, 4.2, 18.0))


@pytest.fixture
def patient(tmp_path):
    patient = random_patient(np.random.default_rng(2), SHAPE, SPACING)
    nib.save(nib.Nifti1Image(patient.hu, patient.affine), tmp_path / "patient.nii.gz")
    return patient


@pytest.mark.slow
def test_a_volume_opened_three_clicks_propagated_saved(tmp_path, patient, served, tab):  # noqa: F811
    computing = NetworkComputing(Path(os.environ.get("ISEGM_WEIGHTS", default_weights())))
    up = served(tmp_path / "patient.nii.gz", computing=computing, labels=["liver", "spleen", "kidney"])
    page = tab(up.address, viewport={"width": 1120, "height": 720})
    until(page, "annotate.store.state.network === 'ready'", seconds=120)
    case = up.case()
    truth = case.pixels.plan.pictures(np.isin(patient.labels, [LABELS["liver"], LABELS["liver tumour"]]))
    sizes = truth.sum(axis=(1, 2))
    frames = []

    def look(milliseconds):
        settle(page)
        frames.append((Image.open(io.BytesIO(page.screenshot())).convert("RGB"), milliseconds))

    def next_click(z):
        page.evaluate(f"annotate.goToSlice({z})")
        settle(page)
        place = NextClick(truth[z].astype(np.int8)).click(case.masks.stack(1)[z])
        click(page, place.row, place.col, button="left" if place.positive else "right")
        page.mouse.move(600, 300)
        until(page, "annotate.api.waiting === 0", seconds=60)
        return case.clicks()[-1]

    middle = int(sizes.argmax())
    page.evaluate(f"annotate.goToSlice({middle})")
    look(1400)
    for z in (middle, middle, int(np.flatnonzero(sizes > sizes.max() / 3)[-1])):
        last = next_click(z)
        look(1100)
        assert last.z == z
    assert len(case.clicks()) == 3
    page.click("#propagate")
    until(page, "annotate.store.state.job?.done > 2 || annotate.store.state.job?.outcome", seconds=300)
    look(700)
    until(page, "annotate.store.state.job?.outcome === 'done'", seconds=600)
    until(page, "document.getElementById('said').textContent === 'propagated'")
    centre = [middle, *(int(place.mean()) for place in np.nonzero(truth[middle]))]
    page.evaluate(f"annotate.store.goTo({centre})")
    page.keyboard.press("t")
    look(1600)
    page.click("#save")
    until(page, "annotate.store.state.isSaved")
    until(page, "document.getElementById('said').textContent.startsWith('saved')")
    page.evaluate("document.getElementById('said').textContent = 'saved'")
    look(2400)
    saved = np.asarray(nib.load(tmp_path / "out" / "labelsTr" / "patient.nii.gz").dataobj)
    np.testing.assert_array_equal(saved, case.pixels.plan.array(label_stack(case)))
    assert len(np.unique(np.nonzero(saved)[2])) > 2
    counts = count(saved == 1, case.pixels.plan.array(truth).astype(np.int8))
    print(f"Dice after three clicks: {dice(counts):.3f}")
    computing.close()
    if PICTURES:
        write_pictures(Path(PICTURES), frames, page)


def write_pictures(folder, frames, page):
    pictures, durations = zip(*frames, strict=True)
    small = [picture.resize((840, 540), Image.Resampling.LANCZOS) for picture in pictures]
    # The colours of labels, clicks and marks are few pixels, but not to be lost.
    colours = [*COLOURS[:3], "#3ddc84", "#ff9f43", "#2a66b3", "#5aa9ff"]
    every = Image.new("RGB", (840, 540 * len(small) + 60))
    for number, picture in enumerate(small):
        every.paste(picture, (0, 540 * number))
    for number, colour in enumerate(colours):
        every.paste(colour, (120 * number, 540 * len(small), 120 * number + 120, 540 * len(small) + 60))
    palette = every.quantize(256)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small)
    settings = {"append_images": rest, "duration": durations, "loop": 0, "optimize": True}
    first.save(folder / "annotate.gif", save_all=True, **settings)
    pictures[-1].save(folder / "annotate.jpg", quality=85)
    page.set_viewport_size({"width": 1120, "height": 860})
    page.keyboard.press("?")
    page.screenshot(path=folder / "annotate_keys.jpg", quality=85, type="jpeg")
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.set_viewport_size({"width": 390, "height": 780})
    settle(page)
    page.evaluate("annotate.arrange()")
    settle(page)
    page.screenshot(path=folder / "annotate_phone.jpg", quality=85, type="jpeg")
