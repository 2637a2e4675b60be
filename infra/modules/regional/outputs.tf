output "vpc_id" {
  description = "The site's VPC."
  value       = aws_vpc.this.id
}

output "route_table_id" {
  description = "Route table of the database subnets."
  value       = aws_route_table.private.id
}

output "security_group_id" {
  description = "Security group of the database."
  value       = aws_security_group.database.id
}

output "db_subnet_group_name" {
  description = "Subnet group of the database."
  value       = aws_db_subnet_group.this.name
}

output "data_key_arn" {
  description = "Key for data."
  value       = aws_kms_key.data.arn
}

output "data_key_id" {
  description = "Id of the key for data."
  value       = aws_kms_key.data.key_id
}

output "monitoring_role_arn" {
  description = "Role for enhanced monitoring, with its policy attached."
  value       = aws_iam_role.monitoring.arn
  # RDS checks the role's rights when an instance is created with it.
  depends_on = [aws_iam_role_policy_attachment.monitoring]
}

output "cluster_parameter_group_name" {
  description = "Parameter group for the cluster."
  value       = aws_rds_cluster_parameter_group.this.name
}

output "instance_parameter_group_name" {
  description = "Parameter group for the instances."
  value       = aws_db_parameter_group.this.name
}

output "log_group_name" {
  description = "Log group that the cluster exports to."
  value       = aws_cloudwatch_log_group.postgresql.name
}

output "secret_id" {
  description = "The secret for the master user."
  value       = aws_secretsmanager_secret.master.id
}

output "secret_arn" {
  description = "ARN of the secret for the master user."
  value       = aws_secretsmanager_secret.master.arn
}

output "bucket_name" {
  description = "The export bucket."
  value       = aws_s3_bucket.exports.bucket
}

output "bucket_arn" {
  description = "ARN of the export bucket."
  value       = aws_s3_bucket.exports.arn
}

output "bucket_versioning" {
  description = "Status of the bucket's versioning; what needs versioning depends on it."
  value       = aws_s3_bucket_versioning.exports.versioning_configuration[0].status
}

output "topic_arn" {
  description = "Topic for alarms and events, with its policy in place."
  value       = aws_sns_topic.events.arn
  depends_on  = [aws_sns_topic_policy.events]
}

output "event_queue_url" {
  description = "Queue that holds the topic's events."
  value       = aws_sqs_queue.events.url
}

output "alarm_names" {
  description = "Names of the alarms, by metric."
  value = merge(
    { for key, alarm in merge(aws_cloudwatch_metric_alarm.lag, aws_cloudwatch_metric_alarm.state) : key => alarm.alarm_name },
    { takes-writes = aws_cloudwatch_metric_alarm.takes_writes.alarm_name },
    { for watcher, alarm in aws_cloudwatch_metric_alarm.heartbeat : "heartbeat-${replace(watcher, "_", "-")}" => alarm.alarm_name },
  )
}
