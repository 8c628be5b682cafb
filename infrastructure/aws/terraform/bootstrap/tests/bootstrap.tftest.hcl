mock_provider "aws" {
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::caio-terraform-state-123456789012" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/caio-deploy-boundary" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  owner_email       = "platform@example.com"
  github_repository = "example/caio"
}

run "states_are_versioned_encrypted_and_closed" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "caio-terraform-state-123456789012"
    error_message = "The bucket carries the account's id."
  }
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    error_message = "Old states can be put back, and nobody outside reads one."
  }
}

run "each_role_is_bounded_and_trusts_one_environment" {
  command = plan

  assert {
    condition     = alltrue([for role in aws_iam_role.deploy : role.permissions_boundary != null]) && toset(keys(aws_iam_role.deploy)) == toset(["dev", "staging", "production"])
    error_message = "A deploy role never goes beyond its boundary."
  }
  assert {
    condition = toset(flatten([for condition in data.aws_iam_policy_document.deploy_assume["production"].statement[0].condition : condition.values])) == toset([
      "sts.amazonaws.com", "repo:example/caio:environment:production"
    ])
    error_message = "Only a job of GitHub's environment production takes the role."
  }
}

# Otherwise whoever deploys makes a role, gives it everything, and takes it.
run "no_role_is_made_without_its_boundary" {
  command = plan

  assert {
    condition = alltrue([for environment, document in data.aws_iam_policy_document.boundary : anytrue([
      for each in document.statement : each.effect == "Deny" && try(contains(each.resources, "*"), false) && length(each.condition) == 1
      && length(setsubtract(["iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"], each.actions)) == 0
      && alltrue([
        for condition in each.condition : condition.test == "StringNotEquals" && condition.variable == "iam:PermissionsBoundary"
        && condition.values == tolist(["arn:aws:iam::123456789012:policy/${aws_iam_policy.boundary[environment].name}"])
      ])
    ])])
    error_message = "What makes a role, or gives it something, is denied unless the role has the boundary of its environment."
  }
  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.boundary : anytrue([
      for each in document.statement : each.effect == "Deny" && contains(each.actions, "iam:DeleteRolePermissionsBoundary") && length(each.condition) == 0
    ])])
    error_message = "A boundary that can be taken away is none."
  }
  assert {
    condition = alltrue([for environment, document in data.aws_iam_policy_document.boundary : alltrue([
      for action in ["iam:PassRole", "sts:AssumeRole"] : anytrue([
        for each in document.statement : each.effect == "Deny" && contains(each.actions, action)
        && try(alltrue([for resource in each.not_resources : startswith(resource, "arn:aws:iam::123456789012:role/caio-${environment}-") || startswith(resource, "arn:aws:iam::123456789012:role/aws-service-role/")]), false)
      ])
    ])])
    error_message = "Roles of others are neither taken nor lent to a service."
  }
}

run "without_a_repository_there_are_no_roles" {
  command = plan

  variables {
    github_repository = null
  }
  assert {
    condition     = length(aws_iam_role.deploy) == 0 && length(aws_iam_openid_connect_provider.github) == 0
    error_message = "Nobody is trusted whom you did not name."
  }
}

run "a_wildcard_for_a_repository_is_refused" {
  command = plan

  variables {
    github_repository = "example/*"
  }
  expect_failures = [var.github_repository]
}
