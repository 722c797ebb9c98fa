"""The table of all runs: searched, filtered, sorted, selected."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import streamlit as st

from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.runs.run import ACTIVE, Listing, Run, Status, remembered
from pages.runs.rows import RUNS, TURN, rows
from pages.shared import language
from pages.shared.language import _
from pages.shared.session import pickers, services
from pages.shared.session.address import chosen
from pages.shared.words import cell, in_language

PAGE = "runs_page"
MAX_SELECTED = 20
ROWS = 50
"""Of the table on one page."""
MAX_SEARCH = 200
"""Characters of a search."""
ROLES = ["teacher", "baseline", "distilled"]
IN_WORDS = "role", "objective", "status", "whose"
"""Columns whose values are read in the language of the page."""


def pick_runs(runs: Listing) -> list[Run]:
    """Show runs as a table under its filters; returns the selected ones, which the address remembers."""
    named = [run_id for run_id in st.query_params.get(RUNS, "").split(",") if run_id]
    pickers.say_what_is_not_here(named[:MAX_SELECTED], _("It is left out."))
    fitting = _filtered(runs)
    if not fitting:
        st.info(_("No run is like this. Change the search or the filters."), icon=":material/search_off:")
        return []
    shown = _page(fitting, named)
    here = {run.id for run in shown}
    fits = {run.id: run for run in fitting if run.id in named} if named else {}
    elsewhere = [run for run in fits.values() if run.id not in here]
    chosen_rows = [row for row, run in enumerate(shown) if run.id in named]
    me, zone = services.browser(), _zone()
    colours = [services.owner_colour(run.browser) for run in shown]
    blocked = services.store().blocked(run for run in shown if run.status == "queued")
    cells = [_row(run, me, zone, waits=run.id in blocked) for run in shown]
    table = pd.DataFrame([row | {name: _(row[name]) for name in IN_WORDS if row[name]} for row in cells])
    picked = st.dataframe(
        table.style.apply(lambda column: [f"color: {colour}" for colour in colours], subset=["by"]),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": chosen_rows}},
        key=f"runs_table_{'_'.join(run.id[:4] for run in shown[:50])}_{len(shown)}_{st.session_state.get(TURN, 0)}",
        placeholder="–",
        column_config={
            "by": st.column_config.TextColumn(
                _("by"), width=30, help=_("Each browser has a colour; grey runs came from the command line.")
            ),
            "run": st.column_config.TextColumn(_("run"), width="medium"),
            "role": _("role"),
            "data": _("data"),
            "objective": _("objective"),
            "T": st.column_config.NumberColumn(format="%.3g"),
            "alpha": st.column_config.NumberColumn(format="%.3g"),
            "status": _("status"),
            "progress": st.column_config.ProgressColumn(_("progress"), format="percent", min_value=0, max_value=1),
            "test errors": _("test errors"),
            "accuracy": st.column_config.NumberColumn(_("accuracy"), format="percent"),
            "epochs": _("epochs"),
            "seed": _("seed"),
            "started": st.column_config.DatetimeColumn(_("started"), format=_("D MMM, HH:mm")),
            "whose": _("whose"),
            "tags": st.column_config.ListColumn(_("tags")),
            "note": _("note"),
            "id": _("id"),
        },
    )
    picked_here = [shown[row] for row in picked.selection.rows if row < len(shown)]
    selected = [*elsewhere, *picked_here][:MAX_SELECTED]
    if {run.id for run in selected} != fits.keys():  # else it names more, not here
        if selected:
            st.query_params[RUNS] = ",".join(run.id for run in selected)
        else:
            st.query_params.pop(RUNS, None)
    rows(cells, [run.id for run in selected])
    return selected


ORDERS: dict[str, Callable[[Sequence[Run]], Sequence[Run]]] = {
    said("newest first"): lambda runs: runs,
    said("oldest first"): lambda runs: runs[::-1],
    said("fewest test errors"): lambda runs: sorted(runs, key=lambda run: run.results.get("test_errors", math.inf)),
    said("status"): lambda runs: sorted(runs, key=lambda run: run.status),
    said("name"): lambda runs: sorted(runs, key=lambda run: (run.name or run.config.network).lower()),
}
"""Of runs that come the newest first."""


def _page(runs: Sequence[Run], named: Collection[str]) -> Sequence[Run]:
    """Choose the page of a long list, and its order; at first the page of the first run that the address names."""
    pages = -(-len(runs) // ROWS)
    if pages == 1:
        return runs
    order, number = st.columns([3, 1])
    with order:
        first = next(iter(ORDERS))
        by = chosen(st.selectbox, _("Order"), [*ORDERS], name="order", key="runs_order", default=first, format_func=_)
    runs = ORDERS[by](runs)
    places = (place for place, run in enumerate(runs) if run.id in named) if named else iter(())
    opened = next(places, 0) // ROWS + 1
    st.session_state[PAGE] = min(int(st.session_state.get(PAGE) or opened), pages)
    page = int(number.number_input(_("Page of {pages:,}", pages=pages), 1, pages, key=PAGE, bind="query-params"))
    before, last = ROWS * (page - 1), min(ROWS * page, len(runs))
    st.caption(_("Runs {first:,} to {last:,} of {count:,}.", first=before + 1, last=last, count=len(runs)))
    return runs[before:last]


class Choices(NamedTuple):
    """What the runs of a listing can be filtered by."""

    statuses: list[Status]
    datasets: list[str]
    tags: list[str]


@remembered
def _choices(listing: Listing) -> Choices:
    runs = listing.runs
    tags = sorted({tag for run in runs for tag in run.tags})
    return Choices(sorted({run.status for run in runs}), list(dict.fromkeys(run.config.dataset for run in runs)), tags)


def _filtered(runs: Listing) -> Sequence[Run]:
    choices = _choices(runs)
    _in_this_language("runs_status", choices.statuses)
    _in_this_language("runs_role", ROLES)
    with st.container(key="runs_filters"):  # two columns on a telephone
        search, status, role, dataset, tag = st.columns([3, 2, 2, 2, 2])
    text = search.text_input(
        _("Search"),
        key="runs_search",
        max_chars=MAX_SEARCH,
        placeholder=_("name, network, note, id"),
        bind="query-params",
    )
    statuses = status.multiselect(_("Status"), choices.statuses, format_func=_, key="runs_status", bind="query-params")
    roles = role.multiselect(_("Role"), ROLES, format_func=_, key="runs_role", bind="query-params")
    datasets = dataset.multiselect(
        _("Data set"),
        choices.datasets,
        format_func=lambda name: in_language(info_of(name).label),
        key="runs_dataset",
        bind="query-params",
    )
    tags = tag.multiselect(_("Tag"), choices.tags, key="runs_tag", bind="query-params")
    words = (text or "").lower().split()
    if not (words or statuses or roles or datasets or tags):
        return _newest_first(runs)
    return [
        run
        for run in runs.runs
        if (not statuses or run.status in statuses)
        and (not roles or run.config.role in roles)
        and (not datasets or run.config.dataset in datasets)
        and (not tags or set(tags) & set(run.tags))
        and all(word in _searched(run) for word in words)
    ]


def _in_this_language(key: str, options: Sequence[str]) -> None:
    """Before a control that is bound to the address, which has its options as they are read: translate those of a link.

    Who sent it may read another language.
    """
    named = {*st.query_params.get_all(key)}
    if key not in st.session_state and any(named & (_in_all_languages(option) - {_(option)}) for option in options):
        st.query_params[key] = [_(option) for option in options if named & _in_all_languages(option)]
        st.rerun()


def _in_all_languages(option: str) -> set[str]:
    words = set()
    for code in language.LANGUAGES:
        with language.spoken(code):
            words.add(_(option))
    return words


def _zone() -> ZoneInfo:
    """Return the time zone of the visitor's browser; UTC where it names none."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


