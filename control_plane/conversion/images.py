"""Knows images of servers that are no part of a backend's own code. Pure."""

from __future__ import annotations

from control_plane.conversion.references import filled_by_default

REDIS = frozenset({"redis", "valkey", "redis-stack", "redis-stack-server", "keydb", "dragonfly"})
SERVERS = REDIS | frozenset({
    "adminer", "alertmanager", "all-in-one", "apache2", "azurite", "caddy", "cassandra", "chroma",
    "chromadb", "clickhouse", "clickhouse-server", "cockroach", "consul", "cp-kafka",
    "cp-schema-registry", "cp-zookeeper", "couchdb", "dex", "elasticsearch", "etcd", "grafana",
    "haproxy", "httpd", "influxdb", "jaeger", "kafka", "keycloak", "kibana", "localstack", "loki",
    "maildev", "mailhog", "mailpit", "mariadb", "meilisearch", "memcached", "milvus", "minio",
    "mongo", "mongo-express", "mssql-server", "mysql", "nats", "neo4j", "nginx", "opensearch",
    "otel-collector", "opentelemetry-collector", "pgadmin4", "pgbouncer", "pgvector", "phpmyadmin",
    "postgis", "postgres", "postgresql", "prometheus", "pulsar", "qdrant", "rabbitmq",
    "redis-commander", "redisinsight", "redpanda", "schema-registry", "sentry", "surrealdb",
    "swagger-ui", "tempo", "timescaledb", "traefik", "typesense", "unleash-server", "vault",
    "weaviate", "zipkin", "zookeeper",
})  # fmt: skip


def base_name(image: str) -> str:
    """Return the last part of an image's name, without tag and digest."""
    return filled_by_default(image).partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
