"""KD_Lib's VanillaKD with Hinton's divergence, which its user has to write."""

import sys  # not counted
from unittest.mock import MagicMock  # not counted

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

sys.modules["KD_Lib.KD.text"] = MagicMock()  # not counted: it imports what torchtext and transformers no longer have
from KD_Lib.KD import VanillaKD  # noqa: E402


class Divergence(nn.Module):
    def forward(self, teacher, student):
        return F.kl_div(student.log(), teacher, reduction="batchmean")


def run(teacher, make_student, train, test):
    student = make_student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)
    loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(test, batch_size=64, shuffle=True)
    distiller = VanillaKD(
        teacher, student, *loaders, None, optimizer, loss_fn=Divergence(), temp=4.0, distil_weight=0.9
    )
    distiller.train_student(epochs=20, plot_losses=False)
    return student
