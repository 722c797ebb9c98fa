"""Every page, empty and with results, as Streamlit runs it; what a user can get wrong is said in a sentence."""

import dataclasses
import html
import io
import json
import re
import shutil
import sys
import time
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import short_demo
import streamlit as st
import torch
from app_test import app_on, app_test
from measured import busy, machine
from onnx import TensorProto, helper, numpy_helper
from streamlit.testing.v1 import AppTest
from tiny import BUDGET, PAPER, tiny_config, tiny_story, train_here
from waiting import wait_until

from kd_core.base import paths as base_paths
from kd_core.data import load
from kd_core.data import paths as data_paths
from kd_core.evaluation.claims import NO_DIFFERENCE, TIMES_SAID, in_figures, speed_claim
from kd_core.evaluation.soft import GALLERIES
from kd_core.evaluation.statistics import mean_interval
from kd_core.exchange import bundle as exchange_bundle
from kd_core.exchange import shipped
from kd_core.exchange.export import checks
from kd_core.exchange.teacher import examine as teacher_examine
from kd_core.exchange.teacher.trial import Ask, Outcome, Trial
from kd_core.experiments import equal_budget, paper, presets
from kd_core.experiments import story as experiments_story
from kd_core.experiments.advice import after, evidence
from kd_core.experiments.comparison import Sources, compare
from kd_core.experiments.defaults import network
from kd_core.experiments.presets import PRESETS
from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import execute
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.architectures import own
from kd_core.models.config import ModelConfig
from kd_core.runs.run import ACTIVE, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from pages.compare import sections
from pages.runs import table as runs_table
from pages.shared import tour
from pages.shared.figures import curves, style
from pages.shared.live import live
from pages.shared.parts import advice as parts_advice
from pages.shared.parts import button as parts_button
from pages.shared.parts import naming
from pages.shared.session import pickers, services
from pages.shared.session import story as session_story

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "overview", "temperature", "data", "train", "runs", "compare", "export", "paper", "sweep", "mistakes", "objectives",
    "limits",
)  # fmt: skip


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two homes for all tests of this file, one empty and one with a trained story; their queues closed at the end.

    Nothing ships.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
    empty, trained = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("trained")
    store = Store(trained)
    runs = experiments_story.plan(tiny_story()).to_train
    store.create(runs)
    for run_id in runs:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    yield {"empty": empty, "trained": trained}
    for folder in (empty, trained):
        services._jobs(folder).close()
        services._opened(folder).store.close()
    patch.undo()


@pytest.fixture
def open_page(homes, monkeypatch, at_this_machine):
    """open_page(page, home) -> the page as its user finds it."""

    def open_it(page, home="trained", **query):
        monkeypatch.setenv("KD_HOME", str(homes[home]))
        return app_on(page, **query)

    return open_it


def charts(app):
    """The components of a page, but the two that every page has."""
    return [component for component in app.get("bidi_component") if component.key not in ("room", "uploads")]


def words(app):
    """All that the page says, in one string."""
    kinds = (app.markdown, app.info, app.error, app.success, app.warning)
    return " ".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("home", ["empty", "trained"])
def test_page_opens_with_its_title_and_without_an_error(open_page, page, home):
    app = open_page(page, home)
    assert len(app.title) == 1
    assert not app.error


@pytest.mark.parametrize("page", ["temperature", "compare", "export"])
def test_page_that_needs_models_points_to_the_quick_demo_while_there_is_none(open_page, page):
    assert "The quick demo makes three" in words(open_page(page, "empty"))


def test_the_lesson_without_any_model_says_how_to_get_one(open_page):
    assert "There is no trained model yet" in words(open_page("lesson", home="empty"))


def test_quick_demo_trains_three_models_to_the_end(open_page, homes, monkeypatch):
    monkeypatch.setattr(presets, "quick_demo", short_demo.short)
    app = open_page("overview", "empty")
    app.segmented_control(key="demo_dataset").set_value("digits")
    app.button(key="quick_demo").click().run()
    assert not app.exception
    store = services._opened(homes["empty"]).store
    wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    app.run()
    assert {run.status for run in store.runs()} == {"finished"}
    assert "The distilled student makes" in words(app)


def wait_until_idle(store):
    wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))


def stop_all(home):
    """Stop what a test has started and asks nothing more of."""
    store = services._opened(home).store
    for run in store.runs():
        if run.status in ACTIVE:
            services._jobs(home).ask(run.id, "stop")
    wait_until_idle(store)


@pytest.fixture
def open_form(open_page):
    """open_form() -> the train page's form for digits."""

    def open_it(**query):
        app = open_page("train", view="Set up", **query)
        if app.selectbox(key="form_dataset").value != "digits":
            app.selectbox(key="form_dataset").set_value("digits").run()
        assert not app.exception
        return app

    return open_it


def test_train_page_queues_the_story_that_its_form_describes(open_form, homes):
    app = open_form()
    store = services._opened(homes["trained"]).store
    before = {run.id for run in store.runs()}
    teacher = next(run for run in store.runs() if run.config.role == "teacher")
    app.segmented_control(key="form_teacher_source").set_value("One that is trained").run()
    app.multiselect(key="form_teachers").set_value([teacher.id])
    app.select_slider(key="form_temperature").set_value(3.0)
    app.slider(key="form_alpha").set_value(0.5)
    app.text_input(key="form_student_hidden").set_value("12, 7")
    app.number_input(key="form_epochs").set_value(1)
    app.selectbox(key="form_student_optimizer").set_value("sgd")
    app.text_input(key="form_student_rate").set_value("0.05")
    app.number_input(key="form_fraction").set_value(50.0)
    app.multiselect(key="form_classes").set_value([0, 1, 2, 7, 8])
    app.number_input(key="form_seed").set_value(11).run()
    assert "The transfer set has no 3, 4, 5, 6 and 9" in words(app)
    app.button(key="train").click().run()
    assert not app.exception
    new = {run.config.role: run.config for run in store.runs() if run.id not in before}
    assert set(new) == {"baseline", "distilled"}
    distilled, baseline = new["distilled"], new["baseline"]
    assert distilled.distillation.teachers == (teacher.id,)
    assert (distilled.distillation.temperature, distilled.distillation.alpha) == (3.0, 0.5)
    assert distilled.model == baseline.model == ModelConfig(hidden=(12, 7))
    assert distilled.training == baseline.training
    assert (distilled.training.optimizer, distilled.training.learning_rate) == ("sgd", 0.05)
    assert distilled.transfer_set == baseline.transfer_set
    assert (distilled.transfer_set.fraction, distilled.transfer_set.only_classes) == (0.5, (0, 1, 2, 7, 8))
    assert distilled.seed == baseline.seed == 11
    stop_all(homes["trained"])


def test_every_objective_can_be_chosen_and_the_form_says_what_it_does_not_read(open_form):
    app = open_form()
    for name, info in OBJECTIVES.items():
        app.selectbox(key="form_objective").set_value(name).run()
        assert not app.exception
        if info.needs == "maps":
            assert f"{name} compares maps, and the teacher, " in words(app)
            app.selectbox(key="form_teacher_model").select("cnn").run()
            assert f"{name} compares maps, and the student, " in words(app)
            app.selectbox(key="form_student_model").select("cnn").run()
        assert not app.error
        assert info.when in [caption.value for caption in app.caption]
        assert app.select_slider(key="form_temperature").disabled is not info.uses_temperature
        assert app.slider(key="form_alpha").disabled is not info.mixed
        assert app.session_state["setup"].objective == name
        own = 2.0 if info.temperature is None else info.temperature  # digits'
        assert app.session_state["setup"].temperature == own
        for weight, known in info.weights.items():
            assert app.number_input(key=f"form_weight_{name}_{weight}").value == known.default


def test_the_form_queues_objective_weights_a_schedule_and_an_assistant(open_form, homes):
    app = open_form()
    store = services._opened(homes["trained"]).store
    before = {run.id for run in store.runs()}
    teacher = next(run for run in store.runs() if run.config.role == "teacher")
    app.segmented_control(key="form_teacher_source").set_value("One that is trained").run()
    app.multiselect(key="form_teachers").set_value([teacher.id])
    app.text_input(key="form_student_hidden").set_value("6")
    app.number_input(key="form_epochs").set_value(1)
    app.selectbox(key="form_objective").set_value("dkd").run()
    app.number_input(key="form_weight_dkd_nontarget").set_value(2.0)
    app.toggle(key="form_cools").set_value(True).run()
    app.toggle(key="form_assisted").set_value(True).run()
    app.text_input(key="form_assistant_hidden").set_value("12")
    app.number_input(key="form_assistant_epochs").set_value(1)
    app.number_input(key="form_student_smoothing").set_value(0.1).run()
    assert not app.error
    story = app.session_state["setup"]
    assert session_story.of_address(session_story.to_address(story)) == story
    app.button(key="train").click().run()
    assert not app.exception
    new = sorted((run for run in store.runs() if run.id not in before), key=lambda run: run.config.model.hidden)
    assistant = next(run for run in new if run.config.model.hidden == (12,))
    baseline, student = sorted(new[:2], key=lambda run: run.config.role)
    assert assistant.config.distillation.teachers == (teacher.id,)
    assert student.config.distillation.teachers == (assistant.id,)
    assert student.config.distillation.label == "DKD, T 4 to 1, nontarget 2"
    assert baseline.config.label == "baseline mlp 6, label smoothing 0.1"
    wait_until_idle(store)
    assert {store.get(run.id).status for run in new} == {"finished"}
    runs = pickers.linked(store.runs(batch=student.batch))
    assert [*experiments_story.names(runs).values()] == ["teacher", "baseline", "assistant", "distilled"]
    app.run()
    assert not app.exception


