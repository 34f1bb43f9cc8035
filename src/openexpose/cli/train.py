"""``openexpose train``: train one network, or all three end to end."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need

_FILE = tyro.conf.arg(metavar="FILE", help_behavior_hint="")
_NUMBER = tyro.conf.arg(metavar="N", help_behavior_hint="")


@dataclass(frozen=True)
class Train:
    """Train the network of one part, or all three end to end (needs the extra 'train').

    A stopped training goes on when the same command is given again. Launched by torchrun it runs in several processes.
    """

    stage: tyro.conf.Positional[Literal["body", "hand", "face", "joint"]]
    """body, hand or face: that network alone. joint: all three, end to end through the attention."""
    data: Annotated[
        tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]],
        tyro.conf.arg(metavar="[NAME=]FOLDER [[NAME=]FOLDER ...]", help_behavior_hint=""),
    ]
    """What to train on: folders of rendered shards, or of other data sets after their names, as in
    `openexpose data list` (paper's recipe)."""
    out: Path
    """Run folder: checkpoints, logs, pictures, and at the end the weights, body.pt, hand.pt or face.pt."""
    recipe: Literal["default", "paper"] = "default"
    """default: frozen landmark trunks, regressors with residual feedback. paper: trunks trained on the task."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Weights to start from: the run folder of an earlier stage, or a folder of those. joint needs all three."""
    trunk: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Paper's recipe, one part: hrnet_w48, hrnet_w18, resnet18, resnet34, resnet50; resnet18_w16 to try
    things out. Default: the paper's choice. Default recipe, body: full, the trunk of `predict --fast`."""
    trunk_weights: Annotated[Path | None, _FILE] = None
    """Paper's recipe, one part: file of an ImageNet classifier to start the trunk from."""
    body_model: Annotated[Path | None, _FILE] = None
    """Paper's recipe: SMPL-X file of the labels. Default: the free body."""
    epochs: Annotated[int | None, _NUMBER] = None
    """Passes over the data; of joint over the pictures of bodies. Defaults of this and the next four: the recipe's."""
    steps: Annotated[int | None, _NUMBER] = None
    """Steps to do, instead of epochs."""
    batch: Annotated[int | None, _NUMBER] = None
    """Samples a step, of all processes together; of joint pictures of bodies."""
    part_batch: Annotated[int | None, _NUMBER] = None
    """joint: pictures of hands alone, and of faces alone, a step."""
    rate: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")] = None
    """Learning rate."""
    augment: bool = True
    """Paper's recipe: vary the pictures, and the start vectors of pictures of parts."""
    feedback: bool = True
    """Default recipe: residual feedback; --no-feedback gives the paper's plain regressor."""
    hidden: int = 512
    """Default recipe: width of the regressors."""
    tune: bool = False
    """Default recipe, one part: also train a branch beside the frozen trunk: of hands and faces a copy of its
    last stages, of bodies what reads joints off its map.
    Files beside the shards then take 44 kB more a hand, 74 kB a face, 98 kB a body."""
    tune_rate: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")] = None
    """With --tune: learning rate of that branch. Default: 0.00015, of bodies 0.001."""
    freeze_body: bool = False
    """joint: leave the body network as it is, as in the released last stage."""
    detach_crops: bool = False
    """joint: no gradients from the crops to the body network (ablation)."""
    held_out: float = 0.08
    """Default recipe, one part: share of the samples kept for validation."""
    seed: int = 0
    """Seed of everything random."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to train."""
    threads: int = 1
    """Torch threads of each process."""
    workers: int = 0
    """Processes that make batches ahead."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type that the networks compute in."""
    save_minutes: float = 5.0
    """Minutes from one checkpoint to the next."""
    log_every: Annotated[int | None, _NUMBER] = None
    """Steps from one row of numbers to the next."""
    validate_every: Annotated[int | None, _NUMBER] = None
    """Steps from one validation, and one picture of predictions, to the next."""

    def run(self) -> int:
        """Train; returns the exit code."""
        need("train", "torch", "cv2", "scipy")
        from openexpose.training.recipes import DataSet, TrainConfig, train

        given = asdict(self)
        given["data"] = tuple(DataSet.parse(text) for texts in self.data for text in texts)
        scores = train(TrainConfig(**given))
        if os.environ.get("RANK", "0") == "0":
            for name, value in scores.items():
                print(f"{name}: {value:.4g}")
        return 0
