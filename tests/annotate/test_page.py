"""The page in Chromium, as a person uses it. With CI=true the browser has to be there."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import uvicorn
from playwright.sync_api import sync_playwright

from isegm.annotate.cases import find_cases
from isegm.annotate.saving import label_stack
from isegm.annotate.server import Server, steps_of
from isegm.annotate.session import Session
from isegm.pictures import read_stored
from tests.annotate.conftest import SHAPE, volume_values, write_picture, write_volume
from tests.annotate.flooding import Flooding
from tests.annotate.test_packed_masks import PLANS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """``tab(address, ...)``: a page that is open; what fails in it fails the test."""
    pages, failed = [], []

    def tab(address, *, expected=(), wait=True, context=None, **settings):
        settings = {"viewport": {"width": 1200, "height": 800}, **settings}
        page = context.new_page() if context else browser.new_page(**settings)
        pages.append(page)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("dialog", lambda dialog: failed.append(dialog.message))
        page.on(
            "console",
            lambda said: (
                failed.append(said.text)
                if said.type in ("error", "warning")
                and not any(part in said.text for part in (*expected, "Canvas2D"))
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                failed.append(request.url)
                if address not in request.url and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(address)
        if wait:
            page.wait_for_selector("#curtain", state="hidden")
        return page

    yield tab
    for page in pages:
        page.close()
    assert failed == []


class Served:
    """A server in this process."""

    def __init__(self, paths, output, computing, **settings):
        self.session = Session(find_cases(paths), output, **settings)
        self.server = Server(self.session, computing, "token" * 5, None)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/{'token' * 5}/"
        config = uvicorn.Config(
            self.server.app, log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.uvicorn.run, args=([listener],))
        self.thread.start()

    def case(self, index=0):
        return self.session.open(index, lambda _: None)

    def stop(self):
        self.uvicorn.should_exit = True
        self.thread.join()
        self.session.close()


@pytest.fixture
def served(tmp_path):
    """``served(paths, ...)``: a server on a session."""
    running = []

    def served(*paths, computing=None, **settings):
        paths = paths or [write_volume(tmp_path / "patient.nii.gz")]
        running.append(Served(paths, tmp_path / "out", computing or Flooding(Path("w.pth")), **settings))
        return running[-1]

    yield served
    for each in running:
        each.stop()


def settle(page):
    """Wait until everything asked for is answered and painted."""
    until(page, "annotate.api.waiting === 0 && annotate.api.fetching.size === 0")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


ALL_THERE = (
    "[...Array(annotate.store.size('axial').count).keys()].every((z) => annotate.store.has('axial', z))"
)
"""Whether every axial slice was fetched."""


def until(page, expression, seconds=20):
    """Wait for an expression; the page's policy forbids Playwright's own way."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({expression})"):
        assert time.monotonic() < end, expression
        time.sleep(0.02)


def place(page, row, col, pane=0):
    """Where the middle of a picture's pixel is in the window."""
    return page.evaluate(
        """([row, col, pane]) => {
            const { canvas, placement } = annotate.panes[pane];
            const box = canvas.getBoundingClientRect();
            const { x, y } = placement.toScreen(row + 0.5, col + 0.5);
            return [box.left + x, box.top + y];
        }""",
        [row, col, pane],
    )


def click(page, row, col, pane=0, **settings):
    page.mouse.click(*place(page, row, col, pane), **settings)
    settle(page)


def drawn(page, colour):
    """Which pixels of the picture in view are drawn in a colour, read from the canvas itself."""
    page.evaluate("annotate.setOpacity(1)")
    settle(page)
    # Without the dots of clicks, which lie over it.
    page.evaluate("for (const frame of annotate.store.frames.values()) frame.clicks = []; annotate.paint()")
    rows = page.evaluate(
        """(colour) => {
            const { canvas, placement } = annotate.panes[0];
            const { rows, cols } = placement.size;
            const ratio = devicePixelRatio;
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const wanted = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
            const found = [];
            for (let row = 0; row < rows; row += 1) {
                found.push([]);
                for (let col = 0; col < cols; col += 1) {
                    // Inside of the outline.
                    const { x, y } = placement.toScreen(row + 0.3, col + 0.3);
                    const at = 4 * (Math.floor(y * ratio) * width + Math.floor(x * ratio));
                    found[row].push(wanted.every((value, k) => data[at + k] === value) ? 1 : 0);
                }
            }
            return found;
        }""",
        colour,
    )
    return np.array(rows, bool)


