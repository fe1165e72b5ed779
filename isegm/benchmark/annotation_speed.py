"""Time what people wait for who annotate: ``isegm annotate`` on a large volume, in headless Chromium.

The command is started as a user starts it, on a generated volume of int16 in an uncompressed NIfTI file.
Times begin with the browser's own time of a key or a button, and end in the frame after the one that painted
the result. Memory is what is resident and in no file: that of the page's renderer process, and what the
server has beyond the volume and beyond a process that has only loaded the network.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from isegm.errors import InputError
from isegm.phantom.patients import random_patient
from isegm.tables import text_table

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)

_PACKAGES = Path(__file__).resolve().parents[2]

# In the page. `begin` waits for the next input, then for a paint that shows what is asked for, then for the
# frame after that one.
_SCRIPT = """() => {
    const { store, panes, api } = annotate;
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const input = () => new Promise((done) => {
        for (const kind of ["pointerdown", "keydown"]) {
            addEventListener(kind, (event) => done(event.timeStamp), { once: true, capture: true });
        }
    });
    const painted = (is) => new Promise((done) => {
        annotate.onPaint = async () => {
            if (!is(panes[0].shown ?? {})) return;
            annotate.onPaint = undefined;
            await frame();
            done(performance.now());
        };
    });
    const begin = (is) => {
        const [start, end] = [input(), painted(is)];
        measure.taken = Promise.all([start, end]).then(([from, to]) => to - from);
    };
    globalThis.measure = {
        quiet: async () => { while (api.waiting || api.fetching.size) await frame(); },
        place(row, col) {
            const { canvas, placement } = panes[0];
            const box = canvas.getBoundingClientRect();
            const { x, y } = placement.toScreen(row + 0.5, col + 0.5);
            return [box.left + x, box.top + y];
        },
        placeOfSlice(index) {
            const box = document.getElementById("strip").getBoundingClientRect();
            const part = (index + 0.5) / store.info.shape[0];
            return [box.left + box.width / 2, box.top + box.height * (1 - part)];
        },
        click() {
            const before = store.state.revision;
            begin((shown) => shown.revision > before);
        },
        slice: (index) => begin((shown) => shown.index === index),
        async drag(frames) {
            const start = performance.now();
            for (let k = 0; k < frames; k += 1) {
                annotate.setWindow(40 + k, 350 + 2 * k);
                await frame();
            }
            return (1000 * frames) / (performance.now() - start);
        },
        async rest(index) {
            annotate.goTo(store.view, index, 1);
            await new Promise((done) => setTimeout(done, 500));
            await measure.quiet();
        },
    };
}"""


def measure_annotation(checkpoint: Path | None, slices: int, repeats: int) -> dict[str, Any]:
    """Time an annotation session.

    Args:
        checkpoint: The network's; None for the one that comes with the project.
        slices: Of the volume, each 512 x 512.
        repeats: Clicks and slices of each kind.

    Returns:
        Milliseconds of each repetition by what was timed, and single figures in seconds, MB and frames a
        second.

    Raises:
        InputError: Playwright or Chromium is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError(
            "playwright is not installed; pip install playwright, without its browsers"
        ) from None
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise InputError("there is no Chromium; install the system's (apt-get install chromium)")
    words = [] if checkpoint is None else [f"--checkpoint={checkpoint.resolve()}"]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        megabytes = write_large_volume(Path(folder) / "patient.nii", slices)
        base = own_megabytes(_network_process(checkpoint))
        start = time.perf_counter()
        with _serving(Path(folder), words) as (process, address), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            page.wait_for_selector("#curtain", state="hidden", timeout=120_000)
            usable = time.perf_counter() - start
            page.wait_for_selector("#network", state="hidden", timeout=300_000)
            ready = time.perf_counter() - start
            page.evaluate(_SCRIPT)
            times: dict[str, list[float]] = {"first click": [], "further click": []}
            middle = slices // 2
            for index in range(middle, middle + repeats):
                page.evaluate("(index) => measure.rest(index)", index)
                row, col = (int(place) for place in random.integers(190, 320, 2))
                for number, name in enumerate(("first click", "further click", "further click")):
                    times[name].append(_click(page, row + 25 * number, col, is_positive=number != 1))
            page.evaluate("(index) => measure.rest(index)", 10)
            times["next slice"] = _next_slices(page, 10, repeats)
            times["any slice"] = _any_slices(page, random.permutation(slices), repeats)
            frames = page.evaluate("measure.drag(120)")
            page.evaluate("(index) => measure.rest(index)", middle)
            page.keyboard.press("p")
            times["next slice, propagating"] = _next_slices(page, middle, repeats)
            times["any slice, propagating"] = _any_slices(page, random.permutation(slices), repeats)
            job = page.evaluate("annotate.store.state.job")
            figures = {
                "page usable, s": usable,
                "network ready, s": ready,
                "frames a second of a window drag": frames,
                "page, MB": _renderer_megabytes(process_of=os.getpid()),
                "server beyond volume and network, MB": own_megabytes(process.pid) - megabytes - base,
                "propagation was under way": float(bool(job) and not job["outcome"]),
            }
            browser.close()
    return {"volume_mb": megabytes, "milliseconds": times, "figures": figures}


