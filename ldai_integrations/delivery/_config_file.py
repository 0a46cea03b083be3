"""AI Configs from a file: a data source of LDClient that reads JSON and follows edits."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

from ldclient import Config
from ldclient.interfaces import DataSourceState, FeatureStore, UpdateProcessor
from ldclient.versioned_data_kind import FEATURES, SEGMENTS

from .._diagnostics import Diagnostics
from .._files import parse_json, read_flag_bytes

_POLL_SECONDS = 1.0


class ConfigFileError(Exception):
    """A file that cannot be used. The text says why, after its name."""


class ConfigFile(UpdateProcessor):
    """A data source that reads a file, and reads it again after each edit. A broken edit changes nothing.

    The SDK's own one reads the file as YAML 1.1 where PyYAML is installed, and then ``1e-5`` is a text.

    Args:
        path: A file of the format of LaunchDarkly's file data source, in JSON.
        config: The configuration of the LDClient.
        store: The flags of the LDClient.
        ready: Is set when the file has been read.
        diagnostics: Receives problems with the file: each is logged once, and again after the file was good.
    """

    def __init__(
        self, path: Path, config: Config, store: FeatureStore, ready: threading.Event, *, diagnostics: Diagnostics
    ) -> None:
        self._path = path
        self._diagnostics = diagnostics
        self._sink = config.data_source_update_sink
        self._store = store
        self._ready = ready
        self._is_read = False
        self._stopped = threading.Event()

    def start(self) -> None:
        """Read the file, and follow it on a thread."""
        signature = self._signature()
        self._read()
        self._ready.set()
        threading.Thread(target=self._follow, args=(signature,), name="ldai-config-file", daemon=True).start()

    def stop(self) -> None:
        """Follow the file no more."""
        self._stopped.set()

    def initialized(self) -> bool:
        """Return whether AI Configs have been read."""
        return self._is_read

    def _follow(self, signature: object) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            former, signature = signature, self._signature()
            if signature != former:
                self._read()

    def _signature(self) -> object:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read(self) -> None:
        try:
            data = read_config_file(self._path)
            (self._sink or self._store).init(data)
        except Exception as exc:  # the SDK raises various ones for flags that it cannot read
            self._diagnostics.note(
                "config_file_edit",
                f"{self._path}: {exc}",
                "The file %s cannot be used now: it %s. Correct it, or put it back. Until then, the AI Configs that it "
                "had before are served.",
                str(self._path),
                str(exc),
            )
            return
        self._diagnostics.forget("config_file_edit")
        self._is_read = True
        if self._sink is not None:
            self._sink.update_status(DataSourceState.VALID, None)


def file_source(path: Path, diagnostics: Diagnostics | None = None) -> functools.partial[ConfigFile]:
    """Return the ``update_processor_class`` of a ``Config`` whose AI Configs come from a file.

    Args:
        path: The file.
        diagnostics: Receives problems with later edits.
    """
    return functools.partial(ConfigFile, path, diagnostics=diagnostics or Diagnostics())


def read_config_file(path: Path) -> dict[Any, dict[str, dict[str, Any]]]:
    """Return the flags and segments of a file, as an LDClient stores them.

    Raises:
        ConfigFileError: If the file cannot be used.
    """
    try:
        text = read_flag_bytes(path)
    except FileNotFoundError as exc:
        raise ConfigFileError("does not exist") from exc
    except (OSError, ValueError) as exc:
        raise ConfigFileError(f"cannot be read: {exc}") from exc
    try:
        content = parse_json(text)
    except ValueError as exc:
        raise ConfigFileError(f"cannot be read as JSON: {exc}") from exc
    if not isinstance(content, dict) or not content.keys() & {"flags", "flagValues"}:
        raise ConfigFileError('has no "flags"; use the format of LaunchDarkly\'s file data source')
    flags, values, segments = (_section(content, name) for name in ("flags", "flagValues", "segments"))
    for key, value in values.items():
        _check_enabled(f"flagValues.{key}", value)
    for key, flag in flags.items():
        variations = flag.get("variations")
        for index, value in enumerate(variations if isinstance(variations, list) else ()):
            _check_enabled(f"flags.{key}.variations[{index}]", value)
    # A value is served to everybody.
    served = {
        key: {"on": True, "fallthrough": {"variation": 0}, "variations": [value]} for key, value in values.items()
    }
    return {
        FEATURES: {key: {"key": key, "version": 1, **flag} for key, flag in {**served, **flags}.items()},
        SEGMENTS: {key: {"key": key, "version": 1, **segment} for key, segment in segments.items()},
    }


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of the file, whose items are objects unless they are values."""
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ConfigFileError(f"has {name!r}, which is not an object")
    for key, item in section.items():
        if name != "flagValues" and not isinstance(item, dict):
            raise ConfigFileError(f"has {key!r} in {name!r}, which is not an object")
    return section


def _check_enabled(place: str, value: object) -> None:
    meta = value.get("_ldMeta") if isinstance(value, dict) else None
    enabled = meta.get("enabled", True) if isinstance(meta, dict) else True
    if not isinstance(enabled, bool):
        raise ConfigFileError(
            f"cannot be used: {place}._ldMeta.enabled is {enabled!r:.40}; write true or false, without quotes"
        )
