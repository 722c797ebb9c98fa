"""Whatever comes in is taken as it is, or refused in a sentence: configs, bundles, pictures, addresses, commands.

Hypothesis draws the same examples every time, so that what fails here fails everywhere; it prints how to try it alone.
"""

import base64
import contextlib
import io
import json
import string
import struct
import zipfile
import zlib
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import streamlit as st
import torch
from app_test import app_test
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as some
from PIL import Image
from starlette.requests import Request
from tiny import tiny_config, tiny_story, train_here
from typer.testing import CliRunner

from kd_core.base import config as base_config
from kd_core.base.config import ConfigError
from kd_core.cli import REFUSED, watch
from kd_core.cli.app import app
from kd_core.data import catalogue as data_catalogue
from kd_core.data import picture as data_picture
from kd_core.data.catalogue import TransferSetConfig
from kd_core.data.picture import PictureError
from kd_core.exchange import bundle as exchange_bundle
from kd_core.exchange import shipped
from kd_core.exchange.bundle import BundleError
from kd_core.experiments import story as experiments_story
from kd_core.experiments import sweep
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import execute, queue
from kd_core.losses import catalogue as losses_catalogue
from kd_core.losses import config as losses_config
from kd_core.losses.config import DistillationConfig
from kd_core.models import config as models_config
from kd_core.models.config import ModelConfig
from kd_core.runs import progress
from kd_core.runs import run as runs_run
from kd_core.runs.run import StoreError
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig, TrainingConfig
from pages.shared import tour, words
from pages.shared.access import auth
from pages.shared.server import routes
from pages.shared.session import address, keys, services
from pages.shared.session import story as session_story
from tests.unit.exchange.test_bundles import files_of, members_of, sealed, zipped

