"""The page of the mistakes that are made on purpose, as Streamlit runs it."""

import pytest
from app_test import app_on, choose_pair, home_with
from tiny import TINY, tiny_config
from waiting import wait_until

from kd_core.exchange import shipped
from kd_core.experiments import broken
from kd_core.experiments.story import StoryConfig
from kd_core.jobs import turns
from kd_core.models.config import ModelConfig
from kd_core.runs.run import ACTIVE
from kd_core.training.config import TrainingConfig
from kd_core.training.mistakes import MISTAKES
from pages.shared.session import services

TINY_TRAINING = TrainingConfig(epochs=2, batch_size=128, learning_rate=5e-3, precision="float32")


SMALL = StoryConfig.default("digits").replace(
    student=ModelConfig(hidden=(8,)), training=TINY_TRAINING, temperature=4.0, alpha=0.9
)
MOVING = {"training": TINY_TRAINING.replace(jitter_pixels=1)}


@pytest.fixture(scope="module")
def lesson_home(tmp_path_factory):
    """A home whose store holds a small lesson's teacher; the queue closed at the end."""
    patch = pytest.MonkeyPatch()
    patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
    patch.setattr(broken, "BASE", {"digits": SMALL})
    patch.setattr(broken, "CHANGED", {"digits": {"colour_jitter": MOVING}})
    teacher = tiny_config(epochs=2).replace(model=TINY.replace(dropout_hidden=0.3))
    patch.setattr(broken, "teacher", lambda dataset: teacher)
    with home_with(tmp_path_factory.mktemp("lesson"), {"teacher": teacher}) as home:
        yield home
    patch.undo()


@pytest.fixture
def open_lesson(lesson_home, monkeypatch, at_this_machine):
    """open_lesson(**query) -> the page as its user finds it."""

    def open_it(**query):
        monkeypatch.setenv("KD_HOME", str(lesson_home))
        app = app_on("mistakes", **{"on": "digits", **query})  # the first page names another data set in the address
        assert not app.error
        return app

    return open_it


def words(app):
    kinds = (app.markdown, app.info, app.error, app.success, app.warning, app.caption, app.header)
    return " ".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_shown_beside_the_right_way(open_lesson, mistake):
    app = open_lesson(mistake=mistake)
    info = MISTAKES[mistake]
    assert [code.value for code in app.code] == [info.wrong_line, info.right_line]
    for sentence in (info.public, info.right, info.expect):
        assert sentence in words(app)
    factors = {"no_t_squared": "**16 times** too small", "class_mean": "**10 times** too small"}
    assert factors.get(mistake, "") in words(app)
    images = [element.proto.body for element in app.get("html") if "<img" in element.proto.body]
    assert len(images) == (10 if mistake == "colour_jitter" else 0)
    assert all('alt="The ' in image for image in images)


@pytest.mark.parametrize("query", [{"mistake": "nonsense", "on": "imagenet", "seeds": "-1"}, {"seeds": "9" * 99}])
def test_an_address_that_names_no_mistake_opens_the_first(open_lesson, query):
    app = open_lesson(**query)
    assert app.selectbox(key="break_mistake").value == next(iter(MISTAKES))
    assert app.segmented_control(key="break_seeds").value == 5


def test_one_press_trains_both_and_says_what_the_mistake_costs(open_lesson, lesson_home, monkeypatch):
    monkeypatch.setattr(turns, "FEWEST_TOGETHER", 2)
    app = open_lesson(seeds="3")
    app.selectbox(key="break_mistake").set_value("stale_cache").run()
    assert app.query_params["mistake"] == "stale_cache"
    assert "6 to train" in words(app)
    app.button(key="break").click().run()
    assert not app.exception
    store = services._opened(lesson_home).store
    wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    reopened = open_lesson(mistake="stale_cache", seeds="3")
    assert not [button for button in reopened.button if button.key == "break"]
    made = [run for run in store.runs() if run.config.role == "distilled"]
    assert sum(run.config.mistake == "stale_cache" for run in made) == 3
    assert not any("trained_together" in run.environment for run in made)  # so that every step can be watched
    table = reopened.dataframe[0].value
    for row, seed in zip(table.itertuples(), range(3), strict=False):
        errors = {run.config.mistake: run.results["test_errors"] for run in made if run.config.seed == seed}
        assert (row.right, row.mistaken) == (str(errors[None]), str(errors["stale_cache"]))
    assert "95% interval" in words(reopened)


def test_a_mistake_is_made_with_any_pair_and_measured(open_lesson, lesson_home):
    app = open_lesson(mistake="no_t_squared", on="digits", seeds="3")
    choose_pair(app, student="mlp 6", teacher="teacher")
    assert "Both students (mlp 6)" in words(app)
    assert "The teacher is mlp 16" in words(app)
    assert "What the student feels" in words(app)
    app.button(key="break").click().run()
    store = services._opened(lesson_home).store
    wait_until(lambda: not [run for run in store.runs() if run.status in ACTIVE])
    app.run()
    assert not app.exception
    made = [run for run in store.runs() if run.config.model == ModelConfig(hidden=(6,))]
    assert {run.config.distillation.teachers for run in made} == {("teacher",)}
    assert sorted(run.config.mistake or "" for run in made) == [""] * 3 + ["no_t_squared"] * 3
    assert "T = 20" in words(app)
    for _ in range(3):
        app.text_input(key="pair digits student").set_value("no net at all").run()
        assert len(app.error) == 1
        app.text_input(key="pair digits student").set_value("mlp 7").run()
        assert not app.error
