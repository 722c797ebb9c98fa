"""Advice after small runs that were really trained."""

import pytest

from kd_core.models.config import ModelConfig
from tests.unit.experiments.test_after import advice_after as advice_after  # a fixture


@pytest.mark.parametrize(
    ("about", "changes"),
    [
        ("short", {"epochs": 3}),
        ("sharp", {"epochs": 30, "temperature": 0.5}),
        ("small", {"epochs": 40, "student": ModelConfig(hidden=(4,))}),
        ("hard", {"epochs": 30, "alpha": 0.02}),
    ],
)
def test_a_real_run_with_one_thing_wrong_is_told_that_first(advice_after, about, changes):
    assert advice_after(**changes)[0].about == about


def test_of_a_real_run_that_is_as_it_should_be_only_its_single_seed_is_said(advice_after):
    (advice,) = advice_after(epochs=60)
    assert "on this seed" in advice.sentence
