"""What lies in a folder of results: photos and clips with their files."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openexpose.errors import InputError

KINDS = {
    **{
        ".html": "text/html",
        ".json": "application/json",
        ".csv": "text/csv",
        ".jpg": "image/jpeg",
        ".png": "image/png",
    },
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".glb": "model/gltf-binary"},
    **dict.fromkeys((".npz", ".bvh", ".usdc", ".obj", ".ply"), "application/octet-stream"),
}
"""Suffix to media type of the files that are given out."""
_KINDS_OF_FILES = "_overlay|_fit|_joints|_keypoints|_mediapipe"
_OVERLAYS = ("_overlay.jpg", "_overlay.mp4")


@dataclass(frozen=True)
class Result:
    """A photo or clip with the files that are about it.

    Attributes:
        key: name of its first file, which tells it from the others.
        stem: what its files are named after.
        source: file name of the photo or video.
        people, frames: how many.
        npz: its native files: of a photo one, of a clip one a person; none where only other files are there.
        files: all its files.
    """

    key: str
    stem: str
    source: str
    people: int
    frames: int
    npz: tuple[Path, ...]
    files: tuple[Path, ...]

    @property
    def overlay(self) -> Path | None:
        """The picture or video with the meshes drawn in, or None."""
        names = {f"{self.stem}{ending}" for ending in _OVERLAYS}
        return next((file for file in self.files if file.name in names), None)


@dataclass(frozen=True)
class _Told:
    """What an npz says of itself; ``track`` is 0 for a photo's."""

    source: str
    track: int
    people: int
    frames: int


class Folder:
    """A folder of results. It is read anew whenever it is asked, so new results show; files are remembered.

    Only files that lie in it count: links that lead out of it are passed over.

    Args:
        path: the folder.

    Raises:
        InputError: it is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InputError(f"'{path}', which is no folder", "a folder with results, as `openexpose predict` makes it")
        self.path = path.resolve()
        self._known: dict[tuple[str, int, int], _Told | None] = {}

    def files(self) -> dict[str, Path]:
        """The files that may be given out, by name."""
        found = {}
        for path in sorted(self.path.iterdir()):
            inside = path.resolve().parent == self.path if path.is_symlink() else True
            if inside and path.suffix.lower() in KINDS and not path.name.startswith(".") and path.is_file():
                found[path.name] = path
        return found

    def results(self) -> list[Result]:
        """Photos and clips, by name; then pages that are about neither."""
        files = self.files()
        groups: dict[tuple[str, str], list[tuple[int, Path, _Told]]] = {}
        for path in files.values():
            told = self._tell(path) if path.suffix == ".npz" else None
            if told is not None:
                stem = re.sub(rf"_{told.track}$", "", path.stem) if told.track else path.stem
                groups.setdefault((stem, told.source if told.track else ""), []).append((told.track, path, told))
        results: list[Result] = []
        taken: set[Path] = set()
        for (stem, _), rows in sorted(groups.items()):
            rows.sort(key=lambda row: row[0])
            npz = tuple(path for _, path, _ in rows)
            own = (*npz, *(file for file in files.values() if _is_about(file.name, stem) and file not in npz))
            taken.update(own)
            people = sum(told.people for _, _, told in rows)
            told = rows[0][2]
            results.append(Result(npz[0].name, stem, told.source, people, told.frames, npz, own))
        for path in files.values():
            if path.suffix == ".html" and path not in taken:
                results.append(Result(path.name, path.stem, path.name, 0, 0, (), (path,)))
        return results

    def _tell(self, path: Path) -> _Told | None:
        """What an npz says of itself; None: it is not one of ours, or damaged."""
        status = path.stat()
        key = (path.name, status.st_mtime_ns, status.st_size)
        if key not in self._known:
            self._known[key] = _read(path)
        return self._known[key]


def _is_about(name: str, stem: str) -> bool:
    """Whether a file is named after a stem: ``STEM.json``, ``STEM_overlay.jpg``, ``STEM_2_mixamo.bvh``."""
    rest = name.removeprefix(stem)
    return rest != name and re.fullmatch(rf"({_KINDS_OF_FILES}|(_\d+)?(_mixamo|_amass)?)\.\w+", rest) is not None


def _read(path: Path) -> _Told | None:
    try:
        with np.load(path, allow_pickle=False) as npz:
            if "openexpose_version" not in npz.files or "global_orient_rotmat" not in npz.files:
                return None
            if "track_id" in npz.files:
                return _Told(str(npz["clip_name"]), int(npz["track_id"]), 1, len(npz["clip_times_s"]))
            return _Told(str(npz["image_name"]), 0, len(npz["score"]), 1)
    except Exception:  # damaged archives raise nearly everything
        return None
