//! Each kind of break is found, and no addition is taken for one.

use super::breaks;
use crate::contracts;

fn found(old: &str, new: &str) -> Vec<String> {
    breaks(&contracts(old), &contracts(new))
}

/// Holds each pair of contracts, older and newer, to the one break that it is.
fn each_breaks(cases: &[(&str, &str, &str)]) {
    for (old, new, said) in cases {
        let found = found(old, new);
        assert!(
            matches!(&found[..], [one] if one.contains(said)),
            "{old}\n{new}\n{said}\n{found:?}"
        );
    }
}

#[test]
fn what_has_a_name_stays() {
    each_breaks(&[
        ("message A {} message B {}", "message A {}", "message p.B was removed"),
        (
            "message A { message B {} }",
            "message A {}",
            "message p.A.B was removed",
        ),
        ("enum E { E_A = 0; }", "", "enum p.E was removed"),
        (
            "message A {} service S { rpc R(A) returns (A); }",
            "message A {}",
            "service p.S was removed",
        ),
        (
            "message A {} service S { rpc R(A) returns (A); rpc T(A) returns (A); }",
            "message A {} service S { rpc R(A) returns (A); }",
            "method p.S.T was removed",
        ),
    ]);
}

#[test]
fn a_method_keeps_what_it_takes_and_answers() {
    const OLD: &str = "message A {} message B {} service S { rpc R(A) returns (stream A); }";
    let to = |new: &'static str| OLD.replace("R(A) returns (stream A)", new);
    each_breaks(&[
        (
            OLD,
            &to("R(B) returns (stream A)"),
            "p.S.R: its request was p.A and is p.B",
        ),
        (
            OLD,
            &to("R(stream A) returns (stream A)"),
            "p.S.R: its request was p.A and is stream p.A",
        ),
        (
            OLD,
            &to("R(A) returns (stream B)"),
            "p.S.R: its response was stream p.A and is stream p.B",
        ),
        (
            OLD,
            &to("R(A) returns (A)"),
            "p.S.R: its response was stream p.A and is p.A",
        ),
    ]);
}

#[test]
fn a_number_keeps_its_field() {
    const OLD: &str = "message A { string b = 1; }";
    each_breaks(&[
        (
            OLD,
            "message A { string c = 1; }",
            "field p.A.b: its name was b and is c",
        ),
        (
            OLD,
            "message A { string b = 1 [json_name = \"c\"]; }",
            "field p.A.b: its JSON name was b and is c",
        ),
        (
            OLD,
            "message A { bytes b = 1; }",
            "field p.A.b: its type was string and is bytes",
        ),
        (
            OLD,
            "message A { string b = 2; }",
            "field p.A.b: its number was 1 and is 2; give it 1 again",
        ),
        (
            "message A { int32 b = 1; }",
            "message A { int64 b = 1; }",
            "its type was int32 and is int64",
        ),
        (
            "message A { B b = 1; } message B {} message C {}",
            "message A { C b = 1; } message B {} message C {}",
            "its type was p.B and is p.C",
        ),
        (
            "message A { E b = 1; } enum E { E_A = 0; } enum F { F_A = 0; }",
            "message A { F b = 1; } enum E { E_A = 0; } enum F { F_A = 0; }",
            "its type was p.E and is p.F",
        ),
        (
            "message A { map<string, int32> b = 1; }",
            "message A { map<string, int64> b = 1; }",
            "its type was map<string, int32> and is map<string, int64>",
        ),
        (
            "message A { message B { string c = 1; } }",
            "message A { message B { bytes c = 1; } }",
            "field p.A.B.c: its type was string and is bytes",
        ),
    ]);
}

#[test]
fn a_field_keeps_its_cardinality() {
    const BESIDE: &str = "message A { string b = 1; oneof d { string c = 2; } oneof f { string e = 3; } }";
    const INSIDE: &str = "message A { oneof d { string b = 1; string c = 2; } oneof f { string e = 3; } }";
    const ELSEWHERE: &str = "message A { oneof d { string c = 2; } oneof f { string b = 1; string e = 3; } }";
    const PLAIN: &str = "message A { string b = 1; }";
    const OPTIONAL: &str = "message A { optional string b = 1; }";
    const REPEATED: &str = "message A { repeated string b = 1; }";
    each_breaks(&[
        (PLAIN, REPEATED, "its cardinality was singular and is repeated"),
        (REPEATED, PLAIN, "its cardinality was repeated and is singular"),
        (PLAIN, OPTIONAL, "its cardinality was singular and is optional"),
        (OPTIONAL, PLAIN, "its cardinality was optional and is singular"),
        (BESIDE, INSIDE, "its cardinality was singular and is in oneof d"),
        (INSIDE, BESIDE, "its cardinality was in oneof d and is singular"),
        (INSIDE, ELSEWHERE, "its cardinality was in oneof d and is in oneof f"),
        (
            OPTIONAL,
            "message A { oneof d { string b = 1; } }",
            "its cardinality was optional and is in oneof d",
        ),
    ]);
}

