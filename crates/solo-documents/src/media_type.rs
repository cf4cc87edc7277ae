//! Which format a document has: what is declared, else what its name's ending says, else what its first bytes say.

use encoding_rs::Encoding;

use super::{Language, Refusal, last_part, shorten};

/// What is understood, as people are told it.
pub(super) const SUPPORTED: &str =
    "plain text, Markdown, source code, HTML, PDF, DOCX, EPUB, CSV, JSON, JSON Lines and e-mail (.eml)";

/// Formats that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// text/plain
    Plain,
    /// text/markdown
    Markdown,
    /// text/x-source: a program, or another text that machines read.
    Code,
    /// text/html
    Html,
    /// application/pdf
    Pdf,
    /// Word's, since 2007.
    Docx,
    /// application/epub+zip
    Epub,
    /// text/csv, whatever separates the cells
    Csv,
    /// application/json
    Json,
    /// application/jsonl
    JsonLines,
    /// message/rfc822
    Mail,
}

impl MediaType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Plain,
        Self::Markdown,
        Self::Code,
        Self::Html,
        Self::Pdf,
        Self::Docx,
        Self::Epub,
        Self::Csv,
        Self::Json,
        Self::JsonLines,
        Self::Mail,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "text/plain",
            Self::Markdown => "text/markdown",
            Self::Code => "text/x-source",
            Self::Html => "text/html",
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Epub => "application/epub+zip",
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonl",
            Self::Mail => "message/rfc822",
        }
    }

    /// What people call such a document.
    pub fn what(self) -> &'static str {
        match self {
            Self::Plain => "text",
            Self::Markdown => "Markdown text",
            Self::Code => "source text",
            Self::Html => "HTML page",
            Self::Pdf => "PDF",
            Self::Docx => "DOCX file",
            Self::Epub => "EPUB",
            Self::Csv => "CSV file",
            Self::Json => "JSON file",
            Self::JsonLines => "JSON Lines file",
            Self::Mail => "e-mail",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "text/x-markdown" => Some(Self::Markdown),
            "application/xhtml+xml" => Some(Self::Html),
            "text/tab-separated-values" => Some(Self::Csv),
            "application/x-ndjson" | "application/jsonlines" | "application/x-jsonlines" => Some(Self::JsonLines),
            "application/toml" | "application/yaml" | "text/css" => Some(Self::Code),
            _ if Language::from_media_type(name).is_some() => Some(Self::Code),
            _ => Self::ALL
                .into_iter()
                .find(|known| known.as_str() == name)
                .or_else(|| name.starts_with("text/x-").then_some(Self::Code)),
        }
    }

    fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "txt" | "text" | "log" | "rst" | "adoc" | "org" | "tex" | "srt" | "vtt" => Self::Plain,
            "md" | "markdown" | "mdown" | "mdx" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "pdf" => Self::Pdf,
            "docx" => Self::Docx,
            "epub" => Self::Epub,
            "csv" | "tsv" | "tab" => Self::Csv,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::JsonLines,
            "eml" => Self::Mail,
            "kt" | "kts" | "cs" | "swift" | "rb" | "php" | "pl" | "lua" | "sh" | "bash" | "zsh" | "fish" | "ps1"
            | "sql" | "r" | "jl" | "scala" | "clj" | "ex" | "exs" | "erl" | "hs" | "ml" | "dart" | "vue" | "css"
            | "scss" | "toml" | "yaml" | "yml" | "ini" | "cfg" | "conf" | "proto" | "xml" | "svg" | "tf" | "nix"
            | "zig" | "v" | "asm" | "s" | "cmake" | "mk" | "gradle" | "diff" | "patch" => Self::Code,
            extension => return Language::from_extension(extension).map(|_| Self::Code),
        })
    }
}

/// A format, and what else has to be known to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The format.
    pub media_type: MediaType,
    /// The declared character set.
    pub charset: Option<&'static Encoding>,
    /// The programming language of source code, where it is one that has an outline.
    pub language: Option<Language>,
}

impl Format {
    /// True where reading is decoding alone, which needs no parser and so no process of its own.
    pub fn is_text(self) -> bool {
        match self.media_type {
            MediaType::Plain | MediaType::Markdown => true,
            MediaType::Code => self.language.is_none(),
            _ => false,
        }
    }
}

