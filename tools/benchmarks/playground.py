"""The Playground's table from its own engine and from torch: right on test points, by data, points and temperature.

    python tools/benchmarks/playground.py [--seeds 5] [--steps 1000]

Both learn the same points from one teacher, which the JavaScript engine trained (node), but each student's start is
its engine's own. Printed: means over the seeds in percent, with the range, and whether the two engines' means differ by
more than the spread of the seeds: by more than twice the standard error of their difference.
"""

import argparse
import itertools

import numpy as np
import torch
from measured import machine
from node import computed_by
from torch import nn

from kd_core.losses import hinton

RATE = 0.01
SHAPES = {"clouds": 4, "moons": 4, "spirals": 3}
COUNTS = (15, 30, 60)
LESSONS = {"labels alone": (1.0, 0.0), **{f"soft, T = {T:g}": (T, 1.0) for T in (1.0, 2.0, 4.0, 8.0)}}
"""Name -> T and alpha."""
PROGRAM = """
const plain = { own: [], noise: 0, unseen: -1, swapped: false, teacher: [32, 32], student: [16, 16], tSquared: true };
const all = [];
for (const [shape] of v.shapes) for (let seed = 0; seed < v.seeds; seed++) {
  const settings = { ...plain, shape, overlap: SHAPES[shape].overlap, seed, rate: v.rate, examples: 0, T: 1, alpha: 0 };
  const { K, many, test } = lessonOf(settings), teacher = teacherOf(settings, K);
  while (teacher.updates < TEACHER_STEPS) teach(teacher, many, seed);
  const lessons = v.counts.map((examples) => {
    const { few } = lessonOf({ ...settings, examples }), teacherLogits = forward(teacher, few.inputs).slice();
    const errors = Object.values(v.lessons).map(([T, alpha]) => {
      const { distilled } = pairOf(settings, K);
      const lesson = { labels: few.labels, teacherLogits, temperature: T, alpha, rate: v.rate };
      for (let step = 0; step < v.steps; step++) learn(distilled, few.inputs, lesson);
      return errorsIn(distilled, test);
    });
    return { few, teacherLogits, errors };
  });
  all.push({ shape, seed, test, teacher: errorsIn(teacher, test), lessons });
}
console.log(JSON.stringify(all, (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value));
"""


def torchs_errors(lesson, test, classes, temperature, alpha, steps, seed):
    """Test errors of a student that torch trains on these points with these logits, from a start of its own."""
    torch.manual_seed(seed)
    sizes = [2, 16, 16, classes]
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    network = nn.Sequential(*layers[:-1])
    inputs, labels = torch.tensor(lesson["few"]["inputs"]).view(-1, 2), torch.tensor(lesson["few"]["labels"])
    teacher = torch.tensor(lesson["teacherLogits"]).view(-1, classes)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    for _ in range(steps):
        loss = hinton.distillation_loss(network(inputs), teacher, labels, temperature=temperature, alpha=alpha).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        wrong = network(torch.tensor(test["inputs"]).view(-1, 2)).argmax(1) != torch.tensor(test["labels"])
    return int(wrong.sum())


def right(errors, test):
    """Percent right, of each seed."""
    return 100 * (1 - np.array(errors) / len(test["labels"]))


def cell(shares):
    """Mean and range."""
    return f"{shares.mean():.1f} ({shares.min():.1f} to {shares.max():.1f})"


def apart(ours, torchs):
    """Whether two engines' means differ by more than twice the standard error of their difference."""
    error = np.hypot(ours.std(ddof=1), torchs.std(ddof=1)) / np.sqrt(len(ours))
    return abs(ours.mean() - torchs.mean()) > 2 * error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)  # networks this small want no second
    given = {"shapes": [*SHAPES.items()], "counts": COUNTS, "lessons": LESSONS, "rate": RATE, **vars(options)}
    played = computed_by(("maths", "perceptron", "points", "pair"), PROGRAM, given)
    print(f"{options.seeds} seeds, {options.steps} steps of Adam at {RATE}; {machine()}.\n")
    print("| data | teacher | points | lesson | in the browser | torch | apart |\n|" + " --- |" * 7)
    differ = cells = 0
    for shape, classes in SHAPES.items():
        runs = [run for run in played if run["shape"] == shape]
        test = runs[0]["test"]
        teacher = right([run["teacher"] for run in runs], test)
        for (place, count), (column, (name, (temperature, alpha))) in itertools.product(
            enumerate(COUNTS), enumerate(LESSONS.items())
        ):
            ours = right([run["lessons"][place]["errors"][column] for run in runs], test)
            settings = (classes, temperature, alpha, options.steps)
            torchs = right(
                [torchs_errors(run["lessons"][place], run["test"], *settings, run["seed"]) for run in runs], test
            )
            cells, differ = cells + 1, differ + apart(ours, torchs)
            verdict = "yes" if apart(ours, torchs) else "no"
            print(f"| {shape} | {cell(teacher)} | {count} | {name} | {cell(ours)} | {cell(torchs)} | {verdict} |")
    print(f"\n{differ} of {cells} cells are apart; by luck alone one in twenty would be.")


if __name__ == "__main__":
    main()
