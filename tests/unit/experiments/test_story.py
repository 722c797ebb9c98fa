"""Stories: their rules, the runs they ask for, what they reuse, and the way back from runs to a story."""

import pytest
from tiny import TINY, tiny_config

from kd_core.base.config import ConfigError, differences
from kd_core.data.catalogue import DATASETS, TransferSetConfig, info_of
from kd_core.experiments.presets import PRESETS, quick_demo
from kd_core.experiments.story import StoryConfig, assistants, plan
from kd_core.losses.config import DistillationConfig
from kd_core.models.build import blueprint, multiply_adds
from kd_core.models.config import ModelConfig
from kd_core.runs import checks
from kd_core.training.config import RunConfig

STORY = StoryConfig(
    dataset="digits",
    teacher=ModelConfig(hidden=(24,)),
    teacher_training=tiny_config(epochs=3).training,
    student=TINY,
    training=tiny_config().training,
    temperature=2.0,
)
UNLABELLED = {"alpha": 1.0, "transfer_set": TransferSetConfig(labelled=False)}


def enter(store, configs, **ending):
    """Rows of these runs, ended as said: by default finished with weights."""
    store.create(configs)
    for run_id in configs:
        store.apply(run_id, {"kind": "finished", "results": {"test_errors": 3}, **ending})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "imagenet"}, "unknown data set 'imagenet'"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"alpha": 1.5}, "alpha must be at most 1, got 1.5"),
        ({"new_teachers": 0}, "new_teachers must be at least 1, got 0"),
        ({"new_teachers": 21}, "new_teachers must be at most 20, got 21"),
        ({"teachers": tuple("abcdefghijklmnopqrstu")}, "teachers must have at most 20 items"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**31 - 1, "new_teachers": 2}, "seed must be below 2147483648"),
        (
            {"training": tiny_config(warmup_epochs=0.5).training.model_dump() | {"warmup_epochs": 2}},
            "warmup_epochs must",
        ),
        ({"transfer_set": TransferSetConfig(only_classes=(10,))}, "digits has classes 0 to 9, got class 10"),
        (
            {"transfer_set": TransferSetConfig(labelled=False)},
            "without labels only a distilled student with alpha = 1 can learn: set alpha to 1",
        ),
    ],
)
def test_a_story_that_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as refused:
        STORY.replace(**changes)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_an_unlabelled_story_has_alpha_one_and_its_baseline_the_labels():
    baseline, distilled = STORY.replace(**UNLABELLED).student_runs(("t",))
    assert not distilled.transfer_set.labelled
    assert baseline.transfer_set.labelled


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_story_survives_json(dataset):
    for preset in PRESETS.values():
        story = preset.story(dataset)
        assert StoryConfig.from_json(story.model_dump_json()) == story


def test_new_teachers_differ_by_seed_alone_and_named_ones_are_not_trained():
    story = STORY.replace(new_teachers=3, seed=5)
    teachers = story.teacher_runs()
    assert [teacher.seed for teacher in teachers] == [5, 6, 7]
    assert set(differences(teachers)) == {"seed"}
    assert {(teacher.role, teacher.model, teacher.training) for teacher in teachers} == {
        ("teacher", story.teacher, story.teacher_training)
    }
    assert story.replace(teachers=("abc",)).teacher_runs() == []


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, set()),
        ({"transfer_set": TransferSetConfig(fraction=0.1, only_classes=(7, 8))}, set()),
        (UNLABELLED, {"transfer_set.labelled"}),
    ],
)
def test_baseline_and_distilled_differ_in_the_teacher_alone(changes, differing):
    story = STORY.replace(seed=3, **changes)
    baseline, distilled = story.student_runs(("t",))
    assert (baseline.role, distilled.role) == ("baseline", "distilled")
    names = {name for name in differences([baseline, distilled]) if not name.startswith("distillation.")}
    assert names == {"role"} | differing
    assert baseline.distillation is None
    assert distilled.distillation == DistillationConfig(teachers=("t",), temperature=2.0, alpha=story.alpha)
    assert baseline.transfer_set.only_classes == story.transfer_set.only_classes


def test_without_a_baseline_only_the_distilled_student_is_asked_for():
    assert [run.role for run in STORY.replace(baseline=False).student_runs(("t",))] == ["distilled"]


def test_a_plan_is_in_running_order_and_its_student_names_all_its_teachers():
    planned = plan(STORY.replace(new_teachers=3))
    roles = [config.role for config in planned.to_train.values()]
    assert roles == ["teacher", "teacher", "teacher", "baseline", "distilled"]
    ids = list(planned.to_train)
    assert len(set(ids)) == 5
    assert planned.to_train[ids[-1]].distillation.teachers == tuple(ids[:3])
    assert planned.reused == ()


