"""Fresh processes agree."""

import subprocess
import sys

ONE_RUN = """
import hashlib, torch
from kd_core.data import load; from kd_core.training import loop
from kd_core.models.config import ModelConfig; from kd_core.training.config import RunConfig, TrainingConfig
config = RunConfig(
    role="teacher", dataset="digits", model=ModelConfig(hidden=(400, 400), dropout_hidden=0.3),
    training=TrainingConfig(epochs=1, batch_size=64),
)
run = loop.Training(config, load.load("digits"))
list(loop.train(run))
weights = b"".join(tensor.numpy().tobytes() for tensor in run.best_weights.values())
print(run.precision, hashlib.sha256(weights).hexdigest())
"""


def test_fresh_processes_give_the_same_precision_and_weights():
    results = [
        subprocess.run([sys.executable, "-c", ONE_RUN], capture_output=True, text=True, check=True) for _ in "ab"
    ]
    first, second = (result.stdout.split() for result in results)
    assert first == second
    assert first[0] == "float32"


def test_the_first_question_to_timm_in_a_process_is_answered():
    """It imports torchvision, which has to be mended before."""
    program = (
        "from kd_core.models.architectures import stock; print(stock.published_input('timm/mobilenetv4_conv_small'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:6]) == (0, "Input("), done.stderr
