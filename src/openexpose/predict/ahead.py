"""Work that runs ahead in a thread of its own."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.1


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """The same items in the same order, made by a thread while the last ones are being used.

    An error of the items is raised where the item was due. The thread ends with the ``with`` block.

    Args:
        items: what is made.
        depth: how many items may wait.
    """
    waiting: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, item: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                waiting.put((kind, item), timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:  # told to whoever waits for the item
            put("error", error)

    def use() -> Iterator[T]:
        while not stopped.is_set():
            try:
                kind, item = waiting.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if kind == "error":
                raise item  # type: ignore[misc]
            if kind == "end":
                return
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield use()
    finally:
        stopped.set()
        thread.join()
