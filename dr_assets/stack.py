"""The stack file as one typed model: its values, the sites, and the checks that refuse impossible values.

Terraform reads the same file (`infra/stack.auto.tfvars.json`), so a key here is a variable there.
"""

from __future__ import annotations

import ipaddress
import os
import reprlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from dr_assets import stack_values
from dr_assets.documents import DocumentError, parse
from dr_assets.errors import StackFileError

T = TypeVar("T")
Site = Literal["primary", "secondary"]
SITES: tuple[Site, Site] = ("primary", "secondary")
# Dimensions of Aurora's replication-lag metrics, by preference where AWS shows several (see resources/alarms/lag_metric.py).
LagShape = Literal["cluster+source-region", "cluster", "source-region"]
LAG_SHAPES: tuple[LagShape, ...] = ("cluster+source-region", "cluster", "source-region")

DEFAULT_FILE = Path("infra") / "stack.auto.tfvars.json"
FILE_VARIABLE = "DR_STACK_FILE"
OVERRIDE_PREFIX = "DR_STACK__"

# Objectives and thresholds are at most a week: more is a slip of the keyboard, and CloudWatch takes no such number.
_WEEK = 7 * 86_400
Seconds = Annotated[int, Field(gt=0, le=_WEEK)]
# The most of an error's line that is shown.
_LINE = 400


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

    @field_validator("primary", "secondary")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        if value is not None:
            stack_values.check_domain(value)
        return value


class AlarmThresholds(_Model):
    """CloudWatch thresholds: lag in milliseconds, CPU in percent, connections as a count."""

    replication_lag_ms: int = Field(default=60_000, gt=0, le=_WEEK * 1000)
    cpu_percent: int = Field(default=80, ge=1, le=100)
    # PostgreSQL's own bound of max_connections.
    connections: int = Field(default=100, gt=0, le=262_143)


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
    rpo_seconds: Seconds
    rto_seconds: Seconds
    detection_seconds: Seconds
    alarm_thresholds: AlarmThresholds = AlarmThresholds()
    lag_metric_dimensions: LagShape = "cluster+source-region"
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

    @field_validator(
        "environment_suffix",
        "primary_region",
        "secondary_region",
        "database_name",
        "master_username",
        "engine_version",
        "instance_class",
        "backup_window",
        "maintenance_window",
        "hosted_zone_name",
        "alert_emails",
        "tags",
    )
    @classmethod
    def _one_value(cls, value: Any, info: ValidationInfo) -> Any:
        _CHECKS[str(info.field_name)](value)
        return value

    @model_validator(mode="after")
    def _together(self) -> Stack:
        if self.primary_region == self.secondary_region:
            raise ValueError(
                f"secondary_region: {self.secondary_region!r} is the primary's region too; a second region is the point "
                "of the stack, choose another"
            )
        networks = {site: stack_values.network(f"vpc_cidr.{site}", self.vpc_cidr.of(site)) for site in SITES}
        for site, network in networks.items():
            stack_values.check_vpc_range(f"vpc_cidr.{site}", network)
        if networks["primary"].overlaps(networks["secondary"]):
            raise ValueError(
                f"vpc_cidr: {networks['primary']} and {networks['secondary']} overlap; peered VPCs need ranges of their own"
            )
        for site in SITES:
            self._check_site(site, networks[site])
        stack_values.check_windows_apart(self.backup_window, self.maintenance_window)
        return self

    def _check_site(self, site: Site, network: ipaddress.IPv4Network) -> None:
        zones = self.availability_zones.of(site)
        region = self.region(site)
        if len(set(zones)) < 3:
            raise ValueError(f"availability_zones.{site}: {len(set(zones))} different zones; name at least three")
        if len(set(zones)) != len(zones):
            raise ValueError(f"availability_zones.{site}: a zone is listed twice; name each once")
        for zone in zones:
            if zone[:-1] != region or zone[-1:] not in tuple("abcdef"):
                raise ValueError(f"availability_zones.{site}: {zone!r} is not a zone of {region}")
        application = self.application_subnet_cidrs.of(site)
        if not application:
            raise ValueError(f"application_subnet_cidrs.{site}: empty; name the subnets that may reach the database")
        database = [ipaddress.IPv4Network(self.subnet_cidr(site, number)) for number in (1, 2, 3)]
        checked: list[ipaddress.IPv4Network] = []
        for text in application:
            cidr = stack_values.network(f"application_subnet_cidrs.{site}", text)
            stack_values.check_application_range(f"application_subnet_cidrs.{site}", cidr)
            if not cidr.subnet_of(network):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} lies outside the site's VPC {network}")
            if any(cidr.overlaps(other) for other in database):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} overlaps the database subnets; move it")
            if any(cidr.overlaps(other) for other in checked):
                raise ValueError(f"application_subnet_cidrs.{site}: {cidr} overlaps another of the list")
            checked.append(cidr)


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "environment_suffix": stack_values.check_suffix,
    "primary_region": stack_values.check_region,
    "secondary_region": stack_values.check_region,
    "database_name": stack_values.check_database_name,
    "master_username": stack_values.check_master_username,
    "engine_version": stack_values.check_engine_version,
    "instance_class": stack_values.check_instance_class,
    "backup_window": stack_values.daily_window,
    "maintenance_window": stack_values.weekly_window,
    # `db.` goes before it.
    "hosted_zone_name": partial(stack_values.check_domain, longest=250),
    "alert_emails": stack_values.check_emails,
    "tags": stack_values.check_tags,
}


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
        raw = parse(file.read_text(encoding="utf-8"), "it")
    except OSError as error:
        raise StackFileError(f"Cannot read the stack file {file}: {error.strerror}. Fix its permissions.") from error
    except (DocumentError, UnicodeDecodeError) as error:
        reason = _shown(str(error).removeprefix("it is not JSON (").removesuffix(")"))
        raise StackFileError(f"The stack file {file} is not valid JSON: {reason}. Correct it there.") from error
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
    # pydantic gives no place where a key itself is not text.
    key = ".".join(str(part) for part in item["loc"]) or (
        str(item["input"]) if item["type"] == "string_unicode" else ""
    )
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden" or (item["type"] == "string_unicode" and not item["loc"]):
        known = ", ".join(sorted(Stack.model_fields)) if len(item["loc"]) < 2 else "those in the README"
        message = f"unknown key; remove it or correct its spelling (known: {known})"
    elif item["type"] == "missing":
        message = "missing; add it"
    elif not item["type"].startswith("value_error"):
        message = f"{message} (it is {reprlib.repr(item.get('input'))}); correct it"
    return _shown(f"{key}: {message}" if key else message)


