"""Pictures of digits like photographs of paper, and how many of them the shipped teacher reads.

    KD_DATA_DIR=... python tools/photographs/photographs.py [--draws 10] [--save FOLDER]

Each is one of MNIST's test images, drawn large with a pen of some width and colour on paper of some shade, plain,
ruled or squared, turned and tilted, under uneven light and sometimes a shadow with a hard edge, then stored as a JPEG.
The digits are the first six of each class that the teacher reads right as they are, so that what it reads wrong later
was lost on the way. Every pen is on every ruling in every light once. Further draws make the same digits anew, so that
nothing is chosen by the first. What it prints goes into docs/measurements/photographs.md.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from kd_core.data import load, picture  # noqa: E402
from kd_core.exchange import shipped  # noqa: E402
from kd_core.runs import artifacts  # noqa: E402
from kd_core.runs.store import Store  # noqa: E402

OF_EACH_CLASS = 6
PENS = {
    "black": (35, 35, 40), "blue": (40, 60, 150), "red": (170, 40, 45), "green": (35, 110, 60),
    "pencil": (110, 110, 115),
}  # fmt: skip
RULINGS = ("plain", "ruled", "squared")
SHADOWS = ("even", "gradient", "wedge", "spot")
SIZE = (480, 640)


class Photograph(NamedTuple):
    """content: a JPEG. label: the digit. The rest says how it was made."""

    content: bytes
    label: int
    pen: str
    ruling: str
    shadow: str


def ink_of(digit, generator):
    """A digit (28, 28) as large ink on nothing, (480, 640) from 0 to 1: turned, tilted, in a line of some width."""
    side = int(generator.integers(150, 320))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    mask = large.filter(ImageFilter.GaussianBlur(side / 60)).point(lambda value: 255 * (value > 110))
    thinner = int(generator.integers(0, 3)) * 2 + 1
    mask = mask.filter(ImageFilter.MinFilter(thinner)).filter(ImageFilter.GaussianBlur(1.2))
    mask = mask.rotate(generator.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
    shear = generator.uniform(-0.12, 0.12)
    mask = mask.transform(
        mask.size, Image.Transform.AFFINE, (1, shear, -shear * side / 2, 0, 1, 0), Image.Resampling.BICUBIC
    )
    sheet = Image.new("L", (SIZE[1], SIZE[0]))
    at = [
        int(generator.integers(20, max(21, room - part - 20))) for room, part in zip(sheet.size, mask.size, strict=True)
    ]
    sheet.paste(mask, tuple(at))
    return np.asarray(sheet) / 255


def paper_of(ruling, generator):
    """Paper (480, 640, 3) from 0 to 255, with lines in grey or light blue."""
    shade = generator.uniform(195, 245) * np.array([1, generator.uniform(0.96, 1), generator.uniform(0.86, 1)])
    fibre = np.asarray(
        Image.fromarray(generator.normal(128, 30, SIZE).clip(0, 255).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(1.5)
        )
    )
    paper = shade + (fibre[..., None] - 128.0) * 0.6
    lines = np.zeros(SIZE)
    step, width = int(generator.integers(36, 60)), int(generator.integers(1, 3))
    if ruling != "plain":
        for row in range(int(generator.integers(0, step)), SIZE[0], step):
            lines[row : row + width] = 1
    if ruling == "squared":
        for column in range(int(generator.integers(0, step)), SIZE[1], step):
            lines[:, column : column + width] = 1
    turned = Image.fromarray((255 * lines).astype(np.uint8)).rotate(generator.uniform(-4, 4), Image.Resampling.BICUBIC)
    lines = np.asarray(turned)[..., None] / 255 * generator.uniform(0.5, 0.9)
    return paper * (1 - lines) + lines * shade * np.array([0.68, 0.78, 0.9])


def light_of(shadow, generator):
    """How bright each place is, (480, 640): 1 is full light."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] / max(SIZE) - 0.4
    angle = generator.uniform(0, 2 * np.pi)
    across = columns * np.cos(angle) + rows * np.sin(angle)
    dark = generator.uniform(0.35, 0.65)
    if shadow == "even":
        return np.ones(SIZE) * generator.uniform(0.8, 1)
    if shadow == "gradient":
        return dark + (1 - dark) * (across - across.min()) / np.ptp(across)
    if shadow == "wedge":  # a hand or a telephone between paper and lamp
        edge = (across - generator.uniform(-0.15, 0.15)) / generator.uniform(0.01, 0.06)
        return dark + (1 - dark) / (1 + np.exp(-edge.clip(-30, 30)))
    away = (rows - generator.uniform(-0.2, 0.2)) ** 2 + (columns - generator.uniform(-0.2, 0.2)) ** 2
    return dark + (1 - dark) * np.exp(-away / 0.08)


