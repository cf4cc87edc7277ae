//! Porcupine's C interface, version 4, as its Python binding (Apache-2.0) declares it. All of the `unsafe` stands here.

use std::ffi::{CStr, CString, c_char, c_float, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use super::refusal::Refusal;

/// `pv_status_t`.
type Status = c_int;
const SUCCESS: Status = 0;

type Version = unsafe extern "C" fn() -> *const c_char;
type Number = unsafe extern "C" fn() -> c_int;
type StatusToString = unsafe extern "C" fn(Status) -> *const c_char;
type Init = unsafe extern "C" fn(
    access_key: *const c_char,
    model_path: *const c_char,
    device: *const c_char,
    num_keywords: c_int,
    keyword_paths: *const *const c_char,
    sensitivities: *const c_float,
    object: *mut *mut c_void,
) -> Status;
type Delete = unsafe extern "C" fn(*mut c_void);
type Process = unsafe extern "C" fn(*mut c_void, *const i16, *mut c_int) -> Status;
type GetErrorStack = unsafe extern "C" fn(*mut *mut *mut c_char, *mut c_int) -> Status;
type FreeErrorStack = unsafe extern "C" fn(*mut *mut c_char);

/// What Porcupine answered instead of doing what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("porcupine answered {status}: {}", stack.join("; "))]
pub(super) struct Failure {
    /// "ACTIVATION_REFUSED" and the like.
    pub(super) status: String,
    /// What it says of it, the innermost first. May hold the AccessKey: it repeats a key that it cannot read.
    pub(super) stack: Vec<String>,
}

/// A keyword as Porcupine is asked for it.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) path: PathBuf,
    /// 0.0 to 1.0; higher hears more, and more that was not said.
    pub(super) sensitivity: f32,
}

/// The loaded library.
pub(super) struct Library {
    init: Init,
    delete: Delete,
    process: Process,
    status_to_string: StatusToString,
    get_error_stack: GetErrorStack,
    free_error_stack: FreeErrorStack,
    frame_length: usize,
    version: String,
    /// Keeps the functions above where they are.
    _library: libloading::Library,
}

impl Library {
    /// Loads a library and makes sure that it is Porcupine 4: what it is asked for looked different before.
    ///
    /// # Errors
    /// When it is no library of this machine, or another one.
    pub(super) fn load(path: &Path) -> Result<Self, Refusal> {
        let unloadable = |error: libloading::Error| Refusal::NoLibrary {
            path: path.to_owned(),
            // What dlopen says stands in its source.
            problem: solo_service::error::chain(&error),
        };
        let foreign = |problem: String| Refusal::ForeignLibrary {
            path: path.to_owned(),
            problem,
        };
        // SAFETY: initialisers of the library run; the person names a library that they trust, as with any program.
        let library = unsafe { libloading::Library::new(path) }.map_err(unloadable)?;
        let lacks = |name: &str| foreign(format!("it has no function {name}"));
        macro_rules! function {
            ($name:literal, $type:ty) => {{
                // SAFETY: the type is the one that Porcupine 4 declares for this name; the copy lives no longer than the
                // library, which the same struct holds.
                let symbol = unsafe { library.get::<$type>($name) };
                *symbol.map_err(|_| lacks(&String::from_utf8_lossy($name)))?
            }};
        }
        let version = function!(b"pv_porcupine_version", Version);
        // SAFETY: it takes nothing and returns a string that lives as long as the library.
        let version = unsafe { text(version()) };
        if !version.starts_with("4.") {
            return Err(foreign(format!("it is Porcupine {version}, and version 4 is wanted")));
        }
        let rate = function!(b"pv_sample_rate", Number);
        let frame = function!(b"pv_porcupine_frame_length", Number);
        // SAFETY: both take nothing and return a number.
        let (rate, frame) = unsafe { (rate(), frame()) };
        let frame_length = usize::try_from(frame)
            .ok()
            .filter(|length| (1..=16_000).contains(length));
        let (16_000, Some(frame_length)) = (rate, frame_length) else {
            return Err(foreign(format!("it wants frames of {frame} samples at {rate} Hz")));
        };
        Ok(Self {
            init: function!(b"pv_porcupine_init", Init),
            delete: function!(b"pv_porcupine_delete", Delete),
            process: function!(b"pv_porcupine_process", Process),
            status_to_string: function!(b"pv_status_to_string", StatusToString),
            get_error_stack: function!(b"pv_get_error_stack", GetErrorStack),
            free_error_stack: function!(b"pv_free_error_stack", FreeErrorStack),
            frame_length,
            version,
            _library: library,
        })
    }

