"""AGORA's files from synthetic people: the pickled table in the layout of the pandas of its time, and predictions."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

FOCAL_PX = 50.0 / 36.0 * 3840.0


@dataclass(frozen=True)
class Body:
    """Somebody in front of the camera: joints and vertices, metres, and the joints in the full-size picture."""

    joints_m: np.ndarray
    vertices_m: np.ndarray
    occlusion: float = 10.0
    kid: bool = False

    @property
    def joints_px(self) -> np.ndarray:
        return FOCAL_PX * self.joints_m[:, :2] / self.joints_m[:, 2:] + [1920.0, 1080.0]


def make_body(seed: int, x_m: float, *, joints: int = 127, vertices: int = 10475, **how: Any) -> Body:
    """A cloud 0.5 m wide and 1.6 m high at 6 m, ``x_m`` right of the middle."""
    rng = np.random.default_rng(seed)
    centre, size = np.array([x_m, 0.0, 6.0]), np.array([0.5, 1.6, 0.3])
    return Body(
        centre + size * rng.uniform(-0.5, 0.5, (joints, 3)),
        centre + size * rng.uniform(-0.5, 0.5, (vertices, 3)),
        **how,
    )


class _Global:
    """A name in a module that need not exist."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Made:
    """An object that the pickle makes without calling __init__ and gives a state, or by calling with arguments."""

    def __init__(self, kind: _Global, state: Any = None, call: tuple | None = None) -> None:
        self.kind, self.state, self.call = kind, state, call


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_name(self, obj: _Global) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def save_made(self, obj: _Made) -> None:
        self.save(obj.kind)
        self.save(obj.call or ())
        self.write(pickle.NEWOBJ if obj.call is None else pickle.REDUCE)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    dispatch[_Global] = save_name
    dispatch[_Made] = save_made


def pickled_frame(columns: dict[str, list[Any]]) -> bytes:
    """A table as pandas 1.2 pickled it: one block of objects, axes and blocks in the state of the block manager."""
    rows = len(next(iter(columns.values())))
    values = np.empty((len(columns), rows), object)
    for k, column in enumerate(columns.values()):
        for row, entry in enumerate(column):
            values[k, row] = entry
    new_index, index = _Global("pandas.core.indexes.base", "_new_Index"), _Global("pandas.core.indexes.base", "Index")
    counted = _Global("pandas.core.indexes.range", "RangeIndex")
    names = _Made(new_index, call=(index, {"data": np.array(list(columns), object), "name": None}))
    numbers = _Made(new_index, call=(counted, {"name": None, "start": 0, "stop": rows, "step": 1}))
    axes = [names, numbers]
    blocks = [{"values": values, "mgr_locs": slice(0, len(columns), 1)}]
    state = (axes, [values], [names], {"0.14.1": {"axes": axes, "blocks": blocks}})
    manager = _Made(_Global("pandas.core.internals.managers", "BlockManager"), state)
    frame = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}}
    file = io.BytesIO()
    _Pickler(file, 3).dump(_Made(_Global("pandas.core.frame", "DataFrame"), frame))
    return file.getvalue()


def columns_of(pictures: dict[str, list[Body]]) -> dict[str, list[Any]]:
    """The table's columns: one row a picture, lists with one entry a person."""
    bodies = list(pictures.values())
    return {
        "imgPath": [f"{name}.png" for name in pictures],
        "camYaw": [0.0 for _ in bodies],
        "kid": [[body.kid for body in row] for row in bodies],
        "occlusion": [[body.occlusion for body in row] for row in bodies],
        "isValid": [[0 <= body.occlusion <= 90 for body in row] for row in bodies],
        "gt_joints_2d": [[body.joints_px for body in row] for row in bodies],
        "gt_joints_3d": [[body.joints_m for body in row] for row in bodies],
        "gt_verts": [[body.vertices_m.astype(np.float32) for body in row] for row in bodies],
    }


def write_table(path: Path, pictures: dict[str, list[Body]]) -> Path:
    """``<split>_0_withjv.pkl``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickled_frame(columns_of(pictures)))
    return path


def write_answer(folder: Path, name: str, number: int, body: Body, **changed: Any) -> Path:
    """A prediction as AGORA's evaluator takes it."""
    folder.mkdir(exist_ok=True)
    content = {
        "joints": body.joints_px[:24],
        "verts": body.vertices_m,
        "allSmplJoints3d": body.joints_m[None],
    } | changed
    path = folder / f"{name}_personId_{number}.pkl"
    path.write_bytes(pickle.dumps({key: value for key, value in content.items() if value is not None}, protocol=4))
    return path
