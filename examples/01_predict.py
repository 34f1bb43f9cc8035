"""Predict one photo from Python and read the result: `python examples/01_predict.py [photo.jpg]`."""

import sys
from pathlib import Path

from openexpose.body.keypoints import INDEX
from openexpose.formats.native import write_npz
from openexpose.image.read import read_image
from openexpose.predict.pipeline import Predictor

photo = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "astronaut.jpg"
image = read_image(photo)
predictor = Predictor.load()
people = predictor(image.pixels, focal_px=image.focal_px)

joints = predictor.keypoints(people)  # [people, 144, 3], metres, camera frame
vertices = predictor.mesh(people)  # [people, 13718, 3]
for k in range(len(people)):
    x, y, z = joints[k, INDEX["nose"]]
    print(f"person {k}: nose at ({x:+.2f}, {y:+.2f}, {z:.2f}) m, mesh of {vertices.shape[1]} vertices")

write_npz(Path("people.npz"), people, image_name=photo.name, focal_source="exif" if image.focal_px else "default")
