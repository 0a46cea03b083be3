"""Votes work with each integration, from the browser to the dev server."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from ldai_integrations import RunRecord
from ldai_integrations.feedback import MemoryStore

from ..waiting import eventually
from .cases import FORM, GOOD, HOSTILE, NO_RUN, Request, vote
from .conftest import EVENT, HEADER, Application
from .integrations import EVENTS

WHOLE = "".join(EVENTS).encode()


def streamed_token(body: bytes) -> str:
    """Return the token of the event that ends a stream."""
    assert body.startswith(WHOLE)
    match = re.fullmatch(rf"event: {EVENT}\ndata: ([!-~]+)\n\n", body[len(WHOLE) :].decode())
    assert match is not None
    return match[1]


def test_a_vote_lands_on_its_run(application: Application) -> None:
    """The vote has the run's id, AI Config, variation and version, and its user's LaunchDarkly context."""
    for make in GOOD.values():
        for kind in ("positive", "negative"):
            answer = application.get("/answer").json()
            response = application.vote(make(answer["token"], kind))

            assert (response.status, response.body) == (204, b"")
            assert response.headers["Cache-Control"] == "no-store"
            data = {"runId": answer["run_id"], "configKey": "chat", "variationKey": "small", "version": 1}
            names = {"modelName": "", "providerName": ""}  # which LaunchDarkly's resumption token does not carry
            assert application.votes(answer["run_id"]) == [(kind, "ada", data | names)]


def test_every_way_to_the_browser_carries_a_token_of_the_run(application: Application) -> None:
    """The header of an answer, and the header and the last event of a stream, each have a valid token."""
    whole, stream = application.get("/answer"), application.get("/stream")
    assert whole.headers.get_all(HEADER) == [whole.headers[HEADER]]
    assert application.vote(vote(whole.headers[HEADER])).status == 204
    assert [name for name, _, _ in application.votes(whole.json()["run_id"])] == ["positive"]

    assert application.vote(vote(streamed_token(stream.body))).status == 204
    assert application.vote(vote(stream.headers[HEADER])).status == 204
    assert application.vote(vote(stream.headers[HEADER], "negative")).status == 409


def test_the_user_cannot_be_read_from_the_token(application: Application) -> None:
    """No part of a token contains the user's key, encoded or not."""
    token = application.get("/answer", user="grace@example.org").json()["token"]
    decoded = base64.urlsafe_b64decode(token.split(".")[0] + "==")
    assert b"grace" not in decoded
    assert "grace" not in token.rsplit(".", 1)[0].split(".", 1)[1]


def test_nobody_hears_of_tokens_in_other_responses(application: Application) -> None:
    """Neither the vote's response, nor the widget's, nor a HEAD's body has a token, and a HEAD has its header."""
    token = application.get("/answer").json()["token"]
    assert HEADER not in application.vote(vote(token)).headers
    assert HEADER not in application.get("/feedback/widget.js").headers
    assert application.get("/stream", method="HEAD").body == b""


def test_hostile_requests_change_nothing(application: Application) -> None:
    """Each gets its 4xx with a reason that repeats no input, no event is sent, and the run can still be voted on."""
    answer = application.get("/answer").json()
    wrong = {}
    for case in HOSTILE:
        response = application.vote(case.make(answer["token"]))
        is_json = response.headers.get_content_type() == "application/json"
        if response.status != case.status or (is_json and response.json().keys() != {"error"}):
            wrong[case.name] = (response.status, response.body)
        assert len(response.body) < 120 or not is_json
    assert wrong == {}
    assert application.vote(vote(answer["token"], "negative")).status == 204
    assert [name for name, _, _ in application.votes(answer["run_id"])] == ["negative"]
    assert application.dev_server.events(run_id=NO_RUN) == []


def test_the_first_vote_counts(application: Application) -> None:
    """A repeated vote is confirmed but not counted again. A different one is refused."""
    answer = application.get("/answer").json()
    kinds = ["negative", "negative", "positive", "negative", "positive"]
    responses = [application.vote(vote(answer["token"], kind)) for kind in kinds]

    assert [response.status for response in responses] == [204, 204, 409, 204, 409]
    assert responses[2].json()["kind"] == "negative"
    assert [name for name, _, _ in application.votes(answer["run_id"])] == ["negative"]


def test_a_foreign_user_cannot_vote(application: Application) -> None:
    """The token of one user is refused from another and from a visitor, and remains valid for its own."""
    answer = application.get("/answer", user="ada").json()
    assert application.vote(vote(answer["token"]), user="eve").status == 400
    assert application.vote(vote(answer["token"]), user="").status == 400
    assert application.votes(answer["run_id"]) == []
    assert application.vote(vote(answer["token"]), user="ada").status == 204


def test_a_visitor_votes_under_the_context_of_the_run(application: Application) -> None:
    """Without a user the run has a random context. The vote has the same one, and counts once."""
    answer = application.get("/answer", user="").json()
    assert application.vote(vote(answer["token"]), user="").status == 204
    assert application.vote(vote(answer["token"]), user="eve").status == 204
    votes = application.votes(answer["run_id"])
    run_events = application.dev_server.wait_for(1, key="$ld:ai:generation:success", run_id=answer["run_id"])

    assert [name for name, _, _ in votes] == ["positive"]
    assert votes[0][1] == run_events[0]["context"]["key"]
    assert run_events[0]["context"]["anonymous"] is True


