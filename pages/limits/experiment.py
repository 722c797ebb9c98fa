"""An experiment on the limits of distillation on the page: its question, what came of it, and how to redo it."""

import textwrap

import pandas as pd
import streamlit as st

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.experiments import defaults, table
from kd_core.experiments.limits import catalogue, outcome
from kd_core.experiments.limits.catalogue import BASELINE, Limit
from kd_core.experiments.limits.outcome import Outcome, Verdict
from kd_core.experiments.table import Redone
from pages.shared.components.chart.chart import chart
from pages.shared.figures import experiments
from pages.shared.language import _, of_error
from pages.shared.parts.missing import say_missing
from pages.shared.parts.start import choose_seeds, launch
from pages.shared.session import services
from pages.shared.session.address import chosen, selected
from pages.shared.session.pair import choose_pair
from pages.shared.words import hardware, in_language, literal

SKIP = "skip"
GUESSES = "limits_guesses"
"""In the session: experiment and data set, as the address has them -> what was predicted."""
SHOWN_AS = {"helps": (st.success, ":material/trending_up:"), "harms": (st.warning, ":material/trending_down:")}
LABEL_WIDTH = 22
"""Characters of a label in a line of the figure's axis."""


def choose() -> tuple[Limit, Redone]:
    """Ask which experiment, on which data and with how many seeds; the address keeps the choice."""
    which, data, how_many = st.columns([4, 3, 2], vertical_alignment="bottom")
    opens, others = defaults.default_dataset(), filter(paths.available, services.data_sets())
    with data:
        dataset = chosen(
            st.segmented_control,
            _("Data set"),
            [*dict.fromkeys([*catalogue.SCALES, *others])],
            name="on",
            key="limits_dataset",
            default=opens,
            required=True,
            format_func=lambda name: in_language(info_of(name).label),
        )
    with which:
        titles = {name: _(catalogue.title(name)) for name in catalogue.NAMES}
        name = selected(_("Experiment"), titles, name="experiment", key="limits_experiment")
    with how_many:
        meaning = _("With how many seeds it is redone: what ships has five.")
        seeds = choose_seeds((3, 5, 10), default=catalogue.SEEDS, key="limits_seeds", meaning=meaning)
    given = _with_pair(name, dataset)
    return given, table.redone(given.experiment, seeds, services.store().listing())


def _with_pair(name: str, dataset: str) -> Limit:
    """Ask with which pair; return the experiment, with the usual one where it cannot be made with this."""
    usual = catalogue.usual(dataset)
    try:
        return catalogue.limit(name, dataset, choose_pair(usual))
    except ConfigError as error:
        st.error(literal(of_error(error)), icon=":material/error:")
        return catalogue.limit(name, dataset)


def predicted(given: Limit) -> str | None:
    """Ask for a prediction; return it, SKIP where it was skipped, None while there is none.

    The address has the newest, and the session all of them.
    """
    kept: dict[str, str] = st.session_state.setdefault(GUESSES, {})
    place, answers = f"{given.name}.{given.dataset}", {**given.answers, SKIP: said("Just show me")}
    of, _dot, named = st.query_params.get("guess", "").rpartition(".")
    if of == place and named in answers:
        kept.setdefault(place, named)
    question, prediction = st.columns([3, 2], gap="large")
    with question:
        st.subheader(_(given.question), anchor=False)
        st.caption(_(given.setting))
    options = [*answers]
    before = options.index(kept[place]) if place in kept else None
    with prediction:
        answer: str | None = st.radio(
            _("Your prediction"),
            options,
            index=before,
            key=f"guess_{place}",
            format_func=lambda option: _(answers[option]),
        )
    if answer is None:
        st.query_params.pop("guess", None)
        return None
    kept[place] = answer
    st.query_params["guess"] = f"{place}.{answer}"
    return answer


def result(given: Limit, redo: Redone, prediction: str) -> None:
    """Show the verdict beside the claims, the figure and the table: of this machine's runs, or of what ships."""
    there = _results(given, redo)
    if there is None:
        st.info(_("Nothing of it has been trained yet."), icon=":material/science:")
        return
    verdict = outcome.verdict(given, there)
    ours, theirs = st.columns([3, 2], gap="large")
    with ours:
        if prediction != SKIP:
            st.markdown(_("You predicted: *{answer}*.", answer=given.answers[prediction]))
        show, icon = SHOWN_AS.get(verdict.word, (st.info, ":material/help:"))
        show(_of_main(given, verdict.sentence), icon=icon)
        _figure(given, there)
        if there.agreeing:
            st.markdown(_of_main(given, outcome.agreement_in_words(given, there)))
    with theirs:
        _claims(given, verdict)
    names = {_as_begun(label): _as_begun(_(label)) for label in given.labels.values()}
    rows = [(names[name], *map(_, numbers)) for name, *numbers in outcome.cells(given, there)]
    st.dataframe(pd.DataFrame(rows, columns=[*map(_, outcome.head(given, there))]), hide_index=True)
    st.caption(f"{_(outcome.note(there))} {_origin(given, redo, hardware(there.machine))}")


