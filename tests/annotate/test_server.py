"""The server's contract: who may ask for what, what is exclusive, and that nothing asked does harm."""

import base64
import gc
import json
import math
import socket
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isegm.annotate import server as server_module
from isegm.annotate.server import MOST_BODY, Server
from tests.annotate.conftest import Client, header_of, write_picture, write_volume
from tests.annotate.flooding import Flooding

ROUTES = [
    ("GET", "/"),
    ("GET", "/page/main.js"),
    ("GET", "/api/session"),
    ("POST", "/api/cases/0/open"),
    ("GET", "/api/cases/0/pictures/axial/3"),
    ("GET", "/api/cases/0/state"),
    ("POST", "/api/cases/0/actions"),
]


def case_of(client):
    return client.server.session.open(0, lambda _: None)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_the_pages_own_requests_are_answered(method, path, serve):
    client = serve()
    client.open()
    body = json.dumps({"tab": client.tab, "do": "undo"}).encode()
    status, headers, _ = client.ask(method, path, body)
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    wrong_token = Client(client.server, token="t" * 23 + "u")
    assert wrong_token.ask(method, path, body)[0] == 404
    assert Client(client.server, token="").ask(method, path, body)[0] == 404
    for host in ("evil.example", "evil.example:8000", "127.0.0.1:8001", "127.0.0.1", ""):
        assert client.ask(method, path, body, {"host": host})[0] == 403
    if method == "POST":
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9000", None):
            assert client.ask(method, path, body, {"origin": origin})[0] == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            assert client.ask(method, path, body, {"content-type": kind})[0] == 415
    else:
        assert client.ask(method, path, headers={"sec-fetch-site": "cross-site"})[0] == 403
        assert client.ask(method, path, headers={"sec-fetch-site": "same-origin"})[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/..%2fserver.py",
        "/page/page.html/../../session.py",
        "//etc/passwd",
        "/api/cases/1/state",
        "/api/cases/-1/state",
        "/api/cases/0/pictures/axial/12",
        "/api/cases/0/pictures/../0",
        "/api/cases/0/pictures/oblique/0",
        "/api/cases/99999999999999999999999/pictures/axial/0",
    ],
)
def test_what_there_is_not_is_not_found(path, serve):
    client = serve()
    client.open()
    status, content = client.get(path)
    assert status == 404
    assert b"Traceback" not in content


def test_a_tab_that_leaves_while_it_sends_is_no_defect(serve, caplog):
    client = serve()
    client.open()
    body = json.dumps({"tab": client.tab, "do": "undo"}).encode()
    status, _, content = client.ask("POST", "/api/cases/0/actions", body[:-9], is_cut=True)
    assert (status, json.loads(content)) == (400, {"error": "the request is cut short"})
    assert not caplog.records
    assert client.click(5, 20, 20)[0] == 200


def values_of(sent, shape):
    """The values that ``steps_of`` made bytes of."""
    steps = np.frombuffer(sent, np.int8)[-math.prod(shape) :]
    far, value, values = iter(np.frombuffer(sent[: -steps.size], "<i2").tolist()), 0, []
    for step in steps.tolist():
        value = next(far) if step == -128 else value + step
        values.append(value)
    return np.array(values).reshape(shape)


def test_a_frame_has_the_masks_that_are_saved(serve):
    client = serve(labels=["liver"])
    client.open()
    status, header = client.click(5, 20, 20)
    assert status == 200
    assert header["objects"] == [1]
    assert header["clicks"] == [[1, 5, 20, 20, True]]
    assert header["state"]["marks"] == {"5": "clicked"}
    case = case_of(client)
    for name, view in case.pixels.views.items():
        for index in (4, 5, 20)[: 3 if name != "axial" else 2]:
            _, frame = client.get(f"/api/cases/0/pictures/{name}/{index}")
            _, whole = client.get(f"/api/cases/0/pictures/{name}/{index}", b"values=yes")
            assert whole.startswith(frame)
            assert len(frame) % 4 == 0
            (length,) = struct.unpack_from("<I", frame)
            expected = view.plan.pictures(case.masks.stack(1))[index]
            packed = np.frombuffer(frame[4 + length :], np.uint8)
            if not expected.any():
                assert packed.size == 0
                continue
            packed = packed.reshape(expected.shape[0], -1)
            np.testing.assert_array_equal(np.unpackbits(packed, axis=1, count=expected.shape[1]), expected)
            np.testing.assert_array_equal(
                values_of(whole[len(frame) :], expected.shape),
                view.plan.pictures(case.pixels.values)[index],
            )


