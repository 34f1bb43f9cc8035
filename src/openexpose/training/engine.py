"""The loop of every training: interrupted or not, with one process or several, the same steps.

A step is a function of the parameters before it, the seed and its number: batches are made from the step's number, and
the random generator is seeded anew before each step. So a training that went on from a checkpoint ends, on a CPU, with
the bits of one that was never interrupted.
"""

import functools
import math
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.training.prefetch import prefetch, texts, to_device
from openexpose.training.processes import Processes, derive_seed, join, stop_signals
from openexpose.training.run_files import Checkpoints, RunFiles, State, digest

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_BAD_STEPS = 20
"""Steps in a row that may have no finite loss or gradient. (In float16 some are usual: the loss's scale is sought.)"""


class Task(Protocol):
    """What is trained, on what, how, and how it is judged."""

    @property
    def module(self) -> nn.Module:
        """``module(batch)`` gives the terms of the loss by name, each with a scalar ``total`` and ``count``
        (:class:`~openexpose.training.processes.TermLike`): the same names at every step in every process."""

    def batch(self, step: int, rank: int, ranks: int) -> Any:
        """The share of process ``rank`` in the global batch of a step: a pure function of its arguments.

        A tree of dataclasses, mappings, lists and tuples of tensors. It may have ``names`` (of its samples) and
        ``problems`` (what was wrong with samples that it left out), lists of strings. Made in worker processes.
        """

    def optimiser(self) -> torch.optim.Optimizer:
        """A fresh optimiser of the module's parameters."""

    def schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        """What changes the learning rate after each step."""

    def validate(self) -> dict[str, float]:
        """Errors on held-out data; the module is in evaluation mode, without gradients."""

    def sheet(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """A picture of predictions; the module is in evaluation mode, without gradients."""

    def export(self, folder: Path) -> None:
        """Write the trained weights into the run folder."""

    # A task may have ``unused_parameters``: False promises that every step has gradients of every trained parameter.


@dataclass(frozen=True)
class EngineConfig:
    """How a task is trained."""

    steps: int
    """Steps to do, those done before an interruption included."""
    out: Path
    """Run folder. If it holds a checkpoint of the same configuration, the training goes on from it."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """The task's own configuration by name: a checkpoint made under another is refused, with the names that differ."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    threads: int = 1
    """Torch threads of each process."""
    workers: int = 0
    """Processes that make batches ahead; 0 makes them between the steps."""
    precision: str = "float32"
    """``float32``, or the type that torch's autocast computes in: ``bfloat16`` or ``float16`` (with a scaled loss)."""
    log_every: int = 50
    """Steps from one row of numbers to the next."""
    validate_every: int = 1000
    """Steps from one validation to the next; there is one at the end in any case."""
    sheet_every: int = 1000
    """Steps from one picture of predictions to the next."""
    save_minutes: float = 5.0
    """Minutes from one checkpoint to the next; there is one at the end and on SIGTERM or SIGINT in any case."""
    clip_norm: float | None = None
    """Greatest norm of the gradient; None leaves it as it is."""


def run(task: Task, config: EngineConfig) -> dict[str, float]:
    """Train a task, or go on with it.

    On SIGTERM or SIGINT the step is finished and a checkpoint written. A step without a finite loss or gradient leaves
    the parameters as they were.

    Returns:
        The last validation, in every process.

    Raises:
        InputError: impossible settings; a run folder that cannot be written to or with a checkpoint of another
            configuration; more than ``MAX_BAD_STEPS`` steps in a row without a finite loss or gradient.
        KeyboardInterrupt: stopped by a signal, after the checkpoint is written.
    """
    _check(config)
    torch.set_num_threads(config.threads)
    with join(config.device) as processes, stop_signals(processes.ranks) as stop:
        if processes.first:
            check_writable(config.out)
        return _Training(task, config, processes).run(stop)


def _check(config: EngineConfig) -> None:
    """See that the settings are possible."""
    if config.device not in ("cpu", "cuda"):
        raise InputError(f"the device '{config.device}'", "'cpu' or 'cuda'")
    if config.precision not in PRECISIONS:
        raise InputError(f"the precision '{config.precision}'", f"one of {list(PRECISIONS)}")
    for name in ("steps", "threads", "log_every", "validate_every", "sheet_every"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} = {getattr(config, name)}", "at least 1")
    for name in ("seed", "workers", "save_minutes"):
        if getattr(config, name) < 0:
            raise InputError(f"{name} = {getattr(config, name)}", "not less than 0")
    if config.clip_norm is not None and not config.clip_norm > 0:
        raise InputError(f"clip_norm = {config.clip_norm}", "more than 0, or None")


class _Training:
    """The state of a training, and its steps."""

    def __init__(self, task: Task, config: EngineConfig, processes: Processes) -> None:
        self.task, self.config, self.processes = task, config, processes
        self.module = task.module.to(processes.device)
        self.optimiser = task.optimiser()
        self.schedule = task.schedule(self.optimiser)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.precision == "float16")
        self.configuration = self._configuration()
        self.step, self.skipped, self.problems, self.before = 0, 0, 0, 0.0
        self.bad_in_a_row, self.bad_names = 0, dict[str, None]()
        self.files: RunFiles | None = None
        self.checkpoints = Checkpoints(config.out / "checkpoints")
        self._resume()
        self.model = processes.wrap(self.module, unused=getattr(task, "unused_parameters", True))

    def _configuration(self) -> dict[str, str]:
        """What must be the same for a training to go on as if it had not stopped."""
        weights = [(name, tuple(value.shape), str(value.dtype)) for name, value in self.module.state_dict().items()]
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.optimiser.param_groups]
        schedule = self.schedule.state_dict() if self.schedule else {}
        return {
            "seed": str(self.config.seed),
            "precision": self.config.precision,
            "clip_norm": str(self.config.clip_norm),
            **self.config.identity,
            "network": digest(weights),
            "optimiser": f"{type(self.optimiser).__name__} {digest(groups)}",
            "schedule": f"{type(self.schedule).__name__} {digest(schedule)}",
        }

    def _resume(self) -> None:
        """Go on from the run folder's last checkpoint, if it has one."""
        state, messages = self.checkpoints.load()
        for message in messages:
            self._print(message)
        step = state.step if state else 0
        if self.processes.sum(step)[0] != step * self.processes.ranks:
            raise InputError("processes that found different checkpoints", "one run folder that all of them see")
        if state is None:
            return
        names = {**self.configuration, **state.configuration}
        other = [name for name in names if state.configuration.get(name) != self.configuration.get(name)]
        if other:
            got = f"'{self.config.out}', which holds a checkpoint of another configuration ({', '.join(other)})"
            raise InputError(got, "an empty folder or one of the same configuration")
        if step > self.config.steps:
            raise InputError(f"'{self.config.out}', which holds {step} steps", f"at most {self.config.steps} steps")
        self.module.load_state_dict(state.module)
        self.optimiser.load_state_dict(state.optimiser)
        if self.schedule:
            self.schedule.load_state_dict(state.schedule)
        self.scaler.load_state_dict(state.scaler)
        self.step, self.skipped, self.problems, self.before = step, state.skipped, state.problems, state.seconds
        self._print(f"going on from step {step} of {self.config.steps}")
        if state.processes != self.processes.ranks:
            change = f"with {self.processes.ranks} processes instead of {state.processes}"
            self._print(f"{change}: other random numbers than without the interruption")

    def run(self, stop: threading.Event) -> dict[str, float]:
        """Do the steps that are left, then validate and export."""
        config = self.config
        make = functools.partial(self.task.batch, rank=self.processes.rank, ranks=self.processes.ranks)
        self.begun = self.saved = self.logged = time.monotonic()
        self.images = 0.0
        self.module.train()
        try:
            with prefetch(make, self.step, config.steps, config.workers, pin=config.device == "cuda") as batches:
                if self.processes.first:  # after the workers have started: they should not inherit its threads
                    self.files = RunFiles(config.out, self.step)
                if not self.step:
                    self._validate()
                scores = self._steps(batches, stop)
            self._save()
            if self.step % config.validate_every or not scores:
                scores = self._validate()
            self.module.eval()
            if self.files:
                self.files.sync()
                self.task.export(config.out)
                self._summarise(self.files)
            return self.processes.share(scores)
        finally:
            self.model = self.module
            if self.files:
                self.files.board.close()

    def _steps(self, batches: Iterator[Any], stop: threading.Event) -> dict[str, float]:
        """Do the steps of the batches, and what is due between them; returns the last validation, if there was one."""
        config, scores = self.config, dict[str, float]()
        for batch in batches:
            stopped = self._do(batch, stop)
            if self.step % config.validate_every == 0:
                scores = self._validate()
            if self.step % config.sheet_every == 0:
                self._sheet()
            if stopped or time.monotonic() - self.saved >= 60 * config.save_minutes:
                self._save()
            if stopped:
                self.processes.sum(0)  # wait for the checkpoint: `torchrun` ends the others as soon as one has ended
                self._print(f"stopped after step {self.step} of {config.steps}; run it again to go on")
                raise KeyboardInterrupt
        return scores

    def _do(self, batch: Any, stop: threading.Event) -> bool:
        """One step; returns whether any of the processes was told to stop."""
        names, problems = texts(batch, "names"), texts(batch, "problems")
        torch.manual_seed(derive_seed(self.config.seed, self.step, self.processes.rank))
        statistics = _statistics(self.module)
        rate = self.optimiser.param_groups[0]["lr"]
        self.optimiser.zero_grad(set_to_none=True)
        kind = PRECISIONS[self.config.precision]
        with torch.autocast(self.processes.device.type, kind, enabled=kind != torch.float32):
            terms = self.model(to_device(batch, self.processes.device))
        loss, values = self.processes.loss(terms)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        gradients = [p.grad for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        finite = math.isfinite(sum(values.values())) and bool(torch.isfinite(norm)) and bool(torch.isfinite(loss))
        counts = self.processes.sum(not finite, stop.is_set(), len(names), len(problems))
        if counts[0]:
            for kept, statistic in statistics:
                statistic.copy_(kept)
        else:
            if self.config.clip_norm is not None:
                parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
                nn.utils.clip_grads_with_norm_(parameters, self.config.clip_norm, norm)
            self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.schedule:
            with warnings.catch_warnings():  # the first step may be skipped
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                self.schedule.step()
        self.step += 1
        self.images += counts[2]
        self.problems += int(counts[3])
        if counts[3]:
            self._name(self.processes.gather(problems))
        self._judge(bool(counts[0]), names, math.isfinite(sum(values.values())))
        if self.step % self.config.log_every == 0:
            self._log(rate, values)
        return bool(counts[1])

    def _judge(self, bad: bool, names: list[str], finite_loss: bool) -> None:
        """Count a bad step and name its samples; too many in a row end the training."""
        if not bad:
            self.bad_in_a_row = 0
            self.bad_names.clear()
            return
        names = self.processes.gather(names)
        self.skipped += 1
        self.bad_in_a_row += 1
        self.bad_names.update(dict.fromkeys(names))
        what = "gradient" if finite_loss else "loss"
        why = f" at a scale of {self.scaler.get_scale():g}" if self.scaler.is_enabled() else ""
        self._name([f"step {self.step}: skipped, {what} not finite{why}; samples: {', '.join(names)}"])
        if self.bad_in_a_row > MAX_BAD_STEPS:
            shown = ", ".join(list(self.bad_names)[:MAX_BAD_STEPS])
            more = f" and {len(self.bad_names) - MAX_BAD_STEPS} more" if len(self.bad_names) > MAX_BAD_STEPS else ""
            got = f"{self.bad_in_a_row} steps in a row without a finite loss or gradient, of the samples {shown}{more}"
            fix = f"They are in '{self.config.out / 'problems.log'}'; a lower learning rate may help, too"
            raise InputError(got, "data and a learning rate that give finite numbers", fix)

    def _log(self, rate: float, values: Mapping[str, float]) -> None:
        """A row of numbers, and a line on the screen."""
        now, loss = time.monotonic(), sum(values.values())
        speed = self.images / max(now - self.logged, 1e-9)
        self.logged, self.images = now, 0.0
        if not self.files:
            return
        seconds = {"seconds": f"{self._seconds():.1f}"}
        self.files.log.add(self.step, {**seconds, "rate": rate, **values, "loss": loss})
        self.files.board.numbers("train", self.step, {"rate": rate, **values, "loss": loss, "images_per_second": speed})
        terms = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        shown = f"step {self.step}/{self.config.steps} {self._seconds():.0f} s loss {loss:.4g} ({terms})"
        self._print(f"{shown} rate {rate:.3g}" + (f" {speed:.1f} images/s" if speed else ""))

    def _validate(self) -> dict[str, float]:
        """Errors on held-out data: in the first process; the others have none."""
        if not self.files:
            return {}
        with self._judging():
            scores = {name: float(value) for name, value in self.task.validate().items()}
        self.files.validation.add(self.step, {"seconds": f"{self._seconds():.1f}", **scores})
        self.files.board.numbers("validation", self.step, scores)
        self._print(f"validation {' '.join(f'{name} {value:.4g}' for name, value in scores.items())}")
        return scores

    def _sheet(self) -> None:
        if self.files:
            with self._judging():
                picture = self.task.sheet()
            if picture is not None:
                self.files.board.sheet(self.step, picture)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """The module as it predicts, and random numbers of their own."""
        torch.manual_seed(derive_seed(self.config.seed, self.step, self.processes.ranks))
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()

    def _save(self) -> None:
        """Write a checkpoint, and before it all rows up to it."""
        self.saved = time.monotonic()
        if not self.files:
            return
        self.files.sync()
        schedule = self.schedule.state_dict() if self.schedule else {}
        state = State(
            self.step,
            self._seconds(),
            self.skipped,
            self.problems,
            self.configuration,
            self.processes.ranks,
            self.module.state_dict(),
            self.optimiser.state_dict(),
            schedule,
            self.scaler.state_dict(),
        )
        self.checkpoints.save(state)

    def _name(self, problems: list[str]) -> None:
        if self.files:
            self.files.problems.add(problems)

    def _summarise(self, files: RunFiles) -> None:
        counts = f"{self.skipped} skipped, {self.problems} problems of samples"
        where = f"; see '{files.problems.path}'" if len(files.problems) else ""
        self._print(f"{self.step} steps in {self._seconds():.0f} s, {counts}{where}")

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.begun

    def _print(self, line: str) -> None:
        if self.processes.first:
            print(line, flush=True)


def _statistics(module: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Running statistics of normalising layers, which a forward pass changes: copies and originals."""
    layers = [layer for layer in module.modules() if isinstance(layer, _NormBase) and layer.training]
    buffers = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
    return [(buffer.clone(), buffer) for buffer in buffers]
