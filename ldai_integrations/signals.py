"""The blinker signals of runs.

The sender of every signal is the ``config_key``, a plain string, so a receiver can subscribe to one AI Config::

    @run_finished.connect_via("support-bot")
    def bill(config_key: str, *, record: RunRecord) -> None: ...

blinker holds weak references: connect a function that lives as long as the application, or pass ``weak=False``.
Receivers are called on the thread or in the task that finishes the run, and must not block. An exception in a receiver
is logged and never reaches the request. After a long answer whose tokens have to be counted, or after many provider
calls, ``run_finished`` is sent from a thread of the library.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

__all__ = ["default_served", "run_finished", "run_opened"]

_signals = Namespace()

#: A run was opened. It sends ``run``, the open :class:`~ldai_integrations.Run`.
run_opened: NamedSignal = _signals.signal("run-opened")

#: A run has ended, with any outcome, including discarded runs and disabled AI Configs.
#: It sends ``record``, the :class:`~ldai_integrations.records.RunRecord`.
run_finished: NamedSignal = _signals.signal("run-finished")

#: LaunchDarkly had no usable variation, and the default was served.
#: It sends ``reason``, a short text without any value of the variation.
default_served: NamedSignal = _signals.signal("default-served")
