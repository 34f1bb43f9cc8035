"""The processes of one training: which of them this one is, and what they must agree on.

Launched by ``torchrun``, whose contract is the environment: RANK, WORLD_SIZE, LOCAL_RANK. Launched alone there is one
process, and every function here is free of charge.
"""

import gc
import inspect
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from openexpose.errors import InputError

PATIENCE = timedelta(hours=1)
"""How long the others wait for the first process, which alone validates and writes."""
TWICE_S = 1.0
"""SIGTERM after SIGTERM within these seconds is the same one."""
EMPTY = 1e-6
"""A term's count is taken to be at least this, so that a term without samples is 0."""


class TermLike(Protocol):
    """A term of the loss: ``total`` is summed over ``count`` samples, points or weights; both are scalars."""

    @property
    def total(self) -> Tensor: ...

    @property
    def count(self) -> Tensor: ...


@dataclass(frozen=True)
class Processes:
    """This process among the others."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, prints and writes files."""
        return self.rank == 0

    def wrap(self, module: nn.Module, *, unused: bool = True) -> nn.Module:
        """The module with gradients averaged over the processes.

        ``unused``: some steps may have no gradients of some parameters. Where none ever does, torch warns of it.
        Buffers are not sent around: running statistics are those of the first process, as they would be if they were.
        """
        if self.ranks == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = (
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        )  # before torch 2.13
        options: dict[str, Any] = {"device_ids": devices, "find_unused_parameters": unused, buffers: False}
        return DistributedDataParallel(module, **options)

    def loss(self, terms: Mapping[str, TermLike]) -> tuple[Tensor, dict[str, float]]:
        """The loss of the global batch, whose terms are the sums of all totals over the sums of all counts.

        Args:
            terms: this process's share; every process has the same names.

        Returns:
            The scalar to differentiate: its gradient, averaged over the processes, is that of the global loss; and the
            value of every term on the global batch.
        """
        names = sorted(terms)
        totals = torch.stack([terms[name].total.float() for name in names])
        counts = torch.stack([terms[name].count.detach().float() for name in names])
        sums = torch.stack([totals.detach(), counts.to(totals.device)])
        if self.ranks > 1:
            distributed.all_reduce(sums)
        counts = sums[1].clamp_min(EMPTY)
        values = (sums[0] / counts).tolist()
        return (totals * (self.ranks / counts)).sum(), dict(zip(names, values, strict=True))

    def sum(self, *numbers: float) -> list[float]:
        """Each of the numbers, summed over the processes."""
        if self.ranks == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()

    def gather(self, mine: list[str]) -> list[str]:
        """The texts of all processes, by rank."""
        if self.ranks == 1:
            return mine
        texts: list[Any] = [None] * self.ranks
        distributed.all_gather_object(texts, mine)
        return [text for part in texts for text in part]

    def share(self, record: dict[str, float]) -> dict[str, float]:
        """The first process's record."""
        if self.ranks == 1:
            return record
        box = [record]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Be one of the processes that ``torchrun`` started, or the only one.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (nccl; each process has the GPU of its LOCAL_RANK).

    Raises:
        InputError: there is no such device.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and torch.cuda.device_count() <= local:
        fix = "Train on the CPU with device 'cpu'" if ranks == 1 else "Start fewer processes"
        raise InputError(f"the device 'cuda' where torch sees {torch.cuda.device_count()}", f"more than {local}", fix)
    own = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if ranks == 1:
        yield Processes(device=own)
        return
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(int(os.environ["RANK"]), ranks, own)
        distributed.barrier()
    finally:
        gc.collect()  # wrapped modules: their references to the group would outlive it, and its threads the interpreter
        distributed.destroy_process_group()


def derive_seed(seed: int, step: int, rank: int) -> int:
    """The seed of one process at one step."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])


@contextmanager
def stop_signals(ranks: int) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second one stops a lone process at once.

    Of several processes each gets Ctrl-C twice: from the terminal and from ``torchrun``. And `timeout` sends SIGTERM
    twice within no time, to the process and to its group: a second SIGTERM counts from ``TWICE_S`` on.
    """
    stop, first = threading.Event(), time.monotonic()

    def handle(number: int, _: Any) -> None:
        nonlocal first
        if not stop.is_set():
            first = time.monotonic()
        elif ranks == 1 and (number == signal.SIGINT or time.monotonic() - first >= TWICE_S):
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may ask for signals
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
