"""For maintainers: experiments, benchmarks and attacks; not in the wheel."""
