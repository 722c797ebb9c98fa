"""The distillation engine of KD Lab. It knows nothing of the screen: no module here imports streamlit.

Data flows one way, and the modules are named after its stations:

    places      where the store and the data sets lie
    files       whole files or none: written aside, synced, renamed
    config      what a run is: frozen, validated, JSON both ways; imports no torch
    datasets    name -> images and labels in memory, with their normalisation
    vision      the only door to torchvision, and the repair it needs beside a CPU build of torch
    arithmetic  the device and the precision that a model computes in
    precision   float32 or bfloat16: a rule, by which every run is settled before it is queued
    models      name -> nn.Module; parameters and multiply-adds
    losses      pure functions of logits: softened probabilities, the objective, its closed-form gradient
    objectives  what a student minimises, Hinton's loss or another: formulas, and the one place that computes them
    taps        what a network shows on its way to the logits
    lessons     what one example teaches: losses, gradients, and what T does to their size
    drawing     any picture -> an image as a data set has them; of a digit, 28x28 as MNIST's are made
    programs    a torch.export program, read without the loader that trusts it
    black_box   a program or ONNX file as a module that gives logits
    brought     a brought teacher as a module, given the pixels that it was trained on
    teacher_files  somebody's file -> a teacher, or a sentence on what differs
    trial       a file tried in a process of its own, then made a run
    training    train(state) -> a generator of progress records; checkpoint and exact resume
    sweep       many small students trained together as one batched model
    tensors     tensors on disk: safetensors and checkpoints, nothing that runs code
    artifacts   what a run leaves behind: weights, logits, a card; and how they are read back
    evaluation  pure functions of logits and labels: test errors, significance, calibration, confusion, agreement
    claims      what measured numbers allow one to say, and how they are written
    features    what a model's last layer is given, and its plane of largest variance
    landscape   the loss on a plane through a model's weights
    speed       latency, throughput and size, measured side by side
    runs        the run store: SQLite for what happened, a folder of files beside it for the weights
    cluster     the Dask workers, on this machine or on many, and how they are started
    performing  one run from its config or checkpoint to what it leaves; on a worker or here
    jobs        the queue: submit, pause, stop, resume; who gets which worker
    live        what somebody who watches runs needs to be told since the last time
    bundles     one run as one file, to another machine and back; its records as tables
    model_card  a run told in words
    shipped     the trained models that come with KD Lab, for machines without a network
    export      a model as files for other programs, each checked against the original
    exported    what an export left: its files and their checks; imports no torch
    snippets    ready-made programs that run an exported model
    browser_page  an exported model as one HTML file that runs it on what is drawn
    report      a comparison as one HTML file for a hand-out
    recipes     the story of teacher, baseline and distilled student; named experiments
    paper       the MNIST experiments of Hinton, Vinyals and Dean, to be redone beside what they print
    advice      what is known before a run starts: how long it takes here, what is known to hurt
    evidence    what a distilled run and the runs around it left, for diagnosis
    diagnosis   after a run: what its own numbers say, and the next experiment
    comparison  all objectives at equal budget: what it takes, and which differences are more than luck
    figures     plain records -> plotly figures
    __main__    the same engine from a shell: python -m kd_core
"""

import os

# ONNX Runtime looks up its maker's host and leaves a device id in the user's cache folder as soon as it is imported.
# No module of ours, and none of the processes that it starts, imports it before this line.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
