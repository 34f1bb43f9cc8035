"""Who may talk to our servers: a guard in front of every request.

They hold photos of people, one takes decisions, and a browser lets any web page send requests to them. The rules:

* Without a token (the server listens on loopback only), the ``Host`` header must name loopback: a foreign name that
  was pointed at 127.0.0.1 (DNS rebinding) is refused. With a token any name is allowed.
* With a token every request needs the cookie that ``/?token=...`` gives in exchange for it.
* Requests that change something carry JSON and come from our own page: the browser's ``Origin`` is the ``Host``, or,
  where no browser speaks (scripts), there is no ``Origin`` but the header ``X-Openexpose: 1``, which another site's
  page cannot send without being asked by the browser for leave that nobody gives here.
* What a browser marks as another site's request (``Sec-Fetch-Site``) gets no data at all.
* Bodies state their length and do not come in chunks, and those over :data:`MAX_BODY_BYTES` are refused unread.
"""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 1024
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ENTER = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">
<title>openexpose</title><p><a href="{url}">Continue</a></p></html>"""


@dataclass(frozen=True)
class Access:
    """Who is let in.

    Attributes:
        hosts: names and addresses under which a server without a token may be called, besides loopback's own.
        token: what everybody has to know, or None.
        cookie: name of the cookie that stands for the token; cookies don't tell ports apart, so the port is in it.
        session: its value, drawn anew whenever the server starts.
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None
    cookie: str = "openexpose"
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def knows_host(self, host: str) -> bool:
        """Whether a ``Host`` header is one of ours; its port does not matter (it may be forwarded)."""
        if self.token is not None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.hosts or is_loopback(name)

    def has_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not depend on how much of it is right."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def has_session(self, headers: Headers) -> bool:
        """Whether the request carries the cookie; always, where there is no token."""
        if self.token is None:
            return True
        given = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        return hmac.compare_digest(given.encode(), self.session.encode())


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that holds the rules above and adds the headers that browsers hold pages to.

    Args:
        app: what stands behind it.
        access: who is let in.
        policy: content security policy of answers that bring none of their own.
    """

    def __init__(self, app: ASGIApp, access: Access, policy: str) -> None:
        self.app, self.access, self.policy = app, access, policy
        self.headers = {
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "x-frame-options": "DENY",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", self.policy)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self.entrance(scope) or self.refusal(scope)
        await (answer or self.app)(scope, receive, send_guarded)

    def entrance(self, scope: Scope) -> Response | None:
        """The cookie in exchange for the right token at ``/?token=...``.

        It leads on by a page of ours, not by a redirect: a strict cookie would not come along if the address was
        clicked on in a mail or chat.
        """
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        given, reviewer = (asked.get(name, [""])[0] for name in ("token", "reviewer"))
        if self.access.token is None or scope["method"] != "GET" or scope["path"] != "/" or not given:
            return None
        if not self.access.has_token(given):
            return None
        response = HTMLResponse(_ENTER.format(url="/" + (f"?reviewer={quote(reviewer, safe='')}" if reviewer else "")))
        response.set_cookie(self.access.cookie, self.access.session, httponly=True, samesite="strict", path="/")
        return response

    def refusal(self, scope: Scope) -> Response | None:
        """Why a request is not answered, or None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.access.knows_host(host):
            return _no(403, f"This server does not answer to the name '{host[:80]}'.")
        if not self.access.has_session(headers):
            return _no(401, "Open the address with the token that openexpose printed.")
        is_page = scope["method"] == "GET" and scope["path"] == "/"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not is_page:
            return _no(403, "This request comes from another site.")
        if scope["method"] not in _CHANGING:
            return None
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _no(403, "Changes are sent as application/json.")
        origin = headers.get("origin")
        if origin is None and headers.get("x-openexpose") != "1":
            return _no(403, "A request without an Origin needs the header 'X-Openexpose: 1'.")
        if origin is not None and not _is_ours(origin, host):
            return _no(403, "This request comes from another site.")
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not length.isascii() or not length.isdigit():
            return _no(411, "A request states the length of its body.")
        if int(length[:20]) > MAX_BODY_BYTES:
            return _no(413, f"A request holds at most {MAX_BODY_BYTES // 1024} KB.")
        return None


def _is_ours(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _no(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
