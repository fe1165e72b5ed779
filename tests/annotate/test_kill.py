"""What SIGKILL leaves: everything that was acknowledged, 20 times of 20."""

import base64
import contextlib
import http.client
import json
import random
import threading
import time
import urllib.request

import pytest

from tests.annotate.conftest import header_of, write_volume
from tests.annotate.test_page import free_port, start_command

KILLS = 20
DOINGS = ("click", "click", "draw", "undo", "redo", "fill", "clear", "propagate", "label")


class Tab:
    """Requests over HTTP, as a tab sends them."""

    def __init__(self, address):
        self.address, self.tab = address, "the-only-tab"

    def ask(self, path, body=None):
        headers = {"content-type": "application/json", "origin": "/".join(self.address.split("/")[:3])}
        data = None if body is None else json.dumps({"tab": self.tab, **body}).encode()
        request = urllib.request.Request(self.address + path, data, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def open(self):
        while "state" not in (described := json.loads(self.ask("api/cases/0/open", {}))):
            time.sleep(0.01)
        return described["state"]

    def masks(self):
        return [self.ask(f"api/cases/0/pictures/axial/{z}").split(b"}")[-1] for z in range(12)]

    def act(self, chance):
        """Something at random; its revision when it is acknowledged."""
        do = chance.choice(DOINGS)
        place = {axis: chance.randrange(side) for axis, side in zip("zyx", (12, 36, 40), strict=True)}
        body = {"do": do, "label": chance.choice([1, 2]), "positive": chance.random() < 0.7, **place}
        if do == "draw":
            bits = base64.b64encode(bytes(15) + b"\x15\x55\x40" + bytes(162)).decode()
            body |= {"view": "axial", "index": place["z"], "bits": bits, "add": True}
        if do == "label":
            body = {"do": do, "label": 2, "name": f"name {chance.randrange(99)}"}
        return header_of(self.ask("api/cases/0/actions", body))["state"]


@pytest.mark.slow
def test_everything_acknowledged_is_there_after_each_of_twenty_kills(tmp_path):
    path, port = write_volume(tmp_path / "patient.nii.gz"), free_port()
    chance = random.Random(0)
    known, masks, late = None, [], False
    for kill in range(KILLS):
        process, address = start_command(path, port, "--labels", "a", "b")
        try:
            tab = Tab(address)
            state = tab.open()
            if known is not None:
                # What was under way when it was killed is there whole, or not at all; of a propagation, what
                # was found in each quarter of a second.
                most = 12 if random.Random(kill - 1).choice(DOINGS) == "propagate" else 1
                assert known["revision"] <= state["revision"] <= known["revision"] + most
                if not late:
                    assert state["revision"] == known["revision"]
                    assert tab.masks() == masks
                    assert state["canUndo"] == known["canUndo"]
                    assert state["labels"] == known["labels"]
            for _ in range(chance.randrange(1, 12)):
                known = tab.act(chance)
            while (known["job"] or {}).get("outcome") == "":
                known = json.loads(tab.ask("api/cases/0/state?tab=the-only-tab"))
            masks = tab.masks()
            late = kill % 2 == 1
            if late:  # killed while it is at work, with nobody to be told
                threading.Thread(target=act_in_vain, args=(tab, random.Random(kill))).start()
                time.sleep(chance.random() * 0.02)
        finally:
            process.kill()
            process.wait()


def act_in_vain(tab, chance):
    with contextlib.suppress(OSError, http.client.HTTPException):
        tab.act(chance)
