"""The annotation benchmark measures everything that it promises, on a small volume."""

import json
import os

import pytest

from isegm.commands.benchmark import main
from tests.annotate.test_page import CHROMIUM


@pytest.mark.slow
def test_all_that_people_wait_for_is_measured(capsys):
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no Chromium here")
    assert main(["annotate", "--slices=100", "--repeats=2"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)["annotation"]
    assert {name: len(times) for name, times in result["milliseconds"].items()} == {
        "first click": 2,
        "further click": 4,
        "next slice": 2,
        "any slice": 2,
        "next slice, propagating": 2,
        "any slice, propagating": 2,
    }
    assert all(time > 0 for times in result["milliseconds"].values() for time in times)
    assert result["volume_mb"] == pytest.approx(512 * 512 * 100 * 2 / 1e6)
    assert all(
        value >= 0
        for name, value in result["figures"].items()
        if name != "server beyond volume and network, MB"
    )
