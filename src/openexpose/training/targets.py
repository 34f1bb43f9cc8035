"""Shards with cached trunk evidence, as training tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from openexpose.body.keypoints import IBUG68
from openexpose.data.synthetic import CONTOUR, FOCUSES
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import fit_weak, view_rotation
from openexpose.geometry.rotation import mirror_rotation
from openexpose.image.crop import sample_crop
from openexpose.losses import PartTarget
from openexpose.nets.trunk import TrunkOutput
from openexpose.people import zero_pose
from openexpose.predict.parts import SPECS, PartSpec
from openexpose.synth.photo import HIDDEN
from openexpose.synth.shards import Shards, load_shards
from openexpose.training.evidence import (
    FIELDS,
    count_shown,
    find_shards,
    is_left,
    load_evidence,
    load_map,
    people_shown,
    trunk_picture,
)
from openexpose.training.photos import agreeing, is_photos, people_in_photos, photo_labels

Array = np.ndarray


@dataclass(frozen=True)
class PartData:
    """Samples of a part: what the frozen trunk saw, and the truth."""

    seen: TrunkOutput
    target: PartTarget
    origin: Int[Tensor, "n 2"]
    """Which shard each sample is of, and its row among the people that are learnt from."""
    shards: tuple[Path, ...]
    crop: Float[Tensor, "n 4"]
    """Where the trunk looked: centre, side, angle, in pictures of which those of left hands are mirrored."""
    maps: tuple[Float[Tensor, "n c h w"], ...] = ()
    """Tensors of the trunk's inside, from which a tuned branch goes; read for a batch by :meth:`with_maps`."""

    def __len__(self) -> int:
        return len(self.target.betas)

    def rows(self, rows: Tensor) -> "PartData":
        """The samples ``rows``."""
        seen = self.seen
        chosen = TrunkOutput(
            seen.feature[rows],
            seen.landmarks[rows],
            seen.visibility[rows],
            None if seen.world is None else seen.world[rows],
            seen.presence[rows],
        )
        maps = tuple(some[rows] for some in self.maps)
        return PartData(chosen, self.target[rows], self.origin[rows], self.shards, self.crop[rows], maps)

    def with_maps(self, names: Sequence[str]) -> "PartData":
        """The samples with tensors of the trunk's inside, float16, read from beside the shards: for a batch.

        Raises:
            InputError: they were not kept, or are damaged.
        """
        number, row = self.origin.numpy().T
        place = np.argsort(np.argsort(number, kind="stable"))
        maps = []
        for name in names:
            found = [load_map(self.shards[k], name)[row[number == k]] for k in np.unique(number).tolist()]
            maps.append(torch.from_numpy(np.concatenate(found)[place]))
        return replace(self, maps=tuple(maps))

    @property
    def names(self) -> list[str]:
        """Shard and row of each sample, to name it by."""
        return [f"{self.shards[shard]}:{row}" for shard, row in self.origin.tolist()]

    def pictures(self, side_px: int = 192) -> list[Float[Array, "3 s s"]]:
        """The samples' crops, RGB 0..1, left hands mirrored. Reads the shards: for a few samples."""
        whole = [_whole_picture(self.shards[shard], row) for shard, row in self.origin.tolist()]
        crops = [Crop(row[:2], row[2], row[3]) for row in self.crop.double().numpy()]
        return [sample_crop(picture, crop, side_px) for picture, crop in zip(whole, crops, strict=True)]


def load_data(folders: Sequence[Path], spec: PartSpec, trunk: str | None = None) -> PartData:
    """All shards of a part in some folders, in the order of the folders and of their names. No picture is read.
    ``trunk``: whose evidence, as in :func:`openexpose.training.evidence.cache_evidence`.

    Raises:
        InputError: a folder without shards, or shards whose evidence is missing.
    """
    paths = [path for folder in folders for path in find_shards(folder, spec.name)]
    evidence: dict[str, list[Array]] = {name: [] for name in FIELDS}
    labels: list[dict[str, Array]] = []
    origin: list[Tensor] = []
    crops: list[Tensor] = []
    for number, path in enumerate(paths):
        sight, count = load_evidence(path, trunk), count_shown(path)
        if len(sight.seen.feature) != count:
            got = f"'{path}' with evidence of other pictures"
            raise InputError(got, "evidence made from these", "Delete the evidence.")
        told = _labels(path, spec.name, sight.crop)
        rows = np.flatnonzero(agreeing(told)) if is_photos(path) else np.arange(count)
        for name in FIELDS:
            value = getattr(sight.seen, name)
            evidence[name] += [] if value is None else [value[rows].astype(np.float32, copy=False)]
        origin.append(torch.from_numpy(np.stack([np.full_like(rows, number), rows], 1)))
        crop = sight.crop[rows]
        crops.append(torch.from_numpy(np.column_stack([crop.centre_px, crop.side_px, crop.angle_rad])))
        labels.append({name: value[rows] for name, value in told.items()})
    world = _tensor(evidence["world"]) if evidence["world"] else None
    seen = TrunkOutput(world=world, **{name: _tensor(values) for name, values in evidence.items() if name != "world"})
    target = _joined(labels)
    return PartData(seen, target, torch.cat(origin), tuple(paths), torch.cat(crops).float())


