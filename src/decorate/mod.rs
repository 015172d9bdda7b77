//! Decorators for models and stages: retry, timeout, concurrency limit, cache.
