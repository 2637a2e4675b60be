"""Checks of what a drill needs from this machine: DNS, a network path to both databases, the CA file, readable secrets.

Before the stack exists they are `not_yet`.
"""

from __future__ import annotations

import socket

from dr_assets.core.model import error_code
from dr_assets.errors import DrError
from dr_assets.postgres import connection
from dr_assets.postgres.endpoints import Resolver
from dr_assets.preflight.survey import Check, Finding, Survey, fails, not_yet, ok
from dr_assets.stack import Site

PORT = 5432
CONNECT_SECONDS = 3.0


def endpoint(survey: Survey, site: Site) -> str | None:
    """The name by which the site's database is reached now: a reader's only name that resolves is its reader endpoint."""
    cluster = survey.observed(f"{site}/aurora/cluster")
    if cluster is None:
        return None
    role = survey.state.role(site)
    return str(cluster["Endpoint" if role == "writer" else "ReaderEndpoint"])


def dns(survey: Survey) -> Finding:
    def at(site: Site, _: str) -> Finding:
        host = endpoint(survey, site)
        if host is None:
            return not_yet(f"the {site} cluster does not exist yet")
        try:
            address = Resolver().resolve(host, PORT)
        except DrError as error:
            return fails(str(error).rstrip("."), "Run where the VPC's DNS answers, or set DR_NAMESERVER or DR_RESOLVE.")
        return ok(f"{host} is {address.ip}")

    return survey.each_site(at)


def network_path(survey: Survey) -> Finding:
    def at(site: Site, _: str) -> Finding:
        host = endpoint(survey, site)
        if host is None:
            return not_yet(f"the {site} cluster does not exist yet")
        try:
            address = Resolver().resolve(
                host, int((survey.observed(f"{site}/aurora/cluster") or {}).get("Port") or PORT)
            )
        except DrError:
            return not_yet(f"{host} does not resolve: see dns")
        try:
            socket.create_connection((address.ip, address.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            return fails(
                f"no connection to {host} ({address.ip}:{address.port}): {error}",
                f"Run in one of application_subnet_cidrs.{site}, over the peering, or through a tunnel with DR_RESOLVE.",
            )
        return ok(f"{host}:{address.port} accepts connections")

    return survey.each_site(at)


def tls_authorities(__: Survey) -> Finding:
    try:
        path = connection.tls_authorities()
    except connection.TlsError as error:
        cause, _, remedy = str(error).rpartition(". ")
        return fails(cause, remedy)
    return ok(f"the authorities in {path} can be read")


def database_secret(survey: Survey) -> Finding:
    """The secret is read and thrown away."""

    def at(site: Site, region: str) -> Finding:
        secret = survey.observed(f"{site}/credentials/secret")
        if secret is None:
            return not_yet(f"the {site} secret does not exist yet")
        try:
            survey.reads.call("secretsmanager", "get_secret_value", region, SecretId=secret["Arn"])
        except Exception as error:
            if not (code := error_code(error)):
                raise
            return fails(f"the {site} secret cannot be read ({code})", "Grant what `dr permissions` prints for drills.")
        return ok(f"the {site} secret can be read")

    return survey.each_site(at)


CHECKS = (
    Check("dns", "a drill resolves both databases", dns, when="report"),
    Check("network-path", "a drill reaches both databases", network_path, when="report"),
    Check("tls-ca", "a drill can verify the databases", tls_authorities, when="report"),
    Check("database-secret", "a drill can read the credentials", database_secret, when="report"),
)
