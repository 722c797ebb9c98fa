"""mdistiller, after its tools/train.py, whose networks and data sets are its own: here with others."""

import torch
from mdistiller.distillers import distiller_dict
from mdistiller.engine import trainer_dict
from mdistiller.engine.cfg import CFG
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.Tensor.cuda = lambda tensor, **_: tensor  # not counted: its trainer asks for a GPU
SETTINGS = """
DISTILLER:
  TYPE: "KD"
KD:
  TEMPERATURE: 4
  LOSS:
    CE_WEIGHT: 0.1
    KD_WEIGHT: 0.9
SOLVER:
  TYPE: "SGD"
  BATCH_SIZE: 64
  EPOCHS: 20
  LR: 0.01
  MOMENTUM: 0.9
  WEIGHT_DECAY: 0.0
  LR_DECAY_STAGES: []
LOG:
  WANDB: False
"""


class Logits(nn.Module):
    """Logits with a dict of features, as its distillers read a network."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return self.net(image), {}


class Numbered(Dataset):
    """Examples with their place, as its trainer reads them."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return *self.data[index], index


def run(teacher, make_student, train, test):
    CFG.merge_from_other_cfg(CFG.load_cfg(SETTINGS))
    student = make_student()
    distiller = nn.DataParallel(distiller_dict["KD"](Logits(student), Logits(teacher), CFG))
    train_loader = DataLoader(Numbered(train), batch_size=CFG.SOLVER.BATCH_SIZE, shuffle=True)
    trainer_dict["base"]("peer", distiller, train_loader, DataLoader(test, batch_size=64), CFG).train()
    return student
