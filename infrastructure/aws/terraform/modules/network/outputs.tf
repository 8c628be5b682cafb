output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "vpc_cidr" {
  description = "Address range of the VPC."
  value       = aws_vpc.this.cidr_block
}

output "public_subnet_ids" {
  description = "Ids of the public subnets, in the order of the availability zones."
  value       = aws_subnet.public[*].id
}

output "private_subnet_ids" {
  description = "Ids of the private subnets, in the order of the availability zones."
  value       = aws_subnet.private[*].id
}

output "public_subnet_cidrs" {
  description = "Ranges of the public subnets: where the load balancer speaks from."
  value       = var.public_subnet_cidrs
}

output "private_route_table_ids" {
  description = "Ids of the private subnets' route tables."
  value       = aws_route_table.private[*].id
}

output "endpoints_security_group_id" {
  description = "Id of the group of the interface endpoints."
  value       = aws_security_group.endpoints.id
}
