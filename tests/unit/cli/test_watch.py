"""What pauses a run that a shell trains."""

import os
import signal

import pytest

from kd_core.cli import watch


@pytest.fixture
def interrupted(monkeypatch, heeded_signals):
    """What the signals of a block are noted as; handlers are those of before after it."""
    before = [signal.getsignal(number) for number in watch.ENDING]
    monkeypatch.setattr(watch, "_leave_terminal", lambda: None)
    with watch._interrupts() as interrupted:
        yield interrupted
    assert [signal.getsignal(number) for number in watch.ENDING] == before


@pytest.mark.parametrize("number", [signal.SIGINT, *watch.ENDING])
def test_the_first_signal_is_noted_and_none_but_another_ctrl_c_ends_the_program(interrupted, number):
    assert interrupted() is None
    signal.raise_signal(number)
    for other in watch.ENDING:  # a session that ends sends both
        signal.raise_signal(other)
    assert interrupted() == number
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watch._interrupts() as interrupted:
            signal.raise_signal(signal.SIGHUP)
        assert interrupted() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_was_closed_is_written_to_no_more(monkeypatch):
    """Writing to it raises an error, and the run would end by that instead of saving itself."""
    master, terminal = os.openpty()
    kept = os.dup(1)
    try:
        os.dup2(terminal, 1)
        os.close(master)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(1, b"x")
        watch._leave_terminal()
        assert os.write(1, b"x") == 1
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(terminal)
