"""Read a flag file, and notice when it was edited."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from ._flags import checked_payload
from ._problems import FlagFileError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._flags import Payload

logger = logging.getLogger("ldai_integrations.devserver")

# Network and container mounts may report no changes at all: look at the file this often in any case.
LOOK_EVERY_MS = 500


class FlagFile:
    """Read one flag file, and follow it."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read yet.

        Args:
            path: JSON of the form ``{"flags": …, "segments": …, "flagValues": …}``, all parts but one optional.
        """
        self.path = path
        self._content: bytes | None = None

    def load(self) -> tuple[Payload, list[Problem]]:
        """Read the flags.

        A file is written by hand, so everything that LaunchDarkly's SDKs cannot read is refused.

        Returns:
            The payload to serve, and what is suspect in it.

        Raises:
            FlagFileError: The file cannot be read, is no JSON, or holds flags that an SDK cannot read.
        """
        self._content = self._read()
        if self._content is None:
            raise FlagFileError([Problem(self.path.name, "", "cannot be read: is it there?", "structure")])
        try:
            source = json.loads(self._content)
        except ValueError as error:
            raise FlagFileError([Problem(self.path.name, "", f"is not JSON: {error}", "structure")]) from error
        return checked_payload(source, refused=["structure", "unreadable"])

    @contextlib.contextmanager
    def followed(self, reload: Callable[[FlagFile], None]) -> Iterator[None]:
        """Call back after each edit, in a thread of its own, about 0.1 s later.

        Args:
            reload: Called when the content is another than the one loaded last; is to load it.
        """
        stop = threading.Event()

        def follow() -> None:
            for _ in self._looks(stop):
                if self._read() != self._content:
                    reload(self)

        thread = threading.Thread(target=follow, name="ldai-devserver-file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _looks(self, stop: threading.Event) -> Iterator[object]:
        """Yield whenever it is time to look at the file.

        The directory is watched, as editors replace a file by renaming another one; that of the target too where the
        file is a symbolic link.
        """
        names = {str(self.path.absolute()), str(self.path.resolve())}
        try:
            yield from watchfiles.watch(
                *{Path(name).parent for name in names},
                watch_filter=lambda _, changed: changed in names,
                debounce=100,
                rust_timeout=LOOK_EVERY_MS,
                yield_on_timeout=True,
                stop_event=stop,
                recursive=False,
            )
        except (OSError, RuntimeError) as failure:  # such as: too many watched files on this machine
            logger.warning("%s: edits may take %d ms to be noticed: %s", self.path.name, LOOK_EVERY_MS, failure)
            while not stop.wait(LOOK_EVERY_MS / 1000):
                yield None

    def _read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except OSError:
            return None
