output "primary_endpoint" {
  description = "The host that always is the primary, also after a failover."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "port" {
  description = "The port. Only TLS is spoken there."
  value       = local.port
}

output "replication_group_id" {
  description = "The replication group's id."
  value       = aws_elasticache_replication_group.this.id
}

output "node_ids" {
  description = "The nodes' ids, as CloudWatch's dimension CacheClusterId has them."
  value       = local.node_ids
}

output "security_group_id" {
  description = "The cache's security group."
  value       = aws_security_group.this.id
}

output "resource_arn" {
  description = "The replication group's ARN."
  value       = aws_elasticache_replication_group.this.arn
}
