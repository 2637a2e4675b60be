"""Check whether IAM would allow provisioning, with iam:SimulatePrincipalPolicy over the policy that `dr permissions` prints.

The simulation covers identity policies, permissions boundaries and service control policies of the organisation; it covers no
resource policies (IAM API, SimulatePrincipalPolicy).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dr_assets.core.model import error_code
from dr_assets.preflight.survey import Check, Finding, Survey, fails, ok, unknown
from dr_assets.resources.iam_policy import policy
from dr_assets.resources.names import arn as arn_of
from dr_assets.resources.registry import KINDS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES

_CLOSED = ("AccessDenied", "AccessDeniedException", "NoSuchEntity", "InvalidInput")
# Operators whose value satisfies the condition as it is; others (null tests, negations) are left out and found missing.
_POSITIVE = (
    "Bool",
    "StringEquals",
    "StringLike",
    "ArnEquals",
    "ArnLike",
    "StringEqualsIgnoreCase",
    "ForAllValues:StringEquals",
    "ForAllValues:StringLike",
    "Bool",
)


def caller_identity(survey: Survey) -> Mapping[str, Any]:
    """GetCallerIdentity, from the first of the stack's regions that answers."""
    regions = [survey.stack.region(site) for site in SITES]
    try:
        return survey.reads.call("sts", "get_caller_identity", regions[0])
    except Exception as error:
        if error_code(error):
            raise
        return survey.reads.call("sts", "get_caller_identity", regions[1])


def principal(survey: Survey) -> str | None:
    """The user or role whose policies count; None for the root user, whom no identity policy binds.

    A session's ARN names the role without its path ("sts::…:assumed-role/NAME/SESSION"): a role with a path is not found, and
    the simulation is unknown then.
    """
    arn = str(caller_identity(survey)["Arn"])
    kind, _, rest = arn.split(":", 5)[5].partition("/")
    if kind == "root":
        return None
    if kind != "assumed-role":
        return arn
    return arn_of("iam", f"role/{rest.split('/')[0]}", account=arn.split(":")[4])


def simulate(
    survey: Survey, source: str, actions: Sequence[str], resources: Sequence[str], context: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Action -> decision: allowed, explicitDeny, implicitDeny, or `unknown` where a denial depends on a value that was not given.

    A statement joins actions that apply to different types of resource, so one allowed resource in each region is enough.
    """
    entries = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": list(values),
            "ContextKeyType": "boolean" if set(values) <= {"true", "false"} else "string",
        }
        for key, values in context.items()
    ]
    results = survey.reads.pages(
        "iam",
        "simulate_principal_policy",
        GLOBAL_REGION,
        "EvaluationResults",
        PolicySourceArn=source,
        ActionNames=list(actions),
        ResourceArns=list(resources),
        MaxItems=1000,
        **({"ContextEntries": entries} if entries else {}),
    )
    decisions: dict[str, dict[str, set[str]]] = {}
    for result in results:
        decision = str(result["EvalDecision"])
        if decision == "implicitDeny" and result.get("MissingContextValues"):
            decision = "unknown"
        region = (str(result.get("EvalResourceName", "")).split(":") + [""] * 4)[3]
        decisions.setdefault(result["EvalActionName"], {}).setdefault(region, set()).add(decision)
    return {action: _decided(by_region) for action, by_region in decisions.items()}


def _decided(by_region: Mapping[str, set[str]]) -> str:
    """The worst of the regions, each as good as its best resource. Resources without a region count only where there is no other."""
    regional = [found for region, found in by_region.items() if region] or list(by_region.values())
    best = [
        next(each for each in ("allowed", "unknown", "implicitDeny", "explicitDeny") if each in found)
        for found in regional
    ]
    return next(each for each in ("explicitDeny", "implicitDeny", "unknown", "allowed") if each in best)


def allowed(survey: Survey, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]) -> bool | None:
    """Whether the caller may do all of it; None where that cannot be simulated. Raises what a read raises, but no refusal."""
    try:
        source = principal(survey)
        if source is None:
            return None
        found = simulate(survey, source, actions, [resource], context)
    except Exception as error:
        if error_code(error) in _CLOSED:
            return None
        raise
    decisions = {found.get(action, "unknown") for action in actions}
    return None if "unknown" in decisions else decisions == {"allowed"}


def permissions(survey: Survey) -> Finding:
    remedy = "Grant iam:SimulatePrincipalPolicy on the caller, or pass --skip permissions=REASON."
    try:
        source = principal(survey)
        if source is None:
            return unknown(
                "the caller is the account's root user, whom IAM does not simulate",
                "Use a role instead of the root user.",
            )
        denied: dict[str, str] = {}
        asked = 0
        for actions, resources, context in _statements(survey):
            found = simulate(survey, source, actions, resources, context)
            asked += len(actions)
            denied |= {action: found.get(action, "unknown") for action in actions if found.get(action) != "allowed"}
    except Exception as error:
        if error_code(error) in _CLOSED:
            return unknown(f"the caller's permissions cannot be simulated ({error_code(error)})", remedy)
        raise
    refused = sorted(action for action, decision in denied.items() if decision != "unknown")
    if refused:
        shown = ", ".join(refused[:8]) + (f" and {len(refused) - 8} more" if len(refused) > 8 else "")
        return fails(f"IAM would refuse {shown}", "Grant what `dr permissions provision` prints.", denied=refused)
    if denied:
        return unknown(
            f"it depends on values of the request whether IAM allows {', '.join(sorted(denied)[:8])}", remedy
        )
    return ok(f"IAM allows {asked} actions of the provisioning policy")


def _statements(survey: Survey) -> Iterator[tuple[list[str], list[str], dict[str, list[str]]]]:
    """Actions, resources and context of the provisioning policy's statements; of the services that are written, unless all is examined."""
    document = policy(survey.stack, ["provision"], survey.state.account)
    services = {action.split(":")[0] for kind in survey.kinds_to_create() for action in KINDS[kind].write_actions}
    for statement in document["Statement"]:
        actions = [
            action
            for action in _listed(statement["Action"])
            # The service-linked role has a check of its own: it matters only where the role does not exist.
            if action != "iam:CreateServiceLinkedRole" and (survey.everything or action.split(":")[0] in services)
        ]
        if actions and statement["Effect"] == "Allow":
            resources = [each for arn in _listed(statement["Resource"]) for each in _in_each_region(survey, arn)]
            yield actions, resources, _context(statement.get("Condition", {}))


def _in_each_region(survey: Survey, resource: str) -> list[str]:
    """An ARN whose region is a wildcard, as one for each region of the stack: a simulation takes the wildcard for a name."""
    parts = resource.split(":", 4)
    if len(parts) < 5 or parts[3] != "*":
        return [resource]
    return [":".join([*parts[:3], survey.stack.region(site), parts[4]]) for site in SITES]


def _context(condition: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    found = {key: _listed(value) for operator in _POSITIVE for key, value in condition.get(operator, {}).items()}
    # A key that must be there, whatever its value.
    present = [key for key, absent in condition.get("Null", {}).items() if str(absent).lower() == "false"]
    return {key: ["any"] for key in present} | found


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


CHECKS = (Check("permissions", "IAM allows provisioning", permissions),)
