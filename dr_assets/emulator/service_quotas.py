"""Service Quotas extension of moto: applied and default values of the quotas that a stack counts towards."""

import json
from typing import Any

from moto.servicequotas import urls
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend, servicequotas_backends
from moto.servicequotas.responses import ServiceQuotasResponse

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.quotas import DEFAULTS, applied, limit

# GetServiceQuota: "for some quotas, only the default values are available. If the applied quota value is not available for a quota, the
# quota is not retrieved." Which ones is not documented.
_DEFAULT_ONLY = frozenset({"kms", "sns"})


class DrServiceQuotasBackend(Extended, ServiceQuotasBackend):  # type: ignore[misc]
    """Values by region, and AWS's refusal of what it does not keep."""

    def get_service_quota(self, service_code: str, quota_code: str) -> dict[str, Any]:
        """moto: VPC's defaults alone."""
        value = applied(service_code, quota_code, self.region_name)
        if value is None and service_code in _DEFAULT_ONLY:
            raise NoSuchResource
        return self._shown(service_code, quota_code, None if value is None else value)

    def default_quota(self, service_code: str, quota_code: str) -> dict[str, Any]:
        """AWS's default."""
        return self._shown(service_code, quota_code, DEFAULTS.get((service_code, quota_code), ("", 0.0))[1])

    def _shown(self, service: str, code: str, value: float | None) -> dict[str, Any]:
        if (service, code) not in DEFAULTS:
            raise NoSuchResource
        return {
            "ServiceCode": service,
            "ServiceName": service,
            "QuotaArn": f"arn:aws:servicequotas:{self.region_name}:{self.account_id}:{service}/{code}",
            "QuotaCode": code,
            "QuotaName": DEFAULTS[service, code][0],
            "Value": limit(service, code, self.region_name) if value is None else value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": service in ("iam", "route53", "s3"),
        }


class DrServiceQuotas(ServiceQuotasResponse):  # type: ignore[misc]
    """The Service Quotas API."""

    def get_aws_default_service_quota(self) -> str:
        """moto: not implemented."""
        wanted = json.loads(self.body)
        return json.dumps({"Quota": self.backend.default_quota(wanted["ServiceCode"], wanted["QuotaCode"])})


EXTENSION = Extension(
    backends=servicequotas_backends, backend=DrServiceQuotasBackend, urls=urls, responses=DrServiceQuotas
)
