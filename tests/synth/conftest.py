import pytest

from openexpose.synth.person import Stage, build_stage


@pytest.fixture(scope="session")
def stage() -> Stage:
    return build_stage()
