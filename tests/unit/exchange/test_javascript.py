"""What moves under the hand in a browser is what kd_core computes: JavaScript against Python, in float64."""

import numpy as np
import pytest
from node import computed_by

from kd_core.evaluation import soft
from kd_core.losses import hinton, one_example

GENERATOR = np.random.default_rng(7)
ROWS = [GENERATOR.normal(0, scale, 10).tolist() for scale in (0.1, 3, 8, 30)]
TEMPERATURES = [0.1, 0.73, 1, 4, 100]
RISING = [float(t) for t in np.geomspace(0.1, 100, 61)]
SETTINGS = [
    {"temperature": t, "alpha": alpha, "tSquared": t_squared}
    for t in TEMPERATURES
    for alpha in (0, 0.4, 1)
    for t_squared in (True, False)
]
MANY = GENERATOR.normal(0, 4, (300, 10))
LABELS = GENERATOR.integers(0, 9, 300)  # and none of the last class
VALUES = {
    "rows": [*ROWS, [1e4, -1e4, 0, 1e4, 0, 0, 0, 0, 0, 0]],
    "T": TEMPERATURES,
    "rising": RISING,
    "settings": SETTINGS,
    "many": (MANY - MANY.max(axis=1, keepdims=True)).ravel().tolist(),
    "labels": LABELS.tolist(),
}
PROGRAM = """
const [a, b] = [v.rows[1], v.rows[2]];
const each = (compute) => v.rows.map((row) => v.T.map((T) => compute(row, T)));
console.log(JSON.stringify({
  softmax: each(softmax), logSoftmax: each(logSoftmax), entropy: each((row, T) => entropyBits(softmax(row, T))),
  divergence: v.T.map((T) => [divergence(softmax(a, T), softmax(b, T)), softDivergence(a, b, T)]),
  felt: v.settings.map((settings) => felt(a, b, 3, settings)),
  sizes: gradientSizes(a, b, v.rising),
  never: gradientSizes(v.rows[3], v.rows[4], v.rising).lawFrom,
  means: v.T.map((T) => meanSoftTargets(v.many, v.labels, 10, T)),
  trees: v.T.map((T) => similarityTree(meanSoftTargets(v.many, v.labels, 10, T))),
  dragged: v.T.map((T) => [0.001, 0.3, 0.99].map((share) => softmax(a.with(4, logitFor(a, 4, share, T)), T)[4])),
}));
"""


@pytest.fixture(scope="module")
def computed():
    return computed_by(("maths",), PROGRAM, VALUES)


def test_softmax_and_entropy_are_pythons_at_every_temperature(computed):
    rows = np.array(VALUES["rows"])
    for place, temperature in enumerate(TEMPERATURES):
        shares = soft.softened(rows, temperature)
        here = {name: np.array(computed[name])[:, place] for name in ("softmax", "logSoftmax", "entropy")}
        np.testing.assert_allclose(here["softmax"], shares, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(np.exp(here["logSoftmax"]), shares, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(here["entropy"], soft.entropy_bits(shares), rtol=1e-9, atol=1e-12)


def test_losses_and_gradients_are_those_of_the_training_loss(computed):
    for settings, here in zip(SETTINGS, computed["felt"], strict=True):
        temperature, alpha, t_squared = settings.values()
        felt = one_example.felt(ROWS[1], ROWS[2], 3, temperature=temperature, alpha=alpha, t_squared=t_squared)
        assert here["loss"] == pytest.approx(felt.loss, rel=1e-9)
        assert here["softLoss"] == pytest.approx(felt.soft_loss, rel=1e-9)
        assert here["hardLoss"] == pytest.approx(felt.hard_loss, rel=1e-9)
        assert here["soft"] == pytest.approx(felt.soft_gradient, rel=1e-9, abs=1e-14)
        assert here["hard"] == pytest.approx(felt.hard_gradient, rel=1e-9, abs=1e-14)


def test_both_divergences_are_the_soft_loss_without_its_factor(computed):
    import torch

    teacher, student = (torch.tensor([row], dtype=torch.float64) for row in ROWS[1:3])
    for temperature, here in zip(TEMPERATURES, computed["divergence"], strict=True):
        loss = hinton.soft_target_loss(student, teacher, temperature=temperature, t_squared=False)
        assert here == pytest.approx([float(loss)] * 2, rel=1e-9)


def test_the_gradients_size_over_t_and_where_its_law_begins(computed):
    sizes = one_example.gradient_sizes(ROWS[1], ROWS[2], RISING)
    assert computed["sizes"]["bare"] == pytest.approx(sizes.bare, rel=1e-9)
    assert computed["sizes"]["limit"] == pytest.approx(sizes.limit, rel=1e-9)
    assert computed["sizes"]["lawFrom"] == sizes.law_from is not None
    assert computed["never"] is None is one_example.gradient_sizes(*VALUES["rows"][3:], RISING).law_from


def test_mean_soft_targets_and_their_tree_are_pythons(computed):
    for temperature, here, tree in zip(TEMPERATURES, computed["means"], computed["trees"], strict=True):
        means = soft.mean_soft_targets(MANY, LABELS, temperature)
        np.testing.assert_allclose(np.array(here, float), means, rtol=1e-9, atol=1e-300)
        expected = soft.similarity_tree(np.nan_to_num(means))
        assert tree["leaves"] == expected.leaves
        np.testing.assert_allclose(tree["positions"], expected.positions)
        np.testing.assert_allclose(tree["heights"], expected.heights, rtol=1e-9)


def test_a_dragged_bar_gets_the_logit_that_puts_it_where_the_hand_is(computed):
    for shares in computed["dragged"]:
        assert shares == pytest.approx([0.001, 0.3, 0.99], rel=1e-9)
