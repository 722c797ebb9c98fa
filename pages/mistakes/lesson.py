"""The lesson "Break it" on the page: a mistake beside the right way, the runs of both, and what it costs."""

from statistics import mean
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.evaluation.claims import SeedDifference, seed_difference
from kd_core.experiments import broken as experiments_broken
from kd_core.experiments import table as experiments_table
from kd_core.experiments.broken import RIGHT, WRONG, Choice
from kd_core.experiments.table import Redo
from kd_core.runs.run import ACTIVE, RESUMABLE, Run
from kd_core.training.mistakes import MISTAKES
from pages.shared.components.chart.chart import chart
from pages.shared.components.images.images import picture
from pages.shared.figures import experiments, softness
from pages.shared.live.live import live_view
from pages.shared.parts.start import start_button
from pages.shared.session import services
from pages.shared.session.address import chosen

SEEDS = (5, 3, 10)
SHOWN_RUNS = 12
SHOWN_IMAGE = 4
"""Of the test set, which is shown moved and recoloured."""


class Broken(NamedTuple):
    """A mistake on a data set, its right and wrong runs of so many seeds, and those of them that are here."""

    mistake: str
    dataset: str
    seeds: int
    plan: Redo
    runs: dict[str, Run]

    def of(self, label: str) -> dict[int, Run]:
        """The runs that are here, RIGHT or WRONG, by seed."""
        return {
            seed: self.runs[run_id]
            for (line, seed), run_id in self.plan.runs.items()
            if line == label and run_id in self.runs
        }

    def finished(self, label: str) -> dict[int, Run]:
        """Those of them that have trained to their end."""
        return {seed: run for seed, run in self.of(label).items() if run.status == "finished"}

    @property
    def teachers(self) -> list[Run]:
        """The teacher, and of a mistake of its own the wrong one after it."""
        students = (*self.of(RIGHT).values(), *self.of(WRONG).values())
        taught = [run.config.distillation for run in students if run.config.distillation is not None]
        ids = dict.fromkeys(teacher for one in taught for teacher in one.teachers)
        return services.store().some([*ids])


def choose_mistake() -> Broken:
    """Which mistake, on which data and with how many seeds: the address's, until another is chosen."""
    choose, data, how_many = st.columns([4, 3, 2], vertical_alignment="bottom")
    with choose:
        wrong_steps = list(MISTAKES)
        mistake = chosen(
            st.selectbox,
            "Mistake",
            wrong_steps,
            name="mistake",
            key="break_mistake",
            default=wrong_steps[0],
            format_func=lambda name: MISTAKES[name].label,
        )
    with data:
        datasets = [name for name in experiments_broken.BASE if paths.available(name)]
        dataset = chosen(
            st.segmented_control,
            "Data set",
            datasets,
            name="on",
            key="break_dataset",
            default=datasets[0],
            required=True,
            format_func=lambda name: info_of(name).label,
        )
    with how_many:
        seeds = chosen(
            st.segmented_control,
            "Seeds",
            sorted(SEEDS),
            name="seeds",
            key="break_seeds",
            default=SEEDS[0],
            required=True,
            help="Of each, right and wrong: it takes three to say how sure a difference is.",
        )
    plan = experiments_table.plan(
        experiments_broken.experiment(mistake, dataset), range(seeds), services.store().runs()
    )
    here = {run.id: run for run in services.store().some([*dict.fromkeys(plan.runs.values())])}
    return Broken(mistake, dataset, seeds, plan, here)


def side_by_side(broken: Broken) -> None:
    """What public code does, what is meant, and a line of each."""
    info, setting = MISTAKES[broken.mistake], experiments_broken.setting(broken.mistake, broken.dataset)
    wrong, right = st.columns(2, gap="medium")
    with wrong, st.container(border=True):
        st.markdown(":material/close: **The mistake**")
        st.code(info.wrong_line, language="python", wrap_lines=True)
        st.markdown(info.public)
    with right, st.container(border=True):
        st.markdown(":material/check: **The right way**")
        st.code(info.right_line, language="python", wrap_lines=True)
        st.markdown(info.right)
    st.markdown(f"**What to expect.** {info.expect}")
    teacher = experiments_broken.teacher(broken.dataset)
    learned = setting.part.share_in_words(setting.training.validation_fraction)
    st.caption(
        f"Both students ({setting.student.label}) have the same seed, so the same start and order of images. They train"
        f" for {setting.training.epochs} epochs at T = {setting.temperature:g} and alpha = {setting.alpha:g}. They"
        f" have {learned}. A teacher helps most where images are few. The teacher is the one that ships"
        f" ({teacher.model.label})."
    )


