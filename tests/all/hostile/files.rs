//! Folders and files of others: links, pipes, devices, limits.
