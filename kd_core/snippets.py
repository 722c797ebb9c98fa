"""Ready-made programs that run an exported model.onnx: in Python, and in the browser by onnxruntime-web. Text alone."""

import json
from collections.abc import Sequence

from kd_core import exported

ORT_WEB = "1.30.0"
ORT_WEB_INTEGRITY = "sha384-Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq"
"""Of dist/ort.wasm.min.js in the npm package of that version."""

_PYTHON = '''"""Classify a picture with {file}. Needs: pip install onnxruntime numpy pillow

    python classify.py picture.png [temperature]
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

CLASS_NAMES = {class_names}

picture = ImageOps.fit(Image.open(sys.argv[1]).convert("{mode}"), ({width}, {height}), Image.Resampling.BILINEAR)
pixels = np.asarray(picture, dtype=np.uint8).reshape({height}, {width}, {channels})
images = pixels.transpose(2, 0, 1)[np.newaxis].astype(np.float32)  # (N, C, H, W), 0 to 255: the model normalises

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
logits = session.run(["logits"], {{"images": images}})[0][0]

temperature = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
scaled = logits / temperature
probabilities = np.exp(scaled - scaled.max())
probabilities /= probabilities.sum()
for name, probability in zip(CLASS_NAMES, probabilities):
    print(f"{{name}}\\t{{probability:.6f}}")
'''

_BROWSER = """<!doctype html>
<!-- Classify a picture with {file}, which lies beside this page. Serve both: python -m http.server -->
<html lang="en">
<meta charset="utf-8">
<title>{file}</title>
<script src="https://cdn.jsdelivr.net/npm/onnxruntime-web@{version}/dist/ort.wasm.min.js"
  integrity="{integrity}" crossorigin="anonymous"></script>
<label>Picture <input type="file" accept="image/*" id="picture"></label>
<canvas id="canvas" width="{width}" height="{height}"></canvas>
<pre id="said" aria-live="polite"></pre>
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

document.getElementById("picture").onchange = async (event) => {{
  const canvas = document.getElementById("canvas");
  const picture = await createImageBitmap(event.target.files[0]);
  const cut = Math.min(picture.width / WIDTH, picture.height / HEIGHT), across = WIDTH * cut, down = HEIGHT * cut;
  canvas.getContext("2d").drawImage(  // its middle
    picture, (picture.width - across) / 2, (picture.height - down) / 2, across, down, 0, 0, WIDTH, HEIGHT);
  const {{ logits }} = await (await session).run({{ images: toTensor(canvas) }});
  document.getElementById("said").textContent = softmax(logits.data)
    .map((probability, index) => CLASS_NAMES[index] + "\\t" + probability.toFixed(6)).join("\\n");
}};
</script>
</html>
"""


def python_snippet(image_shape: tuple[int, int, int], class_names: Sequence[str], file: str = exported.ONNX) -> str:
    """A program that prints each class with its probability for a picture, drawn as the training images are.

    image_shape: (C, H, W), C is 1 or 3. It reads `file` in the folder where it runs.
    """
    channels, height, width = image_shape
    mode = "L" if channels == 1 else "RGB"
    return _PYTHON.format(
        file=file, class_names=list(class_names), mode=mode, channels=channels, height=height, width=width
    )


def browser_snippet(image_shape: tuple[int, int, int], class_names: Sequence[str], file: str = exported.ONNX) -> str:
    """A page that does the same with onnxruntime-web, which it fetches from jsDelivr in a pinned version."""
    channels, height, width = image_shape
    return _BROWSER.format(
        file=file,
        class_names=json.dumps(list(class_names)).replace("<", "\\u003c"),
        channels=channels,
        height=height,
        width=width,
        version=ORT_WEB,
        integrity=ORT_WEB_INTEGRITY,
    )
