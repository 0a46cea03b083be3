"""What docs/prometheus.md shows works with the exporter of OpenTelemetry."""

from __future__ import annotations

import re
from pathlib import Path
from socket import create_server
from urllib.request import ProxyHandler, build_opener

import pytest

from ldai_integrations import track_ai
from ldai_integrations.devserver import DevServer

from ..flags import FLAGS

PAGE = (Path(__file__).parents[2] / "docs" / "prometheus.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nobody closes the page's server
def test_the_page(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus reads the documented histograms and labels, with the provider's tokens."""
    pytest.importorskip("opentelemetry.exporter.prometheus", reason="the exporter for Prometheus is not installed")
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with DevServer(FLAGS) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        space: dict[str, object] = {"__name__": "page"}
        code = code.replace("start_http_server(9464", f"server, _ = start_http_server({port}")
        exec(compile(code, "docs/prometheus.md", "exec", dont_inherit=True), space)
        tracking, meters, http_server = (space[name] for name in ("tracking", "meters", "server"))
        with track_ai(config_key="chat", tracking=tracking) as run:  # type: ignore[arg-type]
            chunks = ({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, {"choices": [], "usage": USAGE})
            list(run.observe(iter(chunks)))
        tracking.close()  # type: ignore[attr-defined]
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        http_server.shutdown()  # type: ignore[attr-defined]
        http_server.server_close()  # type: ignore[attr-defined]
        meters.shutdown()  # type: ignore[attr-defined]

    names = re.findall(r"^\| `(gen_ai_\w+)`", PAGE, re.MULTILINE)
    labels = re.findall(r"`(launchdarkly_\w+|gen_ai_operation_name|gen_ai_provider_name|gen_ai_request_model)`", PAGE)
    assert len(names) == 3
    for name in names:
        [sample] = re.findall(rf'^{name}_sum\{{(?!.*token_type="output")(.*)\}}', text, re.MULTILINE)
        assert [label for label in labels if f'{label}="' not in sample] == []
    tokens = dict(re.findall(r'^gen_ai_client_token_usage_sum\{.*token_type="(\w+)".*\} (\S+)$', text, re.MULTILINE))
    assert tokens == {"input": "731.0", "output": "17.0"}


USAGE = {"prompt_tokens": 731, "completion_tokens": 17, "total_tokens": 748}