def test_the_second_tab_is_told_and_may_take_over(serve, monkeypatch):
    first = serve()
    first.open()
    second = Client(first.server, tab="second-tab")
    status, said = second.open()
    assert (status, said["lease"]) == (409, "other")
    assert second.click(5, 20, 20)[0] == 409
    assert not case_of(first).actions
    query = b"tab=second-tab"
    assert json.loads(second.get("/api/cases/0/state", query)[1])["lease"] == "other"
    assert first.click(5, 20, 20)[0] == 200
    status, described = second.open(take=True)
    assert (status, described["state"]["revision"]) == (200, 1)
    assert first.click(5, 2, 2)[0] == 409
    assert json.loads(first.get("/api/cases/0/state", b"tab=first-tab")[1])["lease"] == "other"
    assert second.act(do="undo")[0] == 200
    second.post("/api/cases/0/open", release=True)
    assert first.open()[0] == 200
    assert second.open(take=True)[0] == 200
    second.post("/api/cases/0/open", release=True)
    assert first.open()[0] == 200
    assert second.open(take=True)[0] == 200
    # A tab without a sign of life loses its lease to whoever asks.
    monkeypatch.setattr(server_module, "LEASE_SECONDS", 0.0)
    assert json.loads(first.get("/api/cases/0/state", b"tab=first-tab")[1])["lease"] == "yours"


def test_an_action_cancels_a_propagation_and_scrolling_goes_on_meanwhile(serve):
    client = serve(computing=Flooding(None, slice_seconds=0.2))
    client.open()
    client.click(5, 20, 20)
    before = case_of(client).masks.stack(1)
    client.act(do="propagate")
    # Slices are there as they are found, before all are.
    while "propagated" not in json.loads(client.get("/api/cases/0/state", b"label=1")[1])["marks"].values():
        time.sleep(0.01)
    threads = [
        threading.Thread(target=client.get, args=(f"/api/cases/0/pictures/axial/{index}", query))
        for query in (b"values=yes", b"")
        for index in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(client.get("/api/cases/0/state")[1])["job"]["outcome"] == ""
    status, header = client.act(do="clear", z=6)
    assert status == 200
    assert header["state"]["job"]["outcome"] == "cancelled"
    case = case_of(client)
    assert [action.do for action in case.actions] == ["click", "propagate", "clear"]
    assert 0 < len(case.actions[1].touched) < 6
    # What it has found stays, and is one step to undo.
    client.act(do="undo")
    client.act(do="undo")
    np.testing.assert_array_equal(case.masks.stack(1), before)
    # An undo while it is under way takes back what it has found so far.
    client.act(do="redo")
    client.act(do="propagate")
    client.act(do="undo")
    while len(case.actions) > 1:
        client.act(do="undo")
    np.testing.assert_array_equal(case.masks.stack(1), before)


def test_a_propagation_that_cannot_be_says_why(serve):
    client = serve()
    client.open()
    client.act(do="propagate")
    client.act(do="undo")
    assert (
        json.loads(client.get("/api/cases/0/state")[1])["job"]["outcome"]
        == "click on the object in a slice, or draw it, first"
    )


def test_hostile_names_are_text_and_go_nowhere(tmp_path, serve):
    hostile = '<img src=x onerror="alert(1)">..'
    client = serve(write_picture(tmp_path / f"{hostile}.png"), labels=["a"])
    client.open()
    status, header = client.act(do="label", label=2, name="../../<script>alert(1)</script>")
    assert status == 200
    assert header["state"]["labels"][1]["name"] == "../../<script>alert(1)</script>"
    client.act(do="click", z=0, y=20, x=30, positive=True)
    assert client.act(do="save")[0] == 200
    written = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()
    )
    kept = [f".annotate/{hostile}.jsonl", ".annotate/labels.json", ".annotate/lock"]
    assert written == sorted([*kept, "clicks.jsonl", f"images/{hostile}.png", f"masks/{hostile}.png"])
    assert client.get("/")[1].count(b"<script") == 1