def _shown(text: object) -> str:
    """A part of a message that may hold line ends, control characters, lone surrogates, or thousands of characters."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))
    return shown if len(shown) <= _LINE else shown[:_LINE] + " …"


def _find(path: Path | str | None) -> Path:
    if path is not None:
        file, reason = Path(path), ""
        try:
            if file.is_file():
                return file
        except OSError as error:  # too long, or in a folder that may not be entered
            reason = f" ({error.strerror})"
        raise StackFileError(
            f"There is no stack file at {_shown(file)}{reason}. Correct the path given or {FILE_VARIABLE}."
        )
    for base in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (base / DEFAULT_FILE).is_file():
            return base / DEFAULT_FILE
    raise StackFileError(f"There is no {DEFAULT_FILE} here. Run from the project's folder or set {FILE_VARIABLE}.")


def _apply_overrides(raw: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    applied: dict[str, str] = {}  # the variable of each key
    for variable in sorted(environ):
        if not variable.startswith(OVERRIDE_PREFIX):
            continue
        key = variable[len(OVERRIDE_PREFIX) :].lower()
        if key in applied:
            raise StackFileError(f"{_shown(applied[key])} and {_shown(variable)} set the same key. Unset one of them.")
        path = key.split("__")
        text = environ[variable]
        try:
            value: Any = parse(text)
        except DocumentError:
            value = text
        # A version such as 14.10 is a text that happens to parse as a number.
        if path == ["engine_version"]:
            value = text
        # Tag keys and Environment keep their own case in the file: match them regardless of case.
        holder = raw
        for part in path[:-1]:
            inner = holder.setdefault(part, {})
            if not isinstance(inner, dict):
                raise StackFileError(
                    f"{_shown(variable)}: {_shown(part)} is not an object in the stack file; it has no inner keys."
                )
            holder = inner
        last = next((key for key in holder if key.lower() == path[-1]), path[-1])
        holder[last] = value
        applied[key] = variable
    return [_shown(variable) for variable in applied.values()]
