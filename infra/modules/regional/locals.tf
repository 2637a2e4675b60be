locals {
  # Names of this site's cluster and topic, and ARNs spelled out from names: so that policies, and the log group that must
  # exist before the cluster, are known before anything exists.
  cluster_name = "aurora-${var.site}-${var.suffix}"
  events_name  = "db-events-${var.site}-${var.suffix}"
  topic_arn    = "arn:${var.partition}:sns:${var.region}:${var.account_id}:${local.events_name}"
  account_root = "arn:${var.partition}:iam::${var.account_id}:root"
}
