"""Where measurements go: Prometheus, JSON, a page, MQTT, standard output."""
