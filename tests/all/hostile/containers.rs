//! Functions in containers, and engines that answer badly.
