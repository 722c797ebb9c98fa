"""The lesson's loss in 25 lines of PyTorch: a notebook made of a form's settings, with one line left to write.

It needs torch and scikit-learn alone, and learns scikit-learn's digits. A cell of it checks the line by its result,
which kd_core's own loss computes here.
"""

import json
from collections.abc import Callable

from kd_core.experiments.lesson import catalogue
from kd_core.experiments.story import StoryConfig

STUDENT = ((2.0, 1.0, -1.0), (0.5, 0.0, 1.5))
TEACHER = ((4.0, 1.0, -2.0), (0.0, -1.0, 3.0))
"""Logits, (2, 3), on which the line is checked."""
LINE = "F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction='batchmean') * T**2"
"""The line that is left out: one that is right, for tests."""
HOLE = "..."
_SETUP = """\
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

T, ALPHA, EPOCHS, RATE, BATCH = {temperature:g}, {alpha:g}, {epochs}, {rate:g}, {batch}
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
x = x.float() / 16
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, train = order[:445], order[445:]
few = train[:{few}]  # the students' images"""
_LOSS = """\
def soft_loss(student, teacher):
    return {line}"""
_CHECK = """\
student, teacher = torch.tensor({student}), torch.tensor({teacher})
assert abs(float(soft_loss(student, teacher)) - {loss:.6f}) < 1e-4, "not yet: {loss:.6f} must come out"
print("right")"""
_TRAIN = """\
def mlp(*sizes):
    layers = [layer for n, m in zip(sizes, sizes[1:]) for layer in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(*layers[:-1])

def fit(model, images, teacher=None):
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    for _ in range(EPOCHS):
        for batch in images[torch.randperm(len(images))].split(BATCH):
            z = model(x[batch])
            loss = F.cross_entropy(z, y[batch])
            if teacher is not None:
                loss = (1 - ALPHA) * loss + ALPHA * soft_loss(z, teacher(x[batch]).detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model

def errors(model):
    return int((model(x[test]).argmax(1) != y[test]).sum())"""
_RUN = """\
SEED = {seed}
torch.manual_seed(SEED)
teacher = fit(mlp(64, 400, 400, 10), train)
for name, taught_by in (("baseline", None), ("distilled", teacher)):
    torch.manual_seed(SEED)
    print(name, errors(fit(mlp(64, {hidden}, 10), few, taught_by)), "test errors of", len(test))
print("teacher", errors(teacher))"""


def notebook(story: StoryConfig, line: str = HOLE, say: Callable[[str], str] = str) -> bytes:
    """Return the notebook of a story's settings, as Jupyter reads it.

    line: what stands for the line to write. say: puts the words around the code into a language.
    """
    hidden = story.student.hidden if story.student.name == "mlp" and story.student.hidden else (30,)
    values = {
        "temperature": story.temperature,
        "alpha": story.alpha,
        "epochs": story.training.epochs,
        "rate": story.training.learning_rate,
        "batch": story.training.batch_size,
        "hidden": ", ".join(map(str, hidden)),
    }

    def text(*names: str, **values: object) -> dict[str, object]:
        source = "\n\n".join(say(catalogue.say(f"notebook.{name}", **values)) for name in names)
        return {"cell_type": "markdown", "id": names[-1], "metadata": {}, "source": source}

    cells = [
        text("title", "intro", **{**values, "temperature": f"{story.temperature:g}", "alpha": f"{story.alpha:g}"}),
        _code(_SETUP.format(few=round(1352 * story.transfer_set.fraction), **values)),
        text("exercise"),
        _code(_LOSS.format(line=line)),
        text("check"),
        _code(_CHECK.format(student=STUDENT, teacher=TEACHER, loss=_expected(story.temperature))),
        text("train"),
        _code(_TRAIN),
        _code(_RUN.format(seed=story.seed, **values)),
        text("question"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def _expected(temperature: float) -> float:
    import torch

    from kd_core.losses.hinton import soft_target_loss

    student, teacher = torch.tensor(STUDENT, dtype=torch.float64), torch.tensor(TEACHER, dtype=torch.float64)
    return float(soft_target_loss(student, teacher, temperature=temperature))


def _code(source: str) -> dict[str, object]:
    cell_id = f"code-{len(source)}"
    return {
        "cell_type": "code",
        "id": cell_id,
        "metadata": {},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }
