"""``openexpose view``: a folder of results on this machine's loopback.

    GET  /               the results: pictures, counts, files
    GET  /view/KEY       a result as a page to look at
    GET  /picture/NAME   an overlay, small
    GET  /file/NAME      a file of the folder
    GET  /film/KEY       the video that a page shows

Names are looked up in the folder's list; no path that a client sends ever reaches the file system. Who may ask is
settled in :mod:`openexpose.web.guard`. Errors are JSON: ``{"error": "a sentence"}``.
"""

import html
import io
import re
import webbrowser
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import PIL.Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.formats.tracks import read_motion
from openexpose.image.read import read_image
from openexpose.motion import Motion
from openexpose.viewer.folder import KINDS, Folder, Result
from openexpose.viewer.html import digest, page, policy
from openexpose.viewer.media import Media, photo
from openexpose.web.guard import Access, Guard
from openexpose.web.server import FAILURES, Handler, fixed, listen, run

_HOST = "127.0.0.1"
_PAGE = files("openexpose.viewer") / "page"
_SMALL_PX = 520
_DRAWN = "The picture is the overlay, with the meshes drawn in: --photos FOLDER tells where the originals are."
_SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What pages that lie in the folder may do: they are no part of this server's site, and load nothing."""


def application(folder: Path, photos: Path | None = None, access: Access | None = None) -> Starlette:
    """The server of a folder as an ASGI application.

    Args:
        folder: with results.
        photos: where the photos and videos are; None: looked for among the results.
        access: who is let in; by default whoever calls it by a name of loopback.

    Raises:
        InputError: one of them is no folder.
    """
    shown = _Shown(Folder(folder), Folder(photos) if photos else None)
    routes = [
        Route("/", _answer(shown.index)),
        Route("/favicon.ico", fixed((files("openexpose.web") / "icon.svg").read_bytes(), "image/svg+xml")),
        Route("/view/{key}", _answer(shown.view)),
        Route("/picture/{name}", _answer(shown.picture)),
        Route("/file/{name}", _answer(shown.file)),
        Route("/film/{key}", _answer(shown.film)),
    ]
    style = (_PAGE / "folder.css").read_text("utf-8")
    rules = (
        f"default-src 'none'; style-src '{digest(style)}'; img-src 'self'; media-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    middleware = [Middleware(Guard, access=access or Access(), policy=rules)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=FAILURES)


def serve(folder: Path, photos: Path | None = None, port: int = 8322, *, browser: bool = True) -> None:
    """Serve a folder of results on loopback until Ctrl-C, which ends it cleanly. Prints the address.

    Args:
        folder: with results.
        photos: where the photos and videos are.
        port: to listen on; 0: any that is free.
        browser: open the address in the default browser.

    Raises:
        InputError: no folder, or the port cannot be listened on.
    """
    app = application(folder, photos)
    with listen(_HOST, port) as listening:
        address = f"http://{_HOST}:{listening.getsockname()[1]}/"
        print(f"Results at {address}\nCtrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(address)
        run(app, listening, "Ended.")


class _Shown:
    """The answers about a folder."""

    def __init__(self, folder: Folder, photos: Folder | None) -> None:
        self.folder, self.photos = folder, photos

    def index(self, _: Request) -> Response:
        results = self.folder.results()
        cards = "".join(_card(result) for result in results) or "<p class='soft'>No results in this folder yet.</p>"
        values = {
            "title": html.escape(self.folder.path.name or str(self.folder.path)),
            "count": f"{len(results)} {'result' if len(results) == 1 else 'results'}",
            "style": (_PAGE / "folder.css").read_text("utf-8"),
            "cards": cards,
        }
        template = (_PAGE / "folder.html").read_text("utf-8")
        return HTMLResponse(re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template))

    def view(self, request: Request) -> Response:
        result = self._result(request)
        if not result.npz:
            raise HTTPException(404, "There are no parameters of this result, just other files.")
        motion = read_motion(result.npz)
        media, source, note = self._media(result, motion)
        text = page(motion, _model_of(motion), media, source=source, note=note)
        rules = f"{policy(served=bool(source))}; frame-ancestors 'none'"
        return HTMLResponse(text, headers={"content-security-policy": rules})

    def picture(self, request: Request) -> Response:
        path = self._named(request)
        if KINDS[path.suffix.lower()] not in ("image/jpeg", "image/png"):
            raise HTTPException(404, "This is no picture.")
        file = io.BytesIO()
        try:
            with PIL.Image.open(path) as picture:
                picture.draft("RGB", (_SMALL_PX, _SMALL_PX))
                small = picture.convert("RGB")
        except (OSError, ValueError, PIL.Image.DecompressionBombError):
            raise HTTPException(404, f"'{path.name}' does not read as a picture.") from None
        small.thumbnail((_SMALL_PX, _SMALL_PX))
        small.save(file, "JPEG", quality=85)
        return Response(file.getvalue(), media_type="image/jpeg")

    def file(self, request: Request) -> Response:
        path = self._named(request)
        kind = KINDS[path.suffix.lower()]
        headers = {"content-security-policy": _SANDBOX} if kind == "text/html" else {}
        shown = kind.startswith(("image/", "video/", "text/html", "application/json"))
        disposition = "inline" if shown else "attachment"
        return FileResponse(
            path, media_type=kind, headers=headers, filename=path.name, content_disposition_type=disposition
        )

    def film(self, request: Request) -> Response:
        path = self._film(self._result(request))
        if path is None:
            raise HTTPException(404, "There is no video of this result.")
        return FileResponse(path, media_type=KINDS[path.suffix.lower()])

    def _media(self, result: Result, motion: Motion) -> tuple[Media | None, str, str]:
        """What a page shows, the address it comes from (or none: it lies in the page), and a sentence about it."""
        film = self._film(result)
        if film is not None:
            note = _DRAWN if film == result.overlay else ""
            return Media("video", b"", _mime(film)), f"/film/{quote(result.key, safe='')}", note
        if len(motion.clip.times_s) > 1:
            return None, "", ""
        size = motion.tracks[0].people.image_size if motion.tracks else None
        for path in self._originals(result):
            try:
                image = read_image(path)
            except InputError:
                continue
            if size in (None, (image.width, image.height)):
                return photo(image.pixels), "", ""
        if result.overlay is None or size is None:
            return None, "", ""
        drawn = read_image(result.overlay).pixels
        if drawn.shape[0] < size[1] or drawn.shape[1] < size[0]:
            return None, "", ""
        return photo(drawn[: size[1], : size[0]]), "", _DRAWN  # without the side view

    def _film(self, result: Result) -> Path | None:
        if result.frames < 2:
            return None
        candidates = [*self._originals(result), *([result.overlay] if result.overlay else [])]
        return next((path for path in candidates if KINDS.get(path.suffix.lower(), "").startswith("video/")), None)

    def _originals(self, result: Result) -> Iterator[Path]:
        for folder in (self.photos, self.folder):
            if folder is not None:
                place = folder.path / Path(result.source).name
                if place.is_file() and place.resolve().parent == folder.path:
                    yield place

    def _named(self, request: Request) -> Path:
        path = self.folder.files().get(request.path_params["name"])
        if path is None:
            raise HTTPException(404, "There is no such file among the results.")
        return path

    def _result(self, request: Request) -> Result:
        for result in self.folder.results():
            if result.key == request.path_params["key"]:
                return result
        raise HTTPException(404, "There is no such result.")


def _card(result: Result) -> str:
    """A result on the index page."""
    overlay, link = result.overlay, f"/view/{quote(result.key, safe='')}"
    if not result.npz:
        link = _address(result.files[0])
    picture = "no picture"
    if overlay is not None and overlay.suffix == ".jpg":
        picture = f'<img loading="lazy" alt="" src="/picture/{quote(overlay.name, safe="")}">'
    elif overlay is not None:
        picture = f'<video muted preload="metadata" src="{_address(overlay)}"></video>'
    told = f"{result.people} {'person' if result.people == 1 else 'people'}" if result.npz else "a page"
    told += f", {result.frames} frames" if result.frames > 1 else ""
    listed = "".join(f'<a href="{_address(file)}">{html.escape(file.name)}</a>' for file in result.files)
    name = html.escape(result.source or result.stem)
    return (
        f'<article><a class="picture" href="{link}" tabindex="-1" aria-hidden="true">{picture}</a><div class="told">'
        f'<h2><a href="{link}">{name}</a></h2><p class="soft">{told}</p><p class="files">{listed}</p></div></article>'
    )


def _address(file: Path) -> str:
    return f"/file/{quote(file.name, safe='')}"


def _mime(path: Path) -> str:
    return KINDS[path.suffix.lower()]


@lru_cache(maxsize=2)
def _model(betas: int, expression: int) -> BodyModel:
    return load_body_model(num_betas=betas, num_expression=expression)


def _model_of(motion: Motion) -> BodyModel:
    """The free body with as many coefficients as the people have."""
    if not motion.tracks:
        return _model(10, 20)
    people = motion.tracks[0].people
    return _model(people.betas.shape[1], people.expression.shape[1])


def _answer(answer: Callable[[Request], Response]) -> Handler:
    """A handler that looks things up; results that cannot be shown are answered with the reason."""

    async def handler(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, request)
        except InputError as error:
            raise HTTPException(409, str(error)) from None

    return handler
