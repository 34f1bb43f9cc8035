"""Refinement of a lone hand or face: Gauss-Newton steps that lay it on its trunk's own landmarks.

Unknowns are the part's orientation and translation, the turns of its fingers or of its jaw, and of faces expression and
shape. Residuals are landmark distances in the picture, and the departure from the network's answer, which holds what
one picture does not show. Goes beyond the paper.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import IBUG68, INDEX, KEYPOINT_NAMES, LEFT_HAND21, PARENTS, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.rotation import cross_matrix, project_to_so3, rotvec_to_matrix
from openexpose.predict.collect import Answer
from openexpose.predict.landmarks import CORRESPONDENCES
from openexpose.predict.merge import FullCamera, Located

Array = np.ndarray

ITERATIONS = 4
_SIGMA_2D = {"hand": 0.03, "face": 0.015}
"""Standard deviation of the trunk's landmarks over the larger side of the part in the picture: chosen, not measured."""
_OUTLIER = 3.0
"""Residuals beyond this many standard deviations count less and less (Geman-McClure)."""
_ROOT_RAD, _JAW_RAD = 0.3, (0.2, 0.06, 0.06)
_KNUCKLE_RAD, _HINGE_RAD, _THUMB_RAD = (0.06, 0.15, 0.35), (0.03, 0.04, 0.35), (0.2, 0.2, 0.2)
"""Standard deviations of corrections about the joints' own axes: fingers along x, bending about z."""
_COEFFICIENT = 0.6
"""The same for coefficients of expression and shape."""
_SIGMA_DEPTH = 0.1
"""Freedom of the part's distance, as a share of it."""
_LONGEST_TURN = 0.4
_STEP = 1e-2
_JAW = INDEX["jaw"]
_CONTOUR, _CONTOUR_TRUST = 17, 0.5
"""The face's contour is not quite the same skin in trunk and body model: it counts little."""


@dataclass(frozen=True)
class _Chain:
    """What is free in a part, and what is aimed at."""

    joints: tuple[int, ...]
    """Slots of the pose that turn; the first is slot 0, the part's root."""
    root: int
    """The joint that the root turns about."""
    spread: Float[Array, "j 3"]
    """Standard deviation of each one's correction about its own axes, radians."""
    carried: Float[Array, "j k"]
    """1 where turning the joint moves the target's keypoint."""
    landmarks: Int[Array, "k"]
    """The trunk's landmarks that are targets."""
    keypoints: Int[Array, "k"]
    """The keypoints that should lie there."""
    trust: Float[Array, "k"]
    """In each target, 0 to 1."""
    deforms: bool
    """Jaw, expression and shape are free, too."""


def refine_part(
    model: BodyModel, part: str, placed: Located, answer: Answer, camera: FullCamera
) -> tuple[Located, Answer]:
    """Lay lone hands or faces on the landmarks that their trunk saw.

    Args:
        model: body model with the part's numbers of coefficients.
        part: ``left_hand``, ``right_hand`` or ``face``.
        placed: pose (slot 0: the part's root) and translation in the full camera's frame.
        answer: of the network; what the trunk saw is trusted by its presence.
        camera: the full camera.

    Returns:
        Pose and translation, and the answer with refined expression and shape.
    """
    chain, parameters = _CHAINS[part], answer.parameters
    pose, transl = placed.pose.astype(float), placed.transl.astype(float)
    betas, expression = parameters.betas.astype(float), parameters.expression.astype(float)
    for k in range(len(pose)):
        targets = answer.crop[k : k + 1].to_image(answer.seen.landmarks[k : k + 1, chain.landmarks, :2].astype(float))[
            0
        ]
        person = _Part(model, chain, camera, targets, float(answer.seen.presence[k]))
        pose[k], transl[k], betas[k], expression[k] = person.fitted(pose[k], transl[k], betas[k], expression[k])
    return Located(pose, transl), replace(answer, parameters=replace(parameters, betas=betas, expression=expression))


