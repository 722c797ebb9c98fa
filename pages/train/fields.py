"""The fields of the train page's form."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from kd_core.base.config import Config, ConfigError
from kd_core.base.templates import said
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments import defaults
from kd_core.experiments.defaults import TEMPERATURES
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.objectives.definition import ObjectiveInfo
from kd_core.models.architectures import own, stock
from kd_core.models.config import MODELS, ModelConfig, weights_files, weights_folder
from kd_core.runs.run import Run
from kd_core.training.config import TrainingConfig
from pages.shared.language import _, of_error
from pages.shared.server.streamlit_patches import DeltaGenerator
from pages.shared.session import pickers, services
from pages.shared.session.story import chosen_story
from pages.shared.words import explained, literal

C = TypeVar("C", bound=Config)
NEW, TRAINED = said("Train a new one"), said("One that is trained")
LISTED_CLASSES = 20
"""Up to so many classes a field lists those that are used, above it those that are not."""


def loss_fields(base: StoryConfig, front: DeltaGenerator) -> dict[str, Any]:
    """Ask for the objective, and in front for temperature and alpha; what the objective does not read is disabled."""
    objective = field(
        st.selectbox,
        "objective",
        base.objective,
        _("What the student minimises"),
        list(OBJECTIVES),
        format_func=lambda name: _(OBJECTIVES[name].label),
        on_change=_change_objective,
        help=_("Formula, source and numbers stand beside the form."),
    )
    info = OBJECTIVES[objective]
    label = _(info.label)
    st.caption(_(info.when))
    temperature = field(
        front.select_slider,
        "temperature",
        base.temperature,
        _("Temperature T") if info.uses_temperature else _("Temperature T: {objective} has none", objective=label),
        sorted({*TEMPERATURES, base.temperature}),
        format_func=lambda value: f"{value:g}",
        disabled=not info.uses_temperature,
        help=_(
            "softmax(z / T) for teacher and student in the soft loss. In the paper, very small students did better"
            " with less."
        ),
    )
    alpha = field(
        front.slider,
        "alpha",
        base.alpha,
        _("alpha: weight of the soft loss")
        if info.mixed
        else _("alpha: {objective} has weights of its own", objective=label),
        *(0.0, 1.0),
        step=0.05,
        disabled=not info.mixed,
        help=_("1 learns from the teacher alone: the loss reads no label; 0 is the baseline."),
    )
    weights = _weight_fields(base, objective) if info.weights else {}
    return {"objective": objective, "weights": weights, "temperature": float(temperature), "alpha": float(alpha)}


def _weight_fields(base: StoryConfig, objective: str) -> dict[str, float]:
    """Ask for the objective's own weights; return them by name. Each starts from its default."""
    info = OBJECTIVES[objective]
    chosen = dict(base.weights) if base.objective == objective else {}
    for name, weight in info.weights.items():
        label, start = f"${weight.symbol}$: {_(weight.meaning)}", chosen.get(name, weight.default)
        limits: dict[str, Any] = {"min_value": 0.0, "max_value": weight.most, "step": 0.1 if weight.most <= 1 else 0.5}
        chosen[name] = field(st.number_input, f"weight_{objective}_{name}", start, label, **limits, format="%.4g")
    source = _("At first as in {source}.", source=literal(_(info.defaults_from)))
    st.caption(f"{source} {literal(_(info.differs))}")
    return chosen


def change_fields(base: StoryConfig, info: ObjectiveInfo) -> dict[str, float | None]:
    """Ask for temperature and alpha of the last step; None where they stay."""
    last: dict[str, float | None] = {"final_temperature": None, "final_alpha": None}
    st.caption(
        _(
            "From the first step to the last they change in a straight line: cooling down as in Annealing KD"
            " (Jafari et al. 2021), or from the teacher to the labels."
        )
    )
    temperatures = sorted({*TEMPERATURES, *([base.final_temperature] if base.final_temperature else [])})
    cools, fades = base.final_temperature is not None, base.final_alpha is not None
    if field(st.toggle, "cools", cools, _("T changes"), disabled=not info.uses_temperature) and info.uses_temperature:
        start, title = base.final_temperature or 1.0, _("T at the last step")
        last["final_temperature"] = field(
            st.select_slider, "final_temperature", start, title, temperatures, format_func=lambda value: f"{value:g}"
        )
    if field(st.toggle, "fades", fades, _("alpha changes"), disabled=not info.mixed) and info.mixed:
        start, title = base.final_alpha or 0.0, _("alpha at the last step")
        last["final_alpha"] = field(st.slider, "final_alpha", start, title, 0.0, 1.0, step=0.05)
    return last


