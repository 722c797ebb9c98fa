"""Ready-made programs that run an exported file: in Python, and in the browser by onnxruntime-web. Text alone.

They read a picture as kd_core.data.picture does: in Python by the same source, so to the last grey level; in the
browser to a few of them, by the same steps (docs/measurements/photographs.md).
"""

import ast
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Self

from kd_core.base.files import read_text
from kd_core.base.templates import filled, said
from kd_core.data.catalogue import HANDWRITTEN, info_of
from kd_core.data.pictures import decode, digit, middle
from kd_core.exchange.export import checks
from kd_core.exchange.export.checks import Checks, ExportError
from kd_core.runs.run import RunFolder

ORT_WEB = "1.30.0"
ORT_WEB_INTEGRITY = "sha384-Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq"
"""Of dist/ort.wasm.min.js in the npm package of that version."""
_HERE = Path(__file__).parent
_ONNX = ("ONNX Runtime", "pip install onnxruntime numpy pillow")
_RUNTIMES = {
    checks.ONNX: _ONNX,
    checks.ONNX_FP16: _ONNX,
    checks.ONNX_INT8: _ONNX,
    checks.PROGRAM: ("PyTorch", "pip install torch numpy pillow"),
    checks.WEIGHTS: ("KD Lab", "KD Lab, its folder in PYTHONPATH"),
}
"""Kind of file -> what runs it, and how one comes by that."""
PREFERRED = (checks.ONNX, checks.PROGRAM, checks.WEIGHTS)
"""What classify.py runs, the first that is there."""


class Images(NamedTuple):
    """What a model reads: its images (C, H, W), C is 1 or 3, with mean and std of their pixels from 0 to 1.

    digits: whether they are handwritten digits, centred as MNIST's are.
    """

    shape: tuple[int, int, int]
    class_names: Sequence[str]
    mean: float
    std: float
    digits: bool

    @classmethod
    def of(cls, dataset: str, class_names: Sequence[str], mean: float, std: float) -> Self:
        """Those of a data set, by its name."""
        return cls(info_of(dataset).image_shape, class_names, mean, std, dataset in HANDWRITTEN)

    def metadata(self, *, normalised_inside: bool) -> dict[str, str]:
        """What travels inside an exported file, by its keys: values of several parts are JSON.

        normalised_inside: whether the file normalises pixels of 0 to 255 itself. The keys that begin with Image are
        ONNX's own (docs/MetadataProps.md).
        """
        channels, height, width = self.shape
        colour = "RGB" if channels == 3 else "grey, 0.299 red + 0.587 green + 0.114 blue"
        scaled = f"scaled, bilinear with antialiasing, until {height}x{width} is just filled; the middle cut out"
        digit = "the digit in it, light on black, scaled into 20x20 and centred by its mass in 28x28, as MNIST's are"
        fit = [digit] if self.digits else [scaled, colour]
        normalisation = {"mean": self.mean, "std": self.std, "of": "pixels from 0 to 1", "inside": normalised_inside}
        return {
            "class_names": json.dumps(list(self.class_names), ensure_ascii=False),
            "image_shape": json.dumps(self.shape),
            "normalisation": json.dumps(normalisation),
            "preprocessing": json.dumps(["turned as its EXIF orientation says", "white behind what is clear", *fit]),
            "Image.BitmapPixelFormat": "Rgb8" if channels == 3 else "Gray8",
            "Image.NominalPixelRange": "NominalRange_0_255",
        }

    @property
    def values(self) -> dict[str, object]:
        """All of it, for a template."""
        channels, height, width = self.shape
        named = {"channels": channels, "height": height, "width": width, "class_names": list(self.class_names)}
        return self._asdict() | named


def python_snippet(kind: str, file: str, images: Images, batch: int | None = None) -> str:
    """A program that prints each class with its probability for a picture.

    kind: one of checks.MODEL_FILES. file: what it is called in the folder where the program runs. batch: how many
    images the graph takes at once; None: any number.
    """
    runs_in, needs = _RUNTIMES[kind]
    source = "\n\n\n".join(map(_carried, [decode, middle, *([digit] if images.digits else [])]))
    names = {"file": file, "runs_in": runs_in, "needs": needs, "reading": source, "batch": batch}
    return filled(_HERE / "classify.py.jinja", **names, **images.values)


def images_of(folder: RunFolder) -> Images:
    """What a run's model reads, by its card. Raises ExportError where the card is missing or damaged."""
    try:
        card = json.loads(read_text(folder.card))
        seen = card["input"]
        return Images.of(card["config"]["dataset"], card["class_names"], float(seen["mean"]), float(seen["std"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(said("The card of this run is missing or damaged: run it again.")) from None


def classify(folder: RunFolder, checks: Checks) -> str | None:
    """classify.py for the first of PREFERRED that passed, beside it; None where none did. Raises as images_of does."""
    kind = next((name for name in PREFERRED if name in checks.passed), None)
    return kind and python_snippet(kind, kind, images_of(folder), checks.options.batch)


def _carried(module: ModuleType) -> str:
    """Return the source of a module without its docstring and imports."""
    source = inspect.getsource(module)
    imports = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(source.splitlines()[imports[-1].end_lineno :]).strip()


def browser_snippet(file: str, images: Images, batch: int | None = None) -> str:
    """A page that does the same with onnxruntime-web, which it fetches from jsDelivr in a pinned version."""
    pinned = {"version": ORT_WEB, "integrity": ORT_WEB_INTEGRITY}
    return filled(_HERE / "classify.html", file=file, batch=batch or 1, **pinned, **images.values)
