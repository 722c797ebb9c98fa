"""Fields of configs as options of commands."""

import json
from typing import Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from kd_core.base.config import Config
from kd_core.cli.options import Fields, Values, takes


class Oven(Config):
    """A config that no command knows."""

    degrees: int = Field(180, ge=0, description="how hot it is")
    mode: Literal["fan", "grill"] = Field("fan", description="where the heat comes from")
    light: bool = Field(True, description="whether one sees in")
    mean: tuple[float, ...] | None = Field(None, description="of pixels")
    serial: str = Field("", description="not for a shell")


@pytest.fixture
def shell():
    """shell(words...) -> the finished command, which prints what it was given."""

    @takes(Fields(Oven, without=("serial",)))
    def bake(values: Values, name: str = "cake") -> None:
        print(json.dumps([name, values[Oven]]))

    app = typer.Typer(rich_markup_mode=None)
    app.command()(bake)
    return lambda *words: CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_each_field_is_an_option_with_its_description_and_default(shell):
    text = shell("--help").output
    for line in (
        "How hot it is.  [default: 180]",
        "Where the heat comes from.  [default: fan]",
        "--light / --no-light",
    ):
        assert line in text
    assert "<fan|grill>" in text
    assert "--serial" not in text


def test_a_command_gets_the_options_that_were_given_and_no_others(shell):
    assert json.loads(shell().stdout) == ["cake", {}]
    given = shell("--name", "pie", "--degrees", "200", "--no-light", "--mean", "0.5,0.25")
    assert json.loads(given.stdout) == ["pie", {"degrees": 200, "light": False, "mean": [0.5, 0.25]}]


def test_what_is_no_choice_of_a_field_is_refused(shell):
    assert shell("--mode", "microwave").exit_code == 2
    assert shell("--degrees", "hot").exit_code == 2