#[test]
fn a_number_keeps_its_enum_value() {
    const OLD: &str = "enum E { E_A = 0; E_B = 1; }";
    each_breaks(&[
        (
            OLD,
            "enum E { E_A = 0; E_C = 1; }",
            "enum value p.E.E_B: its name was E_B and is E_C",
        ),
        (
            OLD,
            "enum E { E_A = 0; E_B = 2; }",
            "enum value p.E.E_B: its number was 1 and is 2; give it 1 again",
        ),
        (
            "enum E { option allow_alias = true; E_A = 0; E_B = 0; E_C = 1; E_D = 1; }",
            "enum E { option allow_alias = true; E_A = 0; E_B = 0; E_C = 1; }",
            "enum value p.E.E_D: its name was E_D and is E_C",
        ),
    ]);
}

#[test]
fn what_goes_leaves_its_number_and_its_name_reserved() {
    let field = |reserved: &str| {
        found(
            "message A { string b = 1; }",
            &format!("message A {{ string c = 2; {reserved} }}"),
        )
    };
    assert_eq!(field(""), ["field p.A.b was removed; reserve 1 and \"b\""]);
    assert_eq!(field("reserved 1;"), ["field p.A.b was removed; reserve \"b\""]);
    assert_eq!(field("reserved \"b\";"), ["field p.A.b was removed; reserve 1"]);
    assert_eq!(field("reserved 1; reserved \"b\";"), [""; 0]);

    let value = |reserved: &str| {
        found(
            "enum E { E_A = 0; E_B = 1; }",
            &format!("enum E {{ E_A = 0; {reserved} }}"),
        )
    };
    assert_eq!(value(""), ["enum value p.E.E_B was removed; reserve 1 and \"E_B\""]);
    assert_eq!(
        value("reserved 1;"),
        ["enum value p.E.E_B was removed; reserve \"E_B\""]
    );
    assert_eq!(
        value("reserved \"E_B\";"),
        ["enum value p.E.E_B was removed; reserve 1"]
    );
    assert_eq!(value("reserved 1; reserved \"E_B\";"), [""; 0]);
}

#[test]
fn what_was_reserved_stays_so() {
    each_breaks(&[
        (
            "message A { reserved 3; }",
            "message A { string b = 3; }",
            "message p.A no longer reserves 3",
        ),
        (
            "message A { reserved 5 to 9; }",
            "message A { reserved 5 to 6, 8 to 9; }",
            "message p.A no longer reserves 5 to 9",
        ),
        (
            "message A { reserved \"b\"; }",
            "message A { string b = 1; }",
            "message p.A no longer reserves \"b\"",
        ),
        (
            "enum E { E_A = 0; reserved 3; }",
            "enum E { E_A = 0; E_B = 3; }",
            "enum p.E no longer reserves 3",
        ),
        (
            "enum E { E_A = 0; reserved \"E_B\"; }",
            "enum E { E_A = 0; E_B = 3; }",
            "enum p.E no longer reserves \"E_B\"",
        ),
    ]);
}

#[test]
fn everything_is_said_at_once() {
    let found = found(
        "message A { string b = 1; int32 c = 2; } enum E { E_A = 0; E_B = 1; } service S { rpc R(A) returns (A); }",
        "message A { bytes b = 1; int64 d = 2; } enum E { E_A = 0; }",
    );
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(
        found[1],
        "field p.A.c: its name was c and is d, its JSON name was c and is d, its type was int32 and is int64; leave it as it \
         was, and put what is new beside it"
    );
}

#[test]
fn additions_break_nothing() {
    const OLD: &str = "
        import \"google/protobuf/duration.proto\";
        message A { string b = 1; oneof c { string d = 2; } reserved 20, 21; B e = 3; map<string, B> f = 4; }
        message B { google.protobuf.Duration a = 1; optional string c = 2; }
        enum E { E_A = 0; E_B = 1; }
        service S { rpc R(A) returns (stream B); }";
    // Other order, more of everything, reserved where it is gone; Google's file is not imported any more.
    const NEW: &str = "
        service T { rpc R(N) returns (N); }
        service S { rpc New(stream N) returns (N); rpc R(A) returns (stream B); }
        message N { message O { map<string, E> r = 1; } repeated O q = 1; }
        enum E { E_A = 0; E_B = 1; E_C = 2; }
        enum F { F_A = 0; }
        message B { optional string c = 2; optional string g = 3; reserved 1; reserved \"a\"; }
        message A {
            reserved 19 to 22, 4;
            reserved \"f\", \"z\";
            optional B e = 3;
            oneof c { string d = 2; string h = 5; }
            string b = 1;
            oneof i { N j = 6; F k = 7; }
            repeated F l = 8;
        }";
    assert_eq!(found(OLD, NEW), [""; 0]);
    assert_eq!(found(OLD, OLD), [""; 0]);
}
