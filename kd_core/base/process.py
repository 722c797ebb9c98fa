"""How KD Lab's processes use threads and memory. Call it before torch is imported."""

import contextlib
import ctypes
import os

_M_ARENA_MAX = -8  # of glibc's malloc.h
WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""torch's threads wait for each other asleep. Spinning, they lose a factor of five as soon as another program wants one
of their cores, and a page is such a program (MNIST epoch 6.4 to 7.3 s against 1.4 s; two cores, torch 2.13). The other
way round, the page's prediction for one image took 10 ms of the processor beside training, and 1 ms so."""


def let_threads_sleep() -> None:
    """Have this process wait as its workers do (WORKER_ENVIRONMENT). Call it before torch is imported."""
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def keep_heaps_few() -> None:
    """Have the threads of this process share two heaps, where glibc would give each its own, up to eight a core.

    What many short-lived threads leave in heaps of their own is not given back: a class of 30 let the app's process
    grow by 79 MB a minute, and by 32 with two heaps (three minutes each, on two cores).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library, which has no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
