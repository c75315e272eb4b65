"""What the bot tells Prometheus."""

from prometheus_client.parser import text_string_to_metric_families


def samples(metrics: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Labels and values by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found
