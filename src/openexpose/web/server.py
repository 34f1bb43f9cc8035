"""A server on this machine: the socket it listens on, its run until Ctrl-C, and answers that all pages need.

Errors are JSON: ``{"error": "a sentence"}``.
"""

import contextlib
import hashlib
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from openexpose.errors import InputError

Handler = Callable[[Request], Awaitable[Response]]

_LAST_PORT = 65535


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: address to listen on.
        port: its port; 0: any that is free.

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


def run(app: ASGIApp, listening: socket.socket, farewell: str) -> None:
    """Answer requests until Ctrl-C, which ends it cleanly and prints a farewell."""
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
    with contextlib.suppress(KeyboardInterrupt):  # not raised where the shell has Ctrl-C ignored, as for `... &`
        uvicorn.Server(config).run(sockets=[listening])
    print(f"\n{farewell}", flush=True)


def fixed(content: bytes, kind: str) -> Handler:
    """A handler that always gives the same file; browsers ask again whether it is still the same.

    Args:
        content: the file.
        kind: its media type.
    """
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def handler(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return handler


async def refused(_: Request, error: Exception) -> Response:
    """The answer to a request that cannot be met."""
    if not isinstance(error, HTTPException):
        raise error
    sentence = {404: "There is nothing at this address.", 405: "This is not done in this way."}
    known = error.detail not in ("Not Found", "Method Not Allowed")
    return JSONResponse({"error": error.detail if known else sentence[error.status_code]}, error.status_code)


async def broken(_: Request, error: Exception) -> Response:
    """The answer where a bug was met."""
    return JSONResponse({"error": f"The server failed ({type(error).__name__}); it has printed more."}, 500)


FAILURES = {HTTPException: refused, Exception: broken}
"""Exception handlers of an application."""
