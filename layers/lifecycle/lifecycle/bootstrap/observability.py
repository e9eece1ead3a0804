"""One Logger, one Metrics. No event is ever logged: payloads hold login-free links and names."""

import warnings

from aws_lambda_powertools import Logger, Metrics

from lifecycle.aws.metrics import PowertoolsMetrics

logger = Logger()
emf = Metrics()
metrics = PowertoolsMetrics(logger, emf)

# Many invocations count nothing, for example one for an event that no source wants.
warnings.filterwarnings("ignore", message="No application metrics to publish")