    /// Its version: "4.0.0".
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Samples of a frame.
    pub(super) fn frame_length(&self) -> usize {
        self.frame_length
    }

    /// A detector. May ask Picovoice over the network whether the key is valid.
    ///
    /// # Errors
    /// What Porcupine answers. A path, device or key that no C string can hold is answered as it would: invalid.
    pub(super) fn open(
        self: &Arc<Self>,
        key: &str,
        parameters: &Path,
        device: &str,
        keywords: &[Keyword],
    ) -> Result<Handle, Failure> {
        let (key, device) = (c_string(key.as_bytes())?, c_string(device.as_bytes())?);
        let parameters = c_string(parameters.as_os_str().as_encoded_bytes())?;
        let paths: Result<Vec<CString>, Failure> = keywords
            .iter()
            .map(|keyword| c_string(keyword.path.as_os_str().as_encoded_bytes()))
            .collect();
        let paths = paths?;
        let pointers: Vec<*const c_char> = paths.iter().map(|path| path.as_ptr()).collect();
        let sensitivities: Vec<c_float> = keywords.iter().map(|keyword| keyword.sensitivity).collect();
        // At most as many as one stream may ask for: 16.
        let count = keywords.len() as c_int;
        let mut object = ptr::null_mut();
        // SAFETY: all strings end in NUL and outlive the call, the arrays hold `count` each, `object` takes a pointer.
        let status = unsafe {
            (self.init)(
                key.as_ptr(),
                parameters.as_ptr(),
                device.as_ptr(),
                count,
                pointers.as_ptr(),
                sensitivities.as_ptr(),
                &raw mut object,
            )
        };
        self.check(status)?;
        Ok(Handle {
            object,
            library: Arc::clone(self),
        })
    }

    fn check(&self, status: Status) -> Result<(), Failure> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: it takes a number and returns a string that lives as long as the library.
        let name = unsafe { text((self.status_to_string)(status)) };
        Err(Failure {
            status: name,
            stack: self.stack(),
        })
    }

    fn stack(&self) -> Vec<String> {
        let (mut messages, mut depth) = (ptr::null_mut::<*mut c_char>(), 0);
        // SAFETY: both take a pointer to what the library writes.
        let status = unsafe { (self.get_error_stack)(&raw mut messages, &raw mut depth) };
        if status != SUCCESS || messages.is_null() {
            return Vec::new();
        }
        let depth = usize::try_from(depth).unwrap_or(0);
        // SAFETY: it wrote an array of `depth` strings, which is given back once they are copied.
        unsafe {
            let stack = (0..depth).map(|index| text(*messages.add(index))).collect();
            (self.free_error_stack)(messages);
            stack
        }
    }
}

/// One detector.
pub(super) struct Handle {
    object: *mut c_void,
    library: Arc<Library>,
}

// SAFETY: the object belongs to this handle alone and is used by one thread at a time, as Porcupine's documentation wants of
// instances; it has no ties to the thread that made it.
unsafe impl Send for Handle {}

impl Handle {
    /// Takes a frame and gives the index of the keyword that ended in it.
    pub(super) fn process(&mut self, frame: &[i16]) -> Result<Option<usize>, Failure> {
        if frame.len() != self.library.frame_length {
            return Err(invalid("a frame of another length"));
        }
        let mut keyword = -1;
        // SAFETY: the object is alive, the frame has the length that the library asked for.
        let status = unsafe { (self.library.process)(self.object, frame.as_ptr(), &raw mut keyword) };
        self.library.check(status)?;
        Ok(usize::try_from(keyword).ok())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it came from init, and nobody uses it any more.
        unsafe { (self.library.delete)(self.object) }
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| invalid("a NUL character in a text"))
}

fn invalid(problem: &str) -> Failure {
    Failure {
        status: "INVALID_ARGUMENT".into(),
        stack: vec![problem.into()],
    }
}

/// Copies a C string; null is empty.
///
/// # Safety
/// `string` is null or ends in NUL.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: as promised.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
