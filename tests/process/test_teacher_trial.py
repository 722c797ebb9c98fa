"""A teacher's file is tried in a process of its own, which leaves nothing behind."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from kd_core.base.config import LabError
from kd_core.exchange.teacher import trial
from tests.engine.test_teacher_files import as_onnx
from tests.engine.test_teacher_files import elsewhere as elsewhere  # a fixture


def test_a_memory_bomb_ends_its_own_process_and_leaves_nothing_behind(elsewhere, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def huge(graph):
        graph.node.insert(0, helper.make_node("ConstantOfShape", ["size"], ["zeros"]))
        graph.initializer.append(numpy_helper.from_array(np.array([200_000, 200_000]), "size"))
        graph.node.append(helper.make_node("ReduceMax", ["zeros"], ["most"], keepdims=0))
        graph.node[-2].output[0] = "before"
        graph.node.append(helper.make_node("Add", ["before", "most"], ["logits"]))

    running = trial.Trial(as_onnx(elsewhere.weights, change=huge), trial.Ask(file="bomb.onnx", dataset="digits"))
    with pytest.raises(LabError, match=r"cannot run this file|more memory than a teacher may"):
        running.outcome()
    assert not [*tmp_path.iterdir()]


def test_a_stopped_trial_leaves_nothing_behind(elsewhere, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = trial.Trial(elsewhere.files["onnx"], trial.Ask(file="x.onnx", dataset="digits"))
    running.close()
    with pytest.raises(LabError, match="stopped"):
        running.outcome()
    assert not [*tmp_path.iterdir()]
