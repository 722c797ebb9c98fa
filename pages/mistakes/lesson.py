"""The lesson "Break it" on the page: a mistake beside the right way, the runs of both, and what it costs."""

from operator import attrgetter

import pandas as pd
import streamlit as st

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.experiments import broken, table
from kd_core.experiments.broken import RIGHT, WRONG
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Redone
from kd_core.runs.run import ACTIVE, RESUMABLE
from kd_core.training.mistakes import MISTAKES
from pages.shared.components.chart.chart import chart
from pages.shared.components.images.images import show
from pages.shared.figures import experiments, softness
from pages.shared.language import _, of_error
from pages.shared.live.live import live_view
from pages.shared.parts.start import choose_data_set, choose_seeds
from pages.shared.parts.tables import numbers
from pages.shared.session import services
from pages.shared.session.address import selected
from pages.shared.session.pair import choose_pair
from pages.shared.words import literal

CONFIG_OF = attrgetter("config")
SHOWN_RUNS = 12
SHOWN_IMAGE = 4
"""Of the test set, which is shown moved and recoloured."""


def choose_mistake() -> tuple[StoryConfig, Redone]:
    """Ask which mistake, on which data, with which pair and how many seeds; the address keeps the choice."""
    choose, data, how_many = st.columns([4, 3, 2], vertical_alignment="bottom")
    with choose:
        labels = {name: _(info.label) for name, info in MISTAKES.items()}
        mistake = selected(_("Mistake"), labels, name="mistake", key="break_mistake")
    with data:
        dataset = choose_data_set(dict.fromkeys([*broken.BASE, *services.data_sets()]), key="break_dataset")
    with how_many:
        meaning = _("Of each, right and wrong: it takes three to say how sure a difference is.")
        seeds = choose_seeds((5, 3, 10), key="break_seeds", meaning=meaning)
    usual = broken.usual(dataset)
    given = choose_pair(usual)
    try:
        experiment = broken.experiment(mistake, given)
    except ConfigError as error:
        st.error(literal(of_error(error)), icon=":material/error:")
        given, experiment = usual, broken.experiment(mistake, usual)
    return given, table.redone(experiment, seeds, services.store().listing())


def side_by_side(given: StoryConfig, redo: Redone) -> None:
    """Show the mistake of public code beside the right way, with a line of each."""
    mistake = redo.experiment.name
    info, setting = MISTAKES[mistake], broken.setting(mistake, given)
    wrong, right = st.columns(2, gap="medium")
    with wrong, st.container(border=True, height="stretch", key="role_mistake_code"):
        st.markdown(_(":material/close: **The mistake**"))
        st.code(_(info.wrong_line), language="python", wrap_lines=True)
        st.markdown(_(info.public))
    with right, st.container(border=True, height="stretch", key="role_distilled_code"):
        st.markdown(_(":material/check: **The right way**"))
        st.code(_(info.right_line), language="python", wrap_lines=True)
        st.markdown(_(info.right))
    st.markdown(_("**What to expect.** {expect}", expect=info.expect))
    teacher = broken.taught_by(given)
    ships = given.dataset in broken.BASE and teacher == broken.teacher(given.dataset)
    values = {
        "student": setting.student.label,
        "epochs": setting.training.epochs,
        "temperature": setting.temperature,
        "alpha": setting.alpha,
        "learned": setting.transfer_set.share_in_words(setting.training.validation_fraction),
        "teacher": given.teacher.label if isinstance(teacher, str) else teacher.model.label,
    }
    if ships:
        text = _(
            "Both students ({student}) have the same seed, so the same start and order of images. They train for"
            " {epochs} epochs at T = {temperature:g} and alpha = {alpha:g}. They have {learned}. A teacher helps most"
            " where images are few. The teacher is the one that ships ({teacher}).",
            **values,
        )
    else:
        text = _(
            "Both students ({student}) have the same seed, so the same start and order of images. They train for"
            " {epochs} epochs at T = {temperature:g} and alpha = {alpha:g}. They have {learned}. A teacher helps most"
            " where images are few. The teacher is {teacher}.",
            **values,
        )
    st.caption(text)


def what_it_does(given: StoryConfig, redo: Redone) -> None:
    """Show what can be seen of a mistake before anything trains: its gradient, or its images."""
    if redo.experiment.name in ("no_t_squared", "class_mean"):
        _gradients(redo.experiment.name, given)
    elif redo.experiment.name == "colour_jitter":
        _jittered(given)