def test_what_was_typed_last_is_trained_though_the_page_has_not_followed(open_form, homes):
    """A press sent with the number, as browsers do it, trained what had stood in the form before."""
    app = open_form()
    store = services._opened(homes["trained"]).store
    before = {run.id for run in store.runs()}
    app.text_input(key="form_student_hidden").set_value("5").run()
    app.number_input(key="form_epochs").set_value(3)
    app.button(key="train").click().run()
    assert not app.exception
    assert app.session_state["view"] == "Watch"
    students = [run for run in store.runs() if run.id not in before and run.config.role != "teacher"]
    assert {run.config.training.epochs for run in students} == {3}
    stop_all(homes["trained"])


def test_a_double_click_starts_an_experiment_once(open_page, homes):
    app = open_page("sweep")
    store = services._opened(homes["trained"]).store
    before = len({run.batch for run in store.runs()})
    app.multiselect(key="sweep_temperatures").set_value([2.0])
    app.number_input(key="sweep_epochs").set_value(1).run()
    for _ in range(2):
        app.button(key="sweep").click().run()
    assert len({run.batch for run in store.runs()}) == before + 1
    stop_all(homes["trained"])


def test_one_session_is_served_by_one_thread_at_a_time():
    """With Streamlit's fast reruns two threads share a session's state, and one in some thousand page runs failed with
    "dictionary keys changed during iteration" where runs changed their state while somebody clicked."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["runner"]["fastReruns"] is False


def test_no_page_is_parsed_for_streamlits_magic():
    """Two threads that parse at once fail now and then in Python 3.11: "AST constructor recursion depth mismatch"."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["runner"]["magicEnabled"] is False


def test_a_press_on_a_form_that_is_refused_does_not_train_once_it_is_right(homes, monkeypatch, at_this_machine):
    def front(page):
        import streamlit as st

        from pages.shared.frame import run_page

        run_page(st.navigation([st.Page(page, default=True)]))

    monkeypatch.setenv("KD_HOME", str(homes["trained"]))
    app = AppTest.from_function(front, args=(ROOT / "pages" / "train" / "page.py",), default_timeout=60)
    app.query_params["view"] = "Set up"
    app.run()
    app.selectbox(key="form_dataset").set_value("digits").run()
    store = services._opened(homes["trained"]).store
    before = len(store.runs())
    app.text_input(key="form_student_hidden").set_value("no number")
    app.button(key="train").click().run()
    assert len(app.error) == 1
    app.text_input(key="form_student_hidden").set_value("7").run()
    assert not app.error
    assert app.button(key="train").label == "Train"
    assert len(store.runs()) == before


def test_an_objective_of_labels_is_refused_without_and_the_form_stays(open_form):
    app = open_form()
    app.selectbox(key="form_objective").set_value("dkd").run()
    app.toggle(key="form_labelled").set_value(False).run()
    assert "dkd reads the label of every example" in words(app)
    app.toggle(key="form_labelled").set_value(True).run()
    assert not app.error
    assert app.session_state["setup"].objective == "dkd"


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_fills_the_form_with_its_story(open_form, name):
    app = open_form()
    app.button(key=f"preset_{name}").click().run()
    assert not app.exception
    assert not app.error
    assert app.session_state["setup"] == PRESETS[name].story("digits")


