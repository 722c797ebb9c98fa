"""Ready-made programs that run an exported file: in Python, and in the browser by onnxruntime-web. Text alone.

They read a picture as kd_core.data.picture does: a digit, in Python, to the last grey level.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from kd_core.exchange.export import checks

ORT_WEB = "1.30.0"
ORT_WEB_INTEGRITY = "sha384-Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq"
"""Of dist/ort.wasm.min.js in the npm package of that version."""

_PYTHON = '''"""Classify a picture with {file}, which lies beside this program. Needs: {needs}

    python classify.py picture.png [temperature]
"""

{imports}

CLASS_NAMES = {class_names}


def read(path):
    """{read_doc} -> (C, H, W), 0 to 255."""
    picture = Image.open(path).convert("RGBA")
    picture = ImageOps.exif_transpose(picture.reduce(-(-max(picture.size) // 1024)))
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
{read}

images = read(sys.argv[1])[np.newaxis].astype(np.float32)  # (N, C, H, W)
{run}
temperature = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
scaled = logits / temperature
probabilities = np.exp(scaled - scaled.max())
probabilities /= probabilities.sum()
for name, probability in zip(CLASS_NAMES, probabilities):
    print(f"{{name}}\\t{{probability:.6f}}")
'''

_READ_DIGIT = """\
    grey = np.asarray(picture.convert("L"), dtype=np.int16)
    contrast = np.abs(grey - np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))  # to the paper
    ink = (255 * np.clip((contrast / contrast.max() - 0.25) / 0.5, 0, 1)).round().astype(np.uint8)
    rows, columns = (ink.any(axis=axis).nonzero()[0] for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(digit.shape)
    size = [max(1, round(side * scale)) for side in digit.shape]
    smooth = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC
    digit = np.asarray(Image.fromarray(digit).resize(size[::-1], smooth))
    middle = ((np.indices(size) + 0.5) * digit).sum(axis=(1, 2)) / digit.sum()
    top, left = (min(max(round(14.5 - at), 0), 28 - side) for at, side in zip(middle, size))
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, top : top + size[0], left : left + size[1]] = digit
    return image
"""

_READ_MIDDLE = """\
    middle = ImageOps.fit(picture, ({width}, {height}), Image.Resampling.BILINEAR).convert("{mode}")
    return np.asarray(middle).reshape({height}, {width}, {channels}).transpose(2, 0, 1)
"""

_ONNX = (
    "pip install onnxruntime numpy pillow",
    """\
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: ONNX Runtime would report to its maker

import numpy as np
import onnxruntime
from PIL import Image, ImageOps""",
    """\
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
logits = session.run(["logits"], {{"images": images}})[0][0]
""",
)
_TORCH = (
    "pip install torch numpy pillow",
    """\
import sys

import numpy as np
import torch
from PIL import Image, ImageOps""",
    """\
model = torch.export.load("{file}").module()
with torch.inference_mode():
    logits = model(torch.from_numpy(images))[0].numpy()
""",
)
_KD_CORE = (
    "KD Lab, its folder in PYTHONPATH",
    """\
import sys

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import safe_open

from kd_core.models.pixels import build
from kd_core.training.config import RunConfig""",
    """\
with safe_open("{file}", "pt") as file:
    config = RunConfig.from_json(file.metadata()["config"])
    weights = {{name: file.get_tensor(name) for name in file.keys()}}
MEAN, STD = {mean}, {std}  # of the pixels from 0 to 1
model = build(config.model, config.brought, weights, {image_shape}, len(CLASS_NAMES), mean=MEAN, std=STD)
with torch.inference_mode():
    logits = model((torch.from_numpy(images) / 255 - MEAN) / STD)[0].numpy()
""",
)
_PROGRAMS = {
    checks.ONNX: _ONNX,
    checks.ONNX_INT8: _ONNX,
    checks.PROGRAM: _TORCH,
    checks.WEIGHTS: _KD_CORE,
}
"""Kind of file -> what it needs, its imports, and how it gives logits."""

_BROWSER = """<!doctype html>
<!-- Classify a picture with {file}, which lies beside this page. Serve both: python -m http.server -->
<html lang="en">
<meta charset="utf-8">
<title>{file}</title>
<script src="https://cdn.jsdelivr.net/npm/onnxruntime-web@{version}/dist/ort.wasm.min.js"
  integrity="{integrity}" crossorigin="anonymous"></script>
<label>Picture <input type="file" accept="image/*" id="picture"></label>
<canvas id="canvas" width="{width}" height="{height}"></canvas>
<pre id="shares" aria-live="polite"></pre>
<script>
const CLASS_NAMES = {class_names}, CHANNELS = {channels}, HEIGHT = {height}, WIDTH = {width};
const session = ort.InferenceSession.create("{file}");

function toTensor(canvas) {{  // (1, C, H, W), 0 to 255: the model normalises
  const rgba = canvas.getContext("2d").getImageData(0, 0, WIDTH, HEIGHT).data;
  const values = new Float32Array(CHANNELS * HEIGHT * WIDTH);
  for (let i = 0; i < HEIGHT * WIDTH; i++) {{
    const [red, green, blue] = rgba.subarray(4 * i, 4 * i + 3);
    if (CHANNELS === 1) values[i] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    else [red, green, blue].forEach((value, channel) => (values[channel * HEIGHT * WIDTH + i] = value));
  }}
  return new ort.Tensor("float32", values, [1, CHANNELS, HEIGHT, WIDTH]);
}}