# -- the modules, apart


def test_geometry_agrees_with_the_plans_by_which_masks_are_saved(served, tab):
    page = tab(served().address)
    shape = (3, 4, 5)
    stack = np.arange(60).reshape(shape)
    for plan in PLANS:
        view = {
            "axis": plan.axis,
            "rowAxis": plan.row_axis,
            "colAxis": plan.col_axis,
            "flipRows": plan.flip_rows,
            "flipCols": plan.flip_cols,
        }
        places = page.evaluate(
            """async ([shape, view]) => {
                const { pictureSize, toStack, toPicture } = await import("./page/geometry.js");
                const { rows, cols, count } = pictureSize(shape, view);
                const found = [];
                for (let index = 0; index < count; index += 1)
                    for (let row = 0; row < rows; row += 1)
                        for (let col = 0; col < cols; col += 1) {
                            const place = toStack(shape, view, index, row, col);
                            found.push([place, toPicture(shape, view, place), { index, row, col }]);
                        }
                return found;
            }""",
            [shape, view],
        )
        pictures = plan.pictures(stack)
        assert [stack[tuple(place)] for place, _, _ in places] == pictures.ravel().tolist()
        assert all(back == there for _, back, there in places)


def test_placement_zoom_and_brush(served, tab):
    page = tab(served().address)
    found = page.evaluate(
        """async () => {
            const geometry = await import("./page/geometry.js");
            const { Placement, pixelSides, paintLine, pack, neediest } = geometry;
            const view = { rowAxis: 0, colAxis: 2 };
            const sides = pixelSides([5, 0.8, 0.8], view);
            const placement = new Placement({ rows: 10, cols: 100 }, sides, { width: 500, height: 400 });
            const proportion = placement.pixelHeight / placement.pixelWidth;
            const before = placement.fromScreen(321, 123);
            placement.zoomAt(321, 123, 3.3);
            const after = placement.fromScreen(321, 123);
            const [bits, nine, middle] = [new Uint8Array(81), { rows: 9, cols: 9 }, { row: 4.5, col: 4.5 }];
            paintLine(bits, nine, { height: 1, width: 1 }, middle, middle, 2);
            return {
                proportion,
                moved: Math.hypot(before.row - after.row, before.col - after.col),
                outside: placement.pixelAt(-1e5, 0),
                packed: [...pack(bits, nine)],
                doubtful: neediest({ 1: "doubtful", 5: "doubtful", 6: "doubtful", 7: "doubtful" }),
                furthest: neediest({ 1: "propagated", 4: "clicked", 9: "propagated", 10: "edited" }),
                none: neediest({ 4: "clicked" }),
            };
        }"""
    )
    assert found["proportion"] == pytest.approx(6.25)
    assert found["moved"] < 1e-9
    assert found["outside"] is None
    # A disk of radius 2: the pixels whose centres are within.
    disk = [0b00001000, 0b00011100, 0b00111110, 0b00011100, 0b00001000]
    rows = [byte for row in (0, 0, *disk, 0, 0) for byte in (row, 0)]
    assert found["packed"] == rows
    assert (found["doubtful"], found["furthest"], found["none"]) == (6, 1, None)


def test_windows_are_those_of_the_network(served, tab):
    from isegm.volumes.windows import Window, apply_window

    page = tab(served().address)
    values = np.arange(-300, 400, dtype=np.int16)
    for level, width in ((40, 350), (50, 100), (-500, 1400), (37.5, 33)):
        grey = page.evaluate(
            """async ([values, level, width]) => {
                const { paintWindow } = await import("./page/rendering.js");
                const target = new Uint32Array(values.length);
                paintWindow(Int16Array.from(values), { level, width }, target);
                return [...target].map((pixel) => pixel & 0xff);
            }""",
            [values.tolist(), level, width],
        )
        expected = apply_window(values, Window(level, width)).astype(int)
        assert np.abs(np.array(grey) - expected).max() <= 1  # of halves, the last bit of a product
        assert (np.array(grey) == expected).mean() > 0.98


