# Questions that are asked of the logs again and again, ready in Logs Insights.

locals {
  queries = {
    failed-requests = <<-EOT
      fields @timestamp, request_id, tenant_id, method, path, status, duration_ms
      | filter event = "request" and status >= 500
      | sort @timestamp desc
      | limit 100
    EOT
    slow-requests   = <<-EOT
      filter event = "request"
      | stats count() as requests, pct(duration_ms, 50) as p50, pct(duration_ms, 95) as p95, pct(duration_ms, 99) as p99 by path
      | sort p95 desc
      | limit 50
    EOT
    refusals        = <<-EOT
      filter event = "request" and status in [401, 403, 429]
      | stats count() as refused by tenant_id, status, bin(5m)
      | sort refused desc
      | limit 100
    EOT
    one-request     = <<-EOT
      fields @timestamp, level, event, path, status, decision_id, trace_id
      | filter request_id = "put the id here"
      | sort @timestamp asc
    EOT
    problems        = <<-EOT
      fields @timestamp, level, event, loop, code, @message
      | filter level in ["error", "critical"]
      | sort @timestamp desc
      | limit 100
    EOT
  }
}

resource "aws_cloudwatch_query_definition" "this" {
  for_each = length(var.log_group_names) > 0 ? local.queries : {}

  name            = "${var.name}/${each.key}"
  log_group_names = var.log_group_names
  query_string    = each.value
}
