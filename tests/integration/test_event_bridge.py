"""Events on a bus of EventBridge, as moto emulates it: what arrives in a queue behind a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from caio.aws.clients import aws_client
from caio.aws.event_bridge import EventBridge
from caio.events.envelope import Event
from tests.support.emulated_aws import emulated_aws


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with emulated_aws(tmp_path_factory.mktemp("moto")) as environment:
        yield environment


@pytest.fixture
def aws(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.items():
        monkeypatch.setenv(name, value)


def event(number: int) -> Event:
    return Event("acme", f"evt_{number}", number, "caio.key.created", f"key_{number}", number, "key.created", "me")


async def queue_behind(events: Any, queues: Any, bus: str) -> str:
    """The URL of a queue that everything of CAIO's on ``bus`` is put into."""
    await events.create_event_bus(Name=bus)
    url = (await queues.create_queue(QueueName=f"{bus}-queue"))["QueueUrl"]
    attributes = await queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    await events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["caio"]}))
    target = {"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}
    await events.put_targets(Rule="all", EventBusName=bus, Targets=[target])
    return str(url)


@pytest.mark.usefixtures("aws")
async def test_events_arrive_behind_the_bus() -> None:
    async with aws_client("events") as events, aws_client("sqs") as queues:
        url = await queue_behind(events, queues, "caio-bus")
        answers = await EventBridge(events, "caio-bus").send([event(number) for number in range(23)])
        assert [each.delivered for each in answers] == [True] * 23
        arrived = {}
        while found := (await queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
            for message in found:
                body = json.loads(message["Body"])
                arrived[body["detail"]["id"]] = body
                await queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert arrived.keys() == {f"evt_{number}" for number in range(23)}
    assert arrived["evt_7"]["detail"] == event(7).document()
    assert (arrived["evt_7"]["detail-type"], arrived["evt_7"]["source"]) == ("caio.key.created", "caio")


class PartlyFailing:
    """A client that refuses some entries, as EventBridge does when it is throttled inside: moto never does."""

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused
        self.batches: list[int] = []

    async def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.batches.append(len(Entries))
        entries = [
            {"ErrorCode": "InternalFailure", "ErrorMessage": "x"}
            if json.loads(entry["Detail"])["id"] in self.refused
            else {"EventId": "1"}
            for entry in Entries
        ]
        return {"FailedEntryCount": sum("ErrorCode" in each for each in entries), "Entries": entries}


async def test_every_entry_is_answered_for() -> None:
    client = PartlyFailing({"evt_3", "evt_10", "evt_24"})
    answers = await EventBridge(client, "bus").send([event(number) for number in range(25)])
    assert client.batches == [10, 10, 5]
    assert [number for number, each in enumerate(answers) if not each.delivered] == [3, 10, 24]
    assert answers[3].status == "InternalFailure"
    assert list(await EventBridge(client, "bus").send([])) == []


@pytest.mark.usefixtures("aws")
async def test_a_bus_that_does_not_answer_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with aws_client("events") as events:
        answers = await EventBridge(events, "bus").send([event(1), event(2)])
    assert [each.delivered for each in answers] == [False, False]
    assert "does not answer" in answers[0].status