def test_run_again_fills_the_form_with_the_run_as_it_was(open_page, homes):
    store = services._opened(homes["trained"]).store
    run = next(run for run in store.runs() if run.config.model == tiny_story().student and run.config.distillation)
    app = open_page("train", view="Watch", batch=run.batch)
    app.session_state[f"menu_{run.id}"] = True
    app.run()
    app.button(key=f"again_{run.id}").click().run()
    assert not app.exception
    story = app.session_state["setup"]
    assert story.replace(teachers=()) == tiny_story()
    assert story.teachers == run.config.distillation.teachers


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("form_student_hidden", "many", "Hidden units must be whole numbers"),
        ("form_student_hidden", "0", "hidden must be at least 1, got 0"),
        ("form_student_hidden", "-5, 1e9", "Hidden units must be whole"),
        ("form_student_hidden", "99999999", "hidden must be at most 20000"),
        ("form_student_rate", "fast", "learning rate must be a number"),
        ("form_student_rate", "-1", "learning_rate must be above 0"),
        ("form_student_rate", "nan", "learning_rate must be"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_the_form_stays_whole(open_form, key, value, sentence):
    app = open_form()
    fields = {field.key for field in (*app.text_input, *app.number_input, *app.selectbox, *app.slider)}
    app.text_input(key=key).set_value(value).run()
    assert sentence in words(app)
    assert "train" not in {button.key for button in app.button}
    assert {field.key for field in (*app.text_input, *app.number_input, *app.selectbox, *app.slider)} == fields
    assert not app.exception


def test_a_cnn_has_its_channels_to_choose_and_refuses_what_they_cannot_be(open_form):
    app = open_form()
    app.selectbox(key="form_student_model").select("cnn").run()
    app.text_input(key="form_student_channels").set_value("8, wide").run()
    assert "Channels must be whole numbers" in words(app)
    app.text_input(key="form_student_channels").set_value("8, 16, 24").run()
    assert not app.error
    assert app.session_state["setup"].student.label == "cnn 8-16-24"
    assert not app.exception


def test_unlabelled_asks_for_alpha_1(open_form):
    app = open_form()
    app.toggle(key="form_labelled").set_value(False).run()
    assert "set alpha to 1" in words(app)
    app.slider(key="form_alpha").set_value(1.0).run()
    assert not app.error
    assert not app.exception


@pytest.mark.parametrize("setup", ["abc", "AAAA", "e30", "eJyrVkpJLEksTi1RslIqLU4tUqoFAC4kBX0", "%00", "=" * 5000])
def test_an_address_with_a_nonsense_setup_opens_the_form_all_the_same(open_page, setup):
    app = open_page("train", view="Set up", setup=setup)
    assert not app.error


def test_expected_time_and_costs_stand_beside_the_form(open_form):
    app = open_form()
    app.text_input(key="form_student_hidden").set_value("8").run()
    table = app.dataframe[0].value
    row = table[table["role"] == "distilled"].iloc[0]
    assert (row["parameters"], row["multiply-adds"]) == (784 * 8 + 8 + 8 * 10 + 10, 784 * 8 + 8 * 10)
    assert row["time"].startswith("about")  # other mlps were timed in this home


def test_networks_of_a_library_are_chosen_in_the_form_as_the_own_ones_are(open_form):
    app = open_form()
    for library, name in (("torchvision", "shufflenet_v2_x0_5"), ("timm", "test_resnet"), ("torchvision", "alexnet")):
        app.selectbox(key="form_student_model").set_value(library).run()
        app.selectbox(key=f"form_student_of_{library}").set_value(f"{library}/{name}").run()
        assert app.session_state["setup"].student.name == f"{library}/{name}"
        if name != "alexnet":
            table = app.dataframe[0].value
            (network,) = table[table["role"] == "distilled"]["network"]
            assert network == f"{library}'s {name}"
    assert "state the side to which they are resized first, such as 224" in app.error[0].value
    app.number_input(key="form_student_side").set_value(64).run()
    assert not app.error
    app.selectbox(key="form_student_model").set_value("cnn").run()
    student = app.session_state["setup"].student
    assert (student.name, student.head, student.input_side) == ("cnn", "average", None)
    assert not app.exception


def test_own_networks_are_chosen_of_those_that_the_server_lists(open_form, tmp_path, monkeypatch):
    trace = tmp_path / "imported"
    net = "def {name}(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes))\n"
    nets = f"from torch import nn\nopen({str(trace)!r}, 'w').close()\n" + net.format(name="a") + net.format(name="b")
    (tmp_path / "own_nets_of_a_page.py").write_text(nets, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    app = open_form()
    assert "One of your own" not in app.selectbox(key="form_student_model").options
    monkeypatch.setenv(own.LISTED, "own_nets_of_a_page:a, own_nets_of_a_page:b")
    app.run()
    app.selectbox(key="form_student_model").set_value("own").run()
    for name in ("b", "a", "b"):
        app.selectbox(key="form_student_own").set_value(f"own_nets_of_a_page:{name}").run()
        assert app.session_state["setup"].student.label == f"own_nets_of_a_page:{name}"
        table = app.dataframe[0].value
        assert table[table["role"] == "distilled"].iloc[0]["parameters"] == 7850
    trace.unlink()
    monkeypatch.delenv(own.LISTED)
    monkeypatch.delitem(sys.modules, "own_nets_of_a_page")
    app = open_form(setup=session_story.to_address(app.session_state["setup"]))
    assert "start KD Lab, and each worker of a cluster, with KD_NETWORKS=own_nets_of_a_page:b" in app.error[0].value
    app.selectbox(key="form_student_model").set_value("cnn").run()
    assert not app.error
    assert not trace.exists()


def test_code_that_is_not_listed_is_said_once_and_started_by_no_button(open_page, homes, tmp_path, monkeypatch):
    net = "def net(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
    (tmp_path / "own_net_compared.py").write_text(f"from torch import nn\n{net}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(own.LISTED, "own_net_compared:net")
    monkeypatch.setenv("KD_HOME", str(homes["trained"]))
    story = tiny_story().replace(student=ModelConfig(name=own.named("own_net_compared:net")))
    store = services._opened(homes["trained"]).store
    plan = experiments_story.plan(story, store.runs(statuses=["finished"]))
    store.create(plan.to_train)
    for run_id in plan.to_train:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    monkeypatch.delenv(own.LISTED)
    students = [run_id for run_id, config in plan.to_train.items() if config.model.own]
    app = open_page("compare", compared=",".join([*plan.reused, *students]), closer="Inside")
    assert sum("KD_NETWORKS" in warning.value for warning in app.warning) == 1
    assert sum("KD_NETWORKS" in notice.value for notice in app.info) == 1  # in place of the button
    assert not any("other_seeds" in str(button.key) for button in app.button)
    assert not app.exception
    for run_id in students:
        store.delete(run_id)


def test_augmentation_and_care_are_chosen_in_the_form_and_a_refusal_is_said(open_form):
    app = open_form()
    for alpha in (0.2, 0.4, 0.1):
        app.number_input(key="form_student_mixup").set_value(alpha).run()
        assert app.session_state["setup"].training.mixup == alpha
    app.toggle(key="form_student_flip").set_value(True).run()
    app.number_input(key="form_student_patience").set_value(5).run()
    app.number_input(key="form_student_clip").set_value(1.5).run()
    app.toggle(key="form_student_class_weights").set_value(True).run()
    training = app.session_state["setup"].training
    assert (training.flip, training.patience, training.clip_norm, training.class_weights) == (True, 5, 1.5, True)
    assert "the teacher looks at every image anew" in words(app)
    app.selectbox(key="form_teacher_view").set_value("original").run()
    assert "let it see what the student sees, or leave mixup and cutmix at 0" in words(app)
    app.number_input(key="form_student_mixup").set_value(0.0).run()
    assert not app.error
    assert app.session_state["setup"].teacher_view == "original"
    assert "quick, and often worse than the same view for both" in words(app)
    assert not app.exception


def test_a_run_that_guesses_says_so_on_its_page(open_page, homes, monkeypatch):
    monkeypatch.setattr(parts_advice, "memorised", lambda config, epochs: "It guesses" if epochs else "")
    store = services._opened(homes["trained"]).store
    run = next(run for run in store.runs() if run.batch and run.status == "finished" and run.config.trained_here)
    assert "It guesses" in words(open_page("train", view="Watch", batch=run.batch))


def test_runs_page_finds_filters_and_tells_runs_apart(open_page, homes):
    app = open_page("runs")
    store = services._opened(homes["trained"]).store
    assert len(app.dataframe[0].value) == len(store.runs())
    app.multiselect(key="runs_role").set_value(["teacher"]).run()
    assert set(app.dataframe[0].value["role"]) == {"teacher"}
    app.text_input(key="runs_search").set_value("no such run").run()
    assert "No run is like this" in words(app)
    two = [next(run.id for run in store.runs() if run.config.role == role) for role in ("baseline", "distilled")]
    app = open_page("runs", runs=",".join(two))
    assert "What they differ in" in [heading.value for heading in app.header]
    assert "role" in set(app.dataframe[1].value["setting"])


def test_a_bundle_is_taken_in_and_nonsense_is_refused_in_words(open_page, homes):
    store = services._opened(homes["trained"]).store
    run = next(run for run in store.runs() if run.usable)
    bundle = exchange_bundle.pack(store, run.id)
    app = open_page("runs", "empty")
    app.file_uploader(key="bundle_upload").upload("run.zip", bundle, "application/zip").run()
    assert not app.exception
    assert services._opened(homes["empty"]).store.get(run.id).results == run.results
    app = open_page("runs", "empty")
    app.file_uploader(key="bundle_upload").upload("run.zip", b"no zip", "application/zip").run()
    assert not app.exception
    assert len(app.error) == 1


@pytest.fixture
def tried_here(monkeypatch):
    """Teachers' files are tried in this process: tests/process/test_cli.py tries them in their own."""

    def examine(trial):
        ask = Ask.from_json((trial._path / "ask.json").read_text())
        content = (trial._path / "file").read_bytes()
        examined = teacher_examine.examine(content, ask, load.load(ask.dataset), lambda text, share: None)
        return Outcome(**examined._asdict() | {"state": safetensors.torch.save(examined.state)})

    monkeypatch.setattr(Trial, "_watched", examine)


def test_a_teacher_is_brought_tried_taken_and_shown_everywhere(open_page, homes, tried_here, digits, monkeypatch):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", 784))]
    gives = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", 10))]
    means = torch.stack([digits.train_images[digits.train_labels == k].float().mean(0).flatten() for k in range(10)])
    tensors = [numpy_helper.from_array((means / 255).numpy(), "w")]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["images", "w"], ["logits"], transB=1)], "g", given, gives, tensors
    )
    black_box = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    untrained = io.BytesIO()
    torch.save({name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}, untrained)

    monkeypatch.setattr(parts_button, "DOUBLE_CLICK_SECONDS", 0)  # three files within a second
    app = open_page("train")
    app.selectbox(key="form_dataset").set_value("digits").run()

    def bring(name, content):
        app.file_uploader(key="teacher_upload").upload(name, content, "application/octet-stream").run()
        app.button(key="teacher_try").click().run()
        services.trial(app.session_state["teacher_trial"])._thread.join()
        app.run()
        assert not app.exception

    bring("nonsense.pt", b"no teacher")
    assert "none of the files that KD Lab reads" in words(app)
    bring("untrained.pt", untrained.getvalue())
    assert "errs as if it guessed" in words(app)
    bring("mine.onnx", black_box)
    assert app.metric[0].label == "Test errors"
    (inverted,) = [box for box in app.selectbox if box.label == "Dark and light exchanged?"]
    inverted.set_value("yes").run()
    assert "not tried yet" in words(app)
    app.text_input(key="teacher_errors").set_value("444")
    bring("mine.onnx", black_box)
    assert "444 test errors were to come out" in words(app)
    app.text_input(key="teacher_errors").set_value("").run()
    bring("mine.onnx", black_box)
    app.text_input(key="teacher_name").set_value("From <b>elsewhere</b>")  # and the button pressed at once
    app.button(key="teacher_take").click().run()
    store = services._opened(homes["trained"]).store
    (run,) = [run for run in store.runs() if run.config.brought]
    assert run.name == "From <b>elsewhere</b>"
    wait_until_idle(store)
    app.run()
    assert "is ready to teach" in words(app)
    app.button(key="teacher_use").click().run()
    assert app.multiselect(key="form_teachers").value == [run.id]
    assert app.dataframe[0].value["parameters"].isna().any()
    others = [other.id for other in store.runs() if other.usable and other.id != run.id][:2]
    for page, query in (("runs", {"runs": run.id}), ("compare", {"compared": ",".join([run.id, *others])}),
                        ("export", {"run": run.id})):  # fmt: skip
        shown = open_page(page, **query)
        assert not shown.error, (page, words(shown))
        assert "brought" in words(shown) + " ".join(table.value.to_csv() for table in shown.dataframe)
    store.delete(run.id)


def test_deleting_asks_first_and_can_be_undone(open_page, homes):
    store = services._opened(homes["trained"]).store
    run = next(run for run in store.runs() if run.config.role == "distilled")
    app = open_page("runs", runs=run.id)
    app.session_state[f"menu_{run.id}"] = True
    app.run()
    app.button(key=f"delete_{run.id}").click().run()
    assert run.id in {listed.id for listed in store.runs()}
    app.button(key=f"yes_{run.id}").click().run()
    assert run.id not in {listed.id for listed in store.runs()}
    app.button(key="undo").click().run()
    assert not app.exception
    assert run.id in {listed.id for listed in store.runs()}


@pytest.fixture
def story_runs(homes, monkeypatch):
    """The finished story of the trained home: teacher, baseline, distilled."""
    monkeypatch.setenv("KD_HOME", str(homes["trained"]))
    store = services._opened(homes["trained"]).store
    ids = experiments_story.plan(tiny_story(), store.runs(statuses=["finished"])[::-1]).reused
    return sorted(store.some(ids), key=lambda run: ("teacher", "baseline", "distilled").index(run.config.role))


@pytest.fixture
def open_compare(open_page, story_runs, homes):
    """open_compare() -> the compare page on that story, its speed known."""

    def open_it(part="Cost", **query):
        ids = [run.id for run in story_runs]
        app = open_page("compare", batch=story_runs[-1].batch, compared=",".join(ids), **query)
        wait_until(lambda: services._opened(homes["trained"]).store.finding("speed", ids) is not None)
        app.run()
        if part != "Cost":
            app.segmented_control(key="closer").set_value(part).run()
        assert not app.exception, [error.value for error in app.exception]
        assert not app.error
        return app

    return open_it


def test_compare_shows_what_the_store_holds(open_compare, story_runs):
    app = open_compare()
    shown = [metric.value for metric in app.metric if metric.label == "Test errors"]
    assert shown == [f"{run.results['test_errors']} of 445" for run in story_runs]
    table = app.dataframe[0].value
    assert list(table["test errors"]) == [run.results["test_errors"] for run in story_runs]
    assert "errors between baseline and teacher" in words(app)  # by tiny models, of a shared machine, no speed


def compared_at(runs, speed):
    finished = services.store().runs(statuses=["finished"])
    labels = services.test_set("digits")[1]
    sources = Sources(services.test_logits, lambda: labels, services.validation_logits, finished)
    return sections.Compared(compare(runs, speed=speed, sources=sources), {})


