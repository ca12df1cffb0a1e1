//! Compiled code, images and databases that are kept: whose they are, whether they heal.
