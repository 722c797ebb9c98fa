"""The shell starts from what the browser starts from.

But for one: 'limits' trains on digits in the shell, where the page opens on what ships of MNIST and trains nothing.
"""

import pytest
from app_test import app_on
from tiny import tiny_config
from typer.testing import CliRunner

from kd_core.cli import watch
from kd_core.cli.app import app
from kd_core.data import paths
from kd_core.data.catalogue import DATASETS
from kd_core.experiments import defaults, table
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.sweep import SweepConfig
from kd_core.runs.run import new_id
from pages.shared.access import rights
from pages.shared.session import services
from pages.shared.session.story import default_story

OWN = "own.signs.0123456789ab.8.3x32x32.1640.411"


@pytest.fixture
def started(store, monkeypatch):
    """started(words...) -> the config of the run that a command enters, which is not trained."""
    configs = []

    def watched(store, run_id):
        configs.append(store.get(run_id).config)
        store.apply(run_id, {"kind": "finished", "results": {"test_errors": 7, "test_examples": 411}})
        return run_id

    monkeypatch.setattr(watch, "watch", watched)

    def start(*words):
        done = CliRunner().invoke(app, [*words])
        assert done.exit_code == 0, done.output
        return configs[-1]

    return start


@pytest.mark.parametrize("dataset", [*DATASETS, OWN])
def test_a_story_starts_in_the_shell_as_in_the_browser(started, dataset):
    story = StoryConfig.default(dataset)
    as_one = [started("train", "--dataset", dataset), started("train", "--dataset", dataset, "--role", "baseline")]
    distilled = started("distill", "--teacher", "last", "--dataset", dataset)
    teachers = distilled.distillation.teachers
    browser = [*story.teacher_runs(), *story.student_runs(teachers)]
    assert [*map(unsettled, (*as_one, distilled))] == [*map(unsettled, browser)]


def unsettled(config):
    """A config before this machine settles its arithmetic, learning from teachers without ids of their own."""
    training = config.training.replace(precision="auto", memory_format="auto")
    if config.distillation is None:
        return config.replace(training=training)
    teachers = tuple(f"teacher{place}" for place, _ in enumerate(config.distillation.teachers))
    return config.replace(training=training, distillation=config.distillation.replace(teachers=teachers))


@pytest.fixture
def planned(store, home, monkeypatch, at_this_machine):
    """What experiments planned, in the shell or on a page, trains nothing: a set of configs each."""
    teacher = new_id()
    store.create({teacher: tiny_config()})
    store.apply(teacher, {"kind": "finished", "results": {"test_errors": 7, "test_examples": 445}})
    plans, plan = [], table.plan

    def noted(experiment, seeds, known=()):
        plans.append(plan(experiment, seeds, known))
        return plans[-1]

    monkeypatch.setattr(table, "plan", noted)
    monkeypatch.setattr(watch, "train_missing", lambda store, redo: None)
    monkeypatch.setattr(watch, "train_in_groups", lambda store, redo: None)
    yield lambda: {*map(unsettled, plans.pop().to_train.values())}
    services._jobs(home).close()
    services._opened(home).store.close()


@pytest.mark.parametrize(
    ("page", "command"),
    [("objectives", ["objectives", "--dataset", "digits"]), ("paper", ["recipe", "main", "--dataset", "digits"]),
     ("limits", ["limits", "small"]), ("mistakes", ["mistakes", "no_t_squared"])],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_experiment_plans_the_same_runs_in_the_shell_and_on_its_page(planned, page, command):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    in_the_shell = planned()
    app_on(page, on="digits")
    assert in_the_shell == planned() != set()


def test_a_sweep_is_the_same_in_the_shell_and_on_its_page(planned, store, monkeypatch):
    done = CliRunner().invoke(app, ["sweep"])
    assert done.exit_code == 0, done.output
    in_the_shell = planned()
    entered = []
    monkeypatch.setattr(rights, "submit", lambda configs: entered.extend(configs.values()) or [store.runs()[0].id])
    page = app_on("sweep")
    page.button(key="sweep").click().run()
    usual = SweepConfig.default("digits", (store.runs()[0].id,)).cells()
    assert entered == usual
    assert in_the_shell == {*map(unsettled, usual)}


@pytest.mark.parametrize("here", [("mnist", "digits"), ("digits",)])
def test_without_a_name_both_take_the_largest_data_set_at_hand(started, monkeypatch, here):
    monkeypatch.setattr(paths, "available", lambda dataset: dataset in here)
    monkeypatch.setattr(defaults, "available", lambda dataset: dataset in here)
    assert started("train").dataset == default_story().dataset == here[0]


def test_own_images_start_from_a_pair_of_cnns_and_another_shape_makes_an_mlp(started):
    assert started("train", "--dataset", OWN).model == defaults.OTHER_TEACHER
    assert started("train", "--dataset", OWN, "--channels", "8").model == defaults.OTHER_TEACHER.replace(channels=(8,))
    assert started("train", "--dataset", OWN, "--hidden", "30").model.label == "mlp 30"
    assert started("distill", "--teacher", "last", "--dataset", OWN).model == defaults.OTHER_STUDENT
