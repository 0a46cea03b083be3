"""``ldai pull`` downloads AI Configs through LaunchDarkly's REST API."""

from __future__ import annotations

import errno
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ldai import AIAgentConfigDefault, AICompletionConfigDefault

from ldai_integrations import cli, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import Tracking

from ..metrics.answers import API, Answer

# Shaped as in LaunchDarkly's OpenAPI text: AIConfig, AIConfigTargeting, ModelConfig and AITool.
_LINKS = {"parent": {"href": "/", "type": "application/json"}}
CHAT: dict[str, Any] = {
    "key": "chat",
    "name": "Chat",
    "mode": "completion",
    "description": "",
    "tags": [],
    "version": 7,
    "createdAt": 0,
    "updatedAt": 0,
    "variations": [
        {
            "_id": "id-small",
            "key": "small",
            "name": "Small",
            "version": version,
            "createdAt": 0,
            "model": {"modelName": "gpt-4o-mini", "parameters": {"temperature": 0.2}},
            "modelConfigKey": "OpenAI.gpt-4o-mini",
            "messages": [{"role": "system", "content": text}],
            "tools": [{"key": "search", "version": 1}],
            "judgeConfiguration": {"judges": [{"judgeConfigKey": "relevance", "samplingRate": 0.5}]},
            "state": "published",
        }
        for version, text in ((2, "Be very brief."), (3, "It's brief: {{shop}}."))
    ],
}
TARGETING: dict[str, Any] = {
    "key": "chat",
    "name": "Chat",
    "tags": [],
    "createdAt": 0,
    "_version": 1,
    "experiments": {},
    "variations": [
        {"_id": "id-off", "name": "disabled", "description": "", "value": {"_ldMeta": {"variationKey": "disabled"}}},
        {"_id": "id-small", "name": "Small", "description": "", "value": {"_ldMeta": {"variationKey": "small"}}},
    ],
    "environments": {
        "production": {
            "_environmentName": "Production",
            "_version": 1,
            "enabled": True,
            "lastModified": 0,
            "offVariation": 0,
            "trackEvents": False,
            "trackEventsFallthrough": False,
            "fallthrough": {
                "rollout": {
                    "contextKind": "user",
                    "variations": [
                        {"variation": 0, "weight": 10000, "_untracked": False},
                        {"variation": 1, "weight": 90000, "_untracked": False},
                    ],
                }
            },
            "targets": [{"contextKind": "user", "variation": 1, "values": ["ada"]}],
            "contextTargets": [],
            "rules": [
                {
                    "_id": "rule",
                    "variation": 0,
                    "trackEvents": False,
                    "clauses": [
                        {
                            "_id": "clause",
                            "attribute": "plan",
                            "contextKind": "user",
                            "op": "in",
                            "values": ["free"],
                            "negate": False,
                        }
                    ],
                }
            ],
        }
    },
}
MODEL: dict[str, Any] = {
    "key": "OpenAI.gpt-4o-mini",
    "id": "gpt-4o-mini",
    "name": "GPT-4o mini",
    "provider": "OpenAI",
    "global": True,
    "tags": [],
    "version": 1,
    "costPerInputToken": 1.5e-7,
    "costPerOutputToken": 6e-7,
    "isRestricted": False,
}
TOOL: dict[str, Any] = {
    "key": "search",
    "description": "Searches.",
    "schema": {"type": "object", "properties": {}},
    "version": 1,
    "createdAt": 0,
    "_links": _LINKS,
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty directory."""
    monkeypatch.chdir(tmp_path)


def test_an_ai_config_is_served_as_in_launchdarkly(
    api: API, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The file has the current variations, the prices, the tools and the targeting, and the dev server serves it."""
    api.will_answer(CHAT, TARGETING, MODEL, TOOL)

    assert cli.main(["pull", "chat"]) == 0

    output, remarks = capsys.readouterr()
    assert output == "ldai: wrote chat to configs.json. Serve it: ldai dev --configs configs.json\n"
    assert remarks == "ldai: judges are attached; download them, too: ldai pull relevance\n"
    assert api.paths == [
        f"/api/v2/projects/shop/{path}"
        for path in (
            "ai-configs/chat",
            "ai-configs/chat/targeting",
            "ai-configs/model-configs/OpenAI.gpt-4o-mini",
            "ai-tools/search",
        )
    ]
    assert {header["authorization"] for header in api.headers} == {"api-secret"}
    flag = json.loads(Path("configs.json").read_text(encoding="utf-8"))["flags"]["chat"]
    assert flag["variations"] == [
        {"_ldMeta": {"enabled": False, "variationKey": "disabled", "version": 1, "mode": "completion"}},
        {
            "_ldMeta": {"enabled": True, "variationKey": "small", "version": 3, "mode": "completion"},
            "model": {
                "name": "gpt-4o-mini",
                "parameters": {"temperature": 0.2},
                "custom": {"costPerInputToken": 1.5e-7, "costPerOutputToken": 6e-7},
            },
            "provider": {"name": "OpenAI"},
            "messages": [{"role": "system", "content": "It's brief: {{shop}}."}],
            "tools": {
                "search": {
                    "name": "search",
                    "type": "function",
                    "description": "Searches.",
                    "parameters": {"type": "object", "properties": {}},
                }
            },
            "judgeConfiguration": {"judges": [{"key": "relevance", "samplingRate": 0.5}]},
        },
    ]
    with DevServer(Path("configs.json")) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        with track_ai(config_key="chat", tracking=tracking, ld_context=lambda: _user("ada")) as run:
            assert (run.model, run.provider, run.parameters) == ("gpt-4o-mini", "OpenAI", {"temperature": 0.2})
            run.discard()
        tracking.close()
    [line] = [line for line in caplog.messages if "variables=" not in line]
    assert "judges[0].key is 'relevance', but there is no such AI Config" in line


def _user(key: str) -> Any:
    from ldclient import Context

    return Context.create(key)


def test_other_entries_stay(api: API) -> None:
    """A file that exists keeps its other AI Configs and its comment."""
    assert cli.main(["init"]) == 0
    before = json.loads(Path("configs.json").read_text(encoding="utf-8"))
    api.will_answer({**CHAT, "variations": []}, TARGETING)

    assert cli.main(["pull", "chat"]) == 0

    after = json.loads(Path("configs.json").read_text(encoding="utf-8"))
    assert after["flags"].pop("chat")["on"] is True
    assert after == before


def test_a_text_that_utf_8_cannot_encode(api: API) -> None:
    """A half of a surrogate pair is written with an escape, and the other entries of the file stay."""
    assert cli.main(["init"]) == 0
    config = deepcopy(CHAT)
    config["variations"][1]["messages"][0]["content"] = "\ud83d"
    api.will_answer(config, TARGETING, MODEL, TOOL)
    assert cli.main(["pull", "chat"]) == 0
    flags = json.loads(Path("configs.json").read_text(encoding="utf-8"))["flags"]
    assert flags["chat"]["variations"][1]["messages"][0]["content"] == "\ud83d"
    assert len(flags) > 1


def test_a_file_of_another_kind_is_kept(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not JSON is not overwritten."""
    Path("notes.txt").write_text("Milk.", encoding="utf-8")
    api.will_answer({**CHAT, "variations": []}, TARGETING)

    assert cli.main(["pull", "chat", "--output", "notes.txt"]) == 2

    assert "notes.txt is not a file with AI Configs" in capsys.readouterr().err
    assert Path("notes.txt").read_text(encoding="utf-8") == "Milk."


def test_a_default_in_python(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """--python prints code that defines the usual variation, which track_ai(default=…) serves."""
    api.will_answer(CHAT, TARGETING, MODEL, TOOL)

    assert cli.main(["pull", "chat", "--python"]) == 0

    space: dict[str, Any] = {}
    code = capsys.readouterr().out
    exec(compile(code, "defaults.py", "exec"), space)
    default: Any = space["CHAT"]
    assert "# 'chat', variation 'small', version 3" in code
    assert isinstance(default, AICompletionConfigDefault)
    assert default.messages is not None
    assert (default.enabled, default.messages[0].content) == (True, "It's brief: {{shop}}.")
    assert default.tools is not None
    assert default.tools["search"].description == "Searches."
    assert not Path("configs.json").exists()

    with DevServer({"flags": {}}) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDAI_DEV_SERVER", server.url)
        tracking = Tracking.from_env()
        with track_ai(config_key="nobody", default=default, variables={"shop": "Knits"}, tracking=tracking) as run:
            assert run.messages()[0]["content"] == "It's brief: Knits."
            run.discard()
        tracking.close()


def test_a_name_does_not_become_code(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in the name of a variation does not end the comment in the code."""
    variation = {**CHAT["variations"][0], "key": "small\nraise SystemExit(3)"}
    targeting = json.loads(json.dumps(TARGETING).replace(CHAT["variations"][0]["key"], "small\\nraise SystemExit(3)"))
    api.will_answer({**CHAT, "variations": [variation, *CHAT["variations"][1:]]}, targeting)
    cli.main(["pull", "chat", "--python"])

    assert not any(line.startswith("raise") for line in capsys.readouterr().out.splitlines())


def test_an_agent_in_python(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """The default of an agent has instructions. If targeting is off, it is the variation for that case."""
    agent = {**deepcopy(CHAT), "mode": "agent"}
    agent["variations"] = [
        {"_id": "id-small", "key": "small", "name": "Small", "version": 1, "model": {}, "instructions": "Help."}
    ]
    targeting = deepcopy(TARGETING)
    targeting["environments"]["production"] |= {"enabled": False, "offVariation": 1}
    api.will_answer(agent, targeting)

    assert cli.main(["pull", "2nd-agent", "--python"]) == 0

    space: dict[str, Any] = {}
    exec(capsys.readouterr().out, space)
    assert space["_2ND_AGENT"] == AIAgentConfigDefault(enabled=True, instructions="Help.")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([Answer({"message": "Unknown config"}, 404)], "answered HTTP 404 (Unknown config): check the keys"),
        (
            [CHAT, {**TARGETING, "environments": {"test": {}}}],
            "the project has no environment 'production'; use one of",
        ),
        ([CHAT, {**TARGETING, "environments": None}], "the project has no environments; check its key"),
        ([Answer({}, 400)], "answered HTTP 400: check env, the keys and, for metrics, the time range"),
        ([[]], "did not send an object"),
        ([CHAT, TARGETING, []], "did not send an object for ai-configs/model-configs"),
        (
            [{**CHAT, "variations": [{**CHAT["variations"][0], "version": "two"}]}, TARGETING],
            "sent an AI Config that cannot be read (ValueError: invalid literal for int() with base 10: 'two'); look",
        ),
        ([{**CHAT, "variations": [{"name": "Small"}]}, TARGETING], "sent an AI Config that cannot be read"),
    ],
)
def test_refusals(answers: list[Any], message: str, api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """If an AI Config cannot be downloaded, the message says why, and nothing is written."""
    api.will_answer(*answers)
    assert cli.main(["pull", "chat"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("configs.json").exists()


def test_a_default_that_does_not_exist(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """The same message appears if the targeting serves a variation that the AI Config does not have."""
    targeting = deepcopy(TARGETING)
    targeting["environments"]["production"]["fallthrough"] = {"variation": 7}
    api.will_answer({**CHAT, "variations": []}, targeting)
    assert cli.main(["pull", "chat", "--python"]) == 2
    assert "sent an AI Config that cannot be read (IndexError: list index out of range)" in capsys.readouterr().err


def test_a_name_with_a_space(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that is shown can be pasted into a shell."""
    api.will_answer({**CHAT, "variations": []}, TARGETING)
    assert cli.main(["pull", "chat", "--output", "my file.json"]) == 0
    assert capsys.readouterr().out.endswith("Serve it: ldai dev --configs 'my file.json'\n")


def test_the_dev_server_is_not_asked(
    api: API, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """LDAI_DEV_SERVER does not matter; without a token, the message names the variable."""
    monkeypatch.setenv("LDAI_DEV_SERVER", "http://127.0.0.1:9")
    monkeypatch.delenv("LAUNCHDARKLY_ACCESS_TOKEN")
    assert cli.main(["pull", "chat"]) == 2
    assert capsys.readouterr().err.startswith(
        "ldai: set LAUNCHDARKLY_ACCESS_TOKEN. LAUNCHDARKLY_ACCESS_TOKEN is an API"
    )


def test_the_address_of_the_dev_server(api: API, dev_server: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The dev server has no AI Configs to download; the message and the help say where they come from."""
    assert cli.main(["pull", "chat", "--base-url", dev_server.url]) == 2
    assert capsys.readouterr().err == (
        f"ldai: {dev_server.url} is `ldai dev`, which has no REST path for this: `ldai pull` reads from LaunchDarkly;"
        " leave out --base-url and LAUNCHDARKLY_API_HOST\n"
    )
    with pytest.raises(SystemExit):
        cli.main(["pull", "--help"])
    assert "cannot read from `ldai dev`" in " ".join(capsys.readouterr().out.split())


def test_segments_are_mentioned(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule with a segment leads to a remark, because segments are not downloaded."""
    targeting = deepcopy(TARGETING)
    targeting["environments"]["production"]["rules"][0]["clauses"][0]["op"] = "segmentMatch"
    api.will_answer({**CHAT, "variations": []}, targeting)
    assert cli.main(["pull", "chat"]) == 0
    assert "rules use segments" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pipe", "deep", "not finite"])
def test_a_file_that_cannot_be_read(kind: str, api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe is not waited for, and a file that JSON does not allow is not overwritten."""
    path = Path("configs.json")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("[" * 100_000 if kind == "deep" else '{"flags": {"a": 1e400}}', encoding="utf-8")
    api.will_answer({**CHAT, "variations": []}, TARGETING)

    assert cli.main(["pull", "chat"]) == 2
    assert "configs.json is not a file with AI Configs" in capsys.readouterr().err


def test_a_full_disk(api: API, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of before stays, whole, if the new one cannot be written."""
    assert cli.main(["init"]) == 0
    before = Path("configs.json").read_bytes()

    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    api.will_answer({**CHAT, "variations": []}, TARGETING)

    assert cli.main(["pull", "chat"]) == 2
    assert "configs.json cannot be written: No space left on device" in capsys.readouterr().err
    assert Path("configs.json").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["configs.json", "configs.schema.json"]
