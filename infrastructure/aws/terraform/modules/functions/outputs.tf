output "function_arns" {
  description = "The functions' ARNs by name."
  value       = { for key, function in aws_lambda_function.this : key => function.arn }
}

output "function_names" {
  description = "The functions' names by name, as CloudWatch's dimension FunctionName has them."
  value       = { for key, function in aws_lambda_function.this : key => function.function_name }
}

output "dlq_names" {
  description = "The names of the queues that failed asynchronous calls end in, by function."
  value       = { for key, queue in aws_sqs_queue.dead : key => queue.name }
}

output "log_group_names" {
  description = "The functions' log groups by name."
  value       = { for key, group in aws_cloudwatch_log_group.this : key => group.name }
}
