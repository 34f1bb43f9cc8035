"""What the documents tell people to type is understood by the command line, and what they point at is there."""

import ast
import importlib
import os
import re
import shlex
from pathlib import Path

import pytest

from openexpose.cli import main as cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = sorted((ROOT / "runs").glob("*.sh"))
VERBS = (
    "Predict",
    "Fit",
    "Export",
    "View",
    "Curate",
    "Transfer",
    "Evaluate",
    "Compare",
    "Synth",
    "Data",
    "Train",
    "Bundle",
    "ImportExpose",
    "Assets",
)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def shell_lines(path: Path) -> list[str]:
    """The commands of a document's shell blocks, or of a script; continued lines are joined."""
    text = path.read_text("utf-8") if path.suffix == ".sh" else "\n".join(blocks(path, "sh") + blocks(path, "bash"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def command_lines(path: Path) -> list[list[str]]:
    """Words after ``openexpose`` of every such command."""
    found = []
    for line in shell_lines(path):
        for command in re.split(r"&&|\||;|(?<!&)&$", line):
            words = shlex.split(command, comments=True)
            if words and words[0].split("/")[-1] in ("openexpose", "$openexpose") and "=" not in words[0]:
                words = [word for word in words[1:] if not word.endswith("[@]}")]  # arrays: options that may be there
                found.append(["3" if word.startswith("$") else word for word in words])  # $VARIABLE: any word
    return found


COMMANDS = [(path.name, words) for path in [*DOCUMENTS, *SCRIPTS] for words in command_lines(path)]
MAKE = [
    words for path in DOCUMENTS for line in shell_lines(path) if (words := line.split("#")[0].split())[:1] == ["make"]
]


@pytest.mark.parametrize(("source", "words"), COMMANDS, ids=[f"{name}: {' '.join(words)}" for name, words in COMMANDS])
def test_commands_are_understood(source: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    for verb in VERBS:
        monkeypatch.setattr(getattr(cli, verb), "run", lambda self: ran.append(type(self).__name__) or 0)
    assert cli.main(words) == 0
    assert ran == ["".join(word.capitalize() for word in words[0].split("-"))]


def test_the_readme_shows_commands() -> None:
    assert len([name for name, _ in COMMANDS if name == "README.md"]) >= 3 and SCRIPTS and MAKE


@pytest.mark.parametrize("words", MAKE, ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    until = words.index("&&") if "&&" in words else len(words)
    for word in words[1:until]:
        name, equals, value = word.partition("=")
        pattern = rf"^{re.escape(name)} \?=" if equals else rf"^{re.escape(name)}:(?!=)"
        assert re.search(pattern, makefile, re.MULTILINE), word
        assert not equals or (ROOT / value).exists(), word
    for script in (word for word in words if word.startswith("runs/")):
        assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path) -> None:
    """Paths in backticks from the top of the checkout."""
    named = re.findall(
        r"`((?:src|tests|docs|examples|runs|bench|synth_assets)/[\w./-]*\w)`", document.read_text("utf-8")
    )
    dead = [name for name in named if not (ROOT / name).exists()]
    assert not dead


def test_the_python_of_the_readme_names_what_there_is() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, name.name) for name in node.names)
