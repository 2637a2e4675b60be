# The same names as `dr outputs`.

output "global_cluster_id" {
  description = "Identifier of the Aurora global cluster."
  value       = aws_rds_global_cluster.this.global_cluster_identifier
}

output "global_writer_endpoint" {
  description = "Endpoint that follows the writer, whichever site it is at."
  value       = aws_rds_global_cluster.this.endpoint
}

output "primary_cluster_endpoint" {
  description = "Cluster endpoint of the primary site."
  value       = local.writer_endpoints.primary
}

output "primary_cluster_reader_endpoint" {
  description = "Reader endpoint of the primary site."
  value       = aws_rds_cluster.primary.reader_endpoint
}

output "primary_backup_bucket" {
  description = "Name of the primary site's export bucket."
  value       = module.primary.bucket_name
}

output "primary_secret_arn" {
  description = "ARN of the secret with the master user's credentials for the primary site."
  value       = module.primary.secret_arn
}

output "primary_sns_topic_arn" {
  description = "ARN of the primary site's topic for alarms and database events."
  value       = module.primary.topic_arn
}

output "primary_kms_key_id" {
  description = "Id of the key that encrypts the primary site's data."
  value       = module.primary.data_key_id
}

output "primary_health_check_id" {
  description = "Id of the health check on connectivity to a writer at the primary site."
  value       = aws_route53_health_check.connectivity["primary"].id
}

output "primary_event_queue_url" {
  description = "URL of the primary site's event queue."
  value       = module.primary.event_queue_url
}

output "secondary_cluster_endpoint" {
  description = "Cluster endpoint of the secondary site."
  value       = local.writer_endpoints.secondary
}

output "secondary_cluster_reader_endpoint" {
  description = "Reader endpoint of the secondary site."
  value       = aws_rds_cluster.secondary.reader_endpoint
}

output "secondary_backup_bucket" {
  description = "Name of the secondary site's export bucket."
  value       = module.secondary.bucket_name
}

output "secondary_secret_arn" {
  description = "ARN of the secret with the master user's credentials for the secondary site."
  value       = module.secondary.secret_arn
}

output "secondary_sns_topic_arn" {
  description = "ARN of the secondary site's topic for alarms and database events."
  value       = module.secondary.topic_arn
}

output "secondary_kms_key_id" {
  description = "Id of the key that encrypts the secondary site's data."
  value       = module.secondary.data_key_id
}

output "secondary_health_check_id" {
  description = "Id of the health check on connectivity to a writer at the secondary site."
  value       = aws_route53_health_check.connectivity["secondary"].id
}

output "secondary_event_queue_url" {
  description = "URL of the secondary site's event queue."
  value       = module.secondary.event_queue_url
}
