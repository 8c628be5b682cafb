"""The parts of ``caio.Client``, by what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caio.client import answers, calls, trust
from caio.client.blocking_streams import ChatStream, run_events
from caio.client.calls import Document, Wishes

if TYPE_CHECKING:
    from caio.audit.verify import Verification
    from caio.client.blocking import Client


class ChatCalls:
    """``client.chat``: OpenAI's chat completions. ``model`` is a service, an alias, ``auto`` or ``auto:CAPABILITY``;
    ``fields`` are further ones of OpenAI's request."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> answers.Chat:
        """A complete answer."""
        call = calls.chat(messages, model, wishes, fields, idempotency_key=idempotency_key, timeout=timeout)
        return self._client._ask(call)

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> ChatStream:
        """An answer in pieces: ``with client.chat.stream(…) as stream: for chunk in stream: …``."""
        return ChatStream(self._client, calls.chat_stream(messages, model, wishes, fields, timeout=timeout))


class _Publications:
    """Contracts or policies, registered, versioned, retired."""

    _kind = ""

    def __init__(self, client: Client) -> None:
        self._ask = client._ask

    def register(self, document: Document) -> answers.Publication:
        """Register a document: YAML or JSON as text, or a mapping."""
        return self._ask(calls.register(self._kind, document))

    def validate(self, document: Document) -> answers.Validation:
        """Say everything that is wrong with it, without registering it."""
        return self._ask(calls.validate(self._kind, document))

    def publish(self, name: str, document: Document, revision: int) -> answers.Publication:
        """Publish a further version, which becomes the active one; ``revision`` is the one last read."""
        return self._ask(calls.publish(self._kind, name, document, revision))

    def get(self, name: str, version: str | None = None) -> answers.Publication:
        """The newest version, or the one asked for."""
        return self._ask(calls.publication(self._kind, name, version))

    def list(
        self, *, after: str | None = None, limit: int = 50, retired: bool = False
    ) -> answers.Page[answers.Publication]:
        """A page, by name; the next begins ``after`` its ``next``."""
        return self._ask(calls.publications(self._kind, after, limit, retired))

    def retire(self, name: str, revision: int | None = None) -> answers.Publication:
        """Take it out of use; its versions stay readable."""
        return self._ask(calls.retire(self._kind, name, revision))


class Services(_Publications):
    """``client.services``: contracts."""

    _kind = "services"


class Policies(_Publications):
    """``client.policies``: the tenant's rules."""

    _kind = "policies"


class Decisions:
    """``client.decisions``: what was decided, and on which evidence."""

    def __init__(self, client: Client) -> None:
        self._ask = client._ask

    def get(self, decision_id: str) -> answers.Decision:
        return self._ask(calls.decision(decision_id))

    def list(self, *, before: str | None = None, limit: int = 50) -> answers.Page[answers.DecisionSummary]:
        """A page, newest first; the next is what was ``before`` its ``next``."""
        return self._ask(calls.decisions(before, limit))

    def evidence(self, decision_id: str) -> dict[str, Any]:
        """What the decision was made from: with it, it can be worked out again."""
        return self._ask(calls.of_decision(decision_id, "evidence"))

    def explanation(self, decision_id: str) -> dict[str, Any]:
        """Why the winner won, and what each loser lacked."""
        return self._ask(calls.of_decision(decision_id, "explanation"))


class Receipts:
    """``client.receipts``: signed receipts, and what they prove."""

    def __init__(self, client: Client) -> None:
        self._ask = client._ask

    def get(self, decision_id: str) -> dict[str, Any]:
        return self._ask(calls.of_decision(decision_id, "receipt"))

    def published_keys(self) -> dict[str, bytes]:
        """The keys that the server publishes. To verify with these is to trust the server on first use."""
        return trust.keys_in(self._ask(calls.published_keys()))

    def verify(
        self, receipt: str | Mapping[str, Any], keys: trust.Keys, evidence: Mapping[str, Any] | None = None
    ) -> Verification:
        """Check every claim of a receipt, given or fetched by its decision's id, with ``keys`` alone."""
        document = self.get(receipt) if isinstance(receipt, str) else receipt
        return trust.verify_receipt(document, keys, evidence)


class Workflows:
    """``client.workflows``: several calls for one job. A run is carried out by the server, whatever becomes of this
    program."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, workflow: Mapping[str, Any], given: Any = None, *, idempotency_key: str | None = None) -> answers.Run:
        """Begin a run of the workflow with ``given`` as its input; refused unless its bounds can be kept."""
        return self._client._ask(calls.run_workflow(workflow, given, idempotency_key))

    def get(self, run_id: str) -> answers.Run:
        """The run as it stands, with its steps and, when it has ended, its result."""
        return self._client._ask(calls.run_of(run_id))

    def list(self, *, before: str | None = None, limit: int = 50) -> answers.Page[answers.Run]:
        """A page of the caller's runs, without their steps, newest first; the next is ``before`` its ``next``."""
        return self._client._ask(calls.runs(before, limit))

    def events(self, run_id: str, *, after: str = "") -> Iterator[answers.RunEvent]:
        """What happens to the run, from its beginning or behind the event ``after``, to its end. Broken connections are
        taken up again."""
        return run_events(self._client, run_id, after)

    def cancel(self, run_id: str) -> answers.Run:
        """Have the run cancelled; one that has ended stays as it is."""
        return self._client._ask(calls.cancel_run(run_id))
