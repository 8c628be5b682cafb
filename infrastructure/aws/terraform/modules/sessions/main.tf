# One table of sessions, which end by themselves: DynamoDB deletes what `expires_at` (seconds since the epoch) has passed,
# within days. Whoever reads an item compares the time too.

resource "aws_dynamodb_table" "this" {
  name                        = "${var.name}-sessions"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "session_id"
  deletion_protection_enabled = coalesce(var.deletion_protection, var.environment == "production")
  tags                        = merge(var.tags, { Name = "${var.name}-sessions", Component = "sessions", Purpose = "sessions" })

  attribute {
    name = "session_id"
    type = "S"
  }

  attribute {
    name = "tenant_id"
    type = "S"
  }

  attribute {
    name = "expires_at"
    type = "N"
  }

  # A tenant's sessions, to end all of them: when it is suspended, when a key is revoked.
  global_secondary_index {
    name            = "tenant"
    hash_key        = "tenant_id"
    range_key       = "expires_at"
    projection_type = "KEYS_ONLY"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}
