# The listener takes the certificate from its validation, so that it never gets one that is not issued. In a
# Route 53 zone the records are made here; elsewhere the apply waits until you have entered them.

resource "aws_acm_certificate" "this" {
  count = var.certificate_arn == null ? 1 : 0

  domain_name       = var.domain_name
  validation_method = "DNS"

  tags = merge(local.tags, { Name = var.domain_name })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  validation_options = var.certificate_arn == null ? aws_acm_certificate.this[0].domain_validation_options : []
  certificate_arn    = var.certificate_arn == null ? aws_acm_certificate_validation.this[0].certificate_arn : var.certificate_arn
}

resource "aws_route53_record" "validation" {
  for_each = var.certificate_arn == null && var.zone_id != null ? toset([var.domain_name]) : []

  zone_id         = var.zone_id
  name            = one([for option in local.validation_options : option.resource_record_name if option.domain_name == each.key])
  type            = one([for option in local.validation_options : option.resource_record_type if option.domain_name == each.key])
  records         = [one([for option in local.validation_options : option.resource_record_value if option.domain_name == each.key])]
  ttl             = 60
  allow_overwrite = true # the same record also validates CloudFront's certificate for this name
}

resource "aws_acm_certificate_validation" "this" {
  count = var.certificate_arn == null ? 1 : 0

  certificate_arn         = aws_acm_certificate.this[0].arn
  validation_record_fqdns = var.zone_id != null ? [for record in aws_route53_record.validation : record.fqdn] : null

  timeouts {
    create = "60m"
  }
}
