//! Outlines of programs, a language a test.

mod hostile;

use super::*;

/// Headings, indented by level, each with the first line of what is under it; `-`: what is above it ends there.
fn shown(text: &str, language: Language) -> Vec<String> {
    let headings = outline(text, language, PATIENCE).unwrap();
    let shown = headings.iter().map(|heading| {
        let first = text[heading.span.start..]
            .trim_start()
            .lines()
            .next()
            .unwrap_or_default();
        let title = if heading.title.is_empty() { "-" } else { &heading.title };
        format!(
            "{}{title} | {}",
            "  ".repeat(usize::from(heading.level) - 1),
            first.trim_end()
        )
    });
    shown.collect()
}

#[test]
fn rust() {
    let program = r#"//! A store.

use std::fs;

/// Keeps things.
#[derive(Debug)]
pub struct Store {
    path: String,
}

struct Unit;

impl<T: Clone> Open for Lance<T> {
    const NAME: &str = "lance";

    /// Opens it.
    async fn open(&self) -> Result<(), ()> {
        fn inside() {}
        Ok(())
    }

    fn close(&self) {} // for good
}

const LIMIT: usize = 3;

mod tests {
    impl Store {
        fn new() -> Self { todo!() }
    }

    enum Kind { One }
    trait Open { fn announced(&self); fn given(&self) {} }
    macro_rules! shout { () => {} }
}
"#;
    let wanted = [
        "struct Store | /// Keeps things.",
        "- | struct Unit;",
        "impl Open for Lance<T> | impl<T: Clone> Open for Lance<T> {",
        "  fn open | /// Opens it.",
        "  fn close | fn close(&self) {} // for good",
        "- | const LIMIT: usize = 3;",
        "mod tests | mod tests {",
        "  impl Store | impl Store {",
        "    fn new | fn new() -> Self { todo!() }",
        "  enum Kind | enum Kind { One }",
        "  trait Open | trait Open { fn announced(&self); fn given(&self) {} }",
        "    fn given | fn given(&self) {} }",
        "  macro_rules! shout | macro_rules! shout { () => {} }",
    ];
    assert_eq!(shown(program, Language::Rust), wanted);
}

#[test]
fn python() {
    let program = r#"import os

@dataclass
class Store(Base):
    """Keeps things."""
    path: str = ""

    class Kind:
        def one(self): pass

    @property
    async def open(self):
        def inside(): pass
        return inside

# Begins.
def main():
    pass

if __name__ == "__main__":
    main()
"#;
    let wanted = [
        "class Store | @dataclass",
        "  class Kind | class Kind:",
        "    def one | def one(self): pass",
        "  def open | @property",
        "def main | # Begins.",
        "- | if __name__ == \"__main__\":",
    ];
    assert_eq!(shown(program, Language::Python), wanted);
}

const SCRIPT: &str = r#"import fs from "fs";

/** Keeps things. */
export default class Store extends Base {
  path = "";
  get = () => { return 1; };
  static async open() {
    function inside() {}
  }
}

export const double = (x) => x * 2;
exports.close = function () { return 3; };
const options = { map: (x) => x, draw() { return 4; }, "sort": function () { return 5; } };
(function () {
  function* hidden() {}
})();
main();
"#;

#[test]
fn javascript() {
    let wanted = [
        "class Store | /** Keeps things. */",
        "  get() | get = () => { return 1; };",
        "  open() | static async open() {",
        "function double | export const double = (x) => x * 2;",
        "function exports.close | exports.close = function () { return 3; };",
        "- | const options = { map: (x) => x, draw() { return 4; }, \"sort\": function () { return 5; } };",
        "draw() | draw() { return 4; }, \"sort\": function () { return 5; } };",
        "\"sort\"() | \"sort\": function () { return 5; } };",
        "- | (function () {",
        "function hidden | function* hidden() {}",
        "- | main();",
    ];
    assert_eq!(shown(SCRIPT, Language::JavaScript), wanted);
}

