"""The evaluator of policies, against the examples and tables of the IAM user guide."""

import json
from typing import Any

import pytest

from dr_assets.emulator.policies.documents import Caller, Document, Request, parse
from dr_assets.emulator.policies.evaluation import Policies, decide

ACCOUNT = "123456789012"
USER = Caller(arn=f"arn:aws:iam::{ACCOUNT}:user/JohnDoe", account=ACCOUNT)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SESSION = Caller(arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/app/one", role_arn=ROLE, account=ACCOUNT)
ROOT = Caller(arn=f"arn:aws:iam::{ACCOUNT}:root", account=ACCOUNT)


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> Document:
    return parse(json.dumps({"Version": version, "Statement": list(statements)}))


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def permits(
    statement: dict[str, Any], action: str, resource: str = "*", version: str = "2012-10-17", **context: Any
) -> bool:
    """Whether an identity policy of one statement allows a request; context keys are written `aws__username`."""
    values = {
        key.replace("__", ":").lower(): tuple(value) if isinstance(value, list | tuple) else (str(value),)
        for key, value in context.items()
    }
    return policy(statement, version=version).allows(Request(action, resource, values)) is not None


def holds(operator: str, value: Any, **context: Any) -> bool:
    return permits(allow(Condition={operator: {"aws:Key": value}}), "s3:GetObject", **context)


# -- elements ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:getobject", "s3:GetObject", True),  # the case of actions does not matter
        ("iam:*AccessKey*", "iam:CreateAccessKey", True),
        ("iam:*AccessKey*", "iam:CreateUser", False),
        ("s3:Get?bject", "s3:GetObject", True),
        ("ec2:*", "s3:GetObject", False),
        ("*", "s3:GetObject", True),
    ],
)
def test_actions_match_with_wildcards(pattern: str, action: str, expected: bool) -> None:
    assert permits(allow(pattern), action) is expected


def test_not_action_and_not_resource_mean_everything_else() -> None:
    # "IAM JSON policy elements: NotAction": everything but DeleteBucket.
    statement = {"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": "arn:aws:s3:::*"}
    assert permits(statement, "s3:GetObject", "arn:aws:s3:::a/b")
    assert not permits(statement, "s3:DeleteBucket", "arn:aws:s3:::a")
    # "IAM JSON policy elements: NotResource".
    only = ["arn:aws:s3:::HRBucket/Payroll", "arn:aws:s3:::HRBucket/Payroll/*"]
    statement = {"Effect": "Deny", "Action": "s3:*", "NotResource": only}
    assert policy(statement).denies(Request("s3:GetObject", "arn:aws:s3:::HRBucket/other"))
    assert not policy(statement).denies(Request("s3:GetObject", "arn:aws:s3:::HRBucket/Payroll/x"))


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/test/3.jpg", True),
        ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/test/3.jpg", False),
        ("arn:aws:iam::123456789012:user/*", f"arn:aws:iam::{ACCOUNT}:user/a/b", True),
        ("arn:aws:rds:*:*:cluster:a-*", f"arn:aws:rds:us-east-1:{ACCOUNT}:cluster:a-1", True),
        # A wildcard stays within its part, but in the last.
        ("arn:aws:rds:*:cluster:a-*", f"arn:aws:rds:us-east-1:{ACCOUNT}:cluster:a-1", False),
        ("arn:aws:*", "arn:aws:s3:::a", False),
        ("arn:aws:s3:::a", "arn:aws:s3:::A", False),
        ("*", "arn:aws:s3:::a", True),
        ("arn:aws:ec2:*:*:vpc/*", "*", False),
        # The wildcard of a type is matched by itself and by what is wider, not by a name.
        ("arn:aws:rds:*:*:db:*", f"arn:aws:rds:us-east-1:{ACCOUNT}:db:*", True),
        ("arn:aws:rds:*:*:db:a-*", f"arn:aws:rds:us-east-1:{ACCOUNT}:db:*", False),
    ],
)
def test_resources_match_part_by_part(pattern: str, arn: str, expected: bool) -> None:
    assert permits(allow(resource=pattern), "any:Action", arn) is expected


