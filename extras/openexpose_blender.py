"""Open a GLB of openexpose in Blender (4.0 or newer) as filmed: people who move lie over their photo or video.

A new scene gets the people, their frame rate and range, the camera with its focal length at the origin, the footage as
the camera's background, and a light. Nothing of what is open is changed.

    blender --python extras/openexpose_blender.py -- walk.glb walk.mp4

or from Blender's text editor: write the two files below, then Run Script. The footage may be left out. Make the GLB
with `openexpose export --to glb`. A video with a varying frame rate runs away from
its people, because Blender shows its frames evenly.
"""

import json
import math
import struct
import sys
from pathlib import Path

import bpy

GLB = ""
FOOTAGE = ""

_LONG_SIDE_PX = 1920
_MOVIES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"}


def open_people(glb: Path, footage: Path | None = None) -> bpy.types.Scene:
    """Make the scene and show it.

    Args:
        glb: people, as openexpose writes them.
        footage: the photo or video that they come from.

    Raises:
        ValueError: not a GLB of openexpose.
    """
    told = _description(glb)
    scene = bpy.data.scenes.new(glb.stem)
    bpy.context.window.scene = scene
    rate = float(told["asset"].get("extras", {}).get("fps", 24.0))
    scene.render.fps = max(1, round(rate))
    known = set(bpy.data.actions)
    bpy.ops.import_scene.gltf(filepath=str(glb))  # turns seconds into frames at whole rates: 30 for 29.97
    _slow_down([action for action in bpy.data.actions if action not in known], rate / scene.render.fps)
    scene.render.fps_base = scene.render.fps / rate
    _set_range(scene)
    camera = next((thing for thing in scene.objects if thing.type == "CAMERA"), None)
    if camera is None:
        raise ValueError(f"{glb} has no camera: make it again with openexpose")
    scene.camera = camera
    aspect = told["cameras"][0]["perspective"]["aspectRatio"]
    scene.render.resolution_x = round(_LONG_SIDE_PX * min(1.0, aspect))
    scene.render.resolution_y = round(scene.render.resolution_x / aspect)
    if footage is not None:
        _lay_under(scene, camera.data, footage)
    _light(scene, camera)
    for area in bpy.context.screen.areas if bpy.context.screen else ():
        if area.type == "VIEW_3D":
            area.spaces.active.region_3d.view_perspective = "CAMERA"
    return scene


def _description(glb: Path) -> dict:
    """The JSON part of a GLB."""
    content = glb.read_bytes()
    if content[:4] != b"glTF":
        raise ValueError(f"{glb} is not a GLB")
    (size,) = struct.unpack("<I", content[12:16])
    told = json.loads(content[20 : 20 + size])
    if told["asset"].get("generator") != "openexpose" or "cameras" not in told:
        raise ValueError(f"{glb} is not a GLB with people that openexpose wrote")
    return told


def _slow_down(actions: list[bpy.types.Action], factor: float) -> None:
    """Multiply the frames of all keys."""
    for action in actions if factor != 1.0 else ():
        if hasattr(action, "fcurves"):  # before Blender 5
            curves = list(action.fcurves)
        else:
            bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
            curves = [curve for bag in bags for curve in bag.fcurves]
        for curve in curves:
            for name in ("co", "handle_left", "handle_right"):
                numbers = [0.0] * (2 * len(curve.keyframe_points))
                curve.keyframe_points.foreach_get(name, numbers)
                numbers[::2] = [number * factor for number in numbers[::2]]
                curve.keyframe_points.foreach_set(name, numbers)
            curve.update()


def _set_range(scene: bpy.types.Scene) -> None:
    """From frame 0, the footage's first, to the last key."""
    ends = [0.0]
    for thing in scene.objects:
        for data in (thing, getattr(thing.data, "shape_keys", None)):
            if data is not None and data.animation_data is not None:
                tracks = [strip for track in data.animation_data.nla_tracks for strip in track.strips]
                ends += [strip.action_frame_end for strip in tracks]
                if data.animation_data.action is not None:
                    ends.append(data.animation_data.action.frame_range[1])
    scene.frame_start, scene.frame_end = 0, round(max(ends))
    scene.frame_set(0)


def _lay_under(scene: bpy.types.Scene, camera: bpy.types.Camera, footage: Path) -> None:
    """Show the footage behind everything, as large as the picture."""
    image = bpy.data.images.load(str(footage.resolve()))
    width, height = image.size
    if width and height:
        scene.render.resolution_x, scene.render.resolution_y = width, height
    camera.show_background_images = True
    background = camera.background_images.new()
    background.image, background.alpha, background.frame_method = image, 1.0, "FIT"
    if footage.suffix.lower() in _MOVIES:
        user = background.image_user
        user.frame_start, user.frame_duration, user.use_auto_refresh = 0, max(image.frame_duration, 1), True
    scene.render.film_transparent = True


def _light(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """A sun from above the camera."""
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle = 3.0, math.radians(20)
    sun.rotation_euler = (math.radians(60), 0.0, math.radians(-20))
    sun.location = camera.matrix_world.translation
    scene.collection.objects.link(sun)


if __name__ == "__main__":
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else [word for word in (GLB, FOOTAGE) if word]
    if not 1 <= len(words) <= 2:
        raise SystemExit("openexpose_blender.py: give the GLB, and the photo or video that it comes from")
    open_people(Path(words[0]), Path(words[1]) if len(words) == 2 else None)
