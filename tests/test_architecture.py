"""Imports run one way, as the table of docs/architecture.md says; it leaves no module out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What has a version and its own error alone.
EVERYWHERE = {"rbkeras", "rbkeras._version"}


def rooms():
    """Modules of each room of the table, from the ground up."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    for _, name, modules, *_ in rows[1:]:
        names = re.findall(r"`([\w.*]+)`", modules)
        yield name.strip(), [n if n.startswith("tuning") else f"rbkeras.{n}" for n in names]


def every_module():
    for package in ("rbkeras", "tuning"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def room_of(module):
    """Position of the room that names the module, its package, or a pattern of it; None if none."""
    candidates = []
    for position, (_, names) in enumerate(rooms()):
        for name in names:
            pattern = re.escape(name).replace(r"\*", r"\w*")
            if re.fullmatch(rf"{pattern}(\..+)?", module):
                candidates.append((len(name), position))
    return max(candidates)[1] if candidates else None


def parents_of(module):
    """Packages that a module lies in; Python loads each of them before it."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def imports_of(path):
    """Modules of the project that a file names in an import, also inside its functions."""
    known = {name for name, _ in every_module()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from package import module` names the module, `from module import name` does not.
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in known else node.module for name in found]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in ("rbkeras", "tuning"))


MODULES = {name: path for name, path in every_module() if name not in EVERYWHERE}
#: Packages that load nothing of the project.
EMPTY = {
    name
    for name, path in MODULES.items()
    if path.name == "__init__.py" and not list(imports_of(path))
}


def loaded_by(module):
    """Modules with something in them that are loaded for a module's own sake."""
    named = set(imports_of(MODULES[module]))
    parents = set().union(*map(parents_of, {module, *named}))
    return (named | parents) - EVERYWHERE - EMPTY - {module}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_stands_in_a_room(module):
    assert module in EMPTY or room_of(module) is not None


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_from_a_room_below_its_own_in_the_table(module):
    own = room_of(module)
    for other in loaded_by(module):
        assert room_of(other) <= own, f"{module} imports {other}"


def test_no_module_but_a_command_imports_a_command():
    commands = [name for name, _ in rooms()].index("commands")
    for module in MODULES:
        for other in loaded_by(module):
            assert room_of(module) == commands or room_of(other) != commands, (
                f"{module} imports {other}"
            )


def test_the_table_names_no_module_that_is_gone():
    for _, names in rooms():
        for name in names:
            pattern = re.escape(name).replace(r"\*", r"\w*")
            assert any(re.fullmatch(pattern, module) for module in MODULES), name
