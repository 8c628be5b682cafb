mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  name                       = "caio-staging"
  environment                = "staging"
  vpc_id                     = "vpc-0123456789abcdef0"
  subnet_ids                 = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  allowed_security_group_ids = ["sg-0123456789abcdef0"]
  kms_key_arn                = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "safe_by_default" {
  command = plan

  assert {
    condition = alltrue([
      aws_db_instance.this[0].storage_encrypted, !aws_db_instance.this[0].publicly_accessible, aws_db_instance.this[0].multi_az,
      aws_db_instance.this[0].deletion_protection, !aws_db_instance.this[0].skip_final_snapshot, aws_db_instance.this[0].auto_minor_version_upgrade,
      aws_db_instance.this[0].performance_insights_enabled, aws_db_instance.this[0].storage_type == "gp3", aws_db_instance.this[0].db_name == "caio",
    ])
    error_message = "A database is private, encrypted, protected and spans zones unless something else is asked for."
  }

  assert {
    condition     = aws_db_instance.this[0].backup_window == "03:00-04:00" && aws_db_instance.this[0].maintenance_window == "sun:04:00-sun:05:00" && aws_db_instance.this[0].backup_retention_period == 7
    error_message = "Backups are at 03:00, maintenance after them, and seven days are kept."
  }

  assert {
    condition     = aws_db_instance.this[0].manage_master_user_password && aws_db_instance.this[0].password == null
    error_message = "The master's password belongs to RDS: a password here would be in the state, and the secret would depend on the database that depends on it."
  }

  assert {
    condition     = aws_db_instance.this[0].max_allocated_storage == 500
    error_message = "Storage grows by itself."
  }
}

run "tls_is_forced" {
  command = plan

  assert {
    condition     = { for each in aws_db_parameter_group.this[0].parameter : each.name => each.value }["rds.force_ssl"] == "1"
    error_message = "The server must refuse connections without TLS."
  }

  assert {
    condition     = { for each in aws_db_parameter_group.this[0].parameter : each.name => each.value }["log_statement"] == "none" && { for each in aws_db_parameter_group.this[0].parameter : each.name => each.value }["log_parameter_max_length"] == "0"
    error_message = "Neither passwords in DDL nor bound parameters may be logged."
  }
}

run "logs_have_their_groups" {
  command = plan

  assert {
    condition = alltrue([
      for log in aws_db_instance.this[0].enabled_cloudwatch_logs_exports :
      aws_cloudwatch_log_group.this["/aws/rds/instance/caio-staging-db/${log}"].kms_key_id == var.kms_key_arn
    ])
    error_message = "Each log that is exported needs an encrypted group that exists before."
  }
}

run "the_alarm_knows_the_limit" {
  command = plan

  assert {
    condition     = { for each in aws_db_parameter_group.this[0].parameter : each.name => each.value }["max_connections"] == tostring(output.max_connections) && output.max_connections == 300
    error_message = "What the alarm is held to is what the server is set to."
  }
}

run "only_the_service_reaches_it" {
  command = plan

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.service) == 1 && aws_vpc_security_group_ingress_rule.service[0].referenced_security_group_id == "sg-0123456789abcdef0" && aws_vpc_security_group_ingress_rule.service[0].from_port == 5432
    error_message = "One rule, from the service's group, on PostgreSQL's port."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.proxy) == 0
    error_message = "The database goes nowhere."
  }
}

run "aurora_instead" {
  command = plan

  variables {
    engine  = "aurora-postgresql"
    replica = true
  }

  assert {
    condition     = length(aws_db_instance.this) == 0 && length(aws_rds_cluster_instance.this) == 3 && aws_rds_cluster.this[0].storage_encrypted && aws_rds_cluster.this[0].manage_master_user_password
    error_message = "Aurora: a writer, one to take over, one that reads, encrypted, with a master login of RDS's own."
  }

  assert {
    condition     = { for each in aws_rds_cluster_parameter_group.this[0].parameter : each.name => each.value }["rds.force_ssl"] == "1" && aws_rds_cluster_parameter_group.this[0].family == "aurora-postgresql18"
    error_message = "Aurora must refuse connections without TLS too."
  }
}

run "proxy" {
  command = plan

  variables {
    proxy                  = true
    credentials_secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:caio-staging-db-credentials-AbCdEf"
  }

  assert {
    condition     = aws_db_proxy.this[0].require_tls && length(aws_vpc_security_group_ingress_rule.proxy) == 1 && length(aws_vpc_security_group_egress_rule.proxy) == 1
    error_message = "The proxy speaks TLS only, and reaches the database and nothing else."
  }
}

run "refuses_a_proxy_without_login" {
  command = plan

  variables {
    proxy = true
  }

  expect_failures = [var.proxy]
}

run "refuses_no_backups" {
  command = plan

  variables {
    backup_retention_days = 0
  }

  expect_failures = [var.backup_retention_days]
}

run "refuses_short_retention_in_production" {
  command = plan

  variables {
    environment = "production"
  }

  expect_failures = [var.backup_retention_days]
}

run "refuses_a_replica_of_rds" {
  command = plan

  variables {
    replica = true
  }

  expect_failures = [var.replica]
}

run "refuses_an_old_version" {
  command = plan

  variables {
    engine_version = "13"
  }

  expect_failures = [var.engine_version]
}

run "refuses_aurora_on_a_small_class" {
  command = plan

  variables {
    engine         = "aurora-postgresql"
    instance_class = "db.t3.small"
  }

  expect_failures = [var.instance_class]
}
