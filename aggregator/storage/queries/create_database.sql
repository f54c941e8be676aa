CREATE DATABASE IF NOT EXISTS {database:Identifier} @on_cluster
