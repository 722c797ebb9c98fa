"""Figures: the lines that the live view fills, and how runs of one role are told apart."""

import json

import pytest

from pages.shared.figures.curves import PANELS, Curve, learning_curves
from pages.shared.figures.style import DASHES, ROLE_COLOURS, dashes_of, decade_ticks, labels_of

CURVES = [Curve("t1", "Teacher", "teacher"), Curve("b1", "Baseline", "baseline"), Curve("d1", "Distilled", "distilled")]


@pytest.mark.parametrize(("columns", "rows"), [(2, 2), (1, 4)])
def test_learning_curves_have_a_panel_a_measure_and_a_line_a_run(columns, rows):
    figure = learning_curves(CURVES, epochs=7, columns=columns)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == list(PANELS.values())
    lines = [(line.meta["panel"], line.meta["run"], line.meta["raw"]) for line in figure.data]
    losses = [(panel, run, raw) for panel in PANELS for run in ("t1", "b1", "d1") for raw in (True, False)]
    assert lines == [line for line in losses if line[0] != "validation_accuracy" or not line[2]]
    axes = {line.yaxis or "y" for line in figure.data}
    assert len(axes) == len(PANELS) == rows * columns
    for panel in PANELS:
        assert len({line.yaxis for line in figure.data if line.meta["panel"] == panel}) == 1
    lefts = {round(figure.layout[f"xaxis{number or ''}"].domain[0], 3) for number in (0, 2, 3, 4)}
    assert len(lefts) == columns


def test_learning_curves_carry_units_roles_colours_and_no_data():
    figure = learning_curves(CURVES, epochs=7)
    roles = {curve.id: curve.role for curve in CURVES}
    for line in figure.data:
        assert line.line.color == ROLE_COLOURS[roles[line.meta["run"]]]
        assert len(line.x) == len(line.y) == 0
        assert line.line.width < 2 if line.meta["raw"] else line.line.width == 2
    units = [figure.layout[f"yaxis{number or ''}"].title.text for number in (0, 2, 3, 4)]
    assert units == ["%" if panel == "validation_accuracy" else "nats per example" for panel in PANELS]
    other = learning_curves(CURVES, epochs=7, nats=False)
    units = [other.layout[f"yaxis{number or ''}"].title.text for number in (0, 2, 3, 4)]
    assert units == ["per example", "%", "per example", "nats per example"]
    assert tuple(figure.layout.xaxis.range) == (0, 7)
    assert figure.layout.xaxis3.title.text == figure.layout.xaxis4.title.text == "epochs"
    json.loads(figure.to_json())


def test_runs_of_one_role_have_different_dashes_and_the_first_of_each_is_solid():
    roles = ["teacher", "distilled", "distilled", "baseline", "distilled"]
    assert dashes_of(roles) == ["solid", "solid", "dash", "solid", "dot"]
    assert dashes_of([]) == []
    assert dashes_of(["teacher"] * 6) == [*DASHES, "solid"]


def test_beside_a_mistake_right_is_solid_and_wrong_is_dashed():
    assert dashes_of(["distilled", "mistake", "distilled", "mistake"]) == ["solid", "dash", "solid", "dash"]


def test_the_smooth_line_bears_the_dash_and_the_faint_one_under_it_is_solid():
    figure = learning_curves([Curve("a", "A", "distilled"), Curve("b", "B", "distilled")], epochs=1)
    dashes = {(line.meta["run"], line.meta["raw"]): line.line.dash for line in figure.data}
    assert dashes == {("a", True): "solid", ("a", False): "solid", ("b", True): "solid", ("b", False): "dash"}


def test_learning_curves_of_no_run_are_empty_panels():
    figure = learning_curves([], epochs=1)
    assert len(figure.data) == 0
    assert len(figure.layout.annotations) == len(PANELS)


def test_a_line_is_labelled_by_its_kind_if_that_is_unique_else_its_name():
    assert labels_of(["teacher", "distilled"], ["A", "B"]) == ["teacher", "distilled"]
    assert labels_of(["distilled", "distilled"], ["A", "B"]) == ["A", "B"]
    mistaken = [Curve(str(k), f"seed {k}", kind) for k, kind in enumerate(["distilled", "mistake"] * 2)]
    labels = {(line.meta["run"], line.meta["label"]) for line in learning_curves(mistaken, epochs=1).data}
    assert {label for _, label in labels if label} == {"distilled", "mistake"}


def test_an_axis_over_a_part_of_a_decade_has_ticks_too():
    for low, high in ((1_275_200, 2_392_800), (5.1e6, 9.6e6), (0.06, 0.11), (2, 7)):
        assert 2 <= sum(low <= tick <= high for tick in decade_ticks([low, high])) <= 6, (low, high)
    assert decade_ticks([3.0, 3.0])[:3] == [0.1, 0.2, 0.5]
