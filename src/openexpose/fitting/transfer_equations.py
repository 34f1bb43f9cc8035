"""Normal equations of fitting a skinned model to vertices.

A vertex is y = sum_k w_k (R_k x + t_k), with x the rest vertex and all its blend shapes (SMPL, section 3). Its
derivatives by turns of the joints about their positions, by the translation and by the coefficients are analytic and
complete, blend shapes of the pose included. The gradient is that of all vertices; the matrix is that of some vertices
of every bone, each standing for several: it only steers.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, issparse

from openexpose.fitting.models import SkinnedModel
from openexpose.fitting.transfer_skin import Parameters, Skeleton, Skinned
from openexpose.geometry.rotation import cross_matrix

Array = np.ndarray

_SOME, _FEW, _PER_DIRECTION = 1200, 24, 16
"""Representatives: so many of all vertices, so many of a bone at least, so many more a coefficient."""


class Equations:
    """Normal equations of the parameters: turns of the free joints about their positions (world axes), translation,
    expression, betas, in this order.

    Args:
        model: reduced to the vertices that are fitted.
        joints: free joints, ascending, the root (0) first.
        num_expression: how many of the expression coefficients are free: all or 0.
        num_betas: the same of the betas.
    """

    def __init__(self, model: SkinnedModel, joints: Int[Array, "n"], num_expression: int, num_betas: int) -> None:
        self.model, self.joints = model, joints
        self.num_expression, self.num_betas = num_expression, num_betas
        self._directions = np.concatenate(
            [model.expression_dirs[..., :num_expression], model.shape_dirs[..., :num_betas]], -1
        )
        self._joint_directions = np.concatenate(
            [model.joint_expression_dirs[..., :num_expression], model.joint_shape_dirs[..., :num_betas]], -1
        ).astype(float)
        self._transposed = csr_matrix(model.weights.T)
        columns = (9 * (joints[1:, None] - 1) + np.arange(9)).ravel()
        shapes = model.pose_dirs[:, columns]
        self._pose_transposed = csr_matrix(shapes.T) if issparse(shapes) else np.ascontiguousarray(shapes.T)
        self._rows, self._scale = _representatives(model.weights, self._directions)
        some = shapes[(3 * self._rows[:, None] + np.arange(3)).ravel()]
        some = (some.toarray() if issparse(some) else some).reshape(len(self._rows), 3, -1, 9)
        self._corrected = [np.flatnonzero(part.any((1, 2))) for part in np.moveaxis(some, 2, 0)]
        self._some_shapes = [
            _flat(some[rows, :, joint].transpose(2, 1, 0), 1) for joint, rows in enumerate(self._corrected)
        ]  # [9, 3 of the rows that the joint corrects]
        self._some_directions = np.ascontiguousarray(self._directions[self._rows].transpose(2, 1, 0))
        self._some_weights = np.ascontiguousarray(model.weights[self._rows].toarray().T)  # [j, s]
        self._moved_share = model.ancestors[:, joints].T.astype(np.float32) @ self._some_weights

    @property
    def size(self) -> int:
        """Number of parameters of a frame."""
        return 3 * len(self.joints) + 3 + self.num_coefficients

    @property
    def num_coefficients(self) -> int:
        """Free coefficients of expression and shape."""
        return self.num_expression + self.num_betas

    def gradient(
        self, parameters: Parameters, skeleton: Skeleton, skinned: Skinned, residual: Float[Array, "f v 3"]
    ) -> Float[Array, "f n"]:
        """J'r of all vertices, with r the residuals: target minus vertices."""
        frames, count = residual.shape[:2]
        rest = np.concatenate([skinned.rest, np.ones((frames, count, 1), np.float32)], -1)
        outer = (residual[..., None] * rest[..., None, :]).transpose(1, 0, 2, 3).reshape(count, -1)
        sums = (self._transposed @ outer).reshape(-1, frames, 3, 4).swapaxes(0, 1).astype(float)
        transforms = np.concatenate([skeleton.rotations, skeleton.offsets[..., None]], -1)
        force = sums[..., 3]
        torque = _axial(transforms @ sums.swapaxes(-1, -2))  # about the origin
        moves = self.model.ancestors[:, self.joints].T.astype(float)
        below = moves @ force
        turns = moves @ torque - np.cross(skeleton.joints[:, self.joints], below)
        back = np.matmul(residual[..., None, :], skinned.turns)[..., 0, :].reshape(frames, -1)
        entries = np.asarray(self._pose_transposed @ back.T).T.reshape(frames, -1, 1, 9)
        turns[:, 1:] += (entries @ self._local_derivative(parameters, skeleton))[:, :, 0]
        parts = [turns.reshape(frames, -1), force.sum(1)]
        if self.num_coefficients:
            shifts = np.einsum("fkx,fkxc->fc", force, self._shifts(skeleton))
            parts.append(back @ self._directions.reshape(3 * count, -1) + shifts)
        return np.concatenate(parts, 1)

    def matrix(self, parameters: Parameters, skeleton: Skeleton, skinned: Skinned) -> Float[Array, "f n n"]:
        """J'J, estimated from representatives."""
        jacobian = self._jacobian(parameters, skeleton, skinned)
        jacobian *= np.sqrt(self._scale)
        flat = _flat(jacobian, 2)
        return (flat @ flat.swapaxes(1, 2)).astype(float)

    def _jacobian(self, parameters: Parameters, skeleton: Skeleton, skinned: Skinned) -> Float[Array, "f n 3 s"]:
        """Derivatives of the representatives' positions."""
        frames, count, free = len(parameters), len(self._rows), len(self.joints)
        jacobian = np.zeros((frames, self.size, 3, count), np.float32)
        turns = jacobian[:, : 3 * free].reshape(frames, free, 3, 3, count)
        lever = self._levers(skeleton, skinned)
        for axis, (one, other) in enumerate(((1, 2), (2, 0), (0, 1))):
            turns[:, :, other, one] = lever[:, :, axis]  # cross product of the axis and the lever
            turns[:, :, one, other] = -lever[:, :, axis]
        blended = np.ascontiguousarray(skinned.turns[:, self._rows].transpose(0, 2, 3, 1))
        derivative = self._local_derivative(parameters, skeleton).astype(np.float32).swapaxes(-1, -2)
        local = self._some_directions[None]
        shifts = self._shifts(skeleton).astype(np.float32).transpose(0, 3, 2, 1) @ self._some_weights
        for axis in range(3):
            jacobian[:, 3 * free + axis, axis] = 1.0
            for inner in range(3):
                turn = blended[:, None, axis, inner]
                jacobian[:, 3 * free + 3 :, axis] += turn * local[:, :, inner]
        jacobian[:, 3 * free + 3 :] += shifts
        for joint, (rows, shapes) in enumerate(zip(self._corrected, self._some_shapes, strict=True)):
            local = (derivative[:, joint] @ shapes).reshape(frames, 3, 3, len(rows))
            turns[:, 1 + joint][..., rows] += np.einsum("fabs,fqbs->fqas", blended[..., rows], local)
        return jacobian

    def _levers(self, skeleton: Skeleton, skinned: Skinned) -> Float[Array, "f n 3 s"]:
        """What a joint moves of every representative, from the joint: the weighted sum of its bones' y - w p."""
        rest = np.ascontiguousarray(skinned.rest[:, self._rows].swapaxes(1, 2))
        below = skeleton.rotations.astype(np.float32) @ rest[:, None]
        below += skeleton.offsets.astype(np.float32)[..., None]
        below *= self._some_weights[:, None]
        for joint in range(self.model.num_joints - 1, 0, -1):
            below[:, self.model.parents[joint]] += below[:, joint]
        joints = skeleton.joints[:, self.joints].astype(np.float32)
        return below[:, self.joints] - self._moved_share[:, None] * joints[..., None]

    def _local_derivative(self, parameters: Parameters, skeleton: Skeleton) -> Float[Array, "f n 9 3"]:
        """Of the nine entries of every local rotation (not the root's) by the joint's turn about world axes."""
        joints = self.joints[1:]
        turned = np.einsum("xab,fjbc->fjacx", cross_matrix(np.eye(3)), parameters.pose[:, joints], optimize=True)
        above = skeleton.rotations[:, self.model.parents[joints]]
        return turned.reshape(len(turned), -1, 9, 3) @ above.swapaxes(-1, -2)

    def _shifts(self, skeleton: Skeleton) -> Float[Array, "f j 3 c"]:
        """Derivatives of the bones' t by the coefficients, which move joints."""
        directions, parents = self._joint_directions, self.model.parents
        moved = np.zeros((len(skeleton.joints), *directions.shape))
        moved[:, 0] = directions[0]
        for child in range(1, len(parents)):
            above = skeleton.rotations[:, parents[child]]
            moved[:, child] = moved[:, parents[child]] + above @ (directions[child] - directions[parents[child]])
        return moved - skeleton.rotations @ directions