def test_headline_cost_and_speed_say_the_same_ratio_to_the_last_digit(open_compare, story_runs):
    open_compare()
    teacher, baseline, distilled = [run.id for run in story_runs]
    speed = machine({teacher: 1.7, baseline: 1.0, distilled: 1.0})
    claim = speed_claim(speed, distilled, teacher)
    sentence = f"{claim.ratio:.2f} times** as fast (95% interval {claim.low:.2f} to {claim.high:.2f})"
    assert sentence in compare(story_runs, speed=speed).headline()
    cell = f"{claim.ratio:.2f} ({claim.low:.2f} to {claim.high:.2f})"
    for part in (sections.costs, sections.speeds):
        table = part(compared_at(story_runs, speed)).table
        rows = table[table["model"] == naming.short_names(story_runs)[story_runs[-1].id]]
        assert rows[sections.FASTER].iloc[0] == cell
        shown = {name: table[table["model"] == name].iloc[0] for name in naming.short_names(story_runs).values()}
        first, last = (shown[naming.short_names(story_runs)[run_id]] for run_id in (teacher, distilled))
        latency = next(name for name in table if name.startswith("latency") and name.endswith("ms"))
        assert first[latency] / last[latency] == pytest.approx(claim.ratio)
    page = sections._report(compared_at(story_runs, speed)).decode()
    assert cell in page
    assert page.count(TIMES_SAID) == 1


def test_page_report_and_shell_print_the_numbers_of_one_comparison(open_compare, story_runs, homes):
    ids = [run.id for run in story_runs]
    store, speed = services._opened(homes["trained"]).store, machine(dict(zip(ids, (1.7, 1.0, 1.0), strict=True)))
    open_compare()
    before = store.finding("speed", ids)
    store.save_finding("speed", ids, speed)
    app = open_compare()
    store.save_finding("speed", ids, before)
    compared = compared_at(story_runs, speed)
    shell, report = compared.comparison.table(), sections._report(compared).decode()
    page = {title: [in_figures(cell, title) for cell in column] for title, column in app.dataframe[0].value.items()}
    page["times as fast (95% interval)"] = page.pop(sections.FASTER)
    agreements = app.dataframe[0].value[agreement := "agreement with the first, %"]
    assert [f"{cell:.2f}%" for cell in agreements] == shell["agreement with the first"]
    assert compared.comparison.headline() in words(app)
    assert compared.comparison.headline().replace("**", "") in html.unescape(report)
    for place, (model, share) in enumerate(
        zip(compared.comparison.models, shell["accuracy (95% interval)"], strict=True)
    ):
        whole, low, high = re.findall(r"[\d.]+%", share)
        assert f"accuracy **{whole}**, 95% interval {low} to {high}" in words(app)
        assert float(whole[:-1]) == round(100 * (1 - model.errors / model.examples), 2)
        for title, cells in page.items():
            assert f"<td>{cells[place]}</td>" in report
            if title in shell:
                assert shell[title][place].split(" (", 1)[0].startswith(cells[place].split(" (", 1)[0])
    assert page.keys() - shell.keys() == {"model", "network", agreement}


def test_on_a_busy_machine_no_page_claims_a_difference_in_speed(open_compare, story_runs, homes):
    ids = [run.id for run in story_runs]
    store, speed = services._opened(homes["trained"]).store, busy(dict(zip(ids, (1.3, 1.0, 1.0), strict=True)))
    open_compare()
    before = store.finding("speed", ids)
    store.save_finding("speed", ids, speed)
    app = open_compare("The race")
    store.save_finding("speed", ids, before)
    assert "a race would run on noise" in words(app)
    assert words(app).count(NO_DIFFERENCE) >= 2  # in the headline, on the cards, in place of the race
    assert "times** as" not in words(app)
    assert not charts(app)


def test_a_stopped_model_is_named_in_the_headline(story_runs):
    teacher = dataclasses.replace(story_runs[0], status="stopped", results=story_runs[0].results | {"epochs": 1.5})
    headline = compare([teacher, *story_runs[1:]]).headline()
    assert f"**teacher: stopped early, at 1.5 of {teacher.config.training.epochs} epochs.**" in headline
    assert "stopped" not in compare(story_runs).headline()


def test_the_report_prints_no_raw_float(open_compare, story_runs):
    open_compare()
    page = sections._report(compared_at(story_runs, busy({run.id: 1.3 for run in story_runs}))).decode()
    cells = re.findall("<td>(.*?)</td>", page)
    assert len(cells) > 50
    assert [cell for cell in cells if re.search(r"\d\.\d{5}|\de[-+]?\d", cell)] == []


def test_other_seeds_are_trained_at_once_and_a_verdict_over_them_is_shown(open_compare, story_runs, homes):
    store = services._opened(homes["trained"]).store
    app = open_compare()
    assert "On this seed the distilled student makes" in words(app)
    app.button(key="other_seeds").click().run()
    assert not app.exception
    student = story_runs[-1].config.model
    new = [run for run in store.runs() if run.config.seed in range(1, 9) and run.config.model == student]
    assert sorted((run.config.role, run.config.seed) for run in new) == [
        (role, seed) for role in ("baseline", "distilled") for seed in range(1, 9)
    ]
    wait_until(lambda: all(run.status == "finished" for run in store.some([trained.id for trained in new])))
    app = open_compare()
    errors = {"baseline": {}, "distilled": {}, "teacher": {}}
    for run in [*story_runs, *store.some([trained.id for trained in new])]:
        errors[run.config.role][run.config.seed] = run.results["test_errors"]
    mean, low, high = mean_interval([errors["baseline"][seed] - errors["distilled"][seed] for seed in range(9)])
    if mean < 0:
        mean, low, high = -mean, -high, -low
    assert f"Over 9 seeds the distilled student makes {mean:.1f} test errors" in words(app)
    assert f"(95% interval {low:.1f} to {high:.1f}, Student's t)" in words(app)
    assert "other_seeds" not in [button.key for button in app.button]
    for run in new:
        store.delete(run.id)


def test_compare_tests_whether_differences_are_real(open_compare, story_runs):
    app = open_compare("Is it real?")
    table = app.dataframe[0].value
    assert len(table) == 3  # each of three with each other
    teacher, baseline = story_runs[:2]
    surplus = table["only the first is wrong"] - table["only the second is wrong"]
    assert surplus[0] == teacher.results["test_errors"] - baseline.results["test_errors"]


def test_calibration_is_shown_with_and_without_temperature_scaling(open_compare):
    table = open_compare("Calibration").dataframe[0].value
    assert len(table) == 6
    assert (table["T"] == 1).sum() == 3


@pytest.mark.parametrize("part", ["Classes", "Mistakes", "Disagreements", "The race"])
def test_each_closer_look_opens(open_compare, part):
    open_compare(part)


def test_the_inside_shows_every_models_features_and_landscape_once_found(open_compare, story_runs, homes):
    app = open_compare("Inside")
    store = services._opened(homes["trained"]).store
    wait_until(lambda: not any(store.finding("inside", [run.id]) is None for run in story_runs))
    app.run()
    assert "of 1,000 training images around the weights" in words(app)
    finding = store.finding("inside", [story_runs[0].id])
    assert len(finding["features"]) == len(finding["labels"]) == 445
    assert len(charts(app)) >= 6


def test_speed_is_shown_by_runtime_and_batch_size_with_what_it_is_worth(open_compare):
    app = open_compare("Speed")
    table = app.dataframe[0].value
    assert set(table["runtime"]) == {"PyTorch"}
    assert min(table["batch"]) == 1
    assert max(table["batch"]) in (64, 512)  # a machine that does much else leaves the largest out
    assert "measured against itself" in words(app)
    assert [button.label for button in app.button if button.key == "offer_runtimes"] == ["Measure ONNX Runtime too"]


def test_the_report_holds_every_part(open_compare, story_runs):
    open_compare()
    compared = compared_at(story_runs, machine({run.id: 1.0 for run in story_runs}))
    known = {"features": [], "labels": [], "width": 30, "steps": [0.0], "losses": [[1.0]], "images": 1000}
    compared = compared._replace(inside={run.id: known for run in story_runs})
    page = sections._report(compared).decode()
    for part in sections.PARTS.values():
        assert part(compared).title.replace("'", "&#x27;") in page


def test_the_report_leaves_out_what_is_still_being_measured(open_compare, story_runs):
    open_compare()
    compared = compared_at(story_runs, None)
    page = sections._report(compared).decode()
    for part in (sections.speeds, sections.inside):
        assert "It is not measured yet" in part(compared).text[0]
        assert part(compared).title.replace("'", "&#x27;") not in page
    assert "measured;" not in page


def test_models_of_different_data_sets_are_not_compared(open_page, story_runs, homes):
    store = services._opened(homes["trained"]).store
    stranger = new_id()
    store.create({stranger: RunConfig(role="teacher", dataset="mnist", model=ModelConfig(hidden=(8,)))})
    costs = {"parameters": 1, "size_bytes": 1, "multiply_adds": 1, "epochs": 1.0}
    store.apply(stranger, {"kind": "finished", "results": {"test_errors": 9, "test_examples": 10_000, **costs}})
    app = open_page("compare", batch=story_runs[0].batch, compared=f"{stranger},{story_runs[0].id}")
    assert "compare models of one data set" in words(app)
    store.delete(stranger)


