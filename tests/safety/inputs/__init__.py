"""Fuzzing of what files and texts bring in, guided by coverage: programs for libFuzzer, their driver and corpus."""
