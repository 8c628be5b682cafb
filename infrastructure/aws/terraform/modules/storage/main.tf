# Four buckets, all alike: what one has, each has. They differ in three ways only: how long they keep, what encrypts them, and
# that the audit bucket cannot forget. Names end with the account's id, because bucket names are shared by the whole world.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # The class must let the application read at once what it reads: checkpoints of the audit log at every start, artifacts
  # on request. Backups and logs are for people who can wait.
  buckets = {
    artifacts = { expire_after_days = var.expire_after_days.artifacts, cold_class = "GLACIER_IR" }
    backups   = { expire_after_days = var.expire_after_days.backups, cold_class = "GLACIER" }
    logs      = { expire_after_days = var.expire_after_days.logs, cold_class = "GLACIER" }
    audit     = { expire_after_days = var.expire_after_days.audit, cold_class = "GLACIER_IR" }
  }

  # Load balancers and S3's own access logs can only be written with S3's keys (SSE-S3): with KMS they would silently stop.
  encrypted_by_s3 = ["logs"]
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_145:the logs bucket is encrypted by S3's keys, the only ones that log delivery can use; the others by KMS
  #checkov:skip=CKV_AWS_144:backups leave the region through AWS Backup; replicating logs and artifacts too is not worth its price
  #checkov:skip=CKV2_AWS_62:nothing waits for objects; CloudTrail records who touches the audit bucket
  for_each = local.buckets

  bucket              = "${var.name}-${each.key}-${local.account}"
  object_lock_enabled = each.key == "audit"
  force_destroy       = each.key == "audit" ? false : var.force_destroy
  tags                = merge(var.tags, { Component = "storage", Purpose = each.key })
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    bucket_key_enabled = !contains(local.encrypted_by_s3, each.key)

    apply_server_side_encryption_by_default {
      sse_algorithm     = contains(local.encrypted_by_s3, each.key) ? "AES256" : "aws:kms"
      kms_master_key_id = contains(local.encrypted_by_s3, each.key) ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "cool-and-expire"
    status = "Enabled"

    filter {}

    transition {
      days          = var.glacier_after_days
      storage_class = each.value.cold_class
    }

    expiration {
      days = each.value.expire_after_days
    }

    # In the audit bucket the first version of a key is what counts, so an earlier version outlives its successor as long.
    noncurrent_version_expiration {
      noncurrent_days = each.key == "audit" ? each.value.expire_after_days : 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# The application locks each checkpoint itself, in compliance mode and for its own time. What somebody else puts here, an
# export for instance, is locked by default in governance mode: safe from a mistake, not from those who may bypass it.
resource "aws_s3_bucket_object_lock_configuration" "audit" {
  bucket = aws_s3_bucket.this["audit"].id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.audit_default_retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# Who read and wrote each bucket. The logs bucket does not log its own logging.
resource "aws_s3_bucket_logging" "this" {
  for_each = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket if purpose != "logs" }

  bucket        = each.value.id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.key}/"

  depends_on = [aws_s3_bucket_policy.this]
}
