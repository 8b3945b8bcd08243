//! Machines in memory, for unit and golden tests.
