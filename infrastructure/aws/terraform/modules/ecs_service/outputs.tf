output "cluster_name" {
  description = "Name of the cluster."
  value       = local.cluster_name
}

output "cluster_arn" {
  description = "ARN of the cluster."
  value       = aws_ecs_cluster.this.arn
}

output "service_name" {
  description = "Name of the API's service."
  value       = local.service_name
}

output "worker_service_name" {
  description = "Name of the worker's service. Its network is the migration's, too."
  value       = local.worker_service_name
}

output "migration_task_definition_arn" {
  description = "Task definition of `caio db upgrade`, to be run before the services take a new image."
  value       = aws_ecs_task_definition.migration.arn
}

output "security_group_id" {
  description = "Group of the API's tasks."
  value       = aws_security_group.api.id
}

output "worker_security_group_id" {
  description = "Group of the worker's and the migration's tasks."
  value       = aws_security_group.worker.id
}

output "task_role_arn" {
  description = "Role that the API and the worker run with."
  value       = aws_iam_role.task.arn
}

output "execution_role_arn" {
  description = "Role that starts the API and the worker and reads their secrets."
  value       = aws_iam_role.execution["execution"].arn
}

output "migration_execution_role_arn" {
  description = "Role that starts the migration and alone reads the database's administrator."
  value       = aws_iam_role.execution["migration-execution"].arn
}

output "log_group_names" {
  description = "Log groups by container: api, worker, migration, and where switched on collector and exec."
  value       = local.log_groups
}

output "codedeploy_application" {
  description = "CodeDeploy's application, and its deployment group's name; null without blue_green."
  value       = one(aws_codedeploy_app.this[*].name)
}
