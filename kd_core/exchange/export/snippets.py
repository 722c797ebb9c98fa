"""Ready-made programs that run an exported file: in Python, and in the browser by onnxruntime-web. Text alone.

They read a picture as kd_core.data.picture does: a digit, in Python, by the same source, so to the last grey level; in
the browser to a few of them, by the same steps (docs/measurements/photographs.md).
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kd_core.base.templates import filled
from kd_core.data.pictures import digit
from kd_core.exchange.export import checks

ORT_WEB = "1.30.0"
ORT_WEB_INTEGRITY = "sha384-Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq"
"""Of dist/ort.wasm.min.js in the npm package of that version."""
_HERE = Path(__file__).parent
_ONNX = ("ONNX Runtime", "pip install onnxruntime numpy pillow")
_RUNTIMES = {
    checks.ONNX: _ONNX,
    checks.ONNX_INT8: _ONNX,
    checks.PROGRAM: ("PyTorch", "pip install torch numpy pillow"),
    checks.WEIGHTS: ("KD Lab", "KD Lab, its folder in PYTHONPATH"),
}
"""Kind of file -> what runs it, and how one comes by that."""


class Images(NamedTuple):
    """What a model reads: its images (C, H, W), C is 1 or 3, with mean and std of their pixels from 0 to 1.

    digits: whether they are handwritten digits, centred as MNIST's are.
    """

    shape: tuple[int, int, int]
    class_names: Sequence[str]
    mean: float
    std: float
    digits: bool

    @property
    def values(self) -> dict[str, object]:
        """All of it, for a template."""
        channels, height, width = self.shape
        named = {"channels": channels, "height": height, "width": width, "class_names": list(self.class_names)}
        return self._asdict() | named


def python_snippet(kind: str, file: str, images: Images) -> str:
    """A program that prints each class with its probability for a picture.

    kind: one of checks.MODEL_FILES. file: what it is called in the folder where the program runs.
    """
    runs_in, needs = _RUNTIMES[kind]
    source = inspect.getsource(digit).partition("from PIL import Image\n")[2].strip()
    names = {"file": file, "runs_in": runs_in, "needs": needs, "digit_in": source}
    return filled(_HERE / "classify.py.jinja", **names, **images.values)


def browser_snippet(file: str, images: Images) -> str:
    """A page that does the same with onnxruntime-web, which it fetches from jsDelivr in a pinned version."""
    pinned = {"version": ORT_WEB, "integrity": ORT_WEB_INTEGRITY}
    return filled(_HERE / "classify.html", file=file, **pinned, **images.values)