def test_a_full_disk_is_told_and_nothing_is_changed(serve, monkeypatch):
    client = serve()
    client.open()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isegm.storage.os.fsync", full)
    status, said = client.click(5, 20, 20)
    assert status == 507
    assert "No space left" in said["error"]
    assert not case_of(client).masks.stack(1).any()
    monkeypatch.undo()
    assert client.click(5, 20, 20)[0] == 200


def test_a_defect_is_an_answer_and_logged(serve, monkeypatch, caplog):
    client = serve()

    def defect(_):
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(client.server.session, "status", defect)
    status, content = client.get("/api/session")
    assert status == 500
    assert json.loads(content) == {"error": "a defect of the server; its terminal says more"}
    (record,) = caplog.records
    assert record.exc_info[1].args == ("what nobody thought of",)


def test_on_a_network_addresses_and_the_machines_name_are_its_own(serve):
    server = Server(serve().server.session, Flooding(None), "t" * 24, None)
    own = socket.gethostname()
    for host, status in {
        "192.168.0.7:8000": 200,
        "[::1]:8000": 200,
        f"{own}:8000": 200,
        "a.example:8000": 403,
    }.items():
        assert Client(server, host=host).get("/")[0] == status


def test_too_much_is_refused(serve):
    client = serve()
    client.open()
    status, _, _ = client.ask("POST", "/api/cases/0/actions", b" " * (MOST_BODY + 1))
    assert status == 413


def test_an_unreadable_case_is_a_line_and_others_go_on(tmp_path, serve, caplog):
    good, bad = write_volume(tmp_path / "in" / "b.nii.gz"), tmp_path / "in" / "a.nii.gz"
    bad.write_bytes(good.read_bytes()[:200])
    client = serve(bad.parent)
    status, said = client.open(0)
    assert status == 400
    assert said["error"].startswith(str(bad))
    assert client.open(1)[0] == 200
    gc.collect()  # when asyncio tells of errors that nobody has asked for
    assert caplog.records == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = [
    *(
        "do",
        "label",
        "z",
        "y",
        "x",
        "positive",
        "window",
        "view",
        "index",
        "bits",
    ),
    *(
        "add",
        "source",
        "checked",
        "key",
        "value",
        "name",
        "colour",
        "hidden",
        "locked",
        "since",
        "take",
        "tab",
    ),
]
ACTIONS = [
    *server_module.CHANGES,
    "label",
    "set",
    "cancel",
    "prepare",
    "propagate",
    "save",
]
VALUES = (
    JSON | st.integers(-1, 40) | st.sampled_from(["axial", "coronal", "../x", "AAAA", "//8=", "note", "view"])
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    from isegm.annotate.cases import find_cases
    from isegm.annotate.session import Session

    folder = tmp_path_factory.mktemp("fuzzed")
    session = Session(find_cases([write_volume(folder / "p.nii.gz")]), folder / "out", ["a", "b"])
    client = Client(Server(session, Flooding(folder / "w.pth"), "t" * 24, ["127.0.0.1:8000"]))
    client.open()
    yield client
    session.close()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ACTIONS) | st.text(max_size=10),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8),
    st.booleans(),
)
def test_no_action_makes_the_server_fail(fuzzed, do, body, complete):
    """Complete ones have what an action needs, so that what is wrong is found late."""
    base = {"tab": fuzzed.tab, "do": do, "label": 1}
    if complete:
        base |= {
            "z": 3,
            "y": 4,
            "x": 5,
            "positive": True,
            "view": "axial",
            "index": 2,
        }
        bits = base64.b64encode(bytes(range(180))).decode()
        base |= {"bits": bits, "add": True, "source": 1, "key": "note", "value": "x"}
    status, _, content = fuzzed.ask("POST", "/api/cases/0/actions", json.dumps(base | body).encode())
    assert status in (200, 400, 404, 409), content
    if status == 200:
        assert header_of(content)["state"]["lease"] == "yours"
    else:
        assert "\n" not in json.loads(content)["error"]
    fuzzed.act(do="cancel")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([path for _, path in ROUTES]),
    st.binary(max_size=60),
    st.text(max_size=30),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
)
def test_no_request_makes_the_server_fail(fuzzed, path, body, more, method):
    query = more.encode("utf-8", "surrogatepass")[:40].replace(b"#", b"")
    for at in (path, path + more, path.rsplit("/", 1)[0] + "/" + more):
        status, _, _ = fuzzed.ask(method, at, body, query=query)
        assert status < 500
