"""The only door to torchvision, and the repair it needs beside a CPU build of torch.

PyPI's Linux wheel of torchvision is compiled for CUDA. Where its operator library cannot load, torchvision still
registers fake kernels for operators that nobody has defined, and `import torchvision` dies with "operator
torchvision::nms does not exist". KD Lab uses torchvision's data sets and model zoo, none of which call those
operators. So the missing ones are declared first, by the names that the installed version asks for, and only where
its own library did not define them: a working installation is left untouched.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

import torch

_declared: list[torch.library.Library] = []  # a declaration lives as long as its Library object


def torchvision() -> Any:
    """Import the torchvision package. Raises ImportError where it is not installed."""
    declare_missing_operators()
    import torchvision

    return torchvision


def transforms() -> Any:
    """Import torchvision.transforms.v2. Raises ImportError as torchvision does."""
    torchvision()
    from torchvision.transforms import v2

    return v2


def declare_missing_operators() -> list[str]:
    """Declare operators that torchvision fakes without defining. Returns the names declared, [] where all is well."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise ImportError("torchvision is not installed: pip install -r requirements.txt")
    folder = Path(package.origin).parent
    for library in folder.glob("_C*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:  # compiled for another torch: exactly the case to repair
            continue
    missing = [name for name in _faked_operators(folder) if not hasattr(torch.ops.torchvision, name)]
    for name in missing:
        declaration = torch.library.Library("torchvision", "FRAGMENT")
        declaration.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(declaration)
    return missing


def _faked_operators(folder: Path) -> list[str]:
    """Find the operators that the installed torchvision fakes whether or not its library loaded."""
    source = (folder / "_meta_registrations.py").read_text(encoding="utf-8")
    return re.findall(r"register_fake\(\s*['\"]torchvision::(\w+)['\"]\s*\)", source)
