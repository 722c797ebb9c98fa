"""A run told in words for whoever meets its weights: a model card in Markdown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pprint import pformat
from typing import Any

from kd_core.data.catalogue import info_of
from kd_core.evaluation.statistics import wilson_interval
from kd_core.losses.config import DistillationConfig
from kd_core.runs.run import Run
from kd_core.training.config import RunConfig
from kd_core.training.mistakes import MISTAKES

_ROLES = {
    "teacher": "A teacher: a network trained on labels, from whose logits students learn.",
    "baseline": "A baseline: a student's architecture trained on labels alone, for comparison with a distilled one.",
    "distilled": "A distilled student: a network trained on what a teacher says of its images"
    " (Hinton, Vinyals and Dean, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531)).",
}
_BROUGHT = "A teacher that was trained elsewhere, from whose logits students learn."
MAX_LAYER_LINES = 40
_CARD = '''---
library_name: pytorch
pipeline_tag: image-classification
tags:
- kd-lab
- knowledge-distillation
- {role}
---

# {title}

{story}

{facts}

{layers}

## Training

{trained}

## Environment

{environment}

## Intended use and limits

Made for learning about distillation and for comparison on {info.label}. It sorts any picture whatever into one of
{info.classes} classes, and is untested on pictures from elsewhere. Its test errors are those of one seed: what one
run has over another may be luck even outside the interval, and only more seeds tell.

## Use

With KD Lab's `kd_core` on Python's path, in the folder of these files:

```python
from pathlib import Path

{imports}from kd_core.models.build import build
from kd_core.training.config import RunConfig
from safetensors.torch import load_file

config = RunConfig.from_json(Path("config.json").read_text(encoding="utf-8"))
model = build(config.model, image_shape={image_shape}, classes={info.classes})
model.load_state_dict(load_file("{weights}"))
model.eval()

CLASS_NAMES = {class_names}
MEAN, STD = {mean}, {std}  # of the pixels from 0 to 1


def logits(images):
    """uint8 images (N, C, H, W) -> logits (N, {info.classes})."""
    return model((images.float() - 255 * MEAN) / (255 * STD))
```
'''


def model_card(
    run: Run,
    *,
    image_shape: tuple[int, ...],
    class_names: Sequence[str],
    mean: float,
    std: float,
    layers: str,
    weights: str = "weights.safetensors",
) -> str:
    """A run in Markdown, its front matter as Hugging Face reads it.

    image_shape, class_names, mean, std: of the images that its model reads. layers: the model, as torch prints it.
    weights: the name of their file beside the card.
    """
    config, info = run.config, info_of(run.config.dataset)
    role = _ROLES[config.role] if config.brought is None else _BROUGHT
    story = [role, _mistake(config.mistake), run.note, f"Tags: {', '.join(run.tags)}" if run.tags else ""]
    environment = {"run": run.id, "created": _moment(run.created_at), "ended": _moment(run.ended_at), **run.environment}
    theirs = config.brought if config.brought is not None and config.brought.mean is not None else None
    return _CARD.format(
        role=config.role,
        title=" ".join(run.name.split()) or config.label,
        story="\n\n".join(filter(None, story)),
        facts=_table(_facts(run)),
        weights=weights,
        layers=f"```\n{layers}\n```" if layers.count("\n") < MAX_LAYER_LINES else "Its layers are torchvision's.",
        config=config,
        image_shape=tuple(image_shape),
        class_names=pformat(list(class_names), width=100, compact=True),
        mean=mean if theirs is None else _by_channel(theirs.mean),
        std=std if theirs is None else _by_channel(theirs.std),
        imports="import torch\n" if theirs is not None and len(theirs.mean or ()) > 1 else "",
        info=info,
        trained=_training(config, run.results, class_names),
        environment=_table(environment),
    )


def _facts(run: Run) -> dict[str, str]:
    """What the run is, what it costs, and its test errors with their interval."""
    config, results, info = run.config, run.results, info_of(run.config.dataset)
    errors, examples = results["test_errors"], results["test_examples"]
    low, high = wilson_interval(errors, examples)
    facts = {
        "role": config.role,
        "data set": info.label,
        "architecture": config.model.label,
        "parameters": f"{results['parameters']:,}",
        "size_bytes": f"{results['size_bytes']:,}",
        "multiply_adds of one image": f"{results['multiply_adds']:,}",
        "test errors": f"{errors:,} of {examples:,}, {errors / examples:.2%}",
        "95% Wilson interval": f"{low:.2%} to {high:.2%}",
    }
    if config.mistake is not None:
        facts["mistake, made on purpose"] = MISTAKES[config.mistake].label
    return facts


def _mistake(mistake: str | None) -> str:
    """That a run makes a mistake on purpose, and which."""
    if mistake is None:
        return ""
    info = MISTAKES[mistake]
    return f"**This is no result.** It makes a mistake on purpose, for a lesson: {info.label}. {info.public}"


def _training(config: RunConfig, results: Mapping[str, Any], class_names: Sequence[str]) -> str:
    """How the weights were trained."""
    if config.brought is not None:
        file, checksum = config.brought.file, config.brought.sha256
        return f"It was trained elsewhere and brought by its user as `{file.replace('`', '')}`, SHA-256 `{checksum}`."
    start = f"the weights of run {config.continues}" if config.continues else "random weights"
    settings = _table(config.training.model_dump(mode="json"))
    return (
        f"{results['epochs']:g} of {config.training.epochs} epochs, seed {config.seed}, started from {start}. The"
        f" weights are those of the\n{_chosen_epoch(config, results)}.\n\n{settings}\n\n{_lesson(config, class_names)}"
    )


def _chosen_epoch(config: RunConfig, results: Mapping[str, Any]) -> str:
    """Which epoch the weights are of, and by what it was chosen."""
    if config.mistake == "test_choice":
        return "best epoch by a half of the test set, which is the mistake"
    if not results["validation_examples"]:
        return "last epoch; the test errors were counted afterwards"
    judge = "labels" if config.transfer_set.labelled else "teacher's top classes"
    return (
        f"best epoch by a validation split of the training set ({results['validation_errors']:,} errors in"
        f" {results['validation_examples']:,} images, against the {judge}); the test errors were counted afterwards"
    )


def _by_channel(statistic: tuple[float, ...] | None) -> str:
    """A mean or standard deviation as Python, ready to be broadcast over images."""
    values = list(statistic or ())
    return repr(values[0]) if len(values) == 1 else f"torch.tensor({values!r}).view(-1, 1, 1)"


def _lesson(config: RunConfig, class_names: Sequence[str]) -> str:
    """The transfer set and the teacher of a student."""
    part, distillation = config.transfer_set, config.distillation
    if config.role == "teacher":
        return "It learned from the whole training set."
    classes = part.classes_in_words(class_names)
    labels = "with their labels" if part.labelled else "without any label"
    lesson = f"Transfer set: {part.fraction:.2%} of the training images of {classes}, {labels}."
    if distillation is not None:
        average = f", the mean of their {distillation.average}" if len(distillation.teachers) > 1 else ""
        lesson += (
            f"\n\n## Distillation\n\n{_loss(distillation)} Taught by run {', '.join(distillation.teachers)}{average}."
        )
    return lesson


def _loss(distillation: DistillationConfig) -> str:
    """What the student minimised, with its numbers."""
    if distillation.objective == "hinton":
        formula = f"`loss = alpha*{'T^2*' if distillation.t_squared else ''}KL(p_t || p_s) + (1-alpha)*CE`"
        meaning = "p_t and p_s are softmax(logits / T) of teacher and student,"
    else:
        shares = "alpha*soft + (1-alpha)*CE" if distillation.info.mixed else "soft + hard*CE"
        formula = f"`loss = {shares}`"
        meaning = (
            f"soft is the loss of {distillation.info.label} ({distillation.info.source}),"
            f" $$\\begin{{aligned}} &{distillation.info.formula} \\end{{aligned}}$$ {distillation.info.where}"
            f"{'' if distillation.t_squared or not distillation.info.uses_temperature else ' without T²'},"
        )
    numbers = [f"{name} = {value:g}" for name, value in distillation.all_weights.items()]
    if distillation.info.mixed:
        numbers = [_number("alpha", distillation.alpha, distillation.final_alpha), *numbers]
    if distillation.info.uses_temperature:
        numbers = [_number("temperature T", distillation.temperature, distillation.final_temperature), *numbers]
    return f"{formula}\n\nwith {' and '.join(numbers)}; {meaning} CE is the cross-entropy with the labels."


def _number(name: str, first: float, last: float | None) -> str:
    return f"{name} = {first:g}" + ("" if last is None else f" at the first step, {last:g} at the last")


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {'default' if value is None else value} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
