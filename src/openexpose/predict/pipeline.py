"""Prediction: body network, body-driven attention, hand and face networks, merge (paper, section 3).

boxes ──► body crop ──► body network ──► joints in the picture ──► boxes of hands and face      (attention)
                             │                                             │
                             │ conditions                   crops from the ORIGINAL picture
                             ▼                                             ▼
                           merge ◄── wrist, fingers; head, jaw, expression ── hand and face networks
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from threadpoolctl import ThreadpoolController

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop, crop_from_boxes
from openexpose.geometry.camera import default_focal_px, project_perspective, project_weak
from openexpose.people import People
from openexpose.predict.bundle import BundleConfig, PartRunner, Stopwatch, default_bundle, open_parts
from openexpose.predict.collect import FINE_PARTS, Answer, collect, nobody
from openexpose.predict.detector import Detector
from openexpose.predict.follow import Aims, follow_parts, follow_people, remembered, unknown
from openexpose.predict.landmarks import ANCHORS, attention_crop, lay_over, named_points, skeleton_points
from openexpose.predict.looks import Looker, Sight, look_at_parts, look_at_people
from openexpose.predict.merge import FullCamera, Located, condition, locate_part, merge_part, turn_part
from openexpose.predict.parts import PartParameters, decode, encode
from openexpose.predict.refine import refine
from openexpose.predict.refine_part import refine_part
from openexpose.predict.targets import pose_targets, with_part

Array = np.ndarray

_blas = ThreadpoolController()
PART_CHOICES = ("whole", "face", "left-hand", "right-hand")


@dataclass(frozen=True)
class How:
    """How people are predicted."""

    attention: bool = True
    refinement: bool = True
    aims: Aims | None = None
    """Where the last frame of a clip tells to look at them; None: this is a photo."""


class Predictor:
    """Finds the people of a picture and regresses their bodies, hands and faces.

    Use :meth:`load`. Not thread-safe: ``timings``, :meth:`trunk_points` and :meth:`seen_keypoints` belong to
    the last call.
    """

    def __init__(self, folder: Path, config: BundleConfig, threads: int, device: str) -> None:
        self.folder, self.config, self.threads, self.device = folder, config, threads, device
        self.parts: dict[str, PartRunner] = open_parts(folder, config, threads, device)
        self.timings: dict[str, float] = {}
        """Seconds spent in each stage of the last call."""
        self._looked: dict[str, Sight] = {}
        """The crops of the last call by part, and what the trunks saw in them."""
        self._trust: dict[str, Array] = {}
        """Certainty 0..1 [people] that they show the part; 0 of hands and faces that are not believed."""
        self._regions: dict[str, Crop] = {}
        """Where the body had hands and face."""

    @classmethod
    def load(cls, bundle: Path | None = None, *, threads: int = 2, device: str = "cpu") -> "Predictor":
        """Open a bundle.

        Args:
            bundle: its folder; None: the packaged one; :func:`openexpose.predict.bundle.fast_bundle`: the fast one.
            threads: threads that one network uses.
            device: ``cpu``, or what the installed onnxruntime build offers.

        Raises:
            InputError: no bundle there, or a device that is not available.
        """
        folder = default_bundle() if bundle is None else Path(bundle)
        return cls(folder, BundleConfig.read(folder), threads, device)

    @cached_property
    def body_model(self) -> BodyModel:
        """The body model that the parameters belong to."""
        return self._load_body_model("body")

    @cached_property
    def face_model(self) -> BodyModel:
        """The same with as many coefficients as a lone face's answer has."""
        same = self.config.specs["face"].model_size == self.config.specs["body"].model_size
        return self.body_model if same else self._load_body_model("face")

    @property
    def refines(self) -> bool:
        """Whether results can be refined: the trunks tell landmarks. The paper's do not."""
        return all(part.has_landmarks for part in self.parts.values())

    def _load_body_model(self, part: str) -> BodyModel:
        path = None if self.config.body_model == "freebody" else self.config.file(self.folder, self.config.body_model)
        num_betas, num_expression = self.config.specs[part].model_size
        return load_body_model(path, num_betas=num_betas, num_expression=num_expression)

    def _model_of(self, people: People) -> BodyModel:
        return self.face_model if people.part == "face" else self.body_model

    @cached_property
    def detector(self) -> Detector:
        """The person detector of the bundle."""
        if self.config.detector is None:
            raise InputError("a bundle without a person detector", "boxes", "Give them with --boxes.")
        return Detector(self.config.file(self.folder, self.config.detector), threads=self.threads, device=self.device)

    def __call__(
        self,
        pixels: UInt8[Array, "h w 3"],
        *,
        boxes: Float[Array, "people 4"] | None = None,
        focal_px: float | None = None,
        principal_px: Float[Array, "2"] | None = None,
        attention: bool = True,
        refinement: bool = True,
        part: str = "whole",
    ) -> People:
        """Predict the people of one picture.

        Args:
            pixels: RGB picture, upright.
            boxes: one box (x1, y1, x2, y2) in pixels a person, or a part if ``part`` says so; people come out in this
                order. None: the detector finds people; a lone part is looked for in the whole picture.
            focal_px: focal length in pixels; None: :func:`default_focal_px`.
            principal_px: principal point in pixels; None: the middle of the picture.
            attention: False: the body network alone (first row of the paper's ablation).
            refinement: False: the networks' answers as they are, without Gauss-Newton steps on the landmarks.
            part: ``whole``, or ``face``, ``left-hand``, ``right-hand``: that network alone (paper, Table 4).

        Returns:
            The people, in the full camera of the picture.
        """
        if part not in PART_CHOICES:
            raise InputError(f"the part '{part}'", f"one of {PART_CHOICES}")
        with _blas.limit(limits=1, user_api="blas"):  # many small products: threads would only wait for each other
            camera = self._camera(pixels, focal_px, principal_px)
            return self._predict(pixels, boxes, camera, How(attention, refinement), part)

    def follow(
        self,
        pixels: UInt8[Array, "h w 3"],
        boxes: Float[Array, "people 4"],
        aims: Aims,
        *,
        focal_px: float | None = None,
        attention: bool = True,
        refinement: bool = True,
    ) -> tuple[People, Aims]:
        """Predict the people of a clip's next frame: in one look at each part, where the last frame says.

        Args:
            pixels: RGB frame, upright.
            boxes: one box (x1, y1, x2, y2) in pixels a person.
            aims: what the frame before told of the same people; :func:`~openexpose.predict.follow.unknown` of new ones.
            focal_px, attention, refinement: as in a photo.

        Returns:
            The people, and where to look at them in the next frame.
        """
        with _blas.limit(limits=1, user_api="blas"):
            how = How(attention, refinement, aims)
            people = self._predict(pixels, boxes, self._camera(pixels, focal_px, None), how, "whole")
        if not len(people) or not self.refines:
            return people, unknown(len(people))
        return people, remembered(self._looked, self._regions, aims)

    def _camera(self, pixels: Array, focal_px: float | None, principal_px: Array | None) -> FullCamera:
        height, width = pixels.shape[:2]
        principal = np.array([width / 2.0, height / 2.0]) if principal_px is None else principal_px
        return FullCamera(focal_px or default_focal_px(width, height), principal, self.config.weak_camera)

    def _predict(self, pixels: Array, boxes: Array | None, camera: FullCamera, how: How, part: str) -> People:
        watch = Stopwatch()
        self._looked, self._trust, self._regions = {}, {}, {}
        if part == "whole":
            scores = None
            if boxes is None:
                with watch.stage("detector"):
                    found = self.detector(pixels)
                    boxes, scores = found.boxes_xyxy_px, found.score
            boxes = np.asarray(boxes, float).reshape(-1, 4)
            people = self._whole(pixels, boxes, camera, how, watch)
            if scores is not None:
                people = replace(people, score=scores)
        else:
            people = self._lone_part(pixels, boxes, camera, part, how.refinement, watch)
        self.timings = watch.seconds
        return replace(people, body_model="freebody" if self.config.body_model == "freebody" else "smplx")

    def keypoints(self, people: People) -> Float[Array, "people 144 3"]:
        """The 144 named joints in the camera frame, metres."""
        points = keypoints(self._model_of(people), people.pose, people.betas, people.expression)
        return points + people.transl[:, None]

    def mesh(self, people: People) -> Float[Array, "people v 3"]:
        """Mesh vertices in the camera frame, metres."""
        posed = posed_mesh(self._model_of(people), people.pose, people.betas, people.expression)
        return posed.vertices + people.transl[:, None].astype(np.float32)

    def trunk_points(self, person: int) -> dict[str, Float[Array, "n 3"]]:
        """What the trunk networks themselves saw in the last call, before any body model.

        Rows x, y (pixels of the picture) and visibility 0..1 of ``body`` (COCO-17), ``face`` (iBUG-68; of the contour
        only points near by), ``left_hand`` and ``right_hand`` (21): only of the parts that were looked at. Empty where
        nobody was looked at, or the trunks tell no landmarks (the paper's).

        Raises:
            InputError: no such person.
        """
        points = {}
        for part, sight in self._looked.items():
            if not 0 <= person < (count := len(sight.crop.side_px)):
                raise InputError(f"person {person}", f"one of the {count} of the last call, from 0")
            if sight.seen.landmarks.shape[1]:
                visibility = sight.seen.visibility[person]
                points[part] = skeleton_points(_network(part), sight.landmarks_px[person], visibility)
        return points

    def seen_keypoints(self) -> Float[Array, "people 144 3"]:
        """What all trunks saw in the last call, before any body model, as the named keypoints of each person.

        Rows x, y (pixels of the picture) and confidence 0..1, which is zero of keypoints that no trunk tells. It is the
        pose trunk's visibility of the landmark times its presence. Of hands and faces that were seen clearly, and
        where the body has them, it is the certainty of the part, and their landmarks replace the pose trunk's of
        fingers and face.

        Raises:
            InputError: the bundle's trunks tell no landmarks.
        """
        if not self.refines:
            fix = "Use the packaged bundle, or give keypoints."
            raise InputError(f"the bundle '{self.config.name}'", "a bundle whose trunks tell landmarks", fix)
        named = {}
        for part, sight in self._looked.items():
            each = sight.seen.visibility if part == "body" else np.ones_like(sight.seen.visibility)
            confidence = np.clip(each * self._trust[part][:, None], 0.0, 1.0)
            points = named_points(part, sight.landmarks_px, confidence)
            named[part] = np.where(points[..., 2:] > 0, points, 0.0)
        count = max((len(points) for points in named.values()), default=0)
        return lay_over(named.pop("body", np.zeros((count, 144, 3))), named)

    def _whole(
        self, pixels: Array, boxes: Float[Array, "p 4"], camera: FullCamera, how: How, watch: Stopwatch
    ) -> People:
        """Whole people in boxes."""
        size = (pixels.shape[1], pixels.shape[0])
        if not len(boxes):
            return nobody(camera, size, self.config.specs["body"])
        runner = self.parts["body"]
        refinement = how.refinement and self.refines
        looker = Looker(runner, pixels, watch)
        sight = look_at_people(looker, boxes) if how.aims is None else follow_people(looker, boxes, how.aims)
        self._looked["body"] = sight
        crop, seen = sight.crop, sight.seen
        self._trust["body"] = seen.presence
        with watch.stage("body head"):
            body = decode(runner.regress(seen, np.repeat(runner.mean[None], len(boxes), 0)), runner.spec)
        with watch.stage("merge"):
            placed = locate_part(self.body_model, runner.spec, body, crop, camera)
        if refinement:
            targets = pose_targets(crop, seen)
            with watch.stage("refine"):
                placed = refine(self.body_model, placed, body, camera, targets)
        answers: dict[str, Answer] = {}
        if how.attention:
            estimate = body if camera.weak else replace(body, pose=placed.pose, sixd=None)
            projected = self._project(estimate, placed, crop, camera)
            angle = crop.angle_rad if camera.weak else None
            for name in FINE_PARTS:
                config = self.parts[_network(name)].config
                region = attention_crop(projected, name, config.crop_scale, config.upright, angle)
                self._regions[name] = region
                sight = self._look_at_part(Looker(self.parts[_network(name)], pixels, watch), name, region, how.aims)
                answer = self._answer(name, sight, estimate, camera, watch)
                used = self._believed(name, answer, region, projected)
                answers[name] = replace(answer, used=used)
                self._looked[name], self._trust[name] = Sight(answer.crop, answer.seen), answer.seen.certainty * used
            with watch.stage("merge"):
                for name, answer in answers.items():
                    placed, body = self._merge(name, answer, placed, body, camera)
            if refinement:
                for name, answer in answers.items():
                    targets = with_part(targets, name, answer)
                held = np.stack([answers[name].used for name in ("face", "left_hand", "right_hand")], -1)
                with watch.stage("refine"):
                    placed = refine(self.body_model, placed, body, camera, targets, held)
        presences = {name: answer.seen.certainty for name, answer in answers.items()}
        return collect(self.body_model, boxes, camera, size, Answer(runner.spec, crop, seen, body), placed, presences)

    def _project(
        self, body: PartParameters, placed: Located, crop: Crop, camera: FullCamera
    ) -> Float[Array, "p 144 2"]:
        """The body's keypoints in the picture, pixels."""
        points = keypoints(self.body_model, body.pose, body.betas, body.expression)
        if camera.weak:
            return crop.to_image(project_weak(self.parts["body"].spec.from_root(points), body.camera))
        return project_perspective(points + placed.transl[:, None], camera.focal_px, camera.principal_px)

    def _believed(
        self, name: str, answer: Answer, region: Crop, projected: Float[Array, "p 144 2"]
    ) -> Bool[Array, "p"]:
        """Whose hand or face was seen clearly, and where the body has it."""
        config = self.parts[_network(name)].config
        if not self.parts[_network(name)].has_landmarks:
            return np.ones(len(projected), bool)
        landmark, keypoint = ANCHORS[name]
        seen_px = answer.crop.to_image(answer.seen.landmarks[:, [landmark], :2].astype(float))[:, 0]
        shift = np.linalg.norm(seen_px - projected[:, INDEX[keypoint]], axis=-1) / region.side_px
        return (answer.seen.certainty >= config.min_presence) & (shift <= config.max_shift)

    def _look_at_part(self, looker: Looker, name: str, region: Crop, aims: Aims | None) -> Sight:
        """What a hand's or face's trunk sees where the body has it, or where it is expected."""
        if aims is None or not looker.runner.has_landmarks:
            return look_at_parts(looker, region)
        return follow_parts(looker, *aims.part(name, region))

    def _answer(
        self, name: str, sight: Sight, body: PartParameters | None, camera: FullCamera, watch: Stopwatch
    ) -> Answer:
        """Regress a hand or face, from the body's estimate, or from its own mean if there is none or the bundle says
        so."""
        network = _network(name)
        runner = self.parts[network]
        with watch.stage(f"{network} head"):
            mean = decode(np.repeat(runner.mean[None], len(sight.crop.side_px), 0), runner.spec)
            start = mean
            if body is not None and runner.config.conditioned:
                start = condition(runner.spec, body, mean, sight.crop, camera)
            vector = runner.regress(sight.seen, encode(start, runner.spec))
            return Answer(runner.spec, sight.crop, sight.seen, decode(vector, runner.spec))

    def _merge(
        self, name: str, answer: Answer, placed: Located, body: PartParameters, camera: FullCamera
    ) -> tuple[Located, PartParameters]:
        """Put a part's answer into the body, for the people of whom the part was seen."""
        spec, use = answer.spec, answer.used
        part = turn_part(answer.parameters, answer.crop, camera)
        placed = Located(merge_part(placed.pose, spec, part, answer.crop.mirrored, use), placed.transl)
        if name == "face":
            expression = answer.parameters.expression[:, : body.expression.shape[1]]
            body = replace(body, expression=np.where(use[:, None], expression, body.expression))
        return placed, body

    def _lone_part(
        self, pixels: Array, boxes: Array | None, camera: FullCamera, part: str, refinement: bool, watch: Stopwatch
    ) -> People:
        """One part network alone: the rest of the body stays at rest."""
        name, size = part.replace("-", "_"), (pixels.shape[1], pixels.shape[0])
        given = np.zeros((0, 4)) if boxes is None else np.asarray(boxes, float).reshape(-1, 4)
        if boxes is not None and not len(given):
            return replace(nobody(camera, size, self.parts[_network(name)].spec), part=part)
        runner, model = self.parts[_network(name)], self.face_model if name == "face" else self.body_model
        scale = runner.config.crop_scale if len(given) else 1.0
        given = given if len(given) else np.array([[0.0, 0.0, *size]])
        crop = crop_from_boxes(given, scale)
        looker = Looker(runner, pixels, watch, alone=True)
        sight = look_at_parts(looker, replace(crop, mirrored=name == "left_hand"))
        answer = self._answer(name, sight, None, camera, watch)
        self._looked[name], self._trust[name] = Sight(answer.crop, answer.seen), answer.seen.presence
        with watch.stage("merge"):
            placed = locate_part(model, runner.spec, answer.parameters, answer.crop, camera)
        if refinement and self.refines:
            with watch.stage("refine"):
                placed, answer = refine_part(model, name, placed, answer, camera)
        return replace(collect(model, given, camera, size, answer, placed, {name: answer.seen.presence}), part=part)


def _network(part: str) -> str:
    """The network that answers for a part: one hand network serves both hands."""
    return "hand" if part.endswith("hand") else part
