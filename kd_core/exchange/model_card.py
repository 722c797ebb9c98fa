"""A run told in words for whoever meets its weights: a model card in Markdown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from pprint import pformat

from kd_core.base.templates import filled
from kd_core.data.catalogue import info_of
from kd_core.evaluation.statistics import wilson_interval
from kd_core.losses.config import DistillationConfig
from kd_core.runs.run import Run
from kd_core.training.mistakes import MISTAKES


def model_card(
    run: Run,
    *,
    image_shape: tuple[int, ...],
    class_names: Sequence[str],
    mean: float,
    std: float,
    layers: str,
    weights: str = "weights.safetensors",
    command: str = "",
    data_md5: Mapping[str, str] = {},
    files: Mapping[str, str] = {},
) -> str:
    """A run in Markdown, its front matter as Hugging Face reads it.

    image_shape, class_names, mean, std: of the images that its model reads. layers: the model, as torch prints it.
    weights: the name of their file beside the card. command: what makes them anew, from data of these checksums.
    files: what each exported file did on the test set, in a sentence.
    """
    config = run.config
    environment = {"run": run.id, "created": _moment(run.created_at), "ended": _moment(run.ended_at), **run.environment}
    return filled(
        Path(__file__).with_name("model_card.md.jinja"),
        run=run,
        config=config,
        info=info_of(config.dataset),
        title=" ".join(run.name.split()) or config.label,
        mistake=MISTAKES[config.mistake] if config.mistake else None,
        facts=_facts(run),
        layers=layers,
        numbers=" and ".join(_numbers(config.distillation)) if config.distillation else "",
        command=command,
        data_md5=data_md5,
        files=files,
        environment=environment,
        image_shape=tuple(image_shape),
        class_names=class_names,
        class_list=pformat(list(class_names), width=100, compact=True),
        weights=weights,
        mean=mean,
        std=std,
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


def _numbers(distillation: DistillationConfig) -> list[str]:
    """The numbers of the loss: temperature, alpha and the objective's own, as far as it reads them."""
    changing = {
        "temperature T": (distillation.info.uses_temperature, distillation.temperature, distillation.final_temperature),
        "alpha": (distillation.info.mixed, distillation.alpha, distillation.final_alpha),
    }
    numbers = [
        f"{name} = {first:g}" + ("" if last is None else f" at the first step, {last:g} at the last")
        for name, (is_read, first, last) in changing.items()
        if is_read
    ]
    return numbers + [f"{name} = {value:g}" for name, value in distillation.all_weights.items()]


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
