mock_provider "aws" {
  mock_resource "aws_acm_certificate" {
    defaults = { arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000" }
  }
}

variables {
  name            = "caio-dev"
  environment     = "dev"
  domain_name     = "caio.example.com"
  zone_id         = "Z0123456789ABCDEFGHIJ"
  origin_dns_name = "caio-dev-alb-1.us-east-1.elb.amazonaws.com"
}

run "nothing_is_cached_and_everything_is_encrypted" {
  command = plan

  assert {
    condition     = aws_cloudfront_distribution.this.default_cache_behavior[0].cache_policy_id == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    error_message = "Answers are for one tenant."
  }
  assert {
    condition     = aws_cloudfront_distribution.this.viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021" && one(aws_cloudfront_distribution.this.origin).custom_origin_config[0].origin_protocol_policy == "https-only"
    error_message = "TLS on both sides."
  }
  assert {
    condition     = length(aws_route53_record.alias) == 2 && length(aws_acm_certificate_validation.this) == 1
    error_message = "The name points here, and the certificate is validated."
  }
}

run "a_certificate_of_another_region_is_refused" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  }
  expect_failures = [var.certificate_arn]
}
