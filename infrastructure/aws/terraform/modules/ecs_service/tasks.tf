# Task definitions. A new image makes new revisions; the old ones stay, so that a rollback finds them.

resource "aws_ecs_task_definition" "serving" {
  for_each = {
    api    = { container = local.api_container, size = var.sizes.api }
    worker = { container = local.worker_container, size = var.sizes.worker }
  }

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  execution_role_arn       = aws_iam_role.execution["execution"].arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(concat([each.value.container], local.collectors))
  skip_destroy             = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  dynamic "volume" {
    for_each = local.volumes

    content {
      name = volume.key
    }
  }

  tags = merge(local.tags, { Purpose = each.key })
}

resource "aws_ecs_task_definition" "migration" {
  family                   = "${var.name}-migration"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes.worker.cpu
  memory                   = var.sizes.worker.memory
  execution_role_arn       = aws_iam_role.execution["migration-execution"].arn
  task_role_arn            = aws_iam_role.migration.arn
  container_definitions    = jsonencode([local.migration_container])
  skip_destroy             = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  dynamic "volume" {
    for_each = local.data_volumes

    content {
      name = volume.key
    }
  }

  tags = merge(local.tags, { Purpose = "migration" })
}
