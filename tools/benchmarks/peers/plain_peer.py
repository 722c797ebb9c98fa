"""The zero line: what a first page on distillation has one write, in torch alone."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

TEMPERATURE, ALPHA = 4.0, 0.9


def run(teacher, make_student, train, test):
    student = make_student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)
    teacher.eval()
    student.train()
    for _ in range(20):
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            with torch.no_grad():
                targets = F.softmax(teacher(images) / TEMPERATURE, dim=1)
            logits = student(images)
            soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=1), targets, reduction="batchmean")
            loss = ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student
