"""Parts of the body, drawn without the rest."""

import numpy as np
import pytest

from openexpose.body.model import load_body_model
from openexpose.body.part import part_surface


@pytest.mark.parametrize("part", ["face", "left-hand", "right-hand"])
def test_a_part_is_drawn_without_the_rest(part: str) -> None:
    model = load_body_model()
    rows, faces = part_surface(model, part)
    assert 0 < len(rows) < len(model.v_template) / 2
    assert faces.min() == 0 or len(faces) == 0
    assert faces.max() < len(rows)
    x = model.v_template[rows][:, 0]
    assert {"face": abs(x).max() < 0.3, "left-hand": x.min() > 0.3, "right-hand": x.max() < -0.3}[part]
    np.testing.assert_array_equal(part_surface(model, "whole")[1], model.faces)
