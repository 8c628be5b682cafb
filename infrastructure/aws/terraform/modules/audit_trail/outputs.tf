output "trail_arn" {
  description = "The trail's ARN; null without one."
  value       = one(aws_cloudtrail.this[*].arn)
}
