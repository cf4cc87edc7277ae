//! Text frames of `/ws`: what is read is the same message when it comes over gRPC, or the frame is refused.
#![no_main]

use gateway::read_frame;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use solo_proto::gateway::v1::ConverseRequest;

fuzz_target!(|frame: &str| {
    let Ok(request) = read_frame(frame) else { return };
    let bytes = request.encode_to_vec();
    // Bytes are compared: no number is equal to NaN.
    let again = ConverseRequest::decode(bytes.as_slice()).expect("what was encoded is a message");
    assert_eq!(again.encode_to_vec(), bytes, "{frame}");
});
