# Who reaches the database: the named security groups and the proxy, which is in the database's own group. It goes nowhere.

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached to the instance, to the cluster or to the proxy, whichever there is
  name        = local.identifier
  description = "PostgreSQL from the services that may, and between the proxy and the database."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = local.identifier })
}

resource "aws_vpc_security_group_ingress_rule" "service" {
  # Counted, not keyed: the groups are often made in the same apply, and their ids are not known before.
  count = length(var.allowed_security_group_ids)

  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = var.allowed_security_group_ids[count.index]
  description                  = "PostgreSQL from a service that may."
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "proxy" {
  count = var.proxy ? 1 : 0

  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = aws_security_group.this.id
  description                  = "PostgreSQL from the proxy."
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "proxy" {
  count = var.proxy ? 1 : 0

  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = aws_security_group.this.id
  description                  = "PostgreSQL from the proxy."
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}

# The proxy logs in to the database with what callers log in with: it must be able to read both logins.
resource "aws_db_proxy" "this" {
  count = var.proxy ? 1 : 0

  name                   = "${local.identifier}-proxy"
  engine_family          = "POSTGRESQL"
  role_arn               = aws_iam_role.proxy[0].arn
  require_tls            = true
  idle_client_timeout    = 1800
  debug_logging          = false
  vpc_subnet_ids         = var.subnet_ids
  vpc_security_group_ids = [aws_security_group.this.id]
  tags                   = local.tags

  auth {
    description = "The application's login."
    auth_scheme = "SECRETS"
    iam_auth    = "DISABLED"
    secret_arn  = var.credentials_secret_arn
  }

  auth {
    description = "The master login, for migrations."
    auth_scheme = "SECRETS"
    iam_auth    = "DISABLED"
    secret_arn  = local.master_secret_arn
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.proxy]
}

resource "aws_db_proxy_default_target_group" "this" {
  count = var.proxy ? 1 : 0

  db_proxy_name = aws_db_proxy.this[0].name

  connection_pool_config {
    # What is left is for migrations and for people, past the proxy.
    max_connections_percent      = 90
    max_idle_connections_percent = 50
    connection_borrow_timeout    = 10
  }
}

resource "aws_db_proxy_target" "this" {
  count = var.proxy ? 1 : 0

  db_proxy_name          = aws_db_proxy.this[0].name
  target_group_name      = aws_db_proxy_default_target_group.this[0].name
  db_instance_identifier = local.aurora ? null : aws_db_instance.this[0].identifier
  db_cluster_identifier  = local.aurora ? aws_rds_cluster.this[0].id : null

  depends_on = [aws_rds_cluster_instance.this]
}

resource "aws_iam_role" "proxy" {
  count = var.proxy ? 1 : 0

  name        = "${local.identifier}-proxy"
  description = "Lets RDS Proxy read the two logins."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "proxy" {
  count = var.proxy ? 1 : 0

  name = "read-logins"
  role = aws_iam_role.proxy[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = [var.credentials_secret_arn, local.master_secret_arn]
      },
      {
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.kms_key_arn
        Condition = { StringLike = { "kms:ViaService" = "secretsmanager.*.amazonaws.com" } }
      },
    ]
  })
}
