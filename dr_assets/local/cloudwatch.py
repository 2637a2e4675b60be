"""CloudWatch: alarms that begin without data and keep their state when updated. Imports moto's CloudWatch."""

from typing import Any

from moto.cloudwatch import urls
from moto.cloudwatch.models import CloudWatchBackend

from dr_assets.local.extended import Extended


class DrCloudWatchBackend(Extended, CloudWatchBackend):  # type: ignore[misc]
    """A new alarm has no data yet; an updated one keeps its state, its history and its tags."""

    moto_urls = urls

    def put_metric_alarm(self, name: str, *args: Any, tags: Any = None, **kwargs: Any) -> Any:
        """moto: starts as OK, forgets the state at every update, and lets an update change tags (AWS ignores them)."""
        before = self.alarms.get(name)
        alarm = super().put_metric_alarm(name, *args, tags=None if before is not None else tags, **kwargs)
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
        else:
            for field in ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history"):
                setattr(alarm, field, getattr(before, field))
        return alarm