settings.register_profile(
    "here",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
settings.load_profile("here")

ODD = [
    "",
    " ",
    "\0",
    "\x1b[31m",
    "\u202e",
    "é",
    "🤖",
    "\ud800",
    "\ufffe",
    "../../etc/passwd",
    "/",
    "nan",
    "1e999",
    "-1",
]
ODD += ["9" * 5000, "0x1", "²", "٣", "None", "null", "true", "[]", "{}", "<b>", "${x}", "%s", "{0}", "a,b,,c", "--help"]
texts = some.one_of(some.sampled_from(ODD), some.text(max_size=20), some.text(some.characters(), max_size=5))
utf8 = texts.filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
ids = some.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
floats = some.floats(allow_nan=True, allow_infinity=True)
values = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), floats, texts),
    lambda inner: some.one_of(some.lists(inner, max_size=4), some.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def sentence(error):
    """Assert that an error reads as a sentence, and return it."""
    text = str(error)
    assert text.strip()
    assert "Traceback" not in text
    assert "\n" not in text.strip() or "Invalid JSON" in text
    text.encode()
    return text


# --------------------------------------------------------------------------------------------------------- configs

models = some.one_of(
    some.builds(
        ModelConfig,
        hidden=some.lists(some.integers(1, 20_000), max_size=20).map(tuple),
        dropout_input=some.floats(0, 0.99),
        dropout_hidden=some.floats(0, 0.99),
        batch_norm=some.booleans(),
    ),
    some.builds(
        ModelConfig,
        name=some.sampled_from(list(models_config.MODELS)),
        channels=some.lists(some.integers(1, 2048), min_size=1, max_size=3).map(tuple),
    ),
)
trainings = some.builds(
    TrainingConfig,
    epochs=some.integers(1, 10_000),
    batch_size=some.integers(1, 65_536),
    optimizer=some.sampled_from(["adamw", "adam", "sgd"]),
    learning_rate=some.floats(0, 100, exclude_min=True),
    schedule=some.sampled_from(["cosine", "constant", "one-cycle"]),
    warmup_epochs=some.floats(0, 1, exclude_max=True),
    weight_decay=some.none() | some.floats(0, 10),
    jitter_pixels=some.integers(0, 8),
    validation_fraction=some.floats(0, 0.5),
    precision=some.sampled_from(["auto", "float32", "bfloat16"]),
    memory_format=some.sampled_from(["auto", "contiguous", "channels_last"]),
    label_smoothing=some.floats(0, 0.99),
    device=some.sampled_from(["auto", "cpu", "cuda", "mps"]),
)
transfer_sets = some.builds(
    TransferSetConfig,
    fraction=some.floats(0, 1, exclude_min=True),
    only_classes=some.none() | some.lists(some.integers(0, 9), min_size=1, max_size=12).map(tuple),
)


@some.composite
def objectives(draw):
    """Settings of any objective that may have several teachers, each as its rules allow."""
    name = draw(
        some.sampled_from([name for name, info in losses_catalogue.OBJECTIVES.items() if info.needs == "logits"])
    )
    info = losses_catalogue.OBJECTIVES[name]
    weights = {
        weight: draw(some.floats(0, known.most)) for weight, known in info.weights.items() if draw(some.booleans())
    }
    last_t, last_alpha = some.none() | some.floats(0, 1000, exclude_min=True), some.none() | some.floats(0, 1)
    return {
        "objective": name,
        "weights": weights,
        "final_temperature": draw(last_t) if info.uses_temperature else None,
        "final_alpha": draw(last_alpha) if info.mixed else None,
    }


distillations = some.builds(
    lambda objective, **changes: DistillationConfig(**objective, **changes),
    objectives(),
    teachers=some.lists(ids, min_size=1, max_size=losses_config.MAX_ENSEMBLE).map(tuple),
    temperature=some.floats(0, 1000, exclude_min=True),
    alpha=some.floats(0, 1),
    t_squared=some.booleans(),
    ensemble=some.sampled_from(["probabilities", "logits"]),
)
shared = {
    "dataset": some.sampled_from(list(data_catalogue.DATASETS)),
    "model": models,
    "training": trainings,
    "seed": some.integers(0, 2**31 - 1),
}
run_configs = some.one_of(
    some.builds(RunConfig, role=some.just("teacher"), continues=some.none() | ids, **shared),
    some.builds(RunConfig, role=some.just("baseline"), transfer_set=transfer_sets, **shared),
    some.builds(
        RunConfig,
        role=some.just("distilled"),
        transfer_set=transfer_sets,
        distillation=distillations,
        **shared,
    ),
    some.builds(
        RunConfig,
        role=some.just("distilled"),
        transfer_set=transfer_sets.map(lambda part: part.replace(labelled=False)),
        distillation=distillations.map(
            lambda distillation: distillation.replace(objective="hinton", weights=(), alpha=1.0, final_alpha=None)
        ),
        **shared,
    ),
)
sweeps = some.builds(
    SweepConfig,
    dataset=shared["dataset"],
    teachers=some.lists(ids, min_size=1, max_size=3).map(tuple),
    widths=some.lists(some.integers(1, 20_000), min_size=1, max_size=3, unique=True).map(tuple),
    temperatures=some.lists(some.floats(0, 1000, exclude_min=True), min_size=1, max_size=3, unique=True).map(tuple),
    alphas=some.lists(some.floats(0, 1), min_size=1, max_size=3, unique=True).map(tuple),
    seeds=some.lists(some.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True).map(tuple),
    training=trainings,
    transfer_set=transfer_sets,
)
stories = some.builds(
    lambda objective, **changes: StoryConfig(**objective, **changes),
    objectives(),
    assistant=some.none() | models,
    assistant_training=some.none() | trainings,
    dataset=shared["dataset"],
    teachers=some.lists(ids, max_size=losses_config.MAX_ENSEMBLE).map(tuple),
    new_teachers=some.integers(1, losses_config.MAX_ENSEMBLE),
    teacher=models,
    teacher_training=trainings,
    ensemble=some.sampled_from(["probabilities", "logits"]),
    student=models,
    training=trainings,
    temperature=some.floats(0, 1000, exclude_min=True),
    alpha=some.floats(0, 1),
    t_squared=some.booleans(),
    transfer_set=transfer_sets,
    baseline=some.booleans(),
    seed=some.integers(0, 2**31 - 1 - losses_config.MAX_ENSEMBLE),
)
KINDS = (RunConfig, SweepConfig, StoryConfig, ModelConfig, TrainingConfig, TransferSetConfig, DistillationConfig)


@given(some.one_of(run_configs, sweeps, stories))
@settings(max_examples=60)
def test_every_config_comes_back_from_json_and_from_its_own_fields(made):
    assert type(made).from_json(made.model_dump_json()) == made
    assert type(made)(**json.loads(made.model_dump_json())) == made
    assert made.replace() == made
    assert hash(made.replace()) == hash(made)


@given(run_configs)
@settings(max_examples=40)
def test_every_run_has_a_label_and_a_size(made):
    assert made.label.startswith(made.role)
    assert made.model.label
    assert 1 <= made.examples <= data_catalogue.DATASETS[made.dataset].train_examples
    assert base_config.differences([made, made]) == {}


@given(sweeps)
@settings(max_examples=20)
def test_every_sweep_is_as_many_runs_as_it_says_each_another(made):
    assert len({*made.cells()}) == made.cell_count <= sweep.MAX_CELLS


@given(stories)
@settings(max_examples=40)
def test_every_story_comes_back_from_its_address_and_is_runs(story):
    assert (
        session_story.of_address(session_story.to_address(story)) == story
        or len(session_story.to_address(story)) > session_story.LONGEST_ADDRESS
    )
    plan = experiments_story.plan(story)
    assert len(plan.to_train) == len(story.teacher_runs()) + 1 + story.baseline + (story.assistant is not None)


@given(some.sampled_from(KINDS), some.one_of(values, some.dictionaries(texts, values, max_size=5)))
@settings(max_examples=150)
def test_any_values_are_a_config_or_a_sentence(kind, value):
    for build in (
        lambda: kind.from_json(json.dumps(value)),
        lambda: kind(**value) if isinstance(value, dict) else kind(value=value),
    ):
        try:
            built = build()
        except ConfigError as error:
            sentence(error)
        else:
            assert kind.from_json(built.model_dump_json()) == built


@given(some.text() | some.binary().map(lambda content: content.decode("latin-1")))
@settings(max_examples=40)
def test_any_text_is_no_config_and_that_is_said(text):
    for kind in KINDS[:3]:
        with pytest.raises(ConfigError) as refused:
            kind.from_json(text)
        sentence(refused.value)


@given(some.one_of(run_configs, sweeps, stories), some.data())
@settings(max_examples=150)
def test_one_field_changed_to_anything_is_a_config_or_a_sentence(made, data):
    whole = made.model_dump(mode="json")
    changed = with_other(whole, data)
    for build in (lambda: type(made)(**changed), lambda: made.replace(**changed)):
        try:
            built = build()
        except ConfigError as error:
            sentence(error)
        else:
            assert type(made).from_json(built.model_dump_json()) == built


def places_in(value, path=()):
    """Paths to everything within nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, element in inner for place in places_in(element, (*path, key))]


def with_other(whole, data):
    """A copy with another value, another kind of value, or none, in one place of it."""
    copy = json.loads(json.dumps(whole))
    *outer, last = data.draw(some.sampled_from(places_in(copy)), label="place")
    inner = copy
    for key in outer:
        inner = inner[key]
    match data.draw(some.sampled_from(["other", "other", "deep", "gone", "more"]), label="change"):
        case "other":
            inner[last] = data.draw(values, label="value")
        case "deep":
            inner[last] = [[[[[[[[inner[last]]]]]]]]]
        case "gone":
            del inner[last]
        case "more" if isinstance(inner, dict):
            inner[data.draw(texts, label="name")] = inner[last]
    return copy


# --------------------------------------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """With more, models this small wait for cores that other programs hold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class There(NamedTuple):
    """Another machine's store, a run in it, and its bundle; and an empty store here."""

    store: Store
    here: Store
    run_id: str
    bundle: bytes

    def __repr__(self):  # which Hypothesis prints
        return "there"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    store, here = Store(tmp_path_factory.mktemp("there")), Store(tmp_path_factory.mktemp("here"))
    (here.home / "runs").mkdir()
    run_id = train_here(store, tiny_config())
    yield There(store, here, run_id, exchange_bundle.pack(store, run_id))
    store.close()
    here.close()


def taken_in(there, content):
    """The run that a bundle gives, which is then taken out again; None where it is refused. Nothing else stays."""
    before = files_of(there.here)
    try:
        run_id = exchange_bundle.unpack(there.here, content)
    except BundleError as error:
        note(sentence(error))
        assert there.here.runs() == []
        assert files_of(there.here) == before
        return None
    run, again = there.here.get(run_id), exchange_bundle.pack(there.here, run_id)
    updates = progress.updates(there.here, [run], {})
    json.dumps(updates, allow_nan=False)
    assert {"config.json", "weights.safetensors"} <= {path.name for path in there.here.folder(run_id).path.iterdir()}
    there.here.delete(run_id)
    there.here.purge(days=0)
    assert files_of(there.here) == before
    return run, members_of(again)


@given(name=utf8, remark=utf8, tags=some.lists(utf8, max_size=120))
@settings(max_examples=12)
def test_a_run_of_whatever_name_note_and_tags_travels_whole(there, name, remark, tags):
    there.store.describe(there.run_id, name=name, note=remark, tags=tags)
    left = there.store.get(there.run_id)
    content = exchange_bundle.pack(there.store, there.run_id)
    assert content == exchange_bundle.pack(there.store, there.run_id)
    arrived, again = taken_in(there, content)
    assert (arrived.name, arrived.note, arrived.tags) == (left.name, left.note, left.tags)
    assert (arrived.config, arrived.results, arrived.batch) == (left.config, left.results, left.batch)
    assert again == members_of(content)


def same_run(there, run, members):
    """Assert that what was taken in is the run that was packed, whatever is now said of it in words and times."""
    original = members_of(there.bundle)
    left = there.store.get(there.run_id)
    assert (run.config, run.results) == (left.config, left.results)
    for name in ("weights.safetensors", "logits.safetensors"):
        assert members[name] == original[name]


@given(some.data())
@settings(max_examples=60)
def test_a_bundle_with_bytes_changed_gives_the_same_run_or_a_sentence(there, data):
    content = bytearray(there.bundle)
    near = data.draw(some.sampled_from([len(content), 1200]), label="within the last")  # where the directory is
    for _ in range(data.draw(some.integers(1, 4), label="changes")):
        place = -data.draw(some.integers(1, min(near, len(content))), label="place")
        match data.draw(some.sampled_from(["set", "cut", "insert", "repeat"]), label="kind"):
            case "set":
                content[place] = data.draw(some.integers(0, 255), label="byte")
            case "cut":
                del content[place : min(-1, place + data.draw(some.integers(1, 64), label="bytes"))]
            case "insert":
                content[place:place] = data.draw(some.binary(min_size=1, max_size=64), label="content")
            case "repeat":
                content[place:place] = content[place : min(-1, place + 64)]
    imported = taken_in(there, bytes(content))
    if imported is not None:
        same_run(there, *imported)


NAMES = some.sampled_from(exchange_bundle.MEMBERS)
CLIMBING = some.sampled_from(
    [
        "../evil",
        "/tmp/evil",
        "..\\evil",
        "config.json/../../evil",
        "C:\\evil",
        "runs/evil",
        ".",
        "config.json\0.exe",
    ]
)


@given(some.data())
@settings(max_examples=60)
def test_a_bundle_with_members_changed_gives_the_same_run_or_a_sentence(there, data):
    members = list(members_of(there.bundle).items())
    for _ in range(data.draw(some.integers(1, 2), label="changes")):
        index = data.draw(some.integers(0, len(members) - 1), label="member")
        name, content = members[index]
        match data.draw(
            some.sampled_from(["swap", "rename", "climb", "twice", "link", "bomb", "lie", "drop", "empty"])
        ):
            case "swap":
                other = data.draw(some.integers(0, len(members) - 1), label="other")
                members[index], members[other] = (name, members[other][1]), (members[other][0], content)
            case "rename":
                members[index] = data.draw((NAMES | utf8).filter(bool)), content  # zipfile writes no empty name
            case "climb":
                members[index] = data.draw(CLIMBING), content
            case "twice":
                members.append((name, content))
            case "link":
                link = zipfile.ZipInfo(str(getattr(name, "filename", name)))
                link.external_attr = (0o120777) << 16
                members[index] = link, b"/etc/passwd"
            case "bomb":
                members[index] = name, bytes(data.draw(some.sampled_from([10**6 + 1, 2 * 10**7]), label="zeros"))
            case "lie":
                members[index] = name, content[:-1] + bytes([content[-1] ^ 1]) if content else b"x"
            case "drop" if len(members) > 1:
                del members[index]
            case "empty":
                members[index] = name, b""
    imported = taken_in(
        there, zipped(members, data.draw(some.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])))
    )
    if imported is not None:
        same_run(there, *imported)


