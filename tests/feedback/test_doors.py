"""The same promises about votes through every door, with the real SDK posting to the dev server over HTTP."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord

from ..waiting import eventually
from .cases import GOOD, HOSTILE, NO_RUN, Hostile, Request, vote
from .conftest import EVENT, HEADER, Door
from .doors import EVENTS

WHOLE = "".join(EVENTS).encode()


def streamed_token(body: bytes) -> str:
    """Return the token of the event that ends a stream."""
    assert body.startswith(WHOLE)
    match = re.fullmatch(rf"event: {EVENT}\ndata: ([!-~]+)\n\n", body[len(WHOLE) :].decode())
    assert match is not None
    return match[1]


@pytest.mark.parametrize("kind", ["positive", "negative"])
@pytest.mark.parametrize("form", GOOD)
def test_a_vote_lands_on_its_run(door: Door, form: str, kind: str) -> None:
    """The vote has the run's id, AI Config, variation and version, and its user's LaunchDarkly context."""
    answer = door.get("/answer").json()
    response = door.vote(GOOD[form](answer["token"], kind))

    assert (response.status, response.body) == (204, b"")
    assert response.headers["Cache-Control"] == "no-store"
    data = {"runId": answer["run_id"], "configKey": "chat", "variationKey": "small", "version": 1}
    names = {"modelName": "", "providerName": ""}  # which LaunchDarkly's resumption token does not carry
    assert door.votes(answer["run_id"]) == [(kind, "ada", data | names)]


def test_every_way_to_the_browser_carries_a_token_of_the_run(door: Door) -> None:
    """The header of an answer, and header and last event of a stream, are good for a vote each."""
    whole, stream = door.get("/answer"), door.get("/stream")
    assert whole.headers.get_all(HEADER) == [whole.headers[HEADER]]
    assert door.vote(vote(whole.headers[HEADER])).status == 204
    assert [name for name, _, _ in door.votes(whole.json()["run_id"])] == ["positive"]

    assert door.vote(vote(streamed_token(stream.body))).status == 204
    assert door.vote(vote(stream.headers[HEADER])).status == 204
    assert door.vote(vote(stream.headers[HEADER], "negative")).status == 409


def test_the_user_cannot_be_read_from_the_token(door: Door) -> None:
    """No part of a token has the user's key, encoded or not."""
    token = door.get("/answer", user="grace@example.org").json()["token"]
    decoded = base64.urlsafe_b64decode(token.split(".")[0] + "==")
    assert b"grace" not in decoded
    assert "grace" not in token.rsplit(".", 1)[0].split(".", 1)[1]


def test_nobody_hears_of_tokens_in_other_responses(door: Door) -> None:
    """Neither the vote's response, nor the widget's, nor a HEAD's body has a token, and a HEAD has its header."""
    token = door.get("/answer").json()["token"]
    assert HEADER not in door.vote(vote(token)).headers
    assert HEADER not in door.get("/feedback/widget.js").headers
    assert door.get("/stream", method="HEAD").body == b""


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_what_is_hostile_changes_nothing(door: Door, case: Hostile) -> None:
    """It gets its 4xx with a reason that repeats nothing of it, no event is sent, and the run can be voted on."""
    answer = door.get("/answer").json()
    response = door.vote(case.make(answer["token"]))

    assert response.status == case.status
    if response.headers.get_content_type() == "application/json":
        assert response.json().keys() == {"error"}
        assert len(response.body) < 120
    assert door.vote(vote(answer["token"], "negative")).status == 204
    assert [name for name, _, _ in door.votes(answer["run_id"])] == ["negative"]
    assert door.dev_server.events(run_id=NO_RUN) == []


def test_the_first_vote_counts(door: Door) -> None:
    """The same vote again is taken without counting again, another is refused with the first one."""
    answer = door.get("/answer").json()
    kinds = ["negative", "negative", "positive", "negative", "positive"]
    responses = [door.vote(vote(answer["token"], kind)) for kind in kinds]

    assert [response.status for response in responses] == [204, 204, 409, 204, 409]
    assert responses[2].json()["kind"] == "negative"
    assert [name for name, _, _ in door.votes(answer["run_id"])] == ["negative"]


def test_a_foreign_user_cannot_vote(door: Door) -> None:
    """A token of one user is refused from another and from a visitor, and still good for its own."""
    answer = door.get("/answer", user="ada").json()
    assert door.vote(vote(answer["token"]), user="eve").status == 400
    assert door.vote(vote(answer["token"]), user="").status == 400
    assert door.votes(answer["run_id"]) == []
    assert door.vote(vote(answer["token"]), user="ada").status == 204


