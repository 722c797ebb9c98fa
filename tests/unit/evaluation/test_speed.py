"""What a speed measurement says of itself. How fast anything is, is no test's business."""

import json
import platform

import numpy as np
import pytest
import torch
from torch import nn

from kd_core.data import load
from kd_core.evaluation import speed


class Counting(nn.Module):
    """Notes the order in which models are called."""

    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls, self.weight = name, calls, nn.Parameter(torch.zeros(3))

    def forward(self, values):
        assert not self.training
        self.calls.append((self.name, len(values)))
        return values


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS_PER_CANDIDATE", 0.0)
    monkeypatch.setattr(speed, "SECONDS", 3600.0)  # or a machine that stalls leaves a batch size out
    monkeypatch.setattr(speed, "BATCH_SIZES", (1, 512))


PIXELS = torch.arange(4 * 4, dtype=torch.uint8).view(4, 1, 2, 2)


def test_every_candidate_is_called_once_a_round_in_an_order_that_changes(hurried):
    calls = []
    candidates = {name: lambda batch, name=name: calls.append((name, len(batch))) for name in "abc"}
    taken = speed.in_rounds(candidates, np.zeros((2, 1, 1, 1), np.float32), (1, 8))
    warm_up = 3 * speed.WARM_UP_ROUNDS
    orders = set()
    for size in (1, 8):
        called = [name for name, count in calls if count == size][warm_up:]
        rounds = [tuple(called[start : start + 3]) for start in range(0, len(called), 3)]
        assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
        assert {len(taken[size][name]) for name in "abc"} == {len(rounds)} == {speed.FEWEST_ROUNDS}
        orders |= set(rounds)
    assert len(orders) > 3
    before, again = list(calls), calls.clear()
    assert again is None
    speed.in_rounds(candidates, np.zeros((2, 1, 1, 1), np.float32), (1, 8))
    assert calls == before


def test_batches_repeat_the_images_in_order(hurried):
    batches = {}
    speed.in_rounds({"a": lambda batch: batches.setdefault(len(batch), batch)}, PIXELS.float().numpy(), (1, 8))
    assert batches[1].tolist() == PIXELS[:1].tolist()
    assert batches[8].tolist() == [*PIXELS.tolist(), *PIXELS.tolist()]


def test_batches_that_would_take_too_long_are_left_out_but_never_the_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def slow(batch):
        now[0] += 0.05 * len(batch)

    taken = speed.in_rounds({"a": slow}, np.zeros((1, 1, 1, 1), np.float32), (1, 8, 64, 512))
    assert list(taken) == [1, 8]
    assert now[0] < speed.SECONDS
    now[0] = 0.0
    assert list(
        speed.in_rounds({"a": lambda batch: slow(batch.repeat(100, 0))}, np.zeros((1, 1), np.float32), (1, 8))
    ) == [1]


def test_a_measurement_bears_what_pages_and_readers_need(hurried):
    calls = []
    candidates = {name: Counting(name, calls).train() for name in ("teacher", "student")}
    result = speed.measure(candidates, PIXELS, threads=1)
    assert {count for _, count in calls} == {1, 512}
    assert list(result["runtimes"]) == ["teacher", "student"]
    for measured in result["runtimes"].values():
        assert list(measured) == ["pytorch"]
        assert 0 < measured["pytorch"]["1"]["latency_ms_p50"] <= measured["pytorch"]["1"]["latency_ms_p95"]
        assert measured["pytorch"]["512"]["images_per_second"] > 0
        for size, row in measured["pytorch"].items():
            assert row["latency_ms_p05"] <= row["latency_ms_p50"] <= row["latency_ms_p95"]
            assert row["latency_ms_spread"] >= 0
            assert row["images_per_second"] == pytest.approx(1e3 * int(size) / row["latency_ms_p50"])
            assert row["repeats"] >= speed.FEWEST_ROUNDS
    for size in ("1", "512"):
        middle, low, high = result["ratios"]["pytorch"][size]["teacher"]["student"]
        assert low <= middle <= high
        assert result["ratios"]["pytorch"][size]["student"]["teacher"] == pytest.approx([1 / middle, 1 / high, 1 / low])
        low, high = result["itself"][size][1:]
        assert 0 < low <= high
    conditions = result["conditions"]
    assert (conditions["threads"], conditions["torch"]) == (1, torch.__version__)
    assert conditions["python"] == platform.python_version()
    assert conditions["processor"]
    assert json.loads(json.dumps(result)) == result


def test_a_model_alone_can_be_measured(hurried):
    result = speed.measure({"m": nn.Identity()}, PIXELS)
    assert result["ratios"] == {"pytorch": {"1": {"m": {}}, "512": {"m": {}}}}


