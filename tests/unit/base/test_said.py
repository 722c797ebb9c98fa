"""What the engine says keeps its template: in lists, in errors of configs, and through JSON."""

import json

import pytest

from kd_core.base.config import ConfigError, in_a_list, in_a_row, in_words
from kd_core.base.process import REPORTS, Child, reported
from kd_core.base.templates import Said, counted, kept, read_back, said, said_by
from kd_core.data.own.library import Preparation
from kd_core.models.config import ModelConfig
from kd_core.training.config import TrainingConfig

NESTED = said(
    "{text}: {share:.0%} of {count:,}, {{so}}", text=said("Fetching {file}", file="a.bin"), share=0.5, count=1234
)


def templates(text):
    """The template of a text and those of its values, all that are Said."""
    if not isinstance(text, Said):
        return []
    return [text.template, *(inner for value in text.values.values() for inner in templates(value))]


@pytest.mark.parametrize("text", [NESTED, counted("{count} run", "{count} runs", 3), said("As it is, {braces} too")])
def test_what_is_said_reads_the_same_after_json(text):
    again = read_back(json.loads(json.dumps(kept(text))))
    assert (again, type(kept(text))) == (text, str)
    assert templates(again) == (templates(text) if text.values else [])  # without values its text is its template


@pytest.mark.parametrize(
    "text",
    [
        "a name",
        "",
        '{"said": 3}',
        '{"said": "{a.__class__}", "many": null, "values": {"a": 1}}',
        '{"said": "{a:>999999999}", "many": null, "values": {"a": 1}}',
        '{"said": "{a}", "many": null, "values": {}} and more',
    ],
)
def test_a_text_that_was_not_kept_stays_as_it_is(text):
    assert read_back(text) == text
    assert type(read_back(text)) is str


def test_a_template_that_grows_without_end_is_not_filled_in():
    fields = {"said": "x", "many": None, "values": {}}
    for _ in range(50):
        fields = {"said": "{a}{a}", "many": None, "values": {"a": fields}}
    assert read_back(json.dumps(fields)) == json.dumps(fields)


def test_an_error_is_asked_for_what_it_was_raised_with():
    assert templates(said_by(ConfigError(NESTED))) == templates(NESTED)
    assert (said_by(ValueError("no")), said_by(OSError(5, "I/O error"))) == ("no", "[Errno 5] I/O error")


@pytest.mark.parametrize(
    ("text", "reads", "says"),
    [
        (in_words(["3"]), "3", []),
        (in_words(["3", "4"]), "3 and 4", ["{first} and {last}"]),
        (in_words(["3", "4", "9"]), "3, 4 and 9", ["{first} and {last}", "{first}, {next}"]),
        (in_a_list(["3", "4"]), "3, 4", ["{first}, {next}"]),
        (in_a_row(["this", "that"]), "this; that", ["{first}; {next}"]),
    ],
)
def test_a_list_is_said_with_its_parts(text, reads, says):
    assert (text, templates(text)) == (reads, says)


@pytest.mark.parametrize(
    ("make", "reads", "template"),
    [
        (
            lambda: TrainingConfig(epochs=0),
            "epochs must be at least 1, got 0",
            "{field} must be at least {limit}, got {given}",
        ),
        (
            lambda: TrainingConfig(learning_rate=0),
            "learning_rate must be above 0, got 0",
            "{field} must be above {limit}, got {given}",
        ),
        (
            lambda: TrainingConfig(optimizer="x"),
            "optimizer must be 'adamw', 'adam' or 'sgd', got 'x'",
            "{field} must be {expected}, got {given}",
        ),
        (
            lambda: ModelConfig(channels=()),
            "channels must have at least 1 item, not 0, got ()",
            "{field} must have at least {limit} item, not {length}, got {given}",
        ),
        (lambda: ModelConfig(nodes=3), "there is no setting called nodes", "there is no setting called {name}"),
        (
            lambda: ModelConfig.from_json("[]"),
            "the config must be an object, got []",
            "{field} must be an object, got {given}",
        ),
        (
            lambda: Preparation(label="!"),
            "give the data set a name with at least one letter of a-z or digit",
            "give the data set a name with at least one letter of a-z or digit",
        ),
    ],
)
def test_a_rule_that_a_setting_breaks_is_said_in_a_template(make, reads, template):
    with pytest.raises(ConfigError) as refused:
        make()
    assert (str(refused.value), said_by(refused.value).template) == (reads, template)


def test_a_child_hears_templates_and_a_shell_reads_english(monkeypatch):
    child = Child()
    assert reported(NESTED) == "Fetching a.bin: 50% of 1,234, {so}"
    monkeypatch.setenv(REPORTS, "1")
    assert child._take_in(json.dumps({"text": reported(NESTED), "share": 0.5}))
    assert (child.text, templates(child.text)) == (NESTED, templates(NESTED))
