//! Programming languages whose definitions are found: what they are called, their grammars, and what the nodes of a grammar are
//! to an outline.
//!
//! The grammars' own tag queries are for lists of names and do not say where a definition ends (C, C++), or leave out what
//! matters here (`impl`, constructors, TypeScript's classes), so the nodes are named here.

use serde::{Deserialize, Serialize};
use tree_sitter::Node;

/// A programming language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Rust
    Rust,
    /// Python
    Python,
    /// JavaScript, with JSX
    JavaScript,
    /// TypeScript
    TypeScript,
    /// TypeScript with JSX
    Tsx,
    /// Go
    Go,
    /// Java
    Java,
    /// C
    C,
    /// C++, and headers of either
    Cpp,
}

/// What a node of a grammar is to an outline.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// A definition in which others are found: a class, a module.
    Outer(Caption),
    /// A definition that is not divided further: a function, a type.
    Inner(Caption),
    /// Stands around a definition and begins before it: decorators, `export`, `template`.
    Wrapper,
    /// Belongs to the definition that it stands before, if it does, and says something about it.
    Comment,
    /// Belongs to the definition that it stands before.
    Attribute,
    /// Anything else.
    Other,
}

/// How a definition is called in a heading.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caption {
    /// By a word and its name: `class Store`.
    Word(&'static str),
    /// As it is called: `open()`.
    Call,
    /// Rust: `impl Read for Store`.
    Impl,
    /// Rust: `macro_rules! open`.
    Macro,
    /// Go: `func (s *Store) Open`.
    Receiver,
    /// C: `open()`, whose name stands inside pointers and parameters.
    Declarator,
    /// C: `typedef store_t`, where it says what the type is made of.
    Typedef,
    /// `type Store`, where it says what the type is made of.
    Type,
    /// JavaScript: a function that is given a name: `const open = () => {}`.
    Value,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rust,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
        Self::Tsx,
        Self::Go,
        Self::Java,
        Self::C,
        Self::Cpp,
    ];

    /// The language of a media type, in lower case.
    pub(crate) fn from_media_type(name: &str) -> Option<Self> {
        let (kind, subtype) = name.split_once('/')?;
        if !matches!(kind, "text" | "application") {
            return None;
        }
        Some(match subtype.strip_prefix("x-").unwrap_or(subtype) {
            "rust" => Self::Rust,
            "python" | "python3" | "script.python" => Self::Python,
            "javascript" | "ecmascript" => Self::JavaScript,
            "typescript" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "go" => Self::Go,
            "java" | "java-source" => Self::Java,
            "c" | "csrc" => Self::C,
            "c++" | "c++src" | "c++hdr" | "chdr" => Self::Cpp,
            _ => return None,
        })
    }

    /// The language of a file whose name ends so, in lower case.
    pub(crate) fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "rs" => Self::Rust,
            "py" | "pyi" => Self::Python,
            "js" | "jsx" | "mjs" | "cjs" => Self::JavaScript,
            "ts" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "go" => Self::Go,
            "java" => Self::Java,
            "c" => Self::C,
            // A header may be C's; what is C is nearly always C++, too, and not the other way round.
            "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => Self::Cpp,
            _ => return None,
        })
    }

    pub(super) fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Rust => tree_sitter_rust::LANGUAGE,
            Self::Python => tree_sitter_python::LANGUAGE,
            Self::JavaScript => tree_sitter_javascript::LANGUAGE,
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
            Self::Go => tree_sitter_go::LANGUAGE,
            Self::Java => tree_sitter_java::LANGUAGE,
            Self::C => tree_sitter_c::LANGUAGE,
            Self::Cpp => tree_sitter_cpp::LANGUAGE,
        }
        .into()
    }

    pub(super) fn role(self, node: Node) -> Role {
        if !node.is_named() {
            // Keywords are called as what they begin.
            return Role::Other;
        }
        let kind = node.kind();
        match self {
            Self::Rust => rust(kind),
            Self::Python => python(kind),
            Self::JavaScript | Self::TypeScript | Self::Tsx => script(kind),
            Self::Go => go(kind),
            Self::Java => java(kind),
            Self::C => c(kind),
            Self::Cpp => cpp(kind),
        }
    }
}

fn rust(kind: &str) -> Role {
    match kind {
        "impl_item" => Role::Outer(Caption::Impl),
        "trait_item" => Role::Outer(Caption::Word("trait")),
        "mod_item" => Role::Outer(Caption::Word("mod")),
        "function_item" => Role::Inner(Caption::Word("fn")),
        "struct_item" => Role::Inner(Caption::Word("struct")),
        "enum_item" => Role::Inner(Caption::Word("enum")),
        "union_item" => Role::Inner(Caption::Word("union")),
        "macro_definition" => Role::Inner(Caption::Macro),
        "line_comment" | "block_comment" => Role::Comment,
        "attribute_item" => Role::Attribute,
        _ => Role::Other,
    }
}

fn python(kind: &str) -> Role {
    match kind {
        "class_definition" => Role::Outer(Caption::Word("class")),
        "function_definition" => Role::Inner(Caption::Word("def")),
        "decorated_definition" => Role::Wrapper,
        "comment" => Role::Comment,
        _ => Role::Other,
    }
}

