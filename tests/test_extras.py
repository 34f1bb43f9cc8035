"""Scripts for other programs run in those programs' Python: they need nothing that is not there."""

import ast
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "extras").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_blenders_python_has_what_they_import(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"), feature_version=(3, 10))
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "bpy" in names
    assert {name.split(".")[0] for name in names} <= {"bpy", *sys.stdlib_module_names}
