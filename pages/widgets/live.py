"""The live view of a batch of linked runs: progress, controls and learning curves, refreshed while any of them runs."""

import streamlit as st

from kd_core import figures
from kd_core.jobs import Request
from kd_core.runs import ACTIVE, RESUMABLE, Run
from pages.widgets import lab
from pages.widgets.chart import chart

REFRESH_SECONDS = 0.5
FIRST_POINT_SECONDS = 0.15
"""How often to look for the first record, while there is none."""

STATUS_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "paused": ":material/pause_circle:",
    "finished": ":material/check_circle:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "interrupted": ":material/power_off:",
}


def live_runs(batch: str) -> None:
    """Progress, controls and curves of one batch. Refreshes itself, and only itself, while a run is active."""
    st.fragment(_live_runs, run_every=_refresh_seconds(batch))(batch, _refresh_seconds(batch))


def live_progress(batch: str) -> None:
    """Progress and controls alone, for a page where the curves are not the point."""
    st.fragment(_live_progress, run_every=_refresh_seconds(batch))(batch, _refresh_seconds(batch))


def _refresh_seconds(batch: str) -> float | None:
    """How long a batch's view stays fresh: None once nothing runs."""
    runs = lab.store().runs(batch=batch)
    if not any(run.status in ACTIVE for run in runs):
        return None
    return REFRESH_SECONDS if any(run.step for run in runs) else FIRST_POINT_SECONDS


def _live_runs(batch: str, refresh_seconds: float | None) -> None:
    runs = _live_progress(batch, refresh_seconds)
    part = st.segmented_control(
        "Which loss",
        list(figures.PARTS),
        format_func=lambda name: figures.PARTS[name],
        default="loss",
        key="live_part",
        label_visibility="collapsed",
    )
    curves = [
        figures.Curve(
            _name(run), run.config.role, lab.store().records(run.id, "step"), lab.store().records(run.id, "epoch")
        )
        for run in runs
    ]
    if any(curve.steps or curve.epochs for curve in curves):
        epochs = max(run.config.training.epochs for run in runs)
        figure = figures.learning_curves(curves, part=part or "loss", epochs=epochs)
        chart(figure, key="live_curves", text=f"Learning curves of {len(curves)} runs: {_summary(runs)}")
    else:
        st.info("The curves start with the first training step.", icon=":material/show_chart:")


def _live_progress(batch: str, refresh_seconds: float | None) -> list[Run]:
    runs = lab.store().runs(batch=batch)[::-1]
    for run in runs:
        _row(run)
    if refresh_seconds is not None and refresh_seconds != _refresh_seconds(batch):
        st.rerun(scope="app")  # another rhythm now; after the last refresh the page around may show results
    return runs


def _row(run: Run) -> None:
    name, progress, buttons = st.columns([5, 7, 3], vertical_alignment="center", gap="small")
    name.markdown(f"{STATUS_ICONS[run.status]} **{run.config.role}**  \n:small[{_details(run)}]")
    progress.progress(1.0 if run.status == "finished" else run.progress, text=_progress_text(run))
    with buttons, st.container(horizontal=True, gap="small"):
        if run.status in ACTIVE:
            requests: tuple[tuple[Request, str], ...] = (("pause", ":material/pause:"), ("stop", ":material/stop:"))
            for request, icon in requests:
                if st.button(
                    "",
                    key=f"{request}_{run.id}",
                    icon=icon,
                    help=f"{request.capitalize()} the {run.config.role}; what it learned is kept",
                    disabled=bool(run.request),
                ):
                    lab.jobs().ask(run.id, request)
        elif run.status in RESUMABLE and st.button(
            "", key=f"resume_{run.id}", icon=":material/play_arrow:", help=f"Resume the {run.config.role}"
        ):
            lab.jobs().resume(run.id)
            st.rerun(scope="app")
    if run.status in ("failed", "interrupted", "stopped") and run.message:
        st.warning(run.message, icon=STATUS_ICONS[run.status])


def _details(run: Run) -> str:
    distillation = run.config.distillation
    settings = f", T {distillation.temperature:g}, alpha {distillation.alpha:g}" if distillation else ""
    return f"{run.config.model.label}{settings}"


def _name(run: Run) -> str:
    return f"{run.config.role} · {run.config.model.label}"


def _progress_text(run: Run) -> str:
    if run.status == "running" and run.request:
        return f"{'Stopping' if run.request == 'stop' else 'Pausing'} at the next step"
    if run.status == "queued":
        return run.message or "Waiting for its turn"
    if run.results:
        return f"{run.status}: {run.results['test_errors']:,} test errors of {run.results['test_examples']:,}"
    if run.message and run.status == "running":
        return run.message
    epochs = run.config.training.epochs
    return f"{run.status}: epoch {min(epochs, int(run.progress * epochs) + 1)} of {epochs}"


def _summary(runs: list[Run]) -> str:
    return "; ".join(f"{_name(run)} {_progress_text(run)}" for run in runs)