/// JavaScript and what TypeScript adds.
fn script(kind: &str) -> Role {
    match kind {
        "class_declaration" | "class" | "abstract_class_declaration" => Role::Outer(Caption::Word("class")),
        "internal_module" => Role::Outer(Caption::Word("namespace")),
        "module" => Role::Outer(Caption::Word("module")),
        "function_declaration" | "generator_function_declaration" => Role::Inner(Caption::Word("function")),
        "method_definition" => Role::Inner(Caption::Call),
        "variable_declarator" | "assignment_expression" | "pair" | "field_definition" | "public_field_definition" => {
            Role::Inner(Caption::Value)
        }
        "interface_declaration" => Role::Inner(Caption::Word("interface")),
        "enum_declaration" => Role::Inner(Caption::Word("enum")),
        "type_alias_declaration" => Role::Inner(Caption::Type),
        "export_statement" | "ambient_declaration" | "lexical_declaration" | "variable_declaration" => Role::Wrapper,
        "comment" => Role::Comment,
        "decorator" => Role::Attribute,
        _ => Role::Other,
    }
}

fn go(kind: &str) -> Role {
    match kind {
        "function_declaration" => Role::Inner(Caption::Word("func")),
        "method_declaration" => Role::Inner(Caption::Receiver),
        "type_spec" => Role::Inner(Caption::Type),
        "type_declaration" => Role::Wrapper,
        "comment" => Role::Comment,
        _ => Role::Other,
    }
}

fn java(kind: &str) -> Role {
    match kind {
        "class_declaration" => Role::Outer(Caption::Word("class")),
        "interface_declaration" => Role::Outer(Caption::Word("interface")),
        "enum_declaration" => Role::Outer(Caption::Word("enum")),
        "record_declaration" => Role::Outer(Caption::Word("record")),
        "annotation_type_declaration" => Role::Outer(Caption::Word("@interface")),
        "method_declaration" | "constructor_declaration" | "compact_constructor_declaration" => {
            Role::Inner(Caption::Call)
        }
        "line_comment" | "block_comment" => Role::Comment,
        _ => Role::Other,
    }
}

fn c(kind: &str) -> Role {
    match kind {
        "function_definition" => Role::Inner(Caption::Declarator),
        "struct_specifier" => Role::Inner(Caption::Word("struct")),
        "union_specifier" => Role::Inner(Caption::Word("union")),
        "enum_specifier" => Role::Inner(Caption::Word("enum")),
        "type_definition" => Role::Inner(Caption::Typedef),
        "comment" => Role::Comment,
        _ => Role::Other,
    }
}

fn cpp(kind: &str) -> Role {
    match kind {
        "namespace_definition" => Role::Outer(Caption::Word("namespace")),
        "class_specifier" => Role::Outer(Caption::Word("class")),
        "struct_specifier" => Role::Outer(Caption::Word("struct")),
        "template_declaration" => Role::Wrapper,
        kind => c(kind),
    }
}

impl Caption {
    /// What a definition is called; `None`: it is none after all, only announced or without a name.
    pub(super) fn of(self, node: Node, text: &str) -> Option<String> {
        let field = |name: &str| node.child_by_field_name(name);
        let said = |node: Node| text.get(node.byte_range()).filter(|said| !said.is_empty());
        let name = || said(field("name")?);
        Some(match self {
            Self::Word(word) => {
                field("body")?;
                format!("{word} {}", name()?)
            }
            Self::Call => {
                field("body")?;
                format!("{}()", name()?)
            }
            Self::Impl => {
                field("body")?;
                let of = said(field("type")?)?;
                match field("trait").and_then(said) {
                    Some(what) => format!("impl {what} for {of}"),
                    None => format!("impl {of}"),
                }
            }
            Self::Macro => format!("macro_rules! {}", name()?),
            Self::Receiver => {
                field("body")?;
                format!("func {} {}", said(field("receiver")?)?, name()?)
            }
            Self::Declarator => {
                field("body")?;
                format!("{}()", declared(field("declarator")?, text)?)
            }
            Self::Typedef => {
                field("type")?.child_by_field_name("body")?;
                format!("typedef {}", said(field("declarator")?)?)
            }
            Self::Type => {
                let made_of = field("type").or_else(|| field("value"))?;
                matches!(made_of.kind(), "struct_type" | "interface_type" | "object_type").then_some(())?;
                format!("type {}", name()?)
            }
            Self::Value => return value(node, text),
        })
    }
}

/// The name in a declaration of C: inside of what says that it is a function and what it points to.
fn declared<'a>(mut node: Node, text: &'a str) -> Option<&'a str> {
    while node.kind() != "function_declarator" {
        let inside = node.child_by_field_name("declarator");
        // What a reference refers to has no name of its own in the grammar, and an operator that converts is its own.
        match inside
            .or_else(|| node.named_child(0))
            .filter(|_| node.kind() != "operator_cast")
        {
            Some(inside) => node = inside,
            None => return text.get(node.byte_range())?.split('(').next(),
        }
    }
    text.get(node.child_by_field_name("declarator")?.byte_range())
}

/// A function that is given a name where it is not declared: by a variable, an assignment, a property.
fn value(node: Node, text: &str) -> Option<String> {
    let kind = node.kind();
    let (name, value) = match kind {
        "variable_declarator" | "public_field_definition" => ("name", "value"),
        "assignment_expression" => ("left", "right"),
        "pair" => ("key", "value"),
        _ => ("property", "value"),
    };
    let value = node.child_by_field_name(value)?;
    let is_function = matches!(
        value.kind(),
        "arrow_function" | "function_expression" | "generator_function"
    );
    let body = value.child_by_field_name("body").filter(|_| is_function)?;
    // Functions of one expression are everywhere in lists of options.
    if kind != "variable_declarator" && body.kind() != "statement_block" {
        return None;
    }
    let name = text.get(node.child_by_field_name(name)?.byte_range())?;
    Some(match kind {
        "variable_declarator" | "assignment_expression" => format!("function {name}"),
        _ => format!("{name}()"),
    })
}
