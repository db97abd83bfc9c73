//! The pipeline and the command that people type.
