"""Rotation formats, in numpy. Inside the code base a rotation is a matrix; the other formats live at the edges."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def rotvec_to_matrix(rotvec: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rodrigues' formula: axis-angle vectors (radians) to rotation matrices; exact at the zero vector."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    skew = cross_matrix(rotvec)
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    return np.eye(3, dtype=skew.dtype) + a * skew + b * (skew @ skew)


def matrix_to_rotvec(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Rotation matrices to axis-angle vectors, angle in [0, pi] (radians); by quaternions: stable at 0 and pi."""
    quat = matrix_to_quaternion(matrix)
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quat[..., :1])
    factor = np.where(sine < 1e-8, 2.0, angle / np.maximum(sine, 1e-12))
    return quat[..., 1:] * factor


def matrix_to_quaternion(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    """Rotation matrices to unit quaternions (w, x, y, z), w >= 0 (Shepperd's method: the largest component first)."""
    m = np.asarray(matrix)
    diagonal = m[..., [0, 1, 2], [0, 1, 2]]
    trace = diagonal.sum(-1, keepdims=True)
    squares = np.concatenate([trace, 2.0 * diagonal - trace], -1) + 1.0
    xy, yz, zx = m[..., 1, 0] + m[..., 0, 1], m[..., 2, 1] + m[..., 1, 2], m[..., 0, 2] + m[..., 2, 0]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    w2, x2, y2, z2 = np.moveaxis(squares, -1, 0)
    rows = np.stack(
        [
            np.stack([w2, wx, wy, wz], -1),
            np.stack([wx, x2, xy, zx], -1),
            np.stack([wy, xy, y2, yz], -1),
            np.stack([wz, zx, yz, z2], -1),
        ],
        -2,
    )
    best = np.take_along_axis(rows, squares.argmax(-1)[..., None, None], -2)[..., 0, :]
    quat = best / np.linalg.norm(best, axis=-1, keepdims=True)
    return np.where(quat[..., :1] < 0, -quat, quat)


def quaternion_to_matrix(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Unit quaternions (w, x, y, z) of either sign to rotation matrices."""
    w, vector = quaternion[..., :1, None], quaternion[..., 1:]
    skew = cross_matrix(vector)
    return np.eye(3, dtype=skew.dtype) + 2.0 * (w * skew + skew @ skew)


def sixd_to_matrix(sixd: Float[Array, "*batch 6"]) -> Float[Array, "*batch 3 3"]:
    """Zhou et al.'s continuous 6D code to matrices: the six numbers, as 3x2 row-major, hold the first two *columns*."""
    ab = sixd.reshape(*sixd.shape[:-1], 3, 2)
    x = ab[..., 0] / np.linalg.norm(ab[..., 0], axis=-1, keepdims=True)
    y = ab[..., 1] - (x * ab[..., 1]).sum(-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], -1)


def matrix_to_sixd(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 6"]:
    """Inverse of :func:`sixd_to_matrix` on rotation matrices."""
    return matrix[..., :, :2].reshape(*matrix.shape[:-2], 6)


def mirror_rotation(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """The rotation seen in a mirror across x: D R D with D = diag(-1, 1, 1). Its own inverse."""
    sign = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]], matrix.dtype)
    return matrix * sign


def rotation_about_z(angle_rad: Float[Array, "*batch"] | float) -> Float[Array, "*batch 3 3"]:
    """Rotation about +z: takes x towards y. In the image plane (x right, y down) a positive angle turns clockwise."""
    angle = np.asarray(angle_rad, float)
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1.0], -1).reshape(*angle.shape, 3, 3)


def rotation_between(a: Float[Array, "*batch 3"], b: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """The smallest rotation that takes direction ``a`` to direction ``b`` (not defined for opposite directions)."""
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    skew = cross_matrix(np.cross(a, b))
    cosine = (a * b).sum(-1)[..., None, None]
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def cross_matrix(vector: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """The skew-symmetric matrix K with K w = v x w."""
    x, y, z = np.moveaxis(np.asarray(vector), -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def project_to_so3(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """The rotation nearest to each matrix (Frobenius norm): orthogonal Procrustes with the reflection removed."""
    u, _, vt = np.linalg.svd(matrix)
    u = u * np.stack([*np.ones((2, *u.shape[:-2])), np.sign(np.linalg.det(u @ vt))], -1)[..., None, :]
    return u @ vt


def right_jacobian(rotvec: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """J with exp(v + dv) = exp(v) exp(J dv) to first order; its inverse tells how an axis-angle vector changes when its
    rotation turns about its own axes. Invertible for angles below 2 pi."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    skew = cross_matrix(rotvec)
    small = angle < 1e-3
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    b = np.where(small, 1.0 / 6.0 - angle**2 / 120.0, (safe - np.sin(safe)) / safe**3)
    return np.eye(3, dtype=skew.dtype) - a * skew + b * (skew @ skew)