def _labels(shard: Path, part: str, crop: Crop) -> dict[str, Array]:
    """Labels of the people of a shard by the names of :class:`PartTarget`."""
    if is_photos(shard):
        return photo_labels(people_in_photos(shard), crop)
    return part_labels(load_shards([shard]), part, crop)


def _joined(labels: Sequence[dict[str, Array]]) -> PartTarget:
    """Labels of several shards; those without weights know everything."""
    shapes = {name: value.shape[1:] for told in labels for name, value in told.items()}
    full = [
        {
            name: told.get(name, np.ones((len(told["pose"]), *shape))).astype(np.float32)
            for name, shape in shapes.items()
        }
        for told in labels
    ]
    return PartTarget(**{name: _tensor([told[name] for told in full]) for name in shapes})


def _whole_picture(shard: Path, row: int) -> UInt8[Array, "h w 3"]:
    """The picture of a person of a shard; left hands mirrored."""
    if is_photos(shard):
        return people_in_photos(shard)[row].read_pixels()
    shards = load_shards([shard])
    picture = int(people_shown(shards)[1][row])
    return trunk_picture(shards.image(picture), None, mirrored=bool(is_left(shards)[picture]))


def _tensor(arrays: list[Array]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))


def part_labels(shards: Shards, part: str, crop: Crop) -> dict[str, Array]:
    """Labels of the people of :func:`people_shown` by the names of :class:`PartTarget`; left hands as in a mirror.

    The frame is that of the crop, whose camera looks at its middle: orientations are absolute there, points count from
    the part's root, the weak-perspective camera is the one that fits them best.

    Args:
        shards: pictures.
        part: what is learnt from them.
        crop: one of each person, in the picture, of left hands in the mirrored one.

    Raises:
        InputError: a picture shows another part.
    """
    people, pictures = people_shown(shards)
    count = len(people)
    pose, chosen = zero_pose(count).astype(float), list(SPECS[part].keypoints)
    points, spots = np.zeros((count, len(chosen), 3)), np.zeros((count, len(chosen), 2))
    visible = np.zeros((count, len(chosen)), bool)
    focuses, half = shards.focus[pictures], shards.image_size[pictures] / 2
    focal_px = shards.focal_px[pictures, None]
    for focus in np.unique(focuses).tolist():
        spec, rows = FOCUSES[focus], np.flatnonzero(focuses == focus)
        if spec.part != part:
            raise InputError(f"'{shards.files[0].path}' with a picture of a {focus}", f"pictures of a {part}")
        theirs, slots = people[rows], np.array(spec.slots)
        pose[rows, 0] = shards.rotations(spec.root, theirs)
        pose[np.ix_(rows, slots)] = shards.labels["pose"][theirs][:, slots]
        places = shards.labels["keypoints_m"][theirs].astype(float)
        pixels = shards.labels["keypoints_px"][theirs].astype(float)
        if part == "face":
            contour = shards.labels["contour_m"][theirs].astype(float)
            places[:, IBUG68[:CONTOUR]] = contour
            seen = contour[..., :2] / np.maximum(contour[..., 2:], 1e-3)
            pixels[:, IBUG68[:CONTOUR]] = focal_px[rows, None] * seen + half[rows, None]
        points[rows] = (places - places[:, spec.root, None])[:, spec.keypoints]
        spots[rows] = (pixels / half[rows, None] - 1)[:, spec.keypoints]
        visible[rows] = shards.labels["visibility"][theirs][:, spec.keypoints] != HIDDEN
    left = is_left(shards)[pictures]
    pose[left, 0], pose[left, 40:55] = mirror_rotation(pose[left, 0]), mirror_rotation(pose[left, 25:40])
    pose[left, 25:40] = np.eye(3)
    points[left, :, 0] *= -1
    spots[left, :, 0] *= -1
    turned = np.swapaxes(view_rotation(crop, focal_px, half), -1, -2)
    pose[:, 0], points = turned @ pose[:, 0], points @ np.swapaxes(turned, -1, -2)
    spots = crop.from_image((spots + 1) * half[:, None])
    expression = shards.labels["expression"][people]
    return {
        "pose": pose,
        "betas": shards.labels["betas"][people],
        "expression": expression if SPECS[part].num_expression else np.zeros_like(expression),
        "points": points,
        "projected": spots,
        "visible": visible,
        "camera": fit_weak(points, spots),
    }
