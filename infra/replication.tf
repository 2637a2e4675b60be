# Exports are copied between the sites' buckets, in both directions at once. They are written where the writer is, so
# replication turns round by itself at a failover, and recovery needs no call for it. Replicas are not replicated again.

locals {
  bucket_arns = [module.primary.bucket_arn, module.secondary.bucket_arn]
  object_arns = [for arn in local.bucket_arns : "${arn}/*"]

  # Through S3, and only for what is in the site's bucket: the context is the object's ARN, or the bucket's with a bucket key.
  replication_keys = {
    for site, bucket in { primary = module.primary, secondary = module.secondary } : site => {
      key                         = bucket.data_key_arn
      any                         = "arn:${local.partition}:kms:${local.regions[site]}:${local.account_id}:key/*"
      when = {
        StringEquals = { "kms:ViaService" = "s3.${local.regions[site]}.amazonaws.com" }
        StringLike   = { "kms:EncryptionContext:aws:s3:arn" = [bucket.bucket_arn, "${bucket.bucket_arn}/*"] }
      }
    }
  }
}

resource "aws_iam_role" "replication" {
  name        = "s3-replication-role-${local.suffix}"
  description = "S3 replication between the sites' export buckets"

  permissions_boundary = aws_iam_policy.boundary.arn

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
    Statement = concat([
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
      ], flatten([for site, use in local.replication_keys : [
        {
          # An export may be encrypted with any key of its region, so the bucket it is in confines this, not the key.
          Sid       = "Decrypt${title(site)}"
          Effect    = "Allow"
          Action    = "kms:Decrypt"
          Resource  = use.any
          Condition = use.when
        },
        {
          Sid       = "Encrypt${title(site)}"
          Effect    = "Allow"
          Action    = ["kms:Encrypt", "kms:GenerateDataKey"]
          Resource  = use.key
          Condition = use.when
        },
        ]
    ]))
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

    # Without this S3 leaves SSE-KMS objects out, and all of ours are.
    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = module.secondary.bucket_arn
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = module.secondary.data_key_arn
      }
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

    # Without this S3 leaves SSE-KMS objects out, and all of ours are.
    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = module.primary.bucket_arn
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = module.primary.data_key_arn
      }
    }
  }

  depends_on = [module.primary.bucket_versioning, module.secondary.bucket_versioning, aws_iam_role_policy.replication]
}
