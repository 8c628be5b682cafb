# Every bucket refuses what does not come by TLS. The logs bucket lets three services write, each below its own prefix and for
# this account only; the audit bucket refuses everything that would weaken its lock.

locals {
  # Regions from before August 2022 deliver load balancer logs from an account of AWS, later ones from a service. These are
  # the older ones, which become no more; in others there is no account to look up.
  older_regions = [
    "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1",
    "ap-southeast-2", "ap-southeast-3", "ca-central-1", "cn-north-1", "cn-northwest-1", "eu-central-1", "eu-north-1",
    "eu-south-1", "eu-west-1", "eu-west-2", "eu-west-3", "me-south-1", "sa-east-1", "us-east-1", "us-east-2",
    "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
  ]
}

data "aws_elb_service_account" "current" {
  count = contains(local.older_regions, local.region) ? 1 : 0
}

locals {
  load_balancer_log_objects = "${aws_s3_bucket.this["logs"].arn}/alb/AWSLogs/${local.account}/*"
  trail                     = "arn:${local.partition}:cloudtrail:${local.region}:${local.account}:trail/${var.name}-trail"

  log_statements = concat(
    [for account in data.aws_elb_service_account.current[*].arn : {
      Sid       = "LoadBalancerLogs"
      Effect    = "Allow"
      Principal = { AWS = account }
      Action    = "s3:PutObject"
      Resource  = local.load_balancer_log_objects
    }],
    local.delivered_by_services,
  )

  delivered_by_services = [
    {
      Sid       = "LoadBalancerLogsByService"
      Effect    = "Allow"
      Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = local.load_balancer_log_objects
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:loadbalancer/*" }
      }
    },
    {
      Sid       = "AccessLogs"
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.this["logs"].arn}/s3/*"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:s3:::${var.name}-*" }
      }
    },
    {
      Sid       = "TrailLooks"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "s3:GetBucketAcl"
      Resource  = aws_s3_bucket.this["logs"].arn
      Condition = { StringEquals = { "aws:SourceArn" = local.trail } }
    },
    {
      Sid       = "TrailWrites"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.this["logs"].arn}/cloudtrail/AWSLogs/${local.account}/*"
      Condition = { StringEquals = { "aws:SourceArn" = local.trail } }
    },
  ]

  audit_statements = [
    {
      # Neither a lifted governance lock nor a changed default: whoever must, changes this policy first, which is on record.
      Sid       = "LockStays"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:BypassGovernanceRetention", "s3:DeleteBucket"]
      Resource  = [aws_s3_bucket.this["audit"].arn, "${aws_s3_bucket.this["audit"].arn}/*"]
    },
  ]

  further_statements = { artifacts = [], backups = [], logs = local.log_statements, audit = local.audit_statements }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [each.value.arn, "${each.value.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      local.further_statements[each.key],
    )
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
