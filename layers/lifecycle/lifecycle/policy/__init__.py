"""The clean-up policy: its file, its conditions and the decision about one resource. All pure."""