def _of_main(given: Limit, sentence: str) -> str:
    """A sentence of the experiment's main line, which may begin with its label."""
    return _(sentence, Main=_as_begun(_(given.labels[given.main])))


def _as_begun(label: str) -> str:
    """A label as a sentence begins with it."""
    return label[0].upper() + label[1:]


def _results(given: Limit, redo: Redone) -> Outcome | None:
    return outcome.outcome(redo, services.test_logits) if _redone(redo) else outcome.shipped(given)


def _redone(redo: Redone) -> bool:
    """Whether all its runs have finished here."""
    return not (redo.plan.to_train or redo.plan.to_resume or redo.plan.at_work)


def _origin(given: Limit, redo: Redone, machine: str) -> str:
    if not _redone(redo):
        return _("These results came with KD Lab; they were made on {machine}.", machine=machine)
    shipped = outcome.shipped(given)
    if not shipped:
        return _("Trained in this store, with {seeds} seeds. Trained on {machine}.", seeds=redo.seeds, machine=machine)
    return _(
        "Trained in this store, with {seeds} seeds. What came with KD Lab: {verdict} Trained on {machine}.",
        seeds=redo.seeds,
        verdict=_of_main(given, outcome.verdict(given, shipped).sentence).replace("**", ""),
        machine=machine,
    )


def _figure(given: Limit, there: Outcome) -> None:
    """Draw how many test errors more than the reference each kind of student makes."""
    more = outcome.differences(given, there)
    if not more:
        return
    labels = {line: _wrapped(_(given.labels[line])) for line in more}
    points = [
        (labels[line], _role(line), each.mean, *(each.interval or 2 * (each.mean,))) for line, each in more.items()
    ]
    reference = given.labels[given.reference]
    figure = experiments.objective_differences(
        points,
        axis=_("test errors more than<br>{reference}", reference=reference),
        role=_role(given.reference),
        seeds={labels[line]: each.by_seed for line, each in more.items()},
    )
    means = ", ".join(f"{_(given.labels[line])} {each.mean:+.1f}" for line, each in more.items())
    text = _("Test errors more than {reference}, means: {means}", reference=reference, means=means)
    chart(figure, key="limits_figure", text=text)
    st.caption(
        _(
            "A dot for each seed, darker where several are alike; the large one is their mean, with its 95% interval."
            " Left of the line is better."
        )
    )


def _role(line: str) -> str:
    return "baseline" if line.startswith(BASELINE) else "distilled"


def _wrapped(label: str) -> str:
    return "<br>".join(textwrap.wrap(_as_begun(label), LABEL_WIDTH))


def _claims(given: Limit, verdict: Verdict) -> None:
    for claim in given.claims:
        with st.container(border=True):
            st.markdown(f"**[{_(claim.paper)}](https://arxiv.org/abs/{claim.arxiv})**  \n{_(claim.states)}")
            st.caption(_("Read: {where}.", where=_(claim.where)))
            st.markdown(f"**{_(outcome.beside(claim, verdict.word))}**")


def redo_here(given: Limit, redo: Redone) -> None:
    """Offer to train on this machine what is missing of it."""
    st.header(_("Run it again"), anchor=False)
    if not paths.available(given.dataset):
        say_missing(given.dataset, _("The results above came with KD Lab; redoing them takes the images."))
        return
    if _redone(redo):
        st.caption(
            _(
                "All {runs} runs of {seeds} seeds are trained: they are what stands above.",
                runs=len(redo.runs),
                seeds=redo.seeds,
            )
        )
    titles = {
        run_id: _("{run}, seed {seed}", run=given.labels[line], seed=seed)
        for (line, seed), run_id in redo.plan.runs.items()
    }
    launch(redo, _("Run it again here"), curves=False, titles=titles)


def next_one(given: Limit) -> None:
    """Lead to the experiment after this one."""
    later = catalogue.NAMES[catalogue.NAMES.index(given.name) + 1 :]
    if later:
        title = _("Next: {title}", title=catalogue.title(later[0]))
        st.button(title, key="limits_next", icon=":material/arrow_forward:", on_click=_go_to, args=later[:1])


def _go_to(name: str) -> None:
    st.query_params["experiment"] = name


def look_back() -> None:
    """List what was predicted in this session beside what ships says of it."""
    kept: dict[str, str] = st.session_state[GUESSES]
    rows = []
    for place, guess in kept.items():
        name, _dot, dataset = place.partition(".")
        if dataset not in catalogue.SCALES:  # nothing ships of it
            continue
        given = catalogue.limit(name, dataset)
        there = outcome.shipped(given)
        if guess != SKIP and there is not None:
            measured = given.answers[outcome.verdict(given, there).word]
            rows.append([*map(_, (given.title, info_of(given.dataset).label, given.answers[guess], measured))])
    if rows:
        with st.expander(_("What you predicted so far")):
            columns = [_("experiment"), _("data set"), _("your prediction"), _("measured, as shipped")]
            st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True)
