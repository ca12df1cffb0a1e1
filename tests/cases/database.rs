//! The database and the terminal go away; read-only databases.
