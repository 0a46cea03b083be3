"""``ldai metrics``: figures for people and for programs, and conditions for scripts."""

from __future__ import annotations

import csv
import io
import json
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from ldai_integrations import cli
from ldai_integrations._cli.figures import FIGURES
from ldai_integrations._cli.terminal import show_progress
from ldai_integrations.devserver import DevServer

from ..flags import flag, meta
from ..metrics.answers import API, FULL

UNKNOWN = "\N{EN DASH}"
NOW_MS = 1_795_132_800_000
WINDOW = ("--from", "2026-11-18", "--to", "2026-11-20")
AROUND_NOW = ("--from", "2026-11-19", "--to", "2026-11-21")


def ask(*arguments: str) -> int:
    """Run the command for an AI Config and two days."""
    return cli.main(["metrics", "chat", *WINDOW, *arguments])


def test_the_table(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """The table shows the figures with their units, without figures that are unknown in all columns."""
    api.will_answer({**FULL, "inputCost": None, "judgeToxicity": None})
    assert ask() == 0

    output = capsys.readouterr().out
    assert output.startswith("chat (production), 2026-11-18 00:00 UTC to 2026-11-20 00:00 UTC\n")
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in output.splitlines() if "│" in line}
    assert rows == {
        "Generations": "400",
        "succeeded": "380",
        "failed": "20",
        "Error rate": "5.0%",
        "Duration, mean": "at most 1,500 ms",
        "First token, mean": "250 ms",
        "Input tokens": "120,000",
        "Output tokens": "30,000",
        "Total tokens": "150,000",
        "Output cost": "$0.018",
        "Satisfaction": "75.0%",
        "thumbs up": "30",
        "thumbs down": "10",
        "Judge: accuracy": "90.0%",
        "Judge: relevance": "80.0%",
    }
    assert output.splitlines()[-2:] == [
        "Tokens and costs may include estimates. A run with only one of input and output has no total.",
        "at most: LaunchDarkly does not report the number of durations; cancelled runs have one, too",
    ]
    assert api.queries[0]["env"] == "production"


