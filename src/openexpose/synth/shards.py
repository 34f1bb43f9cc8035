"""Reading shards: labels of all pictures at once, pictures one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.body.keypoints import PARENTS
from openexpose.errors import InputError
from openexpose.synth.photo import SUBJECT_LABELS, Photo
from openexpose.synth.shard_files import (
    PHOTO_LABELS,
    ShardFile,
    decoded_picture,
    decoded_plane,
    open_shard,
    subjects,
)

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Shards:
    """Pictures of one kind, in one or more shards. Labels are in memory, pictures are read when they are asked for.

    Attributes:
        labels: of people, [m, ...] each, named as in :class:`openexpose.synth.photo.Subject`.
        starts: [n + 1] the people of picture k are the rows ``starts[k]`` to ``starts[k + 1]`` of ``labels``.
        focal_px: [n]. image_size: [n, 2] width, height, pixels. focus, place: [n] as in
            :class:`openexpose.synth.photo.Photo`.
    """

    files: tuple[ShardFile, ...]
    labels: Mapping[str, Array]
    starts: Int[Array, "n1"]
    focal_px: Float[Array, "n"]
    image_size: Int[Array, "n 2"]
    focus: Array
    place: Array

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def kind(self) -> str:
        """``body``, ``hands``, ``faces`` or ``people``."""
        return self.files[0].origin.kind

    @property
    def body(self) -> str:
        """Digest of the body model, see :func:`openexpose.synth.digest.body_digest`."""
        return self.files[0].origin.body

    @property
    def numbers(self) -> Int[Array, "n"]:
        """Which picture of its kind and seed each one is."""
        return np.concatenate([file.origin.first + np.arange(len(file)) for file in self.files])

    def name(self, index: int) -> str:
        """The key of a picture: kind, seed and number."""
        file, row = self._place(index)
        return file.origin.key(row)

    def file(self, index: int) -> bytes:
        """The JPEG file of a picture.

        Raises:
            InputError: it is damaged; as all that reads pictures does.
        """
        file, row = self._place(index)
        return file.read(row, "jpg")

    def image(self, index: int) -> UInt8[Array, "h w 3"]:
        """A picture, RGB."""
        return decoded_picture(self.file(index))

    def mask(self, index: int) -> UInt8[Array, "h w"]:
        """16 * person + part, see :class:`openexpose.synth.thing.Drawing`."""
        file, row = self._place(index)
        return decoded_plane(file.read(row, "mask.png"))

    def depth_m(self, index: int) -> Float[Array, "hh hw"]:
        """Depth at half the picture's resolution, metres, infinite on the background."""
        file, row = self._place(index)
        depth = decoded_plane(file.read(row, "depth.png")) / np.float32(1000)
        return np.where(depth > 0, depth, np.float32(np.inf))

    def photo(self, index: int) -> Photo:
        """All that is known of a picture; each stored depth stands for four pixels."""
        width, height = self.image_size[index].tolist()
        return Photo(
            image=self.image(index),
            mask=self.mask(index),
            depth_m=self.depth_m(index).repeat(2, 0).repeat(2, 1)[:height, :width],
            focal_px=float(self.focal_px[index]),
            focus=str(self.focus[index]),  # type: ignore[arg-type]
            people=subjects(self.labels, range(self.starts[index], self.starts[index + 1])),
            place=str(self.place[index]),
        )

    def rotations(self, joint: int, rows: Int[Array, "r"]) -> Float[Array, "r 3 3"]:
        """How a joint of some people (rows of ``labels``) is turned in the camera's frame."""
        pose = self.labels["pose"]
        turned, parent = pose[rows, joint].astype(float), PARENTS[joint]
        while parent >= 0:
            turned, parent = pose[rows, parent] @ turned, PARENTS[parent]
        return turned

    def _place(self, index: int) -> tuple[ShardFile, int]:
        """The shard of a picture and its row there."""
        for file in self.files:
            if 0 <= index < len(file):
                return file, index
            index -= len(file)
        raise IndexError("no such picture")


def load_shards(paths: Sequence[Path]) -> Shards:
    """Read the labels of shards of one kind, in the given order; no pictures.

    Raises:
        InputError: no paths, an unreadable file, or shards of different kinds or made with different body models.
    """
    if not paths:
        raise InputError("no shards", "at least one .tar file written by 'openexpose synth'")
    files = tuple(open_shard(Path(path)) for path in paths)
    marks = {(file.origin.kind, file.origin.body) for file in files}
    if len(marks) > 1:
        raise InputError(f"shards of {len(marks)} sorts: {sorted(marks)}", "one kind of picture and one body model")
    told = [file.stacked() for file in files]
    some = [one for one in told if len(one["pose"])] or told[:1]
    labels = {name: np.concatenate([one[name] for one in some]) for name in SUBJECT_LABELS}
    starts = np.cumsum([0, *np.concatenate([one["people"] for one in told])])
    whole = {name: np.concatenate([one[name] for one in told]) for name in PHOTO_LABELS}
    return Shards(files, labels, starts, **whole)
