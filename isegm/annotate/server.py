"""The session over HTTP, for the page alone.

The contract. All is below ``/<token>/``; anything else is answered with 404, and so is a wrong token.

======  ======================================  ========================================================
GET     ``/``, ``/page/<file>``                 the page
GET     ``/api/session``                        cases with what is done, presets of windows
POST    ``/api/cases/<n>/open``                 lease a case to a tab and read it; 202 until it is read
GET     ``/api/cases/<n>/pictures/<view>/<i>``  a picture's masks and clicks: a *frame*; with ``values=yes``
                                                its values behind it, little-endian, row by row, int16 as
                                                :func:`steps_of` says
GET     ``/api/cases/<n>/state``                all else that is shown; ``since`` tells what is known
POST    ``/api/cases/<n>/actions``              one action; the answer is a frame with the state in it
======  ======================================  ========================================================

A frame is the length of its JSON header (4 bytes, little-endian), the header, and the masks it lists, bits
packed row by row. What follows begins at a multiple of 4 bytes.

*What is exclusive.* A case is leased to one tab, by the random name that the tab gives itself: actions from
another are refused with 409, and the state says ``lease: other``. A tab may take the lease over (``take``),
which the first one learns with its next request; one that has gone gives it back (``release``), and one that
has not asked for ``LEASE_SECONDS`` has lost it. An output folder has one server (:class:`Session` locks it).

*In which order.* Actions are made one after the other by one thread; pictures, masks and state are read by
others meanwhile. A propagation has a thread that comes after all others, and its slices change as they are
found. Whatever else changes masks cancels it first; what it has found until then stays.

*What is kept.* An action is answered when it is on disk. After a loss of the server, by SIGKILL too, the
page asks for the state until there is one again, at the same address: the token is kept in the output
folder. What was not answered may or may not have been done; the state says which.

*Who may ask.* The token is in the address, and a request must name this server as its host; what changes
anything must come from its origin, as JSON of ``MOST_BODY`` bytes at most. Cases, views and pictures are
numbers and names from closed lists: no path is made of what is asked.
"""

import asyncio
import base64
import binascii
import contextlib
import functools
import hmac
import ipaddress
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isegm.annotate.cases import AXIAL
from isegm.annotate.packed_masks import MOST_NUMBER
from isegm.annotate.saving import save_case, save_clicks, training_command
from isegm.annotate.session import Case, Computing, Session
from isegm.errors import InputError, describe
from isegm.json_object import JsonObject, read_json_object
from isegm.metrics.overlap import Mask
from isegm.volumes.orientation import SlicePlan
from isegm.volumes.windows import WINDOWS, Window
from isegm.wording import with_options

LEASE_SECONDS = 12.0
"""How long a tab keeps a case without a sign of life."""

MOST_BODY = 1 << 24
"""Bytes of a request: a stroke of the brush fits on the largest picture that is read (``MOST_PIXELS``)."""

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_logger = logging.getLogger(__name__)


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """A request that is answered with a line."""

    def __init__(self, status: int, said: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(said)
        self.status, self.content = status, {"error": said, **more}


@dataclass
class _Job:
    """A propagation under way."""

    case: int
    number: int
    done: int = 0
    total: int = 0
    outcome: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "done": self.done, "total": self.total, "outcome": self.outcome}


