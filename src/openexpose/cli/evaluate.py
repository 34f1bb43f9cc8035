"""``openexpose evaluate``: how good are predictions, ours or anybody's, by the field's own protocols?"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from openexpose.cli.choice import chosen_bundle
from openexpose.cli.extras import need
from openexpose.cli.printing import say
from openexpose.errors import InputError

if TYPE_CHECKING:
    from openexpose.evaluation.record import Protocol
    from openexpose.evaluation.run import System
    from openexpose.evaluation.tables import Tables
    from openexpose.predict.pipeline import Predictor

ProtocolName = Literal["photos", "renders", "ehf", "3dpw", "freihand", "stirling", "agora", "coco-wholebody", "faces"]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class Evaluate:
    """Measure predictions as the field does: openexpose's own, or files of any system (needs the extra 'evaluate').

    Prints the numbers that matter with 95 % intervals, what could not be measured, seconds, published numbers, and how
    it was measured; --out keeps everything. Whole people are predicted twice, with and without attention, so that what
    attention gains is a paired difference. `openexpose compare` compares two runs. docs/evaluation.md tells which files
    each protocol reads. Exit code 1: something could not be measured; 2: nothing could.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder of the data set."""
    protocol: ProtocolName = "photos"
    """photos: annotated photos, 2D, in the format of docs/evaluation.md.
    renders: a made test set (`openexpose synth --preset test`, `test-v2`) or held-out `people` shards, 3D.
    faces: HELEN, 300-W. The others are data sets that you have."""
    pred: Folder = None
    """Measure the files in this folder instead of predicting. They are named like the pictures.
    JSON or npz of openexpose, *_params.npz of ExPose, results of SMPLify-X, PLY or OBJ meshes, named joints."""
    unit: Literal["m", "mm"] = "m"
    """Unit of the meshes and joints in --pred."""
    out: Folder = None
    """Write report.json, report.md, index.html with plots and pictures, and worst.jpg into this folder."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Part of the data set, such as val, test or all. Default: the one that the field measures on."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Measure the first N subjects only; the report says so."""
    attention: bool = True
    """--no-attention: the body network alone."""
    refine: bool = True
    """--no-refine: the networks' answers as they are, not laid on the landmarks that their trunks saw."""
    tables: Folder = None
    """Folder with the field's joints and vertex sets of SMPL-X, which you own.
    SMPLX_to_J14.pkl, MANO_SMPLX_vertex_ids.pkl, SMPL-X__FLAME_vertex_ids.npy."""
    body_model: File = None
    """Your SMPLX_NEUTRAL.npz: it poses SMPL-X parameters in --pred and gives the joints of SMPL-X meshes."""
    correspondence: File = None
    """How vertices of one body model come from another's: compares SMPL with SMPL-X meshes, and others."""
    bundle: Folder = None
    """Folder with networks and body model, as `openexpose bundle` makes it. Default: the one in the package."""
    fast: bool = False
    """Use the packaged bundle with a smaller body network, as `openexpose predict --fast`."""
    device: Literal["cpu", "cuda", "coreml", "directml"] = "cpu"
    """Where the networks run; all but cpu need another build of onnxruntime."""
    threads: int = 2
    """Processor threads of one network."""

    def run(self) -> int:
        """Evaluate; returns the exit code: 1 when something could not be measured."""
        need("evaluate", "scipy", "trimesh", *(("matplotlib",) if self.out else ()))
        from openexpose.evaluation.report.write import format_markdown, write_report
        from openexpose.evaluation.run import choose_cases, evaluate
        from openexpose.evaluation.tables import Tables
        from openexpose.formats.atomic import check_writable

        self._check()
        if self.out is not None:
            check_writable(self.out)
        tables = Tables.read(self.tables, body_model=self.body_model, correspondence=self.correspondence)
        protocol, systems = self._detected(tables) if self._detects() else self._given(tables)
        recording = None
        if self.protocol == "freihand" and self.out is not None:
            from openexpose.evaluation.protocols.freihand import Recording

            recording = systems[0] = Recording(systems[0], tables)
        report = evaluate(protocol, systems, self.data, self.limit)
        say(format_markdown(report, details=False))
        if self.out is not None:
            write_report(report, choose_cases(report, protocol, systems[0]), self.out)
        say(f"All metrics and groups, plots and pictures: {self.out / 'index.html' if self.out else '--out FOLDER'}")
        if recording is not None and self.out is not None:
            say(recording.submit(protocol, self.out))
        return 1 if report.skipped or any(result.skipped for result in report.results) else 0

    def _check(self) -> None:
        """Refuse what would have no effect."""
        if self.pred is None and self.unit != "m":
            raise InputError(f"--unit {self.unit} without --pred", "--unit with files to measure")
        chosen_bundle(self.bundle, self.fast)
        if self.pred is not None and not (self.attention and self.refine and self.bundle is None and not self.fast):
            raise InputError(
                "--pred with --no-attention, --no-refine, --bundle or --fast", "either files or our own predictions"
            )

    def _given(self, tables: "Tables") -> "tuple[Protocol, list[System]]":
        """The protocol, and systems that are told where people are."""
        name = "threedpw" if self.protocol == "3dpw" else self.protocol.replace("-", "_")
        module = import_module(f"openexpose.evaluation.protocols.{name}")
        protocol: Protocol = module.protocol(self.data, tables=tables, split=self.split)
        if self.pred is not None:
            from openexpose.evaluation.files.folder import FolderSystem

            return protocol, [FolderSystem(self.pred, unit=self.unit, tables=tables)]
        from openexpose.evaluation.run import OwnSystem

        if not (protocol.whole or self.attention):
            raise InputError(f"--no-attention with the protocol {self.protocol}", "--no-attention for whole people")
        predictor = self._predictor()
        body_only = OwnSystem(predictor, attention=False, refinement=self.refine)
        if not self.attention:
            return protocol, [body_only]
        main = OwnSystem(predictor, refinement=self.refine)
        return protocol, [main, body_only] if protocol.whole else [main]

    def _detects(self) -> bool:
        """Whether people have to be found: AGORA's own protocol, unless files are called like its pictures only."""
        if self.protocol != "agora":
            return False
        return self.pred is None or any(self.pred.rglob("*_personId_*"))

    def _detected(self, tables: "Tables") -> "tuple[Protocol, list[System]]":
        """AGORA, where a system finds the people itself."""
        from openexpose.evaluation.protocols.agora import detected
        from openexpose.evaluation.protocols.agora_answers import answers_in, answers_of

        if not (self.attention and self.refine):
            raise InputError("--no-attention or --no-refine with agora", "openexpose as it is")
        if self.pred is not None:
            find, name = answers_in(self.pred, self.unit), self.pred.resolve().name
        else:
            find, name = answers_of(self._predictor()), "openexpose"
        protocol, system = detected(self.data, find, name, tables=tables, split=self.split)
        return protocol, [system]

    def _predictor(self) -> "Predictor":
        from openexpose.predict.pipeline import Predictor

        return Predictor.load(chosen_bundle(self.bundle, self.fast), threads=self.threads, device=self.device)