@given(some.sampled_from(["config.json", "run.json", "card.json", "probes.json"]), some.data())
@settings(max_examples=80)
def test_a_forged_bundle_whose_json_says_anything_else_is_a_run_or_a_sentence(there, name, data):
    members = members_of(there.bundle)
    changed = with_other(json.loads(members[name]), data)
    members[name] = json.dumps(changed).encode()
    if name != "card.json":
        sealed(members)
    imported = taken_in(there, zipped(members.items()))
    if imported is not None:
        run, again = imported
        assert run.results["test_errors"] == there.store.get(there.run_id).results["test_errors"]
        assert again["weights.safetensors"] == members["weights.safetensors"]


@given(some.data())
@settings(max_examples=40)
def test_a_bundle_with_a_table_of_anything_is_a_run_or_a_sentence(there, data):
    members = members_of(there.bundle)
    lines = members["metrics.csv"].decode().splitlines()
    row = data.draw(some.integers(0, len(lines) - 1), label="line")
    cells = lines[row].split(",")
    cells[data.draw(some.integers(0, len(cells) - 1), label="cell")] = data.draw(
        some.one_of(
            texts, floats.map(str), some.integers().map(str), some.sampled_from(["True", "step", "epoch", "inf"])
        )
    )
    lines[row] = ",".join(cells)
    members["metrics.csv"] = "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
    imported = taken_in(there, zipped(members.items()))
    if imported is not None:
        same_run(there, *imported)