@pytest.mark.parametrize("cols", [1, 7, 8, 9, 16, 21])
def test_outlines_are_the_edges_of_a_masks_pixels(cols, served, tab):
    page = tab(served().address)
    mask = np.random.default_rng(cols).random((11, cols)) < 0.6
    mask[2:5] = True
    lines = page.evaluate(
        """async ([bits, rows, cols]) => {
            const { outline } = await import("./page/rendering.js");
            const lines = [];
            const Original = Path2D;
            globalThis.Path2D = class {
                moveTo(x, y) { lines.push([x, y]); }
                lineTo(x, y) { lines.at(-1).push(x, y); }
            };
            outline(Uint8Array.from(bits), { rows, cols });
            globalThis.Path2D = Original;
            return lines;
        }""",
        [np.packbits(mask, axis=1).ravel().tolist(), *mask.shape],
    )
    padded = np.pad(mask, 1).astype(int)
    across, down = (np.diff(padded, axis=axis) != 0 for axis in (0, 1))
    found = np.zeros((12, cols + 2), int), np.zeros((13, cols + 1), int)
    for x0, y0, x1, y1 in lines:
        if y0 == y1:
            found[0][y0, x0 + 1 : x1 + 1] += 1
            assert not across[y0, [x0, x1 + 1]].any()  # as long as it goes on
        else:
            found[1][y0 + 1 : y1 + 1, x0] += 1
            assert not down[[y0, y1 + 1], x0].any()
    np.testing.assert_array_equal(found[0], across)
    np.testing.assert_array_equal(found[1], down)


def test_values_are_sent_without_a_loss(served, tab):
    page = tab(served().address)
    random = np.random.default_rng(0)
    noise = random.normal(40, 30, (20, 31)).astype(np.int16)
    extremes = random.choice(np.int16([-32768, -129, -128, -127, -1, 0, 127, 128, 32767]), (20, 31))
    for values in (noise, extremes):
        sent = b"".join(steps_of(values))
        found = page.evaluate(
            """async ([sent, count]) => {
                const { readValues } = await import("./page/state.js");
                return [...readValues(Uint8Array.from(sent), "int16", count)];
            }""",
            [list(sent), values.size],
        )
        assert found == values.ravel().tolist()
    assert len(b"".join(steps_of(noise))) < 1.2 * noise.size


# -- what a person does