def seed_fields(base: StoryConfig, info: ObjectiveInfo, *, several_teachers: bool) -> dict[str, object]:
    """Ask for the T² factor, what several teachers average, and the seed."""
    t_squared = field(
        st.toggle,
        "t_squared",
        base.t_squared,
        _("Multiply the soft loss by T²"),
        disabled=not info.uses_temperature,
        help=_(
            "Where T is large, the gradient of the soft loss falls as 1/T², and T² makes up for it. Switch it off"
            " to see what it is for."
        ),
    )
    ensemble = field(
        st.selectbox,
        "ensemble",
        base.ensemble,
        _("Several teachers average their"),
        [said("probabilities"), said("logits")],
        format_func=_,
        disabled=not several_teachers or info.matches_logits,
        help=_("{objective} compares logits, so these are averaged.", objective=_(info.label))
        if info.matches_logits
        else None,
    )
    views = {"same": _("What the student sees"), "original": _("Images as they are")}
    teacher_view = field(
        st.selectbox,
        "teacher_view",
        base.teacher_view,
        _("Where images are changed, the teacher sees"),
        list(views),
        format_func=views.__getitem__,
        help=_("The same view taught better (Beyer et al. 2022); of images as they are, its logits are computed once."),
    )
    luck = _("Same settings and seed, same weights. New seed, new luck.")
    seed = field(st.number_input, "seed", base.seed, _("Seed"), 0, 2**31 - 1000, help=luck)
    return {"t_squared": t_squared, "ensemble": ensemble, "teacher_view": teacher_view, "seed": int(seed)}


def assistant_fields(base: StoryConfig, training: TrainingConfig, wrong: list[str]) -> dict[str, Any]:
    """Ask for the assistant and its training. training: the student's, from which it starts."""
    meaning = _("A network of a size between learns from the teacher, and the student from it (Mirzadeh et al. 2020).")
    if not field(st.toggle, "assisted", base.assistant is not None, _("Teach an assistant first"), help=meaning):
        return {"assistant": None, "assistant_training": None}
    own = base.assistant_training or training
    assistant = model_fields(_("Assistant"), base.assistant or _between(base), "assistant", wrong)
    epochs = field(st.number_input, "assistant_epochs", own.epochs, _("Epochs of the assistant"), 1, 10_000)
    of_assistant = with_changes(own, {"epochs": int(epochs)}, wrong)
    return {"assistant": assistant, "assistant_training": None if of_assistant == training else of_assistant}


def _between(base: StoryConfig) -> ModelConfig:
    """Return a network between teacher and student in size: the student with wider layers."""
    free = base.student.architecture.widths
    if free is None:
        return base.student
    widest = max(getattr(base.teacher, free.setting), default=1)
    widths = getattr(base.student, free.setting)
    return base.student.replace(**{free.setting: tuple(round((width * widest) ** 0.5) for width in widths)})


def _change_objective() -> None:
    """Set the temperature of the new objective, and no change over training. Alpha stays.

    The same one is heard of, too, where a tab tells of a form that it no longer shows: when a run changes its state
    just then.
    """
    base = chosen_story()
    objective = st.session_state.get("form_objective", base.objective)
    if objective == base.objective:
        return
    st.session_state["form_temperature"] = defaults.default_temperature(base.dataset, objective)
    st.session_state["form_cools"] = st.session_state["form_fades"] = False


def with_changes(base: C, changes: dict[str, object], wrong: list[str]) -> C:
    """Return base with changes, or base itself after adding a sentence to wrong."""
    try:
        return base.replace(**changes)
    except ConfigError as error:
        wrong.append(of_error(error))
        return base


