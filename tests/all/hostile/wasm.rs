//! WebAssembly that wants more memory or time than it may have.
