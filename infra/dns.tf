# Traffic moves by health-check state alone: Route 53's control plane is in us-east-1, so nothing here may have to be
# changed during a recovery.
#
# Traffic follows the writer that the probe's writes proved last. The PRIMARY record is healthy while the primary site accepts
# writes, or while the secondary was not the last to accept any: a silent probe moves no traffic wherever the writer is, and a
# dark primary region keeps no client once the secondary has taken over. Lag gates the SECONDARY record only, and missing lag
# does not: right after a failover the healthy new writer has none.

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

# Healthy until the secondary site accepts writes, then unhealthy until it refuses them. A check that never had data starts
# as healthy: without a probe traffic stays at home.
resource "aws_route53_health_check" "not_moved" {
  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = local.alarm_names.secondary["takes-writes"]
  cloudwatch_alarm_region         = var.secondary_region
  insufficient_data_health_status = "LastKnownStatus"
  tags                            = merge(local.global_tags, { Name = "health-check-not-moved-${local.suffix}" })
}

# Whether the primary site accepts writes now. Missing data (a dark region) is unhealthy.
resource "aws_route53_health_check" "seen_home" {
  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = local.alarm_names.primary["connectivity"]
  cloudwatch_alarm_region         = var.primary_region
  insufficient_data_health_status = "Unhealthy"
  tags                            = merge(local.global_tags, { Name = "health-check-seen-home-${local.suffix}" })
}

# Whether traffic stays at the primary site: it takes writes, or the secondary does not.
resource "aws_route53_health_check" "home" {
  type                   = "CALCULATED"
  child_health_threshold = 1
  child_healthchecks = [
    aws_route53_health_check.seen_home.id,
    aws_route53_health_check.not_moved.id,
  ]
  tags = merge(local.global_tags, { Name = "health-check-home-${local.suffix}" })
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
  records         = [local.writer_endpoints.primary]
  set_identifier  = "primary"
  health_check_id = aws_route53_health_check.home.id

  failover_routing_policy {
    type = "PRIMARY"
  }
}

resource "aws_route53_record" "secondary" {
  zone_id         = aws_route53_zone.private.zone_id
  name            = local.database_host
  type            = "CNAME"
  ttl             = local.record_ttl
  records         = [local.writer_endpoints.secondary]
  set_identifier  = "secondary"
  health_check_id = aws_route53_health_check.failover.id

  failover_routing_policy {
    type = "SECONDARY"
  }
}