def teacher_fields(base: StoryConfig, wrong: list[str]) -> tuple[tuple[str, ...], int, ModelConfig]:
    """Ask for trained teachers, or how many new ones and their network."""
    known = {run.id: run for run in _trained_teachers(base)}
    named = [run_id for run_id in base.teachers if run_id in known]
    opens, none = TRAINED if named else NEW, not known and not named
    source = field(
        st.segmented_control,
        "teacher_source",
        opens,
        _("Teacher"),
        [NEW, TRAINED],
        format_func=_,
        required=True,
        disabled=none,
    )
    if source == TRAINED and known:
        if "form_teachers" in st.session_state:
            there = [run_id for run_id in st.session_state["form_teachers"] if run_id in known]
            st.session_state["form_teachers"] = there
        always = st.session_state.get("form_teachers", named)

        def label(run_id: str) -> str:
            run = known[run_id]
            return _(
                "{name}, {errors:,} test errors ({id})",
                name=run.named or run.config.network,
                errors=run.results["test_errors"],
                id=run_id[:4],
            )

        picked = field(
            st.multiselect,
            "teachers",
            named or list(known)[:1],
            _("Trained teachers"),
            pickers.some_of([*known], label, always, what="teachers", key="form_search_teachers"),
            format_func=label,
            help=_("Several make an ensemble: the student learns from their average."),
            max_selections=20,
        )
        if not picked:
            wrong.append(_("choose a trained teacher, or train a new one"))
        return tuple(picked), 1, base.teacher
    teacher = model_fields(_("Teacher's network"), base.teacher, "teacher", wrong)
    several = _("Several, of different seeds, teach as an ensemble.")
    count = field(st.number_input, "new_teachers", base.new_teachers, _("How many teachers"), 1, 20, help=several)
    return (), int(count), teacher


WHOSE = {"teacher": said("Teacher"), "assistant": said("Assistant"), "student": said("Student")}


def model_fields(title: str, base: ModelConfig, key: str, wrong: list[str]) -> ModelConfig:
    left, right = st.columns([3, 2])
    labels = {name: _(architecture.label) for name, architecture in MODELS.items()} | LIBRARIES
    if base.own or own.listed():
        labels[OWN] = _("One of your own")
    opens = OWN if base.own else base.name.partition("/")[0]
    name = field(left.selectbox, f"{key}_model", opens, title, list(labels), format_func=lambda name: _(labels[name]))
    if name in LIBRARIES:
        return _library_fields(right, base, name, key, wrong)
    if name == OWN:
        return _own_field(right, base, key, wrong)
    base, widths_of = base.named(name), MODELS[name].widths
    if widths_of is None:
        return base
    setting, label, example = widths_of
    text = field(
        right.text_input,
        f"{key}_{setting}",
        ", ".join(map(str, getattr(base, setting))),
        _("{whose}'s {widths}", whose=WHOSE[key], widths=_(label)),
        max_chars=200,
        help=_("Numbers with commas between, from input to output: {example}.", example=_(example)),
    )
    try:
        widths = tuple(int(part) for part in text.replace("-", ",").split(",") if part.strip())
    except ValueError:
        wrong.append(
            _(
                "{widths} must be whole numbers with commas between, such as 800, 800; got '{text}'",
                widths=_(label).capitalize(),
                text=text[:40],
            )
        )
        return base
    return with_changes(base, {setting: widths}, wrong)


OWN = "own"
LIBRARIES = {"torchvision": said("One of torchvision's"), "timm": said("One of timm's")}
WEIGHTS = {"": said("Random"), stock.LIBRARY: said("As its library publishes them")}


