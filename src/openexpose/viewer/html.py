"""Results as one HTML file that needs nothing else: no server, no network, no other file."""

import base64
import hashlib
import html
import re
from importlib.resources import files
from pathlib import Path

from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.motion import Motion
from openexpose.viewer.media import Media
from openexpose.viewer.payload import check_free, pack_model, pack_motion
from openexpose.viewer.script import page_script

_PAGE = files("openexpose.viewer") / "page"


def write_html(path: Path, motion: Motion, model: BodyModel, media: Media | None = None) -> None:
    """Write people as a page to look at: over the photo or video, from all sides, over time, with sliders.

    The page holds the body model, so that shape and expression can be changed in it: that is allowed of the free
    body only.

    Args:
        path: the file to make.
        motion: the people; a photo is a clip of one frame (``motion.still``). May hold nobody.
        model: their body model.
        media: what was filmed, or None.

    Raises:
        InputError: another body model than the free one, coefficients that are not this model's, tracks of different
            cameras, or the file cannot be written.
    """
    write_whole(path, page(motion, model, media).encode())


def page(motion: Motion, model: BodyModel, media: Media | None = None, *, source: str = "", note: str = "") -> str:
    """The page as text. Arguments and errors as :func:`write_html`.

    Args:
        motion, model, media: as there.
        source: address of the photo or video on the server that the page comes from, instead of its content.
        note: a sentence about the picture.
    """
    check_free(model.name)
    for track in motion.tracks:
        check_free(track.people.body_model)
        sizes = track.people.betas.shape[1], track.people.expression.shape[1]
        if sizes != (model.num_betas, model.num_expression):
            expected = f"{model.num_betas} and {model.num_expression}, as the body model has"
            raise InputError(f"people with {sizes[0]} betas and {sizes[1]} expression coefficients", expected)
    part = motion.tracks[0].people.part if motion.tracks else "whole"
    shown = media and {"kind": media.kind, "mime": media.mime, "source": source}
    values = {
        "title": html.escape(motion.clip.name),
        "policy": html.escape(policy(served=bool(source))),
        "icon": base64.b64encode((files("openexpose.web") / "icon.svg").read_bytes()).decode(),
        "style": _style(),
        "script": page_script(),
        "model": base64.b64encode(pack_model(model, part)).decode(),
        "motion": base64.b64encode(pack_motion(motion, {"media": shown, "note": note})).decode(),
        "media": base64.b64encode(media.content).decode() if media and not source else "",
    }
    template = (_PAGE / "index.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def policy(*, served: bool) -> str:
    """The page's content security policy: its own script and style, and nothing from elsewhere.

    Args:
        served: whether its photo or video lies on the server that it comes from.
    """
    own = " 'self'" if served else ""
    return (
        f"default-src 'none'; script-src '{digest(page_script())}'; style-src '{digest(_style())}'; "
        f"img-src data: blob:{own}; media-src blob:{own}; base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    return (_PAGE / "page.css").read_text("utf-8")


def digest(text: str) -> str:
    """A content security policy's name of an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
