"""Feel temperature: one image, every model's softened bars under a slider, and what follows from them."""

import streamlit as st

from kd_core.data.catalogue import HANDWRITTEN
from kd_core.experiments import story
from pages.shared.components.temperature_bars.temperature_bars import Bars, temperature_bars
from pages.shared.parts.naming import shades
from pages.shared.session import pickers, services
from pages.shared.session.address import temperature_of_address
from pages.temperature.dark_knowledge import dark_knowledge_map, likeness_of
from pages.temperature.gradient import what_the_student_feels
from pages.temperature.subject import choose_subject, show_subject

st.title("Feel temperature")
st.markdown(
    "The teacher gives every class a number, its *logit*. Temperature divides the logits before softmax turns them into"
    " probabilities. At a low T the bars name a winner; at a higher T you see **which other classes the teacher"
    " considered**."
)

batches = pickers.batches_with_teacher()
if not batches:
    pickers.no_models_yet()
    st.stop()
models = pickers.with_teacher(batches[pickers.batch_picker(batches)])
class_names = services.class_names_of(models[0])
names, colours = story.names(models), shades(models)
temperature = temperature_of_address()

look, bars = st.columns([2, 5], gap="large")
with look:
    subject = choose_subject(models, class_names)
with bars:
    if subject is None:
        drawn = models[0].config.dataset in HANDWRITTEN
        do = "Pick, draw or upload a digit" if drawn else "Pick or upload an image"
        st.markdown(f"### {do}, and its bars appear here.")
    else:
        image, soft = st.columns([2, 5], gap="medium")
        with image:
            show_subject(subject, models, class_names)
        with soft:
            temperature_bars(
                [Bars(names[run.id], colours[run.id], subject.logits[run.id].tolist()) for run in models],
                class_names,
                subject.label,
                key="temperature_bars",
            )
    with st.expander("Hard target, soft target: what is the difference?", icon=":material/school:"):
        likeness = None if subject is None else likeness_of(subject.logits[models[0].id], class_names)
        st.markdown(
            "The **hard target** (dashed) is the label: all or nothing. The teacher's **soft target** is the whole row"
            " of bars. At **T = 1** it is often almost identical to the label. Turn T **up** and the small"
            f" probabilities grow: you see {likeness or 'which other classes the image is like'}. A student that"
            " matches the softened bars gets, with each image,"
            f" {'ten' if len(class_names) == 10 else f'{len(class_names):,}'} numbers to learn from instead of one"
            " label."
        )
        st.latex(r"p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}\qquad T = " + f"{temperature:g}")
    with st.expander("Why not a T as high as possible?", icon=":material/local_fire_department:"):
        st.markdown(
            "At **T = 100** all bars look alike, but their order stays, and T² in the loss restores the scale of what"
            " they differ by: nothing is lost. The student then has to match every logit, the least likely classes' as"
            " closely as the likeliest's. That takes a student large enough: in the paper, students of 300 units or"
            " more a layer did about equally well at every T above 8, and one of 30 did best between 2.5 and 4 (section"
            " 3). The paper's reason: a student too small for all its teacher knows does better to pass over the very"
            " negative logits, as a lower T lets it (section 2.1)."
        )

if pickers.test_set_is_here(models):
    st.divider()
    dark_knowledge_map(models[0], temperature, class_names)
if subject is not None:
    st.divider()
    what_the_student_feels(subject, models, temperature, class_names)
