"""Whether a bucket policy is public, as S3 Block Public Access decides it.

Source: S3 user guide, "Blocking public access to your Amazon S3 storage", "The meaning of 'public'".
"""

import ipaddress
from typing import Any

from dr_assets.emulator.policies.documents import Statement, parse

# Keys whose fixed values make a policy that names everybody not public.
_FIXED = frozenset(
    {
        *("aws:sourceip", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount"),
        *("aws:userid", "aws:principalorgid", "aws:principalarn", "aws:principalaccount"),
        *("s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn", "s3:dataaccesspointaccount"),
    }
)
_OPERATORS = frozenset({"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"})
# Wider ranges of addresses count as everybody.
_WIDEST_PREFIX = 8


def is_public(policy: str) -> bool:
    """Whether a statement allows something to everybody without a condition on a fixed value. ValueError: no policy document."""
    return any(
        each.effect == "Allow" and _names_everybody(each) and not _limited(each) for each in parse(policy).statements
    )


def _names_everybody(statement: Statement) -> bool:
    return statement.principals is None or ("AWS", "*") in statement.principals


def _limited(statement: Statement) -> bool:
    return any(
        operator.lower() in _OPERATORS and key.lower() in _FIXED and all(map(_is_fixed, _listed(values)))
        for operator, keys in statement.condition.items()
        for key, values in keys.items()
    )


def _is_fixed(value: Any) -> bool:
    text = str(value)
    try:
        return ipaddress.ip_network(text, strict=False).prefixlen >= _WIDEST_PREFIX
    except ValueError:
        return "*" not in text and "?" not in text and "${" not in text


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
