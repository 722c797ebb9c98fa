"""How many test photographs an export's classify.py reads right when a telephone held sideways has saved them.

    python tools/photographs/turned.py FOLDER SOURCE.zip

FOLDER: where `export --out FOLDER` and `predictions --out FOLDER/said.csv` wrote, of a run on a user's own images;
SOURCE.zip: those images. Each test image is enlarged to 1,600 pixels, laid down by a quarter and saved as a JPEG, with
EXIF that says so and without; the real classify.py reads it.
"""

import argparse
import contextlib
import io
import os
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 1600
ORIENTATION, LYING = 0x0112, 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    given = parser.parse_args()
    rows, source = pd.read_csv(given.folder / "said.csv"), zipfile.ZipFile(given.source)
    names = {file: next(name for name in source.namelist() if name.endswith(file)) for file in rows["file"]}
    os.chdir(given.folder)
    Image.new("RGB", (9, 9), "white").save("picture.jpg")
    sys.argv = ["classify.py", "picture.jpg"]
    with contextlib.redirect_stdout(io.StringIO()):
        program = runpy.run_path("classify.py")

    def right(picture, label, **options):
        picture.save("picture.jpg", quality=92, **options)
        image = program["read"]("picture.jpg")[np.newaxis].astype(np.float32)
        return program["session"].run(["logits"], {"images": image})[0].argmax() == label

    turned = Image.Exif()
    turned[ORIENTATION] = LYING
    counts = dict.fromkeys(("upright", "lying, EXIF says so", "lying, without EXIF"), 0)
    for row in rows.itertuples():
        upright = Image.open(io.BytesIO(source.read(names[row.file]))).convert("RGB").resize((SIDE, SIDE))
        lying = upright.transpose(Image.Transpose.ROTATE_90)
        counts["upright"] += right(upright, row.label)
        counts["lying, EXIF says so"] += right(lying, row.label, exif=turned)
        counts["lying, without EXIF"] += right(lying, row.label)
    print(f"| of {len(rows)} test images | right |\n| --- | --- |\n| as prepared | {int(rows['correct'].sum())} |")
    for name, count in counts.items():
        print(f"| {name} | {count} |")


if __name__ == "__main__":
    main()
