"""torchdistill, after examples/torchvision/image_classification.py, without its evaluation and its checkpoints."""

from pathlib import Path

import torch
from torchdistill.common import yaml_util
from torchdistill.core.distillation import get_distillation_box


def run(teacher, make_student, train, test):
    config = yaml_util.load_yaml_file(str(Path(__file__).with_name("torchdistill_peer.yaml")))
    student = make_student()
    box = get_distillation_box(
        teacher, student, {"train": train, "test": test}, config["train"], torch.device("cpu"), None, False, 1
    )
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for images, labels, extra in box.train_data_loader:
            loss = box.forward_process(images, labels, extra)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()
    box.clean_modules()
    return student
