"""The review server: the page on which people judge fits, and the few requests it makes.

Everything a reviewer says is on the disk before the answer leaves (:mod:`openexpose.curation.store`); who may ask is
settled in :mod:`openexpose.web.guard`. No path that a client sends ever reaches the file system: the page's files
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
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from openexpose.curation.answers import Review
from openexpose.curation.pictures import Pictures
from openexpose.curation.store import Store, check_reviewer
from openexpose.errors import InputError
from openexpose.web.guard import Access, Guard, is_loopback
from openexpose.web.server import FAILURES, Handler, fixed, listen, run

_PAGE = files("openexpose.curation") / "page"
_SCRIPTS = ("page", "body3d", "decisions", "fits", "panels", "picture", "scores")
_WEB = files("openexpose.web")
_VENDORED = ("three.module.min.js", "three.core.min.js", "OrbitControls.js")
_SCRIPT = "text/javascript"
_ICON = "image/svg+xml"
_STATIC = {
    "page.css": "text/css",
    **{f"{name}.js": _SCRIPT for name in _SCRIPTS},
}
_IMAGES = {"overlay.jpg": Pictures.overlay, "side.jpg": Pictures.side}


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
    icon = fixed((_WEB / "icon.svg").read_bytes(), _ICON)
    routes = [
        Route("/", fixed(index, "text/html")),
        *(Route(f"/static/{name}", fixed((_PAGE / name).read_bytes(), kind)) for name, kind in _STATIC.items()),
        *(Route(f"/static/vendor/{name}", fixed((_WEB / "vendor" / name).read_bytes(), _SCRIPT)) for name in _VENDORED),
        Route("/static/icon.svg", icon),
        Route("/favicon.ico", icon),  # asked for by error pages
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
    return Starlette(routes=routes, middleware=middleware, exception_handlers=FAILURES)


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
    listening = listen(host, port)
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
        run(app, listening, "Review ended.")


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
