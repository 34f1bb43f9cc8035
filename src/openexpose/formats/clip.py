"""``STEM.json`` of a clip: who is in which frames, and in which file."""

from dataclasses import dataclass
from pathlib import Path

from openexpose import __version__
from openexpose.formats.atomic import write_whole
from openexpose.formats.native import CONVENTIONS, indented
from openexpose.motion import Clip, Track
from openexpose.people import People


@dataclass(frozen=True)
class TrackFile:
    """What is told of a track."""

    id: int
    """Number of the person, from 1."""
    file: str | None
    """Name of the track's file beside this one; None: it was not written."""
    frames: int
    """In how many frames the person is."""
    first_frame: int
    last_frame: int
    first_s: float
    last_s: float
    """When these are shown, seconds."""
    score: float
    """Mean of the detector's confidence in the person."""

    @classmethod
    def of(cls, track: Track, clip: Clip, file: str | None) -> "TrackFile":
        """What is to be told of a track in the file ``file``."""
        first, last = int(track.frames[0]), int(track.frames[-1])
        times = float(clip.times_s[first]), float(clip.times_s[last])
        seen = track.people.score[track.people.score > 0]  # frames that were filled in have 0
        score = float(seen.mean()) if len(seen) else 0.0
        return cls(track.id, file, len(track.frames), first, last, *times, score)


def write_clip(
    path: Path, clip: Clip, camera: People, tracks: list[TrackFile], focal_source: str, warning: str = ""
) -> None:
    """Write what is in a clip as JSON.

    Args:
        path: the file to make.
        clip: the clip.
        camera: anybody's, or nobody's, record in the clip: gives camera, picture size and body model.
        tracks: the people, by number.
        focal_source: where the focal length comes from: ``given`` or ``default``.
        warning: what was wrong with the clip; empty: nothing.

    Raises:
        InputError: the file cannot be written.
    """
    document = {
        "openexpose": __version__,
        "clip": {
            "name": clip.name,
            "frames": len(clip.times_s),
            "fps": round(clip.fps, 6),
            "duration_s": round(float(clip.times_s[-1]) + 1.0 / clip.fps, 6),
            "width": camera.image_size[0],
            "height": camera.image_size[1],
            "warning": warning or None,
        },
        "body_model": camera.body_model,
        "focal_length_from": focal_source,
        "focal_px": round(float(camera.focal_px), 3),
        "principal_px": [round(float(v), 3) for v in camera.principal_px],
        "conventions": CONVENTIONS,
        "tracks": [
            {
                "id": track.id,
                "file": track.file,
                "frames": track.frames,
                "first_frame": track.first_frame,
                "last_frame": track.last_frame,
                "first_s": round(track.first_s, 6),
                "last_s": round(track.last_s, 6),
                "mean_score": round(track.score, 4),
            }
            for track in tracks
        ],
    }
    write_whole(path, indented(document))