# -------------------------------------------------------------------------------------------------------- pictures

KINDS_OF_PICTURE = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "WEBP": ["RGB", "RGBA", "L"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["L", "RGB", "F"],
    "PPM": ["L", "RGB"],
}


@some.composite
def pictures(draw):
    """Encoded pictures of all kinds, sizes and modes, with tags of a camera, animated, bombs."""
    kind = draw(some.sampled_from(list(KINDS_OF_PICTURE)))
    mode = draw(some.sampled_from(KINDS_OF_PICTURE[kind]))
    side = some.one_of(some.integers(1, 40), some.sampled_from([1, 2, 28, 300, 4096, 4097, 9000]))
    width, height = draw(side), draw(side)
    assume(width * height < 3_000_000)
    picture = Image.new(mode, (width, height), draw(some.sampled_from([0, 255])) if mode not in ("F",) else 0.5)
    if mode not in ("F", "I;16"):
        box = sorted([draw(some.integers(0, width)), draw(some.integers(0, width))])
        picture.paste(draw(some.sampled_from([0, 128, 255])), (box[0], 0, box[1], height))
    options = {}
    if kind in ("JPEG", "PNG", "WEBP") and draw(some.booleans()):
        tags = Image.Exif()
        tags[0x0112] = draw(some.integers(0, 9))
        options["exif"] = tags
    if kind in ("GIF", "PNG", "WEBP") and mode not in ("1", "I;16") and draw(some.booleans()):
        options |= {"save_all": True, "append_images": [picture.copy() for _ in range(3)]}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def is_a_digit_or_said(read, content):
    try:
        image = read(content)
    except PictureError as error:
        sentence(error)
    else:
        assert (image.shape, image.dtype) == ((data_picture.SIDE, data_picture.SIDE), np.uint8)
        assert image.any()


