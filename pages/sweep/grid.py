"""Sweeps on the page: the form, the grid as it fills in, and its control."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

import pandas as pd
import streamlit as st

from kd_core.base.config import LabError
from kd_core.data.catalogue import info_of
from kd_core.experiments import equal_budget, table
from kd_core.experiments import sweep as experiments_sweep
from kd_core.experiments.defaults import TEMPERATURES, network, written
from kd_core.experiments.sweep import SweepConfig
from kd_core.runs.run import ACTIVE, RESUMABLE, Batches, Run, new_id, remembered
from pages.shared.access import rights
from pages.shared.components.chart.chart import chart
from pages.shared.figures import curves, experiments
from pages.shared.language import _, of_error
from pages.shared.parts.run_menu import offer_undo
from pages.shared.parts.start import start_row
from pages.shared.parts.tables import numbers
from pages.shared.session import keys, pickers, services
from pages.shared.session.pair import how_to_write
from pages.shared.session.pickers import is_sweep
from pages.shared.words import SPREAD_IN_WORDS, explained, literal, refusals

STUDENTS = ("mlp 10", "mlp 16", "mlp 30", "mlp 64", "mlp 128", "cnn 8-16", "cnn 16-32", "resnet18")
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
REFRESH_SECONDS = 2.0


def sweep_form() -> None:
    """Ask for the axes of a grid, and offer to train it."""
    known = pickers.trained_teachers(services.store().listing())
    teachers = sorted((run for run in known if run.status == "finished"), key=pickers.rank)
    offer_undo()
    if not teachers:
        st.info(_("A sweep needs a teacher. The quick demo trains one in under a minute."), icon=":material/science:")
        st.page_link("pages/overview/page.py", label=_("To the quick demo"), icon=":material/play_arrow:")
        return
    before = getattr(st.session_state.get("sweep_teacher"), "id", None)
    chosen = [run for run in teachers if run.id == before]
    offered = pickers.some_of(teachers, lambda run: run.label, chosen, what=_("teachers"), key="sweep_search")
    labels = pickers.told_apart(offered)
    with st.container(border=True):
        teacher = st.selectbox(_("Teacher"), offered, format_func=lambda run: labels[run.id], key="sweep_teacher")
        usual = SweepConfig.default(teacher.config.dataset, (teacher.id,))
        sweep = _axes(usual)
        if sweep is None:
            return
        baselines = sum(cell.role == "baseline" for cell in sweep.cells())
        beside = _(
            "{students} of the grid, and {baselines} baselines, one a network and seed.",
            students=sweep.cell_count - baselines,
            baselines=baselines,
        )
        if start_row(
            _("Train {count} students", count=sweep.cell_count), beside, key="sweep", icon=":material/grid_on:"
        ):
            with refusals():
                ids = rights.submit({new_id(): cell for cell in sweep.cells()})
                keys.choose_batch(services.store().get(ids[-1]).batch, keys.SWEEP)
                st.rerun()


def _axes(usual: SweepConfig) -> SweepConfig | None:
    """Ask for the axes, the students, the seeds and the budget; None, and a sentence, where they make no sweep."""
    left, right = st.columns(2)
    temperatures = left.multiselect(
        _("Temperatures"), TEMPERATURES, default=usual.temperatures, key="sweep_temperatures"
    )
    alphas = right.multiselect(_("Alphas (weight of the soft loss)"), ALPHAS, default=usual.alphas, key="sweep_alphas")
    with st.expander(_("Students, seeds and budget")):
        own = [*map(written, usual.networks)]
        students = st.multiselect(
            _("Students"),
            list(dict.fromkeys([*own, *STUDENTS])),
            default=own,
            key=f"sweep_students_{own[0]}",
            accept_new_options=True,
            help=how_to_write(),
        )
        left, middle, right = st.columns(3)
        seeds = left.number_input(
            _("Seeds"), 1, 20, value=len(usual.seeds), key="sweep_seeds", help=_("Each is trained anew.")
        )
        epochs = middle.number_input(_("Epochs"), 1, 10_000, value=usual.training.epochs, key="sweep_epochs")
        share = right.number_input(
            _("Share of the training images, %"), 0.01, 100.0, 100.0, format="%.4g", key="sweep_share"
        )
    try:
        return usual.replace(
            students=tuple(map(network, students)) or usual.students,
            temperatures=tuple(sorted(temperatures)),
            alphas=tuple(sorted(alphas)),
            seeds=tuple(range(int(seeds))),
            training=usual.training.replace(epochs=int(epochs)),
            transfer_set=usual.transfer_set.replace(fraction=float(share) / 100),
        )
    except LabError as error:
        st.warning(literal(of_error(error)), icon=":material/error:")
        return None


def choose_sweep() -> str | None:
    """Return the sweep to look at: the address's, else this browser's newest, else None until one is chosen."""
    sweeps = _sweeps(pickers.batches())
    if not sweeps:
        return None
    own = next((batch for batch, runs in sweeps.items() if any(map(pickers.mine, runs))), "")

    def described(runs: Sequence[Run]) -> str:
        return _(
            "{data}: {count} students · {batch}",
            data=info_of(runs[0].config.dataset).label,
            count=len(runs),
            batch=runs[0].batch[:4],
        )

    return pickers.batch_picker(sweeps, title=_("Sweep"), caption=described, memory=keys.SWEEP, opens=own) or None


@remembered
def _sweeps(batches: Batches) -> Batches:
    return Batches({batch: runs for batch, runs in batches.items() if is_sweep(runs)})


def watch_sweep(batch: str) -> None:
    """Show the grid; it fills in for as long as it trains."""
    going = any(run.status in ACTIVE for run in services.store().runs(batch=batch))
    st.fragment(_view, run_every=REFRESH_SECONDS if going else None)(batch, going)


def _view(batch: str, going: bool) -> None:
    runs = services.store().runs(batch=batch)
    active = [run for run in runs if run.status in ACTIVE]
    if going and not active:
        st.rerun(scope="app")
    finished = [run for run in runs if run.status == "finished"]
    share = mean(run.step / run.total_steps if run.total_steps else 0.0 for run in runs) if runs else 0.0
    st.progress(
        min(1.0, share), text=_("{finished} of {count} students trained", finished=len(finished), count=len(runs))
    )
    _control([run for run in runs if rights.may_control(run)])
    errors = services.store().validation_errors(batch) if active else {}
    live = bool(errors)
    if not live:
        errors = {run.id: run.results["test_errors"] for run in finished}
    if not any(run.id in errors and run.config.distillation is not None for run in runs):
        st.caption(_("The map fills in as students finish their first epochs."))
        return
    for place, (student, temperatures, alphas, means) in enumerate(experiments_sweep.error_maps(runs, errors)):
        if live:
            title = _("{network}: mean validation errors so far", network=student)
            text = _("Validation errors so far by temperature and alpha, {network}", network=student)
            counted = _("validation errors so far")
        else:
            title = _("{network}: mean test errors", network=student)
            text = _("Test errors by temperature and alpha, {network}", network=student)
            counted = _("test errors")
        chart(experiments.sweep_map(temperatures, alphas, means, title, counted), key=f"sweep_map_{place}", text=text)
    if finished:
        _curves(finished)
        _table(finished)


def _table(finished: Sequence[Run]) -> None:
    """List every setting that was tried, the fewest errors first, and how many of the differences are no luck."""
    rows = experiments_sweep.tried(finished)
    st.info(literal(_(experiments_sweep.verdict(rows))), icon=":material/balance:")
    head = [*map(_, experiments_sweep.HEAD)]
    numbers(pd.DataFrame([[*map(_, experiments_sweep.cells(row))] for row in rows], columns=head))
    st.caption(_(equal_budget.HOW_TO_READ), help=explained(_(equal_budget.HOW_TO_READ)))


def _control(runs: Sequence[Run]) -> None:
    """Draw the buttons for those of its runs that this visitor may control."""
    active = [run for run in runs if run.status in ACTIVE]
    resumable = [run for run in runs if run.status in RESUMABLE]
    for message, count in Counter(run.message for run in resumable if run.message).items():
        text = _("{count} of {total} students: {message}", count=count, total=len(runs), message=_(message))
        st.warning(text, icon=":material/error:")
    with st.container(horizontal=True):
        if active:
            st.button(_("Stop the sweep"), icon=":material/stop:", key="sweep_stop", on_click=_pause, args=(active,))
        if resumable:
            label = _("Go on with {count}", count=len(resumable))
            st.button(label, icon=":material/play_arrow:", key="sweep_go_on", on_click=_resume, args=(resumable,))


def _pause(runs: Sequence[Run]) -> None:
    with refusals(later=True):
        rights.ask((run.id for run in runs), "pause")


def _resume(runs: Sequence[Run]) -> None:
    with refusals(later=True):
        rights.resume(run.id for run in reversed(runs))


def _curves(finished: Sequence[Run]) -> None:
    """Plot errors over T, a line for each network and alpha; name the baselines' errors."""

    def named(run: Run) -> str:
        alpha = run.config.distillation.alpha if run.config.distillation else 0.0
        return _("{network}, alpha {alpha:g}", network=run.config.model.label, alpha=alpha)

    ordered = [run for runs in experiments_sweep.by_network(finished).values() for run in runs]
    lines = table.over_temperature(ordered, named)
    chart(curves.errors_over_temperature(lines), key="sweep_curves", text=_("Test errors over temperature"))
    st.caption(_(SPREAD_IN_WORDS))
    st.markdown("  \n".join(map(_, experiments_sweep.baselines_in_words(finished))))
