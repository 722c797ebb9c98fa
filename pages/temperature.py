"""Feel temperature: one image, every model's softened bars under a slider, and what follows from them."""

import streamlit as st

from kd_core.config import HANDWRITTEN
from pages.widgets import lab, pickers
from pages.widgets.address import temperature_of_address
from pages.widgets.lesson import dark_knowledge_map, what_the_student_feels
from pages.widgets.subject import choose_subject, invitation, show_subject
from pages.widgets.temperature_bars import Bars, temperature_bars

st.title("Feel temperature")
st.markdown(
    "The teacher gives every class a number, its *logit*. Temperature divides the logits before softmax turns them into"
    " probabilities. Cold bars name a winner; warm bars say **what else it could have been**."
)

found = pickers.batches_with_teacher()
if not found:
    pickers.no_models_yet()
    st.stop()
models = pickers.with_teacher(found[pickers.batch_picker(found)])
class_names = lab.class_names_of(models[0])
temperature = temperature_of_address()

look, bars = st.columns([2, 5], gap="large")
with look:
    subject = choose_subject(models, class_names)
with bars:
    if subject is None:
        st.markdown(f"### {invitation(models)}, and its bars appear here.")
    else:
        image, soft = st.columns([2, 5], gap="medium")
        with image:
            show_subject(subject, models, class_names)
        with soft:
            temperature = temperature_bars(
                [Bars(run.config.role, subject.logits[run.id].tolist()) for run in models],
                class_names,
                subject.label,
                temperature=temperature,
                key="temperature_bars",
            )
            st.query_params["T"] = f"{temperature:g}"
    with st.expander("Hard target, soft target: what is the difference?", icon=":material/school:"):
        digit = models[0].config.dataset in HANDWRITTEN
        likeness = "that this 8 is nearer to a 9 than to a 1" if digit else "what it is like, and what it is not like"
        st.markdown(
            "The **hard target** (dashed) is the label: all or nothing. The teacher's **soft target** is the whole row"
            " of bars. At **T = 1** it is often as good as the label. Turn T **up** and the small probabilities grow:"
            f" {likeness}. A student that matches the warm bars gets, with each image,"
            f" {'ten' if len(class_names) == 10 else f'{len(class_names):,}'} numbers to learn from instead of one."
        )
        st.latex(r"p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}\qquad T = " + f"{temperature:g}")
    with st.expander("Why not as hot as possible?", icon=":material/local_fire_department:"):
        st.markdown(
            "At **T = 100** all bars are alike, whatever the image: the knowledge drowns. Large students do well with"
            " any T above about 8 in the paper's experiments; one with 30 units a layer did best between 2.5 and 4,"
            " since it cannot match everything and should not spend itself on the least likely classes (section 3)."
        )

if pickers.test_set_is_here(models):
    st.divider()
    dark_knowledge_map(models[0], temperature, class_names)
if subject is not None:
    st.divider()
    what_the_student_feels(subject, models, temperature, class_names)
