"""When does it not help?, as Streamlit runs it: predicted first, shown then, and redone at a press."""

import pytest
from app_test import app_on, choose_pair, home_with
from tiny import LIMITS, tiny_config
from waiting import wait_until

from kd_core.exchange import shipped
from kd_core.experiments import broken
from kd_core.experiments.limits import catalogue, outcome
from kd_core.runs.run import ACTIVE
from pages.shared.session import services


@pytest.fixture(scope="module")
def limits_home(tmp_path_factory):
    """A home whose store holds the giant of tiny experiments; the queue closed at the end."""
    patch = pytest.MonkeyPatch()
    patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
    giant = tiny_config(epochs=2)
    patch.setattr(broken, "teacher", lambda dataset: giant.replace(dataset=dataset))
    with home_with(tmp_path_factory.mktemp("limits"), {"giant": giant}) as home:
        yield home
    patch.undo()


@pytest.fixture
def open_limits(limits_home, monkeypatch, at_this_machine):
    """open_limits(**query) -> the page as its user finds it, on digits."""

    def open_it(**query):
        monkeypatch.setenv("KD_HOME", str(limits_home))
        return app_on("limits", **{"on": "digits", **query})

    return open_it


def words(app):
    kinds = (app.markdown, app.info, app.success, app.warning, app.caption, app.header, app.subheader)
    return " ".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_answer_is_not_shown_before_it_is_predicted_or_skipped(open_limits, monkeypatch, name):
    given = catalogue.limit(name, "digits")
    there = outcome.Outcome(
        445, {line: {seed: 20.0 + seed for seed in range(5)} for line in given.labels}, {}, {}, "a machine"
    )
    monkeypatch.setattr(outcome, "shipped", lambda given: there)
    app = open_limits(experiment=name)
    assert given.question in words(app)
    assert "cannot tell.**" not in words(app)
    assert not app.button
    app.radio[0].set_value("skip").run()
    assert "**We cannot tell.**" in words(app)
    assert "You predicted" not in words(app)
    app.radio[0].set_value("helps").run()
    assert f"You predicted: *{given.answers['helps']}*." in words(app)
    assert app.query_params["guess"] == f"{name}.digits.helps"
    for claim in given.claims:
        assert claim.states in words(app)
    assert app.expander[-1].label == "What you predicted so far"


@pytest.mark.parametrize(
    "query", [{"experiment": "nonsense", "on": "imagenet", "seeds": "-1", "guess": "x"}, {"guess": "gap.digits.helps"}]
)
def test_an_address_that_names_nothing_opens_the_first_question(open_limits, query):
    app = open_limits(**query)
    assert app.selectbox(key="limits_experiment").value == "small"
    assert app.segmented_control(key="limits_dataset").value in catalogue.SCALES  # what Start left in the address
    assert app.radio[0].value is None
    assert "guess" not in app.query_params


def test_a_prediction_returns_with_the_address_and_leads_to_the_next(open_limits):
    app = open_limits(experiment="gap", guess="gap.digits.harms")
    assert app.radio[0].value == "harms"
    app.button(key="limits_next").click().run()
    assert app.selectbox(key="limits_experiment").value == "same"
    assert app.radio[0].value is None
    app.selectbox(key="limits_experiment").set_value("gap").run()
    assert app.radio[0].value == "harms"


def test_one_press_redoes_it_with_the_seeds_chosen_and_shows_that(open_limits, limits_home, monkeypatch):
    monkeypatch.setattr(catalogue, "SCALES", {"digits": LIMITS})
    app = open_limits(experiment="gap", seeds="3", guess="gap.digits.skip")
    assert "Nothing of it has been trained yet" in words(app)
    assert "12 to train" in words(app)  # an assistant, a baseline and two dwarfs a seed
    app.button(key="redo").click().run()
    assert not app.exception
    store = services._opened(limits_home).store
    wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    reopened = open_limits(experiment="gap", seeds="3", guess="gap.digits.skip")
    assert not [button for button in reopened.button if button.key == "redo"]
    assert "Trained in this store, with 3 seeds." in words(reopened)
    assert "mean of 3 seeds" in words(reopened)
    given = catalogue.limit("gap", "digits")
    table = reopened.dataframe[0].value
    assert [label.lower() for label in table.iloc[:, 0]] == [label.lower() for label in given.labels.values()]
    assert {run.status for run in store.runs()} == {"finished"}


def test_an_experiment_is_made_with_any_pair_and_shows_nothing_that_ships(open_limits, limits_home):
    app = open_limits(experiment="small", seeds="3", guess="small.digits.skip")
    choose_pair(app, student="mlp 7", teacher="giant")
    assert "A student (mlp 7) learns from the teacher" in words(app)
    assert "The teacher is mlp 16." in words(app)
    assert "Nothing of it has been trained yet" in words(app)
    app.button(key="redo").click().run()
    store = services._opened(limits_home).store
    wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    app.run()
    assert not app.exception
    made = [run for run in store.runs() if run.config.model.hidden == (7,)]
    assert len(made) == 4 * 3
    assert {run.config.distillation.teachers for run in made if run.config.distillation} == {("giant",)}
    assert "Trained in this store, with 3 seeds. Trained on" in words(app)
    app.text_input(key="pair digits student").set_value("resnet18").run()
    app.selectbox(key="limits_experiment").set_value("gap").run()
    assert [error.value for error in app.error] == ["ResNet-18 has no width that an assistant could double"]