@given(pictures(), some.data())
@settings(max_examples=120)
def test_any_picture_whole_or_damaged_is_a_digit_or_a_sentence(content, data):
    damaged = bytearray(content)
    for _ in range(data.draw(some.integers(0, 5), label="damages")):
        place = data.draw(some.integers(0, min(len(damaged) - 1, 400)), label="place")
        damaged[place] = data.draw(some.integers(0, 255), label="byte")
    damaged = bytes(damaged[: data.draw(some.sampled_from([len(damaged), len(damaged) // 2]), label="kept")])
    for picture in (content, damaged):
        is_a_digit_or_said(data_picture.read_picture, picture)
        is_a_digit_or_said(data_picture.read_canvas, "data:image/png;base64," + base64.b64encode(picture).decode())


def png_that_says(width, height, bits, colours, rows):
    """A PNG that says it is so large, with as many rows of zeros as are given."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )


@given(
    some.tuples(
        some.sampled_from([0, 1, 28, 4096, 4097, 2**16, 2**31 - 1, 2**32 - 1]),
        some.sampled_from([0, 1, 28, 2**16, 2**31 - 1]),
        some.integers(0, 17),
        some.integers(0, 7),
        some.sampled_from([0, 28 * 29, 10**7]),
    )
)
@settings(max_examples=60)
def test_a_picture_larger_than_the_memory_is_refused_before_unpacking(header):
    is_a_digit_or_said(data_picture.read_picture, png_that_says(*header))


@given(some.one_of(texts, some.binary().map(lambda content: base64.b64encode(content).decode()), some.text()))
@settings(max_examples=60)
def test_any_text_is_a_drawing_or_a_sentence(text):
    for content in (text, "data:image/png;base64," + text):
        is_a_digit_or_said(data_picture.read_canvas, content)
    with contextlib.suppress(PictureError):
        image = data_picture.from_address(text)
        assert (image.shape, image.dtype) == ((data_picture.SIDE, data_picture.SIDE), np.uint8)


@given(some.binary(min_size=784, max_size=784))
@settings(max_examples=20)
def test_any_image_comes_back_from_its_address(content):
    image = np.frombuffer(content, np.uint8).reshape(28, 28)
    assert (data_picture.from_address(data_picture.to_address(image)) == image).all()


# ------------------------------------------------------------------------------------------------------- addresses


@given(texts)
@settings(max_examples=150)
def test_any_text_in_an_address_is_read_as_a_value_or_as_none(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "query_params", {"T": text, "lesson": text, "batch": text})
        patch.setattr(st, "session_state", {})
        assert address.LOWEST <= address.temperature_of_address() <= address.HIGHEST
        assert tour.step() in (None, *tour.STEPS)
        assert keys.chosen_batch() == text
    story = session_story.of_address(text)
    assert story is None or isinstance(story, StoryConfig)
    index = address.index_of_address(address.TEST + text, 10)
    assert index is None or 0 <= index < 10
    assert auth._inside(text).startswith("/")
    assert not auth._inside(text).startswith(("//", "/\\"))
    assert words.literal(text).isprintable() or not text.isprintable()
    with pytest.raises(StoreError):
        runs_run.folder_of(data_picture.__file__, text + "/")


@given(some.binary(max_size=200) | values.map(lambda value: repr(value).encode("utf-8", "replace")))
@settings(max_examples=80)
def test_any_setup_in_an_address_is_a_story_or_none(content):
    packed = base64.urlsafe_b64encode(zlib.compress(content)).decode()
    story = session_story.of_address(packed)
    assert story is None or isinstance(story, StoryConfig)


@given(stories, some.data())
@settings(max_examples=60)
def test_a_setup_with_one_thing_changed_is_a_story_or_none(story, data):
    content = json.dumps(with_other(story.model_dump(mode="json"), data)).encode()
    read = session_story.of_address(base64.urlsafe_b64encode(zlib.compress(content)).decode())
    assert read is None or StoryConfig.from_json(read.model_dump_json()) == read


@given(some.lists(some.tuples(texts, texts, texts), max_size=4), texts, texts)
@settings(max_examples=50)
def test_whatever_a_watcher_says_it_has_seen_is_answered(there, seen, image, watcher):
    text = ",".join(":".join(parts) for parts in seen)
    for position in progress.parse_seen(text).values():
        assert position.step >= 0
    query = "&".join(
        f"{name}={value}".encode("utf-8", "surrogatepass").decode("latin-1")
        for name, value in {"runs": f"{there.run_id},{text}", "seen": text, "image": image, "watcher": watcher}.items()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "store", lambda: there.store)
        patch.setattr(services, "jobs", lambda: SimpleNamespace(lineup=tuple, trouble=None))
        for route in (routes._tell, routes._tell_probes):
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/",
                "headers": [],
                "query_string": query.encode("latin-1"),
            }
            answer = route(Request(scope))
            assert answer.status_code == 200
            json.loads(answer.body)


PARAMETERS = [
    "T", "image", "batch", "view", "setup", "runs", "runs_search", "compared", "run", "on", "experiment", "lesson",
    "alpha", "t_squared", "gallery_kind", "gallery_class", "closer", "nonsense",
]  # fmt: skip
in_an_address = utf8.filter(lambda text: len(text) < 100) | some.sampled_from(["x" * 20_000])
addresses = some.fixed_dictionaries(
    {}, optional={name: some.one_of(in_an_address, some.lists(in_an_address, max_size=3)) for name in PARAMETERS}
)


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory):
    """A home with a trained story; nothing ships."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
        home = tmp_path_factory.mktemp("trained")
        store = Store(home)
        plan = experiments_story.plan(tiny_story()).to_train
        store.create(plan)
        for run_id in plan:
            execute.run_here(store, run_id, lambda event: None, lambda: None)
        store.save_finding("speed", [*plan], {"problem": "Not measured, for this test."})
        store.close()
        yield home
        services._jobs(home).close()
        services._opened(home).store.close()


@pytest.mark.parametrize("page", ["overview", "temperature", "train", "runs", "compare", "sweep", "paper", "export"])
@given(parameters=addresses)
@settings(max_examples=3)
def test_whatever_the_address_says_a_page_shows_sentences(trained_home, at_this_machine, monkeypatch, page, parameters):
    monkeypatch.setenv("KD_HOME", str(trained_home))
    monkeypatch.setattr(queue.Jobs, "find_out", lambda *_, **__: None)
    app = app_test()
    for name, value in parameters.items():
        app.query_params[name] = value
    app.switch_page(f"pages/{page}/page.py").run()
    assert not app.exception, [error.stack_trace for error in app.exception]
    assert len(app.title) == 1


# -------------------------------------------------------------------------------------------------------- commands


@pytest.fixture
def command(there, monkeypatch, tmp_path):
    """command(words) -> what the shell says, in a home with one trained run; runs are entered and never trained."""

    def rest(store, run_id):
        store.apply(run_id, {"kind": "stopped", "text": "not trained, for this test"})

    monkeypatch.setenv("KD_HOME", str(there.store.home))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    monkeypatch.setattr(watch, "watch", rest)
    monkeypatch.chdir(tmp_path)
    return lambda words: CliRunner().invoke(app, words, env={"COLUMNS": "200"})


words_said = texts.map(lambda text: text.replace("\0", "")) | some.sampled_from(
    ["digits", "mnist", "mlp", "0", "4", "0.5"]
)
options = [
    "--dataset", "--role", "--model", "--hidden", "--dropout", "--dropout-input", "--epochs", "--batch-size",
    "--learning-rate", "--optimizer", "--schedule", "--weight-decay", "--jitter", "--fraction", "--only-classes",
    "--precision", "--memory-format", "--device", "--seed", "--teacher", "--temperature", "--alpha", "--ensemble",
    "--objective", "--weight", "--final-temperature", "--final-alpha", "--label-smoothing",
]  # fmt: skip
OF_DISTILL = {
    "--temperature",
    "--alpha",
    "--ensemble",
    "--objective",
    "--weight",
    "--final-temperature",
    "--final-alpha",
}
settings_said = some.lists(some.tuples(some.sampled_from(options), words_said), max_size=4)
run_names = some.one_of(words_said, some.sampled_from(["last", "../last", "%", "\udcff"]))


@some.composite
def commands(draw):
    """Commands of the shell, with values right and wrong; those that would train for minutes are held off."""
    name = draw(
        some.sampled_from(["train", "distill", "resume", "continue", "pack", "unpack", "runs", "nonsense", "recipe"])
    )
    arguments = [name]
    match name:
        case "train" | "distill":
            arguments += ["--dataset", "digits"] if draw(some.booleans()) else []
            arguments += ["--teacher", draw(run_names)] if name == "distill" else []
            arguments += [word for pair in draw(settings_said) for word in pair]
        case "recipe":
            arguments += [draw(words_said), "--dataset", draw(words_said)]
        case "resume":
            arguments += [draw(run_names)]
        case "continue":
            arguments += [draw(run_names), "--epochs", draw(words_said)]
        case "pack":
            arguments += [
                draw(run_names),
                draw(some.sampled_from(["run.zip", "no/such/../run.zip", ".", "", "/dev/full/x"])),
            ]
        case "unpack":
            arguments += [draw(words_said | some.sampled_from([".", "/dev/null", "/proc/self/mem"]))]
        case "runs":
            arguments += draw(some.lists(some.sampled_from(["--json", "--no", "x"]), max_size=2))
    return arguments + draw(some.lists(words_said, max_size=1))


@given(some.sampled_from(options), texts.map(lambda text: text.replace("\0", "")))
@settings(max_examples=150)
def test_any_value_of_any_setting_is_taken_or_refused_in_a_sentence(command, option, value):
    name = ["distill", "--teacher", "last"] if option in OF_DISTILL else ["train"]
    result = command([*name, option, value])
    assert result.exit_code in (0, REFUSED), (result.exit_code, result.output, result.exception)
    assert "Traceback" not in result.output


@given(commands())
@settings(max_examples=80)
def test_any_command_is_done_or_refused_in_a_sentence(command, arguments):
    result = command(arguments)
    assert result.exit_code in (0, REFUSED), (result.exit_code, result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    if result.exit_code == REFUSED:
        assert result.output.strip()
        assert result.stderr.count("error: ") <= 1
