"""The live view of linked runs: progress, buttons and learning curves.

The browser asks the server's /live route for what is new (server.py), so that watching reruns no script:
Python hears only what its user presses, and that a run has changed its state.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from kd_core.experiments import story
from kd_core.runs.run import ACTIVE, RESUMABLE, Run
from kd_core.training.mistakes import MISTAKES
from pages.shared.access import rights
from pages.shared.components.chart.chart import LABELS_JS, PLOTLY_JS, as_json
from pages.shared.components.common.browser import COMMON_JS, Component
from pages.shared.figures import curves as figures_curves
from pages.shared.figures import style
from pages.shared.figures.curves import Curve
from pages.shared.language import _, current
from pages.shared.parts.naming import shades
from pages.shared.session import services
from pages.shared.session.address import callbacks, event_of, number
from pages.shared.words import explained, refusals


def live_view(
    runs: Sequence[Run],
    *,
    curves: bool = True,
    panels: Sequence[str] = tuple(figures_curves.PANELS),
    key: str,
    titles: Mapping[str, str] | None = None,
) -> None:
    """Show how runs stand, and their curves where wanted, for as long as the page is open.

    panels: of figures.curves.PANELS. titles: run id -> what it is called here, where its name or role does not say
    enough.

    The script runs again when one of them changes its state, so that what stands around the view can follow.
    """
    kinds = [run.config.kind for run in runs]
    colours, dashes, names = shades(runs), style.dashes_of(kinds), story.names(runs)
    shown = {
        "runs": [
            {
                "id": run.id,
                "role": _(run.config.role),
                "title": (titles or {}).get(run.id) or _(names[run.id]),
                "details": _details(run),
                "colour": colours[run.id],
                "dash": dash,
                "yours": rights.may_control(run),
                "mine": services.browser() in run.browsers,
            }
            for run, dash in zip(runs, dashes, strict=True)
        ],
        "statuses": ",".join(f"{run.id}:{run.status}" for run in runs),
        "panels": [*panels],
        "unjudged": bool(runs) and all(run.config.training.validation_fraction == 0 for run in runs),
    }
    if curves:
        lines = tuple(Curve(run.id, _(names[run.id]), kind) for run, kind in zip(runs, kinds, strict=True))
        distilled = [run.config.distillation for run in runs if run.config.distillation is not None]
        nats = all(distillation.info.nats for distillation in distilled)
        shown["look"] = {
            "smoothing": number("smoothing", 0, 0, 0.98),
            "axis": "linear" if st.query_params.get("axis") == "linear" else "log",
            "points": "epoch" if st.query_params.get("points") == "epoch" else "step",
        }
        shown["figure"], shown["narrow"] = _figure(
            lines, tuple(panels), max(run.config.training.epochs for run in runs), nats, current()
        )
        if nats:
            st.caption(_("Losses are in nats."), help=explained("nats"))
    with st.container(key=f"{'curves' if curves else 'rows'}_{key}"):  # frame.css keeps the room that curves will take
        state = Component(__file__, "kd-live", js=COMMON_JS + PLOTLY_JS + LABELS_JS, isolated=False)(
            key=key,
            data=shown,
            on_asked_change=lambda: None,
            on_changed_change=lambda: None,
            **callbacks(key, "smoothing", "axis", "points"),
        )
    for run_id, what, mine in event_of(state, "asked", _requests) or ():
        _do(run_id, what, mine=mine)


def _requests(sent: Any) -> list[tuple[str, str, bool]]:
    return [(str(request["run"]), str(request["what"]), bool(request.get("mine"))) for request in sent]


@st.cache_data(show_spinner=False, max_entries=128)
def _figure(
    lines: tuple[Curve, ...], panels: tuple[str, ...], epochs: int, nats: bool, language: str
) -> tuple[str, str]:
    """The figure of the curves, and its layout for a narrow window: 80 ms of plotly's time, the same at every rerun.

    language: in which it is drawn, the one that is read.
    """
    wide, narrow = (
        figures_curves.learning_curves(lines, panels, epochs=epochs, columns=columns, nats=nats) for columns in (2, 1)
    )
    return as_json(wide), json.dumps({"layout": narrow.layout.to_plotly_json()})


def _do(run_id: str, what: str, *, mine: bool) -> None:
    """What a button of the view was pressed for; a request may come twice. mine: this browser had asked for the run."""
    with refusals():
        run = services.store().get(run_id)
        if what == "resume" and run.status in RESUMABLE:
            rights.resume([run_id])
        elif what in ("stop", "pause") and mine == (services.browser() in run.browsers):  # else it was heard before
            rights.ask([run_id], "stop" if what == "stop" else "pause")


def _details(run: Run) -> str:
    config = run.config
    parts: list[str] = [_(config.role)] if run.name else []
    parts.append(_(config.network))
    if config.distillation is not None:
        parts.append(_(config.distillation.label))
    if config.training.label_smoothing:
        parts.append(_("label smoothing {amount:g}", amount=config.training.label_smoothing))
    part = config.transfer_set
    if part.fraction < 1:
        parts.append(_(part.share_in_words(config.training.validation_fraction)))
    if part.only_classes is not None:
        parts.append(_(part.classes_in_words(services.class_names(config.dataset))))
    if not part.labelled:
        parts.append(_("no labels"))
    if config.mistake is not None:
        parts.append(_("mistake: {mistake}", mistake=_(MISTAKES[config.mistake].label)))
    if config.continues is not None:
        parts.append(_("goes on from {run}", run=config.continues[:4]))
    if run.status in ACTIVE and {*run.browsers} - {services.browser(), ""}:
        mine = services.browser() in run.browsers
        parts.append(_("also watched by another browser") if mine else _("another browser's"))
    return " · ".join(parts)
