resource "aws_s3_bucket" "exports" {
  #checkov:skip=CKV_AWS_18:Access is recorded by CloudTrail data events where wanted; an access-log bucket would be one more to replicate.
  #checkov:skip=CKV_AWS_144:Replicated to the other site by the root module.
  #checkov:skip=CKV2_AWS_62:Nothing acts on single objects.
  bucket        = "db-exports-${var.site}-${var.suffix}-${var.account_id}"
  force_destroy = !var.deletion_protection
  tags          = merge(var.tags, { Name = "db-exports-${var.site}-${var.suffix}-${var.account_id}" })

  lifecycle {
    precondition {
      condition     = length("db-exports-${var.site}-${var.suffix}-${var.account_id}") <= 63
      error_message = "environment_suffix: with it the bucket's name is longer than the 63 characters S3 allows; shorten it."
    }
  }
}

resource "aws_s3_bucket_versioning" "exports" {
  bucket = aws_s3_bucket.exports.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "exports" {
  bucket = aws_s3_bucket.exports.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      # A replica is encrypted with the other site's key: it stays readable there without this region.
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "exports" {
  bucket                  = aws_s3_bucket.exports.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "exports" {
  bucket = aws_s3_bucket.exports.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "DenyWithoutTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.exports.arn, "${aws_s3_bucket.exports.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "DenyOldTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.exports.arn, "${aws_s3_bucket.exports.arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  })

  # S3 takes one change of a bucket's access at a time.
  depends_on = [aws_s3_bucket_public_access_block.exports]
}

resource "aws_s3_bucket_lifecycle_configuration" "exports" {
  bucket = aws_s3_bucket.exports.id

  rule {
    id     = "archive"
    status = "Enabled"

    filter {
      prefix = ""
    }

    transition {
      days          = 30
      storage_class = "GLACIER"
    }

    expiration {
      days = 365
    }

    noncurrent_version_expiration {
      noncurrent_days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # A rule about old versions means nothing before there are any.
  depends_on = [aws_s3_bucket_versioning.exports]
}
