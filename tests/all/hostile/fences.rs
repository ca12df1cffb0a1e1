//! Native functions that leave processes behind, or attack their supervisor.