def test_policy_variables() -> None:
    # "IAM policy elements: Variables and tags".
    home = allow("s3:*", "arn:aws:s3:::amzn-s3-demo-bucket/${aws:username}/*")
    arn = "arn:aws:s3:::amzn-s3-demo-bucket/JohnDoe/x"
    assert permits(home, "s3:GetObject", arn, aws__username="JohnDoe")
    assert not permits(home, "s3:GetObject", arn, aws__username="other")
    assert not permits(home, "s3:GetObject", arn)  # no value: no match
    assert not permits(home, "s3:GetObject", arn, version="2008-10-17", aws__username="JohnDoe")
    assert not permits(home, "s3:GetObject", arn, aws__username="*")  # a value has no wildcards
    team = allow("s3:*", "arn:aws:s3:::amzn-s3-demo-bucket/${aws:PrincipalTag/team, 'company-wide'}/*")
    assert permits(team, "s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/x")
    assert permits(
        team, "s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/yellow/x", **{"aws__principaltag/team": "yellow"}
    )
    literal = allow("s3:*", "arn:aws:s3:::bucket/${*}/x")
    assert permits(literal, "s3:GetObject", "arn:aws:s3:::bucket/*/x")
    assert not permits(literal, "s3:GetObject", "arn:aws:s3:::bucket/a/x")


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "value", "context", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEquals", ["a", "b"], "b", False),  # values are alternatives to be excluded: NOR
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringLike", "a*z", "abcz", True),
        ("StringNotLike", "a*", "abc", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericGreaterThan", 9, "10", True),
        ("NumericEquals", "10", "ten", False),
        ("DateLessThan", "2030-01-01T00:00:00Z", "2026-11-26T00:00:00Z", True),
        ("DateGreaterThan", "2030-01-01T00:00:00Z", "2026-11-26T00:00:00Z", False),
        ("DateEquals", "1784000000", "1784000000", True),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "198.51.100.1", False),
        ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
        ("IpAddress", "2001:DB8:1234:5678::/64", "2001:db8:1234:5678::1", True),
        ("ArnLike", "arn:aws:sns:*:123456789012:*", "arn:aws:sns:us-east-1:123456789012:t", True),
        ("ArnEquals", "arn:aws:sns:*:123456789012:t*", "arn:aws:sns:us-east-1:123456789012:topic", True),
        ("ArnLike", "arn:aws:*:topic", "arn:aws:sns:us-east-1:123456789012:topic", False),
        ("ArnNotLike", "arn:aws:sns:*:*:*", "arn:aws:sqs:us-east-1:123456789012:q", True),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
        ("StringEqualsIfExists", "a", "b", False),
    ],
)
def test_condition_operators(operator: str, value: Any, context: str, expected: bool) -> None:
    assert holds(operator, value, aws__key=context) is expected


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("StringEquals", "a", False),
        ("StringNotEquals", "a", True),  # a negated operator holds without the key
        ("ArnNotLike", "arn:aws:sns:*:*:*", True),
        ("Bool", "false", False),
        ("BoolIfExists", "false", True),
        ("StringEqualsIfExists", "a", True),
        ("Null", "true", True),
        ("Null", "false", False),
        ("ForAllValues:StringEquals", "a", True),
        ("ForAnyValue:StringEquals", "a", False),
    ],
)
def test_conditions_on_a_key_that_the_request_lacks(operator: str, value: str, expected: bool) -> None:
    assert holds(operator, value) is expected


@pytest.mark.parametrize(
    ("operator", "found", "expected"),
    [
        ("ForAllValues:StringEquals", ["environment", "costcenter"], True),
        ("ForAllValues:StringEquals", ["environment", "other"], False),
        ("ForAnyValue:StringEquals", ["environment", "other"], True),
        ("ForAnyValue:StringEquals", ["other"], False),
        ("ForAllValues:StringNotEquals", ["other"], True),
        ("ForAnyValue:StringNotLike", ["environment", "x"], True),
    ],
)
def test_set_operators(operator: str, found: list[str], expected: bool) -> None:
    # "Set operators for multivalued context keys": aws:TagKeys.
    assert holds(operator, ["environment", "costcenter"], aws__key=found) is expected