def test_the_table_by_variation(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """Each variation is a column beside the total; an unknown figure is a dash."""
    api.will_answer(FULL, [{"variationKey": "small", "metrics": FULL}, {"variationKey": "", "metrics": {}}])
    assert ask("--by-variation") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[2].replace("┃", " ").split() == ["all", "small", "(default", "served)"]
    assert lines[4].replace("│", " ").split() == ["Generations", "400", "400", UNKNOWN]


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_variation_with_the_name_of_the_total(form: str, api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """A variation may be called ``all``. It does not replace the total, which comes first, and it is tested as well."""
    api.will_answer(
        FULL, [{"variationKey": "all", "metrics": {"generationErrorCount": 7, "generationSuccessCount": 3}}]
    )
    assert ask(form, "--by-variation", "--fail-if", "errors > 50%") == 1

    output, error = capsys.readouterr()
    rows = json.loads(output)["metrics"] if form == "--json" else list(csv.DictReader(io.StringIO(output)))
    assert [(row["variation"], str(row["generations"])) for row in rows] == [("all", "400"), ("all", "10")]
    assert "in variation 'all': the value is 70.0%" in error


def test_nothing_happened(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """Without events, the table says so."""
    api.will_answer({})
    assert ask() == 0
    output = capsys.readouterr().out
    assert "no events in this time" in output
    assert "estimates" not in output


def test_means_of_long_ranges_are_marked(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """An approximate mean is marked and explained."""
    api.will_answer(FULL, FULL)
    assert cli.main(["metrics", "chat", "--from", "2026-06-01", "--to", "2026-11-20"]) == 0

    output = capsys.readouterr().out
    assert "≈ 250 ms" in output
    assert "800 " in output
    assert "\n≈ weighted by generations" in output


def test_json(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has every field and the computed figures; an unknown figure is null."""
    api.will_answer(FULL, [{"variationKey": "small", "metrics": {"inputTokens": 3}}])
    assert ask("--json", "--by-variation") == 0

    found = json.loads(capsys.readouterr().out)
    total, small = found.pop("metrics")
    assert found == {
        "config_key": "chat",
        "env": "production",
        "from": "2026-11-18T00:00:00+00:00",
        "to": "2026-11-20T00:00:00+00:00",
    }
    assert (total["variation"], total["error_rate"], total["total_cost"]) == ("all", 0.05, 0.036)
    assert (small["variation"], small["input_tokens"], small["output_tokens"]) == ("small", 3, None)
    assert total.keys() == small.keys()


def test_costs_add_up(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """Every amount has the same precision, so that the parts in the table add up to the sum."""
    api.will_answer({"inputCost": 0.042118, "outputCost": 2.094512, "generationSuccessCount": 1})
    assert ask() == 0

    output = capsys.readouterr().out
    assert [amount in output for amount in ("$0.042118", "$2.094512", "$2.13663 ")] == [True] * 3


def test_errors_that_are_not_sent(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """If LaunchDarkly sends successes and no errors, JSON says 0 as the table does; scores have no binary digits."""
    api.will_answer({"generationSuccessCount": 3, "judgeRelevance": 0.7300000000000001})
    assert ask("--json") == 0

    [total] = json.loads(capsys.readouterr().out)["metrics"]
    assert (total["generation_error_count"], total["error_rate"], total["judge_relevance"]) == (0, 0.0, 0.73)


def test_csv(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV has a header and one line per variation; an unknown figure is empty."""
    api.will_answer({**FULL, "inputCost": 1e-7, "thumbsUp": None})
    assert ask("--csv") == 0

    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["config_key"], row["variation"], row["input_cost"]) == ("chat", "all", "0.0000001")
    assert (row["thumbs_up"], row["thumbs_down"]) == ("", "10")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_has_no_formulas(name: str, api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """No cell with a text begins like a formula of a spreadsheet, and numbers are not changed."""
    api.will_answer(FULL, [{"variationKey": name, "metrics": {"satisfactionRating": -1}}])
    assert ask("--csv", "--by-variation") == 0

    [_, row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["variation"] in (f"'{name}", name.encode("unicode_escape").decode())
    assert row["variation"][0] in "'\\"
    assert row["satisfaction_rating"] == "-1.0"


@pytest.mark.parametrize(
    ("conditions", "status", "message"),
    [
        (["errors > 5%"], 0, ""),
        (["errors >= 5%"], 1, "errors >= 5% is met: the value is 5.0%"),
        (["errors>19"], 1, "errors>19 is met: the value is 20"),
        (["error_rate > 0.04"], 1, "the value is 5.0%"),
        (["duration > 2s"], 0, ""),
        (["Duration > 1.4 s"], 1, "the value is at most 1,500 ms"),
        (["first_token > 249ms"], 1, "the value is 250 ms"),
        (["cost > $0.03"], 1, "the value is $0.036"),
        (["cost < 1 USD"], 1, "the value is $0.036"),
        (["satisfaction < 80%"], 1, "the value is 75.0%"),
        (["errors > 50%", "generations < 1000"], 1, "generations < 1000 is met: the value is 400"),
        (["toxicity > 1%"], 0, ""),
        (["accuracy < 1"], 1, "the value is 90.0%"),
    ],
)
def test_conditions(
    conditions: list[str], status: int, message: str, api: API, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a condition is met, the status is 1 and the message has the value; otherwise the status is 0."""
    api.will_answer(FULL)
    assert ask("--json", *(word for text in conditions for word in ("--fail-if", text))) == status
    assert message in capsys.readouterr().err


def test_conditions_on_what_is_unknown(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """If a figure is unknown, the status is 2, unless another condition is met."""
    api.will_answer({"thumbsUp": 3}, {"thumbsUp": 3})
    assert ask("--json", "--fail-if", "errors > 5%") == 2
    assert capsys.readouterr().err == "ldai: errors > 5% cannot be checked: error_rate is unknown\n"
    assert ask("--json", "--fail-if", "errors > 5%", "--fail-if", "thumbs_up > 2") == 1


@pytest.mark.parametrize(
    ("condition", "status", "message"),
    [
        ("generations < 1", 1, "generations < 1 is met: the value is 0"),
        ("errors > 0", 0, ""),
        ("total_tokens <= 0", 1, "the value is 0"),
        ("thumbs_down > 3", 0, ""),
        ("cost > 10 USD", 0, ""),
        ("errors > 5%", 2, "error_rate is unknown"),
        ("duration > 2s", 2, "duration is unknown"),
        ("first_token > 2s", 2, "first_token is unknown"),
        ("satisfaction < 80%", 2, "satisfaction is unknown"),
        ("accuracy < 80%", 2, "accuracy is unknown"),
    ],
)
def test_conditions_without_events(
    condition: str, status: int, message: str, api: API, capsys: pytest.CaptureFixture[str]
) -> None:
    """If there were no events, counts, tokens and costs are 0; means and rates are unknown."""
    api.will_answer({})
    assert ask("--json", "--fail-if", condition) == status
    assert message in capsys.readouterr().err


def test_conditions_on_healthy_configs(api: API) -> None:
    """If LaunchDarkly returns successes and no errors, the number of errors is 0."""
    api.will_answer({"generationSuccessCount": 7})
    assert ask("--json", "--fail-if", "errors > 0", "--fail-if", "errors > 0%") == 0


@pytest.mark.parametrize("votes", [{}, {"thumbsUp": 3}])
def test_conditions_without_bad_votes(votes: dict[str, int], api: API) -> None:
    """If LaunchDarkly returns no votes of a kind, there are none."""
    api.will_answer({"generationSuccessCount": 7, **votes}, {"generationSuccessCount": 7, **votes})
    assert ask("--json", "--fail-if", "thumbs_down > 0") == 0
    assert ask("--json", "--fail-if", "thumbs_down < 1") == 1


def test_conditions_by_variation(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """With --by-variation, each variation is checked separately, and the message names it."""
    bad = {"generationSuccessCount": 1, "generationErrorCount": 1}
    api.will_answer(FULL, [{"variationKey": "good", "metrics": FULL}, {"variationKey": "bad", "metrics": bad}])
    assert ask("--csv", "--by-variation", "--fail-if", "errors > 10%") == 1
    assert capsys.readouterr().err == "ldai: errors > 10% is met in variation 'bad': the value is 50.0%\n"


def test_a_condition_on_the_sum_of_the_variations(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """With --by-variation, the total is checked as well."""
    half = {"generationSuccessCount": 200, "generationErrorCount": 0}
    api.will_answer(FULL, [{"variationKey": key, "metrics": half} for key in ("one", "other")])
    assert ask("--csv", "--by-variation", "--fail-if", "generations > 300") == 1
    assert capsys.readouterr().err == "ldai: generations > 300 is met: the value is 400\n"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("errors", "write it like"),
        ("errors > five", "write it like"),
        ("errors > 5% and cost > 1", "write it like"),
        ("__import__('os').exit() > 1", "write it like"),
        ("speed > 5", "there is no figure 'speed'; use one of generations, "),
        ("duration > 5%", "the unit of duration is ms, not %"),
        ("cost > 5ms", "the unit of cost is USD, not ms"),
        ("error_rate > 5", "'error_rate > 5' is more than 100 %; write 'error_rate > 5%'"),
        ("satisfaction < 80", "write 'satisfaction < 80%'"),
        ("accuracy < 1.5", "write 'accuracy < 1.5%'"),
        ("duration > 2", "'duration > 2' has no unit; write 'duration > 2s' or 'duration > 2ms'"),
        ("first_token > 0.8", "write 'first_token > 0.8s' or"),
    ],
)
def test_text_that_is_not_a_condition(condition: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text that is not a condition is refused with the reason, before any request."""
    with pytest.raises(SystemExit) as ended:
        ask("--fail-if", condition)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "yesterday"], "'yesterday' is not a date or time"),
        (["--from", "0001-01-01"], "argument --from: '0001-01-01' is before 1980"),
        (["--to", "0001-01-01"], "argument --to: '0001-01-01' is before 1980"),
        (["--hours", "0"], "is not a number of hours"),
        (["--hours", "soon"], "is not a number of hours"),
    ],
)
def test_text_that_is_not_a_time(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text that is not a time is refused with an example."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["metrics", "chat", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_times_that_contradict(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """Two starts, an end before the start, or one long after it, are refused."""
    assert ask("--hours", "3") == 2
    assert "--hours and --from contradict" in capsys.readouterr().err
    assert cli.main(["metrics", "chat", "--from", "2026-11-20T01:00+02:00", "--to", "2026-11-19T22:00Z"]) == 2
    assert "is not before --to" in capsys.readouterr().err
    assert cli.main(["metrics", "chat", "--from", "1990-01-01", "--to", "2026-11-19"]) == 2
    assert capsys.readouterr().err == (
        "ldai: --from 1990-01-01T00:00:00+00:00 is more than ten years before --to 2026-11-19T00:00:00+00:00\n"
    )


def test_time_range(api: API) -> None:
    """Dates are UTC, offsets are respected, and the default is the last day."""
    api.will_answer({}, {}, {})
    assert ask("--json") == 0
    assert api.queries[0]["to"] == str(NOW_MS)
    assert cli.main(["metrics", "chat", "--hours", "1", "--to", "2026-11-20T01:30+01:00", "--json"]) == 0
    assert (int(api.queries[1]["from"]), int(api.queries[1]["to"])) == (NOW_MS - 1_800_000, NOW_MS + 1_800_000)
    assert cli.main(["metrics", "chat", "--json"]) == 0
    assert int(api.queries[2]["to"]) - int(api.queries[2]["from"]) == 24 * 3600 * 1000
    assert abs(int(api.queries[2]["to"]) / 1000 - datetime.now(timezone.utc).timestamp()) < 60


def test_nothing_is_configured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a token, project and environment, the message names all three variables, and that of the dev server."""
    for name in ("ACCESS_TOKEN", "PROJECT_KEY", "ENVIRONMENT_KEY", "API_HOST"):
        monkeypatch.delenv(f"LAUNCHDARKLY_{name}", raising=False)
    assert ask() == 2
    message = capsys.readouterr().err
    for name in ("LAUNCHDARKLY_ACCESS_TOKEN", "LAUNCHDARKLY_PROJECT_KEY", "LAUNCHDARKLY_ENVIRONMENT_KEY", "LDAI_DEV_"):
        assert name in message


def test_an_sdk_key_for_a_token(api: API, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An SDK key in the place of a token is refused, without printing the key."""
    monkeypatch.setenv("LAUNCHDARKLY_ACCESS_TOKEN", "sdk-0123456789")
    assert ask() == 2
    message = capsys.readouterr().err
    assert "that is the key of an SDK" in message
    assert "0123456789" not in message


def test_refusals(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """If LaunchDarkly refuses a request, there is a message on standard error and status 2, without a traceback."""
    assert ask("--project", "other", "--env", "test") == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert message.startswith(f"ldai: {api.url} answered HTTP 418 (nothing is left to answer)")
    assert api.paths == ["/api/v2/projects/other/ai-configs/chat/metrics"]


def test_the_dev_server_needs_nothing_else(
    dev_server: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With LDAI_DEV_SERVER set, no other setting is needed."""
    monkeypatch.setenv("LDAI_DEV_SERVER", dev_server.url)
    assert cli.main(["metrics", "summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["env"] == "dev"


def test_an_address_of_the_dev_server_without_a_scheme(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the variable that has the wrong address."""
    monkeypatch.setenv("LDAI_DEV_SERVER", "127.0.0.1:8765")
    assert ask() == 2
    message = (
        "LDAI_DEV_SERVER is '127.0.0.1:8765'; use the address that `ldai dev` prints, such as http://127.0.0.1:8765"
    )
    assert capsys.readouterr().err == f"ldai: {message}\n"


def test_an_address_of_the_dev_server_with_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the variable and the cause, and not the password."""
    monkeypatch.setenv("LDAI_DEV_SERVER", "http://ada:hunter2@127.0.0.1:8765")
    assert ask() == 2
    message = "LDAI_DEV_SERVER has a user name or a password; use the address without them: http://127.0.0.1:8765"
    assert capsys.readouterr().err == f"ldai: {message}\n"


def test_an_agent_graph(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The key of an agent graph, which has no such metrics, is refused with the keys of its agents."""
    graph = {"_ldMeta": meta("v"), "root": "triage", "edges": {"triage": [{"key": "answer"}]}}
    with DevServer({"flags": {"flow": flag("flow", graph)}}) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        assert cli.main(["metrics", "flow"]) == 2
    assert "an agent graph, which has no such metrics; ask for its agents: triage, answer" in capsys.readouterr().err


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Run a dev server, set the environment variable for it, and return a function that sends events to it."""
    with DevServer({"flags": {}}) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)

        def send(*events: dict[str, Any]) -> None:
            httpx.post(f"{server.url}/bulk", json=events, trust_env=False).raise_for_status()

        yield send


def event(run: str, key: str, value: float, *, variation: str = "small") -> dict[str, Any]:
    """Return an event of a run at :data:`NOW_MS`."""
    about = {"runId": run, "configKey": "chat", "variationKey": variation}
    return {"kind": "custom", "key": key, "creationDate": NOW_MS, "metricValue": value, "data": about}


def test_percentiles_of_the_dev_server(send: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """The dev server's times have percentiles, for all variations together and for each; LaunchDarkly has none."""
    send(*(event(f"run-{number}", "$ld:ai:duration:total", 10 * number) for number in range(1, 101)))
    assert cli.main(["metrics", "chat", *AROUND_NOW, "--by-variation"]) == 0
    table = capsys.readouterr().out
    assert cli.main(["metrics", "chat", *AROUND_NOW, "--json"]) == 0
    [total] = json.loads(capsys.readouterr().out)["metrics"]
    [row] = [line for line in table.splitlines() if "p50 / p95 / p99" in line]
    assert [cell.strip() for cell in row.split("│")[2:4]] == ["500 / 950 / 990 ms"] * 2
    assert total["percentiles"] == {"durationMs": {"p50": 500, "p95": 950, "p99": 990}}


@pytest.mark.parametrize("form", ["--json", "--by-variation"])
def test_a_year_of_the_dev_server(form: str, send: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """A range of more than 100 days has the figures that only the dev server has, too."""
    send(event("a", "answer-quality", 0.75))
    assert cli.main(["metrics", "chat", "--from", "2025-11-21", "--to", "2026-11-21", form]) == 0
    assert "0.75" in capsys.readouterr().out


def test_scores_and_cancelled_runs_of_the_dev_server(
    send: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the dev server, the table has the scores of the application and the runs without an outcome."""
    send(
        event("a", "answer-quality", 0.25),
        event("a", "$ld:ai:generation:success", 1),
        event("b", "answer-quality", 0.75, variation="large"),
        event("b", "[b]rich[/b]", 1, variation="large"),
        event("b", "$ld:ai:generation:success", 1, variation="large"),
        event("cancelled", "$ld:ai:duration:total", 10, variation="large"),
    )
    assert cli.main(["metrics", "chat", *AROUND_NOW, "--by-variation"]) == 0
    table = capsys.readouterr().out
    assert cli.main(["metrics", "chat", *AROUND_NOW, "--by-variation", "--json"]) == 0
    columns = {one["variation"]: one for one in json.loads(capsys.readouterr().out)["metrics"]}
    assert cli.main(["metrics", "chat", "--from", "2026-11-01", "--to", "2026-11-02", "--json"]) == 0
    [earlier] = json.loads(capsys.readouterr().out)["metrics"]
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in map(_split_cells, table.splitlines())}
    assert rows["answer-quality, mean"] == ["0.5", "0.75", "0.25"]
    assert rows["[b]rich[/b], mean"] == ["1", "1", UNKNOWN]
    assert rows["Cancelled or no outcome"] == ["1", "1", UNKNOWN]
    assert columns["all"]["scores"] == {"[b]rich[/b]": 1, "answer-quality": 0.5}
    assert [columns[name]["without_outcome"] for name in ("all", "large", "small")] == [1, 1, 0]
    nothing = {"percentiles": {}, "scores": {}, "without_outcome": 0}
    assert {name: earlier[name] for name in nothing} == nothing


def test_the_mean_duration_with_cancelled_runs(send: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """The mean of the dev server is that of all durations, also of cancelled runs, in the table and in conditions."""
    send(
        event("a", "$ld:ai:duration:total", 20),
        event("a", "$ld:ai:generation:success", 1),
        event("cancelled", "$ld:ai:duration:total", 1000),
    )
    assert cli.main(["metrics", "chat", *AROUND_NOW, "--fail-if", "duration > 511ms"]) == 0
    output = capsys.readouterr().out
    rows = [[cell.strip() for cell in _split_cells(line)] for line in output.splitlines()]
    assert ["", "Duration, mean", "510 ms", ""] in rows
    assert "at most" not in output


def _split_cells(line: str) -> list[str]:
    return line.split("│") if "│" in line else ["", "", ""]


def test_an_address_in_the_arguments_wins(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line takes precedence over the environment."""
    monkeypatch.setenv("LDAI_DEV_SERVER", "http://127.0.0.1:1")
    api.will_answer({})
    assert ask("--base-url", api.url, "--json") == 0
    assert len(api.paths) == 1


@pytest.mark.parametrize("by_variation", [False, True])
def test_the_plot(by_variation: bool, api: API, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plot is a PNG of the expected size, drawn from 24 intervals."""
    path = tmp_path / "metrics.png"
    points: Any = [FULL, {}] * 12
    if by_variation:
        points = [[{"variationKey": key, "metrics": point} for key in ("small", "")] for point in points]
        api.will_answer(FULL, [], *points)
    else:
        api.will_answer(FULL, *points)
    assert ask("--csv", "--plot", str(path), *(["--by-variation"] if by_variation else [])) == 0

    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1540, 825)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(api.paths) == (26 if by_variation else 25)
    assert capsys.readouterr().err == f"ldai: saved the plot to {path}\n"


@pytest.mark.parametrize(
    ("name", "message"), [("x.foo", "'foo' is not supported"), ("no/dir.png", "cannot be written")]
)
def test_plots_that_cannot_be_written(
    name: str, message: str, api: API, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the plot cannot be written, the message has its name."""
    api.will_answer(*[{}] * 25)
    assert ask("--csv", "--plot", str(tmp_path / name)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        ("rich.console", [], "'ldai-integrations[cli]', or use --json or --csv"),
        ("matplotlib.figure", ["--csv", "--plot", "x.png"], "'ldai-integrations[plot]'"),
    ],
)
def test_missing_extras_are_reported(
    missing: str,
    arguments: list[str],
    message: str,
    api: API,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without rich or matplotlib, the message says what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    api.will_answer(*[{}] * 25)
    assert ask(*arguments) == 2
    output, said = capsys.readouterr()
    assert message in said
    assert output == ""


def test_the_progress_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar is shown if standard error is a terminal and rich is installed."""
    with show_progress("chat") as on_progress:
        assert on_progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress("chat") as on_progress:
        assert on_progress is not None
        on_progress(1, 3)
        on_progress(3, 3)
    output, message = capsys.readouterr()
    assert output == ""
    assert "chat" in message
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with show_progress("chat") as on_progress:
        assert on_progress is None


def test_figures_have_names_of_their_own() -> None:
    """No two figures have the same name or label."""
    assert len({figure.name for figure in FIGURES}) == len({figure.label for figure in FIGURES}) == len(FIGURES)