def test_a_visitor_votes_under_the_context_of_the_run(door: Door) -> None:
    """Without a user the run has a random context; the vote has the same, once, whoever sends it."""
    answer = door.get("/answer", user="").json()
    assert door.vote(vote(answer["token"]), user="").status == 204
    assert door.vote(vote(answer["token"]), user="eve").status == 204
    votes = door.votes(answer["run_id"])
    run_events = door.dev_server.wait_for(1, key="$ld:ai:generation:success", run_id=answer["run_id"])

    assert [name for name, _, _ in votes] == ["positive"]
    assert votes[0][1] == run_events[0]["context"]["key"]
    assert run_events[0]["context"]["anonymous"] is True


def test_a_vote_is_not_a_run(door: Door, records: list[RunRecord]) -> None:
    """Votes, good and bad, and the widget are not reported as runs, also where the middleware tracks every request."""

    def outcomes() -> list[str]:
        return [record.outcome for record in records if record.outcome != "discarded"]

    answer = door.get("/answer").json()
    statuses = [
        door.vote(vote(answer["token"])).status,
        door.vote(vote("nonsense")).status,
        door.get("/feedback/widget.js").status,
    ]
    door.get("/answer")

    assert statuses == [204, 400, 200]
    assert eventually(lambda: outcomes().count("success") == 2)  # a run may end after its answer was read
    assert outcomes() == ["success", "success"]


def test_the_widget_is_served(door: Door) -> None:
    """The script comes as a script that browsers may keep."""
    response = door.get("/feedback/widget.js")
    assert b"customElements.define" in response.body
    assert response.headers.get_content_type() == "text/javascript"
    assert "max-age" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_too_many_votes_are_refused(make_door: Callable[..., Any]) -> None:
    """A client that sends more than it may is told when to come back, and the refused vote does not count."""
    with make_door(requests_per_minute=3) as door:
        answers = [door.get("/answer").json() for _ in range(7)]
        responses = [door.vote(vote(answer["token"])) for answer in answers]
        refused = [response for response in responses if response.status == 429]

        assert {response.status for response in responses} == {204, 429}
        assert 1 <= len(refused) <= 4  # the minute may have ended in between
        assert all(1 <= int(response.headers["Retry-After"]) <= 60 for response in refused)
        assert len(door.votes()) >= 7 - len(refused)
        assert sum(len(door.votes(answer["run_id"])) for answer in answers) == 7 - len(refused)


class FailingStore:
    """A store of votes that is down."""

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Fail."""
        raise ConnectionError("the store is down")


def test_a_store_that_is_down_is_told_apart(make_door: Callable[..., Any]) -> None:
    """The vote is neither counted nor lost in silence: a 503 that may be tried again, and a count of the trouble."""
    with make_door(votes=FailingStore()) as door:
        answer = door.get("/answer").json()
        response = door.vote(vote(answer["token"]))

        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert door.votes(answer["run_id"]) == []
        assert door.tracking.stats().diagnostics["feedback store"] == 1


def test_responses_are_what_they_were_unless_asked(make_door: Callable[..., Any]) -> None:
    """With neither header nor event asked for, no header is added and a stream has the application's bytes."""
    with make_door(header=None, event=None) as door:
        whole, stream = door.get("/answer"), door.get("/stream")
        assert stream.body == WHOLE
        assert not any("token" in name.lower() for name in [*whole.headers, *stream.headers])
        assert door.vote(vote(whole.json()["token"])).status == 204


def test_a_run_of_another_config_has_no_token(make_door: Callable[..., Any]) -> None:
    """An AI Config that is not voted on has an empty token, and its responses are as they were."""
    with make_door(config_keys={"summary"}) as door:
        whole, stream = door.get("/answer"), door.get("/stream")
        assert whole.json()["token"] == ""
        assert stream.body == WHOLE
        assert HEADER not in whole.headers
        assert HEADER not in stream.headers


def test_a_body_in_chunks_is_read_no_further_than_a_vote(door: Door) -> None:
    """Without a length, a vote in chunks is taken or refused, and an endless one is not read to its end."""
    token = door.get("/answer").json()["token"]
    statuses = []
    for parts in ([vote(token).body[:9], vote(token).body[9:]], [b" " * 4_096] * 16):
        connection = http.client.HTTPConnection(*door.address, timeout=20)
        headers = {"Content-Type": "application/json", "X-User": "ada", "Connection": "close"}
        try:
            connection.request("POST", "/feedback", iter(parts), headers, encode_chunked=True)
        except OSError:
            pass
        statuses.append(connection.getresponse().status)
        connection.close()

    assert statuses == [204, 413]


def test_a_request_without_a_body_is_refused(door: Door) -> None:
    """Nothing is waited for where nothing comes."""
    assert door.vote(Request(b"", {"Content-Type": "application/json"})).status == 400
