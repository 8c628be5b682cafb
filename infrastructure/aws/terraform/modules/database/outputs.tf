output "endpoint" {
  description = "The host that the application connects to: the proxy's where there is one."
  value       = var.proxy ? aws_db_proxy.this[0].endpoint : local.writer_host
  sensitive   = true
}

output "writer_endpoint" {
  description = "The database's own host, past the proxy: for migrations."
  value       = local.writer_host
  sensitive   = true
}

output "reader_endpoint" {
  description = "The host that reads can go to; null where there is none but the writer."
  value       = local.reader_host
  sensitive   = true
}

output "port" {
  description = "The port."
  value       = local.port
}


output "name" {
  description = "The database on the server."
  value       = local.database_name
}

output "master_secret_arn" {
  description = "The secret with the master login ({username, password}), made, rotated and owned by RDS: for migrations only."
  value       = local.master_secret_arn
}

output "instance_identifier" {
  description = "What CloudWatch knows the database by: DBInstanceIdentifier, with Aurora DBClusterIdentifier."
  value       = local.instance_identifier
}

output "max_connections" {
  description = "The max_connections that the database is set to."
  value       = local.max_connections
}

output "security_group_id" {
  description = "The database's security group."
  value       = aws_security_group.this.id
}

output "resource_arn" {
  description = "The instance's or the cluster's ARN, for backups."
  value       = local.resource_arn
}
