"""Terraform in the tests reaches the embedded AWS with every service, and otherwise nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr_assets.emulator import EmbeddedAws
from tests.support.isolation import RecordingProxy
from tests.support.terraform import Terraform, ready

pytestmark = [pytest.mark.terraform, pytest.mark.slow]

# Services that no file of infra/ uses, one with a global endpoint of its own, and S3 with its names for buckets.
PROJECT = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region      = "us-east-1"
  max_retries = 1
}

provider "aws" {
  alias       = "secondary"
  region      = "us-west-2"
  max_retries = 1
}

data "aws_caller_identity" "current" {}

resource "aws_cloudwatch_event_rule" "unnamed" {
  provider            = aws.secondary
  name                = "unnamed"
  schedule_expression = "rate(1 hour)"
}

resource "aws_ssm_parameter" "unnamed" {
  name  = "unnamed"
  type  = "String"
  value = "x"
}

resource "aws_iam_role" "unnamed" {
  name               = "unnamed"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })
}

resource "aws_route53_zone" "unnamed" {
  name = "unnamed.example"
}

resource "aws_s3_bucket" "unnamed" {
  bucket = "unnamed-l6p3z2w4"
}
"""


def project(folder: Path, endpoint_url: str | None, proxy: RecordingProxy) -> Terraform:
    source = folder / "source"
    source.mkdir()
    (source / "main.tf").write_text(PROJECT)
    return ready(folder / "work", endpoint_url, source=source, proxy=proxy.url)


def test_a_service_that_nobody_named_lands_on_the_embedded_aws(tmp_path: Path) -> None:
    with EmbeddedAws() as aws, RecordingProxy() as proxy:
        terraform = project(tmp_path, aws.endpoint_url, proxy)
        terraform.apply()
        created = {(call["service"], call["region"]) for call in aws.control.calls() if call["mutating"]}
    assert {("events", "us-west-2"), ("ssm", "us-east-1"), ("iam", "us-east-1"), ("route53", "us-east-1")} <= created
    assert ("s3", "us-east-1") in created
    assert proxy.requests == []


@pytest.mark.parametrize("endpoint_url", [None, "http://127.0.0.1:9"], ids=["without an endpoint", "with AWS down"])
def test_without_the_embedded_aws_it_fails_and_calls_nobody(tmp_path: Path, endpoint_url: str | None) -> None:
    with RecordingProxy() as proxy:
        terraform = project(tmp_path, endpoint_url, proxy)
        done = terraform.run("apply", "-auto-approve", "-input=false", "-no-color", check=False)
    assert done.returncode != 0
    assert "connection refused" in done.stderr
    assert proxy.requests == []


def test_what_ignores_the_endpoint_is_stopped_by_the_proxy(tmp_path: Path) -> None:
    """The proxy is not there for show: it is what stands between a forgotten setting and AWS."""
    with RecordingProxy() as proxy:
        terraform = project(tmp_path, None, proxy)
        del terraform.env["AWS_ENDPOINT_URL"]
        done = terraform.run("plan", "-input=false", "-no-color", check=False)
    assert done.returncode != 0
    assert proxy.requests
    assert all(request.startswith("CONNECT ") and "amazonaws.com:443" in request for request in proxy.requests)
