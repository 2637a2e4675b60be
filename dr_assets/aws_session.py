"""Create boto3 clients with the caller's credentials, or with those of the role that DR_ROLE_ARN names.

Every client of the product is made here, so a role serves the CLI, sensors, drills, reports and the history alike:

DR_ROLE_ARN             the role to assume in all regions
DR_ROLE_ARN_PRIMARY, DR_ROLE_ARN_SECONDARY  a role of its own for one site's region
DR_EXTERNAL_ID          the external id that the roles' trust policies ask for
"""

from __future__ import annotations

import copy
import getpass
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import boto3
import botocore.config
import botocore.credentials
import botocore.exceptions as failures
import botocore.session

from dr_assets import utc
from dr_assets.core.model import error_code
from dr_assets.errors import CredentialsError, StackFileError, UnansweredError
from dr_assets.stack import SITES, load_stack

ROLE_VARIABLE = "DR_ROLE_ARN"
SITE_ROLE_VARIABLES = {site: f"{ROLE_VARIABLE}_{site.upper()}" for site in SITES}
EXTERNAL_ID_VARIABLE = "DR_EXTERNAL_ID"
SESSION_NAME = "dr-assets"
# Where boto3 knows no region, S3 and the global services answer here.
DEFAULT_REGION = "us-east-1"