def _library_fields(right: DeltaGenerator, base: ModelConfig, library: str, key: str, wrong: list[str]) -> ModelConfig:
    """Ask for a library's network, the weights that it starts from, and the side of its images."""
    names = list(stock.NAMES if library == "torchvision" else stock.timm_names())
    if not names:
        wrong.append(_("timm is not installed here: pip install timm, or choose a network of torchvision"))
        return base
    start = base.name if base.name.startswith(f"{library}/") else stock.USUAL[library]
    names += [] if start in names else [start]  # with a tag of timm's
    name = field(
        right.selectbox,
        f"{key}_of_{library}",
        start,
        _("{whose}'s name", whose=_(WHOSE[key])),
        names,
        format_func=lambda name: name.partition("/")[2],
    )
    base = base.named(name)
    left, right = st.columns([3, 2])
    kept = [base.pretrained] if base.pretrained not in (*WEIGHTS, *weights_files()) else []
    pretrained = field(
        left.selectbox,
        f"{key}_weights",
        base.pretrained,
        _("{whose}'s first weights", whose=_(WHOSE[key])),
        [*WEIGHTS, *weights_files(), *kept],
        format_func=lambda weights: _(WEIGHTS.get(weights, weights.partition("@")[0])),
        help=_(
            "Published ones were trained on ImageNet, and are fetched where they are not in {folder}; what else lies"
            " there can be chosen too. The last layer is drawn anew.",
            folder=literal(str(weights_folder())),
        ),
    )
    side = field(
        right.number_input,
        f"{key}_side",
        base.input_side,
        _("Resize to, pixels"),
        8,
        1024,
        placeholder=_("as they are"),
        help=_("Images are resized to this side first; left open, published weights get what they were trained on."),
    )
    return with_changes(base, {"pretrained": pretrained, "input_side": None if side is None else int(side)}, wrong)


def _own_field(right: DeltaGenerator, base: ModelConfig, key: str, wrong: list[str]) -> ModelConfig:
    """Ask for a network of own code, of those that this server may import: what an address names is only refused."""
    paths = own.listed()
    start = own.path_of(base.name) if base.own else paths[0]
    paths += [] if start in paths else [start]
    title = _("{whose}'s name", whose=_(WHOSE[key]))
    path = field(right.selectbox, f"{key}_own", start, title, paths)
    try:
        return base.named(own.named(path))
    except ConfigError as error:
        wrong.append(of_error(error))
        return base


def training_fields(base: TrainingConfig, key: str, wrong: list[str]) -> TrainingConfig:
    left, right = st.columns(2)
    rules, schedules = ["adamw", "adam", "sgd"], [said("cosine"), said("constant"), said("one-cycle")]
    optimizer = field(left.selectbox, f"{key}_optimizer", base.optimizer, _("Optimiser"), rules)
    over_time = _("Learning rate over time")
    schedule = field(right.selectbox, f"{key}_schedule", base.schedule, over_time, schedules, format_func=_)
    rate = field(left.text_input, f"{key}_rate", f"{base.learning_rate:g}", _("Peak learning rate"), max_chars=40)
    batch_size = field(right.number_input, f"{key}_batch", base.batch_size, _("Batch size"), 1, 65_536)
    moves = _("Each image moves by up to this much, anew each epoch.")
    jitter = field(left.number_input, f"{key}_jitter", base.jitter_pixels, _("Jitter, pixels"), 0, 32, help=moves)
    smoothing = field(
        right.number_input,
        f"{key}_smoothing",
        base.label_smoothing,
        _("Label smoothing"),
        *(0.0, 0.99),
        step=0.05,
        help=_(
            "This share of each hard target is spread over all classes. On the baseline it is the control for soft"
            " targets that know nothing; a teacher trained with it can teach worse (Müller et al. 2019)."
        ),
    )
    changes = {
        "optimizer": optimizer,
        "schedule": schedule,
        "batch_size": int(batch_size),
        "jitter_pixels": int(jitter),
        "label_smoothing": float(smoothing),
        **_augmentation(base, key),
        **_care(base, key),
    }
    try:
        changes["learning_rate"] = float(rate)
    except ValueError:  # once all is drawn: what is refused takes no field away
        wrong.append(_("The learning rate must be a number such as 0.003, got '{text}'", text=rate[:40]))
        return base
    return with_changes(base, changes, wrong)


