//! The manifest holds together, and a missing model names its remedy.

mod locate;
mod manifest;
mod model;
mod verify;
