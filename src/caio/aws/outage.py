"""What AWS says when it does not do what was asked, as errors of CAIO."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from caio.foundation.errors import Misconfigured, NotReady

#: Codes of answers that pass by themselves, beside every answer with a status of 500 or more.
_PASSING = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "KeyUnavailableException",
        "DependencyTimeoutException",
        "ConditionalRequestConflict",
        "RequestTimeout",
        "SlowDown",
    }
)


def code_of(error: ClientError) -> str:
    """AWS's own code of an error, ``AccessDeniedException`` for instance."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def answers_of(service: str) -> Iterator[None]:
    """Raise NotReady when the service does not answer or is overloaded, NotReady ``aws_refused`` when it
    refuses, and Misconfigured when there are no credentials to ask it with."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise Misconfigured(
            f"There are no AWS credentials to ask {service} with: give the process a role, or set AWS_PROFILE."
        ) from error
    except ClientError as error:
        code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PASSING or status >= 500:
            raise NotReady(f"AWS {service} is overloaded or out of order ({code}); try again shortly.") from error
        raise NotReady(
            f"AWS {service} refuses ({code}). It answers again once its operator has put that right.",
            code="aws_refused",
        ) from error
    except BotoCoreError as error:
        raise NotReady(f"AWS {service} does not answer; try again shortly.") from error
