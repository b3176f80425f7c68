//! The attribute `#[steadfast::test]`.
