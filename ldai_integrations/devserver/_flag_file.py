"""Read a flag file, and notice when it was edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from ._flags import checked_payload
from ._problems import FlagFileError, Problem

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from ._flags import Payload

# Network and container mounts may report no changes at all: look at the file this often in any case.
LOOK_EVERY_MS = 500


class FlagFile:
    """Follow one flag file. Belongs to one thread at a time."""

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

    def edits(self, stop: threading.Event) -> Iterator[None]:
        """Yield each time the content is another than the one loaded last, about 0.1 s after the edit.

        The directory is watched, as editors replace a file by renaming another one; that of the target too where the
        file is a symbolic link.

        Args:
            stop: Ends the iteration when set, about 0.05 s later.
        """
        names = {str(self.path.absolute()), str(self.path.resolve())}
        looks = watchfiles.watch(
            *{Path(name).parent for name in names},
            watch_filter=lambda _, changed: changed in names,
            debounce=100,
            rust_timeout=LOOK_EVERY_MS,
            yield_on_timeout=True,
            stop_event=stop,
            recursive=False,
        )
        for _ in looks:
            if self._read() != self._content:
                yield

    def _read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except OSError:
            return None
