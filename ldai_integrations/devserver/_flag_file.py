"""Read a flag file, and follow its edits."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from .._files import parse_json, read_flag_bytes
from ._checks import FlagFileError, Payload, Problem, check_source

logger = logging.getLogger("ldai_integrations.devserver")

# The file is read this often: network and container mounts do not report changes.
POLL_SECONDS = 0.2
# An edit is complete if the file is still the same after so many further reads. No editor takes as long to write it.
SAME_READS = 2

_UNREADABLE = "cannot be read: check the path, which must be that of a regular file of at most 64 MB"


def read_flag_file(path: Path) -> list[str]:
    """Check a flag file as the dev server does, without a server.

    Args:
        path: The file.

    Returns:
        Its values that work but are probably mistakes, one line each.

    Raises:
        FlagFileError: The file cannot be read, is not JSON, or contains flags that an SDK cannot read.
    """
    _, problems = FlagFile(path).load()
    return [str(problem) for problem in problems]


class FlagFile:
    """A flag file that can be read and followed.

    Args:
        path: JSON of the form ``{"flags": …, "segments": …, "flagValues": …}``. Either ``flags`` or ``flagValues`` must
            be present.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: bytes | None = None

    def load(self) -> tuple[Payload, list[Problem]]:
        """Read the flags.

        A file is written by hand. Therefore everything that LaunchDarkly's SDKs cannot read is refused.

        Returns:
            The payload to serve, and its suspect parts.

        Raises:
            FlagFileError: The file cannot be read, is not JSON, or contains flags that an SDK cannot read.
        """
        return self._parse(self._read())

    def _parse(self, content: bytes | None) -> tuple[Payload, list[Problem]]:
        """Do the same as :meth:`load` with content that was already read, or ``None`` if it cannot be read."""
        self._content = content
        if content is None:
            raise FlagFileError([Problem(self.path.name, "", _UNREADABLE, "structure")])
        try:
            source = parse_json(content)
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            text = f"is not UTF-8, in line {line}; save it in this encoding"
            raise FlagFileError([Problem(self.path.name, "", text, "structure")]) from error
        except ValueError as error:
            raise FlagFileError([Problem(self.path.name, "", f"is not JSON: {error}", "structure")]) from error
        return check_source(source, refused=["structure", "unreadable"])

    @contextlib.contextmanager
    def follow(self, serve: Callable[[Payload, list[Problem]], list[str]]) -> Iterator[None]:
        """Serve each edit that has no errors, in a separate thread.

        While an editor writes the file, it may be empty, incomplete or missing for a moment.

        Args:
            serve: Takes the payload and its suspect parts, and returns what has changed, in words.
        """
        stop = threading.Event()

        def watch() -> None:
            found, same = self._content, 0
            while not stop.wait(POLL_SECONDS):
                former, found = found, self._read()
                same = same + 1 if found == former else 0
                if same == SAME_READS and found != self._content:
                    self._reload(found, serve)

        thread = threading.Thread(target=watch, name="ldai-devserver-file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _reload(self, content: bytes | None, serve: Callable[[Payload, list[Problem]], list[str]]) -> None:
        """Serve an edit, or log why it is not served."""
        try:
            changed = serve(*self._parse(content))
        except FlagFileError as refusal:
            for problem in refusal.problems:
                logger.error("%s: edit refused, the last valid version is still served: %s", self.path.name, problem)
        except Exception as failure:  # whatever it is, the next edit must be noticed
            logger.error(
                "%s: edit not served, the last valid version is still served: %s was raised",
                self.path.name,
                type(failure).__name__,
            )
        else:
            if changed:
                logger.info("%s: %s", self.path.name, ", ".join(changed))

    def _read(self) -> bytes | None:
        try:
            return read_flag_bytes(self.path)
        except (OSError, ValueError, MemoryError):
            return None
