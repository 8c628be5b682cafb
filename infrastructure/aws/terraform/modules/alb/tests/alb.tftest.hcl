mock_provider "aws" {
  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/caio-dev-alb/0123456789abcdef" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/caio-dev-tg/0123456789abcdef" }
  }
}

variables {
  name              = "caio-dev"
  environment       = "dev"
  vpc_id            = "vpc-0123456789abcdef0"
  public_subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  domain_name       = "caio.example.com"
  zone_id           = "Z0123456789ABCDEFGHIJ"
  logs_bucket       = "caio-dev-logs"
}

run "https_for_callers_and_http_only_to_redirect" {
  command = plan

  assert {
    condition     = aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06" && aws_lb_listener.https[0].port == 443
    error_message = "443 speaks TLS 1.2 and 1.3 only."
  }
  assert {
    condition     = aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "80 redirects."
  }
  assert {
    condition     = toset([for rule in concat(values(aws_vpc_security_group_ingress_rule.http), values(aws_vpc_security_group_ingress_rule.https)) : rule.from_port]) == toset([80, 443])
    error_message = "A listener on 80 needs a way in on 80, too."
  }
  assert {
    condition     = aws_lb.this.idle_timeout == 300 && aws_lb.this.access_logs[0].enabled
    error_message = "Streams may pause for 300 s; every request is logged."
  }
}

run "readiness_decides_who_gets_requests" {
  command = plan

  assert {
    condition     = aws_lb_target_group.api["tg"].health_check[0].path == "/health/ready" && aws_lb_target_group.api["tg"].health_check[0].matcher == "200"
    error_message = "Targets are asked for readiness, and only 200 counts."
  }
  assert {
    condition     = !aws_lb_target_group.api["tg"].stickiness[0].enabled
    error_message = "Stickiness is off by default."
  }
}

run "the_certificate_is_validated" {
  command = plan

  assert {
    condition     = length(aws_acm_certificate_validation.this) == 1 && length(aws_route53_record.validation) == 1 && length(aws_route53_record.alias) == 1
    error_message = "In a zone of Route 53 the certificate is validated and the name made."
  }
}

run "outside_route_53_the_apply_waits_for_your_records" {
  command = plan

  variables {
    zone_id = null
  }
  assert {
    condition     = length(aws_acm_certificate_validation.this) == 1 && length(aws_route53_record.validation) == 0 && length(aws_route53_record.alias) == 0
    error_message = "The listener still waits for the certificate to be issued."
  }
}

run "a_certificate_of_yours_is_taken_as_it_is" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-1111-1111-1111-111111111111"
  }
  assert {
    condition     = length(aws_acm_certificate.this) == 0 && aws_lb_listener.https[0].certificate_arn == var.certificate_arn
    error_message = "No second certificate is made."
  }
}

run "blue_green_has_two_groups_and_a_test_listener" {
  command = plan

  variables {
    blue_green = true
    agents     = true
  }
  assert {
    condition     = length(aws_lb_target_group.api) == 2 && length(aws_lb_listener.test) == 1 && length(aws_lb_listener.https) == 0
    error_message = "CodeDeploy's listener takes the place of Terraform's."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.test) == 0
    error_message = "Nobody reaches the test listener by default."
  }
}

run "an_old_tls_policy_is_refused" {
  command = plan

  variables {
    tls_policy = "ELBSecurityPolicy-2016-08"
  }
  expect_failures = [var.tls_policy]
}

run "a_delay_shorter_than_the_drain_is_refused" {
  command = plan

  variables {
    deregistration_delay_seconds = 20
  }
  expect_failures = [var.deregistration_delay_seconds]
}
