# CloudFront before the load balancer: TLS and the way to AWS's network near the caller. Nothing is cached: answers are
# for one tenant. The provider's region is us-east-1, where CloudFront's certificates and logs live.

locals {
  tags = merge({ Component = "cdn" }, var.tags)

  # AWS's managed policies, by their documented ids: no caching; everything of the request goes to the origin.
  caching_disabled = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
  all_viewer       = "216adef6-5c7f-47e4-b989-5492eafa07d3"
  security_headers = "67f7725c-6f97-4210-82d7-5512b31e9d03"

  validation_options = var.certificate_arn == null ? aws_acm_certificate.this[0].domain_validation_options : []
  certificate_arn    = var.certificate_arn == null ? aws_acm_certificate_validation.this[0].certificate_arn : var.certificate_arn
}

resource "aws_acm_certificate" "this" {
  count = var.certificate_arn == null ? 1 : 0

  domain_name       = var.domain_name
  validation_method = "DNS"

  tags = merge(local.tags, { Name = var.domain_name })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = var.certificate_arn == null && var.zone_id != null ? toset([var.domain_name]) : []

  zone_id         = var.zone_id
  name            = one([for option in local.validation_options : option.resource_record_name if option.domain_name == each.key])
  type            = one([for option in local.validation_options : option.resource_record_type if option.domain_name == each.key])
  records         = [one([for option in local.validation_options : option.resource_record_value if option.domain_name == each.key])]
  ttl             = 60
  allow_overwrite = true # the same record also validates the load balancer's certificate for this name
}

resource "aws_acm_certificate_validation" "this" {
  count = var.certificate_arn == null ? 1 : 0

  certificate_arn         = aws_acm_certificate.this[0].arn
  validation_record_fqdns = var.zone_id != null ? [for record in aws_route53_record.validation : record.fqdn] : null

  timeouts {
    create = "60m"
  }
}

resource "aws_cloudfront_distribution" "this" {
  #checkov:skip=CKV_AWS_86:access logs are delivered to CloudWatch Logs below, the newer way, which needs no bucket with ACLs
  #checkov:skip=CKV_AWS_310:there is one origin, the load balancer, over several zones; a second region is a restore (docs)
  #checkov:skip=CKV_AWS_305:an API has no root object
  #checkov:skip=CKV_AWS_374:who may call is the tenants' business, not geography's
  #checkov:skip=CKV2_AWS_47:the web ACL has the rule set against Log4j; it is given by web_acl_arn
  #checkov:skip=CKV2_AWS_32:AWS's managed policy of security headers is attached, by its id
  enabled         = true
  comment         = var.name
  aliases         = [var.domain_name]
  http_version    = "http2and3"
  is_ipv6_enabled = true
  price_class     = var.price_class
  web_acl_id      = var.web_acl_arn

  origin {
    origin_id   = "alb"
    domain_name = var.origin_dns_name

    # The certificate is compared with the Host that is sent on: domain_name.
    custom_origin_config {
      http_port                = 80
      https_port               = 443
      origin_protocol_policy   = "https-only"
      origin_ssl_protocols     = ["TLSv1.2"]
      origin_read_timeout      = 60
      origin_keepalive_timeout = 60
    }
  }

  default_cache_behavior {
    target_origin_id           = "alb"
    viewer_protocol_policy     = "redirect-to-https"
    allowed_methods            = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods             = ["GET", "HEAD"]
    cache_policy_id            = local.caching_disabled
    origin_request_policy_id   = local.all_viewer
    response_headers_policy_id = local.security_headers
    compress                   = false # a compressed stream waits for its buffer
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = local.certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }

  tags = merge(local.tags, { Name = var.name })
}

resource "aws_route53_record" "alias" {
  for_each = var.zone_id == null ? [] : toset(["A", "AAAA"])

  zone_id = var.zone_id
  name    = var.domain_name
  type    = each.key

  alias {
    name                   = aws_cloudfront_distribution.this.domain_name
    zone_id                = aws_cloudfront_distribution.this.hosted_zone_id
    evaluate_target_health = false
  }
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_158:the environment's key is in another region than CloudFront's log
  #checkov:skip=CKV_AWS_338:how long is kept is the operator's choice (log_retention_days)
  name              = "/aws/vendedlogs/cloudfront/${var.name}"
  retention_in_days = var.log_retention_days

  tags = local.tags
}

resource "aws_cloudwatch_log_delivery_source" "access" {
  name         = "${var.name}-cdn"
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.this.arn

  tags = local.tags
}

resource "aws_cloudwatch_log_delivery_destination" "access" {
  name          = "${var.name}-cdn"
  output_format = "json"

  delivery_destination_configuration {
    destination_resource_arn = aws_cloudwatch_log_group.access.arn
  }

  tags = local.tags
}

resource "aws_cloudwatch_log_delivery" "access" {
  delivery_source_name     = aws_cloudwatch_log_delivery_source.access.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.access.arn

  tags = local.tags
}