def photograph(digit, label, number, draw=0):
    """One picture; number chooses pen, ruling and shadow in turn, and with draw seeds the rest."""
    generator = np.random.default_rng([draw, number])
    pens = list(PENS)
    pen, ruling, shadow = pens[number % 5], RULINGS[number // 5 % 3], SHADOWS[number // 15 % 4]
    ink = ink_of(digit, generator)[..., None] * generator.uniform(0.75, 1)
    sheet = paper_of(ruling, generator)
    lit = (sheet * (1 - ink) + ink * np.array(PENS[pen])) * light_of(shadow, generator)[..., None]
    noisy = lit + generator.normal(0, 4, (*SIZE, 3))
    shot = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(generator.uniform(0, 1.2))
    )
    buffer = io.BytesIO()
    shot.save(buffer, "JPEG", quality=int(generator.integers(60, 92)))
    return Photograph(buffer.getvalue(), label, pen, ruling, shadow)


def with_one_level(content):
    """The digit as KD Lab read it until November 2026: by its contrast to the median of the picture's edge."""
    grey = np.asarray(picture.read_rgb(content).convert("L"), dtype=np.int16)
    contrast = np.abs(grey - np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    ink = np.clip((contrast / float(contrast.max()) - 0.25) / 0.5, 0, 1)
    return picture.as_mnist((255 * ink).round().astype(np.uint8))


def photographs(teacher, dataset, draw=0):
    """The 60 of them."""
    labels, taken = dataset.test_labels.numpy(), Counter()
    right = teacher(dataset.test_images[:2000].numpy()).argmax(axis=1) == labels[:2000]
    chosen = []
    for at in np.flatnonzero(right):
        if taken[labels[at]] < OF_EACH_CLASS:
            taken[labels[at]] += 1
            chosen.append(photograph(dataset.test_images[at, 0].numpy(), int(labels[at]), len(chosen), draw))
    return chosen


def shipped_teacher(home):
    """The MNIST teacher that comes with KD Lab."""
    store = Store(home)
    shipped.take_in(store)
    run = next(run for run in store.runs() if run.config.dataset == "mnist" and run.config.role == "teacher")
    teacher = artifacts.load_trained(store.folder(run.id))
    store.close()
    return teacher


def read_by(teacher, reader, shots):
    """Which of them the teacher reads right, (N,); one that the reader refuses is read wrong."""
    right = []
    for shot in shots:
        try:
            right.append(int(teacher(reader(shot.content)[None, None]).argmax()) == shot.label)
        except picture.PictureError:
            right.append(False)
    return np.array(right)


def table(shots, before, after):
    """Lines of Markdown: pictures read right, by what they have in common."""
    lines = ["| pictures | of them | one level | local background |", "| --- | --- | --- | --- |"]
    for field in ("shadow", "ruling", "pen"):
        for value in dict.fromkeys(getattr(shot, field) for shot in shots):
            of = np.array([getattr(shot, field) == value for shot in shots])
            lines.append(f"| {field}: {value} | {of.sum()} | {before[of].sum()} | {after[of].sum()} |")
    return [*lines, f"| **all** | **{len(shots)}** | **{before.sum()}** | **{after.sum()}** |"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, help="a folder for the pictures and what becomes of them")
    parser.add_argument("--draws", type=int, default=10, help="further draws of the 60")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        teacher = shipped_teacher(Path(home))
    dataset = load.load("mnist")
    shots = photographs(teacher, dataset)
    before, after = (read_by(teacher, reader, shots) for reader in (with_one_level, picture.read_picture))
    lines = table(shots, before, after)
    print("\n".join(lines))
    further = [shot for draw in range(options.draws) for shot in photographs(teacher, dataset, draw + 1)]
    old, new = (read_by(teacher, reader, further).sum() for reader in (with_one_level, picture.read_picture))
    print(f"{options.draws} further draws: {old} and {new} of {len(further)}")
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        for number, shot in enumerate(shots):
            (options.save / f"{number:02}-{shot.label}.jpg").write_bytes(shot.content)
            with contextlib.suppress(picture.PictureError):
                name = f"{number:02}-{'right' if after[number] else 'wrong'}.png"
                Image.fromarray(picture.read_picture(shot.content)).resize((112, 112), 0).save(options.save / name)


if __name__ == "__main__":
    main()