def _representatives(
    weights: csr_matrix, directions: Float[Array, "v 3 c"]
) -> tuple[Int[Array, "s"], Float[Array, "s"]]:
    """Vertices that stand for all, and for how many each.

    Evenly along the file's order, denser on small bones and where the coefficients' directions say most (by their
    leverage), so that the sum over them is close to that over all for every direction of the parameters.
    """
    count = len(directions)
    owner = np.asarray(weights.argmax(1)).ravel()
    sizes = np.bincount(owner, minlength=weights.shape[1])
    rate = np.maximum(_SOME / count, _FEW / sizes[owner])
    if directions.shape[-1]:
        basis, scale, _ = np.linalg.svd(directions.reshape(3 * count, -1).astype(float), full_matrices=False)
        rate += _PER_DIRECTION * (basis[:, scale > 1e-6 * scale[0]] ** 2).reshape(count, -1).sum(1)
    rate = np.minimum(rate, 1.0)
    order = np.argsort(owner, kind="stable")
    passed = np.floor(np.cumsum(rate[order]) + 0.5)
    rows = np.sort(order[np.diff(passed, prepend=0.0) > 0.0])
    return rows, (1.0 / rate[rows]).astype(np.float32)


def _flat(array: Array, axis: int) -> Array:
    """A contiguous array whose axes from one on are one."""
    return np.ascontiguousarray(array).reshape(*array.shape[:axis], -1)


def _axial(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3"]:
    """Sum of cross products a x b from the sum of outer products a b'."""
    return np.stack([matrix[..., i, j] - matrix[..., j, i] for i, j in ((1, 2), (2, 0), (0, 1))], -1)