def test_runs_without_weights_still_training_or_unknown_are_left_out_in_words(open_page, story_runs, homes):
    store = services._opened(homes["trained"]).store
    without, training = new_id(), new_id()
    store.create({without: tiny_story().teacher_runs()[0], training: tiny_story().teacher_runs()[0]})
    store.apply(without, {"kind": "failed", "text": "It broke."})
    named = ",".join([story_runs[0].id, without, training, "nosuchrun"])
    app = open_page("compare", batch=story_runs[0].batch, compared=named)
    text = words(app)
    assert "is failed: it left no weights" in text
    assert "is queued: wait until it has ended" in text
    assert "There is no run nosuchrun here" in text
    store.apply(training, {"kind": "stopped"})
    for run_id in (without, training):
        store.delete(run_id)


def test_export_offers_the_files_that_passed_their_check(open_page, story_runs, homes):
    store = services._opened(homes["trained"]).store
    student = story_runs[-1]
    app = open_page("export", run=student.id)
    wait_until(lambda: store.finding("export", [student.id]) is not None)
    app.run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["original"]) == [student.results["test_errors"]] * len(checks.MODEL_FILES)
    passed = set(table["file"][table["passed"]])
    assert passed >= set(checks.MODEL_FILES) - {checks.ONNX_INT8}  # so tiny a model may lose too much in 8 bits
    assert passed == {button.label for button in app.get("download_button")} & set(checks.MODEL_FILES)
    for opset, batch in ((20, None), (21, 1), (18, None)):  # thrice in a row
        app.selectbox(key=f"opset_{student.id}").set_value(opset)
        app.number_input(key=f"batch_{student.id}").set_value(batch)
        next(button for button in app.button if button.label == "Write the files again").click().run()
        wait_until(lambda: store.finding("export", [student.id]) is not None)
        app.run()
        assert not app.exception
        assert app.selectbox(key=f"opset_{student.id}").value == opset
        written = checks.read_checks(store.folder(student.id))
        assert (written.options.opset, written.options.batch) == (opset, batch)


def test_int8_that_is_too_bad_comes_on_request_and_can_be_learned(open_page, story_runs, homes):
    store, student = services._opened(homes["trained"]).store, story_runs[-1]
    app = open_page("export", run=student.id)
    wait_until(lambda: store.finding("export", [student.id]) is not None)
    folder = store.folder(student.id)
    before = checks.read_checks(folder)
    worse = {"test_errors": before.file(checks.ONNX_INT8).test_errors + 40, "p_value": 1e-9, "differing": 40}
    bad = before.file(checks.ONNX_INT8).replace(passed=False, withheld=True, **worse)
    files = tuple(bad if file.name == bad.name else file for file in before.files)
    (folder.export / checks.CHECKS).write_text(before.replace(files=files).model_dump_json(), encoding="utf-8")
    try:
        app.run()
        assert not app.exception
        assert any("more than chance: p = 1e-09 by McNemar" in warning.value for warning in app.warning)
        for wanted in (True, False, True):
            app.toggle(key=f"anyway_{bad.name}").set_value(wanted).run()
            assert (bad.name in {button.label for button in app.get("download_button")}) == wanted
        app.button(key=f"int8_{student.id}").click().run()
        assert not app.exception
        (aware,) = [run for run in store.runs() if run.config.training.int8_aware]
        assert (aware.config.continues, aware.config.distillation) == (student.id, student.config.distillation)
        wait_until(lambda: store.get(aware.id).status == "finished")
        app.run()
        assert not app.exception
        store.delete(aware.id)
    finally:
        (folder.export / checks.CHECKS).write_text(before.model_dump_json(), encoding="utf-8")


def test_an_address_that_names_no_batch_still_shows_the_page(open_page):
    for page in PAGES:
        app = open_page(page, batch="../../etc")
        assert not app.error


def test_a_damaged_list_of_runs_is_mended_and_said_until_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KD_HOME", str(tmp_path))
    (tmp_path / "lab.sqlite").write_bytes(b"this is no database" * 100)
    app = app_test().run()
    assert not app.exception
    assert not app.error
    assert app.warning[0].value.startswith("The list of runs was damaged. It is whole again")
    app.button(key="mended_seen").click().run()
    assert not app.warning
    assert base_paths.home() == tmp_path


@pytest.mark.parametrize(
    ("temperature", "image"),
    [
        ("abc", "test-999999999999"),
        ("nan", "test--1"),
        ("-5", "test-²"),
        ("1e999", "drawn-"),
        ("0", "drawn-AAAA"),
        ("", "../../etc/passwd"),
    ],
)
def test_an_address_of_nonsense_opens_the_temperature_page_all_the_same(open_page, temperature, image):
    app = open_page("temperature", T=temperature, image=image, gallery_class="eleven", alpha="much")
    assert not app.error
    assert app.header[0].value == "The dark knowledge map"


def test_each_gallery_opens_with_images_or_a_sentence(open_page):
    app = open_page("temperature")
    for kind in GALLERIES:
        for label in ("any", "8"):
            app.selectbox(key="gallery_kind").set_value(kind)
            app.selectbox(key="gallery_class").set_value(label).run()
            assert not app.exception


def test_the_student_of_another_experiment_is_that_experiments_own(home, store, monkeypatch, at_this_machine):
    """Its role is the same, and so is its name in the list; the run is another."""
    monkeypatch.setenv("KD_HOME", str(home))
    teacher = train_here(store, tiny_config(epochs=1))
    runs = {train_here(store, tiny_config("distilled", teachers=(teacher,), epochs=1, seed=seed)) for seed in (0, 1)}
    app = app_test().run()
    app.switch_page("pages/temperature/page.py").run()
    students = set()
    for batch in {run.batch for run in store.runs() if run.id in runs}:
        app.query_params["batch"] = batch
        app.run()
        assert not app.exception, [error.value for error in app.exception]
        students.add(next(box for box in app.selectbox if box.label == "Student").value)
    assert students == runs
    services._jobs(home).close()
    services._opened(home).store.close()


def test_the_curves_of_runs_are_laid_out_once_however_often_their_page_runs(open_page, monkeypatch):
    laid_out = []
    learning_curves = curves.learning_curves

    def counted(*arguments, **options):
        laid_out.append(options)
        return learning_curves(*arguments, **options)

    monkeypatch.setattr(curves, "learning_curves", counted)
    live._figure.clear()
    app = open_page("train", view="Watch")
    assert len(laid_out) == 2  # for a wide window and a narrow one
    app.run()
    assert len(laid_out) == 2


def test_without_the_data_set_drawing_still_works(open_page, monkeypatch):
    monkeypatch.setattr(data_paths, "available", lambda dataset: False)
    app = open_page("temperature")
    assert list(app.segmented_control(key="image_source").options) == ["Draw", "Upload"]
    assert "draw a digit" in " ".join(str(warning.value) for warning in app.warning)


def test_a_sweep_trains_every_combination_and_draws_it(open_page, homes):
    app = open_page("sweep")
    assert app.selectbox(key="sweep_teacher").value.config.role == "teacher"
    assert app.button(key="sweep").label == "Train 18 students"
    assert "16 of the grid, and 2 baselines, one a network and seed." in words(app)
    app.multiselect(key="sweep_temperatures").set_value([1.0, 4.0])
    app.multiselect(key="sweep_students_mlp 30").set_value(["mlp 10"])
    app.number_input(key="sweep_epochs").set_value(2)  # and the button pressed before the page has followed
    app.button(key="sweep").click().run()
    assert not app.exception
    store = services._opened(homes["trained"]).store
    batch = store.runs()[0].batch
    assert len(store.runs(batch=batch)) == 2 * (2 * 2 + 1)  # seeds, temperatures, alphas, and a baseline each
    assert {run.config.training.epochs for run in store.runs(batch=batch)} == {2}
    wait_until_idle(store)
    app.run()
    assert {run.status for run in store.runs(batch=batch)} == {"finished"}
    assert "Baseline mlp 10" in words(app)
    assert len(charts(app)) == 2
    tried = app.dataframe[0].value
    assert list(tried["network"]) == ["mlp 10"] * (2 * 2 + 1)
    errors = [run.results["test_errors"] for run in store.runs(batch=batch) if run.config.role == "baseline"]
    assert sorted(tried[tried["T"] == "–"]["by seed"].item().split()) == sorted(map(str, errors))


def test_a_sweep_takes_students_of_any_kind_and_part_of_the_images(open_page, homes):
    app = open_page("sweep")
    app.multiselect(key="sweep_temperatures").set_value([2.0])
    app.multiselect(key="sweep_alphas").set_value([0.9])
    app.number_input(key="sweep_seeds").set_value(1)
    app.number_input(key="sweep_epochs").set_value(1)
    app.number_input(key="sweep_share").set_value(50.0)
    app.multiselect(key="sweep_students_mlp 30").set_value(["cnn 8-16", "mlp 20-10"]).run()
    assert app.button(key="sweep").label == "Train 4 students"
    app.button(key="sweep").click().run()
    store = services._opened(homes["trained"]).store
    runs = store.runs(batch=store.runs()[0].batch)
    assert {run.config.model for run in runs} == {network("cnn 8-16"), ModelConfig(hidden=(20, 10))}
    assert {run.config.transfer_set.fraction for run in runs} == {0.5}
    wait_until_idle(store)
    app.run()
    assert len(app.dataframe[0].value) == 4
    app.multiselect(key="sweep_students_mlp 30").set_value(["a net"]).run()
    assert "unknown model 'a'" in words(app) or "a network is written as" in words(app)