class Server:
    """Answers the page's requests; :attr:`app` is the ASGI application.

    Args:
        session: What is annotated.
        computing: What computes masks.
        token: What addresses begin with.
        hosts: By which names, with port, the server may be called; None takes any address of IP, and the
            machine's own name.
    """

    def __init__(
        self, session: Session, computing: Computing, token: str, hosts: Sequence[str] | None
    ) -> None:
        self.session, self.computing = session, computing
        self._actions = ThreadPoolExecutor(1, "actions")
        self._reading = ThreadPoolExecutor(1, "reading")
        self._propagating = ThreadPoolExecutor(1, "propagating", _give_way)
        self._opening: dict[int, Future[Case]] = {}
        self._progress: dict[int, float] = {}
        self._leases: dict[int, tuple[str, float]] = {}
        self._job: _Job | None = None
        self._propagation: Future[None] | None = None  # known to the thread of actions alone
        self._wanted: object = None
        page = files("isegm.annotate").joinpath("page")
        self._files = {
            file.name: file.read_bytes() for file in page.iterdir() if Path(file.name).suffix in _KINDS
        }
        routes = [
            Route("/", self._page),
            Route("/page/{file}", self._page),
            Route("/api/session", self._describe_session),
            Route("/api/cases/{case:int}/open", self._open, methods=["POST"]),
            Route("/api/cases/{case:int}/pictures/{view}/{index:int}", self._picture),
            Route("/api/cases/{case:int}/state", self._state),
            Route("/api/cases/{case:int}/actions", self._act, methods=["POST"]),
        ]
        said = dict.fromkeys((_Refused, ValueError, OSError, Exception), _say)
        self.app: ASGIApp = _Guard(Starlette(routes=routes, exception_handlers=said), token, hosts)

    def begin_reading(self, index: int) -> Future[Case]:
        """Read a case in a thread of its own, unless it is open or being read."""
        future = self._opening.get(index)
        if future is None or (
            future.done() and (future.exception() or future.result() not in self.session.opened())
        ):
            self._progress[index] = 0.0
            tell = functools.partial(self._progress.__setitem__, index)
            future = self._opening[index] = self._reading.submit(self.session.open, index, tell)
        return future

    def save_all(self) -> tuple[list[Path], list[str]]:
        """Save what is open and not saved, and the clicks; for when the server ends.

        Returns:
            What was written, and a line about each case that could not be saved.
        """
        self._cancel()
        self._actions.shutdown(wait=True)
        self._propagating.shutdown(wait=True)
        written: list[Path] = []
        problems: list[str] = []
        for case in self.session.opened():
            if not case.is_saved:
                try:
                    written += save_case(self.session, case)
                except (InputError, OSError) as error:
                    problems.append(_said(error))
        if written:
            written.append(save_clicks(self.session))
        return written, problems

    # -- the page

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("file", "page.html")
        if name not in self._files:
            raise _Refused(404, "there is no such file")
        return Response(self._files[name], media_type=_KINDS[Path(name).suffix])

    async def _describe_session(self, _: Request) -> Response:
        statuses = await run_in_threadpool(
            lambda: [self.session.status(index) for index in range(len(self.session.cases))]
        )
        cases = [
            {"name": case.name, "status": status}
            for case, status in zip(self.session.cases, statuses, strict=True)
        ]
        windows = [{"name": name, **asdict(window)} for name, window in WINDOWS.items()]
        return JSONResponse(
            {"cases": cases, "windows": windows, "output": str(self.session.output), "most": MOST_NUMBER}
        )

    # -- a case

    async def _open(self, request: Request) -> Response:
        index, body = self._index(request), await _body(request)
        tab = _tab(body)
        if not body.values.get("take"):
            self._lease(index, tab)
        self._leases = {other: lease for other, lease in self._leases.items() if lease[0] != tab}
        if body.values.get("release") is True:
            return JSONResponse({})
        self._leases[index] = tab, time.monotonic()
        future = self.begin_reading(index)
        await run_in_threadpool(wait, [future], 0.1)
        if not future.done():
            return JSONResponse({"loading": self._progress.get(index, 0.0)}, 202)
        case = future.result()
        pixels = case.pixels
        views = {name: {**_plan(view.plan), "sides": view.sides} for name, view in pixels.views.items()}
        volume = pixels.volume and {"shape": pixels.volume.shape, **_plan(pixels.plan)}
        described = {
            "name": case.files.name,
            "shape": pixels.shape,
            "spacing": pixels.spacing,
            "type": "rgb" if pixels.values.ndim == 4 else pixels.values.dtype.name,
            "unit": pixels.unit,
            "window": None if pixels.window is None else asdict(pixels.window),
            "views": views,
            "volume": volume,
            "view": case.settings.get("view", ""),
            "note": case.settings.get("note", ""),
            "state": self._state_of(index, case, tab, -1, 0),
        }
        return JSONResponse(described)

    async def _picture(self, request: Request) -> Response:
        case = await self._case(request)
        view, index = request.path_params["view"], request.path_params["index"]
        if not _is_picture(case, view, index):
            raise _Refused(404, "there is no such picture")
        with_values = request.query_params.get("values") == "yes"
        return await run_in_threadpool(_frame, case, view, index, with_values=with_values)

    async def _state(self, request: Request) -> Response:
        index, case = self._index(request), await self._case(request)
        tab = request.query_params.get("tab", "")
        if tab:
            with contextlib.suppress(_Refused):
                self._lease(index, tab)
        since, number = (_integer(request.query_params.get(key, "0")) for key in ("since", "label"))
        return JSONResponse(await run_in_threadpool(self._state_of, index, case, tab, since, number))

    async def _act(self, request: Request) -> Response:
        index, body = self._index(request), await _body(request)
        case = await self._case(request)
        tab = _tab(body)
        self._lease(index, tab)
        do, number = body.text("do"), body.integer("label", 0, MOST_NUMBER, 0)
        moved = None
        if do == "label":
            keys = body.values.keys() & {"name", "colour", "hidden", "locked"}
            changes = {key: body.values[key] for key in keys}
            await run_in_threadpool(functools.partial(self.session.change_label, number, **changes))
        elif do == "set":
            await run_in_threadpool(case.set, body.text("key"), body.text("value"))
        elif do == "cancel":
            self._cancel()
        elif do == "prepare":
            self._prepare(case, body)
        elif do == "propagate":
            self._propagate(index, case, number)
        elif do == "save":
            await asyncio.wrap_future(self._actions.submit(self._save, case))
        elif do in CHANGES:
            self._cancel()

            def change() -> int | None:
                if self._propagation is not None:
                    self._propagation.result()
                return CHANGES[do](case, number, body, self.computing)

            moved = await asyncio.wrap_future(self._actions.submit(change))
        else:
            raise _Refused(400, f"there is no action {do[:40]!a}")
        since = body.integer("since", -1, 2**53, -1)
        state = self._state_of(index, case, tab, since, number)
        view, picture = body.text("view", AXIAL), body.integer("index", 0, 2**31, 0)
        if not _is_picture(case, view, picture):
            raise _Refused(400, "there is no such picture")
        return await run_in_threadpool(_frame, case, view, picture, state=state, moved=moved)

    # -- what the routes share

    def _index(self, request: Request) -> int:
        index = int(request.path_params["case"])
        if not index < len(self.session.cases):
            raise _Refused(404, "there is no such case")
        return index

    async def _case(self, request: Request) -> Case:
        return await asyncio.wrap_future(self.begin_reading(self._index(request)))

    def _lease(self, index: int, tab: str) -> None:
        """Let a tab have a case, from now on for ``LEASE_SECONDS``."""
        holder, seen = self._leases.get(index, ("", 0.0))
        if holder not in ("", tab) and time.monotonic() - seen < LEASE_SECONDS:
            raise _Refused(409, "this case is open in another tab or window", lease="other")
        self._leases[index] = tab, time.monotonic()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancelled.set()

    def _state_of(self, index: int, case: Case, tab: str, since: int, number: int) -> dict[str, Any]:
        job = self._job
        with case.lock:
            marks = {z: mark for (owner, z), mark in case.marks.items() if owner == number}
            return {
                "revision": case.revision,
                "changed": [int(z) for z in np.flatnonzero(case.changed > since)],
                "canUndo": case.can_undo,
                "canRedo": bool(case.undone),
                "isSaved": case.is_saved,
                "isDone": case.settings.get("done", "") == "yes",
                "labels": [asdict(label) for label in self.session.labels.values()],
                "marks": marks,
                "checked": sorted(case.checked),
                "lease": "yours" if self._leases.get(index, ("", 0))[0] == tab else "other",
                "job": job.as_json() if job is not None and job.case == index else None,
                "network": self.computing.status,
                "command": training_command(
                    self.session, case, self.computing.checkpoint, self.computing.preset
                ),
            }

    def _prepare(self, case: Case, body: JsonObject) -> None:
        """Compute ahead for the slice in view, unless another one is in view by then."""
        number, z, window = body.integer("label", 1, MOST_NUMBER), body.integer("z", 0, 2**31), _window(body)
        wanted = self._wanted = object()

        def prepare() -> None:
            if self._wanted is wanted and (self._job is None or self._job.outcome):
                with contextlib.suppress(ValueError):  # a click there will say what is wrong
                    case.prepare(number, z, window, self.computing)

        self._actions.submit(prepare)

    def _propagate(self, index: int, case: Case, number: int) -> None:
        self._cancel()
        job = self._job = _Job(index, number)

        def progress(done: int, total: int) -> None:
            job.done, job.total = done, total

        def propagate() -> None:
            try:
                done = case.propagate(number, self.computing, progress, job.cancelled.is_set)
                job.outcome = "done" if done else "cancelled"
            except (ValueError, OSError) as error:
                job.outcome = _said(error)
            except Exception:
                job.outcome = "failed; the server's terminal says why"
                _logger.exception("propagation")

        def begin() -> None:
            self._propagation = self._propagating.submit(propagate)

        self._actions.submit(begin)

    def _save(self, case: Case) -> None:
        save_case(self.session, case)
        save_clicks(self.session)


