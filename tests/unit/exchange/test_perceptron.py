"""The networks that learn in a browser learn what torch's do: losses, gradients, training, the Playground's pair."""

import itertools

import numpy as np
import pytest
import torch
from node import computed_by
from torch import nn

from kd_core.losses import hinton

GENERATOR = np.random.default_rng(11)
SIZES, ROWS = [2, 7, 5, 4], 9
SETTINGS = [
    {"temperature": temperature, "alpha": alpha, "tSquared": t_squared, "optimiser": optimiser, "rate": 0.02}
    for temperature in (0.7, 4.0)
    for alpha in (0.0, 0.4, 1.0)
    for t_squared in (True, False)
    for optimiser in ("adam", "sgd")
]
STEPS = 10
PLAY = {"shape": "clouds", "overlap": 0.5, "own": [], "examples": 15, "noise": 0, "unseen": -1, "swapped": False,
        "teacher": [32, 32], "student": [16, 16], "T": 4, "alpha": 1, "tSquared": True, "rate": 0.01}  # fmt: skip
SEEDS, PLAYED = 3, 300
VALUES = {
    "sizes": SIZES,
    "start": GENERATOR.normal(0, 0.6, 3 * 7 + 8 * 5 + 6 * 4).tolist(),
    "inputs": GENERATOR.normal(0, 1, 2 * ROWS).tolist(),
    "teacher": GENERATOR.normal(0, 6, 4 * ROWS).tolist(),
    "labels": GENERATOR.integers(0, 4, ROWS).tolist(),
    "settings": SETTINGS,
    "steps": STEPS,
    "play": PLAY,
    "seeds": SEEDS,
    "played": PLAYED,
}
PROGRAM = """
const inputs = Float64Array.from(v.inputs);
const trained = v.settings.map((settings) => {
  const network = perceptron(v.sizes, randomNumbers(1));
  const all = { ...settings, labels: v.labels, teacherLogits: v.teacher };
  network.parameters.set(v.start);
  const losses = [learn(network, inputs, all)], gradients = Array.from(network.gradients);
  for (let step = 1; step < v.steps; step++) {
    if (step === 5) { const kept = save(network); learn(network, inputs, all); restore(network, kept); }
    losses.push(learn(network, inputs, all));
  }
  return { losses, gradients, parameters: network.parameters, logits: forward(network, inputs).slice() };
});
const played = Array.from({ length: v.seeds }, (_, seed) => {
  const settings = { ...v.play, seed }, { K, many, few, test } = lessonOf(settings);
  const teacher = teacherOf(settings, K), pair = pairOf(settings, K), start = pair.baseline.parameters.slice();
  while (teacher.updates < TEACHER_STEPS) teach(teacher, many, seed);
  const teacherLogits = forward(teacher, few.inputs).slice();
  for (let step = 0; step < v.played; step++) stepOf(pair, few, teacherLogits, settings);
  const errors = [teacher, pair.baseline, pair.distilled].map((each) => errorsIn(each, test));
  return { few, test, start, teacherLogits, errors };
});
const u = randomNumbers(5), drawn = Float64Array.from({ length: 20000 }, u), bell = drawn.map(() => normal(u));
const numbers = {
  trained, played, uniform: drawn, bell, again: randomNumbers(5)(), order: permutation(50, u),
  wrong: noisy(new Int32Array(60), 3, 0.25, 1),
  own: points("own", 40, 1, { overlap: 0, own: [[0.5, -0.5, 1], [-0.5, 0.5, 0]] }),
  unseen: lessonOf({ ...v.play, seed: 1, unseen: 2, examples: 40, noise: 0.2 }).few,
  swapped: lessonOf({ ...v.play, seed: 1, swapped: true }).many.labels,
};
console.log(JSON.stringify(numbers, (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value));
"""


@pytest.fixture(scope="module")
def computed():
    return computed_by(("maths", "perceptron", "points", "pair"), PROGRAM, VALUES)


def network_from(sizes, flat):
    """The same network in torch, float64: of each layer the weights, (outputs, inputs), then the biases."""
    layers, flat = [], torch.tensor(flat, dtype=torch.float64)
    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, outputs, dtype=torch.float64)
        weights, biases, flat = flat.split([inputs * outputs, outputs, len(flat) - (inputs + 1) * outputs])
        layer.weight.data, layer.bias.data = weights.view(outputs, inputs).clone(), biases.clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def flat_of(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).numpy()


