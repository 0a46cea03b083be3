"""What docs/prometheus.md shows works with the exporter of OpenTelemetry."""

from __future__ import annotations

import re
from asyncio import CancelledError
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
            chunks = (
                {"model": "gpt-4o-mini-2024-07-18", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
                {"choices": [], "usage": USAGE},
            )
            list(run.observe(iter(chunks)))
        with pytest.raises(ZeroDivisionError), track_ai(config_key="chat", tracking=tracking):  # type: ignore[arg-type]
            _ = 1 / 0
        with pytest.raises(CancelledError), track_ai(config_key="chat", tracking=tracking):  # type: ignore[arg-type]
            raise CancelledError
        tracking.close()  # type: ignore[attr-defined]
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        http_server.shutdown()  # type: ignore[attr-defined]
        http_server.server_close()  # type: ignore[attr-defined]
        meters.shutdown()  # type: ignore[attr-defined]

    names = re.findall(r"^\| `(gen_ai_\w+)`", PAGE, re.MULTILINE)
    [sentence] = re.findall(r"^All of them have the labels (.*?)\. No label", PAGE, re.MULTILINE | re.DOTALL)
    labels = re.findall(r"`(\w+)`", sentence)
    assert (len(names), len(labels)) == (3, 6)
    for name in names:
        samples = re.findall(rf"^{name}_sum\{{(.*)\}}", text, re.MULTILINE)
        assert [label for label in labels if not any(re.search(f'{label}="[^"]', sample) for sample in samples)] == []
    others = {"le", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url", "otel_scope_attributes"}
    exported = set(re.findall(r'(\w+)="', "".join(re.findall(r"^gen_ai_\w+\{(.*)\}", text, re.MULTILINE))))
    assert sorted(label for label in exported - others if f"`{label}`" not in PAGE) == []
    counts = re.findall(r"^gen_ai_client_operation_duration_seconds_count\{(.*)\} 1\.0$", text, re.MULTILINE)
    outcomes = sorted(re.findall(r'ldai_outcome="(\w+)"', "".join(counts)))
    assert outcomes == ["cancelled", "error", "success"]
    tokens = dict(re.findall(r'^gen_ai_client_token_usage_sum\{.*token_type="(\w+)".*\} (\S+)$', text, re.MULTILINE))
    assert tokens == {"input": "731.0", "output": "17.0"}


USAGE = {"prompt_tokens": 731, "completion_tokens": 17, "total_tokens": 748}
