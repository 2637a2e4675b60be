# The secret. Its versions, and the password, are in the root: the password is the same at both sites.
resource "aws_secretsmanager_secret" "master" {
  #checkov:skip=CKV2_AWS_57:Secrets Manager rotates one secret at a time; here the database and both sites' secrets must change together.
  name        = "rds-master-password-${var.site}-${var.suffix}"
  description = "Master user of the Aurora cluster at the ${var.site} site"
  kms_key_id  = aws_kms_key.data.arn

  # A secret in its recovery window keeps its name from the next stack, so a stack that may be destroyed has none.
  recovery_window_in_days = var.deletion_protection ? 30 : 0

  tags = merge(var.tags, { Name = "rds-master-password-${var.site}-${var.suffix}" })
}
