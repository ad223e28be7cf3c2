"""How a system is computed: schedule, buffers, generated source; it sees no data, and no text but its own."""
