"""The pages in a real browser: Chromium, without a window. With CI=true it has to be there."""

import html
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from isegm.pictures import write_image
from isegm.report.write import write_comparison, write_report
from tests.evaluation.by_hand import result_of
from tests.report.by_hand import HOSTILE, small_run, square, write_dataset, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--virtual-time-budget=5000",
    ),
    "--allow-file-access-from-files",
]

# What a reader would notice: whether anything is wider than a phone, what failed, and what was fetched.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><pre id="found"></pre>
<iframe id="page" style="width:390px;height:800px;border:0" src="PAGE"></iframe>
<script>
const frame = document.getElementById("page");
const failed = [];
frame.contentWindow.addEventListener("error", (event) => failed.push(String(event.message)));
frame.addEventListener("load", () => {
  const root = frame.contentDocument.documentElement;
  const seen = frame.contentWindow;
  seen.addEventListener("error", (event) => failed.push(String(event.message)));
  const cards = [...frame.contentDocument.querySelectorAll(".gallery:first-of-type .card b")];
  const first = () => frame.contentDocument.querySelector(".gallery .card b")?.textContent;
  const worst = first();
  const order = frame.contentDocument.querySelector(".gallery select, .order select");
  if (order) {
    order.value = "hd95";
    order.dispatchEvent(new seen.Event("change"));
  }
  const images = [...frame.contentDocument.images];
  seen.location.hash = "#samples-0-0-0-0";
  const open = frame.contentDocument.querySelector(":target");
  document.getElementById("found").textContent = JSON.stringify({
    width: root.scrollWidth,
    failed,
    fetched: seen.performance.getEntriesByType("resource").map((entry) => entry.name),
    broken: images.filter((image) => image.complete && !image.naturalWidth).length,
    images: images.length,
    plots: [...frame.contentDocument.querySelectorAll("svg")].map((plot) => plot.clientWidth),
    worst,
    reordered: first(),
    enlarged: open ? seen.getComputedStyle(open).position : "",
    text: frame.contentDocument.body.innerText,
  });
});
</script>"""


@pytest.fixture(scope="module")
def open_page(tmp_path_factory):
    """``open_page(path)``: what there is to see on a phone."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no Chromium here")

    def open_page(path):
        folder = tmp_path_factory.mktemp("browser")
        (folder / "probe.html").write_text(PROBE.replace("PAGE", path.as_uri()))
        profile = f"--user-data-dir={folder / 'profile'}"
        command = [CHROMIUM, *FLAGS, profile, "--enable-logging=stderr", "--dump-dom"]
        command.append((folder / "probe.html").as_uri())
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        content = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]
        return json.loads(html.unescape(content)), [
            line for line in done.stderr.splitlines() if "CONSOLE" in line
        ]

    return open_page


def test_a_report_can_be_read_on_a_phone_without_network_or_errors(tmp_path, open_page):
    truth = square(slice(20, 40), slice(30, 50))
    hostile = HOSTILE.replace("/", "") + "\N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}x\n"
    dataset = write_dataset(tmp_path, "liver", {"a": truth, "b": truth, hostile: truth})
    results = [result_of([0.2 + 0.3 * number], name=name) for number, name in enumerate(dataset.names)]
    object.__setattr__(results[1], "final", type(results[1].final)(0.5, 90.0, 0.1))
    long = "a_network_with_quite_a_long_name_" * 3
    folder = write_run(tmp_path / "run", {(long, "liver"): results}, problems=[f"/{long}.png: broken"])
    for name in dataset.names:
        write_image(folder / "predictions" / "liver" / f"{name}.png", truth.astype(np.uint8) * 255)
    write_report(folder, [dataset])
    found, console = open_page(folder / "report.html")
    assert console == found["failed"] == []
    assert [name for name in found["fetched"] if not name.startswith("data:")] == []
    assert found["width"] <= 390
    assert (found["images"], found["broken"]) == (3, 0)
    assert len(found["plots"]) == 2
    assert all(250 < width <= 390 for width in found["plots"])
    assert hostile.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\ufffd").replace("\n", "\ufffd") in found["text"]
    # The script sorts, and a picture that is asked for fills the window.
    assert (found["worst"], found["reordered"], found["enlarged"]) == ("a", "b", "fixed")


def test_a_comparison_can_be_read_on_a_phone_without_network_or_errors(tmp_path, open_page):
    folders = [small_run(tmp_path / name) for name in ("a_run_with_quite_a_long_name", "another_run")]
    write_comparison(folders, tmp_path)
    found, console = open_page(tmp_path / "comparison.html")
    assert console == found["failed"] == []
    assert [name for name in found["fetched"] if not name.startswith("data:")] == []
    assert found["width"] <= 390
    assert len(found["plots"]) == 2
