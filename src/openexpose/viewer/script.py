"""The page's modules as one script, which runs from a file on the disk: browsers load no modules from there.

Each module becomes a function whose exports are its result; ``import`` and ``export`` become names of an object. This
knows the forms that our modules and three.js have, not the whole language.
"""

import re
from functools import lru_cache
from importlib.resources import files

_OURS = ("data", "body", "surface", "person", "stage", "drawing", "picture", "clock", "panels", "page")
_IMPORT = re.compile(r"""^import\s*(?:\*\s*as\s+(\w+)|\{([^}]*)\})\s*from\s*["']([^"']+)["'];?""", re.MULTILINE)
_PASSED_ON = re.compile(r"""export\s*\{([^}]*)\}\s*from\s*["']([^"']+)["'];?""")
_EXPORTED = re.compile(r"export\s*\{([^}]*)\};?\s*\Z")
_DECLARED = re.compile(r"^export\s+((?:async\s+)?function|class|const)\s+(\w+)", re.MULTILINE)


@lru_cache(maxsize=1)
def page_script() -> str:
    """The whole script, three.js with its licence included."""
    vendor, page = files("openexpose.web") / "vendor", files("openexpose.viewer") / "page"
    modules = {
        "./three.core.min.js": vendor / "three.core.min.js",
        "three": vendor / "three.module.min.js",
        "./OrbitControls.js": vendor / "OrbitControls.js",
        **{f"./{name}.js": page / f"{name}.js" for name in _OURS},
    }
    known = {name: f"$module{number}" for number, name in enumerate(modules)}
    parts = [_as_function(place.read_text("utf-8"), known[name], known) for name, place in modules.items()]
    licence = f"/* three.js:\n{(vendor / 'three.LICENSE').read_text('utf-8')}*/"
    return "\n".join([licence, *parts])


def _as_function(text: str, name: str, known: dict[str, str]) -> str:
    """A module as ``const NAME = (() => {...; return {exports}})();``."""
    exports: list[str] = []

    def imported(match: re.Match[str]) -> str:
        whole, names, source = match.groups()
        wanted = whole or "{" + ",".join(f"{old}:{new}" for old, new in _pairs(names)) + "}"
        return f"const {wanted}={known[source]};"

    def passed_on(match: re.Match[str]) -> str:
        exports.extend(f"{new}:{known[match[2]]}.{old}" for old, new in _pairs(match[1]))
        return ""

    def exported(match: re.Match[str]) -> str:
        exports.extend(f"{new}:{old}" for old, new in _pairs(match[1]))
        return ""

    def declared(match: re.Match[str]) -> str:
        exports.append(match[2])
        return f"{match[1]} {match[2]}"

    text = _DECLARED.sub(declared, _EXPORTED.sub(exported, _PASSED_ON.sub(passed_on, _IMPORT.sub(imported, text))))
    return f'const {name}=(()=>{{"use strict";\n{text}\nreturn {{{",".join(exports)}}};}})();'


def _pairs(names: str) -> list[tuple[str, str]]:
    """``a as b, c`` as (a, b), (c, c)."""
    found = [re.split(r"\s+as\s+", name.strip()) for name in names.split(",") if name.strip()]
    return [(name[0], name[-1]) for name in found]
