"""Every figure that llamacffi claims, measured: `python -m benchmarks` (README.md here)."""
