//! Solo's contracts in Rust: messages, clients and server traits, generated from `proto/` and committed.
//!
//! No logic lives here. `tests/drift.rs` regenerates everything and compares; `cargo make proto` blesses a change.
//! `tests/compatibility` holds them to what earlier releases promised, which `releases/` keeps.
//! One module an area: [`audio`], [`wake`], [`stt`], [`tts`], [`llm`], [`memory`], [`agent`], [`gateway`], [`status`],
//! [`events`].

#![allow(clippy::large_enum_variant, clippy::doc_lazy_continuation)]

use std::sync::LazyLock;

/// Declares `pub mod <area> { pub mod v1 { … } }` around a generated file.
macro_rules! area {
    ($($area:ident),+ $(,)?) => {$(
        #[doc = concat!("Package `solo.", stringify!($area), ".v1`.")]
        pub mod $area {
            #[doc = concat!("Package `solo.", stringify!($area), ".v1`.")]
            pub mod v1 {
                include!(concat!("generated/solo.", stringify!($area), ".v1.rs"));
            }
        }
    )+};
}

area!(audio, wake, stt, tts, llm, memory, agent, gateway, status, events);

/// All of Solo's `.proto` files as an encoded `google.protobuf.FileDescriptorSet`, imports included, comments not.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");

/// The same, decoded: what turns messages into proto3 JSON and back (the WebSocket, `--json`).
pub static DESCRIPTOR_POOL: LazyLock<prost_reflect::DescriptorPool> = LazyLock::new(|| {
    prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        .expect("the committed descriptor set decodes: tests/drift.rs")
});
