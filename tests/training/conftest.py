"""Shards without rendering: random people of the body model, with labels that agree and evidence of a perfect trunk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.synth.photos import free_body, make_photos

from openexpose.geometry.boxes import Crop
from openexpose.predict.bundle import default_bundle
from openexpose.predict.landmarks import CORRESPONDENCES
from openexpose.predict.parts import SPECS
from openexpose.synth.digest import body_digest
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import Shards, load_shards
from openexpose.training import evidence
from openexpose.training.targets import part_labels

MakeShard = Callable[..., Path]
_LANDMARKS = {"body": 39, "hand": 21, "face": 478}
_FAR_M = 100.0
"""From so far, a weak-perspective camera is nearly exact."""


def whole(shards: Shards) -> Crop:
    """Crops of whole pictures."""
    return Crop(shards.image_size / 2.0, shards.image_size[:, 0].astype(float), np.zeros(len(shards)))


@pytest.fixture(scope="session")
def make_shard() -> MakeShard:
    """``make_shard(folder, part, count=8, seed=0, side=8)``: writes a shard as `openexpose synth` does."""

    def make(folder: Path, part: str, count: int = 8, seed: int = 0, side: int = 8) -> Path:
        kind = evidence.KINDS[part][0]
        photos = make_photos(kind, count, seed=seed, size=(side, side), distance_m=_FAR_M)
        return write_shard(folder / f"{kind}-{seed}-00000.tar", Origin(kind, seed, 0, body_digest(free_body())), photos)

    return make


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Path]:
    """``make_evidence(shard, part, crop=None)``: what a perfect trunk would see in crops (None: whole close-ups), as
    the packaged trunk's evidence."""

    def make(shard: Path, part: str, crop: Crop | None = None) -> Path:
        spec, rng = SPECS[part], np.random.default_rng(1)
        where = {keypoint: k for k, keypoint in enumerate(spec.keypoints)}
        landmark, keypoint = CORRESPONDENCES[part]
        rows = [where[k] for k in keypoint]
        shards = load_shards([shard])
        crop = whole(shards) if crop is None else crop
        labels = part_labels(shards, part, crop)
        flat, deep = labels["projected"], labels["points"]
        landmarks, world = rng.normal(0, 0.1, (2, len(flat), _LANDMARKS[part], 3))
        landmarks[:, landmark, :2], world[:, landmark] = flat[:, rows], deep[:, rows]
        arrays = {"feature": rng.normal(size=(len(flat), 4)), "landmarks": landmarks}
        arrays |= {"visibility": np.ones(landmarks.shape[:2]), "presence": np.ones(len(flat))}
        arrays |= {} if part == "face" else {"world": world}
        arrays |= {name: getattr(crop, name) for name in ("centre_px", "side_px", "angle_rad")}
        made_from = evidence._made_from(shard, default_bundle() / f"{part}_trunk.onnx")
        path = evidence.evidence_path(shard)
        np.savez(path, made_from=np.array(made_from), **arrays)
        return path

    return make