def format_annotation(result: Mapping[str, Any]) -> str:
    """Lay the times out as a table."""
    rows = [
        [name, f"{np.median(values):.0f}", f"{np.percentile(values, 95):.0f}"]
        for name, values in result["milliseconds"].items()
    ]
    figures = [f"{name}: {value:.1f}" for name, value in result["figures"].items()]
    table = text_table(("until painted", "median, ms", "95th percentile"), rows)
    return "\n".join([table, *figures])


def write_large_volume(path: Path, slices: int) -> float:
    """Write a generated patient, magnified to 512 x 512 x ``slices`` voxels; return its size in MB."""
    shape = (128, 128, 32)
    patient = random_patient(np.random.default_rng(0), shape, (3.2, 3.2, 10.0))
    along_z = np.linspace(0, shape[2] - 1, slices).round().astype(int)
    values = patient.hu.repeat(4, axis=0).repeat(4, axis=1)[:, :, along_z]
    affine = np.diag([0.8, 0.8, 320 / slices, 1])
    nib.save(nib.Nifti1Image(values, affine), path)  # type: ignore[no-untyped-call]
    return values.nbytes / 1e6


def own_megabytes(process: int | subprocess.Popen[str]) -> float:
    """The memory of a process that no file holds, in MB; of one that waits to be ended, which then is."""
    number = process if isinstance(process, int) else process.pid
    text = Path(f"/proc/{number}/smaps_rollup").read_text(encoding="utf-8")
    held = sum(int(size) for size in re.findall(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE))
    if not isinstance(process, int):
        process.kill()
        process.wait()
    return held * 1024 / 1e6


def _network_process(checkpoint: Path | None) -> subprocess.Popen[str]:
    """A process that has loaded the network, and does nothing else."""
    find = "default_weights()" if checkpoint is None else repr(str(checkpoint.resolve()))
    code = (
        "from isegm.commands.places import default_weights; from isegm.inference.load import load_network; "
        f"network = load_network({find}); print('loaded', flush=True); input()"
    )
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_PACKAGES
    )
    if process.stdout is not None:
        process.stdout.readline()
    return process


@contextlib.contextmanager
def _serving(folder: Path, words: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
    command = [
        sys.executable,
        "-u",
        "-m",
        "isegm",
        "annotate",
        "patient.nii",
        "--no-browser",
        "--port=0",
        *words,
    ]
    process = subprocess.Popen(  # noqa: S603 - our own
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout or ():
            if found := re.search(r"http://\S+/", line):
                yield process, found[0]
                return
        raise InputError("isegm annotate did not start; run it by hand to see why")
    finally:
        process.kill()
        process.wait()


def _click(page: Any, row: int, col: int, *, is_positive: bool) -> float:  # noqa: ANN401 - Playwright may be missing
    page.mouse.move(*page.evaluate("(place) => measure.place(...place)", [row, col]))
    page.evaluate("measure.quiet().then(() => measure.click())")
    page.mouse.click(
        *page.evaluate("(place) => measure.place(...place)", [row, col]),
        button="left" if is_positive else "right",
    )
    return float(page.evaluate("measure.taken"))


def _next_slices(page: Any, first: int, count: int) -> list[float]:  # noqa: ANN401
    """From a slice on, by the key."""
    taken = []
    for index in range(first + 1, first + 1 + count):
        page.evaluate("(index) => measure.slice(index)", index)
        page.keyboard.press("ArrowUp")
        taken.append(page.evaluate("measure.taken"))
    return taken


def _any_slices(page: Any, indices: Any, count: int) -> list[float]:  # noqa: ANN401
    """Anywhere but where it is, by the strip beside the slices."""
    taken = []
    seen = page.evaluate("annotate.store.indices.axial")
    for index in [index for index in indices.tolist() if index != seen][:count]:
        page.evaluate("(index) => measure.slice(index)", index)
        page.mouse.click(*page.evaluate("(index) => measure.placeOfSlice(index)", index))
        taken.append(page.evaluate("measure.taken"))
    return taken


def _renderer_megabytes(process_of: int) -> float:
    """The memory of the largest renderer among a process's descendants."""
    parents, renderers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                renderers.append(int(folder.name))

    def is_ours(number: int) -> bool:
        while number > 1 and number != process_of:
            number = parents.get(number, 0)
        return number == process_of

    return max((own_megabytes(number) for number in renderers if is_ours(number)), default=0.0)
