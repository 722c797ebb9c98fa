"""Choosing among what the store holds."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import streamlit as st

from kd_core.base.templates import Said, said
from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.exchange import shipped
from kd_core.experiments import story
from kd_core.runs.run import ACTIVE, STATES, Batches, Listing, Run, remembered
from kd_core.training.config import ROLES, RunConfig
from pages.shared.language import ENGLISH, _, current
from pages.shared.session import keys, services
from pages.shared.words import duration, in_language, literal, moment

COMPARED, MODELS, NOTHING = "compared", "compared_models", "none"
OPENED = "compared_opened"
"""Whether the field of MODELS has been unfolded by an address or a choice: from then on it stays so."""
PICKED, EXPERIMENTS = "batch_picker", "experiments"
EXPERIMENTS_IN_WORDS = said("Sweeps, comparisons of objectives or seeds, and runs with a mistake made on purpose.")
REFRESH_SECONDS, REFRESH_SECONDS_BESIDE = 2.0, 6.0
"""After which a page looks again for a story that it waits for, and for one that trains beside what it shows."""
MAX_COMPARED = 6
MOST_NAMED = 4
"""Runs that a sentence lists one by one."""
RUN, USABLE = "run", "usable_run"


SEARCH, MOST_OFFERED = "search", 100
"""Choices of one control: a browser is sent all of them at every run of the page."""
T = TypeVar("T")


def batches() -> Batches:
    """All batches, the newest first: id -> its runs in running order."""
    return services.store().listing().batches


def batches_with_teacher() -> Batches:
    """The batches whose trained models include a teacher."""
    return _with_teacher(services.store().listing())


@remembered
def _with_teacher(listing: Listing) -> Batches:
    known = listing.by_id

    def taught(runs: Sequence[Run]) -> bool:
        return _holds_teacher(runs) or any(taught([known[run_id]]) for run_id in _taught_by(runs) if run_id in known)

    return Batches({batch: runs for batch, runs in listing.batches.items() if taught(runs)})


@remembered
def _holds_teacher(runs: Sequence[Run]) -> bool:
    return any(run.usable and run.config.role == "teacher" for run in runs)


@remembered
def counts(listing: Listing) -> tuple[int, int]:
    """How many runs wait or train, and how many left weights."""
    return sum(run.status in ACTIVE for run in listing.runs), sum(run.usable for run in listing.runs)


@remembered
def trained_teachers(listing: Listing) -> list[Run]:
    """The teachers that left weights and make no mistake on purpose, the newest first."""
    return [run for run in listing.runs if run.config.role == "teacher" and not run.config.mistake and run.usable]


@remembered
def _taught_by(runs: Sequence[Run]) -> set[str]:
    return {teacher for run in runs if run.config.distillation for teacher in run.config.distillation.teachers}


@remembered
def _with_weights(batches: Batches) -> Batches:
    return Batches({batch: runs for batch, runs in batches.items() if any(run.usable for run in runs)})


@remembered
def _stories(batches: Batches) -> Batches:
    return Batches({batch: runs for batch, runs in batches.items() if is_story(runs)})


@remembered
def _no_experiments(batches: Batches) -> Batches:
    return Batches({batch: runs for batch, runs in batches.items() if not is_experiment(runs)})


@remembered
def is_story(runs: Sequence[Run]) -> bool:
    """Whether a batch is one story."""
    return story.is_story(_configs(runs))


@remembered
def is_experiment(runs: Sequence[Run]) -> bool:
    """Whether a batch compares many students, or makes a mistake on purpose."""
    return story.is_experiment(_configs(runs))


def some_of(options: Sequence[T], words: Callable[[T], str], always: Collection[T], *, what: str, key: str) -> list[T]:
    """What a control offers of its options: all, or of too many those that a search field leaves, the first of them.

    words: what is searched of an option. always: options that are offered whatever is searched. what: "stories",
    "sweeps" or "teachers".
    """
    if len(options) <= MOST_OFFERED:
        return [*options]
    labels = {
        "stories": _("Search {count:,} stories", count=len(options)),
        "sweeps": _("Search {count:,} sweeps", count=len(options)),
        "teachers": _("Search {count:,} teachers", count=len(options)),
    }
    placeholder = _("what it learns, settings, date, id")
    searched = st.text_input(labels[what], key=key, max_chars=100, placeholder=placeholder)
    return first_of(options, words, always, searched or "")


def first_of(options: Iterable[T], words: Callable[[T], str], always: Collection[T], searched: str) -> list[T]:
    """The first MOST_OFFERED options whose words hold what is searched, and those that are always offered."""
    sought = searched.lower().split()
    fit = (option for option in options if not sought or _holds(words(option).lower(), sought))
    first = [*islice(fit, MOST_OFFERED)]
    return first + [option for option in always if option not in first]


def _holds(text: str, words: Iterable[str]) -> bool:
    return all(word in text for word in words)


def test_set_is_here(runs: list[Run]) -> bool:
    """Whether the test set of these runs can be looked at without a network."""
    return paths.available(runs[0].config.dataset)


def batch_picker(
    candidates: Batches,
    *,
    title: str = said("Story"),
    caption: Callable[[list[Run]], str] | None = None,
    memory: str = keys.BATCH,
    opens: str | None = None,
) -> str:
    """The batch to look at: that of the address or the session, else what a page opens on.

    candidates must not be empty. caption: what a batch is called, describe by default. memory: the name under which the
    session keeps the choice. opens: what a page opens on that shows also what still trains; where it is empty, on none,
    and none is the answer.
    The address says what is chosen, and the control follows it: a choice is written there before anything else is run,
    so that none is lost. Of a choice that cannot be shown the page says why, and shows another until it can.
    """
    chosen = keys.chosen_batch(memory)
    shown = chosen if chosen is not None and chosen in candidates else opening(candidates) if opens is None else opens
    if chosen is not None and (opens is None or chosen != shown):
        _say_how_far(chosen, memory, shown)
    if memory == keys.BATCH and opens is None:
        _say_mine(chosen)
    stands = st.session_state.get(PICKED)
    moved = stands not in (None, shown)  # by a link, or on another page, whose control was another one
    if moved:
        st.session_state[PICKED] = shown or None
    stories, picker = memory == keys.BATCH, st.container()
    if stories and _has_experiments(candidates):
        picker, beside = picker.columns([3, 1], vertical_alignment="bottom")  # one above the other on a phone
        with beside:
            _offer_experiments()
    captions, search = caption or describe, SEARCH if stories else f"search_{memory}"
    place = picker
    if len(candidates) > MOST_OFFERED:
        place, picker = picker.columns([1, 3])
    with place:
        ids = _offered(candidates, [shown] if shown else [], captions, search, all_=not stories)
    picker.selectbox(
        _(title),
        ids,
        index=None if not shown else 0 if moved else ids.index(shown),
        format_func=lambda batch: _(captions(candidates[batch])),
        key=PICKED,
        placeholder=_("Choose one"),
        on_change=_choose,
        args=(memory,),
    )
    if chosen is None and shown:
        keys.open_on(shown)
    return shown


def _choose(memory: str) -> None:
    keys.choose_batch(st.session_state[PICKED], memory)
    st.query_params.pop(COMPARED, None)  # models of the experiment before


def _has_experiments(candidates: Batches) -> bool:
    return len(_no_experiments(candidates)) < len(candidates)


def _offer_experiments() -> None:
    meaning = _(EXPERIMENTS_IN_WORDS)
    st.toggle(_("Also experiments"), key=EXPERIMENTS, bind="query-params", width="content", help=meaning)


def _offered(
    candidates: Batches,
    shown: Collection[str],
    caption: Callable[[list[Run]], str],
    key: str,
    *,
    all_: bool = False,
) -> list[str]:
    """Those of these batches that are offered: experiments only where they are asked for or all_, and what is shown."""
    ids = [*candidates] if all_ else _of_the_kind(candidates, shown)
    return some_of(ids, partial(_words, candidates, caption), shown, what="stories" if not all_ else "sweeps", key=key)


def _words(candidates: Batches, caption: Callable[[list[Run]], str], batch: str) -> str:
    runs = candidates[batch]
    called = caption(runs)
    if current() != ENGLISH:
        called += f" {_(called)}"
    return " ".join((batch, called, *(f"{run.id} {run.name} {' '.join(run.tags)}" for run in runs)))


def _of_the_kind(candidates: Batches, shown: Collection[str]) -> list[str]:
    ids = [*(candidates if st.session_state.get(EXPERIMENTS) else _no_experiments(candidates))]
    return ids + [batch for batch in shown if batch not in ids]


def opening(candidates: Batches) -> str:
    """The batch that a page opens on: this browser's own last story that has finished, else the one that ships.

    Of the two that ship, that of MNIST where its images are here. Where neither is, the newest story, or the newest of
    all. candidates must not be empty.
    """
    stories, me = _stories(candidates) or candidates, services.browser()
    own = _by_owner(stories)[0].get(me, []) if me else []
    return min(own[:1] or _that_ship(stories) or [*stories][:1], key=lambda batch: max(map(rank, candidates[batch])))


@remembered
def _that_ship(batches: Batches) -> list[str]:
    return [batch for batch, runs in batches.items() if any(shipped.TAG in run.tags for run in runs)]


@remembered
def _by_owner(batches: Batches) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By browser: the batches that it asked for every run of, all with weights; and those of which any is unfinished.

    That is a run that trains, waits or was interrupted.
    """
    trained: dict[str, list[str]] = {}
    going: dict[str, list[str]] = {}
    for batch, runs in batches.items():
        trained_of, going_of = _owners(runs)
        for browsers, owned in ((trained_of, trained), (going_of, going)):
            for browser in browsers:
                owned.setdefault(browser, []).append(batch)
    return trained, going