@dataclass(frozen=True)
class _Part:
    """One hand or face and its targets, pixels."""

    model: BodyModel
    chain: _Chain
    camera: FullCamera
    targets: Float[Array, "k 2"]
    trust: float

    def fitted(self, pose: Array, transl: Array, betas: Array, expression: Array) -> tuple[Array, Array, Array, Array]:
        """The refined arguments."""
        turned, start = np.zeros((len(self.chain.joints), 3)), None
        moved = np.zeros(3 + len(betas) + len(expression) if self.chain.deforms else 0)
        for _ in range(ITERATIONS):
            points, rotations, joints = self._posed(pose, betas, expression)
            root = joints[self.chain.root] + transl
            start = root if start is None else start
            slopes = [self._turns(points, joints), self._deformations(pose, betas, expression)]
            error, slope = self._image_rows(points + transl, np.concatenate(slopes, 2))
            away, hold = self._prior(rotations, turned, moved, (root, start))
            step = -np.linalg.solve(slope.T @ slope + hold.T @ hold, slope.T @ error + hold.T @ away)
            turns = step[: turned.size].reshape(-1, 3)
            length = np.linalg.norm(turns, axis=1, keepdims=True)
            turns = turns * np.minimum(1.0, _LONGEST_TURN / np.maximum(length, 1e-9))
            pose, turned = self._turned(pose, rotations, turns), turned + turns
            if self.chain.deforms:
                change = step[turned.size : -3]
                moved = moved + change
                pose[_JAW] = pose[_JAW] @ rotvec_to_matrix(change[:3])
                betas, expression = betas + change[3 : 3 + len(betas)], expression + change[3 + len(betas) :]
            # the model turns about its pelvis, the part about its own root
            transl = root + step[-3:] - self._posed(pose, betas, expression)[2][self.chain.root]
        return pose, transl, betas, expression

    def _posed(self, pose: Array, betas: Array, expression: Array) -> tuple[Array, Array, Array]:
        """Targeted keypoints [k, 3], absolute rotations [55, 3, 3] and joints [55, 3]; not translated."""
        batch = pose[None], betas[None], expression[None]
        rotations, joints = joint_transforms(self.model, *batch)
        points = keypoints(self.model, *batch)[0].astype(float)
        return points[self.chain.keypoints], rotations[0].astype(float), joints[0].astype(float)

    def _turns(self, points: Array, joints: Array) -> Float[Array, "k 3 n"]:
        """Derivative of the points by turns of the joints about the camera's axes."""
        pivots = joints[[self.chain.root, *self.chain.joints[1:]]]
        turning = -cross_matrix(points[:, None] - pivots[None]) * self.chain.carried.T[..., None, None]
        return np.moveaxis(turning, 1, 2).reshape(len(points), 3, -1)

    def _deformations(self, pose: Array, betas: Array, expression: Array) -> Float[Array, "k 3 n"]:
        """Derivative, from the root, by turns of the jaw about its own axes, by betas and by the expression."""
        if not self.chain.deforms:
            return np.zeros((len(self.targets), 3, 0))
        count = len(betas)
        poses = np.repeat(pose[None], 4 + count + len(expression), 0)
        poses[1:4, _JAW] = pose[_JAW] @ rotvec_to_matrix(_STEP * np.eye(3))
        coefficients = np.repeat(np.r_[betas, expression][None], len(poses), 0)
        coefficients[4:] += _STEP * np.eye(coefficients.shape[1])
        points = keypoints(self.model, poses, coefficients[:, :count], coefficients[:, count:]).astype(float)
        points = points[:, self.chain.keypoints] - points[:, [self.chain.root]]
        return np.moveaxis(points[1:] - points[0], 0, -1) / _STEP

    def _image_rows(self, points: Array, moves: Array) -> tuple[Array, Array]:
        """Projection minus target in standard deviations [2k], and its derivative [2k, n + 3]."""
        moves = np.concatenate([moves, np.broadcast_to(np.eye(3), (len(points), 3, 3))], 2)
        depth = np.maximum(points[:, 2:], 0.05)
        plane = points[:, :2] / depth
        network = "face" if self.chain.deforms else "hand"
        sigma = _SIGMA_2D[network] * max(float(np.ptp(self.targets, axis=0).max()), 1.0)
        error = (self.camera.focal_px * plane + self.camera.principal_px - self.targets) / sigma
        slope = self.camera.focal_px * (moves[:, :2] - plane[..., None] * moves[:, 2:]) / (depth * sigma)[..., None]
        factor = (self.trust * self.chain.trust / (1.0 + (error**2).sum(1) / _OUTLIER**2))[:, None]
        return (error * factor).ravel(), (slope * factor[..., None]).reshape(error.size, -1)

    def _prior(self, rotations: Array, turned: Array, moved: Array, roots: tuple[Array, Array]) -> tuple[Array, Array]:
        """Departure from the network's answer in standard deviations, and its derivative."""
        frames = np.swapaxes(rotations[list(self.chain.joints)], -1, -2) / self.chain.spread[..., None]
        hold = np.zeros((turned.size + moved.size + 3,) * 2)
        for k, block in enumerate(frames):
            hold[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = block
        spread = np.r_[_JAW_RAD, np.full(max(moved.size - 3, 0), _COEFFICIENT)][: moved.size]
        root, start = roots
        depth = max(float(start[2]), 0.05)
        spread = np.r_[spread, depth, depth, _SIGMA_DEPTH * depth]
        np.fill_diagonal(hold[turned.size :, turned.size :], 1.0 / spread)
        return hold @ np.r_[turned.ravel(), moved, root - start], hold

    def _turned(self, pose: Array, rotations: Array, turns: Float[Array, "j 3"]) -> Array:
        """Apply turns about the camera's axes to the local rotations."""
        pose, chosen = pose.copy(), list(self.chain.joints)
        for joint, turn in zip(chosen, rotvec_to_matrix(turns), strict=True):
            frame = rotations[PARENTS[joint]] if joint else np.eye(3)
            pose[joint] = frame.T @ turn @ frame @ pose[joint]
        pose[chosen] = project_to_so3(pose[chosen])
        return pose


def _hand_chain(side: str) -> _Chain:
    points = LEFT_HAND21 if side == "left" else RIGHT_HAND21
    fingers = [f"{side}_{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)]
    order = ("1", "2", "3", "")  # a finger's tip has no number

    def beyond(joint: str, point: str) -> bool:
        same = joint.rstrip("123") == point.rstrip("123")
        return same and order.index(point[len(point.rstrip("123")) :]) > order.index(joint[-1])

    names = [KEYPOINT_NAMES[k] for k in points]
    carried = np.array([[True] * len(names), *([beyond(joint, point) for point in names] for joint in fingers)])
    spread = [(_ROOT_RAD,) * 3]
    spread += [_THUMB_RAD if "thumb" in j else _KNUCKLE_RAD if j.endswith("1") else _HINGE_RAD for j in fingers]
    joints = (0, *(INDEX[name] for name in fingers))
    root = INDEX[f"{side}_wrist"]
    landmarks = np.array(CORRESPONDENCES["hand"][0])
    return _Chain(
        joints, root, np.array(spread), carried.astype(float), landmarks, np.array(points), np.ones(len(points)), False
    )


def _face_chain() -> _Chain:
    landmarks, points = np.array(CORRESPONDENCES["face"][0]), np.array(IBUG68)
    spread, carried = np.full((1, 3), _ROOT_RAD), np.ones((1, len(points)))
    trust = np.where(np.arange(len(points)) < _CONTOUR, _CONTOUR_TRUST, 1.0)
    return _Chain((0,), INDEX["head"], spread, carried, landmarks, points, trust, True)


_CHAINS = {"left_hand": _hand_chain("left"), "right_hand": _hand_chain("right"), "face": _face_chain()}
