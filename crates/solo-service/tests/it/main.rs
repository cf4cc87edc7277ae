//! solo-service from outside: a real process life over real sockets, with the status service's own contract standing in
//! for a domain (any generated service would do).

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

mod client;
mod life;
mod toy;
mod transport;