@remembered
def _owners(runs: Sequence[Run]) -> tuple[frozenset[str], frozenset[str]]:
    unfinished = (*ACTIVE, "paused", "interrupted")
    trained = frozenset.intersection(*(frozenset(run.browsers if run.usable else ()) for run in runs))
    return trained, frozenset(browser for run in runs if run.status in unfinished for browser in run.browsers)


def rank(run: Run) -> tuple[int, ...]:
    """How soon a page starts on a run, the least first: this browser's own, those that ship as above, any other."""
    if (run.browser or run.joined) and mine(run) and run.usable:
        return (0,)
    if shipped.TAG in run.tags:
        return (1, not paths.available(run.config.dataset), run.config.dataset != "mnist")
    return (2,)


def mine(run: Run) -> bool:
    """Whether this browser asked for a run."""
    me = services.browser()
    return bool(me) and me in run.browsers


def going(candidates: Batches) -> str | None:
    """This browser's own newest story that trains, waits or was interrupted; None where none does."""
    me, stories = services.browser(), _stories(candidates)
    return next(iter(_by_owner(stories)[1].get(me, [])), None) if me else None


def _configs(runs: Iterable[Run]) -> dict[str, RunConfig]:
    return {run.id: run.config for run in runs}


def _say_mine(chosen: str | None) -> None:
    """That this browser's own story trains, on a page that was opened on another one."""
    mine = going(batches())
    if mine not in (None, chosen):
        active = [run.id for run in services.store().runs(batch=mine) if run.status in ACTIVE]
        if active:
            st.fragment(_wait, run_every=REFRESH_SECONDS_BESIDE)(mine, active, None)


