"""Every page, empty and with results, as Streamlit runs it; what a user can get wrong is said in a sentence."""

import time

import pytest
from streamlit.testing.v1 import AppTest
from tiny import tiny_config

from kd_core import jobs, places
from kd_core.config import ModelConfig
from kd_core.evaluation import GALLERIES
from kd_core.recipes import story
from kd_core.runs import ACTIVE, Store
from pages.widgets import lab

PAGES = ("overview", "temperature", "train", "compare")


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two homes for all tests of this file, one empty and one with a trained story; their queues closed at the end."""
    empty, trained = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("trained")
    store = Store(trained)
    runs = story(
        dataset="digits",
        teacher=tiny_config(epochs=3),
        student=ModelConfig(hidden=(8,)),
        training=tiny_config(epochs=2).training,
        temperature=2.0,
    )
    store.create(runs)
    for run_id in runs:
        jobs.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    yield {"empty": empty, "trained": trained}
    for folder in (empty, trained):
        lab._jobs(folder).close()
        lab._store(folder).close()


@pytest.fixture
def open_page(homes, monkeypatch):
    """open_page(page, home) -> the page as its user finds it."""

    def open_it(page, home="trained", **query):
        monkeypatch.setenv("KD_HOME", str(homes[home]))
        app = AppTest.from_file("../app.py", default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, [error.value for error in app.exception]
        return app

    return open_it


def words(app):
    """All that the page says, in one string."""
    return " ".join(str(element.value) for kind in (app.markdown, app.info, app.error, app.success) for element in kind)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("home", ["empty", "trained"])
def test_page_opens_with_its_title_and_without_an_error(open_page, page, home):
    app = open_page(page, home)
    assert len(app.title) == 1
    assert not app.error


@pytest.mark.parametrize("page", ["temperature", "compare"])
def test_page_that_needs_models_points_to_the_quick_demo_while_there_is_none(open_page, page):
    assert "The quick demo makes three" in words(open_page(page, "empty"))


def test_quick_demo_trains_three_models_to_the_end(open_page, homes):
    app = open_page("overview", "empty")
    app.segmented_control(key="demo_dataset").set_value("digits")
    app.button(key="quick_demo").click().run()
    assert not app.exception
    store = lab._store(homes["empty"])
    deadline = time.monotonic() + 120
    while any(run.status in ACTIVE for run in store.runs()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    app.run()
    assert {run.status for run in store.runs()} == {"finished"}
    assert "of its teacher's accuracy" in words(app)


def test_train_page_queues_the_story_that_its_form_describes(open_page, homes):
    app = open_page("train")
    app.selectbox(key="form_dataset").set_value("digits").run()
    app.slider(key="form_temperature").set_value(3.5)
    app.slider(key="form_alpha").set_value(0.5)
    app.text_input(key="form_student_hidden_30").set_value("12, 7")
    app.number_input(key="form_epochs_digits").set_value(1)
    teacher = next(run for run in lab._store(homes["trained"]).runs() if run.config.role == "teacher")
    app.selectbox(key="form_teacher").set_value(teacher.id)
    app.button(key="train").click().run()
    assert not app.exception
    newest = lab._store(homes["trained"]).runs()[:2]
    distilled = next(run.config for run in newest if run.config.role == "distilled")
    baseline = next(run.config for run in newest if run.config.role == "baseline")
    assert distilled.distillation.teachers == (teacher.id,)
    assert (distilled.distillation.temperature, distilled.distillation.alpha) == (3.5, 0.5)
    assert distilled.model == baseline.model == ModelConfig(hidden=(12, 7))
    assert distilled.training == baseline.training
    deadline = time.monotonic() + 60
    while any(run.status in ACTIVE for run in lab._store(homes["trained"]).runs()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("units", "sentence"),
    [
        ("many", "Units must be whole numbers"),
        ("0", "hidden must be at least 1, got 0"),
        ("-5, 1e9", "Units must be whole"),
        ("99999999", "hidden must be at most 20000"),
    ],
)
def test_units_that_cannot_be_are_refused_in_words_and_train_is_off(open_page, units, sentence):
    app = open_page("train")
    app.selectbox(key="form_dataset").set_value("digits").run()
    app.text_input(key="form_student_hidden_30").set_value(units).run()
    assert sentence in words(app)
    assert app.button(key="train").disabled
    assert not app.exception


def test_compare_shows_what_the_store_holds(open_page, homes):
    app = open_page("compare")
    runs = [run for run in lab._store(homes["trained"]).runs() if run.config.distillation or run.usable]
    shown = {metric.value for metric in app.metric if metric.label == "Test errors"}
    teacher = next(run for run in runs if run.config.role == "teacher")
    assert f"{teacher.results['test_errors']} of 445" in shown


def test_an_address_that_names_no_batch_still_shows_the_page(open_page):
    for page in PAGES:
        app = open_page(page, batch="../../etc")
        assert not app.error


def test_a_damaged_store_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("KD_HOME", str(tmp_path))
    (tmp_path / "lab.sqlite").write_bytes(b"this is no database" * 100)
    app = AppTest.from_file("../app.py", default_timeout=60).run()
    assert not app.exception
    assert "is damaged" in app.error[0].value
    assert places.home() == tmp_path


@pytest.mark.parametrize("temperature", ["abc", "nan", "-5", "1e999", "0", ""])
@pytest.mark.parametrize(
    "image", ["test-999999999999", "test--1", "test-²", "drawn-", "drawn-AAAA", "../../etc/passwd"]
)
def test_an_address_of_nonsense_opens_the_temperature_page_all_the_same(open_page, temperature, image):
    app = open_page("temperature", T=temperature, image=image, gallery_class="eleven", alpha="much")
    assert not app.error
    assert app.subheader[0].value == "The dark knowledge map"


def test_each_gallery_opens_with_images_or_a_sentence(open_page):
    app = open_page("temperature")
    for kind in GALLERIES:
        for label in ("any", 8):
            app.selectbox(key="gallery_kind").set_value(kind)
            app.selectbox(key="gallery_class").set_value(label).run()
            assert not app.exception


def test_without_the_data_set_drawing_still_works(open_page, monkeypatch):
    monkeypatch.setattr(places, "available", lambda dataset: False)
    app = open_page("temperature")
    assert list(app.segmented_control(key="image_source").options) == ["Draw", "Upload"]
    assert "draw a digit" in " ".join(str(warning.value) for warning in app.warning)
