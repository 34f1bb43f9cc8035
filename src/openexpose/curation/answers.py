"""What the review server answers: one method a request, each with its own connection to the project."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from openexpose.curation.about import about_fit, about_keypoints, note_of
from openexpose.curation.pictures import Pictures
from openexpose.curation.store import Conflict, Queue, Store, Verdict, check_reviewer
from openexpose.errors import InputError

_LARGEST_ID = 2**63 - 1
_ID = "[0-9]{1,18}"
_LONGEST_NOTE, _LONGEST_TAB = 2000, 64


class Review:
    """The requests of a project's review; :mod:`openexpose.curation.server` lists them.

    Refused requests raise HTTPException with a sentence; an InputError is about the project's file.

    Args:
        folder: the project's.
        project: what tells it from others that may be served at the same address.
    """

    def __init__(self, folder: Path, project: str) -> None:
        self.folder, self.project = folder, project
        self.pictures = Pictures(folder)

    def about(self, _: Request) -> Response:
        name = self.folder.resolve().name
        return JSONResponse({"id": self.project, "name": name, "keypoints": about_keypoints()})

    def progress(self, request: Request) -> Response:
        with Store.open(self.folder) as store:
            return JSONResponse(store.progress(_reviewer(request.query_params.get("reviewer"))))

    def next(self, request: Request) -> Response:
        query = request.query_params
        reviewer, tab, queue, after = (query.get(name, "") for name in ("reviewer", "tab", "queue", "after"))
        if not tab or len(tab) > _LONGEST_TAB or not tab.isprintable():
            raise HTTPException(400, f"A tab has a name of 1 to {_LONGEST_TAB} characters.")
        if queue and queue not in get_args(Queue):
            raise HTTPException(400, f"There is no queue '{queue[:40]}', only {', '.join(get_args(Queue))}.")
        if after and not re.fullmatch(_ID, after):
            raise HTTPException(400, "'after' is the number of a fit.")
        with Store.open(self.folder) as store:
            if after:
                _check_fit(store, int(after))
            start = int(after) if after else None
            number = store.next(_reviewer(reviewer), tab, after=start, queue=cast(Queue, queue or "open"))
        return JSONResponse({"fit": number})

    def fit(self, request: Request) -> Response:
        number = _number(request)
        reviewer = _reviewer(request.query_params.get("reviewer"))
        with Store.open(self.folder) as store:
            _check_fit(store, number)
            return JSONResponse(about_fit(store, self.pictures, number, reviewer))

    def photo(self, request: Request) -> Response:
        draw = Pictures.crop if request.query_params.get("crop") else Pictures.photo
        return self.image(draw)(request)

    def image(self, draw: Callable[[Pictures, int], bytes]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            number = _number(request)
            with Store.open(self.folder) as store:
                _check_fit(store, number)
            try:
                return Response(draw(self.pictures, number), media_type="image/jpeg")
            except InputError as error:  # the photo has gone or changed
                raise HTTPException(410, str(error)) from None

        return answer

    def mesh(self, request: Request) -> Response:
        number = _number(request)
        with Store.open(self.folder) as store:
            _check_fit(store, number)
        content = self.pictures.vertices(number).astype("<f4").tobytes()
        return Response(content, media_type="application/octet-stream")

    def faces(self, _: Request) -> Response:
        return Response(self.pictures.faces().astype("<u4").tobytes(), media_type="application/octet-stream")

    def decide(self, request: Request, said: dict[str, Any]) -> Response:
        number, reviewer, verdict = _number(request), _reviewer(said.get("reviewer")), said.get("verdict")
        note, seen = said.get("note", ""), said.get("seen")
        if verdict not in get_args(Verdict):
            raise HTTPException(400, f"A verdict is one of {', '.join(get_args(Verdict))}.")
        if not isinstance(note, str) or len(note) > _LONGEST_NOTE or not _is_text(note):
            raise HTTPException(400, f"A note is a text of at most {_LONGEST_NOTE} characters.")
        if not (seen is None or (type(seen) is int and 0 <= seen <= _LARGEST_ID)):
            raise HTTPException(400, "'seen' is the number of a decision or null.")
        self._check_project(said)
        with Store.open(self.folder) as store:
            _check_fit(store, number)
            try:
                decision = store.decide(number, reviewer, cast(Verdict, verdict), note=note.strip(), seen=seen)
            except Conflict as error:
                now = store.fit(number)
                stands = {"verdict": now.verdicts.get(reviewer), "note": note_of(store, now, reviewer)}
                return JSONResponse({"error": str(error), **stands}, 409)
            answer = {"decision": decision, "verdicts": store.fit(number).verdicts}
            return JSONResponse({**answer, "progress": store.progress(reviewer)})

    def undo(self, _: Request, said: dict[str, Any]) -> Response:
        reviewer = _reviewer(said.get("reviewer"))
        self._check_project(said)
        with Store.open(self.folder) as store:
            return JSONResponse({"fit": store.undo(reviewer), "progress": store.progress(reviewer)})

    def _check_project(self, said: dict[str, Any]) -> None:
        """Refuse what was said on the page of another project that was served at this address before."""
        if said.get("project", self.project) != self.project:
            raise HTTPException(412, "This address serves another project now.")


def _number(request: Request) -> int:
    told = str(request.path_params["number"])
    if not re.fullmatch(_ID, told):
        raise HTTPException(404, "There is no such fit.")
    return int(told)


def _check_fit(store: Store, number: int) -> None:
    if not store.all("SELECT 1 FROM fits WHERE id = ?", (number,)):
        raise HTTPException(404, f"There is no fit {number} in this project.")


def _reviewer(name: object) -> str:
    try:
        return check_reviewer(name if isinstance(name, str) else "")
    except InputError as error:
        raise HTTPException(400, str(error)) from None


def _is_text(note: str) -> bool:
    """Whether it has no lone surrogates, which no file holds."""
    try:
        note.encode()
    except UnicodeEncodeError:
        return False
    return True
