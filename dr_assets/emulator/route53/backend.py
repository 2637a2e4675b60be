"""Route 53 extension of moto: its backend and API; health evaluation is in `health`, record changes in `records`.

moto 5.2.5 keeps neither alarm, missing-data rule nor version of a health check, ignores caller references, and changes records without
comparing them.
"""

import copy
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.route53 import urls
from moto.route53.exceptions import InvalidInput, NoSuchHealthCheck, PublicZoneVPCAssociation, Route53ClientError
from moto.route53.models import FakeZone, Route53Backend, route53_backends
from moto.route53.responses import Route53

from dr_assets.emulator import dark_regions
from dr_assets.emulator.answers import answers
from dr_assets.emulator.clock import clock
from dr_assets.emulator.cloudwatch.alarms import dimension_set
from dr_assets.emulator.cloudwatch.metrics import Series
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.quotas import limit
from dr_assets.emulator.route53 import health
from dr_assets.emulator.route53.health import Observation
from dr_assets.emulator.route53.records import apply_change

MAX_TAGS = 10  # of a health check or hosted zone (Route 53 API, ChangeTagsForResource, ResourceTagSet)
_UPDATABLE = (
    "IPAddress",
    "Port",
    "ResourcePath",
    "FullyQualifiedDomainName",
    "SearchString",
    "FailureThreshold",
    "Inverted",
    "Disabled",
    "HealthThreshold",
    "ChildHealthChecks",
    "EnableSNI",
    "Regions",
    "AlarmIdentifier",
    "InsufficientDataHealthStatus",
)


class Check:
    """A health check: its configuration exactly as set, with AWS's defaults."""

    def __init__(self, check_id: str, reference: str, config: dict[str, Any]) -> None:
        self.id = check_id
        self.caller_reference = reference
        self.health_check_version = 1
        self.requested = copy.deepcopy(config)
        self.health_check_config = {**_defaults(config), **copy.deepcopy(config)}
        self.cloud_watch_alarm_configuration: dict[str, Any] | None = None
        # A new check is healthy until there is enough data to find otherwise. The state when the metric
        # last had data is kept apart from the observation without data: LastKnownStatus uses the former.
        self.observation = Observation(True, "The health check is new.")
        self.last_known_healthy = True

    @property
    def type_(self) -> str:
        """HTTP, HTTPS, TCP, CLOUDWATCH_METRIC, CALCULATED, ..."""
        return str(self.health_check_config["Type"])


def _defaults(config: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"Inverted": False, "Disabled": False}
    kind = config["Type"]
    if kind == "CLOUDWATCH_METRIC":
        return {**defaults, "InsufficientDataHealthStatus": "LastKnownStatus"}
    if kind in ("CALCULATED", "RECOVERY_CONTROL"):
        return defaults
    secure = kind.startswith("HTTPS")
    port = {} if kind == "TCP" else {"Port": 443 if secure else 80}
    defaults.update(port, RequestInterval=30, FailureThreshold=3, MeasureLatency=False, EnableSNI=secure)
    return defaults


class CheckSchedule:
    """When health checks read their metrics: every 10 s, at the alarms' pace."""

    def __init__(self) -> None:
        self.next = 0.0

    def reset(self) -> None:
        """Evaluate every check at the next request."""
        self.next = 0.0

    @staticmethod
    def backends() -> Iterator["DrRoute53Backend"]:
        """The backends in use."""
        for account in list(route53_backends):
            yield from list(route53_backends[account].values())

    def pass_time(self, now: float, everything: bool = False) -> None:
        """Evaluate every check when the interval is over, or at once."""
        if now < self.next and not everything:
            return
        self.next = now + health.INTERVAL_SECONDS / clock.pace
        for backend in self.backends():
            # Parents after the others: they count their children's results.
            for check in sorted(backend.health_checks.values(), key=lambda each: each.type_ == "CALCULATED"):
                backend.observe(check)
                backend.publish(check)


check_schedule = CheckSchedule()


class Quota:
    """Route 53's API calls of one account: five a second, "Throttling" beyond (developer guide, "Quotas", requests)."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def admit(self, account: str) -> bool:
        """Whether a call may pass now; it then counts."""
        allowed, now = answers().route53_calls_per_second * clock.pace, time.monotonic()
        calls = self._calls.setdefault(account, deque())
        while calls and calls[0] <= now - 1.0:
            calls.popleft()
        if allowed and len(calls) >= allowed:
            return False
        calls.append(now)
        return True


quota = Quota()


def resolve(name: str, kind: str) -> health.Answer | None:
    """The hosted zones' answer for a name, over all accounts (see `DrRoute53Backend.resolve`)."""
    return next(filter(None, (backend.resolve(name, kind) for backend in CheckSchedule.backends())), None)