@pytest.mark.parametrize("orientation", ["LAS", "stored from the side"])
def test_what_is_drawn_in_each_view_is_what_is_saved(orientation, tmp_path, served, tab):
    axes = {
        "LAS": [[-0.8, 0, 0], [0, 0.8, 0], [0, 0, 2.5]],
        "stored from the side": [[0, 0, -2.5], [0.8, 0, 0], [0, -0.8, 0]],
    }
    affine = np.eye(4)
    affine[:3, :3] = axes[orientation]
    path = write_volume(tmp_path / "patient.nii.gz", affine)
    up = served(path, labels=["liver"])
    page = tab(up.address)
    pixels = up.case().pixels
    slices, rows, cols = pixels.shape
    page.evaluate(f"annotate.goToSlice({slices // 2})")
    settle(page)
    click(page, rows // 2, cols // 2)
    page.keyboard.press("b")
    page.mouse.move(*place(page, 2, 1))
    page.mouse.down()
    page.mouse.move(*place(page, 6, 9))
    page.mouse.up()
    settle(page)
    page.keyboard.press("p")
    until(page, "annotate.store.state.job?.outcome === 'done'")
    page.keyboard.press("Control+s")
    until(page, "annotate.store.state.isSaved")
    saved = np.asarray(nib.load(tmp_path / "out" / "labelsTr" / "patient.nii.gz").dataobj)
    assert saved.any()
    np.testing.assert_array_equal(saved, pixels.plan.array(label_stack(up.case())))
    page.keyboard.press("c")  # the brush's circle would lie over it
    for view in ("axial", "coronal", "sagittal"):
        page.evaluate(f"annotate.setView('{view}')")
        plan = pixels.views[view].plan
        for index in {pixels.shape[plan.axis] // 2, pixels.shape[plan.axis] // 3}:
            page.evaluate(f"annotate.goTo('{view}', {index}, 1)")
            settle(page)
            expected = plan.pictures(pixels.plan.pictures(saved))[index] == 1
            np.testing.assert_array_equal(drawn(page, "#4cc9f0"), expected)


def test_click_undo_redo_propagate_save_reload(tmp_path, served, tab):
    up = served(labels=["liver", "spleen"])
    page = tab(up.address)
    case = up.case()
    page.evaluate("annotate.goToSlice(5)")
    settle(page)
    click(page, 20, 20)
    first = case.masks.stack(1)
    np.testing.assert_array_equal(first[5], case.pixels.values[5] == 60)
    click(page, 20, 20, button="right")
    assert not case.masks.stack(1).any()
    page.keyboard.press("Control+z")
    settle(page)
    np.testing.assert_array_equal(case.masks.stack(1), first)
    page.mouse.wheel(0, 120)
    settle(page)
    assert page.evaluate("annotate.store.indices.axial") != 5
    page.keyboard.press("l")
    click(page, 12, 10)
    assert case.masks.slices(2).size == 1
    for _ in range(2):
        page.keyboard.press("Control+z")
        settle(page)
    assert not case.masks.stack(1).any()
    assert page.evaluate("annotate.store.indices.axial") == 5  # what was undone is seen
    page.keyboard.press("Control+y")
    settle(page)
    np.testing.assert_array_equal(case.masks.stack(1), first)
    page.keyboard.press("Shift+L")
    page.click("#propagate")
    until(page, "annotate.store.state.job?.outcome === 'done'")
    page.fill("#note", "two <b>livers</b>")
    page.locator("#note").blur()
    page.click("#save")
    until(page, "annotate.store.state.isSaved")
    page.evaluate("annotate.setWindow(100, 700)")
    page.click("#three")
    until(page, "annotate.kept?.includes('700') && annotate.kept.includes('\"three\":true')")
    settle(page)
    before = page.evaluate("[annotate.store.seen(), annotate.store.state.marks]")
    page.reload()
    page.wait_for_selector("#curtain", state="hidden")
    settle(page)
    assert page.evaluate("[annotate.store.seen(), annotate.store.state.marks]") == before
    assert page.input_value("#note") == "two <b>livers</b>"
    labels = np.asarray(nib.load(tmp_path / "out" / "labelsTr" / "patient.nii.gz").dataobj)
    np.testing.assert_array_equal(labels, case.pixels.plan.array(label_stack(case)))


def test_a_propagation_is_seen_as_it_goes_on_and_what_was_found_stays(tmp_path, served, tab):
    up = served(labels=["liver"], computing=Flooding(Path("w.pth"), slice_seconds=0.4))
    page = tab(up.address)
    case = up.case()
    page.evaluate("annotate.goToSlice(5)")
    settle(page)
    click(page, 20, 20)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("p")
    until(page, "annotate.store.state.marks[6] === 'propagated' && annotate.panes[0].shown.index === 6")
    assert page.evaluate("annotate.store.state.job.outcome") == ""
    seen = drawn(page, "#4cc9f0")
    assert seen.any()
    np.testing.assert_array_equal(seen, case.masks.stack(1)[6])
    page.keyboard.press("Escape")
    until(page, "annotate.store.state.job.outcome === 'cancelled'")
    assert "stopped" in page.inner_text("#said")
    settle(page)
    found = case.masks.slices(1).tolist()
    assert found[:2] == [5, 6]
    assert page.evaluate("Object.keys(annotate.store.state.marks).map(Number)") == found
    page.keyboard.press("Control+z")
    settle(page)
    assert case.masks.slices(1).tolist() == [5]


def test_where_the_pointer_rests_on_the_strip_the_slice_is_there_before_it_is_pressed(served, tab):
    page = tab(served().address)
    until(page, "annotate.store.pixels.size === 12")
    box = page.locator("#strip").bounding_box()
    top = (box["x"] + box["width"] / 2, box["y"] + 2)
    # As of a volume that is larger than what is kept of it.
    page.evaluate("annotate.store.pixels.most = annotate.store.pixels.bytes - 1")
    page.evaluate("annotate.store.pixels.delete('axial:11')")
    page.mouse.move(*top)
    until(page, "annotate.store.pixels.has('axial:11')")
    settle(page)
    assert page.evaluate("annotate.store.indices.axial") == 6
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.mouse.down()
    page.mouse.up()
    until(page, "annotate.panes[0].shown.index === 11")
    assert not [url for url in requests if url.endswith("axial/11?values=yes")]
    settle(page)


def test_all_slices_are_fetched_ahead_and_again_where_a_propagation_changed_them(served, tab):
    up = served(labels=["liver"])
    page = tab(up.address)
    until(page, ALL_THERE)
    click(page, 20, 20)
    page.keyboard.press("p")
    until(page, "annotate.store.state.job?.outcome === 'done'")
    until(page, ALL_THERE)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("annotate.goToSlice(9)")
    until(page, "annotate.panes[0].shown.index === 9")
    assert not [url for url in requests if "/pictures/" in url]
    np.testing.assert_array_equal(drawn(page, "#4cc9f0"), up.case().masks.stack(1)[9])


def test_a_click_in_the_side_views_marks_the_voxel_seen_there(served, tab):
    up = served(labels=["liver"])
    page = tab(up.address)
    page.keyboard.press("t")
    settle(page)
    for pane, view in ((1, "coronal"), (2, "sagittal")):
        assert page.evaluate(f"annotate.panes[{pane}].view") == view
        plan = up.case().pixels.views[view].plan
        row, col = 4, 18
        index = page.evaluate(f"annotate.store.indices.{view}")
        click(page, row, col, pane)
        stack = np.zeros(up.case().pixels.shape, bool)
        plan.pictures(stack)[index, row, col] = True
        clicked = up.case().clicks()[-1]
        assert (clicked.z, clicked.y, clicked.x) == tuple(np.argwhere(stack)[0])


def test_a_folder_of_pictures_with_notes_next_and_done(tmp_path, served, tab):
    hostile = "<img src=x onerror=alert(1)>"
    for number, name in enumerate(["a", hostile, "z"]):
        write_picture(tmp_path / "in" / f"{name}.png", number)
    up = served(tmp_path / "in")
    page = tab(up.address)
    assert page.inner_text("#case-name") == hostile  # < comes before a
    click(page, 20, 30)
    page.keyboard.press("Control+Enter")
    settle(page)
    page.keyboard.press(".")
    until(page, "annotate.store.info.name === 'a'")
    page.click("#cases")
    page.wait_for_selector("#cases-dialog[open]")
    assert page.locator("#cases-list .status").all_inner_texts() == ["done", "to do", "to do"]
    page.locator("#cases-list button").first.click()
    until(page, f"annotate.store.info.name === '{hostile}'")
    settle(page)
    mask = read_stored(tmp_path / "out" / "masks" / f"{hostile}.png")  # saved on leaving
    np.testing.assert_array_equal(mask > 0, up.case().masks.stack(1)[0])
    assert set(np.unique(mask)) == {0, 255}
    assert page.locator("#tools [data-view=coronal]").is_hidden()


def test_how_a_case_was_seen_is_kept_on_leaving_and_told_of_no_other(tmp_path, served, tab):
    for name in ("a", "b"):
        write_volume(tmp_path / "in" / f"{name}.nii.gz")
    page = tab(served(tmp_path / "in").address)
    at_a, at_b = "annotate.store.info.name === 'a'", "annotate.store.info.name === 'b'"
    until(page, at_a)
    page.keyboard.press("Home")
    settle(page)
    page.keyboard.press(".")  # long before it would have been kept for having been seen for a while
    until(page, at_b)
    settle(page)
    middle = page.evaluate("annotate.store.indices.axial")
    assert middle > 0
    page.wait_for_timeout(1500)  # what was still to be kept has been
    page.reload()
    page.wait_for_selector("#curtain", state="hidden")
    settle(page)
    assert page.evaluate(at_b)
    assert page.evaluate("annotate.store.indices.axial") == middle
    page.keyboard.press(",")
    until(page, at_a)
    settle(page)
    assert page.evaluate("annotate.store.indices.axial") == 0


def test_without_a_mouse(served, tab):
    up = served(labels=["liver"])
    page = tab(up.address)
    case = up.case()
    for key in ["Home", "ArrowUp", "ArrowUp", "ArrowUp"]:
        page.keyboard.press(key)
    settle(page)
    assert page.evaluate("annotate.store.indices.axial") == 3
    page.keyboard.press("Enter")  # shows the cursor
    for key in ["Shift+ArrowUp", "Shift+ArrowLeft", "Enter"]:
        page.keyboard.press(key)
    settle(page)
    assert [(c.z, c.y, c.x) for c in case.clicks()] == [(3, 17, 19)]
    page.keyboard.press("f")
    settle(page)
    page.keyboard.press("m")
    page.keyboard.press("p")
    until(page, "annotate.store.state.job?.outcome === 'done'")
    assert case.checked == {3}
    page.keyboard.press("j")
    settle(page)
    assert page.evaluate("annotate.store.indices.axial") not in (3,)
    page.keyboard.press("Delete")
    settle(page)
    page.keyboard.press("n")
    settle(page)
    until(page, "annotate.store.label === 2")
    page.keyboard.press("?")
    assert page.locator("#help-dialog").is_visible()
    assert "Ctrl+Z" in page.inner_text("#help-content")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    assert page.evaluate("annotate.store.window.level") == -500
    page.keyboard.press("Control+s")
    until(page, "annotate.store.state.isSaved")


def test_in_a_phone_sized_window_by_touch(served, tab):
    up = served(labels=["a_label_with_quite_a_long_name"])
    page = tab(up.address, viewport={"width": 390, "height": 780}, has_touch=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.touchscreen.tap(*place(page, 20, 20))
    settle(page)
    assert [c.positive for c in up.case().clicks()] == [True]
    page.tap("#sign")
    page.touchscreen.tap(*place(page, 20, 20))
    settle(page)
    assert [c.positive for c in up.case().clicks()] == [True, False]
    page.tap("#panel-toggle")
    page.wait_for_timeout(300)
    page.tap("#label-add")
    until(page, "annotate.store.state.labels.length === 2")
    page.tap("#undo")
    settle(page)
    assert len(up.case().clicks()) == 1
    outside = page.evaluate(
        """() => [...document.querySelectorAll("button")]
            .map((each) => each.getBoundingClientRect())
            .filter((box) => box.width && (box.left < 0 || box.right > innerWidth)).length"""
    )
    assert outside == 0


def test_labels_are_named_coloured_hidden_locked_and_deleted(served, tab):
    up = served(labels=["liver", "spleen"])
    page = tab(up.address, expected=["400"])
    click(page, 20, 20)
    name = page.locator("#labels input[type=text]").first
    name.fill("<i>liver</i>")
    name.press("Enter")
    settle(page)
    assert up.session.labels[1].name == "<i>liver</i>"
    page.evaluate("annotate.label(1, { colour: '#123456' })")
    settle(page)
    assert drawn(page, "#123456").any()
    page.keyboard.press("h")
    settle(page)
    assert not drawn(page, "#123456").any()
    page.keyboard.press("h")
    page.keyboard.press("g")
    settle(page)
    click(page, 20, 20, button="right")
    assert "locked" in page.inner_text("#said")
    page.keyboard.press("g")
    page.keyboard.press("Control+Delete")
    settle(page)
    until(page, "annotate.store.state.labels.length === 1")
    assert not up.case().masks.stack(1).any()
    page.keyboard.press("Control+z")
    settle(page)
    assert up.case().masks.stack(1).any()
    until(page, "annotate.store.state.labels.length === 2 && annotate.store.label === 1")


def test_masks_off_while_a_key_is_held_and_the_window_follows_a_drag(served, tab):
    up = served(labels=["liver"])
    page = tab(up.address)
    click(page, 20, 20)
    assert drawn(page, "#4cc9f0").any()
    page.keyboard.down("v")
    settle(page)
    assert not drawn(page, "#4cc9f0").any()
    page.keyboard.up("v")
    settle(page)
    assert drawn(page, "#4cc9f0").any()
    # Slices are fetched ahead at any time; once all are there, only the drag could ask for one.
    until(page, ALL_THERE)
    requests = []
    before = page.evaluate("annotate.store.window")
    page.on("request", lambda request: requests.append(request.url))
    page.keyboard.down("w")
    page.mouse.move(*place(page, 10, 10))
    page.mouse.down()
    page.mouse.move(*place(page, 20, 25), steps=5)
    after = page.evaluate("annotate.store.window")
    asked = [url for url in requests if "/pictures/" in url]
    page.mouse.up()
    page.keyboard.up("w")
    assert after["level"] < before["level"]
    assert after["width"] > before["width"]
    assert asked == []
    assert len(up.case().clicks()) == 1
    settle(page)


def test_the_second_tab_is_told(served, tab):
    up = served()
    first = tab(up.address, expected=["409"])
    second = tab(up.address, expected=["409"], wait=False)
    until(second, "!document.getElementById('banner').hidden")
    assert "open in another tab" in second.inner_text("#banner")
    second.click("#banner-button")
    second.wait_for_selector("#curtain", state="hidden")
    click(second, 20, 20)
    until(first, "annotate.store.state.lease === 'other'")
    assert "open in another tab" in first.inner_text("#banner")
    click(first, 2, 2)
    assert len(up.case().clicks()) == 1


def test_a_tab_opens_the_case_that_was_open_also_where_another_has_it(tmp_path, served, tab, browser):
    for number, name in enumerate("abc"):
        write_picture(tmp_path / "in" / f"{name}.png", number)
    address, context = served(tmp_path / "in").address, browser.new_context()
    first = tab(address, context=context)
    first.keyboard.press(".")
    until(first, "annotate.store.info.name === 'b'")
    second = tab(address, context=context, expected=["409"], wait=False)
    for _ in range(2):
        until(second, "!document.getElementById('banner').hidden")
        assert second.inner_text("#banner-text").startswith("b is open in another tab")
        second.reload()
    first.close()
    until(second, "annotate.store.info?.name === 'b'")  # nobody else has it any more
    click(second, 20, 30)
    second.keyboard.press("Control+Enter")
    settle(second)
    third = tab(address, context=context)
    until(third, "annotate.store.info?.name === 'a'")  # the first that is not done
    context.close()


def test_a_case_that_cannot_be_read_is_named_and_passed_and_nothing_behind_it_is_changed(
    tmp_path, served, tab
):
    for number, name in enumerate("ac"):
        write_picture(tmp_path / "in" / f"{name}.png", number)
    (tmp_path / "in" / "b.png").write_bytes(b"nothing")
    up = served(tmp_path / "in")
    page = tab(up.address, expected=["400"])
    click(page, 20, 30)
    page.keyboard.press(".")
    until(page, "document.getElementById('curtain-text').textContent.includes('not a readable picture')")
    assert (page.inner_text("#case-name"), page.inner_text("#case-place")) == ("b", "2 / 3")
    for key in ("Delete", "Control+z", "Control+Delete", "b", "ArrowUp", "x", "Control+Enter"):
        page.keyboard.press(key)
    page.click("#undo")
    settle(page)
    assert up.case().masks.stack(1).any()
    assert up.session.status(0) == "started"
    page.keyboard.press(".")
    until(page, "annotate.store.info.name === 'c'")
    page.keyboard.press(",")
    until(page, "document.getElementById('curtain-text').textContent.includes('not a readable picture')")
    page.keyboard.press(",")
    until(page, "annotate.store.info.name === 'a'")
    assert page.inner_text("#case-name") == "a"
    settle(page)


# -- what happens on loss


def start_command(path, port, *words):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-u",
        "-m",
        "tests.annotate.flooding",
        str(path),
        "--no-browser",
        f"--port={port}",
    ]
    process = subprocess.Popen(
        [*command, *words],
        cwd=path.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    for line in process.stdout:
        said += line
        if address := re.search(r"http://\S+/", line):
            return process, address[0]
    pytest.fail(f"did not start: {said}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_the_page_goes_on_after_the_server_was_killed_and_ctrl_c_saves(tmp_path, tab):
    path, port = write_volume(tmp_path / "patient.nii.gz"), free_port()
    process, address = start_command(path, port, "--labels", "liver")
    try:
        page = tab(address, expected=["ERR_"])
        click(page, 20, 20)
        before = page.evaluate("annotate.store.state.marks")
        process.kill()
        process.wait()
        until(page, "!annotate.store.online")
        assert "The server is gone" in page.inner_text("#banner")
        page.mouse.click(*place(page, 2, 2))  # nothing is lost that seemed to be kept
        assert "nothing can be changed" in page.inner_text("#said")
        process, again = start_command(path, port, "--labels", "liver")
        assert again == address
        until(page, "annotate.store.online && annotate.store.state.lease === 'yours'")
        assert page.evaluate("annotate.store.state.marks") == before
        click(page, 2, 2)
        assert page.evaluate("annotate.store.state.revision") == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    saved = np.asarray(nib.load(tmp_path / "annotations" / "patient" / "labelsTr" / "patient.nii.gz").dataobj)
    assert saved.shape == SHAPE
    assert saved[:, :, 6][volume_values()[:, :, 6] == 60].all()