def test_thread_count_is_put_back(hurried):
    before = torch.get_num_threads()
    speed.measure({"m": nn.Identity()}, PIXELS, threads=1)
    assert torch.get_num_threads() == before


def test_pytorch_normalises_as_the_data_set_does_and_leaves_pixels_alone():
    digits = load.load("digits")
    pixels = digits.test_images[:3].float().numpy()
    before = pixels.copy()
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    logits = speed.eager(model, digits.mean, digits.std)(pixels)
    torch.testing.assert_close(logits, model(digits.normalise(digits.test_images[:3])).detach())
    assert (pixels == before).all()


def test_an_exported_model_is_measured_beside_pytorch(hurried, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    shape = ["n", 1, 2, 2]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["images"], ["logits"])],
        "identity",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "model.onnx"
    opset = [onnx.helper.make_opsetid("", 18)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    pixels = PIXELS.float().numpy()
    assert (speed.onnx_session(path, 1)(pixels) == pixels).all()
    models = {"a": nn.Identity(), "b": nn.Identity()}
    result = speed.measure(models, PIXELS, exports={"b": {"onnx": path, "onnx_int8": path}}, threads=1)
    assert {name: list(runtimes) for name, runtimes in result["runtimes"].items()} == {
        "a": ["pytorch"],
        "b": ["pytorch", "onnx", "onnx_int8"],
    }
    assert list(result["ratios"]) == ["pytorch", "onnx", "onnx_int8"]
    assert result["ratios"]["onnx"]["1"] == {"b": {}}
    assert result["conditions"]["onnxruntime"]


# ------------------------------------------------------------------------------------- what is said of the numbers


def rounds(generator, count=60):
    """Draws seconds on a machine that has slow spells, which it shares, skewed noise, and a stall now and then."""
    spell = np.repeat(generator.lognormal(0, 0.3, size=count // 6), 6)

    def draw():
        stalls = 1 + 20 * (generator.random(count) < 0.02)
        return 1e-3 * spell * generator.lognormal(0, 0.1, count) * stalls

    return draw


@pytest.mark.parametrize("true", [0.25, 1.0, 1.9])
def test_a_known_ratio_is_covered_in_about_95_percent_of_cases_and_recovered(true):
    generator = np.random.default_rng(0)
    covered, middles = 0, []
    for _ in range(1000):
        draw = rounds(generator)
        middle, low, high = speed.ratio(true * draw(), draw())
        covered += low <= true <= high
        middles.append(middle)
    assert 0.93 <= covered / 1000 <= 0.99
    assert np.median(middles) == pytest.approx(true, rel=0.01)


def test_a_model_against_itself_reads_one_within_its_interval_which_is_narrow():
    generator = np.random.default_rng(5)
    draw = rounds(generator, 600)
    _, low, high = speed.ratio(draw(), draw())
    assert low <= 1 <= high
    assert high / low < 1.05
    same = draw()
    assert speed.ratio(same, same) == (1, 1, 1)


def test_a_ratios_interval_lies_between_the_binomials_order_statistics():
    """Of 10 rounds the 2nd and the 9th: P(2 <= Binomial(10, 1/2) <= 8) = 0.979, and 0.891 one further in."""
    ratios = [5, 1, 9, 3, 7, 2, 10, 4, 8, 6]
    _, low, high = speed.ratio(ratios, [1] * 10)
    assert (low, high) == pytest.approx((2, 9))


def test_swapping_two_models_inverts_their_ratio():
    generator = np.random.default_rng(3)
    draw = rounds(generator)
    first, second = 2 * draw(), draw()
    (ratio, low, high), swapped = speed.ratio(first, second), speed.ratio(second, first)
    assert swapped == pytest.approx((1 / ratio, 1 / high, 1 / low))


@pytest.mark.parametrize(("first", "second"), [([1.0] * 5, [1.0] * 5), ([1.0] * 9, [1.0] * 8)])
def test_a_ratio_needs_six_rounds_of_both(first, second):
    with pytest.raises(ValueError, match="six rounds of both"):
        speed.ratio(first, second)


def test_spread_is_the_scaled_median_absolute_deviation():
    summary = speed._summary([1e-3, 2e-3, 3e-3, 4e-3, 100e-3], batch_size=2)
    assert summary["latency_ms_p50"] == pytest.approx(3)
    assert summary["latency_ms_spread"] == pytest.approx(1 / 0.6744897501960817)
    assert summary["images_per_second"] == pytest.approx(2 / 3e-3)


def test_size_counts_parameters_and_buffers_in_their_own_width():
    model = nn.Sequential(nn.Linear(3, 4).half(), nn.BatchNorm1d(4))
    assert speed.size_bytes(model) == 2 * (12 + 4) + 4 * (4 + 4 + 4 + 4) + 8
