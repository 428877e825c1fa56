"""Schedules: when pipelines are executed by themselves, each tick once however many schedulers are alive."""
