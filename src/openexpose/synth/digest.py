"""Telling body models apart: pictures and their labels belong to one."""

from hashlib import sha256

from openexpose.body.model import BodyModel


def body_digest(model: BodyModel) -> str:
    """Twelve hexadecimal digits that change with the body model's template or topology."""
    return sha256(model.v_template.tobytes() + model.faces.tobytes() + model.shape_dirs.tobytes()).hexdigest()[:12]