class DrRoute53Backend(Extended, Route53Backend):  # type: ignore[misc]
    """Route 53 of one partition."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        # Caller references are used up: also a deleted check's cannot be used again.
        self.references: set[str] = set()

    @property
    def url_paths(self) -> dict[str, Any]:
        """moto: no path for GetAccountLimit."""
        return {**super().url_paths, r"/(?P<api_version>[\d_-]+)/accountlimit/(?P<type_>[^/]+)$": DrRoute53.dispatch}

    # -- health checks -------------------------------------------------------------------------------------------------

    def new_check(self, reference: str, config: dict[str, Any]) -> Check:
        """CreateHealthCheck."""
        same = next((check for check in self.health_checks.values() if check.caller_reference == reference), None)
        if same is not None and same.requested == config:
            found: Check = same
            return found
        if reference in self.references:
            raise Route53ClientError(
                "HealthCheckAlreadyExists", f"A health check with the caller reference {reference} already exists."
            )
        from moto.moto_api._internal import mock_random

        check = Check(str(mock_random.uuid4()), reference, config)
        self._check_config(check, alarm_named=True)
        self.health_checks[check.id] = check
        self.references.add(reference)
        return check

    def change_check(self, check_id: str, params: dict[str, Any]) -> Check:
        """UpdateHealthCheck: parameters that are not given stay."""
        check: Check = self.get_health_check(check_id)
        version = params.get("HealthCheckVersion")
        if version is not None and version != check.health_check_version:
            raise Route53ClientError(
                "HealthCheckVersionMismatch",
                f"The version of the health check is {check.health_check_version}, not {version}",
            )
        before = copy.deepcopy(check.health_check_config)
        check.health_check_config.update({key: params[key] for key in _UPDATABLE if params.get(key) is not None})
        for element in params.get("ResetElements") or []:
            check.health_check_config.pop(element, None)
        try:
            self._check_config(check, alarm_named=params.get("AlarmIdentifier") is not None)
        except Route53ClientError:
            check.health_check_config = before
            raise
        check.health_check_version += 1
        return check

    def _check_config(self, check: Check, alarm_named: bool) -> None:
        config = check.health_check_config
        # The alarm's settings are copied when the alarm is named; later changes of the alarm are not noticed.
        if check.type_ == "CLOUDWATCH_METRIC" and (alarm_named or not config.get("AlarmIdentifier")):
            identifier = config.get("AlarmIdentifier")
            if not identifier:
                raise InvalidInput("AlarmIdentifier must be specified for health checks of type CLOUDWATCH_METRIC")
            alarm = self.alarm(identifier)
            if alarm is None:
                raise InvalidInput(f"The alarm {identifier['Name']} was not found in {identifier['Region']}")
            if (reason := health.unsupported(alarm) or self._high_resolution(alarm, identifier["Region"])) is not None:
                raise InvalidInput(f"The alarm {identifier['Name']} cannot be used by a health check: {reason}")
            check.cloud_watch_alarm_configuration = {
                "EvaluationPeriods": alarm.evaluation_periods,
                "Threshold": alarm.threshold,
                "ComparisonOperator": alarm.comparison_operator,
                "Period": alarm.period,
                "MetricName": alarm.metric_name,
                "Statistic": alarm.statistic,
                "Namespace": alarm.namespace,
                "Dimensions": [{"Name": d.name, "Value": d.value} for d in alarm.dimensions or []],
            }
        if check.type_ == "CALCULATED":
            children = config.get("ChildHealthChecks") or []
            for child in children:
                if child not in self.health_checks:
                    raise InvalidInput(f"The child health check {child} does not exist")
            if config.get("HealthThreshold") is None:
                raise InvalidInput("HealthThreshold must be specified for health checks of type CALCULATED")

    def _high_resolution(self, alarm: Any, region: str) -> str | None:
        from moto.cloudwatch.models import cloudwatch_backends

        series = Series(alarm.namespace, alarm.metric_name, dimension_set(alarm.dimensions))
        known = series in cloudwatch_backends[self.account_id][region].store.high_resolution
        return "its metric has high-resolution data, which is not supported" if known else None

    def alarm(self, identifier: dict[str, str]) -> Any:
        """The alarm a check names, or `None`."""
        from moto.cloudwatch.models import cloudwatch_backends

        return cloudwatch_backends[self.account_id][identifier["Region"]].alarms.get(identifier["Name"])

    def delete_health_check(self, health_check_id: str) -> None:
        """moto: no error for an unknown one, and its tags stay."""
        self.get_health_check(health_check_id)
        del self.health_checks[health_check_id]
        self.resource_tags.pop(health_check_id, None)

    def observe(self, check: Check) -> bool:
        """Evaluate a check now and keep the result; return what DNS uses: the result, inverted where configured."""
        config = check.health_check_config
        if config["Disabled"]:
            check.observation = Observation(True, "The health check is disabled.")
        elif check.type_ == "CLOUDWATCH_METRIC":
            check.observation, check.last_known_healthy = self._observe_metric(check)
        elif check.type_ == "CALCULATED":
            children = [self.health_checks[c] for c in config.get("ChildHealthChecks") or [] if c in self.health_checks]
            # Parents among the children keep their last result: parents that count each other would recurse for ever.
            found = [self.healthy(each) if each.type_ == "CALCULATED" else self.observe(each) for each in children]
            check.observation = health.observe_children(found, config["HealthThreshold"])
        return self.healthy(check)

    def _observe_metric(self, check: Check) -> tuple[Observation, bool]:
        from moto.cloudwatch.models import cloudwatch_backends

        config, now = check.health_check_config, time.time()
        region = config["AlarmIdentifier"]["Region"]
        rule = health.metric_rule(check.cloud_watch_alarm_configuration or {}, clock.pace)
        # A region that does not answer delivers no metrics, and high-resolution ones are not supported.
        metrics = cloudwatch_backends[self.account_id][region]
        blind = dark_regions.is_dark(region) or rule.series in metrics.store.high_resolution
        data = [] if blind else metrics.data(rule, now)
        return health.observe_metric(data, rule, now, config["InsufficientDataHealthStatus"], check.last_known_healthy)

    def publish(self, check: Check) -> None:
        """The check's CloudWatch metric, in us-east-1, also of calculated ones (developer guide, "Monitoring health checks using
        CloudWatch"): 1 healthy, 0 not."""
        from moto.cloudwatch.models import cloudwatch_backends

        value = {"HealthCheckStatus": 1.0 if self.healthy(check) else 0.0}
        cloudwatch_backends[self.account_id]["us-east-1"].publish(
            "AWS/Route53", {"HealthCheckId": check.id}, value, unit="None"
        )

    @staticmethod
    def healthy(check: Check) -> bool:
        """The last result, inverted where the check is. Endpoints are not probed: they are always healthy."""
        return check.observation.healthy != check.health_check_config["Inverted"]

    def resolve(self, name: str, kind: str) -> health.Answer | None:
        """The zones' answer for a name, by the last health checks; `None` for a name that no zone has."""

        def well(check: str) -> bool:
            found = self.health_checks.get(check)
            return found is None or self.healthy(found)

        wanted = name.rstrip(".").lower()
        for zone in list(self.zones.values()):
            if ("." + wanted).endswith("." + zone.name.rstrip(".").lower()):
                answer = health.answer(list(zone.rrsets), wanted, kind, well)
                if answer is not None:
                    return answer
        return None

    # -- zones ---------------------------------------------------------------------------------------------------------

    def check_new_zone(self, name: str, reference: str, vpc: dict[str, str] | None) -> None:
        """Refuse what CreateHostedZone refuses."""
        if any(zone.caller_reference == reference for zone in self.zones.values()):
            raise Route53ClientError(
                "HostedZoneAlreadyExists",
                f"A hosted zone has already been created with the caller reference {reference}",
            )
        if vpc:
            self._check_vpc(name, vpc["VPCId"], vpc["VPCRegion"])

    def _check_vpc(self, name: str, vpc_id: str, region: str) -> None:
        from moto.ec2.models import ec2_backends

        if vpc_id not in ec2_backends[self.account_id][region].vpcs:
            raise Route53ClientError("InvalidVPCId", f"The VPC {vpc_id} does not exist in {region}")
        for zone in self.zones.values():
            if zone.name == name and any(vpc["vpc_id"] == vpc_id for vpc in zone.vpcs):
                raise Route53ClientError(
                    "ConflictingDomainExists",
                    f"The VPC {vpc_id} in region {region} has already been associated with the "
                    f"hosted zone {zone.resource_id} with the same domain name.",
                )

    def associate_vpc_with_hosted_zone(self, zone_id: str, vpcid: str, vpcregion: str) -> FakeZone:
        """moto: a second entry for the same VPC, also for one that does not exist."""
        zone = self.get_hosted_zone(zone_id)
        if not zone.private_zone:
            raise PublicZoneVPCAssociation()
        if not any(vpc["vpc_id"] == vpcid for vpc in zone.vpcs):
            self._check_vpc(zone.name, vpcid, vpcregion)
            zone.add_vpc(vpcid, vpcregion)
        return zone

    def disassociate_vpc_from_hosted_zone(self, zone_id: str, vpcid: str) -> FakeZone:
        """moto: no error for a VPC that is not associated."""
        zone = self.get_hosted_zone(zone_id)
        if not any(vpc["vpc_id"] == vpcid for vpc in zone.vpcs):
            raise Route53ClientError(
                "VPCAssociationNotFound", f"The VPC {vpcid} is not associated with {zone.resource_id}"
            )
        return super().disassociate_vpc_from_hosted_zone(zone_id, vpcid)

    def change_tags_for_resource(
        self, resource_type: str, resource_id: str, add_tags: list[dict[str, str]], remove_tag_keys: list[str]
    ) -> None:
        """moto: tags on health checks that do not exist, and any number of them (Route 53 API, ChangeTagsForResource: 10)."""
        if resource_type == "healthcheck" and resource_id not in self.health_checks:
            raise NoSuchHealthCheck(resource_id)
        keys = {*self.resource_tags.get(resource_id, {}), *(tag["Key"] for tag in add_tags or ())}
        if len(keys - {*(remove_tag_keys or ())}) > MAX_TAGS:
            raise InvalidInput(f"A {resource_type} takes at most {MAX_TAGS} tags")
        super().change_tags_for_resource(resource_type, resource_id, add_tags, remove_tag_keys)

    # -- records -------------------------------------------------------------------------------------------------------

    def change_resource_record_sets(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        """All changes or none, each compared with what is there. moto: a journal of past changes instead."""
        zone = self.get_hosted_zone(zoneid)
        records = list(zone.rrsets)
        for change in change_list:
            records = apply_change(
                records, change["Action"], change["ResourceRecordSet"], zone_name=zone.name, checks=self.health_checks
            )
        zone.rrsets = records


class DrRoute53(Route53):  # type: ignore[misc]
    """The Route 53 API."""

    def call_action(self) -> Any:
        """Refuses calls beyond the account's quota. moto: has none."""
        if quota.admit(self.current_account):
            return super().call_action()
        status, headers, body = self.serialized(ActionResult(Route53ClientError("Throttling", "Rate exceeded")))
        return status, {**headers, "status": str(status)}, body

    def create_health_check(self) -> ActionResult:
        """CreateHealthCheck. moto: loses fields."""
        check = self.backend.new_check(self._get_param("CallerReference"), dict(self._get_param("HealthCheckConfig")))
        return ActionResult({"HealthCheck": check, "Location": f"https://route53.amazonaws.com/healthcheck/{check.id}"})

    def update_health_check(self) -> ActionResult:
        """UpdateHealthCheck, with its version."""
        check = self.backend.change_check(self._get_param("HealthCheckId"), dict(self.params))
        return ActionResult({"HealthCheck": check})

    def get_account_limit(self) -> ActionResult:
        """moto: not implemented. Health checks and hosted zones alone are counted."""
        kind = self._get_param("Type")
        code, used = {
            "MAX_HEALTH_CHECKS_BY_OWNER": ("L-ACB674F3", len(self.backend.health_checks)),
            "MAX_HOSTED_ZONES_BY_OWNER": ("L-4EA4796A", len(self.backend.zones)),
        }[kind]
        return ActionResult({"Limit": {"Type": kind, "Value": int(limit("route53", code, "us-east-1"))}, "Count": used})

    def get_health_check_status(self) -> ActionResult:
        """The observation of every checker region. moto: always success."""
        check = self.backend.get_health_check(self._get_param("HealthCheckId"))
        status = "Success" if self.backend.observe(check) else "Failure"
        regions = check.health_check_config.get("Regions") or ["us-east-1", "us-west-2", "eu-west-1"]
        report = {"Status": f"{status}: {check.observation.reason}", "CheckedTime": utcnow()}
        observations = [{"Region": r, "IPAddress": "127.0.0.1", "StatusReport": report} for r in regions]
        return ActionResult({"HealthCheckObservations": observations})

    def create_hosted_zone(self) -> ActionResult:
        """A VPC makes the zone private, also without PrivateZone in its configuration."""
        name = self._get_param("Name").rstrip(".") + "."
        vpc = self._get_param("VPC")
        self.backend.check_new_zone(name, self._get_param("CallerReference"), vpc)
        if vpc:
            self.params["HostedZoneConfig"] = {**(self._get_param("HostedZoneConfig") or {}), "PrivateZone": True}
        return super().create_hosted_zone()


EXTENSION = Extension(
    backends=route53_backends,
    backend=DrRoute53Backend,
    urls=urls,
    responses=DrRoute53,
    pass_time=check_schedule.pass_time,
    pace_changed=check_schedule.reset,
    reset=check_schedule.reset,
)
