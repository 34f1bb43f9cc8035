"""Networks with seeded random weights, shared by every test that wants a bundle to run."""

from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
EXAMPLE_BOXES = np.array([[20.0, 5.0, 440.0, 512.0], [120.0, 10.0, 330.0, 400.0]])


def random_weights(folder: Path, *, feedback: bool) -> Path:
    """Checkpoints ``{body,hand,face}.pt`` of narrow regressors: rest pose plus what random weights make of the picture.

    Weights are rounded to float16, so that the exported heads equal the checkpoints.
    """
    import torch

    from openexpose.nets.build import rest_vector
    from openexpose.nets.checkpoint import RegressorConfig, build_regressor, save_regressor
    from openexpose.predict.parts import SPECS

    for seed, (part, numbers) in enumerate({"body": 1425, "hand": 1299, "face": 2200}.items()):
        torch.manual_seed(seed)
        config = RegressorConfig(part, numbers, hidden=8, stages=2, feedback=feedback)
        regressor = build_regressor(config)
        regressor.mean.copy_(rest_vector(SPECS[part]))
        torch.nn.init.normal_(regressor.output_layer.weight, std=0.05)
        for parameter in regressor.parameters():
            parameter.data = parameter.data.half().float()
        save_regressor(folder / f"{part}.pt", regressor, config, {"made": "by a test"})
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--oracle DIR``: see tests/assets/test_oracle.py."""
    what = "folder with reference outputs of the original network; runs the tests of the import at full size (2 min)"
    parser.addoption("--oracle", type=Path, default=None, metavar="DIR", help=what)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with random checkpoints ``{body,hand,face}.pt``, without residual feedback."""
    return random_weights(tmp_path_factory.mktemp("weights"), feedback=False)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the packaged trunks and detector, and random heads: it runs, its answers mean nothing."""
    from openexpose.training.export import bundle

    folder = tmp_path_factory.mktemp("bundle")
    bundle(tiny_weights, folder, name="tiny")
    return folder
