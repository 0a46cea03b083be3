"""The servers that the tests share, and the report of the demo's requests."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from ldai_integrations._example_apps.demo.check import Report
from ldai_integrations._example_apps.demo.plan import CONFIG_KEYS, PLAN
from ldai_integrations._example_apps.demo.readback import read_bill, read_costs, read_prices, read_runs, read_table
from ldai_integrations._example_apps.demo.services import CONFIGS, Services, local_environ
from ldai_integrations._example_apps.demo.traffic import Exchange, send_all
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .servers import serving_asgi, serving_wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ldai_integrations import Tracking
    from ldai_integrations._example_apps.demo.plan import Step


@dataclass(frozen=True, slots=True)
class Stage:
    """Both apps on real sockets in this process, with a dev server and the model server."""

    services: Services
    trackings: tuple[Tracking, ...]
    dev_server: DevServer

    def send(self, *steps: Step, apps: Sequence[str] = ("Flask", "FastAPI")) -> list[Exchange]:
        """Send steps to apps."""
        return send_all({name: self.services.apps[name] for name in apps}, steps, lambda _: None)

    def flush(self) -> None:
        """Send all events."""
        for tracking in self.trackings:
            assert tracking.flush().complete

    def report(self, exchanges: Sequence[Exchange], *, billed_before: int) -> Report:
        """Send all events, and return the report without the first calls of the bill."""
        self.flush()
        assert self.services.database is not None
        return Report(
            exchanges,
            read_bill(self.services.model_server)[billed_before:],
            read_runs(self.services.database),
            read_table(self.services.dev_server, CONFIG_KEYS),
            read_costs(self.services.dev_server, CONFIG_KEYS),
            read_prices(CONFIGS),
        )


@pytest.fixture(scope="session")
def model_server() -> Iterator[str]:
    """Serve the model server and yield its address."""
    with serving_asgi(create_app()) as address:
        yield address


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Serve both apps. They are imported as a server does it, with the environment that they read at import."""
    database: Path = tmp_path_factory.mktemp("stage") / "events.sqlite"
    with serving_asgi(create_app()) as model_server, DevServer(CONFIGS, db=database) as dev_server:
        address = dev_server.url.removeprefix("http://")
        with pytest.MonkeyPatch.context() as patch:  # only for the import: other tests have another environment
            patch.delenv("LAUNCHDARKLY_SDK_KEY", raising=False)
            for name, value in local_environ({}, address, model_server).items():
                patch.setenv(name, value)
            flask_app, fastapi_app = (
                import_module("ldai_integrations._example_apps.flask_app"),
                import_module("ldai_integrations._example_apps.fastapi_app"),
            )
        trackings = flask_app.tracking, fastapi_app.tracking
        with serving_wsgi(flask_app.app) as flask, serving_asgi(fastapi_app.app) as fastapi:
            services = Services({"Flask": flask, "FastAPI": fastapi}, address, model_server, database)
            yield Stage(services, trackings, dev_server)
        flask_app.client.close()
        for tracking in trackings:
            tracking.close()


@pytest.fixture(scope="session")
def report(stage: Stage) -> Report:
    """Send the whole plan to both apps, and return the report."""
    before = len(read_bill(stage.services.model_server))
    stage.flush()
    stage.dev_server.clear()
    exchanges = stage.send(*PLAN)
    eventually(lambda: not stage.report(exchanges, billed_before=before).differences())
    return stage.report(exchanges, billed_before=before)
