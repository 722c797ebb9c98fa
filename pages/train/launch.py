"""Before the button is pressed: the loss with its numbers, what will be trained, what it costs, what may hurt."""

import pandas as pd
import streamlit as st

from kd_core.base.config import LabError
from kd_core.experiments import story as experiments_story
from kd_core.experiments.advice import before
from kd_core.experiments.story import Plan, StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.objectives.definition import ObjectiveInfo
from kd_core.training.config import RunConfig
from pages.shared.access import rights
from pages.shared.parts.button import filled, pressed
from pages.shared.parts.start import expected_time
from pages.shared.session import keys, pickers, services
from pages.shared.words import duration, explained, literal


def launch_panel(story: StoryConfig) -> None:
    """What a story means, and the one button that trains all of it that is missing."""
    _formula(story)
    reuse = st.toggle(
        "Use what is trained already",
        value=True,
        key="form_reuse",
        help="On such a machine the same settings and seed give the same weights: a finished run serves as a new one.",
    )
    plan = experiments_story.plan(story, pickers.trained(story.dataset) if reuse else ())
    _forecast(plan)
    for sentence in _warnings(story):
        st.warning(literal(sentence), icon=":material/lightbulb:")
    if not plan.to_train:
        st.info("All of this is trained already.", icon=":material/check_circle:")
    if pressed(
        "Train" if plan.to_train else "Show it",
        type=filled("train"),
        key="train",
        icon=":material/play_arrow:",
        width="stretch",
    ):
        _launch(plan)


def _launch(plan: Plan) -> None:
    try:
        ids = rights.submit(plan.to_train) if plan.to_train else plan.reused[-1:]
        batch = services.store().get(ids[-1]).batch  # the student's: its teacher may be another's, who asked before
    except LabError as error:
        st.error(literal(str(error)), icon=":material/error:")
    else:
        keys.watch(batch)


def _formula(story: StoryConfig) -> None:
    st.markdown("**What the student minimises**")
    if story.objective == "hinton":
        _hinton(story)
    else:
        _other(OBJECTIVES[story.objective], story)
    changes = [
        f"{name} goes from {first:g} to {last:g}"
        for name, first, last in (
            ("T", story.temperature, story.final_temperature),
            ("alpha", story.alpha, story.final_alpha),
        )
        if last is not None
    ]
    if changes:
        st.caption(f"From the first step to the last, {' and '.join(changes)}.")


def _other(info: ObjectiveInfo, story: StoryConfig) -> None:
    """Any objective in symbols, with its numbers and source beneath."""
    soft = info.formula if story.t_squared else info.formula.replace(r"T^2\,", "")
    shares = (
        (r"\alpha\,\mathcal L_\mathrm{soft} + (1-\alpha)\,", "")
        if info.mixed
        else (r"\mathcal L_\mathrm{soft} + ", f"{info.weights['hard'].symbol}\\,")
    )
    st.latex(
        r"\begin{aligned}\mathcal L \;=\; &" + "".join(shares) + r"\mathrm{CE}(y,\, p^s) \\"
        r" \mathcal L_\mathrm{soft} \;=\; &" + soft + r"\end{aligned}"
    )
    weights = dict(story.weights)
    numbers = [f"$T = {story.temperature:g}$"] if info.uses_temperature else []
    numbers += [rf"$\alpha = {story.alpha:g}$"] if info.mixed else []
    numbers += [f"${one.symbol} = {weights.get(name, one.default):g}$" for name, one in info.weights.items()]
    meaning = f"{info.where}. " if info.where else ""
    unit = "In nats, mean" if info.nats else "Mean"
    said = f"{meaning}{', '.join(numbers)}. {literal(info.source)}. {unit} over the batch."
    st.caption(said, help=explained(unit))


def _hinton(story: StoryConfig) -> None:
    temperature, alpha = f"{story.temperature:g}", story.alpha
    scale = rf"{temperature}^2 \cdot" if story.t_squared else ""
    soft = (
        rf"\underbrace{{{alpha:.3g}}}_{{\alpha}} \cdot {scale}\,\mathrm{{KL}}\big(p^t_{{T={temperature}}}"
        rf" \,\big\|\, p^s_{{T={temperature}}}\big)"
    )
    hard = rf"{1 - alpha:.3g} \cdot \mathrm{{CE}}(y,\, p^s)"
    ends = alpha if story.final_alpha is None else story.final_alpha
    parts = ([soft] if alpha or ends else []) + ([hard] if min(alpha, ends) < 1 else [])
    st.latex(r"\begin{aligned}\mathcal L \;=\; &" + r" \\ +\; &".join(parts) + r"\end{aligned}")
    st.caption(
        r"$p^t_T = \mathrm{softmax}(z^t / T)$ is the teacher, softened; $p^s$ the student, $y$ the label."
        " In nats, mean over the batch (Hinton et al., section 2).",
        help=explained("nats"),
    )


def _forecast(plan: Plan) -> None:
    reused = {run.id: run.config for run in services.store().some(plan.reused)}
    between = experiments_story.assistants(reused | plan.to_train)
    rows = [_row(run_id in between, config, f"trained already ({run_id[:4]})") for run_id, config in reused.items()]
    seconds = services.expected_seconds()
    for run_id, config in plan.to_train.items():
        expected = seconds(config)
        time = "not measured here yet" if expected is None else f"about {duration(expected)}"
        rows.append(_row(run_id in between, config, time))
    order = {"teacher": 0, "assistant": 1, "baseline": 2, "distilled": 3}
    rows.sort(key=lambda row: order[str(row["role"])])
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        placeholder="–",
        column_config={
            "parameters": st.column_config.NumberColumn(format="localized"),
            "multiply-adds": st.column_config.NumberColumn(format="localized", help=explained("multiply-adds")),
        },
    )
    if time := expected_time(plan.to_train):
        st.markdown(f"Done in {time}.")


def _row(between: bool, config: RunConfig, time: str) -> dict[str, object]:
    costs = {} if config.model.opaque else services.costs(config.model, config.dataset)
    return {
        "role": "assistant" if between else config.role,
        "network": config.network,
        "parameters": costs.get("parameters"),
        "multiply-adds": costs.get("multiply_adds"),
        "time": time,
    }


def _warnings(story: StoryConfig) -> list[str]:
    teachers = [run.config.model for run in services.store().some(story.teachers)] or [story.teacher]
    known = [services.costs(model, story.dataset)["parameters"] for model in teachers if not model.opaque]
    largest = max(known, default=None)
    student = services.costs(story.student, story.dataset)["parameters"]
    between = None if story.assistant is None else services.costs(story.assistant, story.dataset)["parameters"]
    return before.warnings(story, largest, student, services.class_names(story.dataset), between)