def _say_how_far(batch: str, memory: str, shown: str) -> None:
    """Why a story or another kind cannot be shown, or not whole; once it can, the page is drawn anew."""
    runs = services.store().runs(batch=batch)[::-1]
    if any(run.status in ACTIVE for run in runs):
        st.fragment(_wait, run_every=REFRESH_SECONDS)(batch, [run.id for run in runs if run.status in ACTIVE], shown)
    elif batch != shown:
        sentences = [_why_not(batch, memory, runs), *([_("This is another one.")] if shown else [])]
        st.warning(literal(" ".join(sentences)), icon=":material/error:")


def _why_not(batch: str, memory: str, runs: list[Run]) -> str:
    if not runs and memory == keys.SWEEP:
        return _("There is no sweep {batch} here: it was deleted, or trained elsewhere.", batch=batch[:12])
    if not runs:
        return _("There is no story {batch} here: it was deleted, or trained elsewhere.", batch=batch[:12])
    states = _(" and ").join(dict.fromkeys(_(STATES[run.status]) for run in runs))
    return _("{story} is {states}, and has nothing to show here.", story=describe(runs), states=states)


def how_far(runs: Sequence[Run]) -> str:
    """How far runs of a batch are that wait or train: each by its name, or of more than MOST_NAMED their number."""
    active = [run for run in runs if run.status in ACTIVE]
    if len(active) <= MOST_NAMED:
        names = story.names(active)
        return ", ".join(f"{in_language(names[run.id])} {run.progress:.0%}" for run in active)
    return _(
        "{count} runs: {finished} finished, {active} at {mean:.0%}",
        count=len(runs),
        finished=sum(run.status == "finished" for run in runs),
        active=len(active),
        mean=sum(run.progress for run in active) / len(active),
    )


