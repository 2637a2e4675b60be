# RDS's own news of each cluster. The alarms are in the module: they are the same at both sites.

locals {
  event_categories = ["failover", "failure", "global-failover", "maintenance", "notification"]
}

resource "aws_db_event_subscription" "primary" {
  name             = "rds-event-sub-primary-${local.suffix}"
  sns_topic        = module.primary.topic_arn
  source_type      = "db-cluster"
  source_ids       = [aws_rds_cluster.primary.cluster_identifier]
  event_categories = local.event_categories
  enabled          = true
  tags             = merge(local.site_tags.primary, { Name = "rds-event-sub-primary-${local.suffix}" })
}

resource "aws_db_event_subscription" "secondary" {
  provider = aws.secondary

  name             = "rds-event-sub-secondary-${local.suffix}"
  sns_topic        = module.secondary.topic_arn
  source_type      = "db-cluster"
  source_ids       = [aws_rds_cluster.secondary.cluster_identifier]
  event_categories = local.event_categories
  enabled          = true
  tags             = merge(local.site_tags.secondary, { Name = "rds-event-sub-secondary-${local.suffix}" })
}
