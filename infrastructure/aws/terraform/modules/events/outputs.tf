output "bus_name" {
  description = "The bus's name (CAIO_EVENT_BUS)."
  value       = aws_cloudwatch_event_bus.this.name
}

output "bus_arn" {
  description = "The bus's ARN."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "queue_arns" {
  description = "The queues' ARNs by name."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.arn }
}

output "queue_names" {
  description = "The queues' names by name, as CloudWatch's dimension QueueName has them."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.name }
}

output "dlq_names" {
  description = "The dead-letter queues' names by name; `undelivered` has what EventBridge itself could not deliver."
  value       = { for key, queue in aws_sqs_queue.dead : key => queue.name }
}

output "dlq_arns" {
  description = "The dead-letter queues' ARNs by name."
  value       = { for key, queue in aws_sqs_queue.dead : key => queue.arn }
}

output "archive_arn" {
  description = "The archive to replay from."
  value       = aws_cloudwatch_event_archive.this.arn
}
