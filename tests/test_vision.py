"""torchvision beside a CPU build of torch: mended where it is broken, untouched where it works."""

import subprocess
import sys

import pytest


def run(code):
    """Run code in a fresh interpreter, where torchvision has not been imported yet."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def bare_import_fails():
    result = run("import torchvision")
    if result.returncode == 0:
        return False
    assert "operator torchvision::nms does not exist" in result.stderr
    return True


def test_torchvision_imports_through_our_door():
    result = run("from kd_core.vision import torchvision; print(torchvision().models.resnet18.__name__)")
    assert result.stdout == "resnet18\n", result.stderr


def test_exactly_the_missing_operators_are_declared_and_only_once(bare_import_fails):
    result = run(
        "from kd_core import vision; print(vision.declare_missing_operators(), vision.declare_missing_operators())"
    )
    expected = "['nms', 'qnms'] []" if bare_import_fails else "[] []"
    assert result.stdout.strip() == expected, result.stderr


def test_nothing_is_declared_where_the_operators_are_defined():
    """An installation whose own library loaded is stood in for by real definitions of the same operators."""
    result = run(
        "import torch\n"
        "own = torch.library.Library('torchvision', 'DEF')\n"
        "schema = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'\n"
        "[own.define(name + schema) for name in ('nms', 'qnms') if not hasattr(torch.ops.torchvision, name)]\n"
        "from kd_core import vision\n"
        "print(vision.declare_missing_operators())\n"
        "vision.torchvision()"
    )
    assert result.stdout.strip() == "[]", result.stderr
    assert result.returncode == 0, result.stderr
