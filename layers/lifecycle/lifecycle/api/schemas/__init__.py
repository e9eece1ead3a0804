"""One model per HTTP answer: the functions answer with it, the CLI reads it, and docs/openapi.json describes it.

The models are ``TypedDict``s. A function fills in a plain dictionary that mypy has checked, so no pydantic model is
built at a cold start (1.6 ms each, see ADR 0034). A client validates an answer with pydantic's ``TypeAdapter``.
"""
