"""Feeds what reads strangers' files with damaged and forged ones for a bounded time, and says what it found.

    python tools/fuzz/fuzz.py --seconds 60 --seed 0 [--target bundle --target image ...] [--found FOLDER]

Targets are the readers of bundles, pictures, drawings, MNIST's idx files, safetensors, checkpoints and addresses. Each
input is a valid one, changed with knowledge of its format: chunks with their checksums made right, members sealed
again, headers that lie. A reader may take it or refuse it with the error that it promises. Anything else is a finding:
another exception, a crash, more than MAX_SECONDS or MAX_MEGABYTES. The readers run in a process of their own under a
limit of memory, so that a bomb or a hang is found and the next input tried. The same seed makes the same inputs (those
of bundles and checkpoints but for ids and times of the runs that they start from).

A finding is kept as a file with its traceback; `--replay FILE` feeds it again. Exits with 1 where there is one. What it
found once stands as a test of its own beside the reader's other tests.
"""

import argparse
import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

MAX_SECONDS, MAX_MEGABYTES = 10.0, 600.0
"""For one input: seconds of the processor, and megabytes beyond what the process had before it."""
SILENCE_SECONDS = 60.0
"""By the clock, after which a reader that says nothing hangs."""
HARD_MEGABYTES = 3000
"""Of address space beyond what the process has when it starts reading; beyond it memory is refused."""
ODD_NUMBERS = (0, 1, -1, 2, 7, 28, 127, 128, 255, 256, 4096, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64)
ODD_VALUES = (
    None,
    True,
    "",
    "x" * 300,
    "../x",
    "nan",
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    "\u202e",
)

INPUT = "input"
"""File of what is being read."""

Dice = random.Random


# ------------------------------------------------------------------------------------------------------- mutations


def any_bytes(dice: Dice, content: bytes) -> bytes:
    """Bytes set, cut, repeated, inserted, or all after one place gone."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place, length = dice.randrange(len(changed) + 1), dice.choice((1, 1, 2, 4, 8, 64))
        match dice.randrange(6):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] = dice.randrange(256)
            case 1 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << dice.randrange(8)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length] * dice.choice((1, 2, 50))
            case 4:
                changed[place : place + 4] = struct.pack(dice.choice("<>") + "Q", dice.choice(ODD_NUMBERS) % 2**64)[:4]
            case 5 if dice.random() < 0.2:
                del changed[place:]
    return bytes(changed)


def any_json(dice: Dice, content: bytes) -> bytes:
    """JSON with a value changed, of another kind, moved, gone or nested without end."""
    try:
        whole = json.loads(content)
    except ValueError:
        return any_bytes(dice, content)
    for _ in range(dice.choice((1, 1, 2))):
        places = [(whole, key) for key in _keys(whole)]
        for outer, key in places:
            places.extend((outer[key], inner) for inner in _keys(outer[key]))
        if not places:
            break
        outer, key = dice.choice(places)
        match dice.randrange(7):
            case 0:
                outer[key] = dice.choice(ODD_NUMBERS)
            case 1:
                outer[key] = dice.choice(ODD_VALUES)
            case 2:
                del outer[key]
            case 3:
                other, where = dice.choice(places)
                with contextlib.suppress(KeyError, IndexError):
                    outer[key] = json.loads(json.dumps(other[where]))
            case 4 if isinstance(outer, dict):
                outer[dice.choice(("", "self", "__class__", "x", "\u00e9"))] = outer[key]
            case 5 if isinstance(outer[key], (int, float)):
                outer[key] = outer[key] + dice.choice((-1, 1, 0.5, 1e-9))
            case 6:
                return json.dumps(whole).encode().replace(b":", b":" + b"[" * dice.choice((1, 1000, 100_000)), 1)
    return json.dumps(whole).encode()


def _keys(value: object) -> list:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def any_safetensors(dice: Dice, content: bytes) -> bytes:
    """Safetensors with another header, or a header of another length."""
    size = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + size], content[8 + size :]
    match dice.randrange(5):
        case 0:
            return any_bytes(dice, content)
        case 1:
            return dice.choice(ODD_NUMBERS).to_bytes(16, "little", signed=True)[:8] + content[8:]
        case 2:
            header = header.replace(b"F32", dice.choice((b"F64", b"I64", b"BOOL", b"F16", b"BF16", b"F8_E4M3", b"U8")))
        case 3:
            header = header.rstrip(b"} ") + b"," + header[1:]
        case 4:
            header = any_json(dice, header)
    return len(header).to_bytes(8, "little") + header + rest


def any_zip(dice: Dice, content: bytes) -> bytes:
    """A zip file whose members are changed in name, order, number, kind or content, or whose frame is."""
    if dice.random() < 0.2:
        near = dice.choice((len(content), 1200, 200))
        return content[:-near] + any_bytes(dice, content[-near:])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(dice.choice((1, 1, 2))):
        index = dice.randrange(len(members))
        name, body = members[index]
        plain = name.filename if isinstance(name, zipfile.ZipInfo) else name
        match dice.randrange(8):
            case 0:
                members[index] = dice.choice(("../x", "/tmp/x", "a\0b", "", "x" * 70_000, "CON", plain + "/")), body
            case 1:
                members.append((name, body))
            case 2:
                link = zipfile.ZipInfo(plain)
                link.external_attr = 0o120777 << 16
                members[index] = link, b"/etc/passwd"
            case 3:
                members[index] = name, bytes(dice.choice((10**6 + 1, 2 * 10**7)))
            case 4:
                other = dice.randrange(len(members))
                members[index], members[other] = (name, members[other][1]), (members[other][0], body)
            case _:
                change = any_json if plain.endswith(".json") else any_bytes
                change = any_safetensors if plain.endswith(".safetensors") else change
                members[index] = name, change(dice, body)
    if dice.random() < 0.8:
        _seal(members)
    buffer = io.BytesIO()
    kind = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(buffer, "w", kind, compresslevel=1) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def _seal(members: list) -> None:
    """Make the checksums of a bundle's card those of its weights and logits, as who forges one would."""
    bodies = {name: body for name, body in members if isinstance(name, str)}
    with contextlib.suppress(ValueError, TypeError, KeyError):
        card = json.loads(bodies["card.json"])
        for part in ("weights", "logits"):
            card[f"{part}_sha256"] = hashlib.sha256(bodies[f"{part}.safetensors"]).hexdigest()
        for index, (name, _) in enumerate(members):
            if name == "card.json":
                members[index] = name, json.dumps(card).encode()


