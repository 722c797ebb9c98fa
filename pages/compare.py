"""Compare honestly: teacher, baseline and distilled student on the same work, each against the teacher."""

import streamlit as st

from kd_core import evaluation, figures
from kd_core.runs import Run
from pages.widgets import lab, pickers
from pages.widgets.chart import chart
from pages.widgets.results import accuracy_of, headline
from pages.widgets.speeds import measured_speeds
from pages.widgets.tables import comparison_table

st.title("Compare honestly")

found = {batch: runs for batch, runs in pickers.batches().items() if any(run.usable for run in runs)}
if not found:
    pickers.no_models_yet()
    st.stop()

models = pickers.with_teacher(found[pickers.batch_picker(found)])
reference = models[0]
st.markdown(headline(models))


def card(run: Run) -> None:
    errors, examples = run.results["test_errors"], run.results["test_examples"]
    low, high = evaluation.wilson_interval(examples - errors, examples)
    with st.container(border=True):
        st.markdown(f"**{run.config.role}** · {run.config.model.label}")
        st.metric("Test errors", f"{errors:,} of {examples:,}")
        st.markdown(
            f"accuracy **{accuracy_of(run):.2%}** (95% interval {low:.2%} to {high:.2%})  \n"
            f"{run.results['parameters']:,} parameters · {run.results['size_bytes'] / 1e6:.2f} MB  \n"
            f"{run.results['multiply_adds']:,} multiply-adds an image"
        )


for column, run in zip(st.columns(len(models)), models, strict=True):
    with column:
        card(run)

st.subheader("Speed, measured side by side")
measured_speeds(models)

labels = lab.test_set(reference.config.dataset)[1]
logits = {run.id: lab.test_logits(run.id) for run in models if run.config.dataset == reference.config.dataset}

st.subheader("Everything against the first")
comparison_table(models, logits)

st.subheader("Where they go wrong")
for column, run in zip(st.columns(len(logits)), [run for run in models if run.id in logits], strict=True):
    with column:
        st.markdown(f"**{run.config.role}**, {run.results['test_errors']:,} mistakes")
        matrix = evaluation.confusion_matrix(logits[run.id], labels)
        chart(
            figures.confusion(matrix, [str(digit) for digit in range(10)], run.config.role),
            key=f"confusion_{run.id}",
            text=f"Mistakes of the {run.config.role} by true class and top class",
        )