def test_a_vote_is_not_a_run(application: Application, records: list[RunRecord]) -> None:
    """Votes and the widget are not reported as runs, even if the middleware tracks every request."""

    def outcomes() -> list[str]:
        return [record.outcome for record in records if record.outcome != "discarded"]

    answer = application.get("/answer").json()
    statuses = [
        application.vote(vote(answer["token"])).status,
        application.vote(vote("nonsense")).status,
        application.get("/feedback/widget.js").status,
    ]
    application.get("/answer")

    assert statuses == [204, 400, 200]
    assert eventually(lambda: outcomes().count("success") == 2)  # a run may end after its answer was read
    assert outcomes() == ["success", "success"]


def test_the_widget_is_served(application: Application) -> None:
    """The widget is a script that browsers may cache."""
    response = application.get("/feedback/widget.js")
    assert b"customElements.define" in response.body
    assert response.headers.get_content_type() == "text/javascript"
    assert "max-age" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_widget_takes_no_votes(application: Application) -> None:
    """A vote that is posted to the path of the widget does not count."""
    answer = application.get("/answer").json()
    response = application.send("/feedback/widget.js", vote(answer["token"]), "ada")
    assert response.status == 405
    assert "GET" in response.headers["Allow"]
    assert application.votes(answer["run_id"]) == []


def test_the_last_value_of_a_repeated_field_counts(application: Application) -> None:
    """A form with two kinds is a vote of the second one."""
    answer = application.get("/answer").json()
    body = urlencode([("token", answer["token"]), ("kind", "positive"), ("kind", "negative")]).encode()
    assert application.vote(Request(body, dict(FORM))).status == 204
    assert [kind for kind, _, _ in application.votes(answer["run_id"])] == ["negative"]


def test_too_many_votes_are_refused(make_application: Callable[..., Any]) -> None:
    """A client that sends too many votes gets the time to wait, and the refused vote does not count."""
    with make_application(requests_per_minute=3) as application:
        answers = [application.get("/answer").json() for _ in range(7)]
        responses = [application.vote(vote(answer["token"])) for answer in answers]
        refused = [response for response in responses if response.status == 429]

        assert {response.status for response in responses} == {204, 429}
        assert 1 <= len(refused) <= 4  # the minute may have ended in between
        assert all(1 <= int(response.headers["Retry-After"]) <= 60 for response in refused)
        assert len(application.votes()) >= 7 - len(refused)
        assert sum(len(application.votes(answer["run_id"])) for answer in answers) == 7 - len(refused)


class FailingStore(MemoryStore):
    """A store that is down."""

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Fail."""
        raise ConnectionError("the store is down")


def test_a_store_that_is_down_is_told_apart(make_application: Callable[..., Any]) -> None:
    """The vote is not counted. The answer is a 503 that can be retried, and diagnostics count it."""
    with make_application(store=FailingStore()) as application:
        answer = application.get("/answer").json()
        response = application.vote(vote(answer["token"]))

        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert application.votes(answer["run_id"]) == []
        assert application.tracking.stats().diagnostics["feedback store"] == 1


def test_responses_are_what_they_were_unless_asked(make_application: Callable[..., Any]) -> None:
    """Without the settings for header and event, no header is added and a stream has the application's bytes."""
    with make_application(header=None, event=None) as application:
        whole, stream = application.get("/answer"), application.get("/stream")
        assert stream.body == WHOLE
        assert not any("token" in name.lower() for name in [*whole.headers, *stream.headers])
        assert application.vote(vote(whole.json()["token"])).status == 204


def test_a_run_of_another_config_has_no_token(make_application: Callable[..., Any]) -> None:
    """An AI Config without votes has an empty token, and its responses are unchanged."""
    with make_application(config_keys={"summary"}) as application:
        whole, stream = application.get("/answer"), application.get("/stream")
        assert whole.json()["token"] == ""
        assert stream.body == WHOLE
        assert HEADER not in whole.headers
        assert HEADER not in stream.headers


def test_a_body_in_chunks_is_read_no_further_than_a_vote(application: Application) -> None:
    """A vote in chunks without a length is accepted, and an endless one is not read to its end."""
    token = application.get("/answer").json()["token"]
    statuses = []
    for parts in ([vote(token).body[:9], vote(token).body[9:]], [b" " * 4_096] * 16):
        connection = http.client.HTTPConnection(*application.address, timeout=20)
        headers = {"Content-Type": "application/json", "X-User": "ada", "Connection": "close"}
        try:
            connection.request("POST", "/feedback", iter(parts), headers, encode_chunked=True)
        except OSError:
            pass
        statuses.append(connection.getresponse().status)
        connection.close()

    assert statuses == [204, 413]


def test_a_request_without_a_body_is_refused(application: Application) -> None:
    """A request without a body is answered at once."""
    assert application.vote(Request(b"", {"Content-Type": "application/json"})).status == 400
