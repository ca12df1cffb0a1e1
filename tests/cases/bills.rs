//! Every requested model has a bill or a refusal.