function softmax(logits, temperature = 1) {{
  const scaled = Array.from(logits, (logit) => logit / temperature);
  const highest = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((left, right) => left + right);
  return powers.map((power) => power / sum);
}}

{draw}

document.getElementById("picture").onchange = async (event) => {{
  const canvas = document.getElementById("canvas");
  draw(await createImageBitmap(event.target.files[0]), canvas.getContext("2d"));
  const {{ logits }} = await (await session).run({{ images: toTensor(canvas) }});
  document.getElementById("shares").textContent = softmax(logits.data)
    .map((probability, index) => CLASS_NAMES[index] + "\\t" + probability.toFixed(6)).join("\\n");
}};
</script>
</html>
"""

_DRAW_DIGIT = """\
function draw(picture, context) {  // a digit as MNIST's are: light on black, 20 pixels long, its middle in the middle
  const shrink = Math.min(1, 1024 / Math.max(picture.width, picture.height));
  const wide = Math.round(picture.width * shrink), high = Math.round(picture.height * shrink);
  const sheet = Object.assign(document.createElement("canvas"), { width: wide, height: high }).getContext("2d");
  sheet.fillStyle = "white";
  sheet.fillRect(0, 0, wide, high);
  sheet.drawImage(picture, 0, 0, wide, high);
  const pixels = sheet.getImageData(0, 0, wide, high), rgba = pixels.data;
  const weighed = (i) => 0.299 * rgba[i] + 0.587 * rgba[i + 1] + 0.114 * rgba[i + 2];
  const grey = Array.from({ length: wide * high }, (_, i) => weighed(4 * i));
  const border = grey.filter((_, i) => i < wide || i >= wide * (high - 1) || i % wide === 0 || i % wide === wide - 1);
  const paper = border.sort((a, b) => a - b)[border.length >> 1];
  const strongest = grey.reduce((most, level) => Math.max(most, Math.abs(level - paper)), 1);
  let left = wide, right = 0, top = high, bottom = 0, total = 0, row = 0, column = 0;
  grey.forEach((level, i) => {
    const ink = Math.round(255 * Math.min(1, Math.max(0, (Math.abs(level - paper) / strongest - 0.25) / 0.5)));
    rgba.set([ink, ink, ink, 255], 4 * i);
    if (!ink) return;
    const x = i % wide, y = (i - x) / wide;
    left = Math.min(left, x), right = Math.max(right, x + 1), top = Math.min(top, y), bottom = Math.max(bottom, y + 1);
    total += ink, column += ink * (x + 0.5), row += ink * (y + 0.5);
  });
  sheet.putImageData(pixels, 0, 0);
  const scale = 20 / Math.max(right - left, bottom - top);
  const [across, down] = [right - left, bottom - top].map((side) => Math.max(1, Math.round(side * scale)));
  const place = (middle, side) => Math.min(Math.max(Math.round(14.5 - middle * scale), 0), 28 - side);
  context.fillRect(0, 0, 28, 28);
  context.imageSmoothingQuality = "high";
  context.drawImage(sheet.canvas, left, top, right - left, bottom - top,
    place(column / total - left, across), place(row / total - top, down), across, down);
}"""

_DRAW_MIDDLE = """\
function draw(picture, context) {  // its middle, on white
  const cut = Math.min(picture.width / WIDTH, picture.height / HEIGHT), across = WIDTH * cut, down = HEIGHT * cut;
  context.fillStyle = "white";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.drawImage(
    picture, (picture.width - across) / 2, (picture.height - down) / 2, across, down, 0, 0, WIDTH, HEIGHT);
}"""


class Images(NamedTuple):
    """What a model reads: its images (C, H, W), C is 1 or 3, with mean and std of their pixels from 0 to 1.

    digits: whether they are handwritten digits, centred as MNIST's are.
    """

    shape: tuple[int, int, int]
    class_names: Sequence[str]
    mean: float
    std: float
    digits: bool


def python_snippet(kind: str, file: str, images: Images) -> str:
    """A program that prints each class with its probability for a picture.

    kind: one of checks.MODEL_FILES. file: what it is called in the folder where the program runs.
    """
    channels, height, width = images.shape
    sizes = {"channels": channels, "height": height, "width": width, "mode": "L" if channels == 1 else "RGB"}
    needs, imports, run = _PROGRAMS[kind]
    return _PYTHON.format(
        file=file,
        needs=needs,
        imports=imports,
        class_names=list(images.class_names),
        read_doc="A digit, dark on light or light on dark, as MNIST's are" if images.digits else "A picture's middle",
        read=_READ_DIGIT if images.digits else _READ_MIDDLE.format(**sizes),
        run=run.format(file=file, mean=images.mean, std=images.std, image_shape=images.shape),
    )


def browser_snippet(file: str, images: Images) -> str:
    """A page that does the same with onnxruntime-web, which it fetches from jsDelivr in a pinned version."""
    channels, height, width = images.shape
    return _BROWSER.format(
        file=file,
        class_names=json.dumps(list(images.class_names)).replace("<", "\\u003c"),
        channels=channels,
        height=height,
        width=width,
        version=ORT_WEB,
        integrity=ORT_WEB_INTEGRITY,
        draw=_DRAW_DIGIT if images.digits else _DRAW_MIDDLE,
    )
