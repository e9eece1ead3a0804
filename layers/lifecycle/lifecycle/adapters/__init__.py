"""Floor 3: ports. Each module holds a Protocol, its AWS or HTTP adapter, and an in-memory one."""
