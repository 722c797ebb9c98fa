"""What a model says of each image, against a computation by hand; the worst first; the same from either file."""

import io
import math

import numpy as np
import pandas as pd
import pytest

from kd_core.evaluation import accuracy, predictions

LOGITS = np.array([[2, 0, -1], [0, 3, 1], [1, 5, 0], [4, 3.5, 0], [0, 9, 1]], np.float32)
LABELS = np.array([0, 1, 0, 1, 2])
NAMES = ("ash", "birch", "cherry")


def by_hand(logits, label):
    """Probability of the predicted class, margin and loss, in plain Python."""
    powers = [math.exp(logit) for logit in logits]
    others = [logit for k, logit in enumerate(logits) if k != label]
    return max(powers) / sum(powers), logits[label] - max(others), -math.log(powers[label] / sum(powers))


def test_each_row_says_what_a_computation_by_hand_does():
    rows = predictions.table(LOGITS, LABELS, NAMES)
    for index, (logits, label) in enumerate(zip(LOGITS.tolist(), LABELS, strict=True)):
        row = rows.loc[index]
        assert (row["probability"], row["margin"], row["loss"]) == pytest.approx(by_hand(logits, label))
        assert (row["image"], row["label"], row["label_name"]) == (index, label, NAMES[label])
        assert row["predicted_name"] == NAMES[int(np.argmax(logits))]
        assert row["correct"] == (np.argmax(logits) == label) == (row["margin"] > 0)
        assert [row[f"logit_{k}"] for k in range(3)] == logits
    assert rows["loss"].mean() == pytest.approx(accuracy.negative_log_likelihood(LOGITS, LABELS))


def test_the_worst_are_the_wrong_with_the_largest_loss_first():
    assert predictions.most_wrong(LOGITS, LABELS).tolist() == [4, 2, 3]
    assert predictions.most_wrong(LOGITS, LOGITS.argmax(axis=1)).tolist() == []


def test_csv_and_parquet_hold_the_same():
    rows = predictions.table(LOGITS, LABELS, NAMES)
    from_csv = pd.read_csv(io.BytesIO(predictions.as_file(rows, "csv")))
    from_parquet = pd.read_parquet(io.BytesIO(predictions.as_file(rows, "parquet")))
    assert from_parquet.equals(rows)
    assert "file" not in rows
    named = predictions.table(LOGITS, LABELS, NAMES, [f"{k}.png" for k in range(5)])
    assert named["file"].tolist() == [f"{k}.png" for k in named["image"]]
    pd.testing.assert_frame_equal(from_csv, rows, check_dtype=False, rtol=1e-12)
