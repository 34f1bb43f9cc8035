"""Signals: the first asks for an end, a second one stops a lone process at once."""

import signal

import pytest

from openexpose.training import processes
from openexpose.training.processes import stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_a_lone_process(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: now[0])
    before = signal.getsignal(number)
    with stop_signals(1) as stop:
        signal.raise_signal(number)
        assert stop.is_set()
        if number == signal.SIGTERM:
            signal.raise_signal(number)  # as `timeout` does
        now[0] += 2.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_of_several_waits_for_the_others(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TWICE_S", 0.0)
    with stop_signals(2) as stop:
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert stop.is_set()
