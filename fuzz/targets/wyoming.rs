//! What Wyoming's clients send: bytes become events. However they are cut into pieces, the same events and the same error
//! come out, no more is kept than the limits allow, and an event that is written again is read again.
#![no_main]

use gateway::framing::{Event, FrameError, FrameLimits, Framer};
use libfuzzer_sys::fuzz_target;

const LIMITS: FrameLimits = FrameLimits {
    header: 256,
    data: 128,
    payload: 64,
};

fn read(bytes: &[u8], size: usize) -> (Vec<Event>, Option<FrameError>) {
    let mut framer = Framer::new(LIMITS);
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        framer.buffer().extend_from_slice(piece);
        loop {
            match framer.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(framer.waiting() <= framer.largest(), "{} bytes wait", framer.waiting());
    }
    (events, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else {
        return;
    };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, usize::from(size) + 1));
    for event in whole.0 {
        let mut framer = Framer::new(FrameLimits {
            header: 4096,
            data: 8192,
            payload: 64,
        });
        framer.buffer().extend_from_slice(&event.encode());
        let again = framer
            .next_event()
            .expect("what is written is an event")
            .expect("it is whole");
        // Numbers with a fraction may differ in their last digit.
        assert_eq!((&again.kind, &again.payload), (&event.kind, &event.payload));
        assert!(again.data.keys().eq(event.data.keys()));
    }
});
