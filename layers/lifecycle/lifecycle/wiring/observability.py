"""One Logger, one Metrics. No event is ever logged: payloads hold login-free links and names."""

from aws_lambda_powertools import Logger, Metrics

from lifecycle.adapters.signals import PowertoolsSignals

logger = Logger()
metrics = Metrics()
signals = PowertoolsSignals(logger, metrics)
