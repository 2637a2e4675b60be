"""IAM extension of moto: SimulatePrincipalPolicy and SimulateCustomPolicy, answered by the evaluator that enforces policies.

Source: IAM API reference, SimulatePrincipalPolicy. Resource policies count only where the call gives one; condition keys are those
that the call gives.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.iam import urls
from moto.iam.exceptions import DeleteConflictException, InvalidInput, MalformedPolicyDocument, NotFoundException
from moto.iam.models import IAMBackend, iam_backends
from moto.iam.responses import IamResponse

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions import principals
from dr_assets.emulator.policies.documents import Caller, Document, Request, parse
from dr_assets.emulator.policies.evaluation import Policies, decide


class DrIamBackend(Extended, IAMBackend):  # type: ignore[misc]
    """IAM of one account."""

    def create_role(self, role_name: str, assume_role_policy_document: str, *args: Any, **kwargs: Any) -> Any:
        """moto: takes a trust policy whose principals do not exist."""
        _check_principals(assume_role_policy_document)
        return super().create_role(role_name, assume_role_policy_document, *args, **kwargs)

    def update_assume_role_policy(self, role_name: str, policy_document: str) -> None:
        """moto: takes principals that do not exist."""
        self.get_role(role_name)
        _check_principals(policy_document)
        super().update_assume_role_policy(role_name, policy_document)

    def create_service_linked_role(self, service_name: str, description: str, suffix: str) -> Any:
        """moto: names that of RDS AWSServiceRoleForrds."""
        role = super().create_service_linked_role(service_name, description, suffix)
        if service_name == "rds.amazonaws.com":
            role.name = "AWSServiceRoleForRDS"
        return role

    def delete_policy(self, policy_arn: str) -> None:
        """moto: deletes a policy in use, and one with several versions (IAM API, DeletePolicy: detach it and delete its other
        versions first)."""
        policy = self.get_policy(policy_arn)
        holders = (*self.roles.values(), *self.users.values(), *self.groups.values())
        if any(
            policy.arn in (*each.managed_policies, getattr(each, "permissions_boundary_arn", None)) for each in holders
        ):
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
                "The default version is deleted with the policy."
            )
        super().delete_policy(policy_arn)


class DrIamResponse(IamResponse):  # type: ignore[misc]
    """The IAM API."""

    def simulate_principal_policy(self) -> ActionResult:
        """moto: not implemented."""
        arn = str(self._get_param("PolicySourceArn"))
        if ":user/" not in arn and ":role/" not in arn:
            raise InvalidInput(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
        found = principals.by_arn(arn)
        if found is None:
            raise NotFoundException(f"Entity {arn} does not exist.")
        held = found.policies
        more = tuple(map(parse, self._get_param("PolicyInputList", []) or []))
        given = [parse(each) for each in self._get_param("PermissionsBoundaryPolicyInputList", []) or []]
        boundary = given[0] if given else held.boundary
        return self._simulated(found.caller, Policies(identity=(*(held.identity or ()), *more), boundary=boundary))

    def simulate_custom_policy(self) -> ActionResult:
        """moto: not implemented."""
        given = tuple(map(parse, self._get_param("PolicyInputList", []) or []))
        caller = Caller(arn=str(self._get_param("CallerArn") or ""), account=self.current_account)
        return self._simulated(caller, Policies(identity=given))

    def _simulated(self, caller: Caller, policies: Policies) -> ActionResult:
        context = {
            str(each["ContextKeyName"]).lower(): tuple(map(str, each.get("ContextKeyValues") or []))
            for each in self._get_param("ContextEntries", []) or []
        }
        resource: tuple[Document, ...] = tuple(
            parse(text) for text in [self._get_param("ResourcePolicy")] if text is not None
        )
        results: list[dict[str, Any]] = []
        for action in self._get_param("ActionNames", []) or []:
            for arn in self._get_param("ResourceArns", []) or ["*"]:
                verdict = decide(Request(str(action), str(arn), context), caller, policies, resource)
                explicit = verdict.why.startswith("with an explicit deny")
                bounded = policies.boundary is not None
                detail = {"AllowedByPermissionsBoundary": "permissions boundary" not in verdict.why}
                results.append(
                    {
                        "EvalActionName": action,
                        "EvalResourceName": arn,
                        "EvalDecision": "allowed"
                        if verdict.allowed
                        else "explicitDeny"
                        if explicit
                        else "implicitDeny",
                        "MatchedStatements": [],
                        "MissingContextValues": [],
                        **({"PermissionsBoundaryDecisionDetail": detail} if bounded else {}),
                    }
                )
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _check_principals(policy: str) -> None:
    """IAM names the first principal that does not exist (terraform-provider-aws, resource aws_iam_role: `Invalid principal`)."""
    if found := principals.invalid_principal(policy):
        kind, name = found
        raise MalformedPolicyDocument(
            f'Invalid principal in policy: "{kind if kind == "AWS" else kind.upper()}":"{name}"'
        )


EXTENSION = Extension(backends=iam_backends, backend=DrIamBackend, urls=urls, responses=DrIamResponse)
