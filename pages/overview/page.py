"""A doubtful digit under the hand, how the lab stands, and the whole story at the press of one button."""

from collections.abc import Mapping
from itertools import islice

import streamlit as st

from kd_core.data.catalogue import DATASETS, HANDWRITTEN
from kd_core.experiments import comparison, presets
from kd_core.experiments import story as experiments_story
from kd_core.runs.run import STATES
from kd_core.training.config import RunConfig
from pages.overview.interrupted import interrupted, link_to
from pages.overview.opening import first_screen
from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.live.live import live_view
from pages.shared.parts.button import acting, filled, pressed
from pages.shared.parts.start import choose_data_set, expected_time
from pages.shared.session import keys, pickers, services
from pages.shared.words import in_language, literal

REFRESH_SECONDS = 6.0


@st.fragment(run_every=REFRESH_SECONDS)
def _takes(to_train: Mapping[str, RunConfig], dataset: str) -> None:
    guess = _("about {seconds} seconds on two free cores", seconds=10 if dataset == "digits" else 45)
    st.caption(_("Takes {time}.", time=expected_time(to_train) or guess))


@st.fragment(run_every=REFRESH_SECONDS)
def _right_now() -> None:
    batches = pickers.batches()
    going, with_weights = pickers.counts(services.store().listing())
    crew = services.jobs().crew()
    workers = [busy for host in crew.values() for busy in host]
    now = _(
        "The lab right now: {going} in the queue or training, {trained} trained models.",
        going=going,
        trained=with_weights,
    )
    if len(crew) > 1:
        now += " " + _(
            "{workers} workers on {machines} machines, {busy} of them at work.",
            workers=len(workers),
            machines=len(crew),
            busy=sum(workers),
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(now)
        for batch_runs in islice(batches.values(), 1):
            link_to(batch_runs, ", ".join(dict.fromkeys(_(STATES[run.status]) for run in batch_runs)))
    if not batches:
        st.caption(_("Nothing has been trained here yet: run the quick demo."))


st.title(_("See what a teacher knows"), anchor=False)
first_screen()
_right_now()
interrupted()

demo = st.container()
with demo, st.container(border=True):
    st.header(_("Quick demo"), anchor=False)
    st.markdown(
        _(
            "Trains a **teacher**, a **baseline** student (labels alone) and a **distilled** student (labels and the"
            " teacher's soft targets) on real handwritten digits. Both students are the same network with the same"
            " start."
        )
    )
    dataset = choose_data_set([name for name in DATASETS if name in HANDWRITTEN], key="demo_dataset", last=True)
    story = presets.quick_demo(dataset)
    if not story.transfer_set.whole:
        st.markdown(
            _(
                "Both students see the same {share:.0%} of the images that the teacher learned from: where images are"
                " few, a teacher helps most.",
                share=story.transfer_set.fraction,
            )
        )
    to_train = experiments_story.plan(story).to_train
    if pressed(_("Run the quick demo"), type=filled("quick_demo"), key="quick_demo", icon=":material/play_arrow:"):
        with acting():
            ids = rights.submit(to_train)
            keys.choose_batch(services.store().get(ids[-1]).batch)
        st.rerun()
    _takes(to_train, dataset)
    st.page_link("pages/data/page.py", label=_("Or bring images of your own"), icon=":material/photo_library:")

batch = keys.chosen_batch() or ""
batches = pickers.batches()
if batch in batches:
    with demo:
        live_view(pickers.linked(batches[batch]), curves=False, key="demo")
        if all(run.usable for run in batches[batch]):
            headline = comparison.compare(pickers.with_teacher(batches[batch])).headline(
                lambda name: literal(in_language(name))
            )
            st.success(_(headline), icon=":material/celebration:")
        see, feel, compare = st.columns(3)
        watched = {keys.VIEW: keys.WATCH}
        see.page_link(
            "pages/train/page.py", label=_("Watch the curves"), icon=":material/show_chart:", query_params=watched
        )
        feel.page_link("pages/temperature/page.py", label=_("Feel temperature"), icon=":material/thermostat:")
        compare.page_link("pages/compare/page.py", label=_("Compare the three"), icon=":material/balance:")
