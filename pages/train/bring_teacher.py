"""Bring a teacher that was trained elsewhere: upload its file, say what it reads, see what it knows, take it in."""

import re

import streamlit as st

from kd_core.base.config import LabError
from kd_core.data.catalogue import info_of
from kd_core.exchange.teacher.trial import Outcome, Trial
from kd_core.experiments.story import StoryConfig
from kd_core.models.config import MODELS, PIXELS, ModelConfig
from kd_core.runs.run import ACTIVE, MAX_NAME, Run
from pages.shared.access import rights
from pages.shared.access.rights import TeacherInput
from pages.shared.parts.button import filled, pressed
from pages.shared.session import services
from pages.shared.session.story import set_story
from pages.shared.words import literal, refusals

TRIAL, TAKEN, TRIED_AS = "teacher_trial", "teacher_taken", "teacher_tried_as"
ENDINGS = ["pt", "pth", "safetensors", "pt2", "onnx"]
MAX_MB = 200
IT_TELLS, OTHER = "What its names and shapes tell", "another"
PROGRESS_SECONDS = 0.5


def bring_teacher(story: StoryConfig) -> None:
    """Take a file all the way to a teacher on the story's data set. How far it is stands in the session."""
    with st.expander("Bring your own teacher", icon=":material/upload_file:", key="bring_teacher"):
        st.markdown(
            f"A network that was trained elsewhere on **{literal(info_of(story.dataset).label)}**: weights of an"
            " architecture that KD Lab knows, as `state_dict` (.pt, .pth) or safetensors; or a black box that gives"
            " logits, as a `torch.export` program (.pt2) or ONNX. It is tried on the test set first. Nothing in the"
            " file is run but arithmetic."
        )
        uploaded = st.file_uploader("A trained teacher", type=ENDINGS, max_upload_size=MAX_MB, key="teacher_upload")
        if uploaded is None:
            services.end_trial(st.session_state.pop(TRIAL, None))
            _taken(story)
            return
        settings = _settings()
        if settings is None:
            return
        tried_as = (uploaded.file_id, story.dataset, repr(settings))
        if pressed("Try it", key="teacher_try", icon=":material/troubleshoot:", type=filled("teacher_try")):
            _try(uploaded.getvalue(), uploaded.name, story.dataset, settings, tried_as)
        trial = services.trial(st.session_state.get(TRIAL))
        if trial is None:
            _taken(story)
        elif not trial.done:
            _progress(trial)
        elif st.session_state.get(TRIED_AS) != tried_as:
            st.info("These settings were not tried yet.", icon=":material/troubleshoot:")
        else:
            _outcome(trial)


