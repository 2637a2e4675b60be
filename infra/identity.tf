# The most that the roles of this stack may ever be permitted, whatever their policies say. A boundary permits nothing by itself.
# Whoever provisions may create roles within it only, and may not change it.
resource "aws_iam_policy" "boundary" {
  name        = "aurora-dr-boundary-${local.suffix}"
  description = "The most that the roles of this stack may ever be permitted"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "EnhancedMonitoring"
        Effect = "Allow"
        Action = [
          "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents",
          "logs:PutLogEvents", "logs:PutRetentionPolicy",
        ]
        Resource = "arn:${local.partition}:logs:*:${local.account_id}:log-group:RDS*"
      },
      {
        Sid      = "ReplicationConfiguration"
        Effect   = "Allow"
        Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
        Resource = local.export_bucket_arns
      },
      {
        Sid    = "Replication"
        Effect = "Allow"
        Action = [
          "s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging",
          "s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags",
        ]
        Resource = [for arn in local.export_bucket_arns : "${arn}/*"]
      },
      {
        Sid      = "ReplicationKeys"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        Resource = "arn:${local.partition}:kms:*:${local.account_id}:key/*"
        Condition = {
          StringEquals = { "kms:ViaService" = [for region in values(local.regions) : "s3.${region}.amazonaws.com"] }
          StringLike = {
            "kms:EncryptionContext:aws:s3:arn" = concat(
              local.export_bucket_arns, [for arn in local.export_bucket_arns : "${arn}/*"],
            )
          }
        }
      },
    ]
  })

  tags = merge(local.global_tags, { Name = "aurora-dr-boundary-${local.suffix}" })
}

locals {
  # Spelled out from names, so that the boundary is there before anything it limits.
  export_bucket_arns = [
    for site in ["primary", "secondary"] :
    "arn:${local.partition}:s3:::db-exports-${site}-${local.suffix}-${local.account_id}"
  ]
}
