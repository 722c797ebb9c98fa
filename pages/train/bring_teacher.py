"""Bring a teacher that was trained elsewhere: upload its file, say what it reads, see what it knows, take it in."""

import re
from typing import Any

import streamlit as st

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.exchange.teacher.trial import QUESTIONS, Ask, Outcome, Trial
from kd_core.experiments.story import StoryConfig
from kd_core.models.architectures import own, stock
from kd_core.models.config import MODELS, PIXELS, ModelConfig
from kd_core.runs.run import ACTIVE, MAX_NAME, STATES, Run
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.parts.button import filled, pressed
from pages.shared.session import services
from pages.shared.session.story import set_story
from pages.shared.words import in_language, literal, refusals

TRIAL, TAKEN, TRIED_AS, ANSWERS = "teacher_trial", "teacher_taken", "teacher_tried_as", "teacher_answers"
ENDINGS = ["pt", "pth", "ckpt", "bin", "safetensors", "pt2", "onnx"]
MAX_MB = 200
IT_TELLS, BEST = said("What its names and shapes tell"), said("What fits best")
OTHER = said("of another mean and deviation")
PROGRESS_SECONDS = 0.5


def bring_teacher(story: StoryConfig) -> None:
    """Take a file all the way to a teacher on the story's data set. How far it is stands in the session."""
    with st.expander(_("Bring your own teacher"), key="bring_teacher"):
        st.markdown(
            _(
                "A network that was trained elsewhere on **{dataset}**: weights of an architecture that KD Lab or"
                " torchvision has, as `state_dict` (.pt, .pth, .ckpt) or safetensors; or a black box that gives logits,"
                " as a `torch.export` program (.pt2) or ONNX. What its file does not tell is tried on training images;"
                " then it is asked of the test set. Nothing in the file is run but arithmetic.",
                dataset=literal(in_language(info_of(story.dataset).label)),
            )
        )
        uploaded = st.file_uploader(_("A trained teacher"), type=ENDINGS, max_upload_size=MAX_MB, key="teacher_upload")
        if uploaded is None:
            services.end_trial(st.session_state.pop(TRIAL, None))
            _taken(story)
            return
        ask = _ask(uploaded, story.dataset)
        if ask is None:
            return
        tried_as = (uploaded.file_id, repr(ask))
        if pressed(_("Try it"), key="teacher_try", icon=":material/troubleshoot:", type=filled("teacher_try")):
            _try(uploaded.getvalue(), ask, tried_as)
        trial = services.trial(st.session_state.get(TRIAL))
        if trial is None:
            _taken(story)
        elif not trial.done:
            _progress(trial)
        else:
            about = uploaded.file_id, st.session_state["teacher_architecture"]
            _outcome(trial, about, current=st.session_state.get(TRIED_AS) == tried_as)


def _ask(uploaded: Any, dataset: str) -> Ask | None:
    """Ask how to read the file; None, and a sentence, where the answer cannot be."""
    left, right = st.columns(2)
    names = [IT_TELLS, *MODELS, *own.listed(), *stock.NAMES]
    name = left.selectbox(
        _("Its architecture"),
        names,
        format_func=lambda name: _(MODELS[name].label if name in MODELS else name),
        key="teacher_architecture",
        help=_("Of weights. A program or an ONNX file is its own architecture."),
    )
    units = ""
    if name in MODELS and (widths := MODELS[name].widths) and widths.setting == "hidden":
        units = left.text_input(_("Its hidden units"), "1200, 1200", max_chars=200, key="teacher_units")
    pixels = right.selectbox(
        _("It was trained on pixels"),
        [BEST, *PIXELS, OTHER],
        format_func=lambda choice: _(PIXELS[choice][0] if choice in PIXELS else choice),
        key="teacher_pixels",
        help=_("KD Lab gives mean 0 and standard deviation 1 over the training set."),
    )
    answers = dict(st.session_state.get(ANSWERS, {}).get((uploaded.file_id, name), {}))
    mean = std = None
    try:
        if pixels == OTHER:
            first, second = right.columns(2)
            mean = _numbers(first.text_input(_("Mean"), "0.485, 0.456, 0.406", max_chars=80, key="teacher_mean"))
            std = _numbers(second.text_input(_("Deviation"), "0.229, 0.224, 0.225", max_chars=80, key="teacher_std"))
        elif pixels != BEST:
            answers["pixels"] = pixels
        side, classes, errors = _known(dataset)
        answers |= {question: answer for question, answer in {"side": side, "classes": classes}.items() if answer}
        name = own.named(name) if name in own.listed() else name
        model = None if name == IT_TELLS else ModelConfig(name=name, hidden=_whole_numbers(units))
    except LabError as error:
        st.error(literal(of_error(error)), icon=":material/error:")
        return None
    return Ask(file=uploaded.name, dataset=dataset, model=model, mean=mean, std=std, answers=answers, errors=errors)


