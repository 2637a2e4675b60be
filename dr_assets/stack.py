"""The stack file as one typed model: its values, the sites, and the checks that refuse impossible values.

Terraform reads the same file (`infra/stack.auto.tfvars.json`), so a key here is a variable there.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from dr_assets.errors import StackFileError

T = TypeVar("T")
Site = Literal["primary", "secondary"]
SITES: tuple[Site, Site] = ("primary", "secondary")

DEFAULT_FILE = Path("infra") / "stack.auto.tfvars.json"
FILE_VARIABLE = "DR_STACK_FILE"
OVERRIDE_PREFIX = "DR_STACK__"

# Set on every resource by the product; the stack file must not set them.
RESERVED_TAGS = frozenset({"DR-Tier", "ManagedBy", "TaskID", "Region", "Site", "Name"})

# Aurora Global Database runs on memory-optimised classes only (Aurora user guide, "Limitations of Aurora global
# databases": db.t3, db.t4g and other burstable classes are not supported).
_GLOBAL_CLASSES = re.compile(r"db\.(r[5-9][a-z]*|x2g)\.(\d*x?large)")
_REGION = re.compile(r"[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d")
# S3 bucket names: lower case, digits and hyphens, 3-63 long; ours are `db-exports-secondary-{suffix}-{account}` (36 + suffix).
_SUFFIX = re.compile(r"[a-z0-9]([a-z0-9-]{1,18}[a-z0-9])")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RESERVED_USERS = frozenset({"admin", "postgres", "rdsadmin", "rdsrepladmin", "rds_superuser", "rdstopmgr", "public"})
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PerSite(_Model, Generic[T]):
    """One value for each site."""

    primary: T
    secondary: T

    def of(self, site: Site) -> T:
        return self.primary if site == "primary" else self.secondary


class HttpsEndpoints(PerSite[str | None]):
    """Host names that Route 53 checks over HTTPS, where an application has one. Both are optional."""

    primary: str | None = None
    secondary: str | None = None


class AlarmThresholds(_Model):
    """CloudWatch thresholds: lag in milliseconds, CPU in percent, connections as a count."""

    replication_lag_ms: PositiveInt = 60_000
    cpu_percent: int = Field(default=80, ge=1, le=100)
    connections: PositiveInt = 100


class Stack(_Model):
    """Everything that distinguishes one stack from another. `*_seconds` are seconds, windows are in UTC."""

    environment_suffix: str
    primary_region: str
    secondary_region: str
    availability_zones: PerSite[list[str]]
    database_name: str
    master_username: str
    engine_version: str
    instance_class: str
    instances_per_cluster: int = Field(ge=1, le=15)
    backup_retention_days: int = Field(ge=1, le=35)
    backup_window: str
    maintenance_window: str
    vpc_cidr: PerSite[str]
    application_subnet_cidrs: PerSite[list[str]]
    rpo_seconds: PositiveInt
    rto_seconds: PositiveInt
    detection_seconds: PositiveInt
    alarm_thresholds: AlarmThresholds = AlarmThresholds()
    alert_emails: list[str] = Field(default_factory=list)
    hosted_zone_name: str
    https_endpoints: HttpsEndpoints = HttpsEndpoints()
    deletion_protection: bool = False
    tags: dict[str, str]

    # --- derived values ------------------------------------------------------------------------------------------

    def region(self, site: Site) -> str:
        """The AWS region of a site."""
        return self.primary_region if site == "primary" else self.secondary_region

    def site_in(self, region: str) -> Site | None:
        """The site in `region`, or None."""
        return next((site for site in SITES if self.region(site) == region), None)

    @property
    def global_cluster_name(self) -> str:
        return f"aurora-global-{self.environment_suffix}"

    @property
    def parameter_group_family(self) -> str:
        return f"aurora-postgresql{self.engine_version.split('.')[0]}"

    def subnet_cidr(self, site: Site, number: int) -> str:
        """The CIDR of database subnet `number` (1, 2, 3): the VPC's range with 8 more prefix bits, as Terraform's
        `cidrsubnet(vpc_cidr, 8, number)` gives."""
        network = ipaddress.IPv4Network(self.vpc_cidr.of(site))
        step = 1 << (32 - network.prefixlen - 8)
        return str(ipaddress.IPv4Network((int(network.network_address) + number * step, network.prefixlen + 8)))

    # --- validation -------------------------------------------------------------------------------------------------

    @field_validator("environment_suffix")
    @classmethod
    def _suffix(cls, value: str) -> str:
        if not _SUFFIX.fullmatch(value):
            raise ValueError(
                f"{value!r} would not be accepted in an S3 bucket name; use 3 to 20 lower-case letters, digits or "
                "hyphens, with a letter or digit at both ends"
            )
        return value

    @field_validator("primary_region", "secondary_region")
    @classmethod
    def _regions(cls, value: str) -> str:
        if not _REGION.fullmatch(value):
            raise ValueError(f"{value!r} is not an AWS region name; write it like us-east-1")
        return value

    @field_validator("instance_class")
    @classmethod
    def _instance_class(cls, value: str) -> str:
        if not _GLOBAL_CLASSES.fullmatch(value):
            raise ValueError(
                f"{value!r} is not supported by Aurora Global Database; choose a memory-optimised class such as "
                "db.r6g.large"
            )
        return value

    @field_validator("engine_version")
    @classmethod
    def _engine_version(cls, value: str) -> str:
        if not re.fullmatch(r"1[1-9]\.\d{1,2}", value):
            raise ValueError(f"{value!r} is not an Aurora PostgreSQL version; write major.minor, such as 14.13")
        return value

    @field_validator("database_name")
    @classmethod
    def _database_name(cls, value: str) -> str:
        if not _IDENTIFIER.fullmatch(value) or value in {"postgres", "template0", "template1", "rdsadmin"}:
            raise ValueError(
                f"{value!r} cannot be the database's name; start with a lower-case letter, then letters, digits or _, "
                "and avoid the names PostgreSQL and RDS reserve"
            )
        return value

    @field_validator("master_username")
    @classmethod
    def _master_username(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,15}", value) or value in _RESERVED_USERS:
            raise ValueError(
                f"{value!r} cannot be the master user; use 1 to 16 lower-case letters, digits or _, starting with a "
                "letter, and none of the names RDS reserves"
            )
        return value

    @field_validator("backup_window")
    @classmethod
    def _backup_window(cls, value: str) -> str:
        _daily_window(value)
        return value

    @field_validator("maintenance_window")
    @classmethod
    def _maintenance_window(cls, value: str) -> str:
        _weekly_window(value)
        return value

    @field_validator("hosted_zone_name")
    @classmethod
    def _zone(cls, value: str) -> str:
        if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", value):
            raise ValueError(f"{value!r} is not a domain name without a trailing dot; write it like aurora-dr.internal")
        return value

    @field_validator("alert_emails")
    @classmethod
    def _emails(cls, value: list[str]) -> list[str]:
        for address in value:
            if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
                raise ValueError(f"{address!r} is not an e-mail address")
        if len(set(value)) != len(value):
            raise ValueError("an address is listed twice; list each once")
        return value

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(RESERVED_TAGS & value.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)} are set by the product itself; remove them here")
        if not value.get("Environment"):
            raise ValueError('Environment is missing; add it, for example {"Environment": "staging"}')
        for key, text in value.items():
            if key.lower().startswith("aws:") or not 1 <= len(key) <= 128 or len(text) > 256:
                raise ValueError(
                    f"{key!r} is not a tag AWS accepts; no aws: prefix, key 1-128, value up to 256 characters"
                )
        return value

    @model_validator(mode="after")
    def _together(self) -> Stack:
        if self.primary_region == self.secondary_region:
            raise ValueError(
                f"secondary_region: {self.secondary_region!r} is the primary's region too; a second region is the point "
                "of the stack, choose another"
            )
        networks = {site: _network(f"vpc_cidr.{site}", self.vpc_cidr.of(site)) for site in SITES}
        for site, network in networks.items():
            if not 16 <= network.prefixlen <= 20:
                raise ValueError(f"vpc_cidr.{site}: {network} must have a prefix of /16 to /20 so that its subnets fit")
        if networks["primary"].overlaps(networks["secondary"]):
            raise ValueError(
                f"vpc_cidr: {networks['primary']} and {networks['secondary']} overlap; peered VPCs need ranges of their own"
            )
        for site in SITES:
            self._check_site(site, networks[site])
        _windows_apart(self.backup_window, self.maintenance_window)
        return self

    def _check_site(self, site: Site, network: ipaddress.IPv4Network) -> None:
        zones = self.availability_zones.of(site)
        region = self.region(site)
        if len(set(zones)) < 3:
            raise ValueError(f"availability_zones.{site}: {len(set(zones))} different zones; name at least three")
        if len(set(zones)) != len(zones):
            raise ValueError(f"availability_zones.{site}: a zone is listed twice; name each once")
        for zone in zones:
            if not re.fullmatch(re.escape(region) + "[a-z]", zone):
                raise ValueError(f"availability_zones.{site}: {zone!r} is not a zone of {region}")
        application = self.application_subnet_cidrs.of(site)
        if not application:
            raise ValueError(f"application_subnet_cidrs.{site}: empty; name the subnets that may reach the database")
        database = [ipaddress.IPv4Network(self.subnet_cidr(site, number)) for number in (1, 2, 3)]
        checked: list[ipaddress.IPv4Network] = []
        for text in application:
            cidr = _network(f"application_subnet_cidrs.{site}", text)
            if not cidr.subnet_of(network):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} lies outside the site's VPC {network}")
            if any(cidr.overlaps(other) for other in database):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} overlaps the database subnets; move it")
            if any(cidr.overlaps(other) for other in checked):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} overlaps another of the list")
            checked.append(cidr)


def load_stack(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Stack:
    """Read the stack file, apply `DR_STACK__KEY=value` overrides, and validate.

    The file is `path`, else the variable `DR_STACK_FILE`, else `infra/stack.auto.tfvars.json` (below the current directory,
    then beside this package). An override names a key in upper case, a nested one with a double
    underscore (`DR_STACK__VPC_CIDR__PRIMARY`); its value is JSON, or else plain text.

    Raises:
        StackFileError: the file is missing, not JSON, or holds a wrong key or value; the text names key and remedy.
    """
    environ = os.environ if environ is None else environ
    file = _find(path or environ.get(FILE_VARIABLE))
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StackFileError(f"Cannot read the stack file {file}: {error.strerror}. Fix its permissions.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StackFileError(f"The stack file {file} is not valid JSON: {error}. Correct it there.") from error
    if not isinstance(raw, dict):
        raise StackFileError(f"The stack file {file} must hold one JSON object; it holds {type(raw).__name__}.")
    overridden = _apply_overrides(raw, environ)
    return parse_stack(raw, source=str(file) + (f" with {', '.join(overridden)}" if overridden else ""))


def parse_stack(raw: Mapping[str, Any], source: str = "the stack") -> Stack:
    """Validate a mapping as a stack. Raises StackFileError with one line for each wrong key."""
    try:
        return Stack.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise StackFileError(f"{source} cannot be used:\n" + "\n".join(f"  - {line}" for line in lines)) from None


def _explain(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        known = ", ".join(sorted(Stack.model_fields)) if len(item["loc"]) == 1 else "those in the README"
        message = f"unknown key; remove it or correct its spelling (known: {known})"
    elif item["type"] == "missing":
        message = "missing; add it"
    elif not item["type"].startswith("value_error"):
        message = f"{message} (it is {item.get('input')!r})"
    return f"{key}: {message}" if key else message


def _find(path: Path | str | None) -> Path:
    if path is not None:
        file = Path(path)
        if not file.is_file():
            raise StackFileError(f"There is no stack file at {file}. Correct the path given or {FILE_VARIABLE}.")
        return file
    for base in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (base / DEFAULT_FILE).is_file():
            return base / DEFAULT_FILE
    raise StackFileError(f"There is no {DEFAULT_FILE} here. Run from the project's folder or set {FILE_VARIABLE}.")


def _apply_overrides(raw: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    applied: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(OVERRIDE_PREFIX):
            continue
        path = variable[len(OVERRIDE_PREFIX) :].lower().split("__")
        text = environ[variable]
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = text
        # A version such as 14.10 is a text that happens to parse as a number.
        if path == ["engine_version"]:
            value = text
        # Tag keys and Environment keep their own case in the file: match them regardless of case.
        holder = raw
        for part in path[:-1]:
            inner = holder.setdefault(part, {})
            if not isinstance(inner, dict):
                raise StackFileError(f"{variable}: {part} is not an object in the stack file; it has no inner keys.")
            holder = inner
        last = next((key for key in holder if key.lower() == path[-1]), path[-1])
        holder[last] = value
        applied.append(variable)
    return applied


def _network(key: str, text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(
            f"{key}: {text!r} is not an IPv4 network in CIDR notation ({error}); write it like 10.0.0.0/16"
        ) from None


def _minutes(text: str) -> int:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ValueError(f"{text!r} is not a time of day; write it like 03:00 (UTC)")
    return int(match[1]) * 60 + int(match[2])


def _daily_window(value: str) -> tuple[int, int]:
    """Start and length of a window `hh:mm-hh:mm`, in minutes."""
    start, _, end = value.partition("-")
    length = (_minutes(end) - _minutes(start)) % 1440
    if length < 30:
        raise ValueError(f"{value!r} is shorter than the 30 minutes that RDS requires")
    return _minutes(start), length


def _weekly_window(value: str) -> tuple[int, int]:
    """Start and length of a window `ddd:hh:mm-ddd:hh:mm`, in minutes from Monday 00:00."""
    match = re.fullmatch(r"(\w{3}):(\d\d:\d\d)-(\w{3}):(\d\d:\d\d)", value)
    if not match or match[1] not in _DAYS or match[3] not in _DAYS:
        raise ValueError(f"{value!r} is not a weekly window; write it like mon:04:00-mon:05:00 (UTC)")
    start = _DAYS.index(match[1]) * 1440 + _minutes(match[2])
    length = (_DAYS.index(match[3]) * 1440 + _minutes(match[4]) - start) % (7 * 1440)
    if not 30 <= length <= 1440:
        raise ValueError(f"{value!r} must last from 30 minutes to 24 hours")
    return start, length


def _windows_apart(backup: str, maintenance: str) -> None:
    daily, daily_length = _daily_window(backup)
    weekly, weekly_length = _weekly_window(maintenance)
    week = 7 * 1440
    for day in range(7):
        start = daily + day * 1440
        if (weekly - start) % week < daily_length or (start - weekly) % week < weekly_length:
            raise ValueError(
                f"backup_window: {backup} overlaps maintenance_window {maintenance}; RDS refuses that, move one"
            )
