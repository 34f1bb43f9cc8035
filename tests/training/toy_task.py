"""A small task for the tests of the engine; as a script it trains itself: ``toy_task.py FOLDER OPTIONS SETTINGS``."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.training.engine import EngineConfig, run

SHARE = 6
"""Samples of the global batch."""


@dataclass(frozen=True)
class Options:
    """What the task does, and what befalls it. Steps count from 0."""

    dropout: float = 0.0
    norm: bool = False
    adam: bool = True
    rate: float = 0.05
    bad_steps: tuple[int, ...] = ()
    """Steps with a sample that is not a number (the last of the batch: that of the last process)."""
    bad_gradients: tuple[int, ...] = ()
    """Steps with a finite loss whose gradient is not."""
    term_at: int = -1
    """The step during which the last process gets SIGTERM."""
    term_all_at: int = -1
    """The step whose batch is waited for when SIGTERM comes, to workers, too, as batch systems and terminals do it."""
    crash_at: int = -1
    """The step during which the power fails."""
    refuse_at: int = -1
    """The step whose batch cannot be made."""
    problems: bool = False


@dataclass(frozen=True)
class Term:
    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class Batch:
    step: int
    inputs: Tensor
    targets: Tensor
    seen: Tensor
    names: list[str]
    problems: list[str]


class Net(nn.Module):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.last_process = int(os.environ.get("RANK", "0")) == int(os.environ.get("WORLD_SIZE", "1")) - 1
        norm = [nn.BatchNorm1d(5)] if options.norm else []
        self.layers = nn.Sequential(nn.Linear(3, 5), *norm, nn.Tanh(), nn.Dropout(options.dropout), nn.Linear(5, 2))
        self.rarely = nn.Linear(2, 1)

    def forward(self, batch: Batch) -> dict[str, Term]:
        if batch.step == self.options.crash_at:
            raise RuntimeError("power failure")
        if batch.step == self.options.term_at and self.last_process:
            os.kill(os.getpid(), signal.SIGTERM)
        error = (self.layers(batch.inputs) - batch.targets).float() ** 2
        if batch.step in self.options.bad_gradients:
            error = error + (0.0 * error).sqrt()
        few = batch.seen.sum(1) > 1
        terms = {"points": Term((error * batch.seen).sum(), batch.seen.sum())}
        # in some steps some processes have no gradient of ``rarely``
        rare = self.rarely(error[few]).float().abs().sum() if few.any() else error.sum() * 0.0
        return terms | {"rare": Term(rare, few.sum())}


class ToyTask:
    """Regression of noise, with labels of which few are seen."""

    def __init__(self, options: Options) -> None:
        torch.manual_seed(7)
        self.options, self.module = options, Net(options)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        if step == self.options.refuse_at:
            raise InputError("no pictures", "pictures", "Get some")
        if step == self.options.term_all_at:
            time.sleep(0.4)
            os.killpg(0, signal.SIGTERM)
        rng = np.random.default_rng((3, step))
        inputs, targets = rng.normal(size=(SHARE, 3)), rng.normal(size=(SHARE, 2))
        seen = rng.random((SHARE, 2)) < np.linspace(0.1, 1.0, SHARE)[:, None]  # the later the rank, the more is seen
        if step in self.options.bad_steps:
            inputs[-1] = np.nan
        mine = slice(rank * SHARE // ranks, (rank + 1) * SHARE // ranks)
        names = [f"sample-{step}-{k}" for k in range(SHARE)][mine]
        problems = [f"picture {rank}-{step % 2} is broken"] if self.options.problems else []
        tensors = [torch.as_tensor(array[mine], dtype=torch.float32) for array in (inputs, targets, seen)]
        return Batch(step, *tensors, names, problems)

    def optimiser(self) -> torch.optim.Optimizer:
        if self.options.adam:
            return torch.optim.AdamW(self.module.parameters(), self.options.rate)
        return torch.optim.SGD(self.module.parameters(), self.options.rate)

    def schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        return torch.optim.lr_scheduler.MultiStepLR(optimiser, [2, 5], 0.5)

    def validate(self) -> dict[str, float]:
        assert not self.module.training and not torch.is_grad_enabled()
        terms = self.module(self.batch(1000, 0, 1))
        return {"error": float(terms["points"].total), "random": float(torch.rand(()))}

    def sheet(self) -> np.ndarray:
        return np.full((4, 6, 3), 200, np.uint8)

    def export(self, folder: Path) -> None:
        torch.save(self.module.state_dict(), folder / "final.pt")


if __name__ == "__main__":
    folder, options, settings = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
    try:
        run(ToyTask(Options(**options)), EngineConfig(out=folder, **settings))
    except KeyboardInterrupt:
        sys.exit(130)