def _settings() -> TeacherInput | None:
    """Ask how to read the file, as arguments of Trial; None, and a sentence, where the answer cannot be."""
    left, right = st.columns(2)
    names = [IT_TELLS, *MODELS]
    name = left.selectbox(
        "Its architecture",
        names,
        format_func=lambda name: MODELS[name].label if name in MODELS else name,
        key="teacher_architecture",
        help="Of weights. A program or an ONNX file is its own architecture.",
    )
    units = ""
    if name in MODELS and (widths := MODELS[name].widths) and widths.setting == "hidden":
        units = left.text_input("Its hidden units", "1200, 1200", max_chars=200, key="teacher_units")
    pixels = right.selectbox(
        "It was trained on pixels",
        [*PIXELS, OTHER],
        format_func=lambda choice: PIXELS[choice][0] if choice in PIXELS else "of another mean and deviation",
        key="teacher_pixels",
        help="KD Lab gives mean 0 and standard deviation 1 over the training set. Not sure? Try several: those it"
        " was trained on leave the fewest errors.",
    )
    mean, std = PIXELS.get(pixels, ("", None, None))[1:]
    try:
        if pixels == OTHER:
            first, second = right.columns(2)
            mean = _numbers(first.text_input("Mean", "0.485, 0.456, 0.406", max_chars=80, key="teacher_mean"))
            std = _numbers(second.text_input("Deviation", "0.229, 0.224, 0.225", max_chars=80, key="teacher_std"))
        inverted = right.toggle(
            "Dark and light exchanged", key="teacher_inverted", help="It was trained on black ink on white paper, say."
        )
        model = None if name == IT_TELLS else ModelConfig(name=name, hidden=_whole_numbers(units))
    except LabError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None
    return {"model": model, "mean": mean, "std": std, "inverted": inverted}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise LabError(f"Write numbers with commas between, such as 0.49, 0.48, 0.45; got '{text[:40]}'") from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [part for part in re.split(r"[\s,-]+", text) if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise LabError(f"Units must be whole numbers with commas between, such as 800, 800; got '{text[:40]}'")
    return tuple(map(int, parts))


def _try(content: bytes, file: str, dataset: str, settings: TeacherInput, tried_as: tuple[str, ...]) -> None:
    services.end_trial(st.session_state.pop(TRIAL, None))
    st.session_state.pop(TAKEN, None)
    with refusals():
        st.session_state[TRIAL] = rights.try_teacher(content, file, dataset, settings)
        st.session_state[TRIED_AS] = tried_as


def _progress(trial: Trial) -> None:
    """Show how far the trial is, with a button that stops it."""

    @st.fragment(run_every=PROGRESS_SECONDS)
    def progress() -> None:
        if trial.done:
            st.rerun()
        text, share = trial.told
        bar, stop = st.columns([5, 1], vertical_alignment="center")
        bar.progress(share, literal(text))
        if stop.button("Stop", key="teacher_stop", icon=":material/stop:"):
            services.end_trial(st.session_state.pop(TRIAL, None))
            st.rerun()

    progress()


def _outcome(trial: Trial) -> None:
    """Show what the trial measured, and the button that takes the teacher in."""
    try:
        outcome = trial.outcome()
    except LabError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    share = outcome.test_errors / outcome.test_examples
    st.metric("Test errors", f"{outcome.test_errors:,} of {outcome.test_examples:,}, {share:.2%}")
    st.caption(literal(" ".join(outcome.notes)))
    if outcome.warning:
        st.warning(literal(outcome.warning), icon=":material/warning:")
    name, take = st.columns([3, 2], vertical_alignment="bottom")
    called = name.text_input("Name", max_chars=MAX_NAME, key="teacher_name", placeholder="what to call it")
    with take:
        take_it = pressed(
            "Take it all the same" if outcome.warning else "Take it as a teacher",
            key="teacher_take",
            icon=":material/school:",
            type="secondary" if outcome.warning else filled("teacher_take"),
        )
    if take_it:
        _take(outcome, called)


def _take(outcome: Outcome, name: str) -> None:
    with refusals():
        st.session_state[TAKEN] = rights.take_teacher(outcome, name)
        services.end_trial(st.session_state.pop(TRIAL, None))
        st.rerun()


def _taken(story: StoryConfig) -> None:
    """Show the state of the teacher that was taken: its logits are computed first, then it can teach."""
    for run in services.store().some([st.session_state.get(TAKEN, "")]):
        if run.status in ACTIVE:
            _watch(run)
        elif run.usable:
            st.success(f"{literal(run.label)} is ready to teach.", icon=":material/check_circle:")
            st.button(
                "Teach with it",
                key="teacher_use",
                icon=":material/school:",
                type=filled("teacher_use"),
                on_click=_use,
                args=(story, run),
            )
        else:
            st.warning(literal(f"{run.label} is {run.status}. {run.message or ''}"), icon=":material/error:")


@st.fragment(run_every=PROGRESS_SECONDS)
def _watch(run: Run) -> None:
    """Watch a run until it has left its logits."""
    for now in services.store().some([run.id]):
        if now.status not in ACTIVE:
            st.rerun()
        st.info(literal(now.message or f"{now.label} waits for a worker, to be asked of all images."))


def _use(story: StoryConfig, run: Run) -> None:
    dataset = run.config.dataset
    base = story if story.dataset == dataset else StoryConfig.default(dataset)
    set_story(base.replace(teachers=(run.id,)))