def test_all_operators_and_keys_of_a_block_must_hold() -> None:
    both = {"StringEquals": {"aws:Key": "a", "aws:Other": "b"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = allow(Condition=both)
    assert permits(statement, "x:Y", aws__key="a", aws__other="b", aws__securetransport="true")
    assert not permits(statement, "x:Y", aws__key="a", aws__other="b", aws__securetransport="false")
    assert not permits(statement, "x:Y", aws__key="a", aws__securetransport="true")


@pytest.mark.parametrize("operator", ["StringMatches", "ForSomeValues:StringEquals", "", "IfExists"])
def test_an_unknown_operator_never_allows_and_always_denies(operator: str) -> None:
    request = Request("x:Y", "*", {"aws:key": ("a",)})
    assert policy(allow(Condition={operator: {"aws:Key": "a"}})).allows(request) is None
    assert policy(deny(Condition={operator: {"aws:Key": "a"}})).denies(request)


# -- evaluation logic --------------------------------------------------------------------------------------------------


def outcome(caller: Caller, resource: tuple[Document, ...] = (), need: Any = "either", **policies: Any) -> bool:
    request = Request("s3:GetObject", "arn:aws:s3:::b/k")
    return decide(request, caller, Policies(**policies), resource, need).allowed


def to(principal: Any, effect: str = "Allow") -> Document:
    return policy({**allow("s3:*", "arn:aws:s3:::b/*"), "Effect": effect, "Principal": principal})


ALLOWS, DENIES, NOTHING = policy(allow()), policy(allow(), deny()), policy(allow("ec2:*"))


def test_default_deny_explicit_deny_and_allow() -> None:
    assert not outcome(USER, identity=())
    assert outcome(USER, identity=(NOTHING, ALLOWS))
    assert not outcome(USER, identity=(ALLOWS, DENIES))
    assert outcome(ROOT)


def test_within_an_account_either_policy_suffices() -> None:
    assert outcome(USER, (to({"AWS": USER.arn}),), identity=())
    assert outcome(USER, (to({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}),), identity=(ALLOWS,))
    assert not outcome(USER, (to("*", "Deny"),), identity=(ALLOWS,))
    assert not outcome(ROOT, (to("*", "Deny"),))
    assert not outcome(USER, (to({"AWS": ACCOUNT}, "Deny"),), identity=(ALLOWS,))


def test_the_account_as_principal_leaves_the_decision_to_identity_policies() -> None:
    for account in (ACCOUNT, ROOT.arn):
        assert not outcome(USER, (to({"AWS": account}),), identity=())
        assert outcome(USER, (to({"AWS": account}),), identity=(ALLOWS,))


@pytest.mark.parametrize("limit", ["boundary", "session"])
def test_boundary_and_session_policy_intersect(limit: str) -> None:
    def limited(document: Document, **more: Any) -> dict[str, Any]:
        return {limit: document if limit == "boundary" else (document,), **more}

    assert outcome(SESSION, identity=(ALLOWS,), **limited(ALLOWS))
    assert not outcome(SESSION, identity=(ALLOWS,), **limited(NOTHING))
    assert not outcome(SESSION, identity=(NOTHING,), **limited(ALLOWS))
    assert not outcome(SESSION, identity=(ALLOWS,), **limited(DENIES))
    # A grant to the role is limited by them, one to the very session is not ("Evaluating … resource-based policies").
    assert not outcome(SESSION, (to({"AWS": ROLE}),), identity=(), **limited(NOTHING))
    assert outcome(SESSION, (to({"AWS": ROLE}),), identity=(), **limited(ALLOWS))
    assert outcome(SESSION, (to({"AWS": SESSION.arn}),), identity=(), **limited(NOTHING))
    assert not outcome(SESSION, (to({"AWS": SESSION.arn}),), identity=(), **limited(DENIES))


def test_a_required_policy_must_allow_or_delegate() -> None:
    # KMS keys and trust policies.
    assert not outcome(USER, (), "required", identity=(ALLOWS,))
    assert not outcome(ROOT, (), "required")
    assert outcome(ROOT, (to({"AWS": ROOT.arn}),), "required")
    assert outcome(USER, (to({"AWS": ROOT.arn}),), "required", identity=(ALLOWS,))
    assert not outcome(USER, (to({"AWS": ROOT.arn}),), "required", identity=())
    assert outcome(USER, (to({"AWS": USER.arn}),), "required", identity=())


def test_services_need_the_resources_policy() -> None:
    sns = Caller(service="sns.amazonaws.com")
    assert outcome(sns, (to({"Service": "sns.amazonaws.com"}),))
    assert not outcome(sns, (to({"Service": ["sqs.amazonaws.com"]}),))
    assert not outcome(sns, ())
    assert not outcome(USER, (to({"Service": "sns.amazonaws.com"}),), identity=())


def test_not_principal_excepts_only_who_is_listed_whole() -> None:
    def denied_but(*arns: str) -> Document:
        return policy({**deny("s3:*", "arn:aws:s3:::b/*"), "NotPrincipal": {"AWS": list(arns)}})

    assert outcome(USER, (denied_but(USER.arn, ROOT.arn),), identity=(ALLOWS,))
    assert not outcome(USER, (denied_but(ROOT.arn),), identity=(ALLOWS,))
    assert outcome(SESSION, (denied_but(SESSION.arn, ROLE, ROOT.arn),), identity=(ALLOWS,))
    assert not outcome(SESSION, (denied_but(ROLE, ROOT.arn),), identity=(ALLOWS,))


def test_the_reason_is_named() -> None:
    request = Request("s3:GetObject", "arn:aws:s3:::b/k")

    def why(*resource: Document, need: Any = "either", **policies: Any) -> str:
        return decide(request, USER, Policies(**policies), resource, need).why

    assert why(identity=()) == "because no identity-based policy allows the s3:GetObject action"
    assert why(identity=(DENIES,)) == "with an explicit deny in an identity-based policy"
    assert why(to("*", "Deny"), identity=(ALLOWS,)) == "with an explicit deny in a resource-based policy"
    assert why(identity=(ALLOWS,), boundary=NOTHING) == "because no permissions boundary allows the s3:GetObject action"
    assert why(identity=(ALLOWS,), session=(DENIES,)) == "with an explicit deny in a session policy"
    assert why(identity=(ALLOWS,), need="required") == "because no resource-based policy allows the s3:GetObject action"


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', "nonsense"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
