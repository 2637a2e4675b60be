locals {
  # Without it nobody could administer the key any more, AWS support included. It also lets IAM policies of this account
  # grant its use, which Secrets Manager and the readers of the queue rely on.
  key_administration = {
    Sid       = "AccountAdministration"
    Effect    = "Allow"
    Principal = { AWS = local.account_root }
    Action    = "kms:*"
    Resource  = "*"
  }

  # RDS acts with its caller's permissions, so the principal is anyone in this account who comes through RDS.
  through_rds = {
    "kms:CallerAccount" = var.account_id
    "kms:ViaService"    = "rds.${var.region}.amazonaws.com"
  }
}

resource "aws_kms_key" "data" {
  description             = "DR Assets: data of the ${var.site} site"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_administration,
      {
        Sid       = "UseThroughRDS"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = { StringEquals = local.through_rds }
      },
      {
        # Grants keep the volumes readable between calls.
        Sid       = "GrantsForRDS"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]
        Resource  = "*"
        Condition = {
          StringEquals = local.through_rds
          Bool         = { "kms:GrantIsForAWSResource" = "true" }
        }
      },
      {
        # Named by a condition: as a principal the role would have to exist before the key.
        Sid       = "ReplicateThroughS3"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = var.account_id
            "kms:ViaService"    = "s3.${var.region}.amazonaws.com"
          }
          ArnEquals = {
            "aws:PrincipalArn" = "arn:${var.partition}:iam::${var.account_id}:role/s3-replication-role-${var.suffix}"
          }
        }
      },
    ]
  })

  tags = merge(var.tags, { Name = "rds-aurora-${var.region}-${var.suffix}" })
}

resource "aws_kms_alias" "data" {
  name          = "alias/rds-aurora-${var.region}-${var.suffix}"
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_kms_key" "notifications" {
  description             = "DR Assets: notifications of the ${var.site} site"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_administration,
      {
        # Without this, an alarm or a database event that is published to the encrypted topic is lost without a trace.
        Sid       = "PublishEncrypted"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
      {
        # SNS encrypts what it delivers to the queue. Whether it sends aws:SourceAccount then is not documented; the ARN names the account.
        Sid       = "DeliverEncrypted"
        Effect    = "Allow"
        Principal = { Service = "sns.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { ArnLike = { "aws:SourceArn" = local.topic_arn } }
      },
    ]
  })

  tags = merge(var.tags, { Name = "sns-${var.region}-${var.suffix}" })
}

resource "aws_kms_alias" "notifications" {
  name          = "alias/sns-${var.region}-${var.suffix}"
  target_key_id = aws_kms_key.notifications.key_id
}
