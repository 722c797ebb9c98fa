"""Imports point one way, the engine knows nothing of the screen, and the light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ENGINE_ARROWS = {
    "config": set(),
    "places": {"config", "files"},
    "files": {"config"},
    "tensors": {"files"},
    "runs": {"config", "files"},
    "mending": {"config", "files", "runs"},
    "vision": set(),
    "drawing": {"config"},
    "downloads": {"config", "places", "vision"},
    "own_data": {"config", "downloads", "files", "places", "vision"},
    "teacher_logits": {"artifacts", "datasets", "files", "models", "runs", "tensors"},
    "intake": {"config", "own_data"},
    "datasets": {"config", "downloads", "drawing", "files", "own_data", "places", "vision"},
    "split": {"config", "datasets"},
    "losses": set(),
    "taps": set(),
    "objectives": {"config", "losses", "objectives", "taps"},
    "lessons": {"losses"},
    "arithmetic": {"config"},
    "precision": {"arithmetic", "config", "models"},
    "models": {"arithmetic", "config", "vision"},
    "mistakes": {"config", "evaluation", "lessons", "losses"},
    "training": {
        "arithmetic",
        "config",
        "datasets",
        "files",
        "losses",
        "mistakes",
        "models",
        "objectives",
        "precision",
        "taps",
        "tensors",
        "split",
    },
    "sweep": {
        "arithmetic",
        "config",
        "datasets",
        "files",
        "losses",
        "models",
        "precision",
        "tensors",
        "training",
        "split",
    },
    "evaluation": set(),
    "claims": {"evaluation"},
    "speed": {"models"},
    "programs": {"config"},
    "black_box": {"config", "programs"},
    "brought": {"black_box", "config", "models"},
    "teacher_files": {"black_box", "brought", "config", "datasets", "evaluation", "models"},
    "trial": {"cluster", "config", "datasets", "files", "runs", "teacher_files", "tensors"},
    "artifacts": {
        "brought",
        "config",
        "datasets",
        "evaluation",
        "files",
        "models",
        "runs",
        "speed",
        "tensors",
        "split",
    },
    "features": {"datasets", "models", "taps"},
    "landscape": {"arithmetic", "datasets", "models"},
    "cluster": {"config"},
    "performing": {
        "artifacts",
        "cluster",
        "config",
        "datasets",
        "evaluation",
        "export",
        "exported",
        "features",
        "files",
        "landscape",
        "models",
        "runs",
        "speed",
        "sweep",
        "teacher_logits",
        "training",
    },
    "jobs": {"arithmetic", "cluster", "config", "files", "live", "performing", "precision", "runs", "sweep"},
    "recipes": {"config", "precision", "runs"},
    "paper": {"claims", "config", "precision", "recipes", "runs"},
    "breaking": {"claims", "config", "evaluation", "paper", "recipes", "shipped"},
    "comparison": {"claims", "config", "evaluation", "paper", "recipes"},
    "evidence": {
        "artifacts",
        "config",
        "datasets",
        "evaluation",
        "losses",
        "models",
        "places",
        "recipes",
        "runs",
        "split",
    },
    "diagnosis": {"advice", "claims", "config", "evaluation", "evidence", "losses", "recipes"},
    "report": {"claims", "figures"},
    "advice": {"config", "recipes"},
    "shipped": {
        "artifacts",
        "config",
        "datasets",
        "evaluation",
        "files",
        "model_card",
        "models",
        "places",
        "recipes",
        "runs",
        "tensors",
    },
    "live": {"runs"},
    "model_card": {"config", "evaluation", "runs"},
    "bundles": {
        "artifacts",
        "brought",
        "config",
        "datasets",
        "evaluation",
        "files",
        "model_card",
        "models",
        "places",
        "runs",
        "speed",
        "split",
    },
    "exported": {"config", "files", "runs"},
    "export": {
        "artifacts",
        "brought",
        "config",
        "datasets",
        "downloads",
        "evaluation",
        "exported",
        "files",
        "model_card",
        "models",
        "runs",
        "speed",
        "tensors",
    },
    "snippets": {"exported"},
    "browser_page": {"config", "exported", "files", "runs"},
    "figures": set(),
    "__main__": {
        "precision",
        "artifacts",
        "browser_page",
        "bundles",
        "claims",
        "cluster",
        "comparison",
        "config",
        "datasets",
        "diagnosis",
        "evaluation",
        "evidence",
        "export",
        "exported",
        "files",
        "jobs",
        "mending",
        "paper",
        "performing",
        "places",
        "recipes",
        "runs",
        "shipped",
        "speed",
        "own_data",
        "trial",
    },
    "__init__": set(),
}


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


ENGINE = sorted((ROOT / "kd_core").rglob("*.py"))


def module_of(path):
    """The module of kd_core that a file is, or that the package is which it belongs to."""
    return path.relative_to(ROOT / "kd_core").with_suffix("").parts[0]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_engine_modules_import_along_the_arrows_only(path):
    inner = {name.split(".")[1] for name in imports_of(path) if name.startswith("kd_core.")}
    module = module_of(path)
    assert inner <= ENGINE_ARROWS[module], f"{module} imports {inner - ENGINE_ARROWS[module]}"


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_never_imports_streamlit_or_pages(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"streamlit", "pages"}


def test_only_vision_imports_torchvision():
    found = [path.name for path in ENGINE if any(name.split(".")[0] == "torchvision" for name in imports_of(path))]
    assert found == ["vision.py"]


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*.py")), ids=lambda path: path.stem)
def test_pages_hold_no_torch_and_no_sql(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "sqlite3", "scipy", "distributed"}


@pytest.mark.parametrize(
    "module",
    [
        "config", "places", "files", "runs", "cluster", "performing", "jobs", "recipes", "figures", "evaluation",
        "exported", "snippets", "browser_page", "shipped", "breaking", "trial", "claims",
    ],
)  # fmt: skip
def test_what_a_page_needs_first_does_not_import_torch(module):
    code = f"import sys, kd_core.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