def _click(case: Case, number: int, body: JsonObject, computing: Computing) -> None:
    z, y, x = (body.integer(axis, 0, 2**31) for axis in "zyx")
    positive = body.values.get("positive")
    if not isinstance(positive, bool):
        raise body.wrong("positive", "true or false")
    case.click(number, (z, y, x), positive, _window(body), computing)


def _draw(case: Case, number: int, body: JsonObject, _: Computing) -> None:
    view, index = body.text("view"), body.integer("index", 0, 2**31)
    if not _is_picture(case, view, index):
        raise _Refused(400, "there is no such picture")
    plan = case.pixels.views[view].plan
    height, width = case.pixels.shape[plan.row_axis], case.pixels.shape[plan.col_axis]
    try:
        packed = np.frombuffer(base64.b64decode(body.text("bits"), validate=True), np.uint8)
    except binascii.Error:
        raise body.wrong("bits", "base64") from None
    if packed.size != height * -(-width // 8):
        raise body.wrong("bits", "a bit a pixel, row by row")
    pixels: Mask = np.unpackbits(packed.reshape(height, -1), axis=1, count=width).view(np.bool_)
    case.draw(number, view, index, pixels, body.values.get("add") is True)


def _slice(body: JsonObject) -> int:
    return body.integer("z", 0, 2**31)


CHANGES: dict[str, Callable[[Case, int, JsonObject, Computing], int | None]] = {
    "click": _click,
    "draw": _draw,
    "undo": lambda case, *_: case.undo(),
    "redo": lambda case, *_: case.redo(),
    "fill": lambda case, number, body, _: case.fill(number, _slice(body)),
    "largest": lambda case, number, body, _: case.keep_largest(number, _slice(body)),
    "clear": lambda case, number, body, _: case.clear(number, _slice(body)),
    "copy": lambda case, number, body, _: case.copy(number, _slice(body), body.integer("source", 0, 2**31)),
    "check": lambda case, _number, body, _: case.check(_slice(body), body.values.get("checked") is True),
    "delete": lambda case, number, *_: case.delete(number),
}
"""What changes masks and marks; each says which slice was changed that should be seen, if any."""


class _Guard:
    """Lets through only what has the token, names this server, and changes things from its own origin."""

    def __init__(self, inner: ASGIApp, token: str, hosts: Sequence[str] | None) -> None:
        self._inner, self._token, self._hosts = inner, token.encode(), hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        token, rest = _split(scope["path"])
        refused = self._refusal(token, scope["method"], Headers(scope=scope))
        if refused is not None:
            await JSONResponse({"error": refused[1]}, refused[0])(scope, receive, with_headers)
            return
        inner = {**scope, "path": rest, "raw_path": rest.encode(), "root_path": ""}
        await self._inner(inner, receive, with_headers)

    def _refusal(self, token: str, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return 403, "called by another name than the server's"
        if not hmac.compare_digest(token.encode(), self._token):
            return 404, "nothing is here; use the address that the command printed"
        if method not in ("GET", "HEAD"):
            if headers.get("origin", "").lower() != f"http://{host}":
                return 403, "from another page than the server's"
            if headers.get("content-type", "").partition(";")[0] != "application/json":
                return 415, "not JSON"
        elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "from another page than the server's"
        return None

    def _is_own(self, host: str) -> bool:
        if self._hosts is not None:
            return host in self._hosts
        name = host.rpartition(":")[0]
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name.strip("[]"))
            return True
        return name == socket.gethostname().lower()


def _give_way() -> None:
    """Let this thread run only where nobody else wants the processor."""
    if sys.platform == "linux":  # where threads have priorities of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


def _split(path: str) -> tuple[str, str]:
    token, _, rest = path.lstrip("/").partition("/")
    return token, f"/{rest}"


async def _say(request: Request, error: Exception) -> Response:
    """An error as an answer of one line."""
    if isinstance(error, _Refused):
        return JSONResponse(error.content, error.status)
    if isinstance(error, ValueError | OSError):
        return JSONResponse({"error": _said(error)}, 400 if isinstance(error, ValueError) else 507)
    _logger.error("%s", request.url.path, exc_info=error)
    return JSONResponse({"error": "a defect of the server; its terminal says more"}, 500)


def _said(error: ValueError | OSError) -> str:
    return describe(error) if isinstance(error, OSError) else with_options(str(error))


async def _body(request: Request) -> JsonObject:
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > MOST_BODY:
                raise _Refused(413, f"more than {MOST_BODY} bytes")
    except ClientDisconnect:  # a tab was closed meanwhile, say: nobody hears the answer
        raise _Refused(400, "the request is cut short") from None
    return read_json_object("the request", bytes(content), "reload the page")


def _tab(body: JsonObject) -> str:
    tab = body.text("tab")
    if not 8 <= len(tab) <= 64:
        raise body.wrong("tab", "a tab's name")
    return tab


def _window(body: JsonObject) -> Window | None:
    window = body.values.get("window")
    if window is None:
        return None
    if not isinstance(window, list) or len(window) != 2 or not all(type(n) in (int, float) for n in window):
        raise body.wrong("window", "level and width")
    try:
        return Window(float(window[0]), float(window[1]))
    except OverflowError:
        raise body.wrong("window", "level and width") from None


def _integer(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 16:
        raise _Refused(400, "not a whole number")
    return int(text)


def _plan(plan: SlicePlan) -> dict[str, int | bool]:
    """How pictures are taken, as the page has it."""
    words = {"axis": plan.axis, "rowAxis": plan.row_axis, "colAxis": plan.col_axis}
    return {**words, "flipRows": plan.flip_rows, "flipCols": plan.flip_cols}


def _is_picture(case: Case, view: str, index: int) -> bool:
    views = case.pixels.views
    return view in views and index < case.pixels.shape[views[view].plan.axis]


def _frame(
    case: Case,
    view: str,
    index: int,
    *,
    with_values: bool = False,
    **more: Any,  # noqa: ANN401 - JSON
) -> Response:
    """The masks and clicks of a picture, what else is to be told with them, and perhaps its values."""
    plan, values = case.pixels.views[view].plan, case.pixels.values
    masks, objects = [], []
    with case.lock:
        for number in case.masks.objects():
            mask = case.masks.picture(number, plan, index)
            if mask.any():
                objects.append(number)
                masks.append(np.packbits(mask, axis=1).tobytes())
        clicks = [
            [click.object, click.z, click.y, click.x, click.positive]
            for click in case.clicks()
            if (click.z, click.y, click.x)[plan.axis] == index
        ]
        header = {
            "revision": case.revision,
            "view": view,
            "index": index,
            "objects": objects,
            "clicks": clicks,
        }
    content = json.dumps({**header, **more}).encode()
    content += b" " * (-(4 + len(content) + sum(map(len, masks))) % 4)
    parts = [struct.pack("<I", len(content)), content, *masks]
    if with_values:
        picture = plan.pictures(values)[index] if values.ndim == 3 else values[0]
        if picture.dtype == np.int16:
            parts += steps_of(picture)
        else:
            parts.append(np.ascontiguousarray(picture, picture.dtype.newbyteorder("<")).tobytes())
    return Response(b"".join(parts), media_type="application/octet-stream")


def steps_of(picture: npt.NDArray[np.int16]) -> list[bytes]:
    """Values as differences to the one before, row by row, in half the bytes and lossless.

    Where a difference takes more than a byte, some hundredths of the pixels in CT, the byte is -128, and the
    values themselves stand in front of all bytes.
    """
    values = picture.ravel()
    steps = np.diff(values, prepend=np.int16(0))
    is_far = (steps < -127) | (steps > 127)
    steps[is_far] = -128
    return [values[is_far].astype("<i2").tobytes(), steps.astype(np.int8).tobytes()]