def any_png(dice: Dice, content: bytes) -> bytes:
    """A PNG whose chunks are changed, moved, repeated or new, their checksums made right."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + size]])
        place += 12 + size
    bomb = zlib.compress(bytes(10**7))
    new = [
        [b"zTXt", b"k\0\0" + bomb], [b"iCCP", b"k\0\0" + bomb], [b"iTXt", b"k\0\1\0\0\0" + bomb],
        [b"tEXt", b"k\0" + bytes(9)],
        [b"acTL", struct.pack(">II", dice.choice((0, 1, 2**31 - 1)), 0)], [b"PLTE", bytes(3 * dice.randrange(300))],
        [b"tRNS", bytes(dice.randrange(300))], [b"IEND", b""], [b"eXIf", b"MM\0*\0\0\0\10" + bytes(dice.randrange(40))],
        [b"gAMA", bytes(dice.randrange(6))], [b"pHYs", bytes(dice.randrange(12))], [b"IDAT", bomb],
        [b"fcTL", struct.pack(">IIIIIHHBB", 0, *(dice.choice(ODD_NUMBERS) % 2**32 for _ in range(4)), 0, 0, 0, 0)],
    ]  # fmt: skip
    for _ in range(dice.choice((1, 1, 2, 3))):
        index = dice.randrange(len(chunks))
        match dice.randrange(6):
            case 0 if len(chunks[0][1]) == 13:  # width, height, bits, colours, compression, filter, interlace
                header = bytearray(chunks[0][1])
                place = dice.choice((0, 4))
                header[place : place + 4] = (dice.choice((1, 28, 4095, 4096, 4097, 2**31 - 1))).to_bytes(4, "big")
                header[dice.randrange(8, 13)] = dice.randrange(18)
                chunks[0][1] = bytes(header)
            case 1:
                chunks[index][1] = any_bytes(dice, chunks[index][1])
            case 2:
                chunks.insert(index + dice.randrange(2), dice.choice(new))
            case 3:
                chunks.insert(index, list(dice.choice(chunks)))
            case 4 if len(chunks) > 1:
                del chunks[index]
            case 5:
                dice.shuffle(chunks)
    parts = [content[:8]]
    for name, body in chunks:
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def any_picture(dice: Dice, content: bytes) -> bytes:
    """A picture changed as its format has it: the chunks of a PNG, the sizes and segments of the others."""
    if content.startswith(b"\x89PNG") and dice.random() < 0.8:
        return any_png(dice, content)
    changed = bytearray(content)
    if content.startswith(b"GIF8") and dice.random() < 0.6:
        sizes = [6, 8] + [place + 5 for place in range(len(content) - 9) if content[place] == 0x2C]
        place = dice.choice(sizes)
        changed[place : place + 2] = struct.pack("<H", dice.choice((0, 1, 4096, 4097, 65_535)))
    elif content.startswith(b"\xff\xd8") and dice.random() < 0.6:
        marks = [
            place for place in range(len(content) - 9) if content[place] == 0xFF and 0xC0 <= content[place + 1] < 0xFF
        ]
        place = dice.choice(marks)
        if content[place + 1] in (0xC0, 0xC1, 0xC2):
            changed[place + 5 : place + 9] = struct.pack(">HH", *(dice.choice((0, 1, 4096, 65_535)) for _ in range(2)))
        else:
            changed[place + 2 : place + 4] = struct.pack(">H", dice.choice((0, 1, 2, 100, 65_535)))
    else:
        return any_bytes(dice, content[:100]) + content[100:] if dice.random() < 0.6 else any_bytes(dice, content)
    return bytes(changed)


def any_idx(dice: Dice, content: bytes) -> bytes:
    """An idx file whose magic number or dimensions lie, or that is packed, or damaged."""
    changed = bytearray(content)
    match dice.randrange(5):
        case 0:
            changed[:4] = bytes(dice.randrange(16) for _ in range(4))
        case 1:
            place = 4 * dice.randrange(1, 4)
            changed[place : place + 4] = (dice.choice(ODD_NUMBERS) % 2**32).to_bytes(4, "big")
        case 2:
            changed = bytearray(gzip.compress(content, 1))
        case 3:
            changed = changed[: dice.choice((0, 3, 4, 8, 15, 16, len(changed) - 1))]
        case 4:
            return any_bytes(dice, content)
    return bytes(changed)


def any_address(dice: Dice, content: bytes) -> bytes:
    """What an address packs: JSON, or an image, changed, packed again, and the text of that changed too."""
    inner = any_json(dice, content) if content.startswith(b"{") else any_bytes(dice, content)
    if dice.random() < 0.1:
        inner = (inner * dice.choice((100, 10_000)))[:10_000_000]
    text = base64.urlsafe_b64encode(zlib.compress(inner, 1))
    return any_bytes(dice, text) if dice.random() < 0.3 else text


# --------------------------------------------------------------------------------------------------------- readers


class Target:
    """Valid inputs, how to change them, and what reads them: True where it took one, False where it refused."""

    def __init__(self, folder: Path, seeds: list[bytes], change: Callable[[Dice, bytes], bytes], read) -> None:
        self.folder, self.seeds, self.change, self.read = folder, seeds, change, read

    def input(self, seed: int, number: int) -> bytes:
        """The input of this number: the same whenever it is asked for."""
        dice = Dice(f"{seed}/{number}")
        content = dice.choice(self.seeds)
        for _ in range(dice.choice((1, 1, 1, 2))):
            with contextlib.suppress(Exception):  # what is no such file any more stays as it is
                content = self.change(dice, content)
        return content


def _pictures() -> list[bytes]:
    from PIL import Image

    made = []
    for kind, mode in (
        ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "1"), ("PNG", "I;16"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
        ("GIF", "P"), ("WEBP", "RGBA"), ("BMP", "RGB"), ("BMP", "P"),
    ):  # fmt: skip
        picture = Image.new(mode, (40, 50), 255 if mode in ("L", "P", "1") else 0 if mode == "I;16" else "white")
        if mode != "I;16":
            picture.paste(0 if mode in ("L", "P", "1") else "black", (15, 10, 20, 40))
        for frames in (1, 3):
            buffer = io.BytesIO()
            animated = {"save_all": True, "append_images": [picture.copy()] * 2} if frames == 3 else {}
            if frames == 1 or kind in ("PNG", "GIF", "WEBP"):
                picture.save(buffer, kind, **animated)
                made.append(buffer.getvalue())
    for kind, mode in (("PNG", "1"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB")):  # as large as is read, of few bytes
        buffer = io.BytesIO()
        Image.new(mode, (4096, 4096)).save(buffer, kind)
        made.append(buffer.getvalue())
    return made


def bundle(folder: Path) -> Target:
    from tiny import tiny_config, train_here

    from kd_core.exchange.bundle import BundleError, pack, unpack
    from kd_core.runs.store import Store

    there, here = Store(folder / "there"), Store(folder / "here")
    teacher = train_here(there, tiny_config())
    student = train_here(there, tiny_config("distilled", teachers=(teacher,)))
    there.describe(student, name="Pupil", note="A note.", tags=["one", "two"])

    def read(content: bytes) -> bool:
        before = sorted(folder.rglob("*"))
        try:
            run_id = unpack(here, content)
        except BundleError:
            taken = False
        else:
            assert here.get(run_id).results["test_errors"] in errors, "it counts other errors than its weights make"
            pack(here, run_id)
            here.delete(run_id)
            here.purge(days=0)
            taken = True
        assert [path for path in sorted(folder.rglob("*")) if path not in before and "sqlite" not in path.name] == []
        return taken

    (here.home / "runs").mkdir()
    errors = [there.get(run_id).results["test_errors"] for run_id in (teacher, student)]
    return Target(folder, [pack(there, teacher), pack(there, student)], any_zip, read)


def image(folder: Path) -> Target:
    from kd_core.data.picture import PictureError, read_picture

    def read(content: bytes) -> bool:
        try:
            assert read_picture(content).shape == (28, 28)
        except PictureError:
            return False
        return True

    return Target(folder, _pictures(), any_picture, read)


def canvas(folder: Path) -> Target:
    from kd_core.data.picture import PictureError, read_canvas

    def read(content: bytes) -> bool:
        try:
            assert read_canvas("data:image/png;base64," + base64.b64encode(content).decode()).shape == (28, 28)
        except PictureError:
            return False
        return True

    return Target(folder, [picture for picture in _pictures() if picture.startswith(b"\x89PNG")], any_png, read)


def idx(folder: Path) -> Target:
    from kd_core.data import load
    from kd_core.data.download import DatasetError
    from kd_core.data.sets import like_mnist

    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = struct.pack(">iiii", 2051, 3, 28, 28) + bytes(range(256)) * 9 + bytes(3 * 784 - 256 * 9)
    labels = struct.pack(">ii", 2049, 3) + bytes((0, 5, 9))
    whole = {f"{part}-{kind}": content for part in ("train", "t10k")
             for kind, content in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels))}  # fmt: skip
    like_mnist.IMAGES.update(train=3, t10k=3)
    os.environ["KD_DATA_DIR"] = str(folder)

    def read(content: bytes) -> bool:
        for name, sound in whole.items():
            (raw / name).write_bytes(sound)
        damaged = "t10k-images-idx3-ubyte" if len(content) > 400 else "train-labels-idx1-ubyte"
        (raw / damaged).write_bytes(content)
        like_mnist.read.cache_clear()
        try:
            assert load.load("mnist").test_images.shape == (3, 1, 28, 28)
        except DatasetError:
            return False
        return True

    return Target(folder, [images, labels], any_idx, read)


def safetensors(folder: Path) -> Target:
    import torch

    from kd_core.base.files import SaveError
    from kd_core.base.tensors import load_tensors, save_tensors

    file = folder / "weights"
    save_tensors(file, {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3), "b": torch.ones(())})

    def read(content: bytes) -> bool:
        file.write_bytes(content)
        try:
            load_tensors(file)
        except SaveError:
            return False
        return True

    return Target(folder, [file.read_bytes()], any_safetensors, read)


def checkpoint(folder: Path) -> Target:
    import torch

    from kd_core.base.files import SaveError
    from kd_core.base.tensors import load_state, save_state

    file = folder / "checkpoint"
    save_state(file, {"model": {"w": torch.ones(3, 4)}, "step": 3, "names": ["a"], "rng": torch.arange(9)})

    def read(content: bytes) -> bool:
        file.write_bytes(content)
        try:
            load_state(file)
        except SaveError:
            return False
        return True

    return Target(folder, [file.read_bytes()], any_zip, read)


def address(folder: Path) -> Target:
    from kd_core.data import picture as data_picture
    from kd_core.experiments.presets import PRESETS
    from pages.shared.session import story

    stories = [preset.story("digits").model_dump_json().encode() for preset in PRESETS.values()]

    def read(content: bytes) -> bool:
        text = content.decode("latin-1")
        with contextlib.suppress(data_picture.PictureError):
            data_picture.from_address(text)
        return story.of_address(text) is not None

    return Target(folder, [*stories, bytes(784)], any_address, read)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "bundle": bundle, "image": image, "canvas": canvas, "idx": idx, "safetensors": safetensors,
    "checkpoint": checkpoint, "address": address,
}  # fmt: skip


# ---------------------------------------------------------------------------------------- one process that reads


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1000 for line in lines if line.startswith(name))


def _feed(target: Target, content: bytes) -> dict[str, object]:
    """What became of one input: taken, how long it took, how much memory, and the traceback of a finding."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, start, problem, taken = _memory_mb("VmHWM"), time.process_time(), "", False
    try:
        taken = target.read(content)
    except Exception:  # a reader promises its own error, which read() expects
        problem = traceback.format_exc()
    seconds, megabytes = time.process_time() - start, _memory_mb("VmHWM") - before
    if not problem and seconds > MAX_SECONDS:
        problem = f"It took {seconds:.1f} s."
    if not problem and megabytes > MAX_MEGABYTES:
        problem = f"It took {megabytes:.0f} MB."
    return {"taken": taken, "seconds": seconds, "megabytes": megabytes, "problem": problem}


