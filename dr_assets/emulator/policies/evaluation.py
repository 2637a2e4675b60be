"""AWS's policy evaluation logic: from all policies that concern a request to allowed or denied, and why.

Source: IAM user guide, "Policy evaluation logic", "How AWS enforcement code logic evaluates requests", and for the texts
"Troubleshoot access denied error messages".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dr_assets.emulator.policies.documents import Caller, Document, Request


@dataclass(frozen=True)
class Policies:
    """What limits and permits a caller's requests, besides the resource's own policy.

    Attributes:
        identity: attached to the user, its groups, or the role; `None` for the account's root, who may do everything.
        boundary: the permissions boundary, if there is one.
        session: session policies of AssumeRole, if there are any.
    """

    identity: tuple[Document, ...] | None = None
    boundary: Document | None = None
    session: tuple[Document, ...] | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a request is allowed; `why` ends AWS's message where it is not."""

    allowed: bool
    why: str = ""


# What the resource's own policy is to the decision: one of two ways to permit it; required, as with KMS keys and trust policies.
Need = Literal["either", "required"]
_ALLOWED = Verdict(True)


def decide(
    request: Request,
    caller: Caller,
    policies: Policies,
    resource: Sequence[Document] = (),
    need: Need = "either",
    policy_name: str = "resource-based policy",
) -> Verdict:
    """Evaluate one permission within one account.

    Args:
        resource: the policies of the resource; for a service that acts by itself they alone decide.
        policy_name: what AWS calls them in its message.
    """
    if kind := _denying(request, caller, policies, resource, policy_name):
        return Verdict(False, f"with an explicit deny in {'an' if kind[0] in 'aeiou' else 'a'} {kind}")
    granted = {found for each in resource if (found := each.allows(request, caller))}
    if caller.service:
        return _ALLOWED if granted else _missing(request, policy_name)
    if need == "required" and not granted:
        return _missing(request, policy_name)
    if policies.identity is None or "direct" in granted:
        # A grant to the very user or session is limited by nothing but a Deny.
        return _ALLOWED
    permitted = any(each.allows(request) for each in policies.identity)
    if not permitted and not granted & {"role", "anyone"}:
        return _missing(request, "identity-based policy")
    if policies.boundary is not None and not policies.boundary.allows(request):
        return _missing(request, "permissions boundary")
    if policies.session is not None and not any(each.allows(request) for each in policies.session):
        return _missing(request, "session policy")
    return _ALLOWED


def _denying(
    request: Request, caller: Caller, policies: Policies, resource: Sequence[Document], policy_name: str
) -> str | None:
    if any(each.denies(request) for each in policies.identity or ()):
        return "identity-based policy"
    if any(each.denies(request, caller) for each in resource):
        return policy_name
    if policies.boundary is not None and policies.boundary.denies(request):
        return "permissions boundary"
    if any(each.denies(request) for each in policies.session or ()):
        return "session policy"
    return None


def _missing(request: Request, kind: str) -> Verdict:
    return Verdict(False, f"because no {kind} allows the {request.action} action")
