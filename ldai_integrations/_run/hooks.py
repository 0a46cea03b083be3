"""What happens at the items of a tracked stream, and at its end."""

from __future__ import annotations

from typing import Any


class StreamHooks:
    """The hooks of a tracked stream: what happens at its items and at its end. By default, they do nothing.

    Attributes:
        run: The run that each step is bound to; ``None`` to bind nothing.
        binder: The functions that bind and unbind it; see :func:`~ldai_integrations._run.context.binder`.
        binds_methods: Whether the stream's methods take their steps through the stand-in. Helpers that accumulate a
            stream consume it in methods of their own, such as openai's ``get_final_response``.
        response: The HTTP response of the stream. Whoever closes it closes the stream.
    """

    run: Any = None
    binder: tuple[Any, Any] = (None, None)
    binds_methods: bool = False
    response: Any = None

    def on_item(self, item: object) -> object:
        """Take an item; return a true value to keep it from the consumer."""

    def on_end(self, exc: BaseException | None) -> None:
        """Take the exception that ended the stream.

        ``None`` means that it was exhausted, ``GeneratorExit`` that its consumer closed it. May be called more than
        once.
        """

    def on_enter(self, entered: object) -> Any:
        """Return what a ``with`` block gets instead of the stream that a manager gives."""
        return entered

    def on_enter_failed(self, exc: BaseException) -> None:
        """Take the exception that a manager raised instead of giving its stream."""
        self.on_end(exc)

    def on_drop(self) -> None:
        """Note that the stream was garbage collected. Must take no lock, start no thread and run no user code."""

    def last_item(self) -> Any:
        """Return an item to append to the stream; ``None`` for none."""
        return None

    def read_rest(self) -> None:
        """Read what the provider still sends, before the stream is closed."""

    async def aread_rest(self) -> None:
        """Read what the provider still sends, before the stream is closed."""
