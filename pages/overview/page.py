"""What this is, how the lab stands, and the whole story at the press of one button."""

from collections.abc import Mapping
from itertools import islice

import streamlit as st

from kd_core.data.catalogue import DATASETS, HANDWRITTEN
from kd_core.experiments import comparison, presets
from kd_core.experiments import story as experiments_story
from kd_core.training.config import RunConfig
from pages.overview.interrupted import interrupted, link_to
from pages.shared import tour
from pages.shared.access import rights
from pages.shared.live.live import live_view
from pages.shared.parts.button import filled, pressed
from pages.shared.parts.start import choose_data_set, expected_time
from pages.shared.session import keys, pickers, services
from pages.shared.words import literal

REFRESH_SECONDS = 3.0


@st.fragment(run_every=REFRESH_SECONDS)
def _takes(to_train: Mapping[str, RunConfig], dataset: str) -> None:
    takes = expected_time(to_train) or f"about {10 if dataset == 'digits' else 45} seconds on two free cores"
    st.caption(f"Takes {takes}.")


@st.fragment(run_every=REFRESH_SECONDS)
def _right_now() -> None:
    batches = pickers.batches()
    going, with_weights = pickers.counts(services.store().listing())
    active, trained = st.columns(2)
    active.metric("In the queue or training", going)
    trained.metric("Trained models", with_weights)
    crew = services.jobs().crew()
    if len(crew) > 1:
        workers = [busy for host in crew.values() for busy in host]
        st.caption(f"{len(workers)} workers on {len(crew)} machines, {sum(workers)} of them at work")
    for batch_runs in islice(batches.values(), 5):
        states = ", ".join(dict.fromkeys(run.status for run in batch_runs))
        link_to(batch_runs, states)
    if not batches:
        st.markdown("Nothing has been trained here yet. Press the button.")


st.title("See what a teacher knows")
st.markdown(
    "A trained network says more than *this is a 2*: it also says how much like a 7, a 3 or a 0 this 2 looks."
    " **Knowledge distillation** lets a small student learn from these soft targets. Here you can watch it happen:"
    " soften a teacher with temperature, train a student with and without it, and compare the two honestly."
)
tour.start()
interrupted()

demo, state = st.columns([3, 2], gap="large")

with demo, st.container(border=True):
    st.subheader("Quick demo")
    st.markdown(
        "Trains a **teacher**, a **baseline** student (labels alone) and a **distilled** student (labels and the"
        " teacher's soft targets) on real handwritten digits. Both students are the same network with the same start."
    )
    dataset = choose_data_set([name for name in DATASETS if name in HANDWRITTEN], key="demo_dataset", last=True)
    story = presets.quick_demo(dataset)
    if not story.transfer_set.whole:
        st.markdown(
            f"Both students see the same {story.transfer_set.fraction:.0%} of the images that the teacher learned"
            " from: where images are few, a teacher helps most."
        )
    to_train = experiments_story.plan(story).to_train
    if pressed("Run the quick demo", type=filled("quick_demo"), key="quick_demo", icon=":material/play_arrow:"):
        ids = rights.submit(to_train)
        keys.choose_batch(services.store().get(ids[-1]).batch)
        st.rerun()
    _takes(to_train, dataset)
    st.page_link("pages/data/page.py", label="Or bring images of your own", icon=":material/photo_library:")

batch = keys.chosen_batch() or ""
batches = pickers.batches()
if batch in batches:
    with demo:
        live_view(pickers.linked(batches[batch]), curves=False, key="demo")
        if all(run.usable for run in batches[batch]):
            headline = comparison.compare(pickers.with_teacher(batches[batch])).headline(literal)
            st.success(headline, icon=":material/celebration:")
        see, feel, compare = st.columns(3)
        watched = {keys.VIEW: keys.WATCH}
        see.page_link(
            "pages/train/page.py", label="Watch the curves", icon=":material/show_chart:", query_params=watched
        )
        feel.page_link("pages/temperature/page.py", label="Feel temperature", icon=":material/thermostat:")
        compare.page_link("pages/compare/page.py", label="Compare the three", icon=":material/balance:")

with state, st.container(border=True):
    st.subheader("The lab right now")
    _right_now()

st.divider()
ways = (
    ("temperature", "Feel temperature", ":material/thermostat:",
     "Drag T and watch the teacher's bars soften: you see which other classes it considered."),
    ("train", "Distill live", ":material/model_training:",
     "Pick temperature and alpha, press one button, and watch three networks learn side by side."),
    ("compare", "Compare honestly", ":material/balance:",
     "Test errors with their interval, size, multiply-adds and measured speed, each against the teacher."),
)  # fmt: skip
for column, (page, title, icon, what) in zip(st.columns(3, gap="large"), ways, strict=True):
    column.page_link(f"pages/{page}/page.py", label=f"**{title}**", icon=icon)
    column.markdown(what)
