"""Changes of Route 53 record sets, each compared with the records that exist, as ChangeResourceRecordSets does."""

from collections.abc import Container, Mapping
from typing import Any

from moto.route53.exceptions import DnsNameInvalidForZone, InvalidActionValue, NoSuchHealthCheck, Route53ClientError
from moto.route53.models import RecordSet, validate_domain_name


def apply_change(
    records: list[Any], action: str, change: Mapping[str, Any], *, zone_name: str, checks: Container[str]
) -> list[Any]:
    """The record sets of a zone after one change. Raises moto's errors for what AWS refuses.

    Args:
        records: moto's `RecordSet`s as they are.
        action: CREATE, UPSERT or DELETE.
        change: the `ResourceRecordSet` of the request.
        checks: ids of the health checks that exist.
    """
    wanted = dict(change)
    if action not in ("CREATE", "UPSERT", "DELETE"):
        raise InvalidActionValue(action)
    validate_domain_name(wanted["Name"], code="InvalidChangeBatch")
    wanted["Name"] = wanted["Name"].rstrip(".") + "."
    if not ("." + wanted["Name"]).endswith("." + zone_name.rstrip(".") + "."):
        raise DnsNameInvalidForZone(name=wanted["Name"], zone_name=zone_name)
    if "ResourceRecords" in wanted:
        wanted["ResourceRecords"] = [record["Value"] for record in wanted["ResourceRecords"]]
    if (check := wanted.get("HealthCheckId")) and action != "DELETE" and check not in checks:
        raise NoSuchHealthCheck(check)
    new = RecordSet(wanted)
    place = next((i for i, record in enumerate(records) if _key(record) == _key(new)), None)
    name = f"[name='{new.name}', type='{new.type}', set identifier='{new.set_identifier}']"
    if action == "CREATE" and place is not None:
        raise _invalid(f"Tried to create resource record set {name} but it already exists")
    if action == "DELETE":
        if place is None:
            raise _invalid(f"Tried to delete resource record set {name} but it was not found")
        if _values(records[place]) != _values(new):
            raise _invalid(
                f"Tried to delete resource record set {name} but the values provided do not match the current values"
            )
        return [record for i, record in enumerate(records) if i != place]
    if new.failover and not new.set_identifier:
        raise _invalid(f"SetIdentifier is missing in failover record {name}")
    if place is None:
        _check_siblings(records, new, name)
        return [*records, new]
    return [new if i == place else record for i, record in enumerate(records)]


def _check_siblings(records: list[Any], new: Any, name: str) -> None:
    """A simple record excludes others of its name, and there is one PRIMARY and one SECONDARY."""
    for record in records:
        if (record.name, record.type) != (new.name, new.type):
            continue
        if not record.set_identifier or not new.set_identifier:
            raise _invalid(f"RRSet {name} conflicts with a record of the same name and type")
        if new.failover and record.failover == new.failover:
            raise _invalid(f"Failover type {new.failover} is already used by another record of {name}")


def _key(record: Any) -> tuple[str, str, str | None]:
    return record.name, record.type, record.set_identifier


def _values(record: Any) -> dict[str, Any]:
    values = {key: value for key, value in vars(record).items() if value not in (None, [], "")}
    values["ttl"] = str(values.get("ttl"))
    return values


def _invalid(message: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", f"[{message}]")