def what_it_does(broken: Broken) -> None:
    """What can be seen of a mistake before anything trains: its gradient, or its images."""
    if broken.mistake in ("no_t_squared", "class_mean"):
        _gradients(broken)
    elif broken.mistake == "colour_jitter":
        _jittered(broken)


def _gradients(broken: Broken) -> None:
    """The gradient of both losses on one image, in closed form, for a student that knows nothing yet."""
    from kd_core.losses import one_example
    from kd_core.training import mistaken

    taught = [
        run
        for run in services.store().runs(statuses=["finished"])
        if run.config == experiments_broken.teacher(broken.dataset)
    ]
    if not taught:
        return
    setting = experiments_broken.setting(broken.mistake, broken.dataset)
    logits, labels = services.test_logits(taught[0].id), services.test_set(broken.dataset)[1]
    told, label = logits[SHOWN_IMAGE].tolist(), int(labels[SHOWN_IMAGE])
    nothing = [0.0] * len(told)
    temperature, alpha = setting.temperature, setting.alpha
    right = one_example.felt(nothing, told, label, temperature=temperature, alpha=alpha)
    wrong = mistaken.felt(broken.mistake, nothing, told, label, temperature=temperature, alpha=alpha)
    soft_right, soft_wrong = (float(np.linalg.norm(one.soft_gradient)) for one in (right, wrong))
    hard = float(np.linalg.norm(right.hard_gradient))
    names = [str(name) for name in range(len(told))]
    st.subheader("What the student feels, before it has learned anything")
    st.markdown(
        f"On one test image the gradient of the soft loss has the size **{soft_wrong:.3g}** with the mistake and"
        f" **{soft_right:.3g}** without it: it is **{soft_right / soft_wrong:.4g} times** too small. That of the hard"
        f" loss is {hard:.3g} in both, so the soft loss has {_share(soft_wrong, hard)} of the pull, where"
        f" {_share(soft_right, hard)} is meant."
    )
    largest = max(abs(value) for felt in (right, wrong) for value in (*felt.gradient, *felt.soft_gradient))
    for column, title, felt in zip(st.columns(2), ("The mistake", "The right way"), (wrong, right), strict=True):
        with column:
            st.markdown(f"**{title}**")
            chart(
                softness.gradients(felt.soft_gradient, felt.hard_gradient, names).update_yaxes(
                    range=[-1.2 * largest, 1.2 * largest]
                ),
                key=f"gradients_{title}",
                text=f"Gradient on each logit, {title}: "
                + ", ".join(f"{name} {value:.2g}" for name, value in zip(names, felt.gradient, strict=True)),
            )


def _share(soft: float, hard: float) -> str:
    return f"{soft / (soft + hard):.0%}"


def _jittered(broken: Broken) -> None:
    """One image as it is, moved, and recoloured, by the functions that training uses."""
    import torch

    from kd_core.training.loop import shifted
    from kd_core.training.mistaken import recoloured

    most = experiments_broken.setting(broken.mistake, broken.dataset).training.jitter_pixels
    image = torch.from_numpy(services.test_set(broken.dataset)[0][SHOWN_IMAGE : SHOWN_IMAGE + 1])
    corners = [(-most, -most), (-most, most), (most, -most), (most, most)]
    shown = {"as it is": image}
    shown |= {
        f"{down:+d} down, {right:+d} right": shifted(image, torch.tensor([[down, right]])) for down, right in corners
    }
    rows = {
        "The right way: moved": shown,
        "The mistake: recoloured": {"as it is": image}
        | {
            f"brightness {1 + 0.4 * down / most:.1f}, contrast {1 + 0.4 * right / most:.1f}": recoloured(
                image, torch.tensor([[down, right]]), most
            )
            for down, right in corners
        },
    }
    for title, pictures in rows.items():
        st.markdown(f"**{title}**")
        with st.container(horizontal=True, gap="small"):
            for caption, one in pictures.items():
                st.image(picture(one[0].numpy()), caption=caption, width=90)
    st.caption(
        "ColorJitter draws a factor of brightness and one of contrast for each image, here from 0.6 to 1.4. Ours takes"
        " them from the shift that the image should have had, so that both students draw the same random numbers."
    )


def launch(broken: Broken) -> None:
    """The button that trains what is missing of both, in one batch."""
    start_button(broken.plan, "Break it", key="break")


