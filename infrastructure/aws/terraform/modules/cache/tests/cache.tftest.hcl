mock_provider "aws" {}

variables {
  name                       = "caio-staging"
  environment                = "staging"
  vpc_id                     = "vpc-0123456789abcdef0"
  subnet_ids                 = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  allowed_security_group_ids = ["sg-0123456789abcdef0"]
  kms_key_arn                = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  auth_token                 = "0123456789abcdef0123456789abcdef"
}

run "encrypted_and_closed" {
  command = plan

  assert {
    condition = alltrue([
      aws_elasticache_replication_group.this.at_rest_encryption_enabled == "true", aws_elasticache_replication_group.this.transit_encryption_enabled,
      aws_elasticache_replication_group.this.transit_encryption_mode == "required", aws_elasticache_replication_group.this.auth_token_update_strategy == "ROTATE",
      aws_elasticache_replication_group.this.kms_key_id == var.kms_key_arn,
    ])
    error_message = "The cache is encrypted at rest, speaks TLS only, and asks for a token that can be rotated without a gap."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.service) == 1 && aws_vpc_security_group_ingress_rule.service[0].from_port == 6379
    error_message = "Only the service reaches the cache, on its port."
  }
}

run "nothing_is_evicted" {
  command = plan

  assert {
    condition     = { for each in aws_elasticache_parameter_group.this.parameter : each.name => each.value } == { maxmemory-policy = "noeviction" } && aws_elasticache_parameter_group.this.family == "valkey8"
    error_message = "An evicted limit is a limit that is not held."
  }
}

run "replicas_take_over" {
  command = plan

  variables {
    environment = "production"
    replicas    = 1
    multi_az    = true
  }

  assert {
    condition     = aws_elasticache_replication_group.this.automatic_failover_enabled && aws_elasticache_replication_group.this.multi_az_enabled && aws_elasticache_replication_group.this.num_cache_clusters == 2
    error_message = "A replica must take over by itself."
  }

  assert {
    condition     = output.node_ids == ["caio-staging-cache-001", "caio-staging-cache-002"]
    error_message = "CloudWatch knows the nodes by these names."
  }
}

run "one_node_cannot_fail_over" {
  command = plan

  assert {
    condition     = !aws_elasticache_replication_group.this.automatic_failover_enabled && !aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "ElastiCache refuses failover without a replica."
  }
}

run "logs_are_delivered_to_groups_that_exist" {
  command = plan

  assert {
    condition     = toset([for each in aws_elasticache_replication_group.this.log_delivery_configuration : each.destination]) == toset([for group in aws_cloudwatch_log_group.this : group.name])
    error_message = "The slow log and the engine log go to the module's own groups."
  }
}

run "refuses_one_node_in_production" {
  command = plan

  variables {
    environment = "production"
  }

  expect_failures = [var.replicas]
}

run "refuses_zones_without_a_replica" {
  command = plan

  variables {
    multi_az = true
  }

  expect_failures = [var.multi_az]
}