def test_a_plan_leaves_out_what_finished_and_nothing_of_another_seed(store):
    first = plan(STORY)
    enter(store, first.to_train)
    again = plan(STORY, store.runs())
    assert again.to_train == {}
    assert sorted(again.reused) == sorted(first.to_train)

    hotter = plan(STORY.replace(temperature=8.0), store.runs())
    assert [config.role for config in hotter.to_train.values()] == ["distilled"]
    (distilled,) = hotter.to_train.values()
    assert distilled.distillation.teachers == tuple(first.to_train)[:1] == hotter.reused[:1]

    assert len(plan(STORY.replace(seed=1), store.runs()).to_train) == 3
    wider = plan(STORY.replace(new_teachers=2), store.runs())
    assert [(config.role, config.seed) for config in wider.to_train.values()] == [("teacher", 1), ("distilled", 0)]


@pytest.mark.parametrize(
    "ending",
    [{"kind": "stopped"}, {"kind": "failed", "text": "no"}, {"kind": "paused"}, {"results": None}],
    ids=["stopped", "failed", "paused", "no weights"],
)
def test_a_plan_reuses_no_run_that_did_not_finish_with_weights(store, ending):
    first = plan(STORY)
    enter(store, first.to_train, **ending)
    again = plan(STORY, store.runs())
    assert again.reused == ()
    assert len(again.to_train) == 3
    assert not set(again.to_train) & set(first.to_train)


def test_a_plan_does_not_take_a_continued_run_for_one_from_the_start(store):
    enter(store, {"abc": STORY.teacher_runs()[0].replace(continues="def")})
    assert plan(STORY, store.runs()).reused == ()


def test_a_plan_with_named_teachers_trains_none(store):
    enter(store, {"abc": tiny_config(), "def": tiny_config(seed=1)})
    planned = plan(STORY.replace(teachers=("abc", "def")), store.runs())
    assert [config.role for config in planned.to_train.values()] == ["baseline", "distilled"]
    assert list(planned.to_train.values())[1].distillation.teachers == ("abc", "def")
    assert planned.reused == ("abc", "def")
    checks.check(store, planned.to_train)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_start_on_every_data_set_where_nothing_is_trained(store, preset, dataset):
    planned = plan(PRESETS[preset].story(dataset))
    assert [config.role for config in planned.to_train.values()] == ["teacher", "baseline", "distilled"]
    assert {config.dataset for config in planned.to_train.values()} == {dataset}
    checks.check(store, planned.to_train)


@pytest.mark.parametrize("dataset", DATASETS)
def test_presets_show_what_they_say(dataset):
    stories = {name: preset.story(dataset) for name, preset in PRESETS.items()}
    assert stories["paper"].student == ModelConfig(hidden=(800, 800))
    assert stories["paper"].temperature == 20
    assert max(stories["tiny"].student.hidden) == 30
    assert (stories["unlabelled"].alpha, stories["unlabelled"].transfer_set.labelled) == (1, False)
    assert stories["no_3"].transfer_set.only_classes == (0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert stories["demo"] == quick_demo(dataset)


def story_cost(story):
    """Multiply-adds of a story's training: three times the forward pass for every image shown."""
    info = info_of(story.dataset)
    return sum(
        config.training.epochs
        * config.examples
        * 3
        * multiply_adds(blueprint(config.model, info.image_shape, info.classes), info.image_shape)
        for config in plan(story).to_train.values()
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_quick_demo_is_a_story_no_longer_than_the_default(dataset):
    demo, default = quick_demo(dataset, seed=4), StoryConfig.default(dataset)
    assert demo.seed == 4
    assert demo.baseline
    assert story_cost(demo) <= story_cost(default)


@pytest.mark.parametrize(("dataset", "fraction"), [("digits", 0.25), ("mnist", 0.1)])
def test_the_quick_demo_shows_both_students_the_same_few_images(dataset, fraction):
    teacher, baseline, distilled = plan(quick_demo(dataset)).to_train.values()
    assert teacher.transfer_set.whole
    assert baseline.transfer_set == distilled.transfer_set == TransferSetConfig(fraction=fraction)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 9, "temperature": 7.5, "alpha": 0.25, "t_squared": False},
        {"new_teachers": 3, "ensemble": "logits"},
        {"baseline": False, **UNLABELLED},
        {"transfer_set": TransferSetConfig(fraction=0.5, only_classes=(1, 7))},
        {"objective": "dkd", "weights": {"nontarget": 2.0}, "alpha": 0.9},
        {"final_temperature": 1.0, "final_alpha": 0.0},
    ],
)
def test_a_storys_runs_give_the_story_back_with_its_teachers_named(changes):
    story = STORY.replace(**changes)
    configs = plan(story).to_train
    teachers = {run_id: config for run_id, config in configs.items() if config.role == "teacher"}
    named = story.replace(teachers=tuple(teachers), new_teachers=1)
    assert StoryConfig.of_runs(configs.values()) == named
    students = [config for config in configs.values() if config.role != "teacher"]
    assert StoryConfig.of_runs(students, teachers.values()) == named


