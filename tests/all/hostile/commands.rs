//! Runtimes and workers that end badly, or never.