def _known(dataset: str) -> tuple[str, str, int | None]:
    """Ask what a user may know: the side of its images, which classes are the data set's, its test errors."""
    first, second, third = st.columns(3)
    side = first.text_input(
        _("Side of its images"), max_chars=4, key="teacher_side", placeholder=_("as they are"),
        help=_("In pixels: the data set's images are resized to it, such as 224 for most networks of ImageNet."),
    )  # fmt: skip
    classes = second.text_input(
        _("Which of its classes"), max_chars=40_000, key="teacher_classes", placeholder=_("all, or what fits"),
        help=_(
            "One number for each of the {classes:,} classes here, in their order, counted from 0, with commas between."
            " Leave it empty, and of more classes those that fit training images best are taken.",
            classes=info_of(dataset).classes,
        ),
    )  # fmt: skip
    errors = third.text_input(
        _("Test errors, if known"), max_chars=9, key="teacher_errors", placeholder=_("not known"),
        help=_("The number that you measured on this test set: it must come out, or something is read wrongly."),
    )  # fmt: skip
    counts, numbers, sides = map(_whole_numbers, (errors, classes, side))
    return "".join(map(str, sides[:1])), ",".join(map(str, numbers)), next(iter(counts), None)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise LabError(
            said("Write numbers with commas between, such as 0.49, 0.48, 0.45; got '{text}'", text=text[:40])
        ) from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [part for part in re.split(r"[\s,-]+", text) if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise LabError(said("Write whole numbers with commas between, such as 800, 800; got '{text}'", text=text[:40]))
    return tuple(map(int, parts))


def _try(content: bytes, ask: Ask, tried_as: tuple[str, ...]) -> None:
    services.end_trial(st.session_state.pop(TRIAL, None))
    st.session_state.pop(TAKEN, None)
    with refusals():
        st.session_state[TRIAL] = rights.try_teacher(content, ask)
        st.session_state[TRIED_AS] = tried_as


def _progress(trial: Trial) -> None:
    """Show how far the trial is, with a button that stops it."""

    @st.fragment(run_every=PROGRESS_SECONDS)
    def progress() -> None:
        if trial.done:
            st.rerun()
        text, share = trial.told
        bar, stop = st.columns([5, 1], vertical_alignment="center")
        bar.progress(share, literal(_(text)))
        if stop.button(_("Stop"), key="teacher_stop", icon=":material/stop:"):
            services.end_trial(st.session_state.pop(TRIAL, None))
            st.rerun()

    progress()


def _outcome(trial: Trial, about: tuple[str, str], *, current: bool) -> None:
    """Show what the trial measured, what it asks, and the button that takes the teacher in.

    about: file and architecture, whose answers are kept together. current: whether these settings were tried.
    """
    try:
        outcome = trial.outcome()
    except LabError as error:
        if current:
            st.error(literal(of_error(error)), icon=":material/error:")
        return
    _questions(outcome, about)
    if not current:
        st.info(_("These settings were not tried yet."), icon=":material/troubleshoot:")
        return
    measured = _(
        "{errors:,} of {examples:,}, {share:.2%}",
        errors=outcome.test_errors,
        examples=outcome.test_examples,
        share=outcome.test_errors / outcome.test_examples,
    )
    st.metric(_("Test errors"), measured)
    st.caption(literal(" ".join(map(_, outcome.notes))))
    if outcome.warning:
        st.warning(literal(_(outcome.warning)), icon=":material/warning:")
    name, take = st.columns([3, 2], vertical_alignment="bottom")
    called = name.text_input(_("Name"), max_chars=MAX_NAME, key="teacher_name", placeholder=_("what to call it"))
    with take:
        take_it = pressed(
            _("Take it all the same") if outcome.warning else _("Take it as a teacher"),
            key="teacher_take",
            icon=":material/school:",
            type="secondary" if outcome.warning else filled("teacher_take"),
        )
    if take_it:
        _take(outcome, called)


def _questions(outcome: Outcome[bytes], about: tuple[str, str]) -> None:
    """Ask what the file does not tell, each option with how it does; another answer has to be tried."""

    def answer(question: str, key: str) -> None:
        answers = st.session_state.setdefault(ANSWERS, {})
        answers[about] = {**answers.get(about, {}), question: st.session_state[key]}

    if not outcome.questions:
        return
    st.markdown(
        _(
            "What its file does not tell. With each option stands how many of {images:,} training images it gets"
            " wrong:",
            images=outcome.questions[0].images,
        )
    )
    columns = st.columns(2)
    for place, question in enumerate(outcome.questions):
        words = {
            option: _(
                "{option}: {wrong:,} wrong", option=_(PIXELS[option][0] if option in PIXELS else option), wrong=wrong
            )
            for option, wrong in question.wrong.items()
        }
        key = f"teacher_answer_{question.name}_{st.session_state[TRIAL]}"
        columns[place % 2].selectbox(
            f"{_(QUESTIONS[question.name])}?",
            [*words],
            index=[*words].index(question.taken),
            format_func=words.__getitem__,
            key=key,
            on_change=answer,
            args=(question.name, key),
        )


def _take(outcome: Outcome[bytes], name: str) -> None:
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
            st.success(
                _("{name} is ready to teach.", name=literal(in_language(run.label))), icon=":material/check_circle:"
            )
            st.button(
                _("Teach with it"),
                key="teacher_use",
                icon=":material/school:",
                type=filled("teacher_use"),
                on_click=_use,
                args=(story, run),
            )
        else:
            text = _(
                "{name} is {status}. {message}",
                name=in_language(run.label),
                status=_(STATES[run.status]),
                message=_(run.message) if run.message else "",
            )
            st.warning(literal(text), icon=":material/error:")


@st.fragment(run_every=PROGRESS_SECONDS)
def _watch(run: Run) -> None:
    """Watch a run until it has left its logits."""
    for now in services.store().some([run.id]):
        if now.status not in ACTIVE:
            st.rerun()
        waits = _("{name} waits for a worker, to be asked of all images.", name=in_language(now.label))
        st.info(literal(_(now.message) if now.message else waits))


def _use(story: StoryConfig, run: Run) -> None:
    dataset = run.config.dataset
    base = story if story.dataset == dataset else StoryConfig.default(dataset)
    set_story(base.replace(teachers=(run.id,)))