#[test]
fn typescript() {
    let program = r#"export namespace Stores {
  export interface Open { open(): void; close(): void }
  export enum Kind { One }
  type Name = string;
  type Options = { name: Name };
  @Injectable()
  export abstract class Store<T> implements Open {
    constructor(private path: string) { super(); }
    abstract close(): void;
    open = async (): Promise<void> => { await this.go(); };
  }
}
declare module "fs" { class Dir { read(): string } }
function announced(): void;
export function main<T>(x: T): void {}
"#;
    let wanted = [
        "namespace Stores | export namespace Stores {",
        "  interface Open | export interface Open { open(): void; close(): void }",
        "  enum Kind | export enum Kind { One }",
        "  - | type Name = string;",
        "  type Options | type Options = { name: Name };",
        "  class Store | @Injectable()",
        "    constructor() | constructor(private path: string) { super(); }",
        "    - | abstract close(): void;",
        "    open() | open = async (): Promise<void> => { await this.go(); };",
        "module \"fs\" | declare module \"fs\" { class Dir { read(): string } }",
        "  class Dir | class Dir { read(): string } }",
        "- | function announced(): void;",
        "function main | export function main<T>(x: T): void {}",
    ];
    assert_eq!(shown(program, Language::TypeScript), wanted);
    let page = "export const Page: FC<Props> = ({ name }) => (\n  <p>{name}</p>\n);\nexport default Page;\n";
    let wanted = [
        "function Page | export const Page: FC<Props> = ({ name }) => (",
        "- | export default Page;",
    ];
    assert_eq!(shown(page, Language::Tsx), wanted);
    assert_eq!(shown(SCRIPT, Language::Tsx), shown(SCRIPT, Language::JavaScript));
}

#[test]
fn go() {
    let program = r#"package store

// Store keeps things.
type Store struct {
	path string
}

type (
	Name string
	Opener interface{ Open() error }
)

// Open opens it.
func (s *Store) Open() error {
	inside := func() {}
	return nil
}

var Default = New[int]()

func New[T any]() *Store { return nil }
"#;
    let wanted = [
        "type Store | // Store keeps things.",
        "- | type (",
        "type Opener | Opener interface{ Open() error }",
        "func (s *Store) Open | // Open opens it.",
        "- | var Default = New[int]()",
        "func New | func New[T any]() *Store { return nil }",
    ];
    assert_eq!(shown(program, Language::Go), wanted);
}

#[test]
fn java() {
    let program = r#"package org.example;

/** Keeps things. */
@Entity
public final class Store<T> implements Open {
    private String path;

    Store(String path) { this.path = path; }

    @Override
    public void open() throws IOException {
        new Thread() { public void run() {} };
    }

    abstract void close();

    enum Kind { ONE; int size() { return 1; } }
    record Point(int x, int y) { Point { check(); } }
    interface Inner { void announced(); default void given() {} }
}
"#;
    let wanted = [
        "class Store | /** Keeps things. */",
        "  Store() | Store(String path) { this.path = path; }",
        "  open() | @Override",
        "  - | abstract void close();",
        "  enum Kind | enum Kind { ONE; int size() { return 1; } }",
        "    size() | int size() { return 1; } }",
        "  record Point | record Point(int x, int y) { Point { check(); } }",
        "    Point() | Point { check(); } }",
        "  interface Inner | interface Inner { void announced(); default void given() {} }",
        "    given() | default void given() {} }",
    ];
    assert_eq!(shown(program, Language::Java), wanted);
}

#[test]
fn c() {
    let program = r#"#ifndef STORE_H
#include <stdio.h>

int announced(int x);

/* Keeps things. */
struct store {
    char *path;
};

typedef struct { int x; } point_t;
typedef int number;
enum kind { ONE };

static char **
names(struct store *store, int (*each)(int))
{
    return 0;
}

struct store *first;
int main(void) { return 0; }
#endif /* STORE_H */
"#;
    let wanted = [
        "struct store | /* Keeps things. */",
        "typedef point_t | typedef struct { int x; } point_t;",
        "- | typedef int number;",
        "enum kind | enum kind { ONE };",
        "names() | static char **",
        "- | struct store *first;",
        "main() | int main(void) { return 0; }",
    ];
    assert_eq!(shown(program, Language::C), wanted);
}

#[test]
fn cpp() {
    let program = r#"#include <string>

namespace solo::memory {

// Keeps things.
template <typename T>
class Store : public Base {
public:
    explicit Store(T path) : path_(path) {}
    ~Store() = default;
    T &path() { return path_; }
    operator bool() const { return true; }
    bool operator==(const Store &) const { return true; }
    void announced();
private:
    T path_;
};

enum class Kind { One };

template <typename T>
void Store<T>::announced() {
    struct Inside { int x; };
}

}  // namespace solo::memory

extern "C" {
int main() { return 0; }
}
"#;
    let wanted = [
        "namespace solo::memory | namespace solo::memory {",
        "  class Store | // Keeps things.",
        "    Store() | explicit Store(T path) : path_(path) {}",
        "    - | ~Store() = default;",
        "    path() | T &path() { return path_; }",
        "    operator bool() | operator bool() const { return true; }",
        "    operator==() | bool operator==(const Store &) const { return true; }",
        "    - | void announced();",
        "  enum Kind | enum class Kind { One };",
        "  Store<T>::announced() | template <typename T>",
        "- | extern \"C\" {",
        "main() | int main() { return 0; }",
    ];
    assert_eq!(shown(program, Language::Cpp), wanted);
}
