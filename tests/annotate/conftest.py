"""Small cases, and sessions on them, computed without a network."""

import asyncio
import contextlib
import json
import struct
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.annotate.cases import find_cases
from isegm.annotate.server import Server
from isegm.annotate.session import Session
from isegm.pictures import write_image
from tests.annotate.flooding import Flooding

SHAPE = (40, 36, 12)


def volume_values(shape=SHAPE):
    """A box of 60 HU in air, different along each axis, with a hole."""
    x, y, z = np.indices(shape)
    values = np.full(shape, -1000, np.int16)
    values[(x > 5) & (x < 30) & (y > 9) & (y < 31) & (z > 1) & (z < 10)] = 60
    values[12:16, 14:20, 3:9] = -1000
    return values


def write_volume(path, affine=None, values=None):
    affine = np.diag([0.8, 0.8, 2.5, 1]) if affine is None else affine
    image = nib.Nifti1Image(volume_values() if values is None else values, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_picture(path, seed=0):
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[10:30, 20:50] = (200, 120, 90)
    picture[0, 0] = seed
    write_image(path, picture)
    return path


@pytest.fixture
def computing():
    return Flooding(Path("weights.pth"))


@pytest.fixture
def start(tmp_path):
    """``start(paths, ...)``: a session; what an earlier one of the test holds is given up, as by a kill."""
    sessions = []

    def start(*paths, masks=None, series=None, untilt=False, output=tmp_path / "out", **settings):
        for session in sessions:
            session.close()
        session = Session(find_cases(paths, masks, series, untilt=untilt), output, **settings)
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        session.close()


@pytest.fixture
def volume_case(tmp_path, start):
    session = start(write_volume(tmp_path / "patient.nii.gz"), labels=["liver", "spleen"])
    return session.open(0, lambda _: None)


class Client:
    """A tab's requests to a server, without a network."""

    def __init__(self, server, token="t" * 24, host="127.0.0.1:8000", tab="first-tab"):
        self.server, self.token, self.host, self.tab = server, token, host, tab

    def ask(self, method, path, body=b"", headers=None, query=b"", *, is_cut=False):
        """The status, headers and content of an answer; the client may leave before it has sent all."""
        sent, parts = [], [{"type": "http.request", "body": body, "more_body": is_cut}]
        given = {"host": self.host, "origin": f"http://{self.host}", "content-type": "application/json"}
        given |= headers or {}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": f"/{self.token}{path}",
            "raw_path": f"/{self.token}{path}".encode(),
            "root_path": "",
            "query_string": query,
            "headers": [(k.encode(), v.encode()) for k, v in given.items() if v is not None],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }

        async def receive():
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        with contextlib.suppress(Exception):  # a defect is passed on to uvicorn once it is answered
            asyncio.run(self.server.app(scope, receive, send))
        start = sent[0]
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, content

    def get(self, path, query=b""):
        status, _, content = self.ask("GET", path, query=query)
        return status, content

    def post(self, path, **body):
        status, _, content = self.ask("POST", path, json.dumps({"tab": self.tab, **body}).encode())
        return status, content

    def open(self, case=0, **body):
        """Open a case, and wait until it is read."""
        while True:
            status, content = self.post(f"/api/cases/{case}/open", **body)
            if status != 202:
                return status, json.loads(content)
            time.sleep(0.01)

    def act(self, case=0, **body):
        """The status of an action, and its frame's header or what was said."""
        status, content = self.post(f"/api/cases/{case}/actions", **{"label": 1, **body})
        return status, header_of(content) if status == 200 else json.loads(content)

    def click(self, z, y, x, *, positive=True, **body):
        return self.act(do="click", z=z, y=y, x=x, positive=positive, window=[40, 350], index=z, **body)


def header_of(frame):
    (length,) = struct.unpack_from("<I", frame)
    return json.loads(frame[4 : 4 + length])


@pytest.fixture
def serve(tmp_path, start, computing):
    """``serve(paths, ...)``: a client of a server on a session."""

    def serve(*paths, computing=computing, **settings):
        session = start(*(paths or [write_volume(tmp_path / "patient.nii.gz")]), **settings)
        return Client(Server(session, computing, "t" * 24, ["127.0.0.1:8000", "localhost:8000"]))

    return serve
