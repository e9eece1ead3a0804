"""One file per AWS service: the Protocol, the AWS version and the in-memory version, under the same contract tests."""
