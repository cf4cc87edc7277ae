//! Examples of what is read, kept and replaced.

use super::*;

#[test]
fn only_what_a_person_tells_of_themself_is_read() {
    for said in [
        "My dentist is Doctor Blue.",
        "I moved to Porto, finally.",
        "Remember that the spare keys are in the blue tin",
        "We have two cats.",
    ] {
        assert_eq!(worth_reading(said).as_deref(), Some(said));
    }
    for said in [
        "What is the capital of France?",
        "Where did I put my keys?",
        "Can you help me?",
        "Set a timer for my pasta.",
        "Thank you.",
        "The sky is blue.",
        "",
    ] {
        assert_eq!(worth_reading(said), None, "{said}");
    }
    let mixed = "My sister Anna lives in Lisbon. What is the weather like there?";
    assert_eq!(worth_reading(mixed).as_deref(), Some("My sister Anna lives in Lisbon."));
}

#[test]
fn a_denial_is_kept_as_it_was_said() {
    assert_eq!(
        verbatim("I don't like coriander").as_deref(),
        Some("I don't like coriander.")
    );
    assert_eq!(
        verbatim("I no longer drink tea.").as_deref(),
        Some("I no longer drink tea.")
    );
    assert_eq!(verbatim("My dentist is Doctor Blue."), None);
    assert_eq!(verbatim("I can't swim. My sister can."), None);
    let titled = "My landlord is Mrs. Petrova, and the rent is 900 euros.";
    assert_eq!(worth_reading(titled).as_deref(), Some(titled));
}

#[test]
fn what_the_model_made_up_is_left_out() {
    let answer = json!({ "facts": [
        "my dentist is Doctor Blue",
        "My sister Anna has two cats.",
        "My dentist is Doctor Blue.",
    ]});
    assert_eq!(
        statements(&answer, "Oh, and my dentist is Doctor Blue."),
        ["My dentist is Doctor Blue."]
    );
    assert!(statements(&json!({ "facts": [1, {}] }), "x").is_empty());
    assert!(statements(&json!([]), "x").is_empty());
}

#[test]
fn the_same_told_five_ways_is_known() {
    for again in [
        "My sister is called Anna.",
        "My sister's name is Anna.",
        "I have a sister, Anna.",
        "Anna is my sister.",
        "My sister Anna.",
    ] {
        assert_eq!(relation(again, "My sister is called Anna."), Relation::Known, "{again}");
    }
}

#[test]
fn more_and_other_values_replace_and_other_things_do_not() {
    for (new, old, wanted) in [
        (
            "My sister Anna lives in Lisbon.",
            "My sister is called Anna.",
            Relation::Replaces,
        ),
        (
            "My dentist is Doctor Green now.",
            "My dentist is Doctor Blue.",
            Relation::Replaces,
        ),
        ("I live in Porto.", "I live in Lisbon.", Relation::Replaces),
        ("I am 35 years old.", "I'm 34 years old.", Relation::Replaces),
        ("My meeting is at four.", "My meeting is at three.", Relation::Replaces),
        ("I drink coffee.", "I drink tea.", Relation::Other),
        (
            "My brother is called Tom.",
            "My sister is called Anna.",
            Relation::Other,
        ),
        ("I don't drink coffee.", "I drink coffee.", Relation::Replaces),
        ("I no longer drink coffee.", "I drink coffee.", Relation::Ends),
        (
            "I no longer drink coffee.",
            "My dentist is Doctor Blue.",
            Relation::Other,
        ),
    ] {
        assert_eq!(relation(new, old), wanted, "{new} / {old}");
    }
}
