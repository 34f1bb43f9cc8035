"""What a scene is made of: textured meshes, dressed bodies, a floor and its light. Everything in the camera frame."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.synth.raster import Surface

Array = np.ndarray

MASK_PARTS = (
    "nothing", "torso", "head",
    "left upper arm", "left forearm", "left hand", "right upper arm", "right forearm", "right hand",
    "left thigh", "left shin", "left foot", "right thigh", "right shin", "right foot",
    "thing",
)  # fmt: skip
"""Low four bits of a mask's values; the high four bits are the number of the person (things: of who holds them)."""
THING = MASK_PARTS.index("thing")


@dataclass(frozen=True)
class Thing:
    """A textured mesh, seen from both sides: a garment, hair, glasses, something held or in the way.

    Attributes:
        vertices: [v, 3], camera frame, metres. faces: [f, 3]. corner_uv: [f, 3, 2] texture coordinates, v down.
        texture: RGBA; repeats beyond [0, 1]. gain: [3] colour factor. gloss: specular strength, 0 to 1.
        cutout: what the texture's alpha leaves below 0.5 is not there.
        parts: [f] part of the body that each face belongs to, an index of :data:`MASK_PARTS`.
    """

    vertices: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    corner_uv: Float[Array, "f 3 2"]
    texture: UInt8[Array, "h w 4"]
    gain: Float[Array, "3"]
    gloss: float
    cutout: bool
    parts: UInt8[Array, "f"]

    def moved(self, rotation: Float[Array, "3 3"], shift: Float[Array, "3"]) -> "Thing":
        """The same thing at ``rotation @ x + shift``."""
        return replace(self, vertices=(self.vertices @ rotation.T + shift).astype(np.float32))


@dataclass(frozen=True)
class Body:
    """A person as the renderer sees it.

    Attributes:
        vertices: [v, 3], camera frame, metres, painted clothes included. surface: how the skin looks.
        hidden: [f] faces that garments cover: not drawn. parts: [f], an index of :data:`MASK_PARTS`.
        things: what is worn or held.
    """

    vertices: Float[Array, "v 3"]
    surface: Surface
    hidden: Bool[Array, "f"]
    parts: UInt8[Array, "f"]
    things: tuple[Thing, ...] = ()


@dataclass(frozen=True)
class Lighting:
    """A sun with a shadow, and light from everywhere, camera frame; linear: 1 shows a white surface as white.

    Attributes:
        direction: [3] unit vector towards the sun. colour: [3] its intensity.
        harmonics: [9, 3] irradiance of the surroundings over pi as real spherical harmonics of the normal, in the order
            (0,0), (1,-1), (1,0), (1,1), (2,-2), ..., (2,2), with the usual normalisation: light on a normal is
            ``basis(normal) @ harmonics``.
    """

    direction: Float[Array, "3"]
    colour: Float[Array, "3"]
    harmonics: Float[Array, "9 3"]


@dataclass(frozen=True)
class Floor:
    """A plane that receives shadows and is else the background: points x with normal . x = offset, camera frame."""

    normal: Float[Array, "3"]
    """Unit vector, upwards."""
    offset_m: float


@dataclass(frozen=True)
class Drawing:
    """A rendered picture.

    Attributes:
        image: RGB. depth_m: nearest z of each pixel, infinite on the background. mask: 16 * person + part, see
            :data:`MASK_PARTS`; 0 on the background; things of nobody count as person 15.
    """

    image: UInt8[Array, "h w 3"]
    depth_m: Float[Array, "h w"]
    mask: UInt8[Array, "h w"]
