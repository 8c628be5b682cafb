mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
}

variables {
  name          = "caio-production"
  environment   = "production"
  domain_prefix = "caio-production-123456789012"
  callback_urls = ["https://caio.example.com/signed-in"]
  logout_urls   = ["https://caio.example.com/"]
}

run "passwords_are_long_and_a_second_factor_is_asked" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.this.password_policy[0].minimum_length >= 12 && aws_cognito_user_pool.this.password_policy[0].require_symbols && aws_cognito_user_pool.this.password_policy[0].temporary_password_validity_days == 3
    error_message = "Twelve characters of four classes; a temporary password lives three days."
  }
  assert {
    condition     = aws_cognito_user_pool.this.mfa_configuration == "ON" && aws_cognito_user_pool.this.deletion_protection == "ACTIVE"
    error_message = "Production asks for a second factor and keeps its people."
  }
}

run "the_client_has_no_secret_and_codes_only" {
  command = plan

  assert {
    condition     = !aws_cognito_user_pool_client.this.generate_secret && aws_cognito_user_pool_client.this.allowed_oauth_flows == toset(["code"])
    error_message = "Authorization code with PKCE; no implicit flow, no secret."
  }
}

run "threat_protection_is_of_the_plan_plus" {
  command = plan

  variables {
    threat_protection = true
  }
  assert {
    condition     = aws_cognito_user_pool.this.user_pool_tier == "PLUS" && aws_cognito_user_pool.this.user_pool_add_ons[0].advanced_security_mode == "ENFORCED"
    error_message = "Threat protection on another plan is refused by Cognito."
  }
}

run "production_without_a_second_factor_is_refused" {
  command = plan

  variables {
    mfa = "OPTIONAL"
  }
  expect_failures = [var.mfa]
}

run "a_return_to_plain_http_is_refused" {
  command = plan

  variables {
    callback_urls = ["http://caio.example.com/"]
  }
  expect_failures = [var.callback_urls]
}
