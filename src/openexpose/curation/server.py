"""The review server: the page on which people judge fits, and the few requests it makes.

Everything a reviewer says is on the disk before the answer leaves (:mod:`openexpose.curation.store`); who may ask is
settled in :mod:`openexpose.curation.guard`. No path that a client sends ever reaches the file system: the page's files
come from a fixed list, photos by their number in the project. Errors are JSON: ``{"error": "a sentence"}``.

    GET  /                            the page; /static/NAME its files
    GET  /api/project                 id and name of the project; names, parts, sides and bones of the 144 keypoints
    GET  /api/progress?reviewer=      how far everybody is
    GET  /api/next?reviewer=&tab=&after=&queue=      {"fit": the next one's number or null}
    GET  /api/fits/ID?reviewer=       all about one fit; others' verdicts only once this reviewer has said something
    GET  /api/fits/ID/photo.jpg, with ?crop=1 around the person; overlay.jpg; side.jpg
    GET  /api/fits/ID/mesh            float32 [v, 3], metres, camera frame; /api/faces: uint32 [f, 3]
    POST /api/fits/ID/verdict         {reviewer, verdict, note, seen, project} -> {decision, verdicts, progress}
    POST /api/undo                    {reviewer, project} -> {fit, progress}
"""

import base64
import hashlib
import json
import re
import secrets
import socket
import webbrowser
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from openexpose.curation.answers import Review
from openexpose.curation.guard import Access, Guard, is_loopback
from openexpose.curation.pictures import Pictures
from openexpose.curation.store import Store, check_reviewer
from openexpose.errors import InputError

_PAGE = files("openexpose.curation") / "page"
_SCRIPTS = ("page", "body3d", "decisions", "fits", "panels", "picture", "scores")
_VENDORED = ("three.module.min", "three.core.min", "OrbitControls")
_ICON = "icon.svg"
_STATIC = {
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript" for name in (*_SCRIPTS, *(f"vendor/{name}" for name in _VENDORED))},
}
_LAST_PORT = 65535
_IMAGES = {"overlay.jpg": Pictures.overlay, "side.jpg": Pictures.side}

Handler = Callable[[Request], Awaitable[Response]]


def application(folder: Path, access: Access | None = None) -> Starlette:
    """The server of a project as an ASGI application.

    Args:
        folder: the project's.
        access: who is let in; by default whoever calls it by a name of loopback.

    Raises:
        InputError: no project there, or one that cannot be read.
    """
    with Store.open(folder) as store:
        project = _project_id(store.path)
    review = Review(Path(folder), project)
    index = (_PAGE / "index.html").read_bytes()
    routes = [
        Route("/", _file(index, "text/html")),
        *(Route(f"/static/{name}", _file((_PAGE / name).read_bytes(), kind)) for name, kind in _STATIC.items()),
        Route("/favicon.ico", _file((_PAGE / _ICON).read_bytes(), _STATIC[_ICON])),  # asked for by error pages
        Route("/api/project", _read(review.about)),
        Route("/api/progress", _read(review.progress)),
        Route("/api/next", _read(review.next)),
        Route("/api/faces", _read(review.faces)),
        Route("/api/fits/{number}", _read(review.fit)),
        Route("/api/fits/{number}/photo.jpg", _read(review.photo)),
        *(Route(f"/api/fits/{{number}}/{name}", _read(review.image(draw))) for name, draw in _IMAGES.items()),
        Route("/api/fits/{number}/mesh", _read(review.mesh)),
        Route("/api/fits/{number}/verdict", _write(review.decide), methods=["POST"]),
        Route("/api/undo", _write(review.undo), methods=["POST"]),
    ]
    middleware = [Middleware(Guard, access=access or Access(), policy=_policy(index.decode()))]
    handlers = {HTTPException: _refused, Exception: _broken}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


def serve(folder: Path, host: str = "127.0.0.1", port: int = 8321, reviewer: str = "", *, browser: bool = True) -> None:
    """Serve the review of a project until Ctrl-C, which ends it cleanly.

    Prints the address. Beyond loopback it holds a token that is drawn now; traffic is not encrypted.

    Args:
        folder: the project's.
        host: address to listen on.
        port: its port; 0: any that is free.
        reviewer: who is asked for no name on the page.
        browser: open the address in the default browser.

    Raises:
        InputError: no project there, a bad name, or the address cannot be listened on.
    """
    reviewer = check_reviewer(reviewer) if reviewer else ""
    alone = is_loopback(host)
    listening = _listen(host, port)
    with listening:
        port = listening.getsockname()[1]
        token = None if alone else secrets.token_urlsafe(24)
        access = Access(frozenset({host}), token, cookie=f"openexpose_{port}")
        app = application(folder, access)
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        questions = [*([f"token={token}"] if token else []), *([f"reviewer={quote(reviewer)}"] if reviewer else [])]
        address = f"http://{f'[{name}]' if ':' in name else name}:{port}/" + ("?" if questions else "")
        address += "&".join(questions)
        print(f"Review at {address}\nCtrl-C ends it; every decision is stored when it is made.", flush=True)
        if not alone:
            print("Whoever has this address can review. The connection is not encrypted.", flush=True)
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            print("\nReview ended.", flush=True)


def _read(answer: Callable[[Request], Response]) -> Handler:
    """A handler that looks things up; problems with the disk are answered as such."""

    async def handler(request: Request) -> Response:
        return await run_in_threadpool(_told, answer, request)

    return handler


def _write(answer: Callable[[Request, dict[str, Any]], Response]) -> Handler:
    """A handler of JSON objects."""

    async def handler(request: Request) -> Response:
        try:
            said = json.loads(await request.body())
        except (ValueError, RecursionError):
            raise HTTPException(400, "The request is not JSON.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The request ended early.") from None
        if not isinstance(said, dict):
            raise HTTPException(400, "The request is not a JSON object.")
        return await run_in_threadpool(_told, answer, request, said)

    return handler


def _told(answer: Callable[..., Response], *arguments: Any) -> Response:
    try:
        return answer(*arguments)
    except InputError as error:  # what the client sent is checked before: it is the project's file
        raise HTTPException(503, str(error)) from None


def _file(content: bytes, kind: str) -> Handler:
    """A handler of one of the page's files; browsers ask again whether it is still the same."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def handler(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return handler


def _policy(index: str) -> str:
    """Content security policy: nothing from elsewhere, no script in the page but its import map."""
    (script,) = re.findall('<script type="importmap">(.*?)</script>', index, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'self'; script-src 'self' 'sha256-{digest}'; img-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _project_id(path: Path) -> str:
    """What tells this project from others that were served at the same address: its file."""
    return hashlib.sha256(f"{path.resolve()}:{path.stat().st_ino}".encode()).hexdigest()[:16]


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: another program has the port, there is none of that number, or this machine has no such address.
    """
    if not 0 <= port <= _LAST_PORT:
        raise InputError(f"--port {port}", f"0 to {_LAST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {host} --port {port} ({error})", "an address of this machine") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        fix = "Give another one with --port, or end the other program."
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host} port {port} cannot be used ({reason})", "a free port", fix) from None
    return listening


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    sentence = {404: "There is nothing at this address.", 405: "This is not done in this way."}
    known = error.detail not in ("Not Found", "Method Not Allowed")
    return JSONResponse({"error": error.detail if known else sentence[error.status_code]}, error.status_code)


async def _broken(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"The server failed ({type(error).__name__}); it has printed more."}, 500)
