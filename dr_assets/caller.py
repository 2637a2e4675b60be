"""Identify who acts: the name that a person gave, and the AWS identity that STS confirms."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from dr_assets.aws import Aws
from dr_assets.documents import Part, storable
from dr_assets.errors import DrError

# What waits for STS waits no longer than this for each region: private subnets may have no endpoint for it.
IDENTITY_SECONDS = 3.0


def _words(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "a name is missing")
    return text


# Who a person claims to be: never blank, and no proof of anything.
Person = Annotated[str, AfterValidator(_words)]


class CallerIdentity(Part):
    """Who acted.

    words: the name that was given.
    arn: the identity that AWS sees; None where unknown.
    source_arn: under a role, the identity that assumed it; None without a role, or where unknown.
    reason: why one of them is unknown; None where nothing is.
    """

    words: Person
    arn: str | None
    source_arn: str | None = None
    reason: str | None = None


def identify(words: str, regions: Sequence[str], aws: Aws | None = None) -> CallerIdentity:
    """The caller's identity from the first of `regions` whose STS answers; unknown with the reason where none does.

    GetCallerIdentity needs no permission, even where a policy denies it (STS API reference). The calls are made apart from
    `aws`, whose log notes them: the silence of STS must not open the circuit breaker of a drill's own calls.
    """
    words = storable(words)
    try:
        apart = Aws(read_timeout=IDENTITY_SECONDS, attempts=1)
    except DrError as error:
        return CallerIdentity(words=words, arn=None, reason=str(error))
    if aws is not None:
        apart.log = aws.log
    reasons = []
    for region in regions:
        try:
            arn = apart.caller_arn(region)
        except DrError as error:
            reasons.append(str(error))
            continue
        try:
            return CallerIdentity(words=words, arn=arn, source_arn=apart.source_arn(region))
        except DrError as error:
            return CallerIdentity(words=words, arn=arn, reason=f"The identity behind the role is unknown: {error}")
    return CallerIdentity(words=words, arn=None, reason=" ".join(reasons) or "No region was given to ask STS in.")


class Identification:
    """`identify` in a thread, so that nothing waits for STS that does not have to."""

    def __init__(self, words: str, regions: Sequence[str]) -> None:
        self._words, self._found = words, CallerIdentity(words=words, arn=None, reason="STS has not answered in time.")
        self._thread = threading.Thread(target=self._run, args=(tuple(regions),), name="identity", daemon=True)
        self._thread.start()

    def _run(self, regions: Sequence[str]) -> None:
        self._found = identify(self._words, regions)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def get(self, seconds: float) -> CallerIdentity:
        """The identity; unknown where STS does not answer within `seconds`."""
        self._thread.join(seconds)
        return self._found
