"""The static site is the app's own scripts, small, and asks nobody for anything."""

import gzip
import json
import re

import numpy as np
import pytest
import streamlit as st
from safetensors.numpy import load as load_tensors

from kd_core.base.config import LabError
from kd_core.data import load
from kd_core.exchange import browser_lesson, shipped, static_site
from pages.playground import digits as digits_part
from pages.playground import playground as playground_part
from pages.shared.tokens import css

MOST_BYTES = 3e6


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    static_site.write_site(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def mounted(monkeypatch):
    """What the app hands to Streamlit for each component: name -> css and js."""
    handed = {}

    def component(name, *, css, js, **_):
        handed[name] = (css, js)
        return lambda **_: None

    monkeypatch.setattr(st.components.v2, "component", component)
    monkeypatch.setattr(st, "query_params", {})
    playground_part.playground()
    digits_part.digits()
    return handed


def test_its_scripts_and_styles_are_those_of_the_app(mounted):
    assert mounted["kd_lab_playground"] == (static_site.playground_css(), static_site.playground_js())
    assert mounted["kd_lab_digits"] == (static_site.digits_css(), static_site.digits_js())


def test_its_tokens_are_those_of_the_app(written):
    declared = {*re.findall(r"--kd-[\w-]+: [^;]+;", css())}
    assert len(declared) > 20
    assert {
        *re.findall(r"--kd-[\w-]+: light-dark[^;]+;|--kd-[\w-]+: [\d.]+rem;", written["index.html"].decode())
    } == declared


def test_it_is_small_and_names_no_other_host(written):
    assert {*written} == {"index.html", "lesson.js", "icon.svg", "manifest.webmanifest", "offline.js"}
    assert sum(len(gzip.compress(content)) for content in written.values()) < MOST_BYTES
    named = re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", written["index.html"].decode())
    assert {*named} <= {"http://www.w3.org"}
    kept = json.loads(re.search(rb"FILES = (\[.*?\])", written["offline.js"])[1])
    assert {*kept} == {"./", *written} - {"offline.js"}


def test_without_the_pages_a_sentence_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(static_site, "PLAYGROUND", tmp_path / "nothing")
    with pytest.raises(LabError, match="run this in a checkout"):
        static_site.write_site(tmp_path)


def test_a_browsers_lesson_has_the_digits_and_what_their_teacher_says_of_them():
    content, digits = browser_lesson.browser_lesson("digits"), load.load("digits")
    tensors = load_tensors(content)
    np.testing.assert_array_equal(tensors["train_images"], digits.train_images.flatten(1))
    np.testing.assert_array_equal(tensors["test_labels"], digits.test_labels)
    logits = shipped.logits_of("digits-teacher", digits.train_images[:9], digits.normalise)
    np.testing.assert_allclose(tensors["teacher_logits"][:9], logits, atol=1e-3)
    about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert int(about["teacher_errors"]) == shipped.facts_of("digits-teacher")["run"]["results"]["test_errors"]