def test_a_sweep_of_two_students_is_shown_to_whoever_started_it(home, store, monkeypatch, at_this_machine):
    """Its page showed the newest larger one instead, as if the press had been lost."""
    monkeypatch.setenv("KD_HOME", str(home))
    for count, batch in ((2, "small"), (4, "large")):
        store.create({new_id(): tiny_config("distilled", teachers=("t",), seed=seed) for seed in range(count)}, batch)
    app = app_test()
    app.query_params["batch"] = "small"
    app.run()
    app.switch_page("pages/sweep/page.py").run()
    assert next(box for box in app.selectbox if box.label == "Sweep").value == "small"
    services._jobs(home).close()
    services._opened(home).store.close()


def test_a_sweep_without_a_value_on_an_axis_says_so(open_page):
    app = open_page("sweep")
    app.multiselect(key="sweep_temperatures").set_value([]).run()
    assert "temperatures is empty: name at least one value" in words(app)
    assert not [button for button in app.button if button.key == "sweep"]


@pytest.fixture
def open_paper(open_page, homes, monkeypatch):
    """open_paper(experiment) -> the page after it was redone on digits, with one seed."""
    monkeypatch.setattr(paper, "PROTOCOLS", {"digits": PAPER})
    monkeypatch.setattr(paper, "PAPER", PAPER)

    def open_it(experiment):
        app = open_page("paper", "empty", experiment=experiment)
        buttons = [button for button in app.button if button.key == "redo"]
        if buttons:
            buttons[0].click().run()
        wait_until_idle(services._opened(homes["empty"]).store)
        app.run()
        assert not app.exception, [error.value for error in app.exception]
        return app

    return open_it


def test_a_click_redoes_a_papers_experiment_beside_its_printed_numbers(open_paper, homes):
    app = open_paper("main")
    table = app.dataframe[0].value
    assert list(table["paper"]) == ["67", "146", "74"]
    made = {run.config.role: run.results["test_errors"] for run in services._opened(homes["empty"]).store.runs()[:3]}
    assert list(table["ours: median (range)"]) == [str(made[role]) for role in ("teacher", "baseline", "distilled")]
    assert "it takes 3 seeds to say anything" in words(app)
    assert not [button for button in app.button if button.key == "redo"]  # all of it is there


def test_on_digits_no_number_of_the_paper_stands_beside_ours(open_page):
    app = open_page("paper", "empty", on="digits")
    assert set(app.dataframe[0].value["paper"]) == {"–"}
    assert "Another data set" in " ".join(caption.value for caption in app.caption)


@pytest.mark.parametrize(("experiment", "images"), [("no_3", 1), ("only_7_8", 8)])
def test_raising_the_bias_of_what_a_student_never_saw_brings_it_back(open_paper, homes, experiment, images):
    app = open_paper(experiment)
    store = services._opened(homes["empty"]).store
    run = next(run for run in store.runs() if len(run.config.transfer_set.missing(10)) == images)
    wait_until(lambda: store.finding("bias", [run.id]) is not None)
    app.run()
    assert app.metric[0].value == f"{run.results['test_errors']:,} test errors"
    best = int(app.metric[1].value.split()[0])
    assert best <= run.results["test_errors"]
    app.slider(key=f"bias_{run.id}").set_value(1.5).run()
    assert "+1.50" in app.metric[0].label
    assert int(app.metric[0].value.split()[0]) >= best


# --------------------------------------------------------------------------------------------------- advice after a run


@pytest.mark.parametrize("page", ["train", "compare"])
def test_the_next_experiment_that_a_run_asks_for_fills_the_form_at_one_press(open_page, story_runs, homes, page):
    store, student = services._opened(homes["trained"]).store, story_runs[-1]
    first = after.advise(evidence.evidence_of(store, student))[0]
    address = {"view": "Watch"} if page == "train" else {"compared": ",".join(run.id for run in story_runs)}
    app = open_page(page, batch=student.batch, **address)
    text = words(app)
    assert first.sentence.split(":")[0] in text
    button = app.button(key="advice_0")
    assert button.label == first.change
    button.click().run()
    assert not app.exception, [error.value for error in app.exception]
    assert app.title[0].value == "Distill live"
    assert app.session_state["view"] == "Set up"
    assert app.session_state["setup"] == first.next != evidence.evidence_of(store, student).story


def test_a_run_of_which_nothing_is_to_be_said_is_told_that(open_page, story_runs, monkeypatch):
    monkeypatch.setattr(after, "RULES", ())
    services._advice.clear()
    app = open_page("train", batch=story_runs[-1].batch, view="Watch")
    assert after.ALL_WELL in words(app)
    services._advice.clear()


# ------------------------------------------------------------------------------------------- objectives at equal budget


def test_all_objectives_are_compared_at_one_press(open_page, homes, monkeypatch):
    few = {name: OBJECTIVES[name] for name in ("hinton", "rkd")}
    monkeypatch.setattr(equal_budget, "OBJECTIVES", few)
    monkeypatch.setattr(equal_budget, "budget", lambda dataset: BUDGET)
    app = open_page("objectives", "empty", on="digits")
    assert "Nothing of it has been trained yet" in words(app)
    app.segmented_control(key="contest_seeds").set_value(3)  # and the button pressed at once
    next(button for button in app.button if button.key == "redo").click().run()
    wait_until_idle(services._opened(homes["empty"]).store)
    app.run()
    assert not app.exception, [error.value for error in app.exception]
    table = app.dataframe[0].value
    assert set(table["objective"]) == {equal_budget.label(name) for name in ("baseline", "label_smoothing", *few)}
    assert "After Holm's correction for 3 comparisons" in words(app)
    store = services._opened(homes["empty"]).store
    made = [run for run in store.runs() if run.config.distillation and run.config.distillation.objective == "rkd"]
    errors = [run.results["test_errors"] for run in sorted(made, key=lambda run: run.config.seed)]
    assert list(table[table["objective"] == OBJECTIVES["rkd"].label]["by seed"]) == [" ".join(map(str, errors))]


def test_the_contest_takes_any_pair_and_its_address_brings_it_back(open_page, story_runs, homes):
    teacher = story_runs[0]
    app = open_page("objectives", on="digits")
    app.selectbox(key="pair digits teacher").set_value(teacher.id)
    app.text_input(key="pair digits student").set_value("mlp 12")
    app.number_input(key="pair digits epochs").set_value(1)
    app.number_input(key="pair digits share").set_value(50.0)
    app.segmented_control(key="contest_seeds").set_value(3).run()
    assert "The same student (mlp 12), taught by the same teacher (mlp 16), for one epoch on 50%" in words(app)
    assert "Left out, as these networks do not show" in " ".join(caption.value for caption in app.caption)
    app.multiselect(key="contest_only").set_value(["hinton", "dkd"]).run()
    elsewhere = open_page("objectives", **{name: "".join(value) for name, value in app.query_params.items()})
    assert elsewhere.text_input(key="pair digits student").value == "mlp 12"
    assert elsewhere.multiselect(key="contest_only").value == ["hinton", "dkd"]
    next(button for button in elsewhere.button if button.key == "redo").click().run()
    store = services._opened(homes["trained"]).store
    wait_until_idle(store)
    elsewhere.run()
    assert not elsewhere.exception, [error.value for error in elsewhere.exception]
    made = store.runs(batch=store.runs()[0].batch)
    assert {run.config.model.label for run in made} == {"mlp 12"}
    assert {run.config.distillation.teachers for run in made if run.config.distillation} == {(teacher.id,)}
    assert len(elsewhere.dataframe[0].value) == 4
    for text in ("mlp 9", "nothing known", "mlp 12"):
        elsewhere.text_input(key="pair digits student").set_value(text).run()
        assert not elsewhere.exception
        assert bool(elsewhere.error) == (text == "nothing known")
    elsewhere.selectbox(key="pair digits teacher").set_value("new").run()
    assert equal_budget.budget("digits").teacher.label in words(elsewhere)


# ------------------------------------------------------------------------------------------------- the guided lesson


@pytest.fixture
def open_front(homes, monkeypatch):
    """open_front(query) -> the first page with all that surrounds it; AppTest leaves that away when it switches."""
    monkeypatch.setenv("KD_HOME", str(homes["trained"]))

    def open_it(**query):
        app = app_test()
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_it


def keys_of_buttons(app):
    return {button.key for button in app.button}


def test_on_other_pages_a_lesson_waits_with_the_way_back(open_front):
    app = open_front(lesson="why")
    assert "1 of 12: Why distill at all?" in words(app)
    assert {"lesson_return", "lesson_leave"} <= keys_of_buttons(app)
    assert "lesson_next" not in keys_of_buttons(app)
    assert "11 of 12: The missing class" in words(open_front(lesson="5")), "as an address of before named it"


def test_the_page_with_the_whole_view_of_a_step_leads_on_to_the_next():
    app = AppTest.from_string("from pages.shared.tour import guide\nguide('temperature')")
    app.query_params["lesson"] = "feel"
    app.run()
    assert not app.exception
    assert {"lesson_return", "lesson_next", "lesson_leave"} <= keys_of_buttons(app)


def test_a_lesson_can_be_left(open_front):
    app = open_front(lesson="why")
    app.button(key="lesson_leave").click().run()
    assert tour.LESSON not in app.query_params
    assert "lesson_leave" not in keys_of_buttons(app)


