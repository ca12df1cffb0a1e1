//! Profiles as anyone may write them.
