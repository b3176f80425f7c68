//! The hook that makes a process a leash before its `main` begins.
//!
//! It runs in each process that this crate is linked into, and does one look at the environment and nothing else
//! unless the process was started as a leash: see [`is_leash`]. Until that is known it allocates nothing.

use std::ffi::{CStr, c_char};

use crate::rollback::{LEASH_VARIABLE, hooked, is_leash, serve};

#[used]
#[expect(unsafe_code, reason = "the section of what runs before `main` takes a function, and this is one")]
#[unsafe(link_section = ".init_array")]
static HOOK: extern "C" fn() = before_main;

#[expect(unsafe_code, reason = "the C library's environment: std's copies of it allocate")]
unsafe extern "C" {
    static environ: *const *const c_char;
}

extern "C" fn before_main() {
    hooked();
    if !variable().is_some_and(is_leash) {
        return;
    }
    // A panic must not go through a function of C.
    let ended = std::panic::catch_unwind(|| serve(&super::leash::open));
    leave(i32::from(!matches!(ended, Ok(Ok(())))));
}

/// The value of [`LEASH_VARIABLE`].
fn variable() -> Option<&'static [u8]> {
    #[expect(unsafe_code, reason = "before `main` there is one thread, and so nobody who changes the environment")]
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let value = CStr::from_ptr(*at).to_bytes().strip_prefix(LEASH_VARIABLE.as_bytes());
            if let Some(value) = value.and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
            at = at.add(1);
        }
    }
    None
}

#[expect(clippy::exit, reason = "`main` is that of the program whose leash this process is")]
fn leave(code: i32) {
    std::process::exit(code);
}