def read_all(name: str, folder: Path, seed: int, number: int) -> None:
    """Read one input after the other, from this number on; tells its parent of each before and after."""
    target = TARGETS[name](folder / name)
    target.read(target.seeds[0])  # what is imported and opened on the way is nobody's fault
    limit = int(_memory_mb("VmSize") + HARD_MEGABYTES) * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        content = target.input(seed, number)
        (folder / INPUT).write_bytes(content)
        print(json.dumps({"number": number}), flush=True)
        print(json.dumps(_feed(target, content)), flush=True)
        number += 1


# ------------------------------------------------------------------------------------------------- its supervisor


class Reading:
    """A process that reads, from an input on."""

    def __init__(self, name: str, seed: int, number: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kd-lab-fuzz-"))
        (self.folder / name).mkdir()
        words = ["--read", name, "--folder", str(self.folder), "--seed", str(seed), "--number", str(number)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "KD_HOME": str(self.folder / "home")},
        )  # fmt: skip
        self._lines = b""

    def hear(self, seconds: float) -> dict | None:
        """The next thing it tells; None where it ended or said nothing for so long."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._lines:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not more:
                return None
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)

    def end(self) -> None:
        """End it, and remove what it wrote."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def fuzz(name: str, seconds: float, seed: int, findings: Path) -> int:
    """Feed one target for so long; how many different findings there were."""
    deadline, number, outcomes, seen = time.monotonic() + seconds, 0, [], Counter()
    reading = Reading(name, seed, number)
    while time.monotonic() < deadline:
        begun = reading.hear(
            3 * SILENCE_SECONDS
        )  # the first comes after imports, and a run that is trained for the bundle
        if begun is not None:
            number = begun["number"]
        outcome = reading.hear(SILENCE_SECONDS) if begun is not None else None
        if outcome is None:
            code = reading.process.poll()
            problem = f"It said nothing for {SILENCE_SECONDS:.0f} s." if code is None else f"It ended with {code}."
            outcome = {"taken": False, "seconds": 0.0, "megabytes": 0.0, "problem": problem}
        outcomes.append(outcome)
        if outcome["problem"]:
            kind = outcome["problem"].strip().splitlines()[-1][:60]
            seen[kind] += 1
            if seen[kind] == 1:
                _keep(findings / f"{name}-{seed}-{number}", reading.folder / INPUT, outcome["problem"])
            reading.end()  # what it did to the reader must not be blamed on the next
            reading = Reading(name, seed, number + 1)
    reading.end()
    taken = sum(each["taken"] for each in outcomes)
    print(
        f"{name}: {len(outcomes):,} inputs in {seconds:.0f} s, {taken:,} taken, {len(outcomes) - taken:,} refused;"
        f" slowest {max((each['seconds'] for each in outcomes), default=0):.2f} s, most memory"
        f" {max((each['megabytes'] for each in outcomes), default=0):.0f} MB; {len(seen)} findings"
    )
    for kind, count in seen.items():
        print(f"  {count:,} times: {kind}")
    return len(seen)


def _keep(place: Path, content: Path, problem: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content, place)
    place.with_name(f"{place.name}.txt").write_text(problem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="all, where none is named")
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir()) / "kd-lab-fuzz-found")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="one finding")
    for inner in ("--read", "--folder", "--number"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read_all(given.read, Path(given.folder), given.seed, int(given.number))
    if given.replay:
        with tempfile.TemporaryDirectory() as folder:
            target = TARGETS[given.replay.name.split("-")[0]](Path(folder))
            print(json.dumps(_feed(target, given.replay.read_bytes()), indent=2).replace("\\n", "\n"))
        return
    counts = [fuzz(name, given.seconds, given.seed, given.found) for name in given.target or TARGETS]
    if any(counts):
        print(f"The findings lie in {given.found}")
    sys.exit(any(counts))


if __name__ == "__main__":
    main()