def _wait(batch: str, active: list[str], shown: str | None) -> None:
    """shown: the batch that stands in its place, or is it, or none (""); None where this one is not the page's own."""
    runs = services.store().runs(batch=batch)[::-1]
    going = [run for run in runs if run.status in ACTIVE]
    if {run.id for run in going} != {*active}:
        st.rerun(scope="app")
    until = (
        _("They appear here by themselves.")
        if batch == shown
        else _("This is another one.")
        if shown is None
        else _("This is another one: it appears here by itself.")
        if shown
        else _("It appears here by itself.")
    )
    st.info(literal(f"{_still_training(runs, mine=shown is None)} {until}"), icon=":material/hourglass:")
    if shown is None:
        address = {keys.BATCH: batch, keys.VIEW: keys.WATCH}
        label, icon = _("Watch yours"), ":material/show_chart:"
        st.page_link("pages/train/page.py", label=label, icon=icon, query_params=address)


def _still_training(runs: list[Run], *, mine: bool) -> str:
    left = seconds_left(run for run in runs if run.status in ACTIVE)
    values: dict[str, str] = {"story": describe(runs), "how_far": how_far(runs)}
    if left is None and mine:
        return _("Yours, {story} is still training ({how_far}).", **values)
    if left is None:
        return _("{story} is still training ({how_far}).", **values)
    values["time"] = duration(left)
    if mine:
        return _("Yours, {story} is still training ({how_far}), ready in about {time}.", **values)
    return _("{story} is still training ({how_far}), ready in about {time}.", **values)


@remembered
def describe(runs: Sequence[Run]) -> Said:
    """One line for a batch: on what, which student and settings, when; in English, until _ translates it."""
    last = runs[-1].config
    role, model = ROLES[last.role], last.model.label
    if is_experiment(runs):
        count = sum(run.config.role == last.role for run in runs)
        what = said("{count} {role}, {model}", count=count, role=role, model=model)
    elif last.distillation:
        what = said("{role} {model}, {settings}", role=role, model=model, settings=last.distillation.label)
    else:
        what = said("{role} {model}", role=role, model=model)
    if shipped.TAG in runs[0].tags:
        came = said("comes with KD Lab")
    else:
        came = said("{when} · {id}", when=moment(runs[0].created_at), id=runs[0].batch[:4])
    mistake = next((run.config.mistake_said for run in runs if run.config.mistake), "")
    return said(
        "{dataset}: {what}{mistake} · {came}",
        dataset=info_of(last.dataset).label,
        what=what,
        mistake=mistake,
        came=came,
    )


def told_apart(runs: Iterable[Run]) -> dict[str, str]:
    """Labels of runs by id, each another: who gives a run another's name must not be chosen in its place."""
    labels = {run.id: in_language(run.label) for run in runs}
    count = Counter(labels.values())
    return {run_id: label if count[label] == 1 else f"{label} · {run_id}" for run_id, label in labels.items()}


