# Five alarms on the database, the same at both sites, a sixth from which DNS learns which site accepts writes, and one for each
# watcher (the Dagster daemon and its sensors), which reports that the monitoring itself has stopped.
#
# AWS publishes the lag metrics at the current reader only. So missing data breaches at the reader, where it means that
# replication is not being measured, and not at the writer, where there is never any.

locals {
  lag_alarms = {
    replication-lag = {
      metric      = "AuroraGlobalDBReplicationLag"
      description = "Replication is more than ${var.alarm_thresholds.replication_lag_ms} ms behind, or not measured at the reader."
    }
    rpo-lag = {
      metric      = "AuroraGlobalDBRPOLag"
      description = "A failover now would lose more than ${var.alarm_thresholds.replication_lag_ms} ms of commits, or the lag is not measured."
    }
  }

  state_alarms = {
    cpu = {
      namespace   = "AWS/RDS"
      metric      = "CPUUtilization"
      dimensions  = { DBClusterIdentifier = var.cluster_identifier }
      statistic   = "Average"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_thresholds.cpu_percent
      description = "CPU above ${var.alarm_thresholds.cpu_percent} %."
    }
    connections = {
      namespace   = "AWS/RDS"
      metric      = "DatabaseConnections"
      dimensions  = { DBClusterIdentifier = var.cluster_identifier }
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_thresholds.connections
      description = "More than ${var.alarm_thresholds.connections} connections."
    }
    # Dagster's probe publishes 1 for each write that this site's cluster endpoint accepts, 0 for each that it does not: here at one
    # minute, because Route 53's health checks do not support high-resolution metrics.
    connectivity = {
      namespace   = "DRAssets"
      metric      = "WriterConnectivityMinute"
      dimensions  = { Stack = var.suffix, Site = var.site }
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      description = "The probe's writes through this site's cluster endpoint are not accepted."
    }
  }

  # AWS's documents disagree about the dimensions of the lag metrics, and CloudWatch matches them exactly. SourceRegion is the
  # writer's region: of a metric at this site it is the other site's, whoever is the writer now.
  lag_dimensions = {
    cluster       = { DBClusterIdentifier = var.cluster_identifier }
    source-region = { SourceRegion = var.source_region }
  }

  watchers = toset(["daemon", "replication_lag", "health_checks", "event_queue", "drift", "run_failure", "drill_overdue"])

  missing_lag = { writer = "notBreaching", reader = "breaching" }
}

resource "aws_cloudwatch_metric_alarm" "lag" {
  for_each = local.lag_alarms

  alarm_name          = "aurora-${each.key}-${var.site}-${var.suffix}"
  alarm_description   = each.value.description
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = merge([for part in split("+", var.lag_metric_dimensions) : local.lag_dimensions[part]]...)
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_thresholds.replication_lag_ms
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  treat_missing_data  = local.missing_lag[var.home_role]
  actions_enabled     = true
  alarm_actions       = [aws_sns_topic.events.arn]
  ok_actions          = [aws_sns_topic.events.arn]
  tags                = merge(var.tags, { Name = "aurora-${each.key}-${var.site}-${var.suffix}" })

  # An alarm's actions are useless until the topic lets CloudWatch publish.
  depends_on = [aws_sns_topic_policy.events]

  lifecycle {
    # Keyed to the role, which swaps at a switchover; Terraform knows only where home is. It sets this when the alarm is
    # created; from then on Dagster keeps it, so that a plan while the writer is away does not turn it back. The dimensions are not ignored: where Dagster found
    # others than lag_metric_dimensions says, the plan shows it, and the stack file must follow.
    ignore_changes = [treat_missing_data]
  }
}

resource "aws_cloudwatch_metric_alarm" "state" {
  for_each = local.state_alarms

  alarm_name          = "aurora-${each.key}-${var.site}-${var.suffix}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  treat_missing_data  = "missing"
  actions_enabled     = true
  alarm_actions       = [aws_sns_topic.events.arn]
  ok_actions          = [aws_sns_topic.events.arn]
  tags                = merge(var.tags, { Name = "aurora-${each.key}-${var.site}-${var.suffix}" })

  depends_on = [aws_sns_topic_policy.events]
}

# In ALARM wherever the writer is. Health checks read its metric; it notifies no one.
resource "aws_cloudwatch_metric_alarm" "takes_writes" {
  alarm_name          = "aurora-takes-writes-${var.site}-${var.suffix}"
  alarm_description   = "In alarm where the writer is: the probe's writes through this site's cluster endpoint are accepted."
  namespace           = local.state_alarms.connectivity.namespace
  metric_name         = local.state_alarms.connectivity.metric
  dimensions          = local.state_alarms.connectivity.dimensions
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  # An accepted write proves the role at once; everything else must last.
  evaluation_periods  = 1
  datapoints_to_alarm = 1
  treat_missing_data  = "missing"
  actions_enabled     = true
  tags                = merge(var.tags, { Name = "aurora-takes-writes-${var.site}-${var.suffix}" })

  depends_on = [aws_sns_topic_policy.events]
}

# Each watcher puts a heartbeat into both regions at least every 50 s. Three periods of ten seconds report its absence within two minutes,
# however far back CloudWatch looks for data; periods of a minute would not.
resource "aws_cloudwatch_metric_alarm" "heartbeat" {
  for_each = local.watchers

  alarm_name          = "aurora-heartbeat-${replace(each.key, "_", "-")}-${var.site}-${var.suffix}"
  alarm_description   = "No heartbeat of ${each.key == "daemon" ? "the Dagster daemon" : "the sensor ${each.key}"} reaches this region. Runbook: No heartbeat."
  namespace           = "DRAssets"
  metric_name         = "Heartbeat"
  dimensions          = { Stack = var.suffix, Watcher = each.key }
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 10
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  treat_missing_data  = "breaching"
  actions_enabled     = true
  alarm_actions       = [aws_sns_topic.events.arn]
  ok_actions          = [aws_sns_topic.events.arn]
  tags                = merge(var.tags, { Name = "aurora-heartbeat-${replace(each.key, "_", "-")}-${var.site}-${var.suffix}" })

  depends_on = [aws_sns_topic_policy.events]
}
