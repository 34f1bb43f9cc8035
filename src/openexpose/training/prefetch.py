"""Batches made ahead of their steps by worker processes, in the order of the steps whatever the workers do."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openexpose.errors import InputError

GRACE_SECONDS = 60
"""How long a worker outlives SIGTERM, so that the step that it works for can be finished."""


@dataclass(frozen=True)
class _Refusal:
    """An InputError on its way out of a worker, which exceptions with several arguments do not survive."""

    got: str
    expected: str
    fix: str


class _Steps(Dataset):
    """The batches of the steps ``start`` to ``stop``."""

    def __init__(self, make: Callable[[int], Any], start: int, stop: int) -> None:
        self._make, self._start, self._stop = make, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Any:
        try:
            return self._make(self._start + index)
        except InputError as error:
            return _Refusal(error.got, error.expected, error.fix)


@contextmanager
def prefetch(
    make: Callable[[int], Any], start: int, stop: int, workers: int, *, pin: bool = False
) -> Iterator[Iterator[Any]]:
    """The batches ``make(start)``, ``make(start + 1)``, ... before ``stop``; workers live as long as the context.

    Args:
        make: a pure function of the step.
        start: the first step.
        stop: the step after the last.
        workers: processes that make batches ahead; 0 makes each in this process when it is asked for.
        pin: page-locked memory, from which copies to a GPU are quicker.

    Raises:
        InputError: on taking a batch: ``make`` raised it.
    """
    steps = _Steps(make, start, stop)
    loader = DataLoader(
        steps, batch_size=None, collate_fn=_as_it_is, num_workers=workers, worker_init_fn=_deafen, pin_memory=pin
    )
    batches = iter(loader)
    try:
        yield map(_unwrap, batches)
    finally:
        end = getattr(batches, "_shutdown_workers", None)  # else they end when nothing refers to the batches any more
        if end:
            end()


def _as_it_is(batch: Any) -> Any:
    return batch


def _unwrap(batch: Any) -> Any:
    if isinstance(batch, _Refusal):
        raise InputError(batch.got, batch.expected, batch.fix)
    return batch


def _deafen(_: int) -> None:
    """Workers end when the training does: the signals that end it reach them, too, but a step too early."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, _grace)


def _grace(*_: Any) -> None:
    signal.alarm(GRACE_SECONDS)


def to_device(tree: Any, device: torch.device | str) -> Any:
    """The tree (dataclasses, mappings, lists, tuples) with its tensors on the device; all other leaves as they are."""
    if isinstance(tree, Tensor):
        return tree.to(device, non_blocking=True)
    if is_dataclass(tree) and not isinstance(tree, type):
        moved = {field.name: to_device(getattr(tree, field.name), device) for field in fields(tree) if field.init}
        return replace(tree, **moved)
    if isinstance(tree, Mapping):
        return {name: to_device(leaf, device) for name, leaf in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(to_device(leaf, device) for leaf in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(to_device(leaf, device) for leaf in tree)
    return tree


def texts(batch: Any, name: str) -> list[str]:
    """The list of strings ``names`` or ``problems`` of a batch; empty where it has none."""
    found = batch.get(name) if isinstance(batch, Mapping) else getattr(batch, name, None)
    return list(found or [])