ASSISTED = {"assistant": ModelConfig(hidden=(20,)), "new_teachers": 2}


def test_an_assistant_teaches_the_student_and_learns_from_the_teachers(store):
    story = STORY.replace(**ASSISTED, assistant_training=tiny_config(epochs=4).training, objective="dist")
    configs = plan(story).to_train
    ids = list(configs)
    teachers, assistant, baseline, student = ids[:2], configs[ids[2]], configs[ids[3]], configs[ids[4]]
    assert assistant.distillation.teachers == tuple(teachers)
    assert student.distillation.teachers == (ids[2],)
    assert baseline.role == "baseline"
    assert (assistant.model, assistant.training.epochs) == (story.assistant, 4)
    assert set(differences([assistant, student])) == {"model.hidden", "distillation.teachers", "training.epochs"}
    assert assistants(configs) == {ids[2]}
    checks.check(store, configs)


def test_a_plan_reuses_an_assistant_and_not_for_another_objective(store):
    story = STORY.replace(**ASSISTED)
    first = plan(story)
    enter(store, first.to_train)
    assert plan(story, store.runs()).to_train == {}
    other = plan(story.replace(objective="dist"), store.runs()).to_train
    assert [(config.role, config.model) for config in other.values()] == [
        ("distilled", story.assistant),
        ("distilled", story.student),
    ]


@pytest.mark.parametrize(
    "changes",
    [{}, {"assistant_training": tiny_config(epochs=4).training}, {"ensemble": "logits"}, {"baseline": False}],
)
def test_the_runs_of_a_chain_give_its_story_back(changes):
    story = STORY.replace(**ASSISTED, **changes)
    configs = plan(story).to_train
    teachers = [run_id for run_id, config in configs.items() if config.role == "teacher"]
    named = story.replace(teachers=teachers, new_teachers=1)
    assert StoryConfig.of_runs(configs.values()) == named
    assistant, _ = (config for config in configs.values() if config.role == "distilled")
    beside = [config for config in configs.values() if config != assistant]
    assert StoryConfig.of_runs(beside, [assistant]) == named
    assert StoryConfig.of_runs([assistant], []).assistant is None


def test_a_teacher_its_students_story_would_not_train_stays_a_trained_one():
    """Distilled at another temperature, it is no assistant of this story."""
    configs = plan(STORY.replace(**ASSISTED)).to_train
    *_, (run_id, assistant), (_, student) = (
        (key, config) for key, config in configs.items() if config.role == "distilled"
    )
    hotter = assistant.replace(distillation=assistant.distillation.replace(temperature=9.0))
    recovered = StoryConfig.of_runs([student], [hotter])
    assert recovered.assistant is None
    assert recovered.teachers == (run_id,)
    alike = student.replace(model=ModelConfig(hidden=(99,)))  # of a sweep over widths, say
    assert StoryConfig.of_runs([alike, student]).assistant is None


def test_what_an_objective_does_not_read_makes_no_other_run():
    cold, hot = (STORY.replace(objective="logit_matching", temperature=t).student_runs(("t",)) for t in (1.0, 9.0))
    assert cold == hot
    low, high = (STORY.replace(objective="dist", alpha=alpha).student_runs(("t",)) for alpha in (0.1, 0.9))
    assert low == high


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "vid"}, "unknown objective 'vid'"),
        ({"objective": "dkd", "weights": {"beta": 1}}, "dkd has no weight 'beta'"),
        ({"objective": "logit_matching", "final_temperature": 2.0}, "logit_matching has no temperature"),
        (UNLABELLED | {"objective": "nkd"}, "nkd reads the label of every example"),
        (UNLABELLED | {"final_alpha": 0.5}, "without labels only"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_by_the_story(changes, sentence):
    with pytest.raises(ConfigError) as refused:
        STORY.replace(**changes)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_runs_give_the_preset_back(preset):
    story = PRESETS[preset].story("digits")
    configs = plan(story).to_train
    recovered = StoryConfig.of_runs(configs.values())
    auto = {"precision": "auto", "memory_format": "auto"}
    plain = {name: getattr(recovered, name).replace(**auto) for name in ("training", "teacher_training")}
    assert recovered.replace(**plain) == story.replace(teachers=(next(iter(configs)),))


def test_a_teacher_or_baseline_alone_gives_a_story_that_trains_the_rest():
    default = StoryConfig.default("digits")
    teacher = tiny_config(seed=2)
    recovered = StoryConfig.of_runs([teacher])
    assert recovered == default.replace(teacher=TINY, teacher_training=teacher.training, seed=2)
    baseline = RunConfig(role="baseline", dataset="digits", model=TINY, training=tiny_config().training, seed=3)
    recovered = StoryConfig.of_runs([baseline])
    assert recovered == default.replace(student=TINY, training=baseline.training, seed=3)
    assert baseline in plan(recovered).to_train.values()
