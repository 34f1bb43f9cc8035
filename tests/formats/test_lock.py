"""A file that one program holds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openexpose.formats.lock import hold

HOLDS = """
import sys
from pathlib import Path
from openexpose.formats.lock import hold
file = hold(Path(sys.argv[1]))
print(file is not None, flush=True)
sys.stdin.read()
"""


def test_it_is_held_once_until_it_is_closed(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock")
    assert first is not None and hold(tmp_path / "lock") is None
    first.close()
    second = hold(tmp_path / "lock")
    assert second is not None
    second.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_program_holds_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "lock")]
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        assert hold(tmp_path / "lock") is None
        other.kill()
    freed = hold(tmp_path / "lock")
    assert freed is not None
    freed.close()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        hold(tmp_path / "none" / "lock")
