"""The metrics of AI Configs, read from LaunchDarkly's REST API or from the dev server.

::

    client = MetricsClient(os.environ["LAUNCHDARKLY_ACCESS_TOKEN"], "my-project")
    metrics = client.metrics("support-bot", env="production", start=datetime.now(timezone.utc) - timedelta(days=7))
    print(metrics.generations, metrics.error_rate, metrics.total_cost)
"""

from __future__ import annotations

from ._client import MetricsClient, MetricsPoint
from ._http import HOSTS
from ._values import Metrics, VariationMetrics

__all__ = ["HOSTS", "Metrics", "MetricsClient", "MetricsPoint", "VariationMetrics"]