def no_models_yet() -> None:
    """What a page says before anything was trained."""
    sentence = _("There is no trained model yet. The quick demo makes three in under a minute.")
    st.info(sentence, icon=":material/science:")
    st.page_link("pages/overview/page.py", label=_("To the quick demo"), icon=":material/play_arrow:")


def linked(runs: list[Run]) -> list[Run]:
    """All runs of a batch's story: its own, its distilled students' teachers and, where it has none, the same baseline.

    The last two may have been trained before, in another batch.
    """
    story_runs = {run.id: run for run in runs}
    pending = list(runs)
    while pending:  # an assistant's teachers too
        distillation = pending.pop().config.distillation
        teachers = services.store().some(distillation.teachers if distillation else ())
        new = [run for run in teachers if run.id not in story_runs]
        story_runs |= {run.id: run for run in new}
        pending += new
    distilled = [run for run in runs if run.config.role == "distilled"]
    if distilled and not any(run.config.role == "baseline" for run in runs):
        alike = story.baseline_beside(distilled[-1].settled)
        beside = services.store().listing().serving().get(alike)
        story_runs |= {} if beside is None else {beside.id: beside}
    order, between = {"teacher": 0, "baseline": 1, "distilled": 2}, _assistants(story_runs.values())
    return sorted(story_runs.values(), key=lambda run: (order[run.config.role], run.id not in between))


def _assistants(runs: Iterable[Run]) -> set[str]:
    return story.assistants({run.id: run.config for run in runs})


def with_teacher(runs: list[Run]) -> list[Run]:
    """The runs of a batch's story that left weights, those on another data set than the first left out."""
    usable = [run for run in linked(runs) if run.usable]
    return [run for run in usable if run.config.dataset == usable[0].config.dataset]


def comparison() -> list[Run]:
    """The runs to compare: those of an experiment, changed as one likes. The first is what others are held to.

    Says what cannot be compared, and why; stops the page where nothing is left.
    """
    candidates = _with_weights(batches())
    if not candidates:
        no_models_yet()
        st.stop()
    batch = batch_picker(candidates)
    default = [run.id for run in with_teacher(candidates[batch])][:MAX_COMPARED]
    compared = _of_address() or ([] if st.query_params.get(COMPARED) == NOTHING else default)
    searched = st.session_state.get(SEARCH, "")
    offered = first_of(_of_the_kind(candidates, [batch]), partial(_words, candidates, describe), [batch], searched)
    usable = _usable_of(candidates, offered, compared)
    labels = told_apart(usable.values())
    if st.session_state.get(MODELS) != compared:
        st.session_state[MODELS] = compared
    opened = st.session_state[OPENED] = st.session_state.get(OPENED, False) or COMPARED in st.query_params
    picked = st.expander(_("Choose the models"), expanded=opened).multiselect(
        _("Models"),
        list(labels),
        key=MODELS,
        format_func=labels.__getitem__,
        max_selections=MAX_COMPARED,
        help=_("The first teacher, or else the first of all, is what the others are held to."),
        on_change=_choose_models,
        args=(default,),
    )
    runs = sorted((usable[run_id] for run_id in picked), key=lambda run: run.config.role != "teacher")
    if not runs:
        st.info(_("Choose the models to compare."), icon=":material/balance:")
        st.stop()
    strangers = [run for run in runs if run.config.dataset != runs[0].config.dataset]
    if strangers:
        st.error(
            literal(
                _(
                    "{label} was tested on {dataset}, but {others} was not: compare models of one data set. Take one"
                    " side out.",
                    label=runs[0].label,
                    dataset=info_of(runs[0].config.dataset).label,
                    others=", ".join(in_language(run.label) for run in strangers),
                )
            ),
            icon=":material/error:",
        )
        st.stop()
    return runs


def _choose_models(default: list[str]) -> None:
    picked = st.session_state[MODELS]
    if picked == default:
        st.query_params.pop(COMPARED, None)
    else:
        st.query_params[COMPARED] = ",".join(picked) or NOTHING


