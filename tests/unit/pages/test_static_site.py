"""The static site is the app's own scripts, small, and asks nobody for anything."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
from jinja2.utils import htmlsafe_json_dumps
from safetensors.numpy import load as load_tensors
from sites import written_site
from typer.testing import CliRunner

from kd_core.base.config import LabError
from kd_core.cli.app import app
from kd_core.data import load
from kd_core.evaluation.soft import gallery
from kd_core.exchange import browser_lesson, shipped
from kd_core.experiments.lesson.catalogue import say
from kd_core.runs.store import Store
from pages.overview.opening import OPENING
from pages.playground.digits import DIGITS
from pages.playground.playground import PLAYGROUND
from pages.shared.components.temperature_bars.temperature_bars import BARS, SLIDER
from pages.shared.language import LANGUAGES, _, spoken
from pages.shared.session import services
from pages.shared.tokens import css
from pages.shared.words import literal
from pages.site import content
from pages.site.write import html_of
from pages.temperature.dark_knowledge import KNOWLEDGE
from pages.temperature.gradient import FELT

MOST_BYTES = 3e6
PARTS = {
    "index": [OPENING],
    "temperature": [SLIDER, BARS, KNOWLEDGE, FELT],
    "playground": [PLAYGROUND, DIGITS],
    "questions": [],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = written_site(tmp_path_factory)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PARTS)
def test_a_pages_scripts_and_styles_are_those_of_the_app(written, name, language):
    page = written[f"{'' if language == 'en' else 'ko/'}{name}.html"].decode()
    assert f'<html lang="{language}">' in page
    assert css() in page
    for part in PARTS[name]:
        before, mount = part.script(language).split("export default function")
        assert before in page
        assert mount in page
        assert htmlsafe_json_dumps(part.style) in page


def test_it_is_small_and_names_no_other_host(written):
    pages = {f"{folder}{name}.html" for folder in ("", "ko/") for name in PARTS}
    files = {f"files/{name}.js" for name in ("lesson-digits", "models-digits", "pen", "story")}
    assert {*written} == pages | files | {"icon.svg", "manifest.webmanifest", "offline.js"}
    assert sum(len(gzip.compress(file)) for file in written.values()) < MOST_BYTES
    for page in pages:
        named = re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", written[page].decode())
        assert {*named} <= {"http://www.w3.org"}, page
    kept = json.loads(re.search(rb"FILES = (\[.*?\])", written["offline.js"])[1])
    assert {*kept} == {"./", *written} - {"offline.js"}


def kept_in(file):
    return gzip.decompress(base64.b64decode(re.search(rb'= "([^"]*)";', file)[1]))


def test_temperature_has_the_storys_images_logits_and_galleries(written):
    story, digits = json.loads(kept_in(written["files/story.js"])), load.load("digits")
    index, labels = story["index"], digits.test_labels.numpy()
    pixels = np.frombuffer(base64.b64decode(story["pixels"]), np.uint8).reshape(len(index), 1, 28, 28)
    np.testing.assert_array_equal(pixels, digits.test_images.numpy()[index])
    assert story["labels"] == labels[index].tolist()
    logits = {
        model["role"]: shipped.logits_of(f"digits-{model['role']}", digits.test_images, digits.normalise)
        for model in story["models"]
    }
    assert [*logits] == ["teacher", "baseline", "distilled"]
    for model in story["models"]:
        rows = np.frombuffer(base64.b64decode(story["logits"][model["id"]]), "<f4").reshape(len(index), 10)
        np.testing.assert_allclose(rows, logits[model["role"]][index], atol=1e-3)
    wrong = gallery("teacher wrong", labels, logits["teacher"], logits["distilled"])
    assert [index[place] for place in story["galleries"]["teacher wrong/any"]] == wrong.tolist()


def test_questions_carry_the_truths_that_the_lesson_computes(written):
    page = written["questions.html"].decode()
    assert page.count('<section class="item"') == 8
    assert "Nobody labelled that; it is in what the teacher has learned." in page
    assert "<math" in page
    with spoken("ko"):
        korean = _(say("words.skip"))
    assert written["ko/questions.html"].decode().count(korean) == 8


def test_a_class_that_somebody_named_is_no_markup():
    name = literal("<script>alert(1)</script> *3*")
    assert (
        html_of("Of **{name}**", name=name) == "<p>Of <strong>&lt;script&gt;alert(1)&lt;/script&gt; *3*</strong></p>\n"
    )


def test_a_story_that_is_not_there_is_said(home):
    assert services.store().runs() == []
    with pytest.raises(LabError, match="no story with a teacher"):
        content.story_of(None)


def test_the_shell_writes_it_and_says_what_it_needs(tmp_path, monkeypatch, home):
    Store(home).close()
    result = CliRunner().invoke(app, ["site", str(tmp_path / "public")])
    assert result.exit_code == 2
    assert "There is no story with a teacher" in result.stderr
    monkeypatch.setattr("kd_core.cli.exchange.ROOT", tmp_path)
    result = CliRunner().invoke(app, ["site", str(tmp_path / "public")])
    assert result.exit_code == 2
    assert "run this in a checkout" in result.stderr


def test_a_browsers_lesson_has_the_digits_and_what_their_teacher_says_of_them():
    lesson, digits = browser_lesson.browser_lesson("digits"), load.load("digits")
    tensors = load_tensors(lesson)
    np.testing.assert_array_equal(tensors["train_images"], digits.train_images.flatten(1))
    np.testing.assert_array_equal(tensors["test_labels"], digits.test_labels)
    logits = shipped.logits_of("digits-teacher", digits.train_images[:9], digits.normalise)
    np.testing.assert_allclose(tensors["teacher_logits"][:9], logits, atol=1e-3)
    about = json.loads(lesson[8 : 8 + int.from_bytes(lesson[:8], "little")])["__metadata__"]
    assert int(about["teacher_errors"]) == shipped.facts_of("digits-teacher")["run"]["results"]["test_errors"]
