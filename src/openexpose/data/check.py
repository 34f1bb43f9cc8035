"""All data sets by name, and a look at whether a folder holds one that can be trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from openexpose.body.keypoints import PARTS, indices
from openexpose.data.hands_faces import read_ffhq, read_freihand, read_stirling
from openexpose.data.planar import (
    read_coco,
    read_coco_wholebody,
    read_lsp,
    read_lsp_extended,
    read_mpii,
    read_openpose,
)
from openexpose.data.reading import Reading
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import read_samples
from openexpose.data.scans import read_ehf, read_threedpw
from openexpose.data.smplx_sets import read_curated_fits, read_h36m, read_spin
from openexpose.data.synthetic import read_synthetic
from openexpose.errors import InputError

Array = np.ndarray

READERS: dict[str, Callable[[Path, str], Reading]] = {
    "coco": read_coco,
    "coco-wholebody": read_coco_wholebody,
    "curated-fits": read_curated_fits,
    "ehf": read_ehf,
    "ffhq": read_ffhq,
    "freihand": read_freihand,
    "h36m": read_h36m,
    "lsp": read_lsp,
    "lsp-extended": read_lsp_extended,
    "mpii": read_mpii,
    "openpose": read_openpose,
    "samples": read_samples,
    "spin": read_spin,
    "stirling": read_stirling,
    "synthetic": read_synthetic,
    "threedpw": read_threedpw,
}
"""The reader of each data set: (folder, split) to a reading."""

_DECODED = 20
_SHOWN = 10


@dataclass(frozen=True)
class Findings:
    """What a data set holds and lacks."""

    dataset: str
    folder: Path
    split: str
    samples: int
    labels: dict[str, int]
    """How many samples have each kind of label."""
    missing: list[Path]
    """Pictures that are not there."""
    damaged: list[str]
    """Of the pictures that were decoded, what is wrong with those that failed."""
    decoded: int
    skipped: list[str]

    @property
    def complete(self) -> bool:
        """Whether every picture is there and those that were tried decode."""
        return not (self.missing or self.damaged)


def read_dataset(dataset: str, folder: Path, split: str = "train", body: Path | None = None) -> Reading:
    """Read a data set by its name in ``READERS``.

    Args:
        body: the user's SMPL-X file: shards rendered with it can be read, and FreiHAND's fingers get their rotations
            from its mean hand.

    Raises:
        InputError: no such data set or folder, or the folder does not hold it.
    """
    reader = READERS.get(dataset)
    if reader is None:
        raise InputError(f"the data set {dataset!r}", f"one of {', '.join(READERS)}")
    if not folder.is_dir():
        raise InputError(f"no folder '{folder}'", f"the folder of {dataset}", "Check the path.")
    if body is not None and dataset == "synthetic":
        return read_synthetic(folder, split, body=body)
    if body is not None and dataset == "freihand":
        return read_freihand(folder, split, hand_mean=body)
    return reader(folder, split)


def check_dataset(dataset: str, folder: Path, split: str = "train") -> Findings:
    """Read a data set, look for all of its pictures and decode up to 20 of them, evenly spread.

    Raises:
        InputError: as :func:`read_dataset`; or not one usable sample, in which case the first reason is told.
    """
    reading = read_dataset(dataset, folder, split)
    if not reading.samples:
        reason = (
            f"{len(reading.skipped)} skipped; the first: {reading.skipped[0]}" if reading.skipped else "it is empty"
        )
        raise InputError(f"no usable sample in the split {split!r} of '{folder}' ({reason})", "at least one sample")
    paths = dict.fromkeys(sample.image for sample in reading.samples if isinstance(sample.image, Path))
    missing = [path for path in paths if not path.is_file()]
    absent = set(missing)
    there = [s for s in reading.samples if not (isinstance(s.image, Path) and s.image in absent)]
    tried = [there[k] for k in np.unique(np.linspace(0, len(there) - 1, _DECODED).astype(int))] if there else []
    damaged = [problem for sample in tried if (problem := _decode(sample))]
    labels = {kind: sum(map(has, reading.samples)) for kind, has in _LABELS.items()}
    count = len(reading.samples)
    return Findings(dataset, folder, split, count, labels, missing, damaged, len(tried), reading.skipped)


def format_findings(found: Findings) -> str:
    """The findings as text for people."""
    lines = [f"{found.dataset} ({found.split}): {found.samples} samples in {found.folder}"]
    lines += [f"  with {kind}: {count}" for kind, count in found.labels.items()]
    lines += _listed("missing pictures", [str(path) for path in found.missing])
    lines += _listed(f"damaged pictures of {found.decoded} tried", found.damaged)
    lines += _listed("skipped", found.skipped)
    return "\n".join(lines)


def _decode(sample: Sample) -> str:
    """What is wrong with a picture; empty if nothing is."""
    try:
        sample.read_pixels()
    except InputError as error:
        return str(error)
    return ""


def _listed(what: str, entries: list[str]) -> list[str]:
    more = len(entries) - _SHOWN
    lines = [f"  {what}: {len(entries)}", *(f"    {entry}" for entry in entries[:_SHOWN])]
    return [*lines, f"    and {more} more"] if more > 0 else lines


def _labelled(chosen: Int[Array, "n"]) -> Callable[[Sample], bool]:
    """Whether one of these keypoints is labelled."""
    return lambda sample: bool((sample.keypoints_px[chosen, 2] > 0).any())


_SHARED = indices("neck", "head", "left_wrist", "right_wrist")  # joints of a lone hand or head, too
_BODY = np.setdiff1d(np.arange(22), _SHARED)
_HANDS = np.setdiff1d(np.r_[PARTS["left_hand"], PARTS["right_hand"]], _SHARED)
_LABELS: dict[str, Callable[[Sample], bool]] = {
    "body keypoints": _labelled(_BODY),
    "hand keypoints": _labelled(_HANDS),
    "face keypoints": _labelled(PARTS["face"]),
    "3D points": lambda sample: sample.points_m is not None,
    "rotations": lambda sample: sample.pose is not None and bool(sample.pose_valid.any()),
    "finger rotations": lambda sample: sample.pose is not None and bool(sample.pose_valid[25:].any()),
    "shape": lambda sample: sample.betas is not None,
    "expression": lambda sample: sample.expression is not None,
}
