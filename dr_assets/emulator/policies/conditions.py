"""Condition blocks of IAM policies.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Set operators for multivalued context keys".
"""

import ipaddress
import operator
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from dr_assets.emulator.policies.patterns import Context, arn_matches, equals, matches


class UnknownOperatorError(ValueError):
    """A condition operator that does not exist."""


# (value in the policy, value in the request, context, whether variables are replaced) -> whether they match.
Comparison = Callable[[str, str, Context, bool], bool]


def _text(compare: Callable[..., bool], ignore_case: bool = False) -> Comparison:
    return lambda wanted, found, context, variables: compare(
        wanted, found, context, variables=variables, ignore_case=ignore_case
    )


def _arn(wanted: str, found: str, context: Context, variables: bool) -> bool:
    return arn_matches(wanted, found, context, variables=variables)


def _ordered(parse: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Comparison:
    def holds(wanted: str, found: str, _context: Context, _variables: bool) -> bool:
        try:
            return compare(parse(found), parse(wanted))
        except ValueError:
            return False

    return holds


def _moment(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), timezone.utc)
    except ValueError:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _in_network(wanted: str, found: str, _context: Context, _variables: bool) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _bool(wanted: str, found: str, _context: Context, _variables: bool) -> bool:
    return wanted.lower() == found.lower()


_POSITIVE: dict[str, Comparison] = {
    "stringequals": _text(equals),
    "stringequalsignorecase": _text(equals, ignore_case=True),
    "stringlike": _text(matches),
    "arnequals": _arn,
    "arnlike": _arn,
    "bool": _bool,
    "binaryequals": lambda wanted, found, _context, _variables: wanted == found,
    "ipaddress": _in_network,
}
for _kind, _parse in (("numeric", float), ("date", _moment)):
    _POSITIVE |= {
        f"{_kind}equals": _ordered(_parse, operator.eq),
        f"{_kind}lessthan": _ordered(_parse, operator.lt),
        f"{_kind}lessthanequals": _ordered(_parse, operator.le),
        f"{_kind}greaterthan": _ordered(_parse, operator.gt),
        f"{_kind}greaterthanequals": _ordered(_parse, operator.ge),
    }
# Negated operators: none of the policy's values may match.
_NEGATED: dict[str, Comparison] = {
    "stringnotequals": _POSITIVE["stringequals"],
    "stringnotequalsignorecase": _POSITIVE["stringequalsignorecase"],
    "stringnotlike": _POSITIVE["stringlike"],
    "arnnotequals": _arn,
    "arnnotlike": _arn,
    "notipaddress": _in_network,
    "numericnotequals": _POSITIVE["numericequals"],
    "datenotequals": _POSITIVE["dateequals"],
}


def satisfied(block: dict[str, Any], context: Context, *, variables: bool) -> bool:
    """Whether every operator and every key of a Condition block is met.

    Raises UnknownOperatorError, and UnknownVariableError for a policy variable without a value.
    """
    return all(
        _met(name, key, [_written(value) for value in _listed(values)], context, variables)
        for name, keys in block.items()
        for key, values in keys.items()
    )


def _met(name: str, key: str, wanted: list[str], context: Context, variables: bool) -> bool:
    quantifier, _, base = name.lower().rpartition(":")
    base, if_exists = (base[: -len("ifexists")], True) if base.endswith("ifexists") else (base, False)
    found = context.get(key.lower())
    if quantifier not in ("", "forallvalues", "foranyvalue"):
        raise UnknownOperatorError(name)
    if base == "null":
        return any((found is None) == (value.lower() == "true") for value in wanted)
    comparison, negated = _POSITIVE.get(base), False
    if comparison is None:
        comparison, negated = _NEGATED.get(base), True
    if comparison is None:
        raise UnknownOperatorError(name)
    if found is None:
        if quantifier:
            return if_exists or quantifier == "forallvalues"
        return if_exists or negated

    def one(value: str) -> bool:
        return any(comparison(each, value, context, variables) for each in wanted) is not negated

    if quantifier == "forallvalues":
        return all(map(one, found))
    if quantifier == "foranyvalue":
        return any(map(one, found))
    return (all if negated else any)(map(one, found))


def _written(value: Any) -> str:
    """JSON's booleans and numbers, as they are compared with."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]
