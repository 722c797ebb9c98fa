"""What the pages, the README and the lesson claim of the models that ship, measured on these models."""

from typing import NamedTuple

import numpy as np
import pytest
from tiny import shipped_logits

from kd_core.evaluation import soft as evaluation_soft
from kd_core.evaluation.accuracy import likest
from kd_core.evaluation.soft import mean_soft_targets, softened
from kd_core.experiments.lesson.material import Material
from kd_core.losses import one_example

TEMPERATURES = (0.5, 1, 2, 4, 8, 20, 100)
SEEN = 40
"""Images of a test set, where each takes a loop over T."""


class Shipped(NamedTuple):
    """Logits over the test set, (N, K), in float64, and its labels."""

    teacher: np.ndarray
    baseline: np.ndarray
    distilled: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def digits_story():
    return Shipped(*shipped_logits("digits"))


@pytest.fixture(scope="module")
def mnist_logits():
    return {}


@pytest.fixture
def mnist_story(mnist, mnist_logits):
    """Of MNIST, where it is here; asked of the models once."""
    if not mnist_logits:
        mnist_logits["story"] = Shipped(*shipped_logits("mnist"))
    return mnist_logits["story"]


@pytest.fixture(params=["digits", "mnist"])
def story(request):
    return request.getfixturevalue(f"{request.param}_story")


def bare_gradient(student, teacher, temperature):
    """Norm of the soft loss's gradient without T², of each example (N,): equation 2 of the paper, by hand."""
    return np.linalg.norm((softened(student, temperature) - softened(teacher, temperature)) / temperature, axis=1)


# ---------------------------------------------------------------------------------------------------- temperature


def test_temperature_changes_no_ranking_of_any_image(story):
    for logits in (story.teacher, story.baseline, story.distilled):
        order = np.argsort(-logits, axis=1, kind="stable")
        for temperature in TEMPERATURES:
            soft = np.take_along_axis(softened(logits, temperature), order, axis=1)
            assert (np.diff(soft, axis=1) <= 0).all()


def test_entropy_rises_with_temperature_on_every_image(story):
    for logits in (story.teacher, story.baseline, story.distilled):
        rows = [evaluation_soft.entropy_bits(softened(logits, temperature)) for temperature in TEMPERATURES]
        assert (np.diff(rows, axis=0) > 0).all()


def test_bars_at_t_100_look_alike_yet_keep_their_order(story):
    soft = softened(story.teacher, 100)
    assert soft.max() < 0.17
    assert soft.min() > 0.07
    assert (soft.argmax(axis=1) == story.teacher.argmax(axis=1)).all()


def test_the_mnist_teacher_gives_over_99_percent_on_943_of_1000_test_images(mnist_story):
    assert (softened(mnist_story.teacher, 1).max(axis=1) > 0.99).mean() == pytest.approx(0.943, abs=0.0005)


def test_the_teachers_are_mostly_sure_of_one_class_at_t_1(story):
    assert (softened(story.teacher, 1).max(axis=1) > 0.99).mean() > 0.9


@pytest.mark.parametrize("temperature", [1, 2, 4, 8, 20])
def test_the_mnist_teacher_finds_a_2_most_like_a_7(mnist_story, temperature):
    assert likest(mean_soft_targets(mnist_story.teacher, mnist_story.labels, temperature))[2] == 7


@pytest.mark.parametrize(("dataset", "image", "second", "hesitates"), [("mnist", 35, 7, 0.6), ("digits", 15, 3, 0.9)])
def test_the_lesson_follows_a_sure_2_with_its_likest_class_second(request, dataset, image, second, hesitates):
    story = request.getfixturevalue(f"{dataset}_story")
    shown = Material(tuple("0123456789"), story.labels, story.teacher, story.distilled, digits=True)
    soft = softened(story.teacher[image], 1)
    assert shown.sure == image
    assert story.labels[image] == 2
    assert soft[2] > 0.99
    assert np.argsort(-soft)[1] == second == shown.by_likeness[0]
    assert softened(story.teacher[shown.doubtful], 1).max() < hesitates


def test_the_gallery_of_the_lesson_starts_with_a_doubtful_image(story):
    first = evaluation_soft.gallery("most ambiguous for the teacher", story.labels, story.teacher, None)[0]
    assert softened(story.teacher[first], 1).max() < 0.6


# --------------------------------------------------------------------------------------------- the soft loss's gradient


def test_the_mnist_students_gradient_rises_from_t_1_to_2_on_97_percent(mnist_story):
    at_1, at_2 = (bare_gradient(mnist_story.distilled, mnist_story.teacher, t) for t in (1, 2))
    assert (at_2 > at_1).mean() == pytest.approx(0.97, abs=0.001)


def test_with_t_squared_the_gradient_grows_thousandfold_to_t_8_and_then_stays(mnist_story):
    scaled = {t: t**2 * bare_gradient(mnist_story.distilled, mnist_story.teacher, t) for t in (1, 4, 8, 100)}
    assert np.median(scaled[4] / scaled[1]) == pytest.approx(3930, rel=0.01)
    assert np.median(scaled[8] / scaled[1]) == pytest.approx(7465, rel=0.01)
    assert np.median(scaled[100] / scaled[8]) == pytest.approx(0.98, abs=0.01)


def test_the_region_of_the_law_is_where_the_gradient_is_near_the_papers_limit(story):
    grid = np.geomspace(0.1, 100, 61)
    law_starts = []
    for student, teacher in zip(story.distilled[:SEEN], story.teacher[:SEEN], strict=True):
        sizes = one_example.gradient_sizes(student.tolist(), teacher.tolist(), grid.tolist())
        centred = (student - student.mean()) - (teacher - teacher.mean())
        bare = [bare_gradient(student[None], teacher[None], t)[0] * t**2 for t in grid]
        off = np.abs(np.array(bare) / (np.linalg.norm(centred) / len(student)) - 1) > one_example.LAW_WITHIN
        assert sizes.law_from == (None if off[-1] else grid[np.flatnonzero(off).max() + 1])
        law_starts.append(np.inf if sizes.law_from is None else sizes.law_from)
    assert 8 < np.median(law_starts) < 40  # above the T that are used, and within the plot