def _usable_of(candidates: Batches, named: Iterable[str], others: Iterable[str]) -> dict[str, Run]:
    """The runs with weights of these batches, the newest first, and others by id."""
    runs = [run for batch in named for run in reversed(candidates[batch])]
    return {run.id: run for run in (*runs, *services.store().some([*others])) if run.usable}


def _of_address() -> list[str]:
    """The runs that the address names; a sentence on each that cannot be compared."""
    named = [run_id for run_id in st.query_params.get(COMPARED, "").split(",") if run_id not in ("", NOTHING)]
    say_what_is_not_here(named[:MAX_COMPARED], _("It is left out."), lambda run: run.usable)
    return [run.id for run in services.store().some(named[:MAX_COMPARED]) if run.usable]


def say_what_is_not_here(named: Sequence[str], instead: str, shows: Callable[[Run], bool] = lambda run: True) -> None:
    """A sentence on each run that an address names and that is not here, or that the page does not show."""
    known = {run.id: run for run in services.store().some(named)}
    for run_id in named:
        if run_id not in known:
            text = _("There is no run {run} here: it was deleted, or trained elsewhere.", run=run_id[:12])
        elif not shows(known[run_id]):
            text = _why_no_run(known[run_id])
        else:
            continue
        st.warning(literal(f"{text} {_(instead)}"), icon=":material/error:")


def _why_no_run(run: Run) -> str:
    status = STATES[run.status]
    if run.status not in ACTIVE:
        return _("{label} is {status}: it left no weights.", label=run.label, status=status)
    left = seconds_left([run])
    if left is None:
        return _(
            "{label} is {status}: wait until it has ended ({share:.0%} done).",
            label=run.label,
            status=status,
            share=run.progress,
        )
    return _(
        "{label} is {status}: wait until it has ended ({share:.0%} done, ready in about {time}).",
        label=run.label,
        status=status,
        share=run.progress,
        time=duration(left),
    )


def usable_run(title: str) -> Run:
    """One trained run to choose, that of the address or the session's experiment first; stops the page without any.

    Without either it is the distilled student of what pages open on.
    """
    candidates = _with_weights(batches())
    if not candidates:
        no_models_yet()
        st.stop()
    batch, named = keys.chosen_batch(), st.query_params.get(RUN)
    batch = batch if batch is not None and batch in candidates else opening(candidates)
    say_what_is_not_here([named] if named else [], _("This is another one."), lambda run: run.usable)
    _say_mine(batch)
    if _has_experiments(candidates):
        _offer_experiments()
    offered = _offered(candidates, [batch], describe, SEARCH)
    usable = _usable_of(candidates, offered, [named] if named else [])
    labels = told_apart(usable.values())

    def near(run_id: str) -> tuple[bool, bool, bool]:
        run = usable[run_id]
        return run_id != named, run.batch != batch, run.config.role != "distilled"

    ids = sorted(labels, key=near)
    if st.session_state.get(USABLE) not in (None, ids[0]):
        st.session_state[USABLE] = ids[0]
    picked: str = st.selectbox(_(title), ids, format_func=labels.__getitem__, key=USABLE, on_change=_choose_run)
    if named is None:
        st.query_params[RUN] = picked
    return usable[picked]


def _choose_run() -> None:
    st.query_params[RUN] = st.session_state[USABLE]


def seconds_left(runs: Iterable[Run]) -> float | None:
    """In how long these runs of the queue are expected to end, those before them included; None where nobody knows."""
    spans = services.queue_forecast()
    ends = max((spans[run.id].ends if run.id in spans else math.inf for run in runs), default=math.inf)
    return ends if math.isfinite(ends) else None


FEWEST_STUDENTS = 2
"""Distilled ones in a batch that is shown as a sweep; a story has one."""


@remembered
def is_sweep(runs: Sequence[Run]) -> bool:
    """Whether a batch is shown as a grid: T and alpha are what its students differ in, and not for "Break it"."""
    objectives = [run.config.distillation.objective for run in runs if run.config.distillation]
    mistaken = any(run.config.mistake for run in runs)
    return len(objectives) >= FEWEST_STUDENTS and len({*objectives}) == 1 and not mistaken