@pytest.mark.parametrize("named", ["0", "6", "-1", "two", "²", "99999"])
def test_an_address_that_names_no_step_starts_no_lesson(open_front, named):
    app = open_front(lesson=named)
    assert not app.exception
    assert "lesson_leave" not in keys_of_buttons(app)


def test_the_lesson_asks_before_it_shows_and_looks_back_at_its_end(open_page):
    app = open_page("lesson", lesson="targets")
    (question,) = app.radio
    assert "find most like **2**" in question.label
    assert "You predicted" not in words(app)
    guess = question.options[-1]
    question.set_value(guess).run()
    assert not app.exception
    assert ":small[You predicted]" in words(app)
    assert "Nobody labelled that" in words(app)
    app.button(key="lesson_next").click().run()
    app.button(key="lesson_skip_what_t_changes").click().run()
    assert app.query_params["T"] == "8", "where the answer is seen"
    app.button(key="lesson_again_what_t_changes").click().run()
    assert len(app.radio) == 1
    for _ in range(8):
        app.button(key="lesson_next").click().run()
        assert not app.exception
    assert "What you predicted, and what was true" in [header.value for header in app.header]
    assert f"find most like **2**? | {guess} |" in words(app)
    assert "What does it change? | not asked yet |" in words(app)


def test_a_step_hands_its_notes_and_its_question_to_whoever_leads_a_class(open_page):
    app = open_page("lesson", lesson="temperature")
    (laid,) = [element.proto.body for element in app.get("html") if "data-lesson-step" in element.proto.body]
    step = json.loads(html.unescape(re.search(r'data-lesson-step="([^"]*)"', laid)[1]))
    assert step["question"]["answers"][step["question"]["truth"]] == "The entropy: how spread out they are"
    assert "Ask before T moves." in step["notes"]


def test_where_the_lessons_students_are_missing_a_step_says_so(open_page):
    for name in ("hot", "compare", "labels", "missing"):
        app = open_page("lesson", lesson=name)
        assert "make them with 'python -m kd_core ship-lesson'" in words(app)
        assert not app.radio


def test_a_sweep_that_was_interrupted_says_why_beside_the_button_that_goes_on(open_page, homes):
    store = services._opened(homes["trained"]).store
    teacher = next(run for run in store.runs(statuses=["finished"]) if run.config.role == "teacher")
    sweep = SweepConfig(dataset="digits", teachers=(teacher.id,), model=ModelConfig(hidden=(8,)), widths=(8,))
    ids = {new_id(): cell for cell in sweep.cells()}
    store.create(ids)
    for run_id in ids:
        store.apply(run_id, {"kind": "interrupted", "text": "The program that ran it ended."})
    app = open_page("sweep", batch=store.get(next(iter(ids))).batch)
    assert [element.value for element in app.warning] == ["5 of 5 students: The program that ran it ended."]
    assert app.button(key="sweep_go_on").label == "Go on with 5"
    for run_id in ids:
        store.delete(run_id)


def test_a_finished_sweep_opens_compare_with_as_many_as_it_compares(open_page, homes):
    store = services._opened(homes["trained"]).store
    trained = [run for run in store.runs(statuses=["finished"]) if run.config.role != "distilled"][:2]
    copies = [dataclasses.replace(trained[0], id=new_id(), batch="many") for _ in range(pickers.MAX_COMPARED + 2)]
    for run in copies:
        store.adopt(run, [], [])
        shutil.copytree(store.folder(trained[0].id).path, store.folder(run.id).path)
    app = open_page("compare", batch="many")
    assert len(app.multiselect[0].value) == pickers.MAX_COMPARED
    for run in copies:
        store.delete(run.id)


@pytest.fixture
def more_batches(homes, story_runs):
    """The batches of the trained story, and of two copies of it."""
    store, story = services._opened(homes["trained"]).store, story_runs
    batches = [new_id(), new_id()]
    copies = [dataclasses.replace(run, id=new_id(), batch=batch) for batch in batches for run in story]
    for run, original in zip(copies, story * 2, strict=True):
        store.adopt(run, [], [])
        shutil.copytree(store.folder(original.id).path, store.folder(run.id).path)
    yield [story[0].batch, *batches]
    for run in copies:
        store.delete(run.id)


@pytest.mark.parametrize("page", ["temperature", "compare", "train"])
def test_every_choice_of_an_experiment_stands(open_page, more_batches, page):
    """The picker's key was made of what it chose, and so every second choice was lost."""
    app = open_page(page, **({"view": "Watch"} if page == "train" else {}))
    for batch in (*more_batches, *more_batches):
        app.selectbox(key=pickers.PICKED).set_value(batch).run()
        assert not app.exception
        assert app.selectbox(key=pickers.PICKED).value == batch
        assert app.query_params["batch"] == batch
    app.query_params["batch"] = more_batches[0]  # as the browser's back does it
    app.run()
    assert app.selectbox(key=pickers.PICKED).value == more_batches[0]
    app.switch_page("pages/compare/page.py").run()
    assert app.selectbox(key=pickers.PICKED).value == more_batches[0]


def test_many_runs_and_stories_are_shown_in_part_and_searched_whole(open_page, more_batches, homes, monkeypatch):
    monkeypatch.setattr(runs_table, "ROWS", 2)
    monkeypatch.setattr(pickers, "MOST_OFFERED", 1)
    runs = services._opened(homes["trained"]).store.runs()
    ids = [run.id for run in runs]
    app = open_page("runs", runs=ids[3])
    assert list(app.dataframe[0].value["id"]) == ids[2:4]  # where the run is that the address names
    for page in (1, 3, 2):
        app.number_input(key="runs_page").set_value(page).run()
        assert list(app.dataframe[0].value["id"]) == ids[2 * page - 2 : 2 * page]
        assert app.query_params["runs"] == ids[3]
    app.selectbox(key="runs_order").set_value("oldest first").run()
    assert list(app.dataframe[0].value["id"]) == ids[::-1][2:4]
    app.multiselect(key="runs_role").set_value(["teacher"]).run()
    assert set(app.dataframe[0].value["role"]) == {"teacher"}
    app = open_page("compare", batch=more_batches[0])
    assert len(app.selectbox(key=pickers.PICKED).options) <= 2
    app.text_input(key=pickers.SEARCH).set_value(more_batches[1]).run()
    app.selectbox(key=pickers.PICKED).set_value(more_batches[1]).run()
    assert app.selectbox(key=pickers.PICKED).value == more_batches[1]
    assert not app.exception


def test_another_experiment_brings_its_own_models_to_compare(open_page, more_batches, homes):
    store = services._opened(homes["trained"]).store
    first, second = ([run.id for run in store.runs(batch=batch)] for batch in more_batches[:2])
    app = open_page("compare", batch=more_batches[0], compared=first[0])
    assert app.multiselect[0].value == [first[0]]
    app.selectbox(key=pickers.PICKED).set_value(more_batches[1]).run()
    assert {*second} <= {*app.multiselect[0].value}
    assert "compared" not in app.query_params


def test_a_page_opens_on_this_browsers_own_last_story_or_on_what_ships(more_batches, homes, monkeypatch):
    """Whatever anybody ran last opened, also five runs with a mistake made on purpose."""
    store = services._opened(homes["trained"]).store
    runs = {batch: store.runs(batch=batch)[::-1] for batch in more_batches}
    mine, theirs, contest = more_batches
    runs[mine] = [dataclasses.replace(run, browser="me") for run in runs[mine]]
    runs[theirs] = [dataclasses.replace(run, browser="they") for run in runs[theirs]]
    runs[contest] = [dataclasses.replace(run, browser="me", id=new_id()) for run in runs[contest] * 2]
    order = {name: runs[name] for name in (contest, theirs, mine)}
    monkeypatch.setattr(services, "browser", lambda: "me")
    assert pickers.opening(order) == mine
    unfinished = [dataclasses.replace(run, results={}) for run in runs[mine]]
    assert pickers.opening({"new": unfinished, **order}) == mine
    joined = [dataclasses.replace(run, browser="they", joined=("me",)) for run in runs[mine]]
    assert pickers.opening({theirs: runs[theirs], mine: joined}) == mine
    unfinished[0] = dataclasses.replace(unfinished[0], status="paused")
    assert pickers.going({**order, "new": unfinished}) == "new"
    ships = {
        f"{shipped.TAG}{name}": [
            dataclasses.replace(run, tags=(shipped.TAG,), config=run.config.replace(dataset=name))
            for run in runs[theirs]
        ]
        for name in ("digits", "mnist")
    }
    monkeypatch.setattr(data_paths, "available", lambda name: True)
    for browser in ("another", ""):
        monkeypatch.setattr(services, "browser", lambda browser=browser: browser)
        assert pickers.opening({**order, **ships}) == f"{shipped.TAG}mnist"
        assert pickers.going({**order, "new": unfinished}) is None
    monkeypatch.setattr(data_paths, "available", lambda name: name != "mnist")
    assert pickers.opening({**order, **ships}) == f"{shipped.TAG}digits"
    assert pickers.opening(order) == theirs
    assert contest not in pickers._of_the_kind(order, [])
    assert contest in pickers._of_the_kind(order, [contest])


