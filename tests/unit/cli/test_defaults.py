"""The shell starts from what the browser starts from."""

import pytest
from typer.testing import CliRunner

from kd_core.cli import watch
from kd_core.cli.app import app
from kd_core.data import paths
from kd_core.data.catalogue import DATASETS
from kd_core.experiments import defaults
from kd_core.experiments.story import StoryConfig
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
    of_auto = {"precision": "auto", "memory_format": "auto"}  # the machine settles these as the run is entered
    shell = [config.replace(training=config.training.replace(**of_auto)) for config in (*as_one, distilled)]
    assert shell == browser


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
