resource "aws_iam_role" "this" {
  for_each = var.functions

  name        = "${var.name}-${each.key}"
  description = "What the function ${var.name}-${each.key} may do."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_290:traces and network interfaces have no ARNs to name
  #checkov:skip=CKV_AWS_355:traces and network interfaces have no ARNs to name
  for_each = var.functions

  name = "run"
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.this[each.key].arn}:log-stream:*"
        },
        {
          Sid      = "DeadLetters"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.dead[each.key].arn
        },
        {
          Sid      = "Key"
          Effect   = "Allow"
          Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource = var.kms_key_arn
        },
        {
          Sid      = "Traces"
          Effect   = "Allow"
          Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
          Resource = "*"
        },
      ],
      [for queue in compact([each.value.queue_arn]) : {
        Sid      = "Queue"
        Effect   = "Allow"
        Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        Resource = queue
      }],
      [for subnets in local.in_the_vpc ? [var.subnet_ids] : [] : {
        Sid      = "Network"
        Effect   = "Allow"
        Action   = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface"]
        Resource = "*"
      }],
    )
  })
}

resource "aws_iam_role_policy" "further" {
  for_each = { for key, function in var.functions : key => function.policy_json if function.policy_json != null }

  name   = "work"
  role   = aws_iam_role.this[each.key].id
  policy = each.value
}
