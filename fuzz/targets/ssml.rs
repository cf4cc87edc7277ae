//! Marked-up text of clients: read into passages whose places lie in the document, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tts_svc::ssml::{self, Item};

fuzz_target!(|document: &str| {
    let Ok(items) = ssml::parse(document) else {
        return;
    };
    for item in items {
        if let Item::Passage(passage) = item {
            let sent = passage.sent(0..passage.text.len());
            assert!(
                document.get(sent.clone()).is_some(),
                "{sent:?} of {} bytes",
                document.len()
            );
        }
    }
});
