"""Shards without rendering: random people of the body layer, with labels that agree and evidence of a perfect trunk."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.geometry.camera import project_weak
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.predict.bundle import default_bundle
from openexpose.predict.landmarks import CORRESPONDENCES
from openexpose.predict.parts import SPECS
from openexpose.synth.dataset import SAMPLE_TYPES
from openexpose.synth.scene import label_names
from openexpose.training import evidence

MakeShard = Callable[..., Path]
_SCALE = {"body": 0.9, "hand": 5.0, "face": 6.0}
_LANDMARKS = {"body": 39, "hand": 21, "face": 478}


@pytest.fixture(scope="session")
def make_shard() -> MakeShard:
    """``make_shard(folder, part, count=8, seed=0, side=8)``: writes a shard as `openexpose synth` does."""
    model = load_body_model(num_betas=10, num_expression=20)

    def make(folder: Path, part: str, count: int = 8, seed: int = 0, side: int = 8) -> Path:
        spec, rng = SPECS[part], np.random.default_rng(seed)
        pose, slots = zero_pose(count).astype(float), list(spec.pose_slots)
        pose[:, slots] = rotvec_to_matrix(rng.normal(0, 0.2, (count, len(slots), 3)))
        pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[:, 0]
        betas, expression = rng.normal(size=(count, 10)), np.zeros((count, 20))
        if spec.num_expression:
            expression = rng.normal(size=(count, 20))
        points = keypoints(model, pose, betas, expression)
        points = (points - points[:, [spec.root_joint]])[:, list(spec.keypoints)]
        camera = np.concatenate([_SCALE[part] * rng.uniform(0.9, 1.1, (count, 1)), rng.normal(0, 0.02, (count, 2))], 1)
        labels = {"pose": pose, "wrist": pose[:, 0], "head": pose[:, 0], "fingers": pose[:, 40:55], "jaw": pose[:, 22]}
        labels |= {"eyes": pose[:, 23:25], "betas": betas, "expression": expression, "camera": camera}
        labels |= {"keypoints_3d": points, "keypoints_2d": project_weak(points, camera)}
        labels |= {"visibility": rng.integers(0, 3, points.shape[:2]).astype(np.uint8)}
        kind = evidence.KINDS[part]
        names = label_names(SAMPLE_TYPES[kind])
        arrays = {name: labels.get(name, np.zeros(count)) for name in names}
        pictures = rng.integers(0, 256, (count, side, side, 3), np.uint8)
        files = [cv2.imencode(".jpg", picture)[1].ravel() for picture in pictures]
        arrays |= {"jpeg": np.concatenate(files), "jpeg_offsets": np.cumsum([0, *map(len, files)])}
        path = folder / f"{kind}-{seed}-00000.npz"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, kind=np.array(kind), seed=np.array(seed), body=np.array("made by a test"), **arrays)
        return path

    return make


@pytest.fixture(scope="session")
def make_evidence() -> Callable[[Path, str], Path]:
    """``make_evidence(shard, part)``: what a perfect trunk would see, as the packaged trunk's evidence."""

    def make(shard: Path, part: str) -> Path:
        spec, rng = SPECS[part], np.random.default_rng(1)
        where = {keypoint: k for k, keypoint in enumerate(spec.keypoints)}
        landmark, keypoint = CORRESPONDENCES[part]
        rows = [where[k] for k in keypoint]
        with np.load(shard, allow_pickle=False) as content:
            flat, deep = content["keypoints_2d"], content["keypoints_3d"]
        landmarks, world = rng.normal(0, 0.1, (2, len(flat), _LANDMARKS[part], 3))
        landmarks[:, landmark, :2], world[:, landmark] = flat[:, rows], deep[:, rows]
        arrays = {"feature": rng.normal(size=(len(flat), 4)), "landmarks": landmarks}
        arrays |= {"visibility": np.ones(landmarks.shape[:2]), "presence": np.ones(len(flat))}
        arrays |= {} if part == "face" else {"world": world}
        made_from = evidence._made_from(shard, default_bundle() / f"{part}_trunk.onnx")
        path = evidence.evidence_path(shard)
        np.savez(path, made_from=np.array(made_from), **arrays)
        return path

    return make
