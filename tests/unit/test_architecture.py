"""Imports run from the ground up, the engine knows nothing of the screen, and light modules stay light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ENGINE_ARROWS = {
    "base": set(),
    "data": {"base"},
    "models": {"base"},
    "losses": {"base", "models"},
    "evaluation": {"base", "data", "models"},
    "training": {"base", "data", "models", "losses", "evaluation"},
    "runs": {"base", "data", "models", "losses", "evaluation", "training"},
    "experiments": {"base", "data", "models", "losses", "evaluation", "training", "runs"},
    "exchange": {"base", "data", "models", "losses", "evaluation", "training", "runs"},
    "public": {"base", "data", "models", "losses", "evaluation", "training", "experiments", "exchange"},
    "jobs": {"base", "data", "models", "evaluation", "training", "runs", "exchange"},
    "cli": {
        "base", "data", "models", "losses", "evaluation", "training", "runs", "experiments", "exchange", "jobs",
    },
    "__main__": {"cli"},
    "__init__": {"base", "losses", "models", "public"},
}  # fmt: skip
"""Which package of the engine imports which others."""
MOST_MODULES = 9
"""In one folder: more are too many to find one's way by their names."""


def imports_of(path):
    """Dotted names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_below(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def room(path, top):
    """The package or module directly below top in which a file lies."""
    return path.relative_to(ROOT / top).with_suffix("").parts[0]


def arrows_of(top):
    """Which rooms below top import which others: room -> others."""
    arrows = {}
    for path in files_below(top):
        inner = {name.split(".")[1] for name in imports_of(path) if name.startswith(f"{top}.")}
        arrows.setdefault(room(path, top), set()).update(inner - {room(path, top)})
    return arrows


def test_the_engines_packages_import_along_the_arrows_and_use_each():
    assert arrows_of("kd_core") == ENGINE_ARROWS


def test_the_arrows_make_no_circle():
    below = {}
    for package, others in ENGINE_ARROWS.items():  # written from the ground up
        assert others <= set(below), f"{package} imports what stands above it"
        below[package] = others


def test_a_screen_imports_what_is_shared_and_no_other_screen():
    arrows = arrows_of("pages")
    assert arrows.pop("shared") == set()
    assert arrows.pop("site") == {"lesson", "overview", "playground", "shared", "temperature"}  # it is made of screens
    assert arrows
    assert all(others <= {"shared"} for others in arrows.values()), arrows


@pytest.mark.parametrize("path", files_below("kd_core"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_never_imports_the_screen(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"streamlit", "plotly", "pages"}


@pytest.mark.parametrize("path", files_below("pages"), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_do_not_import_the_command_line(path):
    assert not any(name.startswith(("kd_core.cli", "kd_core.__main__")) for name in imports_of(path))


def test_only_the_door_to_torchvision_imports_it():
    doors = [path for path in files_below("kd_core") if "torchvision" in {n.split(".")[0] for n in imports_of(path)}]
    assert doors == [ROOT / "kd_core" / "base" / "torchvision.py"]


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*/page.py")), ids=lambda path: path.parent.name)
def test_pages_hold_no_torch_and_no_sql(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "sqlite3", "scipy", "distributed"}


def test_streamlit_finds_no_page_by_its_old_discovery():
    """It takes every module directly in pages/ for a page, and shows it without app.py around it."""
    assert list((ROOT / "pages").glob("*.py")) == []


def test_one_module_alone_knows_streamlits_inside():
    outside = [ROOT / "app.py", *files_below("pages")]
    outside.remove(ROOT / "pages" / "shared" / "server" / "streamlit_patches.py")
    for path in outside:
        inner = {name for name in imports_of(path) if name.startswith("streamlit.")}
        assert not inner, f"{path.relative_to(ROOT)} imports {inner}"
        assert "st.runtime" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("top", ["kd_core", "pages"])
def test_a_folder_holds_no_more_modules_than_one_can_find_ones_way_by(top):
    for folder in {path.parent for path in files_below(top)}:
        modules = [path.name for path in folder.glob("*.py") if not path.stem.startswith("__")]
        assert len(modules) <= MOST_MODULES, f"{folder.relative_to(ROOT)}: {modules}"