@pytest.mark.parametrize("page", ["temperature", "compare"])
def test_a_link_to_what_is_not_trained_says_so_and_stays_in_the_address(open_page, story_runs, homes, page):
    store = services._opened(homes["trained"]).store
    app = open_page(page, batch="nowhere")
    assert "There is no story nowhere here" in words(app)
    assert app.query_params["batch"] == "nowhere"
    ids = [new_id(), new_id()]
    store.create({ids[0]: tiny_config(seed=77), ids[1]: tiny_config("distilled", teachers=(ids[0],))}, f"unready{page}")
    app = open_page(page, batch=f"unready{page}")
    assert "is still training (teacher 0%, distilled 0%)" in words(app)
    assert app.query_params["batch"] == f"unready{page}"
    for run_id in ids:
        store.apply(run_id, {"kind": "interrupted", "text": "for this test"})
    app.run()
    assert "is interrupted, and has nothing to show here" in words(app)
    app.selectbox(key=pickers.PICKED).set_value(story_runs[0].batch).run()
    for run_id in ids:
        store.delete(run_id)


@pytest.mark.parametrize("page", ["temperature", "compare", "export"])
def test_a_page_that_shows_another_story_says_that_ones_own_trains(open_page, story_runs, homes, monkeypatch, page):
    store = services._opened(homes["trained"]).store
    monkeypatch.setattr(services, "browser", lambda: "me")
    ids = [new_id(), new_id()]
    configs = tiny_config(seed=78), tiny_config("distilled", teachers=(ids[0],))
    store.create(dict(zip(ids, configs, strict=True)), f"going{page}", browser="me")
    for _ in range(2):  # the second time its address names what it opened on
        app = open_page(page)
        assert "Yours, " in words(app)
        assert "is still training (teacher 0%, distilled 0%). This is another one." in words(app)
        assert "Watch yours" in [link.proto.label for link in app.get("page_link")]
        app.run()
    for run_id in ids:
        store.apply(run_id, {"kind": "stopped", "text": None})
    app = open_page(page)
    assert "Yours, " not in words(app)
    for run_id in ids:
        store.delete(run_id)


def test_many_runs_that_train_are_counted_and_not_listed(story_runs):
    runs = [dataclasses.replace(story_runs[-1], id=new_id(), status="running", step=9, total_steps=20)] * 18
    assert pickers.how_far([dataclasses.replace(run, id=new_id()) for run in runs]) == "18 runs: 0 finished, 18 at 45%"
    assert pickers.how_far([*story_runs, *runs[:4]]).count(", distilled") <= 3


def test_overview_keeps_its_data_set_in_the_address_and_follows_the_lab(open_page, monkeypatch):
    followed, fragment = set(), st.fragment

    def recorded(function=None, *, run_every=None):
        if function is None:
            return lambda wrapped: recorded(wrapped, run_every=run_every)
        followed.update({function.__name__} if run_every else ())
        return fragment(function, run_every=run_every)

    monkeypatch.setattr(st, "fragment", recorded)
    app = open_page("overview")
    assert {"_right_now", "_takes"} <= followed
    for name in filter(data_paths.available, ("digits", "mnist", "digits")):
        app.segmented_control(key="demo_dataset").set_value(name).run()
        assert app.segmented_control(key="demo_dataset").value == name
        assert app.query_params["on"] in (name, [name])
    assert open_page("overview", on="digits").segmented_control(key="demo_dataset").value == "digits"


def test_a_link_to_an_unknown_run_says_so_on_export_and_stays(open_page, story_runs):
    app = open_page("export", run="nowhere")
    assert "There is no run nowhere here" in words(app)
    assert app.query_params["run"] == "nowhere"
    for run in (*story_runs, *story_runs):
        app.selectbox(key=pickers.USABLE).set_value(run.id).run()
        assert app.selectbox(key=pickers.USABLE).value == run.id
        assert app.query_params["run"] == run.id


def test_what_stands_side_by_side_has_a_name_and_a_shade_of_its_own(story_runs):
    """Five green bars were all called "distilled"."""
    teacher, _, distilled = story_runs

    def student(**changes):
        distillation = distilled.config.distillation.replace(**changes)
        return dataclasses.replace(distilled, id=new_id(), config=distilled.config.replace(distillation=distillation))

    assert [*experiments_story.names(story_runs).values()] == ["teacher", "baseline", "distilled"]
    assert naming.shades(story_runs) == {run.id: style.ROLE_COLOURS[run.config.role] for run in story_runs}
    grid = [student(temperature=t, alpha=alpha) for t in (1.0, 8.0) for alpha in (0.5, 0.9)]
    assert [*experiments_story.names([teacher, *grid]).values()] == [
        "teacher", "distilled, T 1, alpha 0.5", "distilled, T 1, alpha 0.9", "distilled, T 8, alpha 0.5",
        "distilled, T 8, alpha 0.9",
    ]  # fmt: skip
    assert len({*naming.shades([teacher, *grid]).values()}) == 5
    seeds = [dataclasses.replace(run, config=run.config.replace(seed=place)) for place, run in enumerate(grid[:1] * 2)]
    seeds[1] = dataclasses.replace(seeds[1], id=new_id())
    assert [*experiments_story.names(seeds).values()] == ["distilled, seed 0", "distilled, seed 1"]
    objectives = [student(objective=name) for name in ("hinton", "dkd")]
    assert experiments_story.names(objectives)[objectives[1].id].startswith(f"distilled, {OBJECTIVES['dkd'].label}")
    twice = [distilled, dataclasses.replace(distilled, id=new_id())]
    assert len({*experiments_story.names(twice).values()}) == 2
    bare = distilled.config.distillation.replace(t_squared=False)
    config = distilled.config.replace(mistake="no_t_squared", distillation=bare)
    wrong = dataclasses.replace(distilled, id=new_id(), config=config)
    assert [*experiments_story.names([distilled, wrong]).values()] == ["distilled", "distilled, mistake: T² left out"]
    assert "2 distilled, mlp 8, mistake: T² left out · " in pickers.describe([distilled, wrong])
    assert naming.shades([distilled, wrong])[wrong.id] == style.ROLE_COLOURS["mistake"]


def test_a_lesson_step_on_a_page_with_a_button_of_its_own_fills_one_button(open_front):
    app = open_front(lesson="1")
    assert [button.key for button in app.button if button.proto.type == "primary"] == ["quick_demo"]
    app.run()
    assert app.button(key="quick_demo").proto.type == "primary"


@pytest.fixture
def teachers(homes, story_runs, monkeypatch):
    """The teacher of a story by this browser, "me", and a copy that another browser trained after it."""
    store, teacher = services._opened(homes["trained"]).store, story_runs[0]
    monkeypatch.setattr(services, "browser", lambda: "me")
    copies = [
        dataclasses.replace(teacher, id=new_id(), batch=browser, browser=browser, created_at=time.time() + place)
        for place, browser in enumerate(("me", "they"))
    ]
    for run in copies:
        store.adopt(run, [], [])
        shutil.copytree(store.folder(teacher.id).path, store.folder(run.id).path)
    yield copies
    for run in copies:
        store.delete(run.id)


def test_who_starts_to_teach_is_this_browsers_own(open_page, open_form, teachers):
    """The newest teacher by anybody was."""
    mine, theirs = teachers
    app = open_form()
    app.segmented_control(key="form_teacher_source").set_value("One that is trained").run()
    assert app.multiselect(key="form_teachers").value == [mine.id]
    app = open_page("sweep")
    assert app.selectbox(key="sweep_teacher").value.id == mine.id
    assert theirs.id[:4] in " ".join(app.selectbox(key="sweep_teacher").options)


def test_sweep_opens_on_this_browsers_own_and_not_on_anothers(open_page, homes, teachers):
    store = services._opened(homes["trained"]).store
    ids = [new_id() for _ in range(4)]
    for batch, browser in (("own", "me"), ("other", "they")):
        pair = {ids.pop(): tiny_config("distilled", teachers=(teachers[0].id,), seed=seed) for seed in (0, 1)}
        store.create(pair, batch, browser=browser)
        for run_id in pair:
            store.apply(run_id, {"kind": "interrupted", "text": "for this test"})
    assert open_page("sweep").selectbox(key=pickers.PICKED).value == "own"
    for run in store.runs(batch="own"):
        store.delete(run.id)
    app = open_page("sweep")
    assert app.selectbox(key=pickers.PICKED).value is None
    assert "batch" not in app.query_params
    app.selectbox(key=pickers.PICKED).set_value("other").run()
    assert app.query_params["batch"] == "other"
    assert "Go on with 2" not in words(app)  # another browser's
    app = open_page("sweep", batch="nowhere")
    assert "There is no sweep nowhere here" in words(app)
    assert "This is another one" not in words(app)
    for run in store.runs(batch="other"):
        store.delete(run.id)


def test_train_opens_on_its_form_unless_this_browsers_own_story_is_unfinished(open_page, homes, teachers):
    """Once any page had opened on an experiment by itself, the train page opened on its curves."""
    app = open_page("temperature")
    app.query_params.clear()  # as the navigation does
    app.switch_page("pages/train/page.py").run()
    assert app.session_state["view"] == "Set up"
    store, mine = services._opened(homes["trained"]).store, new_id()
    store.create({mine: tiny_config("distilled", teachers=(teachers[0].id,))}, "unfinished", browser="me")
    store.apply(mine, {"kind": "interrupted", "text": "for this test"})
    app = open_page("train")
    assert app.session_state["view"] == "Watch"
    assert app.selectbox(key=pickers.PICKED).value == "unfinished"
    store.delete(mine)


def test_a_link_to_runs_that_are_not_here_says_so_and_stays_in_the_address(open_page, story_runs):
    named = f"{story_runs[0].id},nowhere"
    app = open_page("runs", runs=named)
    assert "There is no run nowhere here" in words(app)
    assert app.query_params["runs"] == named
