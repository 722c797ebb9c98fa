"""Hugging Face's Trainer with kd.DistillationLoss: the recipe of docs/python.md."""

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

import kd_core as kd


class DistillationTrainer(Trainer):
    def __init__(self, *args, teacher, temperature=4.0, alpha=0.9, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher.eval().to(self.args.device)
        self.distillation = kd.DistillationLoss(temperature=temperature, alpha=alpha)
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        with torch.no_grad():
            taught = self.teacher(**inputs)["logits"]
        loss = self.distillation(outputs["logits"], taught, labels)
        return (loss, outputs) if return_outputs else loss


class Named(nn.Module):
    """Inputs and outputs by name, as the Trainer reads a network."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, pixel_values):
        return {"logits": self.net(pixel_values)}


def run(teacher, make_student, train, test, seed):
    student = make_student()
    arguments = TrainingArguments(
        "trainer",
        num_train_epochs=20,
        per_device_train_batch_size=64,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=seed,
        remove_unused_columns=False,
    )
    DistillationTrainer(
        Named(student),
        arguments,
        teacher=Named(teacher),
        train_dataset=[{"pixel_values": image, "labels": label} for image, label in train],
        optimizers=(torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9), None),
    ).train()
    return student
