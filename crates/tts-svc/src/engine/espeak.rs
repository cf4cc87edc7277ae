//! espeak-ng: text to phonemes of the International Phonetic Alphabet. The only file with foreign code in it.
//!
//! The library keeps its state in globals, so one lock guards every call and remembers which language is set. The data
//! folder is chosen here and checked afterwards, because espeak-ng itself would silently take another one. Data of
//! espeak-ng 1.51 (Debian 12) and 1.52 both work with the library that is linked (1.52).

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use espeak_rs_sys as sys;

/// Files without which the folder is not espeak-ng's.
const DATA_FILES: [&str; 4] = ["phontab", "phonindex", "phondata", "intonations"];

/// Why espeak-ng cannot work.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EspeakError {
    #[error(
        "espeak-ng's data is not installed (looked for {looked}): run `apt-get install espeak-ng-data`, or set tts.espeak_data to the folder espeak-ng-data"
    )]
    NoData { looked: String },
    #[error("espeak-ng cannot read its data in {}: its version does not fit, or it is damaged; run `apt-get install --reinstall espeak-ng-data`", folder.display())]
    Unreadable { folder: PathBuf },
    #[error("espeak-ng's data in {} does not know the language \"{language}\"", folder.display())]
    Language { folder: PathBuf, language: String },
}

/// What the library is set to.
struct Library {
    folder: PathBuf,
    language: String,
}

static LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

fn library() -> MutexGuard<'static, Option<Library>> {
    // A panic cannot leave the option half-written.
    LIBRARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds the data folder: the configured one (or its parent), else the usual places.
///
/// # Errors
/// When none of them is espeak-ng's data.
pub fn find_data(configured: &str) -> Result<PathBuf, EspeakError> {
    let places: Vec<PathBuf> = if configured.is_empty() {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.to_owned()));
        let beside = beside
            .iter()
            .flat_map(|folder| [folder.join("espeak-ng-data"), folder.join("../share/espeak-ng-data")]);
        let architecture = format!("/usr/lib/{}-linux-gnu/espeak-ng-data", std::env::consts::ARCH);
        let system = [
            architecture.as_str(),
            "/usr/lib/espeak-ng-data",
            "/usr/lib64/espeak-ng-data",
            "/usr/share/espeak-ng-data",
            "/usr/local/share/espeak-ng-data",
            "/opt/homebrew/share/espeak-ng-data",
        ];
        beside.chain(system.map(PathBuf::from)).collect()
    } else {
        vec![PathBuf::from(configured), Path::new(configured).join("espeak-ng-data")]
    };
    let complete = |folder: &PathBuf| DATA_FILES.iter().all(|file| folder.join(file).is_file());
    places
        .iter()
        .find(|folder| complete(folder))
        .cloned()
        .ok_or_else(|| EspeakError::NoData {
            looked: places
                .iter()
                .map(|place| place.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Turns text of one language into phonemes.
#[derive(Debug, Clone)]
pub struct Phonemiser {
    folder: PathBuf,
    language: String,
}

impl Phonemiser {
    /// For a language as espeak-ng names it ("en-us"), with the data of `folder`.
    ///
    /// # Errors
    /// When the data cannot be read or has no such language.
    pub fn new(folder: &Path, language: &str) -> Result<Self, EspeakError> {
        let phonemiser = Self {
            folder: folder.to_owned(),
            language: language.to_owned(),
        };
        phonemiser.select(&mut library())?;
        Ok(phonemiser)
    }

    /// The phonemes of a clause, with stress marks and spaces, without punctuation. Control characters are spaces.
    ///
    /// # Errors
    /// When the library cannot be set to this language again.
    pub fn phonemes(&self, text: &str) -> Result<String, EspeakError> {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let clean = CString::new(clean).expect("control characters, zero among them, were replaced");
        let mut guard = library();
        self.select(&mut guard)?;
        let mut phonemes = String::new();
        let mut rest: *const c_char = clean.as_ptr();
        while !rest.is_null() {
            // SAFETY: `rest` points into `clean`, which outlives the loop and ends with zero; espeak-ng moves it to the
            // next clause, or to null after the last. The lock is held, so the result's buffer is ours until the next call.
            let clause = unsafe {
                let result = sys::espeak_TextToPhonemes(
                    ptr::from_mut(&mut rest).cast::<*const c_void>(),
                    sys::espeakCHARS_UTF8 as i32,
                    sys::espeakINITIALIZE_PHONEME_IPA as i32,
                );
                if result.is_null() {
                    break;
                }
                CStr::from_ptr(result).to_string_lossy().into_owned()
            };
            let clause = without_switches(&clause);
            if !phonemes.is_empty() && !clause.trim().is_empty() {
                phonemes.push(' ');
            }
            phonemes.push_str(clause.trim());
        }
        Ok(phonemes)
    }

    /// Sets the library to this data and language, unless it is already.
    fn select(&self, library: &mut Option<Library>) -> Result<(), EspeakError> {
        let unreadable = || EspeakError::Unreadable {
            folder: self.folder.clone(),
        };
        if library.as_ref().is_none_or(|library| library.folder != self.folder) {
            let initialised = library.take().is_some();
            let path = CString::new(self.folder.as_os_str().as_encoded_bytes()).map_err(|_| unreadable())?;
            // SAFETY: the path is a C string that lives through the calls; the lock is held. `espeak_Info` gives a string that
            // lives as long as the library's settings. Synchronous output starts no thread of the library's own.
            let used = unsafe {
                if initialised {
                    sys::espeak_Terminate();
                }
                let rate = sys::espeak_Initialize(
                    sys::espeak_AUDIO_OUTPUT_AUDIO_OUTPUT_SYNCHRONOUS,
                    0,
                    path.as_ptr(),
                    sys::espeakINITIALIZE_DONT_EXIT as i32,
                );
                let mut used: *const c_char = ptr::null();
                sys::espeak_Info(&raw mut used);
                (rate > 0 && !used.is_null()).then(|| CStr::from_ptr(used).to_owned())
            };
            if used.as_deref() != Some(path.as_c_str()) {
                return Err(unreadable());
            }
            *library = Some(Library {
                folder: self.folder.clone(),
                language: String::new(),
            });
        }
        let library = library.as_mut().expect("it was set above");
        if library.language != self.language {
            let unknown = || EspeakError::Language {
                folder: self.folder.clone(),
                language: self.language.clone(),
            };
            let language = CString::new(self.language.as_str()).map_err(|_| unknown())?;
            // SAFETY: a C string that lives through the call; the lock is held.
            let result = unsafe { sys::espeak_SetVoiceByName(language.as_ptr()) };
            if result != sys::espeak_ERROR_EE_OK {
                return Err(unknown());
            }
            library.language = self.language.clone();
        }
        Ok(())
    }
}

/// Without marks like "(en)", which espeak-ng puts where it changes language.
fn without_switches(phonemes: &str) -> String {
    let mut out = String::with_capacity(phonemes.len());
    let mut depth = 0_usize;
    for c in phonemes.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}
