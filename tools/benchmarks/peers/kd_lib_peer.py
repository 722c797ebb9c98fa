"""KD_Lib's VanillaKD, as its README has one write it: its own loss, and the test set as its second loader."""

import sys  # not counted
from unittest.mock import MagicMock  # not counted

import torch
from torch.utils.data import DataLoader

sys.modules["KD_Lib.KD.text"] = MagicMock()  # not counted: it imports what torchtext and transformers no longer have
from KD_Lib.KD import VanillaKD  # noqa: E402


def run(teacher, make_student, train, test):
    student = make_student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)
    loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(test, batch_size=64, shuffle=True)
    distiller = VanillaKD(teacher, student, *loaders, None, optimizer, temp=4.0, distil_weight=0.9)
    distiller.train_student(epochs=20, plot_losses=False)
    return student
