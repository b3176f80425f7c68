//! Tests on the embedded lab, in one binary.

mod lab4;
