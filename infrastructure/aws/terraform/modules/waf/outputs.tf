output "web_acl_arn" {
  description = "ARN of the web ACL: associate a load balancer with it, or name it in a distribution."
  value       = aws_wafv2_web_acl.this.arn

  # What is protected is also logged.
  depends_on = [aws_wafv2_web_acl_logging_configuration.this]
}

output "log_group_name" {
  description = "Where blocked and counted requests are logged."
  value       = aws_cloudwatch_log_group.this.name
}