# AssumeRole, parameters RoleArn and ExternalId (STS API); role names and paths (IAM API, CreateRole).
_ROLE_ARN = re.compile(r"arn:aws(-cn|-us-gov)?:iam::(?P<account>\d{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
# New credentials are fetched this long before the old ones expire; those are used on while STS does not answer.
_REFRESH_BEFORE = timedelta(minutes=10)
_LAST_USE = timedelta(seconds=30)
# How long the old credentials serve after a failed refresh before the next one.
_RETRY_SECONDS = 45.0
# How long a refusal counts: each read of a preflight would ask STS again, several hundred times.
_REFUSED_SECONDS = 5.0
_CONNECT_TIMEOUT, _READ_TIMEOUT, _ATTEMPTS = 3.0, 5.0, 2


def role_session_name() -> str:
    """Names the user logged in, so that CloudTrail and records tell apart who acts under one role: the name of a session is part of its
    ARN, and has 2 to 64 characters of `[\\w+=,.@-]` (STS API reference, AssumeRole)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return SESSION_NAME
    return f"dr-{re.sub(r'[^a-zA-Z0-9_+=,.@-]', '-', user)}"[:64]


@dataclass(frozen=True)
class Role:
    """A role to assume. `variable` is where its ARN was set, for error messages."""

    arn: str
    variable: str
    external_id: str | None = None

    @property
    def account(self) -> str:
        """12 digits, from the ARN."""
        return self.arn.split(":")[4]


class AssumedRole:
    """Temporary credentials of one role, shared by all regions and threads of the process.

    They are fetched from the regional STS endpoint of the region that is called, so no other region's outage prevents it, and
    are valid in every region ("Managing AWS STS in an AWS Region", IAM user guide). Where that endpoint does not answer, the sites'
    other regions are asked: a survivor may have to call a service in the dark region, or a global one, to begin its drill.
    """

    def __init__(self, role: Role, source: boto3.Session, options: Mapping[str, Any]) -> None:
        self._role, self._source, self._options = role, source, options
        self._credentials: botocore.credentials.ReadOnlyCredentials | None = None
        self._expires = datetime.min.replace(tzinfo=utc.UTC)
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._retry_at = 0.0  # monotonic; set by a failed refresh
        self._refused: tuple[float, CredentialsError] | None = None  # when (monotonic), and why

    def get(self, region: str) -> botocore.credentials.ReadOnlyCredentials:
        """Valid credentials. Raises CredentialsError where STS refuses, UnansweredError where it does not answer."""
        if found := self._valid(_REFRESH_BEFORE):
            return found
        with self._lock:
            fetching = self._fetching.setdefault(region, threading.Lock())
        # One lock for each region: a region that does not answer holds up its own calls only, and while old credentials are
        # valid, one call only in _RETRY_SECONDS.
        usable = self._valid(_LAST_USE)
        if usable and time.monotonic() < self._retry_at:
            return usable
        if not fetching.acquire(blocking=usable is None) and usable:
            return usable  # another thread refreshes them
        try:
            return self._valid(_REFRESH_BEFORE) or self._fetch_anywhere(region)
        except (UnansweredError, CredentialsError, failures.BotoCoreError):
            # Refused too, or without credentials of the caller's: those of the role are valid until they expire, and a drill may be
            # in its middle.
            if found := self._valid(_LAST_USE):
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                return found
            raise
        finally:
            fetching.release()

    def _fetch_anywhere(self, region: str) -> botocore.credentials.ReadOnlyCredentials:
        """Credentials from the region's STS, else from that of another region of the stack. Raises the region's own problem."""
        try:
            return self._fetch(region)
        except UnansweredError:
            for other in _site_regions():
                if found := self._valid(_REFRESH_BEFORE):  # fetched for another region meanwhile
                    return found
                if other != region:
                    with suppress(UnansweredError, CredentialsError):
                        return self._fetch(other)
            raise

    def _valid(self, margin: timedelta) -> botocore.credentials.ReadOnlyCredentials | None:
        with self._lock:
            return self._credentials if utc.now() + margin < self._expires else None

    def _fetch(self, region: str) -> botocore.credentials.ReadOnlyCredentials:
        role = self._role
        if self._refused and time.monotonic() - self._refused[0] < _REFUSED_SECONDS:
            raise self._refused[1]
        config = botocore.config.Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            user_agent_extra=SESSION_NAME,
        )
        external = {"ExternalId": role.external_id} if role.external_id else {}
        where = f"The role {role.arn} ({role.variable})"
        try:
            sts: Any = self._source.client("sts", region_name=region, config=config, **self._options)
            answer = sts.assume_role(RoleArn=role.arn, RoleSessionName=role_session_name(), **external)["Credentials"]
        except failures.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            message = error.response.get("Error", {}).get("Message", "")
            if status >= 500 or "Throttl" in error_code(error):
                raise UnansweredError(
                    f"{where} was not assumed: sts in {region} answered {error_code(error)}."
                ) from error
            refused = CredentialsError(
                f"{where} cannot be assumed: {error_code(error)}: {message}. Correct {role.variable}, or let the role's trust "
                f"policy admit the caller{f' with the external id of {EXTERNAL_ID_VARIABLE}' if external else ''}."
            )
            self._refused = time.monotonic(), refused
            raise refused from error
        except (failures.HTTPClientError, failures.ConnectionError) as error:
            problem = type(error).__name__
            raise UnansweredError(f"{where} was not assumed: sts in {region} does not answer ({problem}).") from error
        found = botocore.credentials.ReadOnlyCredentials(
            answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], role.account
        )
        with self._lock:
            self._credentials, self._expires = found, answer["Expiration"]
        return found


def _site_regions() -> Sequence[str]:
    """The regions of both sites; none where the stack file cannot be read."""
    try:
        stack = load_stack()
    except StackFileError:
        return ()
    return [stack.region(site) for site in SITES]


class _RegionCredentials(botocore.credentials.Credentials):  # type: ignore[misc] # botocore is not typed
    """What botocore's signer asks for each request of one region."""

    def __init__(self, assumed: AssumedRole, region: str) -> None:
        super().__init__("", "", method="assume-role")
        self._assumed, self._region = assumed, region

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        return self._assumed.get(self._region)


class _Provider(botocore.credentials.CredentialProvider):  # type: ignore[misc] # botocore is not typed
    METHOD = CANONICAL_NAME = "dr-assets-role"

    def __init__(self, credentials: _RegionCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> _RegionCredentials:
        return self._credentials


# Every `AwsSession` of the process shares these: a verification with a role makes no more calls than one without.
_assumed: dict[tuple[object, ...], AssumedRole] = {}
_assumed_lock = threading.Lock()


class AwsSession:
    """Makes clients for any service and region, with a role's credentials where one is set.

    Args:
        role_arn: instead of DR_ROLE_ARN and the sites' variables.
        profile, access_key, secret_key, token, region: where boto3 should not find them itself.
        options: `endpoint_url`, `use_ssl`, `verify` of every client.

    Raises CredentialsError for values that cannot be right; the text names the variable.
    """

    def __init__(
        self,
        role_arn: str | None = None,
        profile: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        token: str | None = None,
        region: str | None = None,
        **options: Any,
    ) -> None:
        self._profile, self._options = profile, options
        try:
            self._core = self._new_core()
            if access_key:
                self._core.set_credentials(access_key, secret_key, token)
            self._own = boto3.Session(botocore_session=self._core, region_name=region)
        except failures.ProfileNotFound as error:
            raise CredentialsError(
                f"{error}. Correct AWS_PROFILE, or the profile in the run's configuration."
            ) from error
        self._identity = (access_key, profile, tuple(sorted(options.items())))
        self._roles, self._by_region = _roles(os.environ, role_arn)
        self._lock = threading.Lock()
        self._sessions: dict[str, boto3.Session] = {}

    def _new_core(self) -> Any:
        core: Any = botocore.session.Session(profile=self._profile)
        core.set_config_variable("sts_regional_endpoints", "regional")
        return core

    def role(self, region: str) -> Role | None:
        """The role that calls in this region; None where the caller's own credentials are used."""
        if not self._roles:
            return None
        return self._by_region.get(region) or self._roles[0]

    def source(self) -> AwsSession:
        """A session with the caller's own credentials, those that assume the role."""
        found = copy.copy(self)
        found._roles, found._by_region = (), {}
        return found

    def account(self, region: str) -> str | None:
        """The role's account, once STS has accepted the role; None without a role.

        Raises CredentialsError, UnansweredError.
        """
        role = self.role(region)
        if role is None:
            return None
        self._assumed(role).get(region)
        return role.account

    def client(self, service: str, region: str | None = None, config: botocore.config.Config | None = None) -> Any:
        """A new client. Raises CredentialsError, and BotoCoreError where boto3 cannot create one."""
        return self._session(region).client(service, region_name=region, config=config, **self._options)

    def _session(self, region: str | None) -> boto3.Session:
        region = region or self._own.region_name or DEFAULT_REGION
        role = self.role(region)
        if role is None:
            return self._own
        with self._lock:
            if region not in self._sessions:
                core = self._new_core()
                # Service models are large and the same for all.
                core.register_component("data_loader", self._core.get_component("data_loader"))
                provider = _Provider(_RegionCredentials(self._assumed(role), region))
                core.register_component("credential_provider", botocore.credentials.CredentialResolver([provider]))
                self._sessions[region] = boto3.Session(botocore_session=core, region_name=self._own.region_name)
            return self._sessions[region]

    def _assumed(self, role: Role) -> AssumedRole:
        environment = tuple(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL"))
        key = (role.arn, role.external_id, self._identity, environment)
        with _assumed_lock:
            return _assumed.setdefault(key, AssumedRole(role, self._own, self._options))


def _roles(environ: Mapping[str, str], role_arn: str | None) -> tuple[tuple[Role, ...], Mapping[str, Role]]:
    """(all roles, the one for regions of no site first; the role of each site's region)."""
    external = environ.get(EXTERNAL_ID_VARIABLE) or None
    if external and not _EXTERNAL_ID.fullmatch(external):
        raise CredentialsError(
            f"{EXTERNAL_ID_VARIABLE} must be 2 to 1,224 letters, digits or any of _+=,.@:/-. Correct it."
        )

    def role(variable: str, arn: str) -> Role | None:
        if arn and not _ROLE_ARN.fullmatch(arn):
            raise CredentialsError(
                f"{variable}={arn!r} is not the ARN of an IAM role. Write arn:aws:iam::123456789012:role/NAME."
            )
        return Role(arn, variable, external) if arn else None

    if role_arn:
        common, sites = role("role_arn", role_arn), {}
    else:
        common = role(ROLE_VARIABLE, environ.get(ROLE_VARIABLE, ""))
        by_variable = ((site, role(name, environ.get(name, ""))) for site, name in SITE_ROLE_VARIABLES.items())
        sites = {site: found for site, found in by_variable if found}
    if sites and not common and len(sites) < len(SITES):
        missing = next(name for site, name in SITE_ROLE_VARIABLES.items() if site not in sites)
        raise CredentialsError(
            f"{next(iter(sites.values())).variable} is set for one site only. Set {missing} or {ROLE_VARIABLE} too."
        )
    roles = (*([common] if common else []), *sites.values())
    if external and not roles:
        raise CredentialsError(f"{EXTERNAL_ID_VARIABLE} is set without a role. Set {ROLE_VARIABLE}, or unset it.")
    if len({found.account for found in roles}) > 1:
        names = " and ".join(found.variable for found in roles)
        raise CredentialsError(f"{names} name roles of different accounts; a stack lives in one. Correct them.")
    if not sites:
        return roles, {}
    stack = load_stack()
    return roles, {stack.region(site): found for site, found in sites.items()}