@remembered
def _newest_first(listing: Listing) -> Sequence[Run]:
    return [*listing.runs]


@remembered
def _searched(run: Run) -> str:
    data = run.config.dataset, info_of(run.config.dataset).label
    return " ".join((run.id, run.name, run.note, *run.tags, run.config.label, *data, run.status)).lower()


def _whose(run: Run, me: str) -> str:
    if me and me in run.browsers:
        another = run.status in ACTIVE and {*run.browsers} - {me, ""}
        return said("yours and another browser's") if another else said("yours")
    return said("another browser's") if run.browser else said("command line")


def _row(run: Run, me: str, zone: ZoneInfo, *, waits: bool) -> dict[str, Any]:
    config, results, distillation = run.config, run.results, run.config.distillation
    return {
        "by": "●",
        "run": cell(in_language(run.named or run.config.network)) + in_language(run.config.mistake_said),
        "role": config.role,
        "data": in_language(info_of(config.dataset).label),
        "objective": distillation.info.label if distillation else None,
        "T": distillation.temperature if distillation and distillation.info.uses_temperature else None,
        "alpha": distillation.alpha if distillation and distillation.info.mixed else None,
        "status": said("waits for its teacher") if waits else run.status,
        "progress": 1.0 if run.status == "finished" else run.progress,
        "test errors": results.get("test_errors"),
        "accuracy": 1 - results["test_errors"] / results["test_examples"] if results else None,
        "epochs": config.training.epochs if config.trained_here else None,
        "seed": config.seed,
        "started": pd.Timestamp(run.created_at, unit="s", tz="UTC").tz_convert(zone),
        "whose": _whose(run, me),
        "tags": list(map(cell, run.tags)),
        "note": cell(_(run.note) if run.ships else run.note),
        "id": run.id,
    }
