"""What runs on the host: driver, memory, data, launches, plan."""
