"""What RDS refuses of a request: malformed identifiers, and a pre-signed URL that is missing or signed for another region. No I/O."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue

_IDENTIFIER = re.compile(r"[a-zA-Z](-?[a-zA-Z0-9])*")


def check_identifier(parameter: str, value: str, longest: int = 63) -> None:
    """RDS's rule for clusters, instances and global clusters (63 characters) and parameter groups (255).

    The texts are AWS's (anomalyco/sst#1702, hashicorp/terraform#3610).
    """
    if len(value) > longest:
        raise InvalidParameterValue(
            f"The parameter {parameter} is not a valid identifier because it is longer than {longest} characters."
        )
    if not _IDENTIFIER.fullmatch(value):
        raise InvalidParameterValue(
            f"The parameter {parameter} is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII "
            "letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        )


def check_presigned_url(params: dict[str, Any], source: Any, region: str) -> None:
    """An encrypted cluster joins from another region only with the source region's leave.

    The texts are AWS's (cloudformation-coverage-roadmap#719, terraform-provider-aws#16362). Of the signature only what it was made
    for is checked: CreateDBCluster in the source's region, for this destination.
    """
    if not source.storage_encrypted or source.region == region:
        return
    url = params.get("pre_signed_url")
    if not url:
        raise InvalidParameterCombination(
            f"Source cluster {source.arn} is encrypted; pre-signed URL has to be specified"
        )
    query = parse_qs(urlsplit(url).query)
    scope = query.get("X-Amz-Credential", [""])[0].split("/")[2:4]
    if (query.get("Action"), query.get("DestinationRegion"), scope) != (
        ["CreateDBCluster"],
        [region],
        [source.region, "rds"],
    ):
        raise InvalidParameterValue("PreSignedUrl could not be authenticated.")
