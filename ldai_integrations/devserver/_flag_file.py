"""Read a flag file, and notice when it was edited."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
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

# No editor takes this long between emptying a file and writing it.
STAYS_SECONDS = 0.4


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
        return self.parse(self._read())

    def parse(self, content: bytes | None) -> tuple[Payload, list[Problem]]:
        """Do what :meth:`load` does with content that was read already; ``None`` is that of a missing file."""
        self._content = content
        if content is None:
            raise FlagFileError([Problem(self.path.name, "", "cannot be read: is it there?", "structure")])
        try:
            source = json.loads(content)
        except ValueError as error:
            raise FlagFileError([Problem(self.path.name, "", f"is not JSON: {error}", "structure")]) from error
        return checked_payload(source, refused=["structure", "unreadable"])

    @contextlib.contextmanager
    def followed(self, reload: Callable[[FlagFile, bytes | None], None]) -> Iterator[None]:
        """Call back after each edit, in a thread of its own, about 0.1 s later.

        A file that somebody is writing may be empty, cut off or gone for a moment: what is no JSON has to stay.

        Args:
            reload: Called when the content is another than the one parsed last; is to parse it.
        """
        stop = threading.Event()

        def follow() -> None:
            found, since = self._content, time.monotonic()
            for _ in self._looks(stop):
                former, found = found, self._read()
                if found != former:
                    since = time.monotonic()
                if found != self._content and (_is_json(found) or time.monotonic() - since >= STAYS_SECONDS):
                    reload(self, found)

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


def _is_json(content: bytes | None) -> bool:
    try:
        json.loads(content or b"")
    except ValueError:
        return False
    return True
