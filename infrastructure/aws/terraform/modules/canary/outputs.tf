output "canary_name" {
  description = "The canary's name, as CloudWatch's dimension CanaryName has it."
  value       = aws_synthetics_canary.this.name
}

output "canary_arn" {
  description = "The canary's ARN."
  value       = aws_synthetics_canary.this.arn
}
