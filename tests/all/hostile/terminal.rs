//! Text of others on its way to a terminal, a table or a report.