def matrix(numbers, width):
    return torch.tensor(numbers, dtype=torch.float64).view(-1, width)


@pytest.mark.parametrize("place", range(len(SETTINGS)), ids=[str([*setting.values()]) for setting in SETTINGS])
def test_losses_gradients_and_ten_steps_are_torchs(computed, place):
    settings, here = SETTINGS[place], computed["trained"][place]
    network, inputs = network_from(SIZES, VALUES["start"]), matrix(VALUES["inputs"], 2)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[settings["optimiser"]]
    optimiser = kind(network.parameters(), lr=settings["rate"])
    for step in range(STEPS):
        losses = hinton.distillation_loss(
            network(inputs), matrix(VALUES["teacher"], 4), torch.tensor(VALUES["labels"]),
            temperature=settings["temperature"], alpha=settings["alpha"], t_squared=settings["tSquared"],
        )  # fmt: skip
        optimiser.zero_grad()
        losses.loss.backward()
        browser_losses = {name: np.nan if value is None else value for name, value in here["losses"][step].items()}
        assert browser_losses["loss"] == pytest.approx(float(losses.loss.detach()), rel=1e-9)
        assert browser_losses["softLoss"] == pytest.approx(float(losses.soft_loss.detach()), rel=1e-9)
        assert browser_losses["hardLoss"] == pytest.approx(float(losses.hard_loss.detach()), rel=1e-9, nan_ok=True)
        if step == 0:
            gradients = flat_of([parameter.grad for parameter in network.parameters()])
            np.testing.assert_allclose(here["gradients"], gradients, rtol=1e-9, atol=1e-13)
        optimiser.step()
    np.testing.assert_allclose(here["parameters"], flat_of([p.data for p in network.parameters()]), rtol=1e-8)
    np.testing.assert_allclose(here["logits"], network(inputs).detach().numpy().ravel(), rtol=1e-8, atol=1e-10)


def torchs_errors(played, alpha):
    """Test errors of a student that torch trains from the same start on the same points."""
    network, few, test = network_from([2, 16, 16, 4], played["start"]), played["few"], played["test"]
    inputs, labels, teacher = matrix(few["inputs"], 2), torch.tensor(few["labels"]), matrix(played["teacherLogits"], 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=PLAY["rate"])
    for _ in range(PLAYED):
        losses = hinton.distillation_loss(network(inputs), teacher, labels, temperature=PLAY["T"], alpha=alpha)
        optimiser.zero_grad()
        losses.loss.backward()
        optimiser.step()
    with torch.no_grad():
        return int((network(matrix(test["inputs"], 2)).argmax(1) != torch.tensor(test["labels"])).sum())


def test_the_playgrounds_pair_errs_as_torch_does_from_the_same_start(computed):
    for played in computed["played"]:
        errors = [torchs_errors(played, alpha) for alpha in (0.0, 1.0)]
        teacher, *students = played["errors"]
        assert students == pytest.approx(errors, abs=3)
        assert students[1] < students[0]
        assert 90 < teacher < 150  # of 1,000


def test_random_numbers_are_uniform_normal_and_the_same_again(computed):
    uniform, bell = np.array(computed["uniform"]), np.array(computed["bell"])
    assert np.histogram(uniform, 10, (0, 1))[0] == pytest.approx([2000] * 10, abs=200)
    assert (bell.mean(), bell.std(), (np.abs(bell) < 1).mean()) == pytest.approx((0, 1, 0.6827), abs=0.03)
    assert computed["again"] == uniform[0]
    assert sorted(computed["order"]) == [*range(50)] != computed["order"]


def test_noise_changes_its_share_of_labels_and_no_student_gets_the_unseen_class(computed):
    assert sum(label != 0 for label in computed["wrong"]) == 15
    unseen = computed["unseen"]
    assert len(unseen["labels"]) == 40
    assert 2 not in unseen["right"]
    assert sum(a != b for a, b in zip(unseen["labels"], unseen["right"], strict=True)) <= 8
    assert 2 not in unseen["labels"]
    assert computed["swapped"][:4] == [1, 0, 2, 3]


def test_points_that_are_drawn_stand_for_small_clouds(computed):
    own = computed["own"]
    inputs = matrix(own["inputs"], 2).numpy()
    assert own["labels"] == [1, 0] * 20
    assert inputs[::2].mean(axis=0) == pytest.approx([1.5, -1.5], abs=0.1)
    assert np.abs(inputs[::2] - [1.5, -1.5]).max() < 0.6
