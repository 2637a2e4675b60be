"""CloudWatch: alarms that begin without data and keep their state when updated. Imports moto's CloudWatch."""

from datetime import datetime, timedelta
from typing import Any

from moto.cloudwatch import urls
from moto.cloudwatch.models import CloudWatchBackend, MetricDatum
from moto.core.utils import utcnow

from dr_assets.local.extended import Extended


class DrCloudWatchBackend(Extended, CloudWatchBackend):  # type: ignore[misc]
    """A new alarm has no data yet; an updated one keeps its state, its history and its tags."""

    moto_urls = urls
    metric_data: list[Any]

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

    def publish(self, namespace: str, dimension: tuple[str, str], metrics: dict[str, float]) -> None:
        """What AWS itself publishes: one sample a minute for each metric, of which the newest is always the current one.

        AWS's RDS metrics come once a minute; a drill that takes seconds would see none. So the running minute's sample is
        replaced by each newer one.
        """
        now: datetime = utcnow()
        dimensions = [{"Name": dimension[0], "Value": dimension[1]}]
        for name, value in metrics.items():
            datum = MetricDatum(
                namespace=namespace, name=name, value=value, dimensions=dimensions, timestamp=now, unit="Milliseconds"
            )
            kept: list[Any] = [
                old
                for old in self.metric_data
                if not (
                    old.name == name
                    and old.namespace == namespace
                    and old.timestamp > now - timedelta(seconds=60)
                    and any((d.name, d.value) == dimension for d in old.dimensions)
                )
            ]
            self.metric_data = [*kept, datum]
