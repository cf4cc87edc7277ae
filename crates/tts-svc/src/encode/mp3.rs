//! MP3 by LAME's shared library, where it is installed.
//!
//! LAME is LGPL: it is not part of Solo, it is not linked, and nothing of it is distributed. It is opened when a caller asks
//! for MP3; without it such a caller is told how to get it. The functions are those of lame.h, unchanged since LAME 3.90.

use std::ffi::{c_int, c_uchar, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use libloading::Library;
use solo_audio::SampleRate;

use super::{EncodeError, Encoder};

/// Names of the library, the likeliest first.
const NAMES: [&str; 6] = [
    "libmp3lame.so.0",
    "libmp3lame.so",
    "libmp3lame.dylib",
    "/opt/homebrew/lib/libmp3lame.dylib",
    "libmp3lame.dll",
    "lame_enc.dll",
];
/// `MONO` of lame.h's `MPEG_mode`.
const MONO: c_int = 3;
/// Kilobits per second: transparent for one voice.
const KILOBITS: c_int = 64;
/// LAME's own choice between speed (9) and care (0) for speech.
const QUALITY: c_int = 5;
/// What a flush may give at most, as lame.h says.
const MOST_FLUSHED_BYTES: usize = 7200;

/// `lame_t`.
type Handle = *mut c_void;
type Set = unsafe extern "C" fn(Handle, c_int) -> c_int;

/// The functions that are used.
struct Lame {
    init: unsafe extern "C" fn() -> Handle,
    set_in_samplerate: Set,
    set_out_samplerate: Set,
    set_num_channels: Set,
    set_mode: Set,
    set_brate: Set,
    set_quality: Set,
    set_write_vbr_tag: Set,
    init_params: unsafe extern "C" fn(Handle) -> c_int,
    encode: unsafe extern "C" fn(Handle, *const i16, *const i16, c_int, *mut c_uchar, c_int) -> c_int,
    flush: unsafe extern "C" fn(Handle, *mut c_uchar, c_int) -> c_int,
    close: unsafe extern "C" fn(Handle) -> c_int,
    /// Keeps the functions above alive.
    _library: Library,
}

impl Lame {
    /// The library, opened once a process; tried again as long as it is not there.
    fn open() -> Result<&'static Self, EncodeError> {
        static LAME: OnceLock<Lame> = OnceLock::new();
        if let Some(lame) = LAME.get() {
            return Ok(lame);
        }
        let mut tried = String::new();
        for name in NAMES {
            match Self::load(name) {
                Ok(lame) => return Ok(LAME.get_or_init(|| lame)),
                Err(error) if tried.is_empty() => tried = error.to_string(),
                Err(_) => {}
            }
        }
        Err(EncodeError::NoMp3 { tried })
    }

    fn load(name: &str) -> Result<Self, libloading::Error> {
        // SAFETY: LAME's initialisers do nothing but set tables; the signatures are those of lame.h, and the functions
        // live as long as the library beside them.
        unsafe {
            let library = Library::new(name)?;
            Ok(Self {
                init: *library.get(b"lame_init\0")?,
                set_in_samplerate: *library.get(b"lame_set_in_samplerate\0")?,
                set_out_samplerate: *library.get(b"lame_set_out_samplerate\0")?,
                set_num_channels: *library.get(b"lame_set_num_channels\0")?,
                set_mode: *library.get(b"lame_set_mode\0")?,
                set_brate: *library.get(b"lame_set_brate\0")?,
                set_quality: *library.get(b"lame_set_quality\0")?,
                set_write_vbr_tag: *library.get(b"lame_set_bWriteVbrTag\0")?,
                init_params: *library.get(b"lame_init_params\0")?,
                encode: *library.get(b"lame_encode_buffer\0")?,
                flush: *library.get(b"lame_encode_flush\0")?,
                close: *library.get(b"lame_close\0")?,
                _library: library,
            })
        }
    }
}

/// Encodes one speech.
pub(super) struct Mp3 {
    lame: &'static Lame,
    handle: NonNull<c_void>,
}

// SAFETY: LAME keeps all state of an encoder behind its handle, and the handle has one owner.
unsafe impl Send for Mp3 {}

impl Mp3 {
    /// For one of the rates of MP3.
    pub(super) fn new(rate: SampleRate) -> Result<Self, EncodeError> {
        let lame = Lame::open()?;
        // SAFETY: takes nothing; null is looked for.
        let handle = NonNull::new(unsafe { (lame.init)() }).ok_or_else(|| failed("it has no memory".into()))?;
        let mp3 = Self { lame, handle };
        let hz = c_int::try_from(rate.hz()).map_err(|error| failed(error.to_string()))?;
        let settings: [(Set, c_int); 7] = [
            (lame.set_in_samplerate, hz),
            (lame.set_out_samplerate, hz),
            (lame.set_num_channels, 1),
            (lame.set_mode, MONO),
            (lame.set_brate, KILOBITS),
            (lame.set_quality, QUALITY),
            // It would have to be written at the front at the end.
            (lame.set_write_vbr_tag, 0),
        ];
        for (set, value) in settings {
            // SAFETY: the handle is LAME's own and alive.
            checked(unsafe { set(mp3.handle.as_ptr(), value) })?;
        }
        // SAFETY: as above.
        checked(unsafe { (lame.init_params)(mp3.handle.as_ptr()) })?;
        Ok(mp3)
    }
}

impl Encoder for Mp3 {
    fn push(&mut self, samples: &[i16]) -> Result<Vec<u8>, EncodeError> {
        // As lame.h says: a quarter more than the samples, and a frame.
        let mut bytes = vec![0; samples.len() * 5 / 4 + MOST_FLUSHED_BYTES];
        let (count, room) = (length(samples.len())?, length(bytes.len())?);
        let (pointer, out) = (samples.as_ptr(), bytes.as_mut_ptr());
        // SAFETY: the handle is alive, both buffers are as long as is said; with one channel the second is not read.
        let written = unsafe { (self.lame.encode)(self.handle.as_ptr(), pointer, pointer, count, out, room) };
        bytes.truncate(checked(written)?);
        Ok(bytes)
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = vec![0; MOST_FLUSHED_BYTES];
        let room = length(bytes.len())?;
        // SAFETY: the handle is alive and the buffer as long as is said.
        let written = unsafe { (self.lame.flush)(self.handle.as_ptr(), bytes.as_mut_ptr(), room) };
        bytes.truncate(checked(written)?);
        Ok(bytes)
    }
}

impl Drop for Mp3 {
    fn drop(&mut self) {
        // SAFETY: the handle is alive until here. It fails only for null.
        let _ = unsafe { (self.lame.close)(self.handle.as_ptr()) };
    }
}

/// LAME's results below zero are its errors.
fn checked(result: c_int) -> Result<usize, EncodeError> {
    usize::try_from(result).map_err(|_| failed(format!("its code is {result}")))
}

fn length(count: usize) -> Result<c_int, EncodeError> {
    c_int::try_from(count).map_err(|error| failed(error.to_string()))
}

fn failed(problem: String) -> EncodeError {
    EncodeError::Failed { format: "MP3", problem }
}
