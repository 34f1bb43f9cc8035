"""Native files of a clip: one npz a person, with the keys of a photo's npz; their first axis counts frames."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openexpose.errors import InputError
from openexpose.formats.native import people_arrays, people_from, read_arrays, write_arrays
from openexpose.motion import Clip, Motion, Track, still

Array = np.ndarray

TRACK_KEYS = ("frame", "time_s", "track_id", "clip_name", "clip_times_s", "fps")
"""What a track's file holds besides the arrays of a photo's."""
_WHAT = "an .npz file of `openexpose predict` or `openexpose fit`"


def write_track(path: Path, clip: Clip, track: Track, *, focal_source: str) -> None:
    """Write one person of a clip: the arrays of :func:`openexpose.formats.native.write_npz`, first axis frames, and

    ``frame`` [n] number of the clip's frame, from 0; ``time_s`` [n] when it is shown; ``track_id`` []; and of the clip
    ``clip_name`` [], ``clip_times_s`` [frames] times of all its frames, ``fps`` [].

    Args:
        path: the file to make, ``STEM_<id>.npz`` by custom.
        clip: the clip.
        track: the person.
        focal_source: where the focal length comes from: ``given``, ``exif`` or ``default``.

    Raises:
        InputError: an unknown part, frames beyond the clip, or the file cannot be written.
    """
    Motion(clip, (track,))  # refuses frames beyond the clip
    arrays = people_arrays(track.people, image_name=clip.name, focal_source=focal_source)
    arrays |= {
        "frame": np.asarray(track.frames, np.int64),
        "time_s": np.asarray(clip.times_s, np.float64)[track.frames],
        "track_id": np.array(track.id, np.int64),
        "clip_name": np.array(clip.name),
        "clip_times_s": np.asarray(clip.times_s, np.float64),
        "fps": np.array(clip.fps, np.float64),
    }
    write_arrays(path, arrays)


@dataclass(frozen=True)
class Recording:
    """Files that belong together: the tracks of one clip, or one photo.

    Attributes:
        stem: what exported files are named after: ``walk`` for ``walk_1.npz``, ``walk_2.npz``.
        paths: the files, by track.
    """

    stem: str
    paths: tuple[Path, ...]


def find_recordings(paths: Sequence[Path]) -> list[Recording]:
    """Group files, and the files of folders, by clip and photo; ordered by stem.

    Only what tells files apart is read of them here.

    Raises:
        InputError: no files, or one that openexpose did not write (of a folder such files are passed over).
    """
    groups: dict[tuple[str, ...], list[tuple[int, Path]]] = {}
    for path in _files(paths):
        stem, number, clip = _belongs(path)
        groups.setdefault((stem, str(path.parent), clip), []).append((number, path))
    return [Recording(key[0], tuple(path for _, path in sorted(groups[key]))) for key in sorted(groups)]


def read_motion(paths: Sequence[Path]) -> Motion:
    """Read the people of one clip (track files) or of one photo (its npz), or a folder that holds just these.

    Raises:
        InputError: no files, files that openexpose did not write, of several clips, or twice the same track.
    """
    found = find_recordings(paths)
    if len(found) > 1:
        names = ", ".join(f"'{recording.stem}'" for recording in found[:3]) + (" …" if len(found) > 3 else "")
        raise InputError(f"files of {len(found)} clips or photos ({names})", "files of one", "Read them one by one.")
    tracks: list[Track] = []
    clip = None
    for path in found[0].paths:
        arrays = read_arrays(path)
        people = people_from(arrays, path)
        if "track_id" not in arrays:
            return still(people, str(arrays["image_name"]) if "image_name" in arrays else path.name)
        missing = [name for name in TRACK_KEYS if name not in arrays]
        if missing:
            raise InputError(f"'{path}', a track without {', '.join(missing)}", _WHAT)
        told = Clip(str(arrays["clip_name"]), arrays["clip_times_s"], float(arrays["fps"]))
        if clip is not None and not (np.array_equal(told.times_s, clip.times_s) and told.fps == clip.fps):
            raise InputError(f"'{path}', whose frames are not those of '{found[0].paths[0]}'", "tracks of one clip")
        clip = clip or told
        tracks.append(Track(int(arrays["track_id"]), arrays["frame"], people))
    if clip is None:
        raise InputError("no files", _WHAT)
    return Motion(clip, tuple(tracks))


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files, and those of folders that are openexpose's; each once."""
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = [path]
        if path.is_dir():
            inside = [file for file in sorted(path.glob("*.npz")) if _is_ours(file)]
            if not inside:
                raise InputError(f"'{path}', a folder without results", f"a folder with {_WHAT}")
        for file in inside:
            files.setdefault(file.resolve(), file)
    if not files:
        raise InputError("no files", _WHAT)
    return list(files.values())


def _names(path: Path) -> dict[str, Array]:
    """What tells files apart: version, and of tracks the clip's name and the track's number."""
    if not path.is_file():
        raise InputError(f"'{path}', which is not there", _WHAT)
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in ("openexpose_version", "clip_name", "track_id") if name in npz.files}
    except Exception as error:  # damaged archives raise nearly everything
        raise InputError(f"'{path}', which does not read as npz ({error})", _WHAT) from None


def _is_ours(path: Path) -> bool:
    return "openexpose_version" in _names(path)


def _belongs(path: Path) -> tuple[str, int, str]:
    """Stem of the exported files, number of the track (0: a photo), and name of the clip."""
    names = _names(path)
    if "openexpose_version" not in names:
        raise InputError(f"'{path}', an npz of another program", _WHAT)
    if "track_id" not in names:
        return path.stem, 0, ""
    number = int(names["track_id"])
    return re.sub(rf"_{number}$", "", path.stem), number, str(names.get("clip_name", ""))