def curves(broken: Broken) -> None:
    """The learning curves of both, seed beside seed, as they train and afterwards."""
    right, wrong = broken.of(RIGHT), broken.of(WRONG)
    runs = [run for run in broken.teachers if run.status in (*ACTIVE, *RESUMABLE)]
    runs += [one[seed] for seed in range(broken.seeds) for one in (right, wrong) if seed in one]
    titles = {run.id: f"{label}, seed {seed}" for label in (RIGHT, WRONG) for seed, run in broken.of(label).items()}
    if runs:
        st.subheader("Both, as they learn")
        live_view(runs[:SHOWN_RUNS], key="break_live", titles=titles)
        if len(runs) > SHOWN_RUNS:
            st.caption(f"and {len(runs) - SHOWN_RUNS} more, which the Runs page shows")


def what_it_cost(broken: Broken) -> None:
    """The harm: each seed's errors, the mean difference with its interval, and the finding in a sentence."""
    right, wrong = broken.finished(RIGHT), broken.finished(WRONG)
    if broken.mistake == "test_choice":
        choices = [_choices(broken, runs) for runs in (right, wrong)]
        found, table = experiments_broken.optimism(*choices), _choice_table(*choices)
    else:
        errors = [{seed: float(run.results["test_errors"]) for seed, run in runs.items()} for runs in (right, wrong)]
        found, table = seed_difference(*errors), _error_table(*errors)
    if found is None:
        return
    st.subheader("What it costs")
    _say(experiments_broken.finding(broken.mistake, broken.dataset, found), found)
    rows, figure = st.columns([3, 2], gap="large")
    with rows:
        st.dataframe(table, hide_index=True)
        st.caption(_explained(broken))
    with figure:
        chart(
            experiments.harm(found.by_seed, found.mean, found.interval, _axis(broken)),
            key="harm",
            text=f"{_axis(broken)}, by seed: " + ", ".join(f"{value:.3g}" for value in found.by_seed.values()),
        )


def _say(sentence: str, found: SeedDifference) -> None:
    show, icon = {
        1: (st.warning, ":material/trending_down:"),
        -1: (st.info, ":material/trending_flat:"),
        0: (st.info, ":material/help:"),
    }[found.sign]
    show(sentence, icon=icon)


def _choices(broken: Broken, runs: dict[int, Run]) -> dict[int, Choice]:
    labels = services.test_set(broken.dataset)[1]
    return {seed: experiments_broken.choice(services.test_logits(run.id), labels, seed) for seed, run in runs.items()}


def _error_table(right: dict[int, float], wrong: dict[int, float]) -> pd.DataFrame:
    both = sorted(right.keys() & wrong.keys())
    rows = [(str(seed), right[seed], wrong[seed]) for seed in both]
    if len(both) > 1:
        rows.append(("mean", mean(right[seed] for seed in both), mean(wrong[seed] for seed in both)))
    return pd.DataFrame(
        [
            {"seed": name, "right": f"{one:.4g}", "mistaken": f"{other:.4g}", "difference": f"{other - one:+.3g}"}
            for name, one, other in rows
        ]
    )


def _choice_table(right: dict[int, Choice], wrong: dict[int, Choice]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "seed": str(seed),
                "chosen on half A: errors on A": wrong[seed].own,
                "the same on half B": wrong[seed].other,
                "chosen by validation: A": right[seed].own,
                "B": right[seed].other,
                "optimism, in errors": f"{wrong[seed].gap - right[seed].gap:+.3g}",
            }
            for seed in sorted(right.keys() & wrong.keys())
        ]
    )


def _explained(broken: Broken) -> str:
    """What the table says, and what was the same in all of it."""
    info = info_of(broken.dataset)
    if broken.mistake == "test_choice":
        return (
            f"Each seed cuts the {info.test_examples:,} test images into random halves. The mistaken student chooses"
            " its epoch on A and reports its errors there; B played no part, so the errors there are honest. The right"
            " student chooses by a validation split: for it A and B differ by chance alone, and that difference is"
            " taken off."
        )
    said = f"Test errors of {info.test_examples:,}, with the weights of the best epoch on the validation split."
    teachers = [run for run in broken.teachers if run.usable]
    if len(teachers) > 1:
        said += (
            " The teachers make "
            + " and ".join(
                f"{run.results['test_errors']:,} errors after {run.config.training.epochs} "
                + ("epoch" if run.config.training.epochs == 1 else "epochs")
                for run in teachers
            )
            + "."
        )
    return said


def _axis(broken: Broken) -> str:
    return "optimism, in errors" if broken.mistake == "test_choice" else "extra test errors caused by the mistake"
