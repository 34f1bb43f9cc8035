"""``openexpose train``: train one part's regressor on rendered data."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from openexpose.cli.extras import need


@dataclass(frozen=True)
class Train:
    """Train the regressor of one part on rendered shards, the trunks frozen (needs the extra 'train')."""

    part: Literal["body", "hand", "face"]
    """Which network."""
    shards: Path
    """Folder of rendered shards."""
    out: Path
    """Checkpoint to write."""
    epochs: int = 40
    """Passes over the data."""
    batch: int = 256
    """Samples a step."""
    rate: float = 1.5e-3
    """Peak learning rate (AdamW, one cycle)."""
    hidden: int = 512
    """Width of the regressor."""
    feedback: bool = True
    """Residual feedback; off gives the paper's plain regressor."""
    held_out: float = 0.08
    """Share of the samples kept for validation."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Torch threads."""

    def run(self) -> int:
        """Train; returns the exit code."""
        need("train", "torch")
        from openexpose.training.heads import TrainConfig, train

        for name, value in train(TrainConfig(**asdict(self))).items():
            print(f"{name}: {value:.4g}")
        return 0