def _gradients(mistake: str, given: StoryConfig) -> None:
    """Show the gradient of both losses on one image, for a student with logits of 0."""
    teacher, listing = broken.taught_by(given), services.store().listing()
    if isinstance(teacher, str):
        trained = listing.by_id.get(teacher)
    else:
        trained = listing.serving(CONFIG_OF, finished=True).get(teacher)
    if trained is None or not trained.usable:
        return
    logits = services.test_logits(trained.id)[SHOWN_IMAGE].tolist()
    pull = broken.pull(mistake, given, logits, int(services.test_set(given.dataset)[1][SHOWN_IMAGE]))
    names = [str(name) for name in range(len(logits))]
    st.header(_("What the student feels, before it has learned anything"), anchor=False)
    st.markdown(
        _(
            "On one test image the gradient of the soft loss has the size **{wrong:.3g}** with the mistake and"
            " **{right:.3g}** without it: it is **{times:.4g} times** too small. That of the hard loss is {hard:.3g} in"
            " both, so the soft loss has {share:.0%} of the pull, where {meant:.0%} is meant.",
            wrong=pull.soft_wrong,
            right=pull.soft_right,
            times=pull.soft_right / pull.soft_wrong,
            hard=pull.hard,
            share=pull.share(pull.soft_wrong),
            meant=pull.share(pull.soft_right),
        )
    )
    largest = 1.2 * pull.largest
    sides = ((said("The mistake"), pull.wrong), (said("The right way"), pull.right))
    for column, (title, felt) in zip(st.columns(2), sides, strict=True):
        with column:
            st.markdown(f"**{_(title)}**")
            figure = softness.gradients(felt.soft_gradient, felt.hard_gradient, names)
            chart(
                figure.update_yaxes(range=[-largest, largest]),
                key=f"gradients_{title}",
                text=_(
                    "Gradient on each logit, {side}: {values}",
                    side=title,
                    values=", ".join(f"{name} {value:.2g}" for name, value in zip(names, felt.gradient, strict=True)),
                ),
            )


def _jittered(given: StoryConfig) -> None:
    """Show one image as it is, moved, and recoloured, by the functions that training uses."""
    image = services.test_set(given.dataset)[0][SHOWN_IMAGE]
    for title, pictures in broken.jittered(given, image).items():
        st.markdown(f"**{_(title)}**")
        with st.container(horizontal=True, gap="small"):
            for caption, changed in pictures.items():
                show(changed, text=f"{_(title)}: {_(caption)}", caption=_(caption), width=90)
    st.caption(
        _(
            "ColorJitter draws a factor of brightness and one of contrast for each image, here from 0.6 to 1.4. Ours"
            " takes them from the shift that the image should have had, so that both students draw the same random"
            " numbers."
        )
    )


def curves(redo: Redone) -> None:
    """Show the learning curves of both, seed beside seed."""
    right, wrong = redo.of(RIGHT), redo.of(WRONG)
    runs = [run for run in redo.teachers if run.status in (*ACTIVE, *RESUMABLE)]
    runs += [students[seed] for seed in range(redo.seeds) for students in (right, wrong) if seed in students]
    titles = {
        run.id: _("{run}, seed {seed}", run=label, seed=seed)
        for label in (RIGHT, WRONG)
        for seed, run in redo.of(label).items()
    }
    if runs:
        st.header(_("Both, as they learn"), anchor=False)
        live_view(runs[:SHOWN_RUNS], key="break_live", titles=titles)
        if len(runs) > SHOWN_RUNS:
            st.caption(_("and {count} more, which the Runs page shows", count=len(runs) - SHOWN_RUNS))


def what_it_cost(given: StoryConfig, redo: Redone) -> None:
    """Show each seed's errors, the mean difference with its interval, and the finding in a sentence."""
    cost = broken.cost(redo, lambda: services.test_set(redo.dataset)[1], services.test_logits, given)
    if cost is None:
        return
    difference = cost.difference
    st.header(_("What it costs"), anchor=False)
    show, icon = {
        1: (st.warning, ":material/trending_down:"),
        -1: (st.info, ":material/trending_flat:"),
        0: (st.info, ":material/help:"),
    }[difference.sign]
    show(_(cost.sentence), icon=icon)
    rows, figure = st.columns([3, 2], gap="large")
    with rows:
        cells = [[_(cell) if isinstance(cell, str) else cell for cell in row] for row in cost.cells]
        numbers(pd.DataFrame(cells, columns=[*map(_, cost.head)]))
        st.caption(_(cost.note))
    with figure:
        chart(
            experiments.harm(difference.by_seed, difference.mean, difference.interval, _(cost.axis)),
            key="harm",
            text=_(
                "{axis}, by seed: {values}",
                axis=cost.axis,
                values=", ".join(f"{value:.3g}" for value in difference.by_seed.values()),
            ),
        )
