"""Feel temperature: one test image, every model's softened bars, and a slider that moves them at once."""

import numpy as np
import streamlit as st

from kd_core.evaluation import entropy_bits, predictions, softened
from pages.widgets import lab, pickers
from pages.widgets.images import picture
from pages.widgets.temperature_bars import Bars, temperature_bars

st.title("Feel temperature")
st.markdown(
    "The teacher gives every class a number, its *logit*. Temperature divides the logits before softmax turns them into"
    " probabilities. Cold bars name a winner; warm bars say **what else it could have been**."
)

found = {
    batch: runs
    for batch, runs in pickers.batches().items()
    if any(run.config.role == "teacher" for run in pickers.with_teacher(runs))
}
if not found:
    pickers.no_models_yet()
    st.stop()

models = pickers.with_teacher(found[pickers.batch_picker(found)])
dataset = models[0].config.dataset
models = [run for run in models if run.config.dataset == dataset]
images, labels = lab.test_set(dataset)
logits = {run.id: lab.test_logits(run.id) for run in models}

look, bars = st.columns([1, 3], gap="large")

with look:
    wanted = st.selectbox(
        "True class", ["any", *range(10)], key="class", bind="query-params", help="Show test images of one class only."
    )
    ambiguous = st.toggle(
        "Most ambiguous first", value=True, key="ambiguous", help="By the entropy of the teacher's bars at T = 1."
    )
    candidates = np.flatnonzero(labels == wanted) if wanted != "any" else np.arange(len(labels))
    if ambiguous:
        entropy = entropy_bits(softened(logits[models[0].id][candidates], 1.0))
        candidates = candidates[np.argsort(-entropy, kind="stable")]
    place = int(
        st.number_input(
            f"Image, 1 to {len(candidates):,}",
            min_value=1,
            max_value=len(candidates),
            key=f"image_{dataset}_{wanted}",
            persist_state="session",
        )
    )
    index = int(candidates[place - 1])
    st.image(picture(images[index]), width=196, caption=f"test image {index}, a {labels[index]}")
    for run in models:
        top = predictions(logits[run.id][index : index + 1])[0]
        mark = ":material/check:" if top == labels[index] else ":material/close:"
        st.markdown(f"{mark} {run.config.role} says **{top}**")

with bars:
    temperature = temperature_bars(
        [Bars(run.config.role, logits[run.id][index]) for run in models],
        [str(digit) for digit in range(10)],
        int(labels[index]),
        temperature=1.0,
        key="temperature_bars",
    )

with st.expander("What am I looking at?", icon=":material/school:"):
    st.markdown(
        "**T = 1** is the ordinary softmax. **T below 1** sharpens it towards the winner alone, which is all that the"
        " dashed *hard target* ever says. **T above 1** lifts the small probabilities, and with them the *dark"
        " knowledge*: that this 2 is nearer to a 3 than to a 9. **T very large** makes all classes alike, and the"
        " knowledge drowns.\n\n"
        "A student that learns from the warm bars gets, with each image, ten numbers to match instead of one label."
        " Which T serves best depends on the student: small ones do better with less (Hinton et al., section 3)."
    )
    st.latex(r"p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}\qquad T = " + f"{temperature:g}")