def _augmentation(base: TrainingConfig, key: str) -> dict[str, Any]:
    """Ask how images are changed in training."""
    st.caption(_("Augmentation: each epoch shows the images changed anew."))
    left, right = st.columns(2)
    half, share = _("Left to right, half of them: not for digits or letters."), {"step": 0.05, "format": "%.2f"}
    flip = field(left.toggle, f"{key}_flip", base.flip, _("Mirror"), help=half)
    meaning = _("Brightness, contrast and saturation change by up to this share.")
    colour = field(right.number_input, f"{key}_colour", base.colour, _("Colour"), 0.0, 1.0, help=meaning, **share)
    meaning = _("So many random operations on each image, such as rotating or posterising (Cubuk et al. 2020).")
    random = field(left.number_input, f"{key}_randaugment", base.randaugment, "RandAugment", 0, 8, help=meaning)
    meaning = _("Pairs of images are blended, and their labels (Zhang et al. 2018): alpha, such as 0.2; 0 is off.")
    mixup = field(right.number_input, f"{key}_mixup", base.mixup, "mixup", 0.0, 10.0, help=meaning, **share)
    meaning = _("A rectangle of one image stands in another (Yun et al. 2019): alpha, such as 1; 0 is off.")
    cutmix = field(left.number_input, f"{key}_cutmix", base.cutmix, "CutMix", 0.0, 10.0, help=meaning, **share)
    chosen = {"flip": flip, "colour": float(colour), "randaugment": int(random)}
    return {**chosen, "mixup": float(mixup), "cutmix": float(cutmix)}


def _care(base: TrainingConfig, key: str) -> dict[str, Any]:
    """Ask for class weights, the longest gradient, and when to stop."""
    st.caption(_("Care: few examples of a class, steps that go too far, training that no longer helps."))
    left, right = st.columns(2)
    meaning = _("Rare classes count as much as frequent ones in the hard loss.")
    weighed = field(left.toggle, f"{key}_class_weights", base.class_weights, _("Class weights"), help=meaning)
    meaning = _("A step whose gradient is longer is shortened to this; 0 is off.")
    longest = field(
        right.number_input, f"{key}_clip", base.clip_norm, _("Longest gradient"), 0.0, step=0.5, help=meaning
    )
    meaning = _("Training ends after so many epochs without a better one on the validation split; 0 trains all.")
    waits = field(left.number_input, f"{key}_patience", base.patience, _("Patience, epochs"), 0, 10_000, help=meaning)
    return {"class_weights": weighed, "clip_norm": float(longest), "patience": int(waits)}


def transfer_fields(base: StoryConfig, wrong: list[str]) -> TransferSetConfig:
    part, class_names = base.transfer_set, services.class_names(base.dataset)
    classes = list(range(len(class_names)))
    look: dict[str, Any] = {"step": 1.0, "format": "%.4g", "help": explained(_("transfer set"))}
    share = _("Share of the training images, %")
    percent = field(st.number_input, "fraction", 100 * part.fraction, share, 0.01, 100.0, **look)
    look = {"options": classes, "format_func": class_names.__getitem__}
    if len(classes) <= LISTED_CLASSES:
        holds, meaning = list(part.only_classes or classes), _("Remove one, and the student never sees it.")
        kept = field(st.multiselect, "classes", holds, _("Classes it holds"), help=meaning, **look)
    else:
        lacks, meaning = list(part.missing(len(classes))), _("The student never sees them.")
        left_out = field(st.multiselect, "left_out", lacks, _("Classes it leaves out"), help=meaning, **look)
        kept = [label for label in classes if label not in left_out]
    if not kept:
        wrong.append(_("a transfer set needs at least one class"))
    off = _("Off: the student reads no label, and alpha has to be 1.")
    labelled = field(st.toggle, "labelled", part.labelled, _("With labels"), help=off)
    return TransferSetConfig(
        fraction=float(percent) / 100,
        only_classes=part.only_classes if not kept else None if len(kept) == len(classes) else tuple(sorted(kept)),
        labelled=labelled,
    )


def field(widget: Callable[..., Any], name: str, start: object, label: str, *arguments: Any, **look: Any) -> Any:
    """Draw a field of the form; it starts from the story's value where the session has none for it."""
    st.session_state.setdefault(f"form_{name}", start)
    return widget(label, *arguments, key=f"form_{name}", **look)


def folded(title: str, opened: bool) -> DeltaGenerator:
    """Return an expander that starts open where opened. What is changed in it later does not fold it."""
    return st.expander(_(title), expanded=st.session_state.setdefault(f"form_opened_{title}", opened))


def _trained_teachers(story: StoryConfig) -> Sequence[Run]:
    known = pickers.trained_teachers(services.store().listing())
    named = [run for run in services.store().some(story.teachers) if run.usable]
    teachers = {run.id: run for run in (*known, *named) if run.config.dataset == story.dataset}
    return sorted(teachers.values(), key=pickers.rank)