impl From<MediaType> for Format {
    fn from(media_type: MediaType) -> Self {
        Self {
            media_type,
            charset: None,
            language: None,
        }
    }
}

impl From<Language> for Format {
    fn from(language: Language) -> Self {
        Self {
            language: Some(language),
            ..MediaType::Code.into()
        }
    }
}

/// Finds the format: what is `declared` (a media type, perhaps with a charset), else what the URI's ending says, else what
/// the first bytes say.
///
/// # Errors
/// A format that nobody here reads, or a character set that nobody knows.
pub fn detect(declared: &str, uri: &str, head: &[u8]) -> Result<Format, Refusal> {
    let unsupported = |what: String| Err(Refusal::Unsupported { what });
    let (name, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    let charset = charset(parameters)?;
    let name = name.trim().to_ascii_lowercase();
    let extension = extension(uri);
    let known = |media_type| {
        let language = || Language::from_media_type(&name).or_else(|| Language::from_extension(&extension));
        Ok(Format {
            media_type,
            charset,
            language: (media_type == MediaType::Code).then(language).flatten(),
        })
    };
    if !matches!(name.as_str(), "" | "application/octet-stream" | "binary/octet-stream") {
        return match MediaType::from_name(&name) {
            Some(media_type) => known(media_type),
            None => unsupported(format!("media type `{}`", shorten(declared))),
        };
    }
    if let Some(media_type) = MediaType::from_extension(&extension) {
        return known(media_type);
    }
    match head {
        [b'%', b'P', b'D', b'F', ..] => known(MediaType::Pdf),
        [b'P', b'K', 3, 4, ..] if contains(head, b"mimetypeapplication/epub+zip") => known(MediaType::Epub),
        [b'P', b'K', 3, 4, ..] if contains(head, b"word/") => known(MediaType::Docx),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => unsupported("this kind of ZIP archive".into()),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => unsupported("an old Office file (save it as DOCX)".into()),
        _ if is_picture_or_sound(&extension) || is_binary(head) => unsupported(match extension.as_str() {
            "" => "a binary file".into(),
            extension => format!("a .{} file", shorten(extension)),
        }),
        _ if starts_like_html(head) => known(MediaType::Html),
        _ => known(MediaType::Plain),
    }
}

/// The character set among a media type's parameters.
fn charset(parameters: &str) -> Result<Option<&'static Encoding>, Refusal> {
    let named = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    match named {
        None => Ok(None),
        Some(name) => Encoding::for_label(name.as_bytes())
            .map(Some)
            .ok_or_else(|| Refusal::UnknownCharset { charset: shorten(name) }),
    }
}

fn extension(uri: &str) -> String {
    last_part(uri)
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default()
}

/// Endings whose files are never text, so that they are refused by name and not for their first odd byte.
fn is_picture_or_sound(extension: &str) -> bool {
    matches!(
        extension,
        "png"
            | "jpg"
            | "jpeg"
            | "gif"
            | "webp"
            | "heic"
            | "tiff"
            | "bmp"
            | "ico"
            | "mp3"
            | "wav"
            | "flac"
            | "ogg"
            | "opus"
            | "m4a"
            | "mp4"
            | "mkv"
            | "mov"
            | "avi"
            | "webm"
            | "zip"
            | "gz"
            | "xz"
            | "zst"
            | "7z"
            | "rar"
            | "tar"
            | "exe"
            | "dll"
            | "so"
            | "o"
            | "a"
            | "class"
            | "jar"
            | "pyc"
            | "wasm"
            | "sqlite"
            | "db"
            | "doc"
            | "xls"
            | "ppt"
            | "xlsx"
            | "pptx"
            | "odt"
            | "ods"
            | "odp"
            | "rtf"
            | "mobi"
            | "azw3"
            | "djvu"
            | "gguf"
            | "onnx"
            | "safetensors"
            | "iso"
            | "img"
            | "ttf"
            | "otf"
            | "woff"
            | "woff2"
            | "psd"
    )
}

/// A zero byte in the beginning, in a text that is not UTF-16.
fn is_binary(head: &[u8]) -> bool {
    !head.starts_with(&[0xFF, 0xFE]) && !head.starts_with(&[0xFE, 0xFF]) && head.contains(&0)
}

fn starts_like_html(head: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&head[..head.len().min(256)]).to_ascii_lowercase();
    let start = start.trim_start_matches('\u{FEFF}').trim_start();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
