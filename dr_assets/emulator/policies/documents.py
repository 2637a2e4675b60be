"""Policy documents: which statements of a policy apply to a request, and to whom.

Source: IAM user guide, "IAM JSON policy element reference" and "AWS JSON policy elements: Principal".
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from dr_assets.emulator.policies.conditions import UnknownOperatorError, satisfied
from dr_assets.emulator.policies.patterns import Context, UnknownVariableError, arn_matches, matches

# How closely a Principal element names the caller: the user or session itself, the role behind the session, everybody, or the
# account, which leaves the decision to identity policies.
Closeness = Literal["direct", "role", "anyone", "account"]
_RANK: tuple[Closeness, ...] = ("direct", "role", "anyone", "account")


@dataclass(frozen=True)
class Caller:
    """Whom a Principal element may name.

    Attributes:
        arn: of the user, the role session, the account's root or `*` of nobody; a service has none.
        role_arn: of the role behind a session.
        account: 12 digits.
        service: `rds.amazonaws.com` where an AWS service acts by itself.
    """

    arn: str = ""
    role_arn: str = ""
    account: str = ""
    service: str = ""

    @property
    def is_root(self) -> bool:
        """Whether it is the account's root user."""
        return self.arn.endswith(":root")


@dataclass(frozen=True)
class Request:
    """One permission that is asked for. `context` has lower-case keys."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, its elements as lists."""

    effect: str
    variables: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...]
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...] | None
    not_principals: tuple[tuple[str, str], ...]
    condition: dict[str, Any]

    def applies(self, request: Request, caller: Caller | None = None) -> Closeness | None:
        """How closely the statement names the caller, `None` where it does not apply to the request.

        `caller` is given for resource policies. An operator or variable that is not known makes a Deny apply and an Allow not.
        """
        if not self._covers(request):
            return None
        closeness: Closeness | None = "direct" if caller is None else self._names(caller)
        if closeness is None:
            return None
        try:
            holds = self._about(request) and satisfied(self.condition, request.context, variables=self.variables)
        except UnknownOperatorError:
            holds = self.effect == "Deny"
        except UnknownVariableError:
            holds = False
        return closeness if holds else None

    def _covers(self, request: Request) -> bool:
        def named(patterns: tuple[str, ...]) -> bool:
            return any(matches(each, request.action, {}, variables=False, ignore_case=True) for each in patterns)

        return named(self.actions) if self.actions is not None else not named(self.not_actions)

    def _about(self, request: Request) -> bool:
        def named(patterns: tuple[str, ...]) -> bool:
            return any(
                arn_matches(each, request.resource, request.context, variables=self.variables) for each in patterns
            )

        if self.resources is not None:
            return named(self.resources)
        # Trust policies have neither element.
        return not self.not_resources or not named(self.not_resources)

    def _names(self, caller: Caller) -> Closeness | None:
        if self.principals is not None:
            found = {close for kind, value in self.principals if (close := _closeness(kind, value, caller))}
            return next((each for each in _RANK if each in found), None)
        if not self.not_principals:
            return None
        # Who is to be excepted must be listed with the session, the role and the account ("AWS JSON policy elements: NotPrincipal").
        listed = [value for _, value in self.not_principals]
        own = {caller.service} if caller.service else {caller.arn, caller.role_arn, _root(caller)} - {""}
        return None if own <= set(listed) or "*" in listed else "anyone"


@dataclass(frozen=True)
class Document:
    """A policy."""

    statements: tuple[Statement, ...]

    def denies(self, request: Request, caller: Caller | None = None) -> bool:
        """Whether a statement denies the request."""
        return any(each.effect == "Deny" and each.applies(request, caller) for each in self.statements)

    def allows(self, request: Request, caller: Caller | None = None) -> Closeness | None:
        """How closely the closest allowing statement names the caller; `None` where none allows the request."""
        found = {each.applies(request, caller) for each in self.statements if each.effect == "Allow"}
        return next((each for each in _RANK if each in found), None)


@lru_cache(maxsize=4096)
def parse(text: str) -> Document:
    """Parse a policy document. ValueError where it is no JSON object with statements."""
    document = json.loads(text)
    if not isinstance(document, dict) or "Statement" not in document:
        raise ValueError("a policy document is an object with a Statement")
    # Variables exist since this version only ("IAM JSON policy elements: Version").
    variables = document.get("Version") == "2012-10-17"
    return Document(tuple(_statement(each, variables) for each in _listed(document["Statement"])))


def _statement(raw: dict[str, Any], variables: bool) -> Statement:
    return Statement(
        effect=str(raw.get("Effect")),
        variables=variables,
        actions=tuple(_listed(raw["Action"])) if "Action" in raw else None,
        not_actions=tuple(_listed(raw.get("NotAction") or [])),
        resources=tuple(_listed(raw["Resource"])) if "Resource" in raw else None,
        not_resources=tuple(_listed(raw.get("NotResource") or [])),
        principals=_principals(raw["Principal"]) if "Principal" in raw else None,
        not_principals=_principals(raw.get("NotPrincipal") or {}),
        condition=raw.get("Condition") or {},
    )


def _principals(raw: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, str):
        return (("AWS", raw),)
    return tuple((kind, str(value)) for kind, values in raw.items() for value in _listed(values))


def _closeness(kind: str, value: str, caller: Caller) -> Closeness | None:
    if value == "*" and kind == "AWS":
        return "anyone"
    if kind == "Service" or caller.service:
        return "direct" if kind == "Service" and value == caller.service else None
    if kind != "AWS":
        return None
    if value in (caller.account, _root(caller)) and caller.account:
        return "account"
    if value == caller.arn:
        return "direct"
    return "role" if value == caller.role_arn and value else None


def _root(caller: Caller) -> str:
    partition = caller.arn.split(":")[1] if caller.arn.startswith("arn:") else "aws"
    return f"arn:{partition}:iam::{caller.account}:root"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
