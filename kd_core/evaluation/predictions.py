"""What a model says of every test image, as a table that leaves as CSV or Parquet; and where it is most wrong."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kd_core.evaluation.accuracy import Labels, Logits, losses, predictions
from kd_core.evaluation.soft import softened


def margins(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """The label's logit minus the largest other one, (N,): below 0 where the model is wrong."""
    exact, rows = np.asarray(logits, dtype=np.float64), np.arange(len(labels))
    others = exact.copy()
    others[rows, labels] = -np.inf
    margin: NDArray[np.float64] = exact[rows, labels] - others.max(axis=1)
    return margin


def most_wrong(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Indices of the examples that a model gets wrong, the largest loss first."""
    wrong = np.flatnonzero(predictions(logits) != labels)
    return wrong[np.argsort(-losses(logits, labels)[wrong], kind="stable")]


def table(
    logits: Logits, labels: Labels, class_names: tuple[str, ...], files: Sequence[str] | None = None
) -> pd.DataFrame:
    """A row for every test image, in the data set's order.

    files: of the source that each came from, where that is known; it becomes a column.
    label, predicted: classes by their index, and by name beside them. probability: of the predicted class at T = 1.
    margin: as margins has it. loss: cross-entropy in nats. logit_0, logit_1, …: of the classes in their order.
    """
    predicted, rows, names = predictions(logits), np.arange(len(labels)), np.array(class_names)
    columns = {
        "image": rows,
        **({} if files is None else {"file": files}),
        "label": labels,
        "label_name": names[labels],
        "predicted": predicted,
        "predicted_name": names[predicted],
        "correct": predicted == labels,
        "probability": softened(logits, 1.0)[rows, predicted],
        "margin": margins(logits, labels),
        "loss": losses(logits, labels),
    }
    return pd.DataFrame(columns | {f"logit_{k}": logits[:, k] for k in range(logits.shape[1])})


def as_file(rows: pd.DataFrame, kind: str) -> bytes:
    """The table as a file. kind: csv or parquet."""
    if kind == "csv":
        return rows.to_csv(index=False, lineterminator="\n").encode()
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    return buffer.getvalue()
