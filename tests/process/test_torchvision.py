"""torchvision beside a CPU build of torch: mended where it is broken, untouched where it works."""

import importlib.util
import subprocess
import sys

import pytest

from kd_core.base import torchvision


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
    result = run("from kd_core.base.torchvision import torchvision; print(torchvision().models.resnet18.__name__)")
    assert result.stdout == "resnet18\n", result.stderr


def test_exactly_the_missing_operators_are_declared_and_only_once(bare_import_fails):
    result = run(
        "from kd_core.base.torchvision import declare_missing_operators as declare; print(declare(), declare())"
    )
    expected = "['nms', 'qnms'] []" if bare_import_fails else "[] []"
    assert result.stdout.strip() == expected, result.stderr


def test_our_door_opens_what_a_bare_import_cannot(bare_import_fails):
    if not bare_import_fails:
        pytest.skip("a bare `import torchvision` works here: its own operators load, there is nothing to mend")
    result = run(
        "import torch\n"
        "before = {name for name in ('nms', 'qnms', 'roi_align') if hasattr(torch.ops.torchvision, name)}\n"
        "from kd_core.base import torchvision as ours\n"
        "assert 'torchvision' not in __import__('sys').modules\n"
        "package = ours.torchvision()\n"
        "assert ours.torchvision() is package\n"
        "assert [library.ns for library in ours._declared] == ['torchvision'] * 2\n"
        "import torchvision, torchvision.datasets, torchvision.models\n"
        "assert torchvision is package\n"
        "print(sorted(before), callable(package.datasets.MNIST))"
    )
    assert result.stdout == "[] True\n", result.stderr


def test_only_the_operator_that_is_missing_is_declared(bare_import_fails):
    if not bare_import_fails:
        pytest.skip("torchvision's own operators load here: none is missing")
    result = run(
        "import torch\n"
        "own = torch.library.Library('torchvision', 'DEF')\n"
        "own.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "from kd_core.base import torchvision\n"
        "print(torchvision.declare_missing_operators())\n"
        "torchvision.torchvision()"
    )
    assert result.stdout == "['qnms']\n", result.stderr
    assert result.returncode == 0, result.stderr


def test_a_missing_torchvision_is_said_in_words(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^torchvision is not installed: pip install -r requirements\.txt$"):
        torchvision.torchvision()


def test_nothing_is_declared_where_the_operators_are_defined():
    """An installation whose own library loaded is stood in for by real definitions of the same operators."""
    result = run(
        "import torch\n"
        "own = torch.library.Library('torchvision', 'DEF')\n"
        "schema = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'\n"
        "[own.define(name + schema) for name in ('nms', 'qnms') if not hasattr(torch.ops.torchvision, name)]\n"
        "from kd_core.base import torchvision\n"
        "print(torchvision.declare_missing_operators())\n"
        "torchvision.torchvision()"
    )
    assert result.stdout.strip() == "[]", result.stderr
    assert result.returncode == 0, result.stderr
