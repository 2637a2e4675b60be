# Exports are copied between the sites' buckets, in both directions at once. They are written where the writer is, so
# replication turns round by itself at a failover, and recovery needs no call for it. Replicas are not replicated again.

locals {
  bucket_arns = [module.primary.bucket_arn, module.secondary.bucket_arn]
  object_arns = [for arn in local.bucket_arns : "${arn}/*"]
}

resource "aws_iam_role" "replication" {
  name        = "s3-replication-role-${local.suffix}"
  description = "S3 replication between the sites' export buckets"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })

  tags = merge(local.global_tags, { Name = "s3-replication-role-${local.suffix}" })
}

resource "aws_iam_role_policy" "replication" {
  name = "s3-replication-role-${local.suffix}"
  role = aws_iam_role.replication.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadConfiguration"
        Effect   = "Allow"
        Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
        Resource = local.bucket_arns
      },
      {
        Sid      = "ReadObjects"
        Effect   = "Allow"
        Action   = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        Resource = local.object_arns
      },
      {
        Sid      = "Replicate"
        Effect   = "Allow"
        Action   = ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"]
        Resource = local.object_arns
      },
    ]
  })
}

resource "aws_s3_bucket_replication_configuration" "from_primary" {
  bucket = module.primary.bucket_name
  role   = aws_iam_role.replication.arn

  rule {
    id       = "replicate-all"
    priority = 1
    status   = "Enabled"

    filter {
      prefix = ""
    }

    delete_marker_replication {
      status = "Enabled"
    }

    destination {
      bucket        = module.secondary.bucket_arn
      storage_class = "STANDARD"
    }
  }

  # S3 refuses replication until both buckets are versioned, and starts at once with whatever rights the role has then.
  depends_on = [module.primary.bucket_versioning, module.secondary.bucket_versioning, aws_iam_role_policy.replication]
}

resource "aws_s3_bucket_replication_configuration" "from_secondary" {
  provider = aws.secondary

  bucket = module.secondary.bucket_name
  role   = aws_iam_role.replication.arn

  rule {
    id       = "replicate-all"
    priority = 1
    status   = "Enabled"

    filter {
      prefix = ""
    }

    delete_marker_replication {
      status = "Enabled"
    }

    destination {
      bucket        = module.primary.bucket_arn
      storage_class = "STANDARD"
    }
  }

  depends_on = [module.primary.bucket_versioning, module.secondary.bucket_versioning, aws_iam_role_policy.replication]
}
