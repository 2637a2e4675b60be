# Traffic moves by health-check state alone: Route 53's control plane is in us-east-1, so nothing here may have to be
# changed during a recovery.
#
# The PRIMARY record's health is connectivity to a writer at the primary site. Lag gates the SECONDARY record alone, and a
# lag that is not measured does not: right after a failover the healthy new writer has none.

locals {
  alarm_names = {
    primary   = module.primary.alarm_names
    secondary = module.secondary.alarm_names
  }
}

# Whether writes are accepted at the site. A silent probe moves no traffic.
resource "aws_route53_health_check" "connectivity" {
  for_each = local.regions

  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = local.alarm_names[each.key]["connectivity"]
  cloudwatch_alarm_region         = each.value
  insufficient_data_health_status = "LastKnownStatus"
  tags                            = merge(local.site_tags[each.key], { Name = "health-check-${each.key}-${local.suffix}" })
}

# Whether the site's replication lag is within bounds.
resource "aws_route53_health_check" "lag" {
  for_each = local.regions

  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = local.alarm_names[each.key]["replication-lag"]
  cloudwatch_alarm_region         = each.value
  insufficient_data_health_status = "Healthy"
  tags                            = merge(local.site_tags[each.key], { Name = "health-check-lag-${each.key}-${local.suffix}" })
}

resource "aws_route53_health_check" "https" {
  for_each = var.https_endpoints

  type              = "HTTPS"
  fqdn              = each.value
  port              = 443
  request_interval  = 10
  failure_threshold = 2
  tags              = merge(local.site_tags[each.key], { Name = "health-check-https-${each.key}-${local.suffix}" })
}

# Whether traffic may move to the secondary site: it takes writes and was not behind.
resource "aws_route53_health_check" "failover" {
  type                   = "CALCULATED"
  child_health_threshold = 2
  child_healthchecks = [
    aws_route53_health_check.connectivity["secondary"].id,
    aws_route53_health_check.lag["secondary"].id,
  ]
  tags = merge(local.global_tags, { Name = "health-check-failover-${local.suffix}" })
}

resource "aws_route53_zone" "private" {
  name    = var.hosted_zone_name
  comment = "DR Assets stack ${local.suffix}"

  vpc {
    vpc_id     = module.primary.vpc_id
    vpc_region = var.primary_region
  }

  vpc {
    vpc_id     = module.secondary.vpc_id
    vpc_region = var.secondary_region
  }

  tags = merge(local.global_tags, { Name = "aurora-dr-zone-${local.suffix}" })
}

resource "aws_route53_record" "primary" {
  zone_id         = aws_route53_zone.private.zone_id
  name            = local.database_host
  type            = "CNAME"
  ttl             = local.record_ttl
  records         = [aws_rds_cluster.primary.endpoint]
  set_identifier  = "primary"
  health_check_id = aws_route53_health_check.connectivity["primary"].id

  failover_routing_policy {
    type = "PRIMARY"
  }
}

resource "aws_route53_record" "secondary" {
  zone_id         = aws_route53_zone.private.zone_id
  name            = local.database_host
  type            = "CNAME"
  ttl             = local.record_ttl
  records         = [aws_rds_cluster.secondary.endpoint]
  set_identifier  = "secondary"
  health_check_id = aws_route53_health_check.failover.id

  failover_routing_policy {
    type = "SECONDARY"
  }
}
