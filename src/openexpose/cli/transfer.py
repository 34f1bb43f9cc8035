"""``openexpose transfer``: parameters of one body model from those of another."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need
from openexpose.cli.printing import say


@dataclass(frozen=True)
class Transfer:
    """Turn parameters or meshes of one body model into parameters of another (needs the extra 'evaluate').

    SMPL, SMPL-H, SMPL-X and the free body among each other; a hand (MANO) or face (FLAME) into the hand or face of an
    SMPL-X body, whose rest stays at rest, or out of it. Prints how well the target fits (mm), and the error of the way
    there and back.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    """Parameters: openexpose's or AMASS's npz (poses, betas, trans), SPIN's fits (pose, betas), ExPose's _params.npz,
    MANO or FLAME (pose, betas), as .npz or .pkl. Or meshes: an npz with vertices [n, v, 3], or a folder of .obj or .ply
    in the order of their names. Fingers count from the flat hand."""
    to: Annotated[str, tyro.conf.arg(metavar="MODEL")]
    """Model file (.npz or .pkl) of what is wanted, or freebody."""
    out: Path
    """File (.npz) to write."""
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="MODEL", help_behavior_hint="")] = None
    """Model file of what is given, or freebody. Default: what the file names, if that is freebody or --to."""
    correspondence: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Which points of one model's mesh are the vertices of the other's, in either direction: a pickle of deformation
    transfer (smpl2smplx_deftrafo_setup.pkl), an npz with indices and weights, or vertex numbers of a hand or face
    (MANO_SMPLX_vertex_ids.pkl). Default: closest points, after one model was laid on the other at rest."""
    betas: int = 10
    """Shape coefficients of both models."""
    shape: Literal["auto", "one", "each"] = "auto"
    """One shape for all frames, or one for each. auto: one if the file gives one."""
    layout: Literal["auto", "native", "poses", "pose"] = "auto"
    """How to write: openexpose's own npz (SMPL-X's format only), AMASS's (poses, betas, trans) or SPIN's (pose, betas),
    which keep the other arrays of the input. auto: SPIN's stay SPIN's; else native, or poses where that cannot be."""
    round_trip: bool = True
    """Measure the way there and back, on up to 16 frames."""

    def run(self) -> int:
        """Transfer; returns the exit code."""
        need("evaluate", "scipy")
        from tqdm import tqdm

        from openexpose.errors import InputError
        from openexpose.fitting.models import load_model
        from openexpose.fitting.transfer import find_correspondence, round_trip, transfer
        from openexpose.fitting.transfer_files import read_content, read_motion, told_model, write_motion
        from openexpose.formats.atomic import check_writable

        if self.betas < 1:
            raise InputError(f"--betas {self.betas}", "at least 1")
        content = read_content(self.source)
        name = self.from_ or self._told(told_model(content))
        source, target = load_model(name, num_betas=self.betas), load_model(self.to, num_betas=self.betas)
        motion = read_motion(self.source, content, source)
        layout = self.layout
        if layout == "auto":
            layout = "pose" if "imgname" in motion.others else "native" if target.is_smplx else "poses"
        if layout == "native" and not target.is_smplx:
            raise InputError(f"--layout native for '{target.name}'", "SMPL-X's 55 joints, or another layout")
        check_writable(self.out.parent)
        say(f"{len(motion)} frames of {source.name} ({source.num_vertices} vertices) to {target.name}")
        way = find_correspondence(source, target, self.correspondence)
        say(f"{len(way.rows)} of {target.num_vertices} vertices have a counterpart")
        given = motion.vertices if motion.parameters is None else motion.parameters
        if given is None:
            raise InputError(f"'{self.source}' without parameters and meshes", "one of them")
        one = self.shape == "one" or (self.shape == "auto" and motion.one_shape)
        with tqdm(total=len(motion), unit="frame", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
            done = transfer(source, target, given, way, one_shape=one, progress=lambda n: bar.update(n - bar.n))
        write_motion(self.out, target, done.parameters, motion, layout)
        pace = done.seconds / len(motion)
        say(f"fit: {done.fit.mean_mm:.3f} mm mean, {done.fit.max_mm:.2f} mm max; {pace:.3f} s a frame")
        if self.round_trip:
            error = round_trip(source, target, given, done.parameters, way)
            say(f"there and back: {error.mean_mm:.3f} mm mean, {error.max_mm:.2f} mm max")
        say(f"{self.out}")
        return 0

    def _told(self, name: str) -> str:
        """The source model without --from."""
        from openexpose.errors import InputError

        if name == "freebody" or (name and name == Path(self.to).stem):
            return name if name == "freebody" else self.to
        told = f"parameters of '{name}'" if name else "a file that does not name its model"
        raise InputError(f"'{self.source}', {told}, without --from", "the model file", "Give --from MODEL.")
