"""Quotas of the account: AWS's defaults, and the values that a test sets (`Answers.quotas`)."""

from dr_assets.emulator.answers import answers

# Service, code -> AWS's default ("Quotas and constraints for Amazon Aurora"; "Amazon VPC quotas"; the services' pages in the AWS
# General Reference). Those of S3, IAM and Route 53 are kept in us-east-1 for the whole account.
DEFAULTS: dict[tuple[str, str], tuple[str, float]] = {
    ("rds", "L-952B80B8"): ("DB clusters", 40),
    ("rds", "L-7B6409FD"): ("DB instances", 40),
    ("rds", "L-E4C808A8"): ("DB cluster parameter groups", 50),
    ("rds", "L-DE55804A"): ("Parameter groups", 50),
    ("rds", "L-48C6BF61"): ("DB subnet groups", 50),
    ("rds", "L-A59F4C87"): ("Event subscriptions", 20),
    ("vpc", "L-F678F1CE"): ("VPCs per Region", 5),
    ("vpc", "L-7E9ECCDB"): ("Active VPC peering connections per VPC", 50),
    ("vpc", "L-0EA8095F"): ("Inbound or outbound rules per security group", 60),
    ("kms", "L-C2F1777E"): ("Customer Master Keys (CMKs)", 100_000),
    ("sns", "L-61103206"): ("Topics per Account", 100_000),
    ("s3", "L-DC2B2D3D"): ("Buckets", 10_000),
    ("iam", "L-FE177D64"): ("Roles per account", 1000),
    ("route53", "L-ACB674F3"): ("Health checks", 200),
    ("route53", "L-4EA4796A"): ("Hosted zones", 500),
}


def applied(service: str, code: str, region: str) -> float | None:
    """The value that was set for this account and region, as `rds/L-952B80B8=1` or `us-west-2/rds/L-952B80B8=1`; None: AWS's default."""
    for text in answers().quotas:
        name, _, value = text.partition("=")
        if name in (f"{service}/{code}", f"{region}/{service}/{code}"):
            return float(value)
    return None


def limit(service: str, code: str, region: str) -> float:
    """The value in force."""
    value = applied(service, code, region)
    return DEFAULTS[service, code][1] if value is None else value
