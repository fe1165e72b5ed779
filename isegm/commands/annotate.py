"""Click in a browser: pictures and volumes in, masks out.

A picture, a folder of them, a NIfTI volume, a folder of them (the Decathlon's and nnU-Net's layouts, too),
or a DICOM series::

    isegm annotate Task09_Spleen --labels spleen
    isegm annotate patient.nii.gz --labels liver spleen kidney --output annotations/patient

To correct masks of another tool, matched by name::

    isegm annotate Task09_Spleen/imagesTr --masks predictions

It prints one address, opens the browser, and works until Ctrl-C, which saves. Everything done is kept at
once: the same command goes on where it was ended, also by a crash. Needs ``pip install 'isegm[annotate]'``.
"""

import contextlib
import importlib.util
import ipaddress
import os
import re
import secrets
import socket
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isegm.commands.command_line import Parser, add_dicom_options, command, report_problems
from isegm.commands.places import default_weights
from isegm.errors import InputError

if TYPE_CHECKING:
    from isegm.annotate.server import Server

PORT = 8000
LEAST_TOKEN = 16


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="+", type=Path, help="pictures, volumes, and folders of them")
    add(
        "--labels", metavar="NAME", nargs="+", default=[], help="names of the labels to begin with, from 1 on"
    )
    add("--masks", metavar="PATH", type=Path, help="masks to correct, of the same names: a folder or a file")
    add_dicom_options(parser)
    add("--output", metavar="DIR", type=Path, help="where results go (default: annotations/<name of PATH>)")
    add(
        "--overlap",
        choices=("later", "earlier"),
        default="later",
        help="where objects meet, who gets the voxels: the object edited later, or the one that had them "
        "(default: %(default)s)",
    )
    add("--checkpoint", metavar="FILE", type=Path, help="other weights than those that come with the project")
    add("--port", type=int, default=PORT, help="default: %(default)s")
    add("--no-browser", action="store_true", help="only print the address")
    add(
        "--host",
        default="127.0.0.1",
        help="another address of this machine to listen on: whoever reaches it and has the token sees and "
        "changes everything, unencrypted; needs --token (default: %(default)s, this machine only)",
    )
    add(
        "--token",
        help=f"what the address begins with, {LEAST_TOKEN} letters and digits or more (default: random)",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C, then save; the exit status is 0, 1 where something was not saved, or 2."""
    args = build_parser().parse_args(argv)
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{package} is not installed; pip install 'isegm[annotate]' brings it")
    from isegm.annotate.cases import find_cases
    from isegm.annotate.computing import NetworkComputing
    from isegm.annotate.saving import check_output
    from isegm.annotate.session import Session

    listener = listen(args.host, args.port, args.token)
    checkpoint = args.checkpoint or default_weights()
    if not checkpoint.is_file():
        raise InputError(f"{checkpoint}: no such checkpoint; check --checkpoint")
    cases = find_cases(args.paths, args.masks, args.series, untilt=args.untilt)
    output = args.output or Path("annotations") / (args.paths[0].resolve().name.partition(".")[0] or "all")
    session = Session(cases, output, args.labels, args.overlap)
    check_output(session)
    # While this thread imports the server, another imports torch.
    # The browser has the other processors, also while a volume is propagated; a click is hardly slower.
    computing = NetworkComputing(checkpoint, threads=max(1, (os.cpu_count() or 1) // 2))
    from isegm.annotate.server import Server

    token = args.token or session.secret("token", lambda: secrets.token_urlsafe(24))
    port = listener.getsockname()[1]
    is_local = args.host == "127.0.0.1"
    hosts = (
        [f"{name}:{port}" for name in ("127.0.0.1", "localhost")] if is_local else hosts_of(args.host, port)
    )
    server = Server(session, computing, token, hosts)
    server.begin_reading(0)
    shown = args.host if args.host not in ("0.0.0.0", "::") else socket.gethostname()  # noqa: S104 - compared
    address = f"http://{shown}:{port}/{token}/"
    print(f"Annotate {len(cases)} of {', '.join(map(str, args.paths))} at\n\n    {address}\n")
    print(f"All is kept in {output}. Ctrl-C saves and ends.", flush=True)
    try:
        serve(server, listener, address if not args.no_browser else "")
    finally:
        written, problems = server.save_all()
        for path in written:
            print(f"saved: {path}")
        session.close()
        computing.close()
    return report_problems(problems)


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """Open the port.

    Raises:
        InputError: It is taken or no port, the host is none of this machine, or a host is given without a
            usable token.
    """
    if token is not None and not re.fullmatch(rf"[\w-]{{{LEAST_TOKEN},}}", token, re.ASCII):
        raise InputError(f"--token: give at least {LEAST_TOKEN} letters and digits")
    if host != "127.0.0.1" and token is None:
        raise InputError(
            "--host: others can then reach this; give a --token of your own; nothing is encrypted"
        )
    # Only where TCP is named does asyncio send an answer's body at once, rather than 40 ms later, when the
    # browser has acknowledged its head.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--port {port}: {host} cannot be listened on ({reason}); give another --port"
        ) from None
    return listener


def hosts_of(host: str, port: int) -> list[str] | None:
    """By which names a server on a network may be called; None for addresses and the machine's name."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    return [f"{host.lower()}:{port}"]


def serve(server: "Server", listener: socket.socket, open_at: str) -> None:
    """Answer requests until SIGINT or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(
        server.app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    if open_at:
        webbrowser.open(open_at)
    # uvicorn raises a signal that it has caught again when it is done.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run([listener])
