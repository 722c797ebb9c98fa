"""The table of all runs: searched, filtered, sorted, selected."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import streamlit as st

from kd_core.data.catalogue import info_of
from kd_core.runs.run import ACTIVE, Run
from pages.shared.session import pickers, services
from pages.shared.words import cell

RUNS = "runs"
MAX_SELECTED = 20
MAX_SEARCH = 200
"""Characters of a search."""


def pick_runs(runs: list[Run]) -> list[Run]:
    """Show runs as a table under its filters; returns the selected ones, which the address remembers."""
    named = [run_id for run_id in st.query_params.get(RUNS, "").split(",") if run_id]
    pickers.say_what_is_not_here(named[:MAX_SELECTED], {run.id for run in runs}, "It is left out.")
    shown = _filtered(runs)
    if not shown:
        st.info("No run is like this. Change the search or the filters.", icon=":material/search_off:")
        return []
    rows = [row for row, run in enumerate(shown) if run.id in named]
    me, zone = services.browser(), _zone()
    colours = [services.owner_colour(run.browser) for run in shown]
    blocked = services.store().blocked(run for run in shown if run.status == "queued")
    table = pd.DataFrame([_row(run, me, zone, waits=run.id in blocked) for run in shown])
    picked = st.dataframe(
        table.style.apply(lambda column: [f"color: {colour}" for colour in colours], subset=["●"]),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": rows}},
        key=f"runs_table_{'_'.join(run.id[:4] for run in shown[:50])}_{len(shown)}",
        placeholder="–",
        column_config={
            "●": st.column_config.TextColumn(
                width=30, help="Each browser has a colour; grey runs came from the command line."
            ),
            "T": st.column_config.NumberColumn(format="%.3g"),
            "alpha": st.column_config.NumberColumn(format="%.3g"),
            "progress": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
            "accuracy": st.column_config.NumberColumn(format="percent"),
            "started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
            "run": st.column_config.TextColumn(width="medium"),
            "tags": st.column_config.ListColumn(),
        },
    )
    chosen = [shown[row] for row in picked.selection.rows if row < len(shown)][:MAX_SELECTED]
    if {run.id for run in chosen} != {run.id for run in shown if run.id in named}:  # else it names what is not here too
        if chosen:
            st.query_params[RUNS] = ",".join(run.id for run in chosen)
        else:
            st.query_params.pop(RUNS, None)
    return chosen


def _filtered(runs: list[Run]) -> list[Run]:
    search, status, role, dataset, tag = st.columns([3, 2, 2, 2, 2])
    text = search.text_input(
        "Search", key="runs_search", max_chars=MAX_SEARCH, placeholder="name, network, note, id", bind="query-params"
    )
    statuses = status.multiselect(
        "Status", sorted({run.status for run in runs}), key="runs_status", bind="query-params"
    )
    roles = role.multiselect("Role", ["teacher", "baseline", "distilled"], key="runs_role", bind="query-params")
    datasets = dataset.multiselect(
        "Data set",
        list(dict.fromkeys(run.config.dataset for run in runs)),
        format_func=lambda name: info_of(name).label,
        key="runs_dataset",
        bind="query-params",
    )
    tags = tag.multiselect(
        "Tag", sorted({tag for run in runs for tag in run.tags}), key="runs_tag", bind="query-params"
    )
    words = (text or "").lower().split()
    return [
        run
        for run in runs
        if (not statuses or run.status in statuses)
        and (not roles or run.config.role in roles)
        and (not datasets or run.config.dataset in datasets)
        and (not tags or set(tags) & set(run.tags))
        and all(word in _searched(run) for word in words)
    ]


def _zone() -> ZoneInfo:
    """Return the time zone of the visitor's browser; UTC where it names none."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def _searched(run: Run) -> str:
    data = run.config.dataset, info_of(run.config.dataset).label
    return " ".join((run.id, run.name, run.note, *run.tags, run.config.label, *data, run.status)).lower()


def _whose(run: Run, me: str) -> str:
    if me and me in run.browsers:
        return "yours and another browser's" if run.status in ACTIVE and {*run.browsers} - {me, ""} else "yours"
    return "another browser's" if run.browser else "command line"


def _row(run: Run, me: str, zone: ZoneInfo, *, waits: bool) -> dict[str, object]:
    config, results, distillation = run.config, run.results, run.config.distillation
    return {
        "●": "●",
        "run": cell(run.name or run.config.network) + run.config.mistake_said,
        "role": config.role,
        "data": info_of(config.dataset).label,
        "objective": distillation.info.label if distillation else None,
        "T": distillation.temperature if distillation and distillation.info.uses_temperature else None,
        "alpha": distillation.alpha if distillation and distillation.info.mixed else None,
        "status": "waits for its teacher" if waits else run.status,
        "progress": 1.0 if run.status == "finished" else run.progress,
        "test errors": results.get("test_errors"),
        "accuracy": 1 - results["test_errors"] / results["test_examples"] if results else None,
        "epochs": config.training.epochs if config.trained_here else None,
        "seed": config.seed,
        "started": pd.Timestamp(run.created_at, unit="s", tz="UTC").tz_convert(zone),
        "whose": _whose(run, me),
        "tags": list(map(cell, run.tags)),
        "note": cell(run.note),
        "id": run.id,
    }
